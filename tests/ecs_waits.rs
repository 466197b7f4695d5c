//! Waiting for what happens in the World: messages, changes, events, components and entities.

mod common;

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{
    Count, Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, poll_once, rounds,
    tick_number, watchdog,
};
use futures::{StreamExt, future::select};
use onbeat::{
    EntityCtx, EntityGone, Lagged, OnTaskPanic, Runtime, Tick, TickStats, WorldCtx, sleep,
    spawn_boxed, yield_now,
};

#[derive(Message, Event, Clone, Debug, PartialEq)]
struct Note(u32);
#[derive(Message, Event)]
struct Unclonable(u32);
#[derive(Resource, Default, Debug, PartialEq)]
struct Value(u32);
#[derive(Component, Default)]
struct Part(u32);
#[derive(Component)]
struct Fresh(#[expect(dead_code, reason = "a component that is not a unit")] u32);
#[derive(EntityEvent, Clone, Debug, PartialEq)]
struct Hit {
    entity: Entity,
    damage: u32,
}

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

fn write(note: u32) {
    ctx().with_world(|world| world.write_message(Note(note)));
}

fn spawn(bundle: impl Bundle) -> Entity {
    ctx().with_world(|world| world.spawn(bundle).id())
}

fn despawn(entity: Entity) {
    ctx().with_world(|world| world.despawn(entity));
}

/// Runs on a runtime that never parks: waits for the World do not keep a loop awake.
fn busy<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on_busy(future)
}

#[test]
fn messages_come_in_the_order_written_from_the_call_on() {
    busy(async {
        ctx().messages::<Note>();
        write(1);
        let mut notes = ctx().messages::<Note>();
        write(2);
        write(3);
        assert_eq!(notes.recv().await, Ok(Note(2)));
        assert_eq!(notes.try_recv(), Ok(Some(Note(3))));
        assert_eq!(notes.try_recv(), Ok(None));
    });
}

#[test]
fn two_readers_each_read_every_message() {
    busy(async {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut notes = ctx().messages::<Note>();
                spawn_boxed(async move {
                    for expected in 0..50 {
                        assert_eq!(notes.recv().await, Ok(Note(expected)));
                    }
                    tick_number()
                })
            })
            .collect();
        for note in 0..50 {
            write(note);
            ctx().next_tick().await;
        }
        for reader in readers {
            assert_eq!(reader.await, 50, "each in the tick in which it was written");
        }
    });
}

#[test]
fn a_slow_reader_learns_how_many_it_missed_once() {
    busy(async {
        let mut notes = ctx().messages::<Note>();
        for note in 0..10 {
            write(note);
            ctx().next_tick().await;
        }
        // Of the tick before, and this one.
        assert_eq!(notes.recv().await, Err(Lagged(9)));
        assert_eq!(notes.recv().await, Ok(Note(9)));
        write(10);
        assert_eq!(notes.recv().await, Ok(Note(10)));
    });
}

#[test]
fn a_message_is_there_until_the_end_of_the_next_tick() {
    busy(async {
        for (sleeps, expected) in
            [(0, Ok(Some(Note(1)))), (1, Ok(Some(Note(1)))), (2, Err(Lagged(1)))]
        {
            let mut notes = ctx().messages::<Note>();
            write(1);
            ctx().ticks(sleeps).await;
            assert_eq!(notes.try_recv(), expected);
        }
    });
}

#[test]
fn messages_are_a_stream() {
    busy(async {
        let notes = ctx().messages::<Note>();
        go(async {
            for note in 0..5 {
                write(note);
                yield_now().await;
            }
        });
        let all: Vec<_> = notes.take(5).map(|note| note.unwrap().0).collect().await;
        assert_eq!(all, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_message_that_is_not_clone_is_read_with_a_closure() {
    busy(async {
        let mut notes = ctx().messages::<Unclonable>();
        ctx().with_world(|world| world.write_message(Unclonable(4)));
        assert_eq!(notes.recv_with(|note| note.0).await, Ok(4));
    });
}

#[test]
fn a_dropped_recv_loses_no_message() {
    busy(async {
        let mut notes = ctx().messages::<Note>();
        for note in 0..20 {
            let count = Count::new();
            {
                let mut receive = notes.recv();
                assert!(count.poll(&mut receive).is_pending());
                assert_eq!(count.kept(), 1);
                write(note);
                ctx().at(Tick).await;
            }
            assert_eq!(count.kept(), 0);
            assert_eq!(notes.recv().await, Ok(Note(note)));
            ctx().next_tick().await;
        }
    });
}

#[test]
fn messages_does_not_register_what_is_there() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Messages<Note>>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on_busy(async {
        let mut notes = ctx().messages::<Note>();
        write(1);
        ctx().ticks(5).await;
        assert_eq!(notes.try_recv(), Ok(Some(Note(1))), "nobody turns these over");
    });
}

#[test]
fn a_reader_goes_on_when_the_messages_are_counted_anew() {
    busy(async {
        let mut notes = ctx().messages::<Note>();
        write(1);
        write(2);
        assert_eq!(notes.recv().await, Ok(Note(1)));
        assert_eq!(notes.recv().await, Ok(Note(2)));
        go(async {
            ctx().next_tick().await;
            ctx().with_world(|world| {
                world.insert_resource(Messages::<Note>::default());
                world.write_message(Note(3));
            });
        });
        assert_eq!(notes.recv().await, Ok(Note(3)));
    });
}

#[test]
fn an_access_inside_a_clone_names_the_place_of_the_read() {
    #[derive(Message)]
    struct Nosy;
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            log(ctx().try_with_world(|_| ()).unwrap_err().to_string());
            Self
        }
    }
    busy(async {
        let mut notes = ctx().messages::<Nosy>();
        ctx().with_world(|world| world.write_message(Nosy));
        assert!(notes.recv().await.is_ok());
    });
    let error = logged().remove(0);
    assert!(error.contains("ecs_waits.rs"), "{error}");
}

#[test]
fn only_a_change_after_the_call_counts() {
    busy(async {
        ctx().with_world(|world| world.insert_resource(Value(1)));
        let mut changed = ctx().res_changed::<Value>();
        for _ in 0..3 {
            assert!(poll_once(&mut changed).await.is_pending());
            ctx().next_tick().await;
        }
        ctx().with_world(|world| world.resource_mut::<Value>().0 = 2);
        assert!(poll_once(&mut changed).await.is_ready());
        let mut again = ctx().res_changed::<Value>();
        assert!(poll_once(&mut again).await.is_pending());
    });
}

#[test]
fn no_write_in_a_turn_is_missed() {
    busy(async {
        ctx().with_world(|world| world.init_resource::<Value>());
        let seen = Rc::new(Cell::new(0));
        let reader = seen.clone();
        go(async move {
            loop {
                ctx().res_changed::<Value>().await;
                reader.set(ctx().with_world_ref(|world| world.resource::<Value>().0));
            }
        });
        yield_now().await;
        for value in 1..200 {
            ctx().with_world(|world| world.resource_mut::<Value>().0 = value);
            if value % 3 == 0 {
                ctx().at(Tick).await;
            }
            ctx().next_tick().await;
            assert_eq!(seen.get(), value);
        }
    });
}

#[test]
fn until_changed_looks_at_each_change_and_may_borrow() {
    busy(async {
        ctx().with_world(|world| world.insert_resource(Value(5)));
        go(async {
            for value in [1, 2, 3, 4] {
                ctx().next_tick().await;
                ctx().with_world(|world| world.resource_mut::<Value>().0 = value);
            }
        });
        let looked = RefCell::new(Vec::new());
        let wanted = ctx().until_changed(|value: &Value| {
            looked.borrow_mut().push(value.0);
            (value.0 == 3).then_some(value.0)
        });
        assert_eq!(wanted.await, 3);
        assert_eq!(*looked.borrow(), [1, 2, 3]);
    });
}

#[test]
fn a_resource_that_is_not_there_is_changed_when_it_comes() {
    busy(async {
        let mut changed = ctx().res_changed::<Value>();
        let mut inserted = ctx().res_inserted::<Value>();
        ctx().next_tick().await;
        assert!(poll_once(&mut changed).await.is_pending());
        assert!(poll_once(&mut inserted).await.is_pending());
        ctx().with_world(|world| world.insert_resource(Value(1)));
        changed.await;
        inserted.await;
        let again = ctx().res_inserted::<Value>();
        ctx().with_world(|world| world.insert_resource(Value(2)));
        again.await;
    });
}

#[test]
fn a_resource_scope_counts_as_an_insertion_and_as_a_change() {
    busy(async {
        ctx().with_world(|world| world.insert_resource(Value(1)));
        let (inserted, changed) = (ctx().res_inserted::<Value>(), ctx().res_changed::<Value>());
        ctx().with_world(|world| {
            world.resource_scope(|_, value: Mut<Value>| assert_eq!(value.0, 1));
        });
        inserted.await;
        changed.await;
    });
}

#[test]
fn an_event_reaches_all_who_wait_in_order_of_call() {
    busy(async {
        for name in ["a", "b", "c"] {
            go(async move {
                let Note(number) = ctx().event::<Note>().await;
                log(format!("{name} {number} in tick {}", tick_number()));
            });
        }
        yield_now().await;
        ctx().with_world(|world| {
            world.trigger(Note(1));
            world.trigger(Note(2));
        });
        ctx().at(Tick).await;
        assert_eq!(logged(), ["a 1 in tick 2", "b 1 in tick 2", "c 1 in tick 2"]);
    });
}

#[test]
fn an_event_that_is_not_clone_is_seen_by_a_closure() {
    busy(async {
        let seen = ctx().event_with(|event: &Unclonable| event.0);
        ctx().with_world(|world| world.trigger(Unclonable(3)));
        assert_eq!(seen.await, 3);
    });
}

#[test]
fn an_event_between_ticks_is_not_lost() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let mut waiting = None;
    rt.block_on(async { waiting = Some(ctx().event::<Note>()) });
    rt.world_mut().trigger(Note(1));
    assert_eq!(rt.block_on(waiting.take().unwrap()), Note(1));
}

#[test]
fn an_event_on_another_thread_is_not_lost() {
    busy(async {
        let event = spawn_boxed(ctx().event::<Note>());
        let entity = spawn(Part(0));
        let gone = spawn_boxed(ctx().entity(entity).despawned());
        yield_now().await;
        ctx().with_world(|world| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    world.trigger(Note(1));
                    world.despawn(entity);
                });
            });
        });
        assert_eq!(event.await, Note(1));
        gone.await;
    });
}

#[test]
fn a_panic_in_a_clone_of_an_event_is_a_panic_of_who_waits() {
    #[derive(Event)]
    struct Cursed;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let policy = OnTaskPanic::ContainAlways;
    let mut rt = Runtime::builder(&mut world).on_task_panic(policy).build();
    rt.block_on_busy(async {
        let cursed = spawn_boxed(ctx().event_with(|_: &Cursed| -> u32 { panic!("cursed") }));
        let other = spawn_boxed(ctx().event_with(|_: &Cursed| 7));
        ctx().with_world(|world| world.trigger(Cursed));
        assert_eq!(other.await, 7);
        assert!(cursed.join().await.is_err());
    });
}

#[test]
fn an_entity_hears_of_its_own_events_only() {
    busy(async {
        let (one, other) = (spawn(Part(0)), spawn(Part(0)));
        let mut hit = ctx().entity(one).event::<Hit>();
        let mut inserted = ctx().entity(one).inserted::<Fresh>();
        let mut removed = ctx().entity(one).removed::<Part>();
        ctx().with_world(|world| {
            world.trigger(Hit { entity: other, damage: 1 });
            world.entity_mut(other).insert(Fresh(1)).remove::<Part>();
        });
        assert!(poll_once(&mut hit).await.is_pending());
        assert!(poll_once(&mut inserted).await.is_pending());
        assert!(poll_once(&mut removed).await.is_pending());
        ctx().with_world(|world| {
            world.trigger(Hit { entity: one, damage: 2 });
            world.entity_mut(one).insert(Fresh(1)).remove::<Part>();
        });
        assert_eq!(hit.await, Ok(Hit { entity: one, damage: 2 }));
        assert_eq!((inserted.await, removed.await), (Ok(()), Ok(())));
    });
}

#[test]
fn a_component_change_wakes_who_waits_on_that_entity() {
    busy(async {
        let (one, other) = (spawn(Part(0)), spawn(Part(0)));
        let task = spawn_boxed(async move {
            let changed = ctx().entity(one).changed::<Part>().await;
            (changed, tick_number())
        });
        ctx().next_tick().await;
        ctx().with_world(|world| world.get_mut::<Part>(other).unwrap().0 = 1);
        ctx().ticks(3).await;
        assert!(!task.is_finished());
        ctx().with_world(|world| world.get_mut::<Part>(one).unwrap().0 = 1);
        assert_eq!(task.await, (Ok(()), 5));
    });
}

type Wait = Pin<Box<dyn Future<Output = Result<(), EntityGone>>>>;

/// What awaits something on `entity`.
fn waits(entity: Entity) -> Vec<Wait> {
    waits_of(ctx().entity(entity))
}

fn waits_of(at: EntityCtx) -> Vec<Wait> {
    vec![
        Box::pin(async move { at.event::<Hit>().await.map(drop) }),
        Box::pin(at.inserted::<Fresh>()),
        Box::pin(at.removed::<Part>()),
        Box::pin(at.changed::<Fresh>()),
        Box::pin(async move {
            at.despawned().await;
            Ok(())
        }),
    ]
}

#[test]
fn all_that_is_awaited_on_an_entity_ends_with_it_in_the_same_tick() {
    for end in [despawn, |_: Entity| ctx().with_world(World::clear_entities)] {
        busy(async move {
            let entity = spawn(Part(0));
            let tasks: Vec<_> = waits(entity).into_iter().map(spawn_boxed).collect();
            yield_now().await;
            end(entity);
            // After a clearance one of these has the name of the one before.
            let again: Vec<_> = (0..64).map(|_| spawn(Part(0))).collect();
            let cleared = !ctx().with_world_ref(World::contains_resource::<TickStats>);
            assert_eq!(again.contains(&entity), cleared);
            for again in again {
                ctx().with_world(|world| {
                    world.trigger(Hit { entity: again, damage: 1 });
                    world.entity_mut(again).insert(Fresh(1)).remove::<Part>();
                });
            }
            ctx().at(Tick).await;
            for (number, task) in tasks.into_iter().enumerate() {
                assert!(task.is_finished());
                let expected = if number == 4 { Ok(()) } else { Err(EntityGone { entity }) };
                assert_eq!(task.await, expected);
            }
            for wait in waits(Entity::PLACEHOLDER) {
                assert!(poll_once(wait).await.is_ready(), "what is not there is gone at once");
            }
        });
    }
}

#[test]
fn an_event_before_the_end_of_its_entity_is_given() {
    busy(async {
        let entity = spawn(Part(0));
        let at = ctx().entity(entity);
        let (hit, removed) = (at.event::<Hit>(), at.removed::<Part>());
        ctx().with_world(|world| {
            world.trigger(Hit { entity, damage: 2 });
            world.entity_mut(entity).remove::<Part>();
            world.despawn(entity);
        });
        assert!(hit.await.is_ok());
        assert_eq!(removed.await, Ok(()));
    });
}

#[test]
fn that_all_components_are_taken_counts_as_the_end_of_the_entity_for_who_waited_by_then() {
    busy(async {
        let entity = ctx().entity(spawn(Part(0)));
        let (gone, hit) = (entity.despawned(), entity.event::<Hit>());
        let (changed, removed) = (entity.changed::<Part>(), entity.removed::<Part>());
        ctx().with_world(|world| _ = world.entity_mut(entity.id()).clear());
        assert_eq!(removed.await, Ok(()));
        gone.await;
        assert_eq!(hit.await, Err(EntityGone { entity: entity.id() }));
        assert_eq!(changed.await, Err(EntityGone { entity: entity.id() }));
        assert_eq!(entity.exists(), Ok(true));
        let later = entity.inserted::<Part>();
        assert!(poll_once(entity.despawned()).await.is_pending());
        entity.insert(Part(1)).unwrap();
        assert_eq!(later.await, Ok(()));
    });
}

#[test]
fn what_is_awaited_in_the_world_outlives_clear_entities() {
    busy(async {
        let event = ctx().event::<Note>();
        let mut notes = ctx().messages::<Note>();
        let mut changed = ctx().res_changed::<Value>();
        assert!(poll_once(&mut changed).await.is_pending());
        ctx().with_world(World::clear_entities);
        ctx().next_tick().await;
        assert_eq!(notes.try_recv(), Ok(None));
        // Somebody's own observer takes the name that the shared one had.
        ctx().with_world(|world| {
            for _ in 0..8 {
                world.add_observer(|_: On<Note>| ());
            }
            world.trigger(Note(1));
        });
        assert_eq!(event.await, Note(1));
        let later = ctx().event::<Note>();
        ctx().with_world(|world| world.trigger(Note(2)));
        assert_eq!(later.await, Note(2));
    });
}

#[test]
fn a_change_of_another_that_got_the_id_is_not_that_of_the_entity_that_went() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn(Part(0)).id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move |world: &mut World| {
        if !world.get_entity(entity).is_ok_and(|entity| entity.contains::<Fresh>()) {
            world.clear_entities();
            assert!((0..1_000).any(|_| world.spawn(Fresh(1)).id() == entity), "ids come back");
            world.entity_mut(entity).insert(Part(1));
        }
    });
    let waiting = rt.block_on(async { ctx().entity(entity).changed::<Part>().await });
    assert_eq!(waiting, Err(EntityGone { entity }));
}

#[test]
fn an_observer_that_somebody_despawns_is_put_back() {
    busy(async {
        let event = spawn_boxed(ctx().event::<Note>());
        yield_now().await;
        ctx().with_world(|world| {
            let mut observers = world.query_filtered::<Entity, With<Observer>>();
            for entity in observers.iter(world).collect::<Vec<_>>() {
                world.despawn(entity);
            }
        });
        ctx().next_tick().await;
        ctx().with_world(|world| world.trigger(Note(1)));
        assert_eq!(event.await, Note(1));
    });
}

#[test]
fn one_observer_serves_every_wait_and_every_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut counts = Vec::new();
    for _ in 0..3 {
        Runtime::new(&mut world).block_on_busy(async {
            for _ in 0..50 {
                let event = ctx().event::<Note>();
                ctx().with_world(|world| world.trigger(Note(1)));
                event.await;
            }
        });
        counts.push(world.query::<&Observer>().iter(&world).count());
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn waits_for_the_world_let_the_loop_park() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let mut notes = ctx().messages::<Note>();
        let never = async {
            let entity = spawn(Part(0));
            let part = ctx().entity(entity).changed::<Part>();
            let (event, value) = (ctx().event::<Note>(), ctx().res_changed::<Value>());
            let _never = futures::join!(event, value, part, notes.recv());
        };
        select(Box::pin(never), sleep(Duration::from_millis(100))).await;
    });
    assert!(rt.stats().ticks <= 3, "{}", rt.stats().ticks);
    assert!(rt.stats().parks > 0);
}

#[test]
fn a_wait_inside_an_access_is_an_error_that_names_it() {
    block_on(async {
        let place = line!() + 1;
        ctx().with_world(|_| {
            for wait in [
                (|| drop(ctx().event::<Note>())) as fn(),
                || drop(ctx().messages::<Note>()),
                || drop(ctx().res_changed::<Value>()),
                || drop(ctx().entity(Entity::PLACEHOLDER).despawned()),
                || drop(ctx().entity(Entity::PLACEHOLDER).changed::<Part>()),
            ] {
                let message = panic_message(wait);
                assert!(message.contains(&format!("ecs_waits.rs:{place}")), "{message}");
            }
        });
    });
}

#[test]
fn waits_that_are_dropped_leave_nothing() {
    busy(async {
        let entity = spawn(Part(0));
        let at = ctx().entity(entity);
        let count = Count::new();
        let mut notes = ctx().messages::<Note>();
        for cycle in 0..rounds(100_000) {
            let polled = cycle % 2 == 0;
            macro_rules! drop_polled {
                ($wait:expr) => {{
                    let mut wait = $wait;
                    assert!(!polled || count.poll(&mut wait).is_pending());
                }};
            }
            match cycle / 2 % 12 {
                0 => drop_polled!(ctx().event::<Note>()),
                1 => drop_polled!(ctx().res_changed::<Value>()),
                2 => drop_polled!(ctx().res_inserted::<Value>()),
                3 => drop_polled!(at.event::<Hit>()),
                4 => drop_polled!(at.inserted::<Part>()),
                5 => drop_polled!(at.removed::<Part>()),
                6 => drop_polled!(at.changed::<Part>()),
                7 => drop_polled!(at.despawned()),
                8 => drop_polled!(ctx().next(Tick)),
                9 => drop_polled!(ctx().ticks(1_000)),
                10 => drop_polled!(ctx().until(Tick, |_| Some(()))),
                _ => drop_polled!(notes.recv()),
            }
        }
        assert_eq!(count.kept(), 0);
        despawn(entity);
        ctx().next_tick().await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_dropped_until_changed_drops_its_closure() {
    let drops = Rc::new(Cell::new(0));
    busy(async {
        let held = Drops::counted_by(&drops);
        let wait = ctx().until_changed(move |_: &Value| {
            let _ = &held;
            Some(())
        });
        drop(wait);
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn waits_that_are_dropped_after_what_they_waited_for_leave_nothing() {
    busy(async {
        ctx().with_world(|world| world.init_resource::<Value>());
        let count = Count::new();
        for polled in [false, true] {
            let entity = spawn(Part(0));
            let at = ctx().entity(entity);
            let mut notes = ctx().messages::<Note>();
            let mut waits: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
                Box::pin(async { drop(notes.recv().await) }),
                Box::pin(ctx().res_changed::<Value>()),
                Box::pin(ctx().until_changed(|_: &Value| Some(()))),
                Box::pin(ctx().res_inserted::<Value>()),
                Box::pin(ctx().until(Tick, |_| Some(()))),
                Box::pin(ctx().at(Tick)),
                Box::pin(async {
                    ctx().event::<Note>().await;
                }),
            ];
            let mut others = waits_of(at);
            for wait in waits.iter_mut().filter(|_| polled) {
                assert!(count.poll(wait).is_pending());
            }
            for wait in others.iter_mut().filter(|_| polled) {
                assert!(count.poll(wait).is_pending());
            }
            ctx().with_world(|world| {
                world.insert_resource(Value(1));
                world.write_message(Note(1));
                world.trigger(Note(1));
                world.trigger(Hit { entity, damage: 1 });
                let mut entity = world.entity_mut(entity);
                entity.insert(Fresh(1)).remove::<Part>();
                entity.despawn();
            });
            ctx().ticks(2).await;
            drop((waits, others));
            assert_eq!(count.kept(), 0);
        }
        assert!(count.wakes() >= 12);
    });
}

#[test]
fn a_nested_runtime_on_the_same_world_reaches_those_who_wait_outside() {
    busy(async {
        let entity = spawn(Part(0));
        let outer = spawn_boxed(async move {
            let event = ctx().event::<Note>();
            ctx().entity(entity).despawned().await;
            event.await
        });
        yield_now().await;
        ctx().with_world(|world| {
            Runtime::new(world).block_on_busy(async {
                let inner = spawn_boxed(ctx().event::<Note>());
                yield_now().await;
                ctx().with_world(|world| {
                    world.trigger(Note(1));
                    world.despawn(entity);
                });
                assert_eq!(inner.await, Note(1));
            });
        });
        assert_eq!(outer.await, Note(1));
    });
}

#[test]
fn a_wait_may_be_polled_by_another_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (mut event, mut changed) = (None, None);
    rt.block_on(async {
        event = Some(ctx().event::<Note>());
        changed = Some(ctx().res_changed::<Value>());
    });
    let mut other = World::new();
    Runtime::new(&mut other).block_on_busy(async {
        assert!(poll_once(event.as_mut().unwrap()).await.is_pending());
        assert!(poll_once(changed.as_mut().unwrap()).await.is_pending());
        rt.world_mut().trigger(Note(1));
        rt.world_mut().insert_resource(Value(1));
        assert_eq!(event.take().unwrap().await, Note(1));
        rt.tick().unwrap();
        changed.take().unwrap().await;
    });
}
