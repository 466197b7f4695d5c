//! nexus-async-rt 0.7: the reference of every question about tasks.

use std::future::Future;
use std::time::Duration;

use nexus_async_rt::{Runtime, sleep, spawn_boxed, yield_now};
use nexus_rt::WorldBuilder;

use crate::work::{Host, Work, drive};

/// Does `work` under `block_on`, which parks when there is nothing to do.
pub(crate) fn parking(work: Work) -> Duration {
    let mut world = WorldBuilder::new().build();
    runtime(&mut world, work).block_on(async move { spawn_boxed(drive(Nexus, work)).await })
}

/// Does `work` under `block_on_busy`, which spins.
pub(crate) fn spinning(work: Work) -> Duration {
    let mut world = WorldBuilder::new().build();
    runtime(&mut world, work).block_on_busy(async move { spawn_boxed(drive(Nexus, work)).await })
}

fn runtime(world: &mut nexus_rt::World, work: Work) -> Runtime {
    Runtime::builder(world).tasks_per_cycle(work.tasks_per_cycle()).build()
}

#[derive(Clone, Copy)]
struct Nexus;

impl Host for Nexus {
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
