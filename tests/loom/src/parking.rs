//! A wake races the owner's way to sleep. The wait ends only by `unpark`, so an owner that slept on a
//! wake would sleep for ever.

use crate::support::{
    FAR, FAR_APART, FAR_BESIDE, NEAR, NEAR_APART, NEAR_BESIDE, Owner, Shared, Sleep, check,
};

/// The owner parks until all was seen that was asked for: `before`, and then by threads, one for each list.
fn park_until_seen(preemptions: usize, before: &'static [u32], lists: &'static [&'static [u32]]) {
    check(preemptions, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = [before, &lists.concat()].concat();
        let shared = Shared::new(&slots, &sleep);
        before.iter().for_each(|&slot| shared.ask(slot));
        let mut owner = Owner::new(&shared);
        let wakers: Vec<_> = lists.iter().map(|list| shared.asker(list)).collect();
        owner.run_until(slots.len(), usize::MAX, &sleep);
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn an_owner_never_sleeps_on_a_near_wake() {
    park_until_seen(3, &[], &[&[NEAR]]);
}

#[test]
fn an_owner_never_sleeps_on_a_far_wake() {
    park_until_seen(3, &[], &[&[FAR]]);
}

#[test]
fn an_owner_never_sleeps_on_a_far_wake_behind_a_lone_slot() {
    park_until_seen(3, &[FAR_BESIDE], &[&[FAR]]);
}

#[test]
fn an_owner_never_sleeps_on_the_second_of_two_wakes() {
    park_until_seen(3, &[], &[&[NEAR, NEAR]]);
    park_until_seen(3, &[], &[&[FAR, FAR]]);
}

#[test]
fn an_owner_never_sleeps_on_either_of_two_threads() {
    park_until_seen(2, &[], &[&[NEAR], &[NEAR_BESIDE]]);
    park_until_seen(2, &[], &[&[NEAR], &[NEAR_APART]]);
    park_until_seen(2, &[], &[&[FAR], &[FAR_BESIDE]]);
    park_until_seen(2, &[], &[&[NEAR], &[FAR]]);
}

#[test]
fn an_owner_never_sleeps_on_a_wake_under_a_summary_bit_that_is_being_taken() {
    park_until_seen(2, &[FAR_BESIDE], &[&[FAR], &[FAR_APART]]);
}
