//! What a task does with the World, a call each: resources, commands, messages, events, systems,
//! schedules, entities; and what each says when it cannot.

mod common;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use bevy_ecs::{
    error::BevyError, message::MessageRegistry, prelude::*, schedule::ScheduleLabel,
    system::RegisteredSystemError,
};
use common::{LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{
    AccessError, EntityCtx, OnTaskPanic, Runtime, ScheduleError, SystemError, Tick, WorldCtx,
    WorldError, spawn_boxed, yield_now,
};

#[derive(Resource, Default, Clone, Copy, Debug, PartialEq)]
struct Score(u32);

#[derive(Resource)]
struct Absent;

#[derive(Component, Default, Clone, Copy, Debug, PartialEq)]
struct Quantity(u32);

#[derive(Component, Default, Clone, Copy, Debug, PartialEq)]
struct Price(u32);

#[derive(Message)]
struct Fill(u32);

#[derive(Event)]
struct Halt;

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Close;

fn score() -> u32 {
    WorldCtx::current().get::<Score>().expect("the resource is there").0
}

/// Runs `make` on a World that has a score.
fn with_score<F: Future>(make: impl FnOnce(WorldCtx) -> F) -> F::Output {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(World::init_resource::<Score>);
        make(ctx).await
    })
}

/// The error of every call that needs no entity.
fn refusals(ctx: WorldCtx) -> Vec<AccessError> {
    let entity = ctx.entity(Entity::PLACEHOLDER);
    [
        ctx.res(|_: &Score| ()).err(),
        ctx.res_mut(|_: Mut<Score>| ()).err(),
        ctx.get::<Score>().err(),
        ctx.commands(|_| ()).err(),
        ctx.write_message(Fill(1)).err(),
        ctx.trigger(Halt).err(),
        ctx.run(|| ()).err(),
        entity.get(|_: &Quantity| ()).err(),
        entity.get_mut(|_: Mut<Quantity>| ()).err(),
        entity.copied::<Quantity>().err(),
        entity.contains::<Quantity>().err(),
        entity.exists().err(),
        entity.insert(Quantity(1)).err(),
        entity.remove::<Quantity>().err(),
        entity.take::<Quantity>().err(),
        entity.despawn().err(),
    ]
    .into_iter()
    .map(|error| error.expect("the World is not to be had"))
    .collect()
}

fn is_taken(errors: &[AccessError]) -> bool {
    errors.iter().all(|error| matches!(error, AccessError::World(WorldError::Taken(_))))
}

#[test]
fn a_resource_is_read_written_and_copied() {
    with_score(|ctx| async move {
        assert_eq!(ctx.res_mut(|mut score: Mut<Score>| score.0 += 2), Ok(()));
        assert_eq!(ctx.res(|score: &Score| score.0), Ok(2));
        assert_eq!(ctx.get(), Ok(Score(2)));
        assert_eq!(ctx.res::<Score, _>(|score| score.0), Ok(2));
    });
}

#[test]
fn a_resource_counts_as_changed_only_when_it_is_written() {
    with_score(|ctx| async move {
        ctx.with_world(World::clear_trackers);
        ctx.res_mut(|score: Mut<Score>| score.0).unwrap();
        assert!(!ctx.with_world(|world| world.is_resource_changed::<Score>()));
        ctx.res_mut(|mut score: Mut<Score>| score.0 = 1).unwrap();
        assert!(ctx.with_world(|world| world.is_resource_changed::<Score>()));
    });
}

#[test]
fn a_missing_resource_is_named() {
    with_score(|ctx| async move {
        let errors = [
            ctx.res(|_: &Absent| ()).unwrap_err(),
            ctx.res_mut(|_: Mut<Absent>| ()).unwrap_err(),
            ctx.write_message(Fill(1)).unwrap_err(),
        ];
        assert!(errors[0].to_string().contains("Absent"), "{}", errors[0]);
        assert_eq!(errors[0], errors[1]);
        let unregistered = errors[2].to_string();
        assert!(unregistered.contains("Fill: register it with"), "{unregistered}");
        // Nothing is left of a refusal.
        assert_eq!(ctx.get(), Ok(Score(0)));
    });
}

#[test]
fn outside_a_turn_every_call_says_so() {
    let mut world = World::new();
    let ctx = WorldCtx::new(&mut world);
    let outside = AccessError::World(WorldError::OutsideTurn);
    assert!(refusals(ctx).iter().all(|error| *error == outside));
    assert_eq!(ctx.run_schedule(Close), Err(ScheduleError::World(WorldError::OutsideTurn)));
    let id = world.register_system(|| ());
    let refused = ctx.run_system(id, ());
    assert!(matches!(refused, Err(SystemError::World(WorldError::OutsideTurn))), "{refused:?}");
    let mut params = ctx.params::<Commands>();
    assert_eq!(params.with(|_| ()), Err(outside));
}

#[test]
fn inside_another_access_every_call_is_refused() {
    with_score(|ctx| async move {
        let nested = [
            ctx.with_world(|_| refusals(ctx)),
            ctx.with_world_ref(|_| refusals(ctx)),
            ctx.res(|_: &Score| refusals(ctx)).unwrap(),
            ctx.res_mut(|_: Mut<Score>| refusals(ctx)).unwrap(),
            ctx.commands(|_| refusals(ctx)).unwrap(),
            ctx.run(|_: Res<Score>| refusals(ctx)).unwrap(),
            ctx.params::<Res<Score>>().with(|_| refusals(ctx)).unwrap(),
        ];
        assert!(nested.iter().all(|errors| is_taken(errors)));
        ctx.with_world(|_| {
            let refused = ctx.run_schedule(Tick);
            assert!(matches!(refused, Err(ScheduleError::World(WorldError::Taken(_)))));
        });
        ctx.res_mut(|mut score: Mut<Score>| score.0 += 1).unwrap();
        assert_eq!(score(), 1);
    });
}

#[test]
fn hooks_observers_and_commands_have_the_world_and_are_refused() {
    with_score(|ctx| async move {
        ctx.with_world(|world| {
            world.register_component_hooks::<Quantity>().on_add(|_, _| {
                log(is_taken(&refusals(WorldCtx::try_current().unwrap())).to_string());
            });
            world.add_observer(|_: On<Halt>| {
                log(is_taken(&refusals(WorldCtx::try_current().unwrap())).to_string());
            });
        });
        ctx.commands(|commands| commands.spawn(Quantity(1)).id()).unwrap();
        ctx.trigger(Halt).unwrap();
        ctx.commands(|commands| {
            commands.queue(|_: &mut World| {
                log(is_taken(&refusals(WorldCtx::try_current().unwrap())).to_string());
            });
        })
        .unwrap();
        assert_eq!(logged(), ["true"; 3]);
    });
}

#[test]
fn a_context_of_another_world_is_refused_by_every_call() {
    let mut other = World::new();
    let other = WorldCtx::new(&mut other);
    block_on(async {
        let errors = refusals(other);
        assert!(errors.iter().all(|error| *error == AccessError::World(WorldError::OtherWorld)));
    });
}

#[test]
fn after_a_world_was_replaced_every_call_says_where() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            let ctx = WorldCtx::current();
            ctx.commands(|commands| commands.queue(|world: &mut World| *world = World::new()))
                .unwrap();
            let errors = refusals(ctx);
            log(errors
                .iter()
                .all(|error| matches!(error, AccessError::World(WorldError::Replaced(_))))
                .to_string());
        });
    });
    assert!(message.contains("world_access.rs"), "{message}");
    assert_eq!(logged(), ["true"]);
}

#[test]
fn commands_are_applied_when_the_closure_returns() {
    with_score(|ctx| async move {
        let entity = ctx.commands(|commands| commands.spawn(Quantity(1)).id()).unwrap();
        assert_eq!(ctx.entity(entity).copied(), Ok(Quantity(1)));
    });
}

#[test]
fn commands_that_with_world_leaves_in_the_queue_are_applied_before_the_next_poll() {
    with_score(|ctx| async move {
        let spawned = Rc::new(Cell::new(None));
        let spawning = spawned.clone();
        drop(spawn_boxed(async move {
            spawning.set(Some(ctx.with_world(|world| world.commands().spawn(Quantity(2)).id())));
        }));
        let look = spawn_boxed(async move {
            let entity = ctx.entity(spawned.get().expect("the other task was polled before"));
            assert_eq!(entity.copied(), Ok(Quantity(2)));
            let left = ctx.try_with_world(|world| world.commands().spawn(Quantity(3)).id());
            left.unwrap()
        });
        let entity = look.await;
        assert_eq!(ctx.entity(entity).copied(), Ok(Quantity(3)));
    });
}

#[test]
fn commands_that_a_destructor_leaves_are_applied_with_the_runtime_at_the_latest() {
    struct QueuesInDrop;
    impl Drop for QueuesInDrop {
        fn drop(&mut self) {
            WorldCtx::current().with_world(|world| {
                world.commands().queue(|world: &mut World| world.resource_mut::<Score>().0 += 1);
            });
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Score>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let (first, second) = (QueuesInDrop, QueuesInDrop);
        let waiting = spawn_boxed(async move {
            let _first = first;
            std::future::pending::<()>().await;
        });
        drop(spawn_boxed(async move {
            let _second = second;
            std::future::pending::<()>().await;
        }));
        yield_now().await;
        waiting.abort();
        yield_now().await;
        assert_eq!(score(), 1);
    });
    drop(rt);
    assert_eq!(world.resource::<Score>().0, 2);
}

#[test]
fn commands_of_a_closure_that_panicked_are_applied_before_the_next_poll() {
    with_score(|ctx| async move {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            ctx.with_world(|world| {
                world.commands().queue(|world: &mut World| world.resource_mut::<Score>().0 += 1);
                panic!("half way");
            });
        }));
        assert!(caught.is_err());
        yield_now().await;
        assert_eq!(score(), 1);
    });
}

#[test]
fn a_panic_in_a_command_that_was_left_leaves_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    for policy in [OnTaskPanic::Contain, OnTaskPanic::ContainAlways] {
        let mut world = World::new();
        world.init_resource::<Score>();
        let mut rt = Runtime::builder(&mut world).on_task_panic(policy).build();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            rt.block_on(async {
                drop(spawn_boxed(async {
                    WorldCtx::current().with_world(|world| {
                        world.commands().queue(|_: &mut World| panic!("bad command"));
                    });
                }));
                yield_now().await;
            });
        }));
        assert_eq!(ended.is_err(), policy == OnTaskPanic::Contain);
        // The runtime goes on.
        rt.block_on(async { WorldCtx::current().res_mut(|mut score: Mut<Score>| score.0 = 4) })
            .unwrap();
        assert_eq!(rt.world().resource::<Score>().0, 4);
    }
}

#[test]
fn a_panic_in_a_command_leaves_the_world_usable() {
    with_score(|ctx| async move {
        let message = panic_message(|| {
            let _ = ctx.commands(|commands| commands.queue(|_: &mut World| panic!("bad command")));
        });
        assert!(message.contains("bad command"), "{message}");
        ctx.res_mut(|mut score: Mut<Score>| score.0 = 4).unwrap();
        assert_eq!(score(), 4);
    });
}

#[test]
fn a_panic_in_a_closure_that_writes_leaves_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    type Access = fn(WorldCtx);
    let accesses: [Access; 4] = [
        |ctx| ctx.res_mut(|_: Mut<Score>| panic!("half an update")).unwrap(),
        |ctx| ctx.commands(|_| panic!("half an update")).unwrap(),
        |ctx| ctx.run(|_: ResMut<Score>| panic!("half an update")).unwrap(),
        |ctx| ctx.params::<ResMut<Score>>().with(|_| panic!("half an update")).unwrap(),
    ];
    for access in accesses {
        let mut world = World::new();
        world.init_resource::<Score>();
        let mut rt = Runtime::new(&mut world);
        let message = panic_message(|| {
            rt.block_on(async {
                let task = spawn_boxed(async move { access(WorldCtx::current()) });
                let _ = task.join().await;
            });
        });
        assert_eq!(message, "half an update");
    }
}

#[test]
fn a_panic_in_a_closure_that_reads_is_contained() {
    with_score(|ctx| async move {
        let task = spawn_boxed(async move { ctx.res(|_: &Score| panic!("only looking")).unwrap() });
        assert!(task.join().await.is_err());
        let entity = ctx.commands(|commands| commands.spawn(Quantity(1)).id()).unwrap();
        let task = spawn_boxed(async move {
            ctx.entity(entity).get(|_: &Quantity| panic!("only looking")).unwrap();
        });
        assert!(task.join().await.is_err());
    });
}

#[test]
fn a_message_is_read_by_the_next_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Score>();
    MessageRegistry::register_message::<Fill>(&mut world);
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut fills: MessageReader<Fill>, mut score: ResMut<Score>| {
        score.0 += fills.read().map(|fill| fill.0).sum::<u32>();
    });
    rt.block_on(async {
        let ctx = WorldCtx::current();
        let first = ctx.write_message(Fill(3)).unwrap();
        let second = ctx.write_message(Fill(4)).unwrap();
        assert_eq!((first.id, second.id), (0, 1));
        ctx.next_tick().await;
        assert_eq!(score(), 7);
    });
}

#[test]
fn an_event_is_observed_at_once_and_its_commands_are_applied() {
    with_score(|ctx| async move {
        ctx.with_world(|world| {
            world.add_observer(|_: On<Halt>, mut commands: Commands| {
                commands.queue(|world: &mut World| world.resource_mut::<Score>().0 += 1);
            });
        });
        ctx.trigger(Halt).unwrap();
        assert_eq!(score(), 1);
    });
}

#[test]
fn a_registered_system_runs_with_its_input() {
    with_score(|ctx| async move {
        let id = ctx.with_world(|world| {
            world.register_system(|In(more): In<u32>, mut score: ResMut<Score>| {
                score.0 += more;
                score.0
            })
        });
        assert_eq!(ctx.run_system(id, 2).unwrap(), 2);
        assert_eq!(ctx.run_system(id, 3).unwrap(), 5);
    });
}

#[test]
fn a_system_that_is_gone_or_lacks_a_parameter_is_an_error() {
    with_score(|ctx| async move {
        let (gone, poor) = ctx.with_world(|world| {
            let gone = world.register_system(|| ());
            world.unregister_system(gone).unwrap();
            (gone, world.register_system(|_: Res<Absent>| ()))
        });
        let refused = ctx.run_system(gone, ());
        assert!(
            matches!(
                refused,
                Err(SystemError::System(RegisteredSystemError::SystemIdNotRegistered(_)))
            ),
            "{refused:?}"
        );
        let refused = ctx.run_system(poor, ());
        assert!(
            matches!(refused, Err(SystemError::System(RegisteredSystemError::Failed(_)))),
            "{refused:?}"
        );
        fn into_bevy(error: SystemError<(), ()>) -> BevyError {
            error.into()
        }
        assert!(!into_bevy(refused.unwrap_err()).to_string().is_empty());
    });
}

#[test]
fn a_schedule_of_the_world_runs_at_once_and_again() {
    with_score(|ctx| async move {
        assert_eq!(ctx.run_schedule(Close), Err(ScheduleError::Missing(Close.intern())));
        ctx.with_world(|world| {
            let mut schedule = Schedule::new(Close);
            schedule.add_systems(|mut score: ResMut<Score>| score.0 += 1);
            world.add_schedule(schedule);
        });
        for expected in 1..=3 {
            ctx.run_schedule(Close).unwrap();
            assert_eq!(score(), expected);
        }
    });
}

#[test]
fn a_stage_is_not_run_by_hand() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([Close.intern()]).build();
    rt.block_on(async {
        let ctx = WorldCtx::current();
        assert_eq!(ctx.run_schedule(Close), Err(ScheduleError::Stage(Close.intern())));
        let message = ctx.run_schedule(Close).unwrap_err().to_string();
        assert!(message.contains("Close"), "{message}");
    });
    drop(rt);
    // When its runtime has gone, the label is free.
    Runtime::new(&mut world).block_on(async {
        let ctx = WorldCtx::current();
        assert_eq!(ctx.run_schedule(Close), Err(ScheduleError::Missing(Close.intern())));
    });
}

#[test]
fn a_schedule_is_not_run_within_itself() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut schedule = Schedule::new(Close);
    // The World is lent again, by a runtime inside one of the schedule's systems.
    schedule.add_systems(|world: &mut World| {
        Runtime::builder(world).stages([Tick.intern()]).build().block_on(async {
            let refused = WorldCtx::current().run_schedule(Close);
            log((refused == Err(ScheduleError::Running(Close.intern()))).to_string());
            // A stage of the runtime further out, while a nested one has the World.
            let refused = WorldCtx::current().run_schedule(Tick);
            log((refused == Err(ScheduleError::Stage(Tick.intern()))).to_string());
        });
    });
    world.add_schedule(schedule);
    Runtime::new(&mut world).block_on(async {
        WorldCtx::current().run_schedule(Close).unwrap();
    });
    assert_eq!(logged(), ["true", "true"]);
}

#[test]
fn a_schedule_that_panicked_runs_whole_the_next_time() {
    with_score(|ctx| async move {
        ctx.with_world(|world| {
            let mut schedule = Schedule::new(Close);
            let first = |mut score: ResMut<Score>| score.0 += 1;
            let second = |score: Res<Score>| assert!(score.0 > 1, "the first time");
            schedule.add_systems((first, second).chain());
            world.add_schedule(schedule);
        });
        let message = panic_message(|| ctx.run_schedule(Close).unwrap());
        assert!(message.contains("the first time"), "{message}");
        ctx.run_schedule(Close).unwrap();
        assert_eq!(score(), 2);
    });
}

#[test]
fn an_entity_is_read_written_and_changed() {
    with_score(|ctx| async move {
        let entity = ctx.commands(|commands| commands.spawn(Quantity(5)).id()).unwrap();
        let entity: EntityCtx = ctx.entity(entity);
        assert_eq!(entity.get_mut(|mut quantity: Mut<Quantity>| quantity.0 += 1), Ok(()));
        assert_eq!(entity.get(|quantity: &Quantity| quantity.0), Ok(6));
        assert_eq!(entity.contains::<Price>(), Ok(false));
        assert_eq!(entity.insert((Price(101), Quantity(7))), Ok(()));
        assert_eq!((entity.copied(), entity.copied()), (Ok(Price(101)), Ok(Quantity(7))));
        assert_eq!(entity.take(), Ok((Price(101), Quantity(7))));
        assert_eq!(entity.contains::<Price>(), Ok(false));
        assert_eq!(entity.remove::<Price>(), Ok(()));
        assert_eq!(entity.despawn(), Ok(()));
        assert_eq!(entity.exists(), Ok(false));
        assert_eq!(entity.world(), ctx);
    });
}

#[test]
fn a_missing_component_is_named_with_its_entity() {
    with_score(|ctx| async move {
        let entity = ctx.commands(|commands| commands.spawn(Quantity(5)).id()).unwrap();
        let entity = ctx.entity(entity);
        let errors = [
            entity.get(|_: &Price| ()).unwrap_err(),
            entity.get_mut(|_: Mut<Price>| ()).unwrap_err(),
            entity.copied::<Price>().unwrap_err(),
            entity.take::<Price>().unwrap_err(),
        ];
        assert!(errors.iter().all(|error| *error == errors[0]));
        let message = errors[0].to_string();
        assert!(
            message.contains("Price") && message.contains(&entity.id().to_string()),
            "{message}"
        );
    });
}

#[test]
fn an_entity_that_has_gone_is_named_by_every_call() {
    with_score(|ctx| async move {
        let entity = ctx.commands(|commands| commands.spawn(Quantity(5)).id()).unwrap();
        let entity = ctx.entity(entity);
        entity.despawn().unwrap();
        // The place of the entity may be taken by another.
        ctx.commands(|commands| commands.spawn(Quantity(6)).id()).unwrap();
        let gone = AccessError::EntityGone(entity.id());
        assert_eq!(entity.get(|_: &Quantity| ()), Err(gone));
        assert_eq!(entity.get_mut(|_: Mut<Quantity>| ()), Err(gone));
        assert_eq!(entity.copied::<Quantity>(), Err(gone));
        assert_eq!(entity.contains::<Quantity>(), Err(gone));
        assert_eq!(entity.insert(Quantity(1)), Err(gone));
        assert_eq!(entity.remove::<Quantity>(), Err(gone));
        assert_eq!(entity.take::<Quantity>(), Err(gone));
        assert_eq!(entity.despawn(), Err(gone));
        assert_eq!(entity.exists(), Ok(false));
        assert!(gone.to_string().contains(&entity.id().to_string()));
    });
}

#[test]
fn an_error_converts_into_that_of_bevy() {
    with_score(|ctx| async move {
        let ask = || -> Result<(), BevyError> { Ok(ctx.res(|_: &Absent| ())?) };
        assert!(ask().unwrap_err().to_string().contains("Absent"));
    });
}

#[test]
fn what_an_entity_despawns_in_its_hooks_is_gone_when_the_call_returns() {
    with_score(|ctx| async move {
        let other = ctx.commands(|commands| commands.spawn(Price(1)).id()).unwrap();
        ctx.with_world(|world| {
            world.add_observer(move |_: On<Remove<Quantity>>, mut commands: Commands| {
                commands.entity(other).despawn();
            });
        });
        let entity = ctx.commands(|commands| commands.spawn(Quantity(5)).id()).unwrap();
        ctx.entity(entity).remove::<Quantity>().unwrap();
        assert_eq!(ctx.entity(other).exists(), Ok(false));
    });
}

#[test]
fn a_destructor_of_an_aborted_task_may_use_every_call() {
    struct AsksInDrop(Rc<Cell<u32>>);
    impl Drop for AsksInDrop {
        fn drop(&mut self) {
            let ctx = WorldCtx::current();
            ctx.res_mut(|mut score: Mut<Score>| score.0 += 1).unwrap();
            ctx.run(|mut score: ResMut<Score>| score.0 += 1).unwrap();
            ctx.params::<ResMut<Score>>().with(|mut score| score.0 += 1).unwrap();
            ctx.commands(|commands| commands.spawn(Quantity(1)).id()).unwrap();
            self.0.set(ctx.get::<Score>().unwrap().0);
        }
    }
    with_score(|_| async move {
        let seen = Rc::new(Cell::new(0));
        let asks = AsksInDrop(seen.clone());
        let task = spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(seen.get(), 3);
    });
}
