//! Waiting for changes of a component on many entities, in many tables: each is seen, and no other.

mod common;

use bevy_ecs::{component::Mutable, entity_disabling::DefaultQueryFilters, prelude::*};
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{EntityGone, JoinHandle, Runtime, WorldCtx, spawn_boxed};

#[derive(Component, Clone, Default)]
struct Part(u32);
#[derive(Component, Clone, Default)]
#[component(storage = "SparseSet")]
struct SparsePart;

#[derive(Component)]
struct Marked;
#[derive(Component)]
#[component(storage = "SparseSet")]
struct SparseMarked;
/// Hides an entity from queries.
#[derive(Component)]
struct Asleep;
#[derive(Component)]
#[component(storage = "SparseSet")]
struct SparseAsleep;

const ENTITIES: usize = 300;

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn go<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    Runtime::new(&mut World::new()).block_on_busy(future)
}

/// Entities with `C`, in four tables and eight archetypes.
fn spawn_all<C: Component + Default>() -> Vec<Entity> {
    ctx().with_world(|world| {
        let spawn = |number: usize| {
            let mut entity = world.spawn(C::default());
            if number.is_multiple_of(2) {
                entity.insert(Marked);
            }
            if number.is_multiple_of(3) {
                entity.insert(SparseMarked);
            }
            if number.is_multiple_of(5) {
                entity.insert(Asleep);
            }
            entity.id()
        };
        (0..ENTITIES).map(spawn).collect()
    })
}

fn wait<C: Component>(entities: &[Entity]) -> Vec<JoinHandle<Result<(), EntityGone>>> {
    let wait = |entity: &Entity| spawn_boxed(ctx().entity(*entity).changed::<C>());
    entities.iter().map(wait).collect()
}

async fn each_change_wakes_its_own_waits<C: Component<Mutability = Mutable> + Default>() {
    let entities = spawn_all::<C>();
    let waiting = wait::<C>(&entities);
    ctx().ticks(2).await;
    let is_changed = |number: usize| number.is_multiple_of(7) || (64..128).contains(&number);
    ctx().with_world(|world| {
        for (_, entity) in entities.iter().enumerate().filter(|(number, _)| is_changed(*number)) {
            world.entity_mut(*entity).get_mut::<C>().unwrap().set_changed();
        }
    });
    ctx().ticks(2).await;
    for (number, task) in waiting.iter().enumerate() {
        assert_eq!(task.is_finished(), is_changed(number), "entity {number}");
    }
    // Those that have seen a change wait for the next one.
    let again = wait::<C>(&entities);
    ctx().ticks(2).await;
    assert!(again.iter().all(|task| !task.is_finished()));
    ctx()
        .run(|mut all: Query<&mut C, With<Marked>>| {
            all.iter_mut().for_each(|mut c| c.set_changed());
        })
        .unwrap();
    ctx().ticks(2).await;
    for (number, task) in again.iter().enumerate() {
        assert_eq!(task.is_finished(), number.is_multiple_of(2), "entity {number}");
    }
}

#[test]
fn each_change_in_many_tables_wakes_its_own_waits() {
    go(each_change_wakes_its_own_waits::<Part>());
}

#[test]
fn few_waits_among_many_entities_are_woken_by_their_own_changes() {
    go(async {
        let entities = spawn_all::<Part>();
        let few = [entities[17], entities[4], entities[290]];
        let waiting = wait::<Part>(&few);
        let twice = wait::<Part>(&few[..1]);
        ctx().ticks(2).await;
        ctx()
            .run(|mut all: Query<(Entity, &mut Part)>| {
                all.iter_mut()
                    .filter(|(entity, _)| *entity != few[1])
                    .for_each(|(_, mut part)| part.0 = 1);
            })
            .unwrap();
        ctx().ticks(2).await;
        let finished = |tasks: &[JoinHandle<_>]| -> Vec<bool> {
            tasks.iter().map(JoinHandle::is_finished).collect()
        };
        assert_eq!(finished(&waiting), [true, false, true]);
        assert_eq!(finished(&twice), [true]);
        ctx().entity(few[1]).despawn().unwrap();
        ctx().next_tick().await;
        assert_eq!(finished(&waiting), [true; 3]);
    });
}

#[test]
fn each_change_of_a_sparse_component_wakes_its_own_waits() {
    go(each_change_wakes_its_own_waits::<SparsePart>());
}

/// With entities that `C` hides from queries.
async fn hidden_entities_are_looked_at<C: Component>(hides: C) {
    ctx().with_world(|world| {
        let asleep = world.register_component::<C>();
        world.resource_mut::<DefaultQueryFilters>().register_disabling_component(asleep);
    });
    let entity = ctx().commands(|commands| commands.spawn((Part(0), hides)).id()).unwrap();
    let seen = ctx().run(|parts: Query<&Part>| parts.iter().count());
    assert_eq!(seen, Ok(0), "queries pass over it");
    let waiting = wait::<Part>(&[entity]);
    ctx().ticks(2).await;
    assert!(!waiting[0].is_finished());
    ctx().entity(entity).get_mut(|mut part: Mut<Part>| part.0 = 1).unwrap();
    ctx().ticks(2).await;
    assert!(waiting[0].is_finished());
}

#[test]
fn entities_that_are_hidden_from_queries_are_looked_at() {
    go(hidden_entities_are_looked_at(Asleep));
    go(hidden_entities_are_looked_at(SparseAsleep));
}
