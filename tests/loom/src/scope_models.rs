//! Children of a scope are woken and aborted by other threads while the scope is polled, goes to sleep or
//! ends. A wake that is lost leaves the scope asleep, which is a deadlock.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    scope::{ChildWaker, ScopeWaker},
    support::{check, wait},
};

/// As `scope::nursery` polls: the flags are looked at while the scope's waker is away, and once more when
/// it is back.
struct Scope {
    waker: Arc<ScopeWaker>,
    children: Vec<Arc<ChildWaker>>,
}

impl Scope {
    /// With so many children, which have been polled once.
    fn new(children: usize) -> Self {
        let waker = Arc::<ScopeWaker>::default();
        let child = |_| {
            let child = ChildWaker::new(waker.clone());
            assert!(child.take_woken(), "a new child is to be polled");
            child
        };
        let children = (0..children).map(child).collect();
        Self { waker, children }
    }

    /// Polls each child that was woken. `poll` says whether the scope is ready.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(usize, &ChildWaker) -> bool,
    ) -> Poll<()> {
        drop(self.waker.put(None));
        let mut ready = false;
        for (number, child) in self.children.iter().enumerate() {
            if child.take_woken() {
                ready |= poll(number, child);
            }
        }
        if ready {
            return Poll::Ready(());
        }
        drop(self.waker.put(Some(cx.waker().clone())));
        if self.children.iter().any(|child| child.is_woken()) {
            self.waker.wake();
        }
        Poll::Pending
    }
}

#[test]
fn children_that_two_threads_wake_are_both_polled_and_see_what_was_written() {
    check(3, || {
        let scope = Scope::new(2);
        let written: Arc<[AtomicUsize; 2]> = Arc::default();
        let threads = [0, 1].map(|number| {
            let (child, written) = (scope.children[number].clone(), written.clone());
            thread::spawn(move || {
                written[number].store(1, Ordering::Relaxed);
                Waker::from(child).wake();
            })
        });
        let mut seen = [0, 0];
        wait(|cx| {
            scope.poll(cx, |number, _| {
                seen[number] = written[number].load(Ordering::Relaxed);
                seen == [1, 1]
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_child_that_is_woken_twice_sees_the_second_time() {
    check(3, || {
        let scope = Scope::new(1);
        let written = Arc::new(AtomicUsize::new(0));
        let waking = {
            let (waker, written) = (Waker::from(scope.children[0].clone()), written.clone());
            thread::spawn(move || {
                for value in 1..=2 {
                    written.store(value, Ordering::Relaxed);
                    waker.wake_by_ref();
                }
            })
        };
        wait(|cx| scope.poll(cx, |_, _| written.load(Ordering::Relaxed) == 2));
        waking.join().unwrap();
    });
}

#[test]
fn a_child_that_is_aborted_while_another_is_woken_is_known_to_be() {
    check(3, || {
        let scope = Scope::new(2);
        let aborting = {
            let child = scope.children[0].clone();
            thread::spawn(move || child.abort())
        };
        let waking = {
            let child = scope.children[1].clone();
            thread::spawn(move || Waker::from(child).wake())
        };
        let mut seen = [false, false];
        wait(|cx| {
            scope.poll(cx, |number, child| {
                seen[number] = number == 1 || child.is_aborted();
                seen == [true, true]
            })
        });
        aborting.join().unwrap();
        waking.join().unwrap();
    });
}

#[test]
fn a_wake_that_races_the_end_of_the_scope_keeps_no_waker() {
    check(3, || {
        let scope = Scope::new(1);
        let child = scope.children[0].clone();
        let waking = thread::spawn(move || Waker::from(child).wake());
        let mut cx = Context::from_waker(Waker::noop());
        let _: Poll<()> = scope.poll(&mut cx, |_, _| false);
        drop(scope.waker.put(None));
        waking.join().unwrap();
        assert!(scope.waker.put(None).is_none());
    });
}
