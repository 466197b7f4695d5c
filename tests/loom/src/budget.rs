//! A drain with a limit stops after a word and goes on in a later turn. A bit that is set again meanwhile,
//! before or behind the place where it stopped, is handed out again.

use crate::support::{
    FAR, FAR_APART, FAR_BESIDE, NEAR, NEAR_APART, NEAR_BESIDE, Owner, Shared, Sleep, check,
};

/// The owner starts with `before` announced, and takes one slot a turn while a thread asks `meanwhile`.
fn drain_one_by_one(before: &'static [u32], meanwhile: &'static [u32]) {
    check(3, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = [before, meanwhile].concat();
        let shared = Shared::new(&slots, &sleep);
        before.iter().for_each(|&slot| shared.ask(slot));
        let mut owner = Owner::new(&shared);
        let waker = shared.asker(meanwhile);
        owner.run_until(slots.len(), 1, &sleep);
        waker.join().unwrap();
    });
}

#[test]
fn a_bit_set_while_it_is_being_taken_is_handed_out_again() {
    drain_one_by_one(&[NEAR], &[NEAR]);
    drain_one_by_one(&[FAR], &[FAR]);
    drain_one_by_one(&[FAR_BESIDE, FAR], &[FAR]);
}

#[test]
fn a_bit_set_behind_the_place_where_the_drain_stopped_is_not_lost() {
    drain_one_by_one(&[NEAR, NEAR_APART], &[NEAR]);
    drain_one_by_one(&[FAR_BESIDE, FAR, FAR_APART], &[FAR]);
}

#[test]
fn a_bit_set_before_the_place_where_the_drain_stopped_is_not_lost() {
    drain_one_by_one(&[NEAR], &[NEAR_APART, NEAR]);
    drain_one_by_one(&[FAR_BESIDE, FAR], &[FAR_APART, FAR]);
}

#[test]
fn a_far_wake_behind_near_ones_and_near_wakes_behind_a_far_one_are_not_lost() {
    drain_one_by_one(&[NEAR, FAR], &[NEAR_BESIDE]);
    drain_one_by_one(&[FAR_BESIDE, FAR, NEAR], &[NEAR_BESIDE, NEAR]);
}

/// Whoever is announced again before each turn does not keep another one waiting.
fn nobody_starves(again: &'static [u32], waits: u32) {
    check(0, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = again.iter().copied().chain([waits]).collect();
        let shared = Shared::new(&slots, &sleep);
        let mut owner = Owner::new(&shared);
        again.iter().for_each(|&slot| shared.inbox.wake(slot));
        shared.ask(waits);
        let mut turns = 0;
        while owner.seen() == 0 {
            owner.turn(1);
            again.iter().for_each(|&slot| shared.inbox.wake(slot));
            turns += 1;
            assert!(turns <= slots.len() + 1, "{waits} starves");
        }
    });
}

#[test]
fn slots_that_are_always_woken_starve_no_other_one() {
    nobody_starves(&[NEAR, NEAR_APART], FAR);
    nobody_starves(&[NEAR, FAR_BESIDE], FAR);
    nobody_starves(&[FAR, FAR_BESIDE, FAR_APART], NEAR);
    nobody_starves(&[NEAR_APART, FAR_BESIDE, FAR_APART], NEAR);
    nobody_starves(&[NEAR, FAR_BESIDE, FAR], FAR_APART);
}
