//! onbeat, parking and spinning, with an empty stage and with a stage that holds one small system.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ::onbeat::net::TcpListener;
use ::onbeat::{Runtime, Tick, sleep, spawn_boxed, yield_now};
use bevy_ecs::prelude::World;

use crate::systems::{Systems, insert_counters, time_ticks};
use crate::work::{Host, SelfWake, Work, drive};

/// Does `work` under `block_on`, which parks when there is nothing to do.
pub(crate) fn parking(systems: Systems, work: Work) -> Duration {
    let mut world = World::new();
    let mut runtime = runtime(&mut world, systems, work);
    runtime.block_on(async move { spawn_boxed(drive(Onbeat, work)).await })
}

/// Does `work` under `block_on_busy`, which spins.
pub(crate) fn spinning(systems: Systems, work: Work) -> Duration {
    let mut world = World::new();
    let mut runtime = runtime(&mut world, systems, work);
    runtime.block_on_busy(async move { spawn_boxed(drive(Onbeat, work)).await })
}

fn runtime(world: &mut World, systems: Systems, work: Work) -> Runtime<'_> {
    insert_counters(world);
    let mut runtime = Runtime::builder(world).tasks_per_cycle(work.tasks_per_cycle()).build();
    add_systems(&mut runtime, systems);
    runtime
}

fn add_systems(runtime: &mut Runtime<'_>, systems: Systems) {
    if let Some(configs) = systems.configs() {
        runtime.schedule(Tick).add_systems(configs);
    }
}

/// `Runtime::tick` with nothing to poll mio for: no socket is registered.
pub(crate) fn ticks(systems: Systems, ticks: usize) -> Duration {
    let mut world = World::new();
    insert_counters(&mut world);
    let mut runtime = Runtime::new(&mut world);
    add_systems(&mut runtime, systems);
    time(&mut runtime, ticks)
}

/// `Runtime::tick` with one socket registered, mio polled in every tick.
pub(crate) fn polling_ticks(systems: Systems, ticks: usize) -> Duration {
    let mut world = World::new();
    insert_counters(&mut world);
    let mut runtime = Runtime::builder(&mut world).event_interval(1).build();
    add_systems(&mut runtime, systems);
    let _listener = listen(&mut runtime);
    time(&mut runtime, ticks)
}

/// `Runtime::tick` with one socket registered and one task that wakes itself in every tick, so that
/// something is ready and mio is polled after 61 ticks or 10 us only. The poll of that task is part
/// of the figure.
pub(crate) fn busy_ticks(systems: Systems, ticks: usize) -> Duration {
    let mut world = World::new();
    insert_counters(&mut world);
    let mut runtime = Runtime::builder(&mut world).event_interval(61).build();
    add_systems(&mut runtime, systems);
    let _listener = listen(&mut runtime);
    runtime.block_on(async {
        drop(spawn_boxed(async {
            loop {
                SelfWake::default().await;
            }
        }));
    });
    time(&mut runtime, ticks)
}

/// One socket for mio to be asked about.
fn listen(runtime: &mut Runtime<'_>) -> TcpListener {
    runtime.block_on(async {
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port of the loopback interface is free")
    })
}

fn time(runtime: &mut Runtime<'_>, ticks: usize) -> Duration {
    time_ticks(ticks, || runtime.tick().expect("nothing replaces the World"))
}

#[derive(Clone, Copy)]
struct Onbeat;

impl Host for Onbeat {
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        spawn_boxed(future)
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        sleep(duration)
    }
}
