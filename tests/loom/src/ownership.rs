//! An inbox outlives its owners: a waker may knock while a runtime ends, after it has gone, and while
//! the next one moves in.

use std::sync::Arc;

use loom::thread;

use crate::support::{Owner, Shared, Sleep, check};

/// Parks and leaves, as a wait does that an event of a socket ended.
fn park_and_leave(shared: &Arc<Shared>) {
    if shared.inbox.park() {
        shared.inbox.unpark();
    }
}

#[test]
fn a_wake_that_races_the_end_of_the_runtime_uses_nothing_that_was_dropped() {
    check(3, || {
        let sleep = Sleep::new();
        let shared = Shared::new(&[3], &sleep);
        let wakers = [shared.asker(&[3]), shared.asker(&[3])];
        park_and_leave(&shared);
        shared.inbox.close();
        assert_eq!(sleep.doors_dropped(), 1, "no waker keeps the runtime's waker alive");
        for waker in wakers {
            waker.join().unwrap();
        }
        assert_eq!(sleep.doors_dropped(), 1, "dropped once");
    });
}

#[test]
fn a_runtime_that_ends_while_it_is_parked_drops_its_waker_once() {
    check(3, || {
        let sleep = Sleep::new();
        let shared = Shared::new(&[3], &sleep);
        let waker = shared.asker(&[3]);
        let _ = shared.inbox.park();
        shared.inbox.close();
        assert_eq!(sleep.doors_dropped(), 1);
        waker.join().unwrap();
    });
}

#[test]
fn the_next_owner_is_woken_though_an_old_waker_knocks_at_the_same_time() {
    check(2, || {
        let first = Sleep::new();
        let shared = Shared::new(&[3], &first);
        let old = {
            let shared = shared.clone();
            thread::spawn(move || shared.inbox.wake(3))
        };
        park_and_leave(&shared);
        shared.inbox.close();

        let second = Sleep::new();
        shared.inbox.open(second.door());
        let mut owner = Owner::new(&shared);
        let new = shared.asker(&[3]);
        owner.run_until(1, usize::MAX, &second);
        old.join().unwrap();
        new.join().unwrap();
        assert_eq!((first.doors_dropped(), second.doors_dropped()), (1, 0));
    });
}

#[test]
fn the_next_owner_is_not_handed_what_was_announced_to_the_last() {
    check(3, || {
        let first = Sleep::new();
        let shared = Shared::new(&[3], &first);
        let old = shared.asker(&[3]);
        old.join().unwrap();
        shared.inbox.close();
        shared.inbox.open(Sleep::new().door());
        let mut owner = Owner::new(&shared);
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), 0);
    });
}
