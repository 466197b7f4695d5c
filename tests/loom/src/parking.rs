//! A wake races the owner's way to sleep. The wait ends only by `unpark`, so an owner that slept on a
//! wake would sleep for ever.

use crate::support::{Owner, Shared, Sleep, check};

/// The owner parks until all was seen that the threads ask for, one thread for each list.
fn park_until_seen(preemptions: usize, lists: &'static [&'static [u32]]) {
    check(preemptions, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = lists.concat();
        let shared = Shared::new(&slots, &sleep);
        let mut owner = Owner::new(&shared);
        let wakers: Vec<_> = lists.iter().map(|list| shared.asker(list)).collect();
        owner.run_until(slots.len(), usize::MAX, &sleep);
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn an_owner_never_sleeps_on_a_wake() {
    park_until_seen(3, &[&[3]]);
}

#[test]
fn an_owner_never_sleeps_on_the_second_of_two_wakes() {
    park_until_seen(3, &[&[3, 3]]);
}

#[test]
fn an_owner_never_sleeps_on_either_of_two_threads() {
    park_until_seen(2, &[&[3], &[5]]);
}

#[test]
fn an_owner_never_sleeps_on_a_wake_under_a_summary_bit_that_is_being_taken() {
    park_until_seen(2, &[&[64], &[65 * 64]]);
}
