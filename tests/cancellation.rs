//! Cancellation tokens: who hears of a cancellation, and what is left of those who have gone.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Barrier},
    task::{Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{Count, LIMIT_SECONDS, block_on, watchdog};
use onbeat::{
    CancellationToken, Cancelled, DropGuard, RunUntilCancelled, sleep, spawn_boxed, yield_now,
};

#[test]
fn tokens_and_their_futures_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<CancellationToken>();
    check::<Cancelled>();
    check::<DropGuard>();
    check::<RunUntilCancelled<()>>();
}

#[test]
fn a_waiter_completes_when_its_token_is_cancelled() {
    let token = CancellationToken::new();
    let count = Count::new();
    let mut cancelled = token.cancelled();
    assert_eq!(count.poll(&mut cancelled), Poll::Pending);
    token.cancel();
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut cancelled), Poll::Ready(()));
    assert_eq!(count.poll(&mut cancelled), Poll::Ready(()));
}

#[test]
fn a_cancelled_token_completes_at_once() {
    let token = CancellationToken::new();
    token.cancel();
    token.cancel();
    assert!(token.is_cancelled());
    assert_eq!(Count::new().poll(&mut token.cancelled()), Poll::Ready(()));
}

#[test]
fn clones_are_one_token() {
    let token = CancellationToken::default();
    token.clone().cancel();
    assert!(token.is_cancelled());
}

#[test]
fn a_child_is_cancelled_with_its_parent() {
    let parent = CancellationToken::new();
    let child = parent.child_token();
    let count = Count::new();
    let mut cancelled = child.cancelled();
    assert!(count.poll(&mut cancelled).is_pending());
    parent.cancel();
    assert!(child.is_cancelled());
    assert_eq!(count.wakes(), 1);
}

#[test]
fn a_child_is_cancelled_alone() {
    let parent = CancellationToken::new();
    let (child, sibling) = (parent.child(), parent.child());
    child.cancel();
    assert!(child.is_cancelled());
    assert!(!parent.is_cancelled() && !sibling.is_cancelled());
}

#[test]
fn a_grandchild_hears_through_a_parent_that_was_dropped() {
    let top = CancellationToken::new();
    let grandchild = top.child().child();
    top.cancel();
    assert!(grandchild.is_cancelled());
}

#[test]
fn a_child_of_a_cancelled_token_is_cancelled() {
    let parent = CancellationToken::new();
    parent.cancel();
    let child = parent.child();
    assert!(child.is_cancelled());
    assert_eq!(Count::new().poll(&mut child.cancelled()), Poll::Ready(()));
}

#[test]
fn a_child_outlives_its_parents_handles() {
    let parent = CancellationToken::new();
    let child = parent.child();
    drop(parent);
    assert!(!child.is_cancelled());
    child.cancel();
    assert!(child.is_cancelled());
}

#[test]
fn another_thread_cancels_tasks_of_a_parked_runtime() {
    block_on(async {
        let token = CancellationToken::new();
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let child = token.child();
                spawn_boxed(async move { child.cancelled().await })
            })
            .collect();
        yield_now().await;
        let thread = thread::spawn(move || token.cancel());
        for task in tasks {
            task.await;
        }
        thread.join().unwrap();
    });
}

#[test]
fn what_was_written_before_a_cancellation_is_seen_after_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    for round in 1..200 {
        let token = CancellationToken::new();
        let value = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let thread = thread::spawn({
            let (token, value) = (token.clone(), value.clone());
            move || {
                value.store(round, std::sync::atomic::Ordering::Relaxed);
                token.cancel();
            }
        });
        while !token.is_cancelled() {
            std::hint::spin_loop();
        }
        assert_eq!(value.load(std::sync::atomic::Ordering::Relaxed), round);
        thread.join().unwrap();
    }
}

/// How many children and waiters a token knows of.
#[track_caller]
fn check(token: &CancellationToken, children: usize, waiters: usize) {
    let shown = format!("{token:?}");
    assert!(shown.contains(&format!("children: {children}, waiters: {waiters} ")), "{shown}");
}

#[test]
fn child_tokens_are_reclaimed() {
    let parent = CancellationToken::new();
    for _ in 0..10_000 {
        drop(parent.child());
    }
    check(&parent, 0, 0);
    let children: Vec<_> = (0..10_000).map(|_| parent.child()).collect();
    check(&parent, 10_000, 0);
    drop(children);
    check(&parent, 0, 0);
}

#[test]
fn children_that_were_cancelled_are_reclaimed() {
    let parent = CancellationToken::new();
    for _ in 0..100 {
        parent.child().cancel();
    }
    check(&parent, 0, 0);
    let child = parent.child();
    parent.cancel();
    drop(child);
    check(&parent, 0, 0);
}

#[test]
fn waiters_that_are_dropped_leave_nothing() {
    let token = CancellationToken::new();
    let count = Count::new();
    for _ in 0..1_000 {
        let mut cancelled = token.cancelled();
        assert!(count.poll(&mut cancelled).is_pending());
    }
    check(&token, 0, 0);
    assert_eq!(count.kept(), 0);
    token.cancel();
    assert_eq!(count.wakes(), 0);
}

#[test]
fn polling_again_keeps_one_waker_the_latest() {
    let token = CancellationToken::new();
    let (first, second) = (Count::new(), Count::new());
    let mut cancelled = token.cancelled();
    for _ in 0..10 {
        assert!(first.poll(&mut cancelled).is_pending());
    }
    assert!(second.poll(&mut cancelled).is_pending());
    check(&token, 0, 1);
    assert_eq!((first.kept(), second.kept()), (0, 1));
    token.cancel();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

#[test]
fn a_task_cancels_what_another_one_waits_for() {
    block_on(async {
        let token = CancellationToken::new();
        let task = spawn_boxed({
            let token = token.clone();
            async move {
                let cancelled = token.cancelled();
                let slow = sleep(Duration::from_secs(3600));
                let either = futures::future::select(cancelled, Box::pin(slow)).await;
                matches!(either, futures::future::Either::Left(_))
            }
        });
        yield_now().await;
        token.cancel();
        assert!(task.await);
        check(&token, 0, 0);
    });
}

#[test]
fn a_guard_cancels_when_it_is_dropped_by_a_panic_too() {
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("on the way");
    }));
    assert!(panicked.is_err());
    assert!(token.is_cancelled());
}

#[test]
fn a_disarmed_guard_does_not_cancel() {
    let token = CancellationToken::new();
    let same = token.clone().drop_guard().disarm();
    assert!(!token.is_cancelled());
    same.cancel();
    assert!(token.is_cancelled());
}

#[test]
fn a_long_line_of_children_is_cancelled_and_dropped_without_a_deep_stack() {
    let _guard = watchdog(LIMIT_SECONDS);
    for cancels in [false, true] {
        let top = CancellationToken::new();
        let mut last = top.clone();
        for _ in 0..100_000 {
            last = last.child();
        }
        if cancels {
            top.cancel();
        }
        assert_eq!(last.is_cancelled(), cancels);
        drop(last);
        check(&top, 0, 0);
    }
}

#[test]
fn a_waker_that_panics_does_not_keep_others_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a bad waker");
        }
    }
    let token = CancellationToken::new();
    let child = token.child();
    let count = Count::new();
    let (mut bad, mut good, mut below) = (token.cancelled(), token.cancelled(), child.cancelled());
    let panics = Waker::from(Arc::new(Panics));
    let mut cx = std::task::Context::from_waker(&panics);
    assert!(std::pin::Pin::new(&mut bad).poll(&mut cx).is_pending());
    assert!(count.poll(&mut good).is_pending());
    assert!(count.poll(&mut below).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| token.cancel())).is_err());
    assert_eq!(count.wakes(), 2);
}

#[test]
fn a_waker_may_use_the_token_that_wakes_it() {
    struct UsesToken(CancellationToken);
    impl Wake for UsesToken {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_cancelled());
            assert!(self.0.child().is_cancelled());
            self.0.cancel();
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let token = CancellationToken::new();
    let waker = Waker::from(Arc::new(UsesToken(token.clone())));
    let mut cancelled = token.cancelled();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut cancelled).poll(&mut cx).is_pending());
    token.cancel();
}

#[test]
fn nobody_who_joins_during_a_cancellation_is_forgotten() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..200 {
        let token = CancellationToken::new();
        let start = Arc::new(Barrier::new(3));
        let joining: Vec<_> = (0..2)
            .map(|_| {
                let (token, start) = (token.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    let child = token.child();
                    futures::executor::block_on(child.child().cancelled());
                    futures::executor::block_on(token.cancelled());
                })
            })
            .collect();
        start.wait();
        token.cancel();
        for thread in joining {
            thread.join().unwrap();
        }
        check(&token, 0, 0);
    }
}

#[test]
fn all_children_are_cancelled_when_cancel_returns_whoever_began() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..200 {
        let token = CancellationToken::new();
        let children: Vec<_> = (0..50).map(|_| token.child()).collect();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    token.cancel();
                    assert!(children.iter().all(CancellationToken::is_cancelled));
                });
            }
        });
    }
}

/// Does something once, when it is woken or when it is dropped without that.
struct Does<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for Does<F> {
    fn wake(self: Arc<Self>) {}
}

impl<F: Fn() + Send + Sync> Drop for Does<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A waker that runs `f` when the last of its clones has gone.
fn does(f: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(f)))
}

#[test]
fn a_waker_may_cancel_and_drop_the_tree_that_wakes_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let top = CancellationToken::new();
    let middle = top.child();
    let (left, right) = (middle.child(), middle.child());
    let count = Count::new();
    let waker = does({
        let (top, right) = (top.clone(), right.clone());
        move || {
            right.cancel();
            top.cancel();
            drop(top.child().cancelled());
        }
    });
    let (mut first, mut second) = (left.cancelled(), right.cancelled());
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut first).poll(&mut cx).is_pending());
    assert!(count.poll(&mut second).is_pending());
    drop(waker);
    middle.cancel();
    assert!(top.is_cancelled() && right.is_cancelled());
    assert_eq!(count.wakes(), 1, "woken once, by whichever of the two cancelled first");
    drop((top, middle, left, right));
    assert_eq!(count.poll(&mut second), Poll::Ready(()));
}

#[test]
fn a_waker_that_is_let_go_may_use_the_token_in_its_destructor() {
    let _guard = watchdog(LIMIT_SECONDS);
    let token = CancellationToken::new();
    let used = Count::new();
    for replaced in [true, false] {
        let waker = does({
            let (token, used) = (token.clone(), used.clone());
            move || {
                assert!(!token.child().is_cancelled());
                let mut cancelled = token.cancelled();
                assert!(Count::new().poll(&mut cancelled).is_pending());
                used.clone().wake();
            }
        });
        let mut cancelled = token.cancelled();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut cancelled).poll(&mut cx).is_pending());
        drop(waker);
        if replaced {
            assert!(Count::new().poll(&mut cancelled).is_pending());
            assert_eq!(used.wakes(), 1);
        }
        drop(cancelled);
    }
    assert_eq!(used.wakes(), 2);
    check(&token, 0, 0);
}

#[test]
fn a_broad_and_deep_tree_is_cancelled_whole() {
    let _guard = watchdog(LIMIT_SECONDS);
    let top = CancellationToken::new();
    let mut all = vec![top.clone()];
    for node in 0..20_000 {
        // Each has three children, but for one line that goes straight down.
        let parent = if node % 2 == 0 { all.len() - 1 } else { node / 3 };
        all.push(all[parent].child());
    }
    let count = Count::new();
    let mut waiting: Vec<_> = all.iter().map(CancellationToken::cancelled).collect();
    for cancelled in &mut waiting {
        assert!(count.poll(cancelled).is_pending());
    }
    top.cancel();
    assert!(all.iter().all(CancellationToken::is_cancelled));
    assert_eq!(count.wakes(), all.len());
    drop(waiting);
    drop(all);
    check(&top, 0, 0);
}

#[test]
fn a_cancelled_token_does_not_poll_what_it_limits() {
    let token = CancellationToken::new();
    token.cancel();
    let mut limited = token.run_until_cancelled(std::future::poll_fn(|_| -> Poll<()> {
        panic!("it is not polled");
    }));
    assert_eq!(Count::new().poll(&mut limited), Poll::Ready(None));
}

#[test]
fn what_completes_in_the_poll_that_sees_the_cancellation_wins() {
    let token = CancellationToken::new();
    let (count, inner) = (Count::new(), CancellationToken::new());
    let mut limited = token.clone().run_until_cancelled_owned(inner.clone().cancelled_owned());
    assert_eq!(count.poll(&mut limited), Poll::Pending);
    token.cancel();
    inner.cancel();
    assert_eq!(count.wakes(), 2);
    assert_eq!(count.poll(&mut limited), Poll::Ready(Some(())));
}

#[test]
fn what_a_token_limits_is_dropped_when_it_is_cancelled() {
    block_on(async {
        let token = CancellationToken::new();
        let drops = std::rc::Rc::new(std::cell::Cell::new(0));
        let witness = common::Drops::counted_by(&drops);
        let task = spawn_boxed(token.run_until_cancelled(async move {
            let _witness = witness;
            sleep(Duration::from_secs(3600)).await;
        }));
        yield_now().await;
        assert_eq!(drops.get(), 0);
        token.cancel();
        assert_eq!(task.await, None);
        assert_eq!(drops.get(), 1);
        check(&token, 0, 0);
    });
}
