//! Breaks of a peer: a panic in one task takes the loop, and the memory of others, with it.

mod common;

use std::{
    cell::Cell,
    future::pending,
    panic::panic_any,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bevy_ecs::{
    resource::Resource,
    schedule::IntoScheduleConfigs,
    system::{Res, ResMut},
    world::World,
};
use common::{Drops, LIMIT_SECONDS, panic_message, watchdog};
use onbeat::{JoinError, JoinHandle, OnTaskPanic, Runtime, Tick, WorldCtx, spawn_boxed, yield_now};

/// Panics when it is dropped, with itself as the payload so many times more.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            match self.0.checked_sub(1) {
                Some(left) => panic_any(Bomb(left)),
                None => panic!("a bomb went off"),
            }
        }
    }
}

#[test]
fn task_panic_is_contained() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let before = rt.block_on(async {
        let good = |task: u32| {
            spawn_boxed(async move {
                yield_now().await;
                task
            })
        };
        let mut bad = Vec::new();
        let mut before = Vec::new();
        for task in 0..100 {
            before.push(good(task));
            let witness = Drops::counted_by(&drops);
            bad.push(spawn_boxed(async move {
                let _witness = witness;
                if task % 2 == 0 {
                    yield_now().await;
                }
                panic!("task {task} fails");
            }));
        }
        for (task, bad) in bad.into_iter().enumerate() {
            let error: JoinError = bad.join().await.map(|never: ()| never).unwrap_err();
            assert_eq!(error.panic_message(), Some(&*format!("task {task} fails")));
        }
        before
    });
    assert_eq!(drops.get(), 100, "a task that panics is dropped, once");
    let sum = rt.block_on(async {
        let mut sum = 0;
        for task in before {
            sum += task.await;
        }
        sum + spawn_boxed(async { 1 }).await
    });
    assert_eq!(sum, 4_951);
    assert_eq!(rt.task_count(), 0);
    let stats = rt.stats();
    assert_eq!((stats.task_panics, stats.forgotten_payloads), (100, 0));
}

/// Runs `fail` between two tasks that must complete, then uses the runtime again. `ended` tasks end by
/// a panic, and `forgotten` panics are nobody's.
#[track_caller]
fn check_contained(what: &str, ended: u64, forgotten: u64, fail: impl FnOnce() + 'static) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let before = spawn_boxed(async { 1 });
        fail();
        let after = spawn_boxed(async { 2 });
        assert_eq!((before.await, after.await), (1, 2), "{what}");
        WorldCtx::current().next_tick().await;
        WorldCtx::current().next_tick().await;
    });
    assert_eq!(rt.task_count(), 0, "{what}");
    assert_eq!(rt.block_on(async { spawn_boxed(async { 3 }).await }), 3, "{what}");
    let stats = rt.stats();
    assert_eq!((stats.task_panics, stats.forgotten_payloads), (ended, forgotten), "{what}");
}

/// A future that is ready, or panics, in its first poll, and whose destructor panics.
struct Ends {
    panics: bool,
    _bomb: Bomb,
}

impl Future for Ends {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.panics, "the poll panics");
        Poll::Ready(())
    }
}

#[test]
fn a_panic_in_a_destructor_is_contained() {
    check_contained("of a future that completed", 1, 0, || {
        drop(spawn_boxed(Ends { panics: false, _bomb: Bomb(0) }));
    });
    check_contained("of a future that panicked", 1, 1, || {
        drop(spawn_boxed(Ends { panics: true, _bomb: Bomb(0) }));
    });
    check_contained("of an aborted task", 0, 1, || {
        let bomb = Bomb(0);
        spawn_boxed(async move { drop(bomb) }).abort();
    });
    check_contained("of an aborted task that waits", 0, 1, || {
        let waiting = spawn_boxed(async {
            let _bomb = Bomb(0);
            pending::<()>().await;
        });
        drop(spawn_boxed(async { waiting.abort() }));
    });
    check_contained("of an output that nobody takes", 0, 1, || {
        drop(spawn_boxed(async { Bomb(0) }));
    });
    check_contained("of an output whose handle is dropped later", 0, 1, || {
        let unread = spawn_boxed(async { Bomb(0) });
        drop(spawn_boxed(async move {
            yield_now().await;
            drop(unread);
        }));
    });
    check_contained("of an output that an abort finds", 0, 1, || {
        let unread = spawn_boxed(async { Bomb(0) });
        drop(spawn_boxed(async move {
            yield_now().await;
            unread.abort();
        }));
    });
}

#[test]
fn a_payload_that_panics_when_dropped_is_contained() {
    for bombs in 0..3 {
        check_contained("a payload that nobody takes", 1, 1, move || {
            drop(spawn_boxed(async move { panic_any(Bomb(bombs)) }));
        });
        check_contained("a payload whose handle is dropped later", 1, 1, move || {
            let unread = spawn_boxed(async move { panic_any(Bomb(bombs)) });
            drop(spawn_boxed(async move {
                yield_now().await;
                drop::<JoinHandle<()>>(unread);
            }));
        });
    }
}

struct WakePanics;

impl Wake for WakePanics {
    fn wake(self: Arc<Self>) {
        panic!("the waker panics");
    }
}

#[test]
fn a_waker_that_panics_is_contained() {
    check_contained("of who waits for a task", 0, 1, || {
        let mut waited = spawn_boxed(async {
            yield_now().await;
        });
        let waker = Waker::from(Arc::new(WakePanics));
        assert!(Pin::new(&mut waited).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(spawn_boxed(async move {
            yield_now().await;
            yield_now().await;
            drop(waited);
        }));
    });
}

#[test]
fn a_panic_in_a_destructor_is_contained_when_the_runtime_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for bombs in 0..3 {
            let witness = Drops::counted_by(&drops);
            drop(spawn_boxed(async move {
                let _held = (Bomb(bombs), witness);
                pending::<()>().await;
            }));
        }
        yield_now().await;
    });
    drop(rt);
    assert_eq!(drops.get(), 3);
}

#[derive(Resource, Default)]
struct Half(u32);

/// A task panics inside a `with_world` closure, where it has done half of its work.
fn fail_in_the_world() -> JoinHandle<()> {
    spawn_boxed(async {
        WorldCtx::current().with_world(|world| {
            world.resource_mut::<Half>().0 += 1;
            panic!("half an update");
        });
    })
}

#[test]
fn a_panic_out_of_the_world_leaves_block_on_and_the_runtime_goes_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Half>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut half: ResMut<Half>| half.0 += 10);
    let mut handles = Vec::new();
    let message = panic_message(|| {
        rt.block_on(async {
            handles.push(fail_in_the_world());
            handles.push(spawn_boxed(async {}));
            pending::<()>().await;
        });
    });
    assert_eq!(message, "half an update");
    assert_eq!(rt.world().resource::<Half>().0, 1, "no stage ran over it");
    rt.block_on(async {
        let survivor = handles.pop().unwrap();
        survivor.await;
        let error = handles.pop().unwrap().join().await.unwrap_err();
        assert!(matches!(error, JoinError::Panicked(_)));
    });
    assert_eq!(rt.task_count(), 0);
    assert!(rt.world().resource::<Half>().0 > 10);
}

#[test]
fn what_a_panic_does_is_the_owners_choice() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Half>();
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::ContainAlways).build();
    rt.block_on(async { fail_in_the_world().join().await.unwrap_err() });
    drop(rt);
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::Propagate).build();
    let message = panic_message(|| {
        rt.block_on(async { spawn_boxed(async { panic!("any panic") }).await });
    });
    assert_eq!(message, "any panic");
    assert_eq!(rt.block_on(async { spawn_boxed(async { 1 }).await }), 1);
}

#[test]
fn the_roots_panic_leaves_its_tasks_and_its_runtime_whole() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (task, drops) = (Cell::new(None::<JoinHandle<i32>>), Rc::new(Cell::new(0)));
    let message = panic_message(|| {
        rt.block_on(async {
            let _witness = Drops::counted_by(&drops);
            task.set(Some(spawn_boxed(async {
                yield_now().await;
                yield_now().await;
                5
            })));
            yield_now().await;
            panic!("the root fails");
        });
    });
    assert_eq!((&*message, drops.get()), ("the root fails", 1));
    assert_eq!(rt.block_on(task.take().unwrap()), 5);
    assert_eq!((rt.task_count(), rt.stats().task_panics), (0, 0));
}

#[test]
fn a_stages_panic_leaves_its_systems_and_its_runtime_whole() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Half(0));
    let mut rt = Runtime::new(&mut world);
    let count = |mut half: ResMut<Half>| half.0 += 1;
    let fail = |half: Res<Half>| assert_ne!(half.0 % 10, 2, "the stage fails");
    rt.schedule(Tick).add_systems((count, fail).chain());
    rt.tick().unwrap();
    for _ in 0..3 {
        let before = rt.world().resource::<Half>().0;
        rt.world_mut().resource_mut::<Half>().0 = before - before % 10 + 1;
        let message = panic_message(|| rt.tick().unwrap());
        assert!(message.contains("the stage fails"), "{message}");
        let failed = rt.world().resource::<Half>().0;
        rt.tick().unwrap();
        assert_eq!(rt.world().resource::<Half>().0, failed + 1, "no system is skipped afterwards");
    }
    assert_eq!(rt.block_on(async { spawn_boxed(async { 1 }).await }), 1);
}
