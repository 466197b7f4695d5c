//! What a tick costs: without a system, with one, with eight, beside a bare `Schedule::run`.
//!
//! - `bare Schedule::run`: the same systems under the same executor, without a runtime.
//! - `no socket`: `Runtime::tick` when mio has nothing to be asked about.
//! - `1 message type`: the same with one type of message registered, whose buffers turn over.
//! - `mio in every tick`: one listener is registered, and no task is ready, so mio is asked in every tick.
//! - `mio in every 61st, 1 task`: one listener, and one task that yields for ever, so something is ready and
//!   mio is asked after 61 ticks, or 10 us. `no socket, 1 task` is that without the listener.
//!
//! A system adds one to a resource of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bevy_ecs::message::{Message, MessageRegistry};
use bevy_ecs::prelude::{ResMut, Resource, Schedule, World};
use bevy_ecs::schedule::SingleThreadedExecutor;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use onbeat::net::TcpListener;
use onbeat::{Runtime, Tick, spawn_boxed, yield_now};

const SYSTEMS: [usize; 3] = [0, 1, 8];

#[derive(Resource, Default)]
struct Counter<const INDEX: usize>(u64);

#[derive(Message)]
struct Note;

fn count<const INDEX: usize>(mut counter: ResMut<'_, Counter<INDEX>>) {
    counter.0 += 1;
}

/// Adds the system of number `INDEX`, counted from 0, when there are to be so many.
fn add<const INDEX: usize>(world: &mut World, schedule: &mut Schedule, systems: usize) {
    if INDEX < systems {
        world.init_resource::<Counter<INDEX>>();
        schedule.add_systems(count::<INDEX>);
    }
}

fn add_systems(world: &mut World, schedule: &mut Schedule, systems: usize) {
    add::<0>(world, schedule, systems);
    add::<1>(world, schedule, systems);
    add::<2>(world, schedule, systems);
    add::<3>(world, schedule, systems);
    add::<4>(world, schedule, systems);
    add::<5>(world, schedule, systems);
    add::<6>(world, schedule, systems);
    add::<7>(world, schedule, systems);
}

/// A World whose `Schedules` has the systems under [`Tick`], which a runtime takes over.
fn world_with(systems: usize) -> World {
    let mut world = World::new();
    let mut schedule = Schedule::new(Tick);
    add_systems(&mut world, &mut schedule, systems);
    world.add_schedule(schedule);
    world
}

fn tick(c: &mut Criterion) {
    for systems in SYSTEMS {
        let plural = if systems == 1 { "" } else { "s" };
        let mut group = c.benchmark_group(format!("tick/{systems} system{plural}"));
        bare(&mut group, systems);
        no_socket(&mut group, systems);
        polling(&mut group, systems);
        group.finish();
    }
}

fn bare(group: &mut BenchmarkGroup<'_, WallTime>, systems: usize) {
    group.bench_function("bare Schedule::run", |b| {
        let mut world = World::new();
        let mut schedule = Schedule::new(Tick);
        schedule.set_executor(SingleThreadedExecutor::new());
        add_systems(&mut world, &mut schedule, systems);
        b.iter(|| schedule.run(&mut world));
    });
}

fn no_socket(group: &mut BenchmarkGroup<'_, WallTime>, systems: usize) {
    group.bench_function("no socket", |b| {
        let mut world = world_with(systems);
        let mut runtime = Runtime::new(&mut world);
        b.iter(|| tick_once(&mut runtime));
    });
    group.bench_function("no socket, 1 message type", |b| {
        let mut world = world_with(systems);
        MessageRegistry::register_message::<Note>(&mut world);
        let mut runtime = Runtime::new(&mut world);
        b.iter(|| tick_once(&mut runtime));
    });
    group.bench_function("no socket, 1 task", |b| {
        let mut world = world_with(systems);
        let mut runtime = Runtime::new(&mut world);
        spawn_yielding_task(&mut runtime);
        b.iter(|| tick_once(&mut runtime));
    });
}

fn polling(group: &mut BenchmarkGroup<'_, WallTime>, systems: usize) {
    group.bench_function("mio in every tick", |b| {
        let mut world = world_with(systems);
        let mut runtime = Runtime::builder(&mut world).event_interval(1).build();
        let _listener = listen(&mut runtime);
        b.iter(|| tick_once(&mut runtime));
    });
    group.bench_function("mio in every 61st, 1 task", |b| {
        let mut world = world_with(systems);
        let mut runtime = Runtime::builder(&mut world).event_interval(61).build();
        let _listener = listen(&mut runtime);
        spawn_yielding_task(&mut runtime);
        b.iter(|| tick_once(&mut runtime));
    });
}

fn tick_once(runtime: &mut Runtime<'_>) {
    runtime.tick().expect("nothing replaces the World");
}

fn listen(runtime: &mut Runtime<'_>) -> TcpListener {
    runtime.block_on(async {
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port of the loopback interface is free")
    })
}

fn spawn_yielding_task(runtime: &mut Runtime<'_>) {
    runtime.block_on(async {
        drop(spawn_boxed(async {
            loop {
                yield_now().await;
            }
        }));
    });
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = tick
}
criterion_main!(benches);
