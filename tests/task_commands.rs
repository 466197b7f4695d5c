//! Tasks that systems, observers, hooks and closures with the World start, count and end.

#![expect(clippy::async_yields_async, reason = "a task's handle leaves `block_on`")]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::Rc,
};

use bevy_ecs::{
    error::{BevyError, ErrorContext, FallbackErrorHandler},
    lifecycle::HookContext,
    prelude::*,
    schedule::ScheduleLabel,
    world::DeferredWorld,
};
use common::{Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{
    CancelReason, EntityCtx, EntityTaskCommands, EntityTasks, JoinError, Runtime, SpawnTaskError,
    TaskCommands, TaskKey, Tasks, Tick, WorldCtx, WorldTasks, spawn, spawn_on, yield_now,
};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Late;

#[derive(Component)]
struct Unit;

#[derive(EntityEvent)]
struct Order(Entity);

/// Starts a task on its entity as it is inserted.
#[derive(Component)]
#[component(on_add = Alive::start)]
struct Alive;

impl Alive {
    fn start(mut world: DeferredWorld<'_>, context: HookContext) {
        world.commands().entity(context.entity).spawn_task(step);
    }
}

/// A task on an entity, with something that is not `Send` across its waits.
async fn step(entity: EntityCtx) {
    let not_send = Rc::new("ran");
    yield_now().await;
    log(format!("{not_send} on {}", entity.id()));
    pending::<()>().await;
}

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn note_error(error: BevyError, _: ErrorContext) {
    log(error.to_string());
}

#[test]
fn a_system_starts_tasks_that_run_before_the_next_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn(Unit).id();
    let stages = [Tick.intern(), Late.intern()];
    let mut rt = Runtime::builder(&mut world).stages(stages).build();
    rt.schedule(Tick).add_systems(move |mut commands: Commands| {
        commands.spawn_task(|| async { log("unbound") });
        commands.entity(entity).spawn_task(|_| async { log("bound") });
        log("system");
    });
    rt.schedule(Late).add_systems(|| log("late"));
    rt.tick().unwrap();
    assert_eq!(logged(), ["system", "unbound", "bound", "late"]);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn observers_and_hooks_start_tasks_on_their_entities() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.add_observer(|order: On<Order>, mut commands: Commands| {
        commands.entity(order.0).spawn_task(step);
    });
    let mut rt = Runtime::new(&mut world);
    let [heard, hooked] = rt.block_on(async {
        let heard = ctx().with_world(|world| world.spawn_empty().id());
        ctx().trigger_on(heard);
        let hooked = ctx().with_world(|world| world.spawn(Alive).id());
        ctx().ticks(2).await;
        [heard, hooked]
    });
    assert_eq!(logged(), [format!("ran on {heard}"), format!("ran on {hooked}")]);
    assert_eq!(rt.task_count(), 2);
    rt.world_mut().despawn(heard);
    rt.world_mut().despawn(hooked);
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 0);
}

/// Triggers the event of these tests.
trait TriggerOn {
    fn trigger_on(&self, entity: Entity);
}

impl TriggerOn for WorldCtx {
    fn trigger_on(&self, entity: Entity) {
        self.with_world(|world| world.trigger(Order(entity)));
    }
}

#[test]
fn without_a_runtime_the_command_is_an_error_that_names_the_entity() {
    let mut world = World::new();
    world.insert_resource(FallbackErrorHandler(note_error));
    let entity = world.spawn_empty().id();
    world.commands().entity(entity).spawn_task(step);
    world.commands().spawn_task(|| async {});
    world.flush();
    let errors = logged();
    let [bound, unbound] = &*errors else { panic!("two errors: {errors:?}") };
    assert!(bound.contains(&format!("the entity {entity}")), "{bound}");
    assert!(bound.contains("no onbeat runtime is running on this World"), "{bound}");
    assert!(unbound.starts_with("no task was started: no onbeat runtime"), "{unbound}");
}

#[test]
fn between_turns_there_is_no_runtime() {
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    let world = rt.world_mut();
    let refused = world.spawn_task(|| async {}).map(drop);
    assert_eq!(refused, Err(SpawnTaskError::NoRuntime { entity: None }));
    let refused = world.entity_mut(entity).spawn_task(step).map(drop);
    assert_eq!(refused, Err(SpawnTaskError::NoRuntime { entity: Some(entity) }));
}

#[test]
fn a_command_for_an_entity_that_has_gone_is_an_error_that_names_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(FallbackErrorHandler(note_error));
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move |mut commands: Commands| {
        commands.entity(entity).despawn();
        commands.entity(entity).spawn_task(|_| -> std::future::Ready<()> {
            panic!("it is not called");
        });
    });
    rt.tick().unwrap();
    let errors = logged();
    let [error] = &*errors else { panic!("one error: {errors:?}") };
    assert!(error.contains(&format!("no task was started on the entity {entity}")), "{error}");
}

#[test]
fn a_despawn_behind_the_start_in_one_queue_leaves_the_task_unpolled() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move |mut commands: Commands| {
        if let Ok(mut entity) = commands.get_entity(entity) {
            entity.spawn_task(|_| async { panic!("it is not polled") }).despawn();
        }
    });
    rt.tick().unwrap();
    assert_eq!((rt.task_count(), rt.stats().task_panics), (0, 0));
}

#[test]
fn with_the_world_at_hand_the_handle_gives_the_output() {
    block_on(async {
        let (sum, name) = ctx().with_world(|world| {
            let sum = world.spawn_task(|| async { 3 + 4 }).unwrap();
            let name = world.spawn_empty().spawn_task(|entity| async move { entity.id() }).unwrap();
            (sum, name)
        });
        assert_eq!(sum.await, 7);
        assert_eq!(ctx().entity(name.await).exists(), Ok(true));
    });
}

#[test]
fn an_entity_that_a_queued_command_despawns_first_has_gone() {
    block_on(async {
        ctx().with_world(|world| {
            let mut entity = world.spawn_empty();
            let id = entity.id();
            entity.world_scope(|world| assert!(world.despawn(id)));
            let refused = entity.spawn_task(|_| async {}).map(drop);
            assert_eq!(refused, Err(SpawnTaskError::EntityGone(id)));
        });
    });
}

#[test]
fn what_makes_the_future_cannot_use_the_world_that_the_command_has() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move |mut commands: Commands| {
        commands.entity(entity).spawn_task(|entity| {
            assert!(entity.exists().is_err());
            async move { log(format!("{:?}", entity.exists())) }
        });
    });
    rt.tick().unwrap();
    assert_eq!(logged(), ["Ok(true)"]);
}

#[test]
fn a_panic_of_what_makes_the_future_is_that_of_the_stage_and_leaves_no_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move |mut commands: Commands| {
        commands.entity(entity).spawn_task(|_| -> std::future::Ready<()> { panic!("not made") });
    });
    let message = panic_message(|| rt.tick().unwrap());
    assert_eq!(message, "not made");
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn the_line_that_asked_for_a_task_is_known() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    let line = line!() + 2;
    rt.schedule(Tick).add_systems(move |mut commands: Commands, tasks: Tasks| {
        commands.entity(entity).spawn_task(|_| pending::<()>());
        commands.spawn_task(pending::<()>);
        drop(tasks.spawn(pending::<()>()));
    });
    rt.tick().unwrap();
    let mut lines: Vec<_> = rt.tasks().iter().map(|task| task.spawned_at.line()).collect();
    lines.sort_unstable();
    assert_eq!(lines, [line, line + 1, line + 2]);
}

/// Runs `system` once, in a stage of the tick of a runtime that `before` prepared.
fn in_a_system<T: 'static>(
    before: impl AsyncFnOnce() -> T,
    system: impl Fn(&Tasks, &T) + Send + Sync + 'static,
) -> usize {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let prepared = rt.block_on(before());
    rt.world_mut().insert_non_send(prepared);
    rt.schedule(Tick).add_systems(move |tasks: Tasks, prepared: NonSend<T>| {
        system(&tasks, &prepared);
    });
    rt.tick().unwrap();
    rt.task_count()
}

#[test]
fn a_system_counts_and_lists_tasks() {
    let two = async || [spawn(pending::<()>()), spawn(pending::<()>())];
    let left = in_a_system(two, |tasks, two| {
        assert_eq!(tasks.count(), 2);
        let keys: Vec<_> = tasks.list().iter().map(|task| task.key).collect();
        assert_eq!(keys, [two[0].id(), two[1].id()]);
        let info = tasks.info(two[1].id()).unwrap();
        assert_eq!(info.key, two[1].id());
        assert_eq!(info.spawned_at.file(), file!());
        drop(tasks.spawn(async {}));
        assert_eq!(tasks.count(), 3);
    });
    assert_eq!(left, 2);
}

#[test]
fn a_system_ends_a_task_by_its_key_once_and_it_is_reaped_after_the_stage() {
    let drops = Rc::new(Cell::new(0));
    let polls = Rc::new(RefCell::new(0));
    let (dropped, counted) = (Drops::counted_by(&drops), polls.clone());
    let seen = drops.clone();
    let left = in_a_system(
        async move || {
            let task = spawn(async move {
                let _dropped = dropped;
                loop {
                    *counted.borrow_mut() += 1;
                    yield_now().await;
                }
            });
            yield_now().await;
            (task, seen)
        },
        |tasks, (task, drops)| {
            let key = task.id();
            assert!(tasks.info(key).is_some());
            assert!(tasks.abort(key));
            assert!(!tasks.abort(key), "it was ended before");
            assert_eq!(drops.get(), 0, "nothing is dropped inside a system");
        },
    );
    assert_eq!((left, drops.get()), (0, 1));
}

#[test]
fn an_aborted_task_tells_its_handle_so_and_its_key_names_nobody_else() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async { spawn(pending::<()>()) });
    let key = task.id();
    rt.world_mut().insert_resource(Target(key));
    rt.schedule(Tick).add_systems(|tasks: Tasks, target: Res<Target>| {
        if tasks.abort(target.0) {
            log("aborted");
        }
    });
    let reason = rt.block_on(async { task.join().await });
    assert!(matches!(reason, Err(JoinError::Cancelled(CancelReason::Aborted))));
    let again = rt.block_on(async {
        let again = spawn(pending::<()>());
        ctx().ticks(3).await;
        again
    });
    assert_ne!(again.id(), key);
    assert!(!again.is_finished(), "a key names its task for ever");
    assert_eq!(logged(), ["aborted"]);
}

#[derive(Resource)]
struct Target(TaskKey);

#[test]
fn an_entity_whose_system_ended_its_task_lets_go_of_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async { spawn_on(entity, |_| pending::<()>()) });
    rt.world_mut().insert_resource(Target(task.id()));
    rt.schedule(Tick).add_systems(|tasks: Tasks, target: Res<Target>, mut commands: Commands| {
        if tasks.abort(target.0) {
            commands.queue(|world: &mut World| world.clear_entities());
        }
    });
    let reason = {
        rt.tick().unwrap();
        assert!(task.is_finished());
        block_on(task.join())
    };
    assert!(matches!(reason, Err(JoinError::Cancelled(CancelReason::Aborted))), "{reason:?}");
}

#[test]
fn without_a_runtime_there_are_no_tasks() {
    let mut world = World::new();
    let key = Runtime::new(&mut world).block_on(async { spawn(pending::<()>()).id() });
    world.insert_resource(Target(key));
    let mut schedule = Schedule::default();
    schedule.add_systems(|tasks: Tasks, target: Res<Target>| {
        assert_eq!((tasks.count(), tasks.list().len()), (0, 0));
        assert!(tasks.info(target.0).is_none());
        assert!(!tasks.abort(target.0));
        let message = panic_message(|| drop(tasks.spawn(async {})));
        assert!(message.contains("needs a running onbeat runtime"), "{message}");
    });
    schedule.run(&mut world);
}
