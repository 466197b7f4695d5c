//! Panics between polls: of destructors, of payloads, and of wakers that are not ours.

mod common;

use std::{
    cell::Cell,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Drops, LIMIT_SECONDS, log, logged, watchdog};
use onbeat::{ClockMode, Runtime, ShutdownSignal, WorldCtx, sleep, spawn_boxed, yield_now};

/// A panic without the report on standard error, which would hide that of a failing test.
fn quietly(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        quietly(self.0);
    }
}

/// Panics when it is woken.
struct PanicsOnWake;

impl Wake for PanicsOnWake {
    fn wake(self: Arc<Self>) {
        quietly("woken");
    }
}

/// Panics when its last clone is dropped.
struct PanicsOnDrop(Bomb);

impl Wake for PanicsOnDrop {
    fn wake(self: Arc<Self>) {
        let _ = &self.0;
    }
}

fn poll_with<F: Future + Unpin>(waker: &Waker, future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_is_forgotten_and_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        drop(spawn_boxed(async { resume_unwind(Box::new(Bomb("payload"))) }));
        yield_now().await;
        yield_now().await;
    });
    assert_eq!(rt.stats().task_panics, 1);
    assert_eq!(rt.stats().forgotten_payloads, 1);
}

#[test]
fn an_output_that_panics_when_it_is_dropped_disturbs_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        drop(spawn_boxed(async { Bomb("output") }));
        let late = spawn_boxed(async { Bomb("output") });
        yield_now().await;
        drop(late);
        yield_now().await;
    });
    assert_eq!(rt.stats().forgotten_payloads, 2);
    assert_eq!(rt.stats().task_panics, 0);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_destructor_that_panics_on_abort_disturbs_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let task = spawn_boxed(async {
            let _bomb = Bomb("future");
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert_eq!(spawn_boxed(async { 7 }).await, 7);
    });
    assert_eq!((rt.task_count(), rt.stats().forgotten_payloads), (0, 1));
}

#[test]
fn destructors_that_panic_when_the_runtime_is_dropped_stop_no_other() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..5 {
            let counted = Drops::counted_by(&drops);
            drop(spawn_boxed(async {
                let _bomb = Bomb("future");
                pending::<()>().await;
            }));
            drop(spawn_boxed(async move {
                let _counted = counted;
                pending::<()>().await;
            }));
        }
    });
    drop(rt);
    assert_eq!(drops.get(), 5);
    Runtime::new(&mut world).block_on(async { yield_now().await });
}

#[test]
fn a_future_whose_destructor_panics_after_it_completed_is_a_task_that_panicked() {
    struct Armed(#[expect(dead_code, reason = "only its drop matters")] Bomb);
    impl Future for Armed {
        type Output = u32;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
            Poll::Ready(7)
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        let error = spawn_boxed(Armed(Bomb("armed"))).join().await.unwrap_err();
        assert_eq!(error.panic_message(), Some("armed"));
    });
}

#[test]
fn a_spawn_in_a_destructor_of_a_dying_runtime_is_refused_and_nothing_else_happens() {
    struct Spawns(Rc<Cell<usize>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            let spawned = catch_unwind(|| drop(spawn_boxed(async {})));
            assert!(spawned.is_err());
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..3 {
            let spawns = Spawns(drops.clone());
            drop(spawn_boxed(async move {
                let _spawns = spawns;
                pending::<()>().await;
            }));
        }
    });
    drop(rt);
    assert_eq!(drops.get(), 3);
}

#[test]
fn a_joiner_whose_waker_panics_disturbs_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let waker = Waker::from(Arc::new(PanicsOnWake));
    rt.block_on(async {
        let mut task = spawn_boxed(yield_now());
        assert!(poll_with(&waker, &mut task).is_pending());
        yield_now().await;
        yield_now().await;
        assert!(task.is_finished());
    });
    assert_eq!((rt.stats().forgotten_payloads, rt.stats().task_panics), (1, 0));
}

#[test]
fn timers_with_a_waker_that_panics_disturb_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let waker = Waker::from(Arc::new(PanicsOnWake));
    rt.block_on(async {
        let mut first = sleep(Duration::from_secs(1));
        assert!(poll_with(&waker, &mut first).is_pending());
        sleep(Duration::from_secs(1)).await;
    });
    assert_eq!((rt.stats().forgotten_payloads, rt.stats().timers_fired), (1, 2));
}

#[test]
fn a_waiter_of_the_next_tick_whose_waker_panics_disturbs_nobody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let waker = Waker::from(Arc::new(PanicsOnWake));
    rt.block_on(async {
        let mut first = WorldCtx::current().next_tick();
        assert!(poll_with(&waker, &mut first).is_pending());
        WorldCtx::current().next_tick().await;
    });
    assert_eq!((rt.stats().forgotten_payloads, rt.stats().ticks), (1, 2));
}

#[test]
fn shutdown_reaches_everyone_though_the_waker_of_one_panics() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let waker = Waker::from(Arc::new(PanicsOnWake));
    let handle = rt.shutdown_handle();
    let reached = Rc::new(Cell::new(0));
    rt.block_on(async {
        let mut first = ShutdownSignal::current();
        assert!(poll_with(&waker, &mut first).is_pending());
        for _ in 0..3 {
            let reached = reached.clone();
            drop(spawn_boxed(async move {
                ShutdownSignal::current().await;
                reached.set(reached.get() + 1);
            }));
        }
        yield_now().await;
        handle.shutdown();
        for _ in 0..3 {
            yield_now().await;
        }
        drop(first);
    });
    assert_eq!(reached.get(), 3);
}

#[test]
fn a_waker_that_panics_when_it_is_dropped_does_not_stop_the_end_of_a_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    let (sleeping, waiting) = rt.block_on(async {
        let bomb = || Waker::from(Arc::new(PanicsOnDrop(Bomb("waker"))));
        let mut sleeping = sleep(Duration::from_secs(3600));
        assert!(poll_with(&bomb(), &mut sleeping).is_pending());
        let mut waiting = ShutdownSignal::current();
        assert!(poll_with(&bomb(), &mut waiting).is_pending());
        let counted = Drops::counted_by(&drops);
        drop(spawn_boxed(async move {
            let _counted = counted;
            pending::<()>().await;
        }));
        (sleeping, waiting)
    });
    drop(rt);
    assert_eq!(drops.get(), 1);
    drop((sleeping, waiting));
}

#[test]
fn a_waker_that_a_broken_tick_did_not_wake_does_not_stop_the_end_of_a_runtime() {
    let mut world = World::new();
    let mut calls = 0;
    let mut rt = Runtime::builder(&mut world)
        .poller(move || {
            calls += 1;
            if calls == 2 { quietly("the tick breaks off") } else { 0 }
        })
        .build();
    let waiting = rt.block_on(async {
        let mut waiting = WorldCtx::current().next_tick();
        let bomb = Waker::from(Arc::new(PanicsOnDrop(Bomb("waker"))));
        assert!(poll_with(&bomb, &mut waiting).is_pending());
        [waiting]
    });
    assert!(catch_unwind(AssertUnwindSafe(|| rt.tick())).is_err());
    drop(rt);
    drop(waiting);
}

#[test]
fn a_waker_that_calls_back_into_the_runtime_is_served() {
    struct Spawns(AtomicUsize);
    impl Wake for Spawns {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            drop(spawn_boxed(async { log("spawned by a waker") }));
            drop(sleep(Duration::from_secs(1)));
            WorldCtx::current().with_world(|_| ());
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let spawns = Arc::new(Spawns(AtomicUsize::new(0)));
    let waker = Waker::from(spawns.clone());
    rt.block_on(async {
        let mut sleeping = sleep(Duration::ZERO);
        let mut waiting = WorldCtx::current().next_tick();
        let mut joining = spawn_boxed(yield_now());
        assert!(poll_with(&waker, &mut sleeping).is_pending());
        assert!(poll_with(&waker, &mut waiting).is_pending());
        assert!(poll_with(&waker, &mut joining).is_pending());
        for _ in 0..5 {
            yield_now().await;
        }
    });
    assert_eq!(spawns.0.load(Ordering::Relaxed), 3);
    assert_eq!(logged().len(), 3);
    assert_eq!(rt.stats().forgotten_payloads, 0);
}
