//! An inbox outlives its owners: a waker may knock while a runtime ends, after it has gone, and while
//! the next one moves in.

use std::sync::Arc;

use loom::thread;

use crate::support::{FAR, FAR_BESIDE, NEAR, Owner, Shared, Sleep, check};

/// Parks and leaves, as a wait does that an event of a socket ended.
fn park_and_leave(shared: &Arc<Shared>) {
    if shared.inbox.park() {
        shared.inbox.unpark();
    }
}

/// Two threads wake these slots while the runtime ends.
fn ends_under_wakes(slots: [&'static [u32]; 2]) {
    check(3, move || {
        let sleep = Sleep::new();
        let shared = Shared::new(&slots.concat(), &sleep);
        let wakers = slots.map(|slots| shared.asker(slots));
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
fn wakes_that_race_the_end_of_the_runtime_use_nothing_that_was_dropped() {
    ends_under_wakes([&[NEAR], &[NEAR]]);
    ends_under_wakes([&[FAR], &[FAR_BESIDE]]);
}

#[test]
fn a_runtime_that_ends_while_it_is_parked_drops_its_waker_once() {
    for slot in [NEAR, FAR] {
        check(3, move || {
            let sleep = Sleep::new();
            let shared = Shared::new(&[slot], &sleep);
            let waker = shared.clone();
            let waker = thread::spawn(move || waker.ask(slot));
            let _ = shared.inbox.park();
            shared.inbox.close();
            assert_eq!(sleep.doors_dropped(), 1);
            waker.join().unwrap();
        });
    }
}

#[test]
fn the_next_owner_is_woken_though_an_old_waker_knocks_at_the_same_time() {
    for (slot, other) in [(NEAR, NEAR), (FAR, FAR), (FAR, FAR_BESIDE)] {
        check(2, move || {
            let first = Sleep::new();
            let shared = Shared::new(&[slot], &first);
            let old = {
                let shared = shared.clone();
                thread::spawn(move || shared.inbox.wake(other))
            };
            park_and_leave(&shared);
            shared.inbox.close();

            let second = Sleep::new();
            shared.inbox.open(second.door());
            let mut owner = Owner::new(&shared);
            let new = shared.clone();
            let new = thread::spawn(move || new.ask(slot));
            owner.run_until(1, usize::MAX, &second);
            old.join().unwrap();
            new.join().unwrap();
            assert_eq!((first.doors_dropped(), second.doors_dropped()), (1, 0));
        });
    }
}

#[test]
fn the_next_owner_is_not_handed_what_was_announced_to_the_last() {
    check(3, || {
        let first = Sleep::new();
        let slots = &[NEAR, FAR, FAR_BESIDE];
        let shared = Shared::new(slots, &first);
        let old = shared.asker(slots);
        old.join().unwrap();
        shared.inbox.close();
        shared.inbox.open(Sleep::new().door());
        let mut owner = Owner::new(&shared);
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), 0);
    });
}
