//! Shutdown is asked for while others join those who wait, leave them, or end the runtime: whoever waits is
//! woken once it is over, and whoever has left is not kept.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use slab::Slab;

use crate::{
    shutdown::Shared,
    support::{self, Owner, Sleep, check, wait},
};

fn wake_all(waiters: Slab<Waker>) {
    for (_, waker) in waiters {
        waker.wake();
    }
}

/// Waits to the end, as a signal does.
fn wait_for(shared: &Shared) {
    let mut place = None;
    wait(|cx| shared.wait(&mut place, cx.waker()));
    assert!(shared.leave(place).is_none(), "nobody is kept once it is over");
}

#[test]
fn one_who_joins_while_shutdown_is_asked_for_hears_of_it() {
    check(3, || {
        let shared = Arc::new(Shared::new());
        let written = Arc::new(AtomicUsize::new(0));
        let asking = {
            let (shared, written) = (shared.clone(), written.clone());
            thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                wake_all(shared.ask());
            })
        };
        wait_for(&shared);
        assert_eq!(written.load(Ordering::Relaxed), 1, "and sees what was written before");
        asking.join().unwrap();
    });
}

#[test]
fn two_who_join_while_shutdown_is_asked_for_and_the_runtime_goes_hear_of_it() {
    check(2, || {
        let shared = Arc::new(Shared::new());
        let spawn = |f: fn(&Shared)| {
            let shared = shared.clone();
            thread::spawn(move || f(&shared))
        };
        let threads = [
            spawn(wait_for),
            spawn(|shared| wake_all(shared.ask())),
            spawn(|shared| wake_all(shared.end())),
        ];
        wait_for(&shared);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(shared.is_asked());
    });
}

#[test]
fn one_who_leaves_takes_nobody_along_and_is_not_kept() {
    check(3, || {
        struct Leaves;
        impl Wake for Leaves {
            fn wake(self: Arc<Self>) {}
        }
        let shared = Arc::new(Shared::new());
        let leaves = Arc::new(Leaves);
        let leaving = {
            let (shared, waker) = (shared.clone(), Waker::from(leaves.clone()));
            thread::spawn(move || {
                let mut place = None;
                let _ = shared.wait(&mut place, &waker);
                drop(shared.leave(place));
            })
        };
        let asking = {
            let shared = shared.clone();
            thread::spawn(move || wake_all(shared.ask()))
        };
        wait_for(&shared);
        leaving.join().unwrap();
        asking.join().unwrap();
        assert_eq!(Arc::strong_count(&leaves), 1);
    });
}

/// The slot of the task that waits.
const TASK: u32 = 3;

/// Wakes a task of the runtime from another thread.
struct TaskWaker(Arc<support::Shared>);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.0.ask(TASK);
    }
}

#[test]
fn a_runtime_that_parks_with_a_task_that_waits_does_not_sleep_on_the_shutdown() {
    check(2, || {
        let sleep = Sleep::new();
        let runtime = support::Shared::new(&[TASK], &sleep);
        let shared = Arc::new(Shared::new());
        let asking = {
            let (shared, runtime) = (shared.clone(), runtime.clone());
            thread::spawn(move || {
                wake_all(shared.ask());
                runtime.inbox.wake(0);
            })
        };
        let waker = Waker::from(Arc::new(TaskWaker(runtime.clone())));
        let (mut owner, mut place) = (Owner::new(&runtime), None);
        let mut cx = Context::from_waker(&waker);
        while shared.wait(&mut place, cx.waker()).is_pending() {
            owner.wait(&sleep);
            owner.turn(usize::MAX);
            cx = Context::from_waker(&waker);
        }
        wake_all(shared.end());
        runtime.inbox.close();
        asking.join().unwrap();
        assert_eq!(sleep.doors_dropped(), 1);
    });
}
