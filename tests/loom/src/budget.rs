//! A drain with a limit stops after a leaf word and goes on in a later turn. A bit that is set again
//! meanwhile, before or behind the place where it stopped, is handed out again.

use crate::support::{Owner, Shared, Sleep, check};

/// Leaf words 0 and 64: both under summary bit 0, in two pages.
const FIRST: u32 = 0;
const SECOND: u32 = 64 * 64;

/// The owner starts with `before` announced, and takes one slot a turn while a thread asks `meanwhile`.
fn drain_one_by_one(before: &'static [u32], meanwhile: &'static [u32]) {
    check(3, move || {
        let sleep = Sleep::new();
        let shared = Shared::new(&[FIRST, SECOND, 64], &sleep);
        before.iter().for_each(|&slot| shared.ask(slot));
        let mut owner = Owner::new(&shared);
        let waker = shared.asker(meanwhile);
        owner.run_until(before.len() + meanwhile.len(), 1, &sleep);
        waker.join().unwrap();
    });
}

#[test]
fn a_bit_set_while_it_is_being_taken_is_handed_out_again() {
    drain_one_by_one(&[FIRST], &[FIRST]);
}

#[test]
fn a_bit_set_behind_the_place_where_the_drain_stopped_is_not_lost() {
    drain_one_by_one(&[FIRST, SECOND], &[FIRST]);
}

#[test]
fn a_bit_set_before_the_place_where_the_drain_stopped_is_not_lost() {
    drain_one_by_one(&[FIRST], &[SECOND, FIRST]);
}

#[test]
fn a_bit_set_under_another_summary_bit_waits_for_its_turn() {
    drain_one_by_one(&[FIRST, SECOND], &[64, FIRST]);
}
