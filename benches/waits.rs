//! What it costs that tasks wait for the World.
//!
//! - `a message to waiting tasks`: a task writes a message, and in the same tick so many tasks get it and wait
//!   again; `nobody` is the tick and the write alone;
//! - `a tick while 100,000 wait`: a tick in which nothing happens, while 100,000 tasks wait for something that
//!   does not come; each on an entity of its own that has the component, so that `entity.changed` scans
//!   100,000 entities at each of its looks. A tick with one stage has two looks: before the stage, and after
//!   the last one. `nobody` has the same entities and no task.
//!
//! Nobody else does this work: with bevy_defer a message goes to one of the tasks that wait, and what else is
//! watched is asked for each wait in each frame; bevy_mod_async hands a task to a system of a later frame.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bevy_ecs::prelude::*;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use onbeat::{EntityCtx, Runtime, Tick, WorldCtx, spawn_boxed};

const WAITING: usize = 100_000;

#[derive(Message, Event, Clone)]
struct Note(u64);
#[derive(Resource, Default)]
struct Value;
#[derive(Component)]
struct Part;
#[derive(Component)]
struct Extra;

fn runtime(world: &mut World) -> Runtime<'_> {
    world.init_resource::<Value>();
    world.init_resource::<Messages<Note>>();
    let mut rt = Runtime::builder(world).tasks_per_cycle(4 * WAITING).build();
    rt.schedule(Tick).add_systems(|value: Res<Value>| {
        black_box(&*value);
    });
    rt
}

fn a_message_to_waiting_tasks(c: &mut Criterion) {
    let mut group = c.benchmark_group("waits/a message to waiting tasks");
    for tasks in [0_usize, 1, 100, 1_000] {
        let id = match tasks {
            0 => BenchmarkId::from_parameter("nobody"),
            tasks => BenchmarkId::from_parameter(tasks),
        };
        group.bench_function(id, |b| {
            b.iter_custom(|times| {
                let mut world = World::new();
                runtime(&mut world).block_on_busy(async {
                    for _ in 0..tasks {
                        drop(spawn_boxed(async {
                            let mut notes = WorldCtx::current().messages::<Note>();
                            loop {
                                black_box(notes.recv().await.expect("each is read at once").0);
                            }
                        }));
                    }
                    messages(times).await
                })
            });
        });
    }
    group.finish();
}

async fn messages(times: u64) -> Duration {
    let ctx = WorldCtx::current();
    ctx.ticks(3).await;
    let begun = Instant::now();
    for number in 0..times {
        ctx.with_world(|world| {
            world.write_message(Note(number));
        });
        ctx.next_tick().await;
    }
    begun.elapsed()
}

type Wait = fn(EntityCtx);

/// Starts a task for each of the waits.
const WAITS: [(&str, Option<Wait>); 8] = [
    ("nobody", None),
    ("messages", Some(|_| go(async { drop(ctx().messages::<Note>().recv().await) }))),
    ("res_changed", Some(|_| go(ctx().res_changed::<Value>()))),
    ("event", Some(|_| go(async { _ = ctx().event::<Note>().await }))),
    ("entity.inserted", Some(|entity| go(async move { _ = entity.inserted::<Extra>().await }))),
    ("entity.removed", Some(|entity| go(async move { _ = entity.removed::<Part>().await }))),
    ("entity.despawned", Some(|entity| go(entity.despawned()))),
    ("entity.changed", Some(|entity| go(async move { _ = entity.changed::<Part>().await }))),
];

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

fn a_tick_while_many_wait(c: &mut Criterion) {
    let mut group = c.benchmark_group("waits/a tick while 100,000 wait");
    for (name, wait) in WAITS {
        let mut world = World::new();
        let mut rt = runtime(&mut world);
        rt.block_on_busy(async {
            for _ in 0..WAITING {
                let entity = ctx().with_world(|world| world.spawn(Part).id());
                if let Some(wait) = wait {
                    wait(ctx().entity(entity));
                }
            }
            // The tasks begin to wait, and what they did to the World is old.
            ctx().ticks(3).await;
        });
        group.bench_function(name, |b| {
            b.iter(|| rt.tick().expect("nothing fails in a tick without work"));
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = a_message_to_waiting_tasks, a_tick_while_many_wait
}
criterion_main!(benches);
