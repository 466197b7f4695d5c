//! Names outlive what they name: handles, wakers and futures of tasks and runtimes that have gone.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem::forget,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use bevy_ecs::world::World;
use common::{Count, Drops, LIMIT_SECONDS, block_on, panic_message, poll_once, watchdog};
use onbeat::{
    CancelReason, ClockMode, JoinError, JoinHandle, NextTick, Runtime, Sleep, WorldCtx, sleep,
    spawn_boxed, timeout, yield_now,
};

/// Runs `f` on a runtime that is gone when this returns.
fn in_a_runtime<R>(f: impl AsyncFnOnce() -> R) -> R {
    let mut world = World::new();
    Runtime::new(&mut world).block_on(f())
}

/// A task that never ends, and the waker of it.
async fn pending_task() -> (JoinHandle<u32>, Waker) {
    let kept = Rc::new(RefCell::new(None));
    let handle = spawn_boxed({
        let kept = kept.clone();
        poll_fn(move |cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::<u32>::Pending
        })
    });
    yield_now().await;
    let waker = kept.borrow_mut().take().unwrap();
    (handle, waker)
}

#[test]
fn a_handle_of_a_dead_runtime_touches_no_task_of_the_next_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..50 {
        let (old, waker) = in_a_runtime(pending_task);
        let (older, _) = in_a_runtime(pending_task);
        let drops = Rc::new(Cell::new(0));
        in_a_runtime(async || {
            let counted = Drops::counted_by(&drops);
            let task = spawn_boxed(async move {
                let _counted = counted;
                yield_now().await;
                7
            });
            assert!(old.is_finished());
            waker.wake();
            drop(older);
            old.abort();
            yield_now().await;
            assert_eq!(task.await, 7);
        });
        assert_eq!(drops.get(), 1);
    }
}

#[test]
fn joining_a_task_of_a_dead_runtime_is_an_error() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (old, _) = in_a_runtime(pending_task);
    in_a_runtime(async || {
        let joined = old.join().await;
        assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
    });
}

#[test]
fn awaiting_a_task_of_a_dead_runtime_panics_by_name() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (old, _) = in_a_runtime(pending_task);
    let message = panic_message(|| {
        in_a_runtime(async || old.await);
    });
    assert!(message.contains("its runtime has gone"), "{message}");
}

#[test]
fn wake_then_ready_then_respawn_polls_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let polls = Rc::new(Cell::new(0));
    rt.block_on({
        let polls = polls.clone();
        async move {
            for _ in 0..100 {
                let ended = spawn_boxed(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                }));
                ended.await;
                polls.set(0);
                let counted = polls.clone();
                let respawned = spawn_boxed(poll_fn(move |_| {
                    counted.set(counted.get() + 1);
                    Poll::<()>::Pending
                }));
                for _ in 0..3 {
                    yield_now().await;
                }
                assert_eq!(polls.get(), 1);
                respawned.abort();
                yield_now().await;
            }
        }
    });
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_stale_waker_does_not_poll_the_next_task_of_its_slot() {
    block_on(async {
        let mut stale = Vec::new();
        for _ in 0..300 {
            let (task, waker) = pending_task().await;
            task.abort();
            stale.push(waker);
        }
        yield_now().await;
        let polls = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                let polls = polls.clone();
                spawn_boxed(poll_fn(move |_| {
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                }))
            })
            .collect();
        yield_now().await;
        for waker in stale {
            waker.wake();
        }
        yield_now().await;
        yield_now().await;
        assert_eq!(polls.get(), 300);
        drop(tasks);
    });
}

#[test]
fn a_waker_of_a_dead_runtime_polls_no_task_of_the_next_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    for _ in 0..20 {
        // The next runtime has the number of this one, and its tasks the slots of these tasks.
        let stale = in_a_runtime(async || {
            let mut wakers = Vec::new();
            for _ in 0..10 {
                let (task, waker) = pending_task().await;
                drop(task);
                wakers.push(waker);
            }
            wakers
        });
        let mut rt = Runtime::new(&mut world);
        let polls = Rc::new(Cell::new(0));
        rt.block_on(async {
            for _ in 0..20 {
                let polls = polls.clone();
                drop(spawn_boxed(poll_fn(move |_| {
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                })));
            }
            yield_now().await;
            stale.iter().for_each(Waker::wake_by_ref);
            yield_now().await;
            yield_now().await;
        });
        assert_eq!(polls.get(), 20, "each was polled as it began");
    }
}

#[test]
fn an_aborted_task_frees_its_slot() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..10_000 {
            let (task, _) = pending_task().await;
            task.abort();
        }
        yield_now().await;
    });
    assert_eq!(rt.task_count(), 0);
    assert_eq!(rt.stats().forgotten_payloads, 0, "nothing panicked behind the scenes");
}

#[test]
fn tasks_spawned_in_the_middle_of_a_round_disturb_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let ended = Rc::new(Cell::new(0));
    rt.block_on({
        let ended = ended.clone();
        async move {
            for first in 0..200 {
                let ended = ended.clone();
                drop(spawn_boxed(async move {
                    for _ in 0..100 {
                        yield_now().await;
                    }
                    for _ in 0..if first == 0 { 300 } else { 0 } {
                        let ended = ended.clone();
                        drop(spawn_boxed(async move { ended.set(ended.get() + 1) }));
                    }
                    yield_now().await;
                    ended.set(ended.get() + 1);
                }));
            }
            for _ in 0..105 {
                yield_now().await;
            }
        }
    });
    assert_eq!(ended.get(), 500);
    assert_eq!(rt.task_count(), 0);
    assert_eq!(rt.stats().polls, 200 * 102 + 300 + 106);
}

#[test]
fn futures_of_a_dead_runtime_are_dropped_quietly() {
    let _guard = watchdog(LIMIT_SECONDS);
    let count = Count::new();
    let (sleeping, waiting): (Sleep, NextTick) = in_a_runtime(async || {
        let (mut sleeping, mut waiting) =
            (sleep(Duration::from_secs(3600)), WorldCtx::current().next_tick());
        assert!(count.poll(&mut sleeping).is_pending());
        assert!(count.poll(&mut waiting).is_pending());
        (sleeping, waiting)
    });
    assert_eq!(count.kept(), 0, "the runtime let go of the wakers");
    in_a_runtime(async || drop((sleeping, waiting)));
}

#[test]
fn a_next_tick_of_a_dead_runtime_panics_by_name() {
    let _guard = watchdog(LIMIT_SECONDS);
    let waiting = in_a_runtime(async || WorldCtx::current().next_tick());
    let message = panic_message(|| in_a_runtime(async || waiting.await));
    assert!(message.contains("has gone"), "{message}");
}

#[test]
fn a_forgotten_runtime_leaves_its_thread_usable() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (task, waker) = rt.block_on(pending_task());
    forget(rt);
    world.clear_entities();
    drop(world);
    assert!(!task.is_finished());
    waker.wake();
    in_a_runtime(async || {
        assert!(timeout(Duration::from_micros(100), task.join()).await.is_err());
        assert_eq!(spawn_boxed(async { 7 }).await, 7);
    });
}

#[test]
fn forgotten_futures_wake_nobody_wrongly() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        for _ in 0..100 {
            let mut sleeping = Box::pin(sleep(Duration::from_secs(1)));
            let mut waiting = Box::pin(WorldCtx::current().next_tick());
            let mut limited = Box::pin(timeout(Duration::from_secs(2), sleep(Duration::MAX)));
            assert!(poll_once(&mut sleeping).await.is_pending());
            assert!(poll_once(&mut waiting).await.is_pending());
            assert!(poll_once(&mut limited).await.is_pending());
            forget((sleeping, waiting, limited));
            sleep(Duration::from_secs(3)).await;
        }
    });
    rt.block_on(async { assert_eq!(spawn_boxed(async { 7 }).await, 7) });
}

#[test]
fn a_forgotten_handle_keeps_the_output_until_the_runtime_goes() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..10 {
            let counted = Drops::counted_by(&drops);
            forget(spawn_boxed(async move { counted }));
        }
        yield_now().await;
    });
    assert_eq!((rt.task_count(), drops.get()), (0, 0));
    rt.block_on(async { assert_eq!(spawn_boxed(async { 7 }).await, 7) });
    drop(rt);
    assert_eq!(drops.get(), 10);
}

#[test]
fn a_dropped_handle_drops_the_output_of_its_task_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    let (early, late) = rt.block_on(async {
        let spawn = || {
            let counted = Drops::counted_by(&drops);
            spawn_boxed(async move { counted })
        };
        let (early, late) = (spawn(), spawn());
        drop(early);
        (drops.clone(), late)
    });
    assert_eq!(early.get(), 1);
    drop(late);
    rt.tick().unwrap();
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_handle_polled_again_after_its_output_panics() {
    block_on(async {
        let mut task = spawn_boxed(async { String::from("once") });
        assert_eq!((&mut task).await, "once");
        let again = std::panic::AssertUnwindSafe(poll_once(&mut task));
        assert!(futures::FutureExt::catch_unwind(again).await.is_err());
        assert!(task.is_finished());
    });
}

#[test]
fn a_destructor_that_asks_while_the_runtime_is_dropped_is_told_that_it_has_gone() {
    struct Asks(JoinHandle<()>, Rc<Cell<Option<CancelReason>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(self.0.is_finished(), "who was spawned first is dropped first");
            let message = panic_message(|| _ = Count::new().poll(&mut self.0));
            let gone = message.contains("its runtime has gone");
            self.1.set(gone.then_some(CancelReason::RuntimeGone));
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let told = Rc::new(Cell::new(None));
    rt.block_on(async {
        let asks = Asks(spawn_boxed(std::future::pending()), told.clone());
        drop(spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        }));
    });
    drop(rt);
    assert_eq!(told.get(), Some(CancelReason::RuntimeGone));
}
