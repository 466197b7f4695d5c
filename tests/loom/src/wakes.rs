//! Two threads wake while the owner drains. When both are through, whatever was asked of a slot after
//! the owner last looked at it is still announced.

use crate::support::{
    FAR, FAR_APART, FAR_BESIDE, NEAR, NEAR_APART, NEAR_BESIDE, Owner, Shared, Sleep, check,
};

/// `before` is asked; then two threads ask `first` and `second`, while the owner takes `turns` turns.
fn two_wakers(before: &'static [u32], first: &'static [u32], second: &'static [u32], turns: usize) {
    check(3, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = [before, first, second].concat();
        let shared = Shared::new(&slots, &sleep);
        before.iter().for_each(|&slot| shared.ask(slot));
        let mut owner = Owner::new(&shared);
        let wakers = [shared.asker(first), shared.asker(second)];
        for _ in 0..turns {
            owner.turn(usize::MAX);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), slots.len(), "a wake was lost");
        assert!(shared.inbox.is_empty());
    });
}

#[test]
fn two_wakes_of_one_near_slot_lose_no_request() {
    two_wakers(&[], &[NEAR], &[NEAR], 2);
}

#[test]
fn two_wakes_of_neighbours_in_one_near_word_both_arrive() {
    two_wakers(&[], &[NEAR], &[NEAR_BESIDE], 2);
}

#[test]
fn two_wakes_of_near_slots_of_two_words_both_arrive() {
    two_wakers(&[], &[NEAR], &[NEAR_APART], 2);
}

#[test]
fn two_wakes_of_one_far_slot_lose_no_request() {
    two_wakers(&[], &[FAR], &[FAR], 2);
}

#[test]
fn two_wakes_of_one_far_slot_that_is_announced_lose_no_request() {
    two_wakers(&[FAR], &[FAR], &[FAR], 1);
}

#[test]
fn two_wakes_of_far_slots_of_which_one_is_the_lone_one_both_arrive() {
    two_wakers(&[], &[FAR], &[FAR_BESIDE], 2);
}

#[test]
fn two_wakes_of_neighbours_in_one_leaf_word_behind_a_lone_slot_both_arrive() {
    two_wakers(&[FAR_APART], &[FAR], &[FAR_BESIDE], 1);
}

#[test]
fn two_wakes_of_one_far_slot_behind_a_lone_slot_lose_no_request() {
    two_wakers(&[FAR_BESIDE], &[FAR], &[FAR], 1);
}

#[test]
fn two_wakes_under_one_summary_bit_behind_a_lone_slot_both_arrive() {
    two_wakers(&[FAR_BESIDE], &[FAR], &[FAR_APART], 1);
}

#[test]
fn a_near_and_a_far_wake_both_arrive() {
    two_wakers(&[], &[NEAR], &[FAR], 2);
}

#[test]
fn a_second_wake_of_the_same_slot_by_the_same_thread_is_not_swallowed() {
    two_wakers(&[], &[NEAR, NEAR], &[NEAR_BESIDE], 1);
    two_wakers(&[], &[FAR, FAR], &[FAR_BESIDE], 1);
}

#[test]
fn wakes_for_slots_that_get_their_page_at_that_moment_are_harmless() {
    check(3, || {
        let sleep = Sleep::new();
        let shared = Shared::new(&[NEAR], &sleep);
        let stale = {
            let shared = shared.clone();
            loom::thread::spawn(move || [FAR, FAR_BESIDE].map(|slot| shared.inbox.wake(slot)))
        };
        shared.inbox.ensure(FAR);
        let mut owner = Owner::new(&shared);
        owner.turn(usize::MAX);
        stale.join().unwrap();
        shared.ask(NEAR);
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), 1);
        assert!(shared.inbox.is_empty());
    });
}
