//! Tasks that belong to an entity: each way in which it can go ends them at once.

#![expect(clippy::async_yields_async, reason = "a task's handle leaves `block_on`")]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    thread,
};

use bevy_ecs::{entity::EntityCloner, prelude::*, world::DeferredWorld};
use common::{Drops, LIMIT_SECONDS, block_on, panic_message, poll_once, watchdog};
use onbeat::{
    AccessError, CancelReason, EntityCtx, EntityTasks, JoinError, JoinHandle, Runtime,
    SpawnTaskError, Tick, WorldCtx, WorldError, spawn, spawn_boxed, spawn_on, yield_now,
};

/// Dropped with its entity.
#[derive(Component, Clone, Default)]
struct Life(Arc<AtomicBool>);

impl Drop for Life {
    fn drop(&mut self) {
        // The test has the other clones.
        if Arc::strong_count(&self.0) > 1 {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// Who is to be despawned by a system.
#[derive(Resource, Default)]
struct Doomed(Option<Entity>);

#[derive(EntityEvent)]
struct Fall(Entity);

/// Despawns its entity as it is inserted.
#[derive(Component)]
#[component(on_add = Poison::despawn)]
struct Poison;

impl Poison {
    fn despawn(mut world: DeferredWorld<'_>, context: bevy_ecs::lifecycle::HookContext) {
        world.commands().entity(context.entity).despawn();
    }
}

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

/// What a task did.
#[derive(Clone, Default)]
struct Probe {
    polls: Rc<Cell<usize>>,
    polls_after_life: Rc<Cell<usize>>,
    /// Whether the World could be used, for each drop.
    drops: Rc<RefCell<Vec<Result<(), WorldError>>>>,
}

/// Notes its drop.
struct End(Probe, WorldCtx);

impl Drop for End {
    fn drop(&mut self) {
        let used = self.1.try_with_world(|world| world.spawn_empty().id()).map(|_| ());
        self.0.drops.borrow_mut().push(used);
    }
}

impl Probe {
    /// A task that never completes; `wakes`: it wakes itself at each poll.
    fn run(
        &self,
        entity: EntityCtx,
        life: &Arc<AtomicBool>,
        wakes: bool,
    ) -> impl Future<Output = ()> + use<> {
        let (probe, life) = (self.clone(), life.clone());
        let end = End(self.clone(), entity.world());
        poll_fn(move |cx| {
            let _end = &end;
            probe.polls.set(probe.polls.get() + 1);
            if life.load(Ordering::SeqCst) {
                probe.polls_after_life.set(probe.polls_after_life.get() + 1);
            }
            if wakes {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    #[track_caller]
    fn check_ended(&self) {
        assert!(self.polls.get() > 0, "it ran");
        assert_eq!(self.polls_after_life.get(), 0, "it is not polled after its entity has gone");
        assert_eq!(*self.drops.borrow(), [Ok(())], "dropped once, where the World may be used");
    }
}

/// An entity whose end sets the flag.
fn living() -> (Entity, Arc<AtomicBool>) {
    let life = Life::default();
    let flag = life.0.clone();
    (ctx().with_world(|world| world.spawn(life).id()), flag)
}

fn reason<T: std::fmt::Debug>(joined: Result<T, JoinError>) -> CancelReason {
    match joined {
        Err(JoinError::Cancelled(reason)) => reason,
        other => panic!("it was cancelled: {other:?}"),
    }
}

/// Tasks that are parked and tasks that are queued end when `end` has the entity despawned.
#[track_caller]
fn check(end: impl AsyncFn(Entity)) {
    let _guard = watchdog(LIMIT_SECONDS);
    for wakes in [false, true] {
        let mut world = World::new();
        world.init_resource::<Doomed>();
        world.add_observer(|fall: On<Fall>, mut commands: Commands| {
            commands.entity(fall.0).despawn();
        });
        let mut rt = Runtime::new(&mut world);
        rt.schedule(Tick).add_systems(|doomed: Option<ResMut<Doomed>>, mut commands: Commands| {
            if let Some(entity) = doomed.and_then(|mut doomed| doomed.0.take()) {
                commands.entity(entity).despawn();
            }
        });
        let [kept, detached] = [Probe::default(), Probe::default()];
        rt.block_on(async {
            let (entity, life) = living();
            let task = spawn_on(entity, |entity| kept.run(entity, &life, wakes));
            drop(spawn_on(entity, |entity| detached.run(entity, &life, wakes)));
            ctx().next_tick().await;
            end(entity).await;
            assert_eq!(reason(task.join().await), CancelReason::Entity);
            assert!(life.load(Ordering::SeqCst));
            ctx().ticks(2).await;
        });
        kept.check_ended();
        detached.check_ended();
        assert_eq!(rt.task_count(), 0);
    }
}

#[test]
fn a_task_despawns_it() {
    check(async |entity| ctx().entity(entity).despawn().unwrap());
    check(async |entity| assert!(ctx().with_world(|world| world.despawn(entity))));
}

#[test]
fn a_command_of_a_task_despawns_it() {
    check(async |entity| {
        ctx().commands(|commands| commands.entity(entity).despawn()).unwrap();
    });
    // What `with_world` leaves in the queue is applied before the next poll.
    check(async |entity| ctx().with_world(|world| world.commands().entity(entity).despawn()));
}

#[test]
fn a_system_despawns_it() {
    check(async |entity| ctx().res_mut(|mut doomed: Mut<Doomed>| doomed.0 = Some(entity)).unwrap());
}

#[test]
fn an_observer_despawns_it() {
    check(async |entity| ctx().with_world(|world| world.trigger(Fall(entity))));
}

#[test]
fn a_hook_despawns_it() {
    check(async |entity| ctx().entity(entity).insert(Poison).unwrap());
}

#[test]
fn a_parent_takes_it_along() {
    check(async |entity| {
        ctx().with_world(|world| {
            let parent = world.spawn_empty().add_child(entity).id();
            world.despawn(parent);
        });
    });
}

#[test]
fn all_entities_are_cleared() {
    check(async |_| ctx().with_world(World::clear_entities));
}

#[test]
fn its_components_are_taken_and_with_them_the_binding() {
    check(async |entity| {
        ctx().with_world(|world| {
            world.entity_mut(entity).clear();
        });
        assert_eq!(ctx().entity(entity).exists(), Ok(true));
    });
    check(async |entity| {
        ctx().with_world(|world| {
            world.entity_mut(entity).retain::<()>();
        });
    });
}

#[test]
fn a_condition_before_a_stage_despawns_it() {
    check(async |entity| {
        ctx().until(Tick, move |world| world.despawn(entity).then_some(())).await;
    });
}

#[test]
fn a_closure_from_another_thread_despawns_it() {
    check(async |entity| {
        let handle = onbeat::Handle::current();
        let closure = thread::spawn(move || {
            handle.run_with_world(move |world| world.despawn(entity)).unwrap()
        });
        assert!(closure.join().unwrap().await.unwrap());
    });
}

#[test]
fn it_is_despawned_on_another_thread() {
    check(async |entity| {
        ctx().with_world(|world| {
            let mut lent = std::mem::take(world);
            let back = thread::spawn(move || {
                lent.despawn(entity);
                lent
            });
            *world = back.join().unwrap();
        });
    });
}

#[test]
fn a_nested_runtime_on_the_same_world_despawns_it() {
    check(async |entity| {
        ctx().with_world(|world| {
            Runtime::new(world).block_on(async {
                drop(spawn_on(entity, |_| pending::<()>()));
                yield_now().await;
                ctx().entity(entity).despawn().unwrap();
            });
        });
    });
}

#[test]
fn the_program_despawns_it_between_turns() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let probe = Probe::default();
    let (entity, task) = rt.block_on(async {
        let (entity, life) = living();
        let task = spawn_on(entity, |entity| probe.run(entity, &life, true));
        yield_now().await;
        (entity, task)
    });
    rt.world_mut().despawn(entity);
    assert_eq!(probe.drops.borrow().len(), 0, "the World may not be used between turns");
    rt.tick().unwrap();
    probe.check_ended();
    assert_eq!(reason(rt.block_on(task.join())), CancelReason::Entity);
}

#[test]
fn the_task_itself_despawns_it_and_its_poll_goes_on_to_the_next_await() {
    let _guard = watchdog(LIMIT_SECONDS);
    let steps = Rc::new(RefCell::new(Vec::new()));
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let (entity, _) = living();
        let (steps_of_task, dropped) = (steps.clone(), Drops::counted_by(&drops));
        let task = spawn_on(entity, |entity| async move {
            let _dropped = dropped;
            entity.despawn().unwrap();
            steps_of_task.borrow_mut().push("despawned");
            yield_now().await;
            steps_of_task.borrow_mut().push("polled again");
        });
        assert_eq!(reason(task.join().await), CancelReason::Entity);
        assert_eq!(drops.get(), 1);
        ctx().ticks(2).await;
    });
    assert_eq!(*steps.borrow(), ["despawned"]);
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_task_that_despawns_its_entity_and_completes_in_the_same_poll_gives_its_output() {
    block_on(async {
        let (entity, _) = living();
        let task = spawn_on(entity, |entity| async move { entity.despawn().map(|()| 7) });
        assert_eq!(task.await, Ok(7));
    });
}

#[test]
fn the_output_of_a_finished_task_stays_when_the_entity_goes() {
    block_on(async {
        let (entity, _) = living();
        let task = spawn_on(entity, |_| async { 7 });
        yield_now().await;
        ctx().entity(entity).despawn().unwrap();
        assert_eq!(task.join().await.unwrap(), 7);
    });
}

#[test]
fn a_task_that_was_never_polled_is_dropped_unpolled() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let (entity, _) = living();
        let dropped = Drops::counted_by(&drops);
        let task = spawn_on(entity, |_| async move {
            drop(dropped);
            panic!("it is not polled");
        });
        ctx().entity(entity).despawn().unwrap();
        assert_eq!(drops.get(), 0, "no future is dropped inside a poll");
        let joined: Result<(), _> = task.join().await;
        assert_eq!(reason(joined), CancelReason::Entity);
        assert_eq!(drops.get(), 1, "whoever has joined it finds it dropped");
    });
}

#[test]
fn an_abort_before_the_entity_goes_is_the_reason_that_counts() {
    block_on(async {
        let (entity, _) = living();
        let drops = Rc::new(Cell::new(0));
        let dropped = Drops::counted_by(&drops);
        let task = spawn_on(entity, |_| async move {
            let _dropped = dropped;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        ctx().entity(entity).despawn().unwrap();
        yield_now().await;
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn an_entity_that_has_gone_gives_a_handle_that_is_cancelled_and_an_error() {
    block_on(async {
        let (entity, _) = living();
        ctx().entity(entity).despawn().unwrap();
        let never = |_: EntityCtx| -> std::future::Ready<()> { panic!("it is not called") };
        let task = spawn_on(entity, never);
        assert!(task.is_finished());
        assert_eq!(reason(task.join().await), CancelReason::Entity);
        let refused = ctx().entity(entity).spawn_task(never).map(drop);
        assert_eq!(refused, Err(AccessError::EntityGone(entity)));
        spawn_on(entity, never).abort();
        drop(spawn_on(entity, never));
    });
}

#[test]
fn an_entity_that_goes_while_the_future_is_made_takes_the_task_along() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let (entity, _) = living();
        let dropped = Drops::counted_by(&drops);
        let task = spawn_on(entity, |entity| {
            entity.despawn().unwrap();
            async move {
                drop(dropped);
                panic!("it is not polled");
            }
        });
        let joined: Result<(), _> = task.join().await;
        assert_eq!(reason(joined), CancelReason::Entity);
    });
    assert_eq!(drops.get(), 1);
}

#[test]
fn an_id_that_comes_back_after_clear_entities_brings_no_task_back() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let [old, new] = [Probe::default(), Probe::default()];
    rt.block_on(async {
        let (entity, life) = living();
        let task = spawn_on(entity, |entity| old.run(entity, &life, true));
        yield_now().await;
        let again = ctx().with_world(|world| {
            world.clear_entities();
            // Ids come back.
            (0..1_000).map(|_| world.spawn_empty().id()).find(|id| *id == entity).unwrap()
        });
        let unbound = spawn(async { ctx().ticks(3).await });
        let fresh = Arc::<AtomicBool>::default();
        let other = spawn_on(again, |entity| new.run(entity, &fresh, false));
        assert_eq!(reason(task.join().await), CancelReason::Entity);
        unbound.await;
        assert!(!other.is_finished(), "the task of the new entity goes on");
        ctx().entity(again).despawn().unwrap();
        assert_eq!(reason(other.join().await), CancelReason::Entity);
    });
    old.check_ended();
    new.check_ended();
}

#[test]
fn a_runtime_that_goes_ends_bound_tasks_before_its_world_goes() {
    let _guard = watchdog(LIMIT_SECONDS);
    let probe = Probe::default();
    let mut rt = Runtime::owning(World::new());
    let task = rt.block_on(async {
        let (entity, life) = living();
        let task = spawn_on(entity, |entity| probe.run(entity, &life, false));
        yield_now().await;
        task
    });
    drop(rt);
    probe.check_ended();
    assert_eq!(reason(block_on(task.join())), CancelReason::RuntimeGone);
}

#[test]
fn a_world_that_is_replaced_and_dropped_ends_its_tasks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let probe = Probe::default();
    let message = panic_message(|| {
        rt.block_on(async {
            let (entity, life) = living();
            drop(spawn_on(entity, |entity| probe.run(entity, &life, true)));
            yield_now().await;
            ctx().with_world(|world| *world = World::new());
            pending::<()>().await;
        });
    });
    assert!(message.contains("another World"), "{message}");
    drop(rt);
    assert_eq!(probe.polls_after_life.get(), 0);
    assert_eq!(probe.drops.borrow().len(), 1);
}

#[test]
fn bindings_outlive_their_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    for _ in 0..2 {
        let drops = Rc::new(Cell::new(0));
        let dropped = Drops::counted_by(&drops);
        let mut rt = Runtime::new(&mut world);
        rt.block_on(async {
            drop(spawn_on(entity, |_| async move {
                let _dropped = dropped;
                pending::<()>().await;
            }));
        });
        drop(rt);
        assert_eq!(drops.get(), 1);
    }
    assert!(world.despawn(entity));
    Runtime::new(&mut world).block_on(yield_now());
}

#[test]
fn a_forgotten_runtime_and_a_forgotten_world_do_no_harm() {
    let _guard = watchdog(LIMIT_SECONDS);
    let polls = Rc::new(Cell::new(0));
    let mut world = World::new();
    let entity = world.spawn_empty().id();
    let mut rt = Runtime::new(&mut world);
    let counted = polls.clone();
    let task = rt.block_on(async {
        spawn_on(entity, |_| async move {
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        })
    });
    std::mem::forget(rt);
    let before = polls.get();
    drop(world);
    assert_eq!(polls.get(), before);
    assert!(!task.is_finished(), "nothing drops the future of a forgotten runtime");
    let mut joining = task.join();
    assert!(block_on(poll_once(&mut joining)).is_pending(), "so there is no end to tell of");
    drop(joining);

    let mut world = World::new();
    let entity = world.spawn_empty().id();
    drop(Runtime::new(&mut world).block_on(async { spawn_on(entity, |_| pending::<()>()) }));
    std::mem::forget(world);
}

#[test]
fn a_forgotten_handle_lets_the_entity_end_the_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let probe = Probe::default();
    rt.block_on(async {
        let (entity, life) = living();
        std::mem::forget(spawn_on(entity, |entity| probe.run(entity, &life, true)));
        yield_now().await;
        ctx().entity(entity).despawn().unwrap();
        yield_now().await;
    });
    probe.check_ended();
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn many_short_lives_leave_nothing_behind() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..10_000 {
            let entity = ctx().with_world(|world| world.spawn_empty().id());
            let dropped = Drops::counted_by(&drops);
            drop(spawn_on(entity, |_| async move {
                let _dropped = dropped;
                pending::<()>().await;
            }));
            yield_now().await;
            ctx().entity(entity).despawn().unwrap();
        }
        yield_now().await;
    });
    assert_eq!((drops.get(), rt.task_count()), (10_000, 0));
    assert_eq!(rt.world().entities().count_spawned(), {
        let mut fresh = World::new();
        drop(Runtime::new(&mut fresh));
        Runtime::new(&mut fresh).world().entities().count_spawned()
    });
}

#[test]
fn a_destructor_of_one_may_despawn_the_entity_of_another() {
    struct Chain(Option<EntityCtx>);
    impl Drop for Chain {
        fn drop(&mut self) {
            if let Some(next) = self.0 {
                next.despawn().unwrap();
            }
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let mut last: Option<EntityCtx> = None;
        for _ in 0..100 {
            let chain = Chain(last);
            let entity = ctx().entity(living().0);
            drop(entity.spawn_task(|_| async move {
                let _chain = chain;
                pending::<()>().await;
            }));
            last = Some(entity);
        }
        yield_now().await;
        last.unwrap().despawn().unwrap();
    });
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_panic_of_a_destructor_leaves_the_others_ended() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a bomb"));
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let probe = Probe::default();
    rt.block_on(async {
        let (entity, life) = living();
        for _ in 0..2 {
            drop(spawn_on(entity, |_| async {
                let _bomb = Bomb;
                pending::<()>().await;
            }));
        }
        drop(spawn_on(entity, |entity| probe.run(entity, &life, false)));
        yield_now().await;
        ctx().entity(entity).despawn().unwrap();
        yield_now().await;
    });
    probe.check_ended();
    assert_eq!((rt.task_count(), rt.stats().forgotten_payloads), (0, 2));
}

#[test]
fn those_who_wait_on_an_entity_and_those_who_belong_to_it_both_learn_of_its_end() {
    block_on(async {
        let (entity, life) = living();
        let probe = Probe::default();
        let waiting = spawn_boxed(ctx().entity(entity).despawned());
        let own = spawn_on(entity, |entity| async move { entity.despawned().await });
        drop(spawn_on(entity, |entity| probe.run(entity, &life, false)));
        yield_now().await;
        ctx().entity(entity).despawn().unwrap();
        waiting.await;
        assert_eq!(reason(own.join().await), CancelReason::Entity);
    });
}

#[test]
fn components_that_are_moved_leave_the_tasks_of_both_entities_where_they_are() {
    block_on(async {
        let (from, to) = (living().0, ctx().with_world(|world| world.spawn_empty().id()));
        let tasks = [from, to].map(|entity| spawn_on(entity, |_| pending::<()>()));
        ctx().with_world(|world| {
            EntityCloner::build_opt_out(world).move_components(true).clone_entity(from, to);
        });
        assert_eq!(ctx().entity(to).contains::<Life>(), Ok(true));
        let ended = || tasks.each_ref().map(JoinHandle::is_finished);
        yield_now().await;
        assert_eq!(ended(), [false, false]);
        ctx().entity(from).despawn().unwrap();
        yield_now().await;
        assert_eq!(ended(), [true, false]);
        ctx().entity(to).despawn().unwrap();
        yield_now().await;
        assert_eq!(ended(), [true, true]);
    });
}

#[test]
fn a_clone_of_the_entity_has_no_tasks() {
    block_on(async {
        let (entity, _) = living();
        let task = spawn_on(entity, |_| pending::<()>());
        yield_now().await;
        ctx().with_world(|world| {
            let copy = world.entity_mut(entity).clone_and_spawn();
            world.despawn(copy);
        });
        yield_now().await;
        assert!(!task.is_finished());
        task.abort();
    });
}

#[test]
fn a_nested_runtime_on_another_world_has_no_right_to_the_outer_one() {
    block_on(async {
        let (entity, _) = living();
        ctx().with_world(|outer| {
            let mut inner = World::new();
            Runtime::new(&mut inner).block_on(async {
                let refused = outer.entity_mut(entity).spawn_task(|_| async {}).map(drop);
                assert_eq!(refused, Err(SpawnTaskError::NoRuntime { entity: Some(entity) }));
            });
        });
    });
}

#[test]
fn an_access_that_is_going_on_is_an_error_that_names_it() {
    block_on(async {
        let (entity, _) = living();
        let access = ctx().entity(entity);
        let refused = ctx().with_world(|_| access.spawn_task(|_| async {}).map(drop));
        assert!(matches!(refused, Err(AccessError::World(WorldError::Taken(_)))));
        let message = panic_message(|| {
            ctx().with_world(|_| drop(spawn_on(entity, |_| async {})));
        });
        assert!(message.starts_with("spawn_on(): "), "{message}");
    });
}

#[test]
fn an_awaited_task_whose_entity_goes_panics_by_name() {
    let _guard = watchdog(LIMIT_SECONDS);
    let message = panic_message(|| {
        block_on(async {
            let (entity, _) = living();
            let task: JoinHandle<()> = spawn_on(entity, |_| pending());
            ctx().entity(entity).despawn().unwrap();
            task.await;
        });
    });
    assert!(message.contains("the entity that it belonged to has gone"), "{message}");
}
