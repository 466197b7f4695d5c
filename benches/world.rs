//! What it costs a task to touch the World, beside the same done by hand.
//!
//! - `nothing`: `with_world` with an empty closure, beside a call of that closure;
//! - `one resource`: a counter is raised through each of the ways, beside `get_resource_mut_by_id` with an
//!   id that is known, `get_resource_mut`, and bevy's `SystemState`;
//! - `three parameters`: two resources and a query over ten entities;
//! - `one component`: a counter of one entity is raised;
//! - `commands`: one command that raises a counter.
//!
//! `by hand` has the World of the task in its hands, so it shares all but the access itself.

use std::{hint::black_box, time::Duration};

use bevy_ecs::{prelude::*, system::SystemState};
use criterion::{Criterion, criterion_group, criterion_main};
use onbeat::{Runtime, WorldCtx};

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

fn short() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = nothing, one_resource, three_parameters, one_component, commands
}
criterion_main!(benches);
