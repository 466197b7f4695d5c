//! Two threads wake while the owner drains. When both are through, whatever was asked of a slot after
//! the owner last looked at it is still announced.

use crate::support::{Owner, Shared, Sleep, check};

/// A slot whose leaf word is beside the summary, and one whose word lies in a page and answers to the same
/// summary bit.
const WORD_1: u32 = 64;
const WORD_65: u32 = 65 * 64;

/// Two threads ask `first` and `second`, while the owner takes `turns` turns.
fn two_wakers(first: &'static [u32], second: &'static [u32], turns: usize) {
    check(3, move || {
        let sleep = Sleep::new();
        let slots: Vec<u32> = first.iter().chain(second).copied().collect();
        let shared = Shared::new(&slots, &sleep);
        let mut owner = Owner::new(&shared);
        let wakers = [shared.asker(first), shared.asker(second)];
        for _ in 0..turns {
            owner.turn(usize::MAX);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), first.len() + second.len(), "a wake was lost");
    });
}

#[test]
fn two_wakes_of_one_slot_lose_no_request() {
    two_wakers(&[3], &[3], 2);
}

#[test]
fn two_wakes_of_neighbours_in_one_leaf_word_both_arrive() {
    two_wakers(&[3], &[5], 2);
}

#[test]
fn two_wakes_under_one_summary_bit_both_arrive_from_beside_it_and_from_a_page() {
    two_wakers(&[WORD_1], &[WORD_65], 2);
}

#[test]
fn a_second_wake_of_the_same_slot_by_the_same_thread_is_not_swallowed() {
    two_wakers(&[3, 3], &[5], 1);
}

#[test]
fn a_wake_for_a_slot_that_gets_its_page_at_that_moment_is_harmless() {
    check(3, || {
        let sleep = Sleep::new();
        let shared = Shared::new(&[3], &sleep);
        let stale = {
            let shared = shared.clone();
            loom::thread::spawn(move || shared.inbox.wake(WORD_65))
        };
        shared.inbox.ensure(WORD_65);
        let mut owner = Owner::new(&shared);
        owner.turn(usize::MAX);
        stale.join().unwrap();
        shared.ask(3);
        owner.turn(usize::MAX);
        assert_eq!(owner.seen(), 1);
        assert!(shared.inbox.is_empty());
    });
}
