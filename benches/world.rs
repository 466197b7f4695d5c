//! What it costs a task to touch the World, beside the same done by hand.
//!
//! - `nothing`: `with_world` with an empty closure, beside a call of that closure;
//! - `one resource`: a counter is raised through each of the ways, beside `get_resource_mut_by_id` with an
//!   id that is known, `get_resource_mut`, and bevy's `SystemState`;
//! - `three parameters`: two resources and a query over ten entities;
//! - `one component`: a counter of one entity is raised;
//! - `commands`: one command that raises a counter;
//! - `bound task`: an entity gets a task that belongs to it, which is polled once, and is despawned with it;
//!   beside an entity without a task, one with a component that owns a box, and a task that is aborted.
//!
//! `by hand` has the World of the task in its hands, so it shares all but the access itself.
//!
//! Peers stand beside it in `benches/compare`, with the feature `bevy-peers`: bevy_defer, whose tasks borrow
//! the World as these do, and bevy_mod_async, whose tasks get it from a system of a later frame.

use std::{future::pending, hint::black_box, time::Duration};

use bevy_ecs::{prelude::*, system::SystemState};
use criterion::{Criterion, criterion_group, criterion_main};
use onbeat::{EntityTasks, Runtime, WorldCtx, yield_now};

#[derive(Resource, Default)]
struct Counter(u64);

#[derive(Resource, Default)]
struct Step(u64);

#[derive(Component, Default)]
struct Quantity(u64);

/// Runs `bench` in the root future of a runtime, where the World has what the cases use.
fn in_a_task(bench: impl FnOnce(WorldCtx, Entity)) {
    let mut world = World::new();
    world.init_resource::<Counter>();
    world.insert_resource(Step(1));
    let entities: Vec<Entity> = (0..10).map(|_| world.spawn(Quantity(0)).id()).collect();
    Runtime::new(&mut world).block_on(async { bench(WorldCtx::current(), entities[5]) });
}

fn nothing(c: &mut Criterion) {
    let mut group = c.benchmark_group("world/nothing");
    in_a_task(|ctx, _| {
        group.bench_function("by hand", |b| {
            ctx.with_world(|world| b.iter(|| touch(black_box(world))));
        });
        group.bench_function("with_world", |b| b.iter(|| ctx.with_world(touch)));
        group.bench_function("with_world_ref", |b| {
            b.iter(|| {
                ctx.with_world_ref(|world| {
                    black_box(world);
                });
            });
        });
    });
    group.finish();
}

fn touch(world: &mut World) {
    black_box(world);
}

fn one_resource(c: &mut Criterion) {
    let mut group = c.benchmark_group("world/one resource");
    in_a_task(|ctx, _| {
        group.bench_function("by hand, get_resource_mut_by_id", |b| {
            ctx.with_world(|world| {
                let id = world.component_id::<Counter>().expect("it was inserted");
                b.iter(|| {
                    let mut counter = world.get_resource_mut_by_id(id).expect("it was inserted");
                    black_box(counter.as_mut());
                });
            });
        });
        group.bench_function("by hand, get_resource_mut", |b| {
            ctx.with_world(|world| b.iter(|| world.resource_mut::<Counter>().0 += 1));
        });
        group.bench_function("by hand, SystemState", |b| {
            ctx.with_world(|world| {
                let mut state = SystemState::<ResMut<Counter>>::new(world);
                b.iter(|| {
                    state.get_mut(world).expect("it was inserted").0 += 1;
                    state.apply(world);
                });
            });
        });
        group.bench_function("params", |b| {
            let mut params = ctx.params::<ResMut<Counter>>();
            b.iter(|| params.with(|mut counter| counter.0 += 1));
        });
        group.bench_function("run", |b| {
            b.iter(|| ctx.run(|mut counter: ResMut<Counter>| counter.0 += 1));
        });
        group.bench_function("res_mut", |b| {
            b.iter(|| ctx.res_mut(|mut counter: Mut<Counter>| counter.0 += 1));
        });
        group.bench_function("with_world, get_resource_mut", |b| {
            b.iter(|| ctx.with_world(|world| world.resource_mut::<Counter>().0 += 1));
        });
    });
    group.finish();
}

type Three =
    (ResMut<'static, Counter>, Res<'static, Step>, Query<'static, 'static, &'static mut Quantity>);

fn three(
    mut counter: ResMut<'_, Counter>,
    step: Res<'_, Step>,
    mut query: Query<'_, '_, &mut Quantity>,
) {
    counter.0 += step.0;
    for mut quantity in &mut query {
        quantity.0 += step.0;
    }
}

fn three_parameters(c: &mut Criterion) {
    let mut group = c.benchmark_group("world/three parameters");
    in_a_task(|ctx, _| {
        group.bench_function("by hand, SystemState", |b| {
            ctx.with_world(|world| {
                let mut state = SystemState::<Three>::new(world);
                b.iter(|| {
                    let (counter, step, query) = state.get_mut(world).expect("all is there");
                    three(counter, step, query);
                    state.apply(world);
                });
            });
        });
        group.bench_function("params", |b| {
            let mut params = ctx.params::<Three>();
            b.iter(|| params.with(|(counter, step, query)| three(counter, step, query)));
        });
        group.bench_function("run", |b| b.iter(|| ctx.run(three)));
    });
    group.finish();
}

fn one_component(c: &mut Criterion) {
    let mut group = c.benchmark_group("world/one component");
    in_a_task(|ctx, entity| {
        group.bench_function("by hand", |b| {
            ctx.with_world(|world| {
                b.iter(|| {
                    let mut quantity = world.get_mut::<Quantity>(black_box(entity));
                    quantity.as_mut().expect("the entity is there").0 += 1;
                });
            });
        });
        group.bench_function("entity.get_mut", |b| {
            b.iter(|| {
                ctx.entity(black_box(entity)).get_mut(|mut quantity: Mut<Quantity>| quantity.0 += 1)
            });
        });
        group.bench_function("params, Query::get_mut", |b| {
            let mut params = ctx.params::<Query<&mut Quantity>>();
            b.iter(|| {
                params.with(|mut query| {
                    query.get_mut(black_box(entity)).expect("the entity is there").0 += 1;
                })
            });
        });
    });
    group.finish();
}

fn commands(c: &mut Criterion) {
    fn raise(world: &mut World) {
        world.resource_mut::<Counter>().0 += 1;
    }
    let mut group = c.benchmark_group("world/commands");
    in_a_task(|ctx, _| {
        group.bench_function("by hand", |b| {
            ctx.with_world(|world| {
                b.iter(|| {
                    world.commands().queue(raise);
                    world.flush();
                });
            });
        });
        group.bench_function("commands", |b| {
            b.iter(|| ctx.commands(|commands| commands.queue(raise)));
        });
        group.bench_function("params", |b| {
            let mut params = ctx.params::<Commands>();
            b.iter(|| params.with(|mut commands| commands.queue(raise)));
        });
    });
    group.finish();
}

/// What an entity may own instead of a task.
#[derive(Component)]
#[component(storage = "SparseSet")]
struct Owned {
    _box: Box<u64>,
}

fn bound_task(c: &mut Criterion) {
    const TASKS: usize = 100;
    let mut group = c.benchmark_group("world/bound task, 100 of them");
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    group.bench_function("entity alone", |b| {
        b.iter(|| cycle(&mut rt, |world| world.spawn_empty().id(), despawn, TASKS));
    });
    group.bench_function("entity with a box", |b| {
        let spawn = |world: &mut World| world.spawn(Owned { _box: Box::new(1) }).id();
        b.iter(|| cycle(&mut rt, spawn, despawn, TASKS));
    });
    group.bench_function("task alone, aborted", |b| {
        let spawn = |_: &mut World| onbeat::spawn(pending::<()>());
        b.iter(|| cycle(&mut rt, spawn, |_, task| task.abort(), TASKS));
    });
    group.bench_function("entity with a task", |b| {
        let spawn = |world: &mut World| {
            let mut entity = world.spawn_empty();
            drop(entity.spawn_task(|_| pending::<()>()).expect("a runtime runs on the World"));
            entity.id()
        };
        b.iter(|| cycle(&mut rt, spawn, despawn, TASKS));
    });
    group.finish();
}

fn despawn(world: &mut World, entity: Entity) {
    world.despawn(black_box(entity));
}

/// Begins `count` of something in one turn, and ends them in the next.
fn cycle<T>(
    rt: &mut Runtime<'_>,
    begin: impl Fn(&mut World) -> T,
    end: impl Fn(&mut World, T),
    count: usize,
) {
    rt.block_on(async {
        let ctx = WorldCtx::current();
        let begun: Vec<T> = ctx.with_world(|world| (0..count).map(|_| begin(world)).collect());
        yield_now().await;
        ctx.with_world(|world| begun.into_iter().for_each(|begun| end(world, begun)));
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
    targets = nothing, one_resource, three_parameters, one_component, commands, bound_task
}
criterion_main!(benches);
