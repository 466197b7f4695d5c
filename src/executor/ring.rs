//! A first-in, first-out ring of slots that are ready.
//!
//! Invariant **room for all**: a ring has at least as many places as there are slots, and a slot is in
//! one ring at a time (the flag `QUEUED` says so), so a push always finds room.

#![expect(
    unsafe_code,
    reason = "places are found by mask, without a bounds check, on the hot path"
)]

use std::cell::{Cell, UnsafeCell};

use super::key::SlotIndex;

#[derive(Debug)]
pub(crate) struct Ring {
    /// A power of two of places.
    places: UnsafeCell<Box<[Cell<u32>]>>,
    mask: Cell<u32>,
    /// Counts pops, modulo 2^32.
    head: Cell<u32>,
    /// Counts pushes, modulo 2^32.
    tail: Cell<u32>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self {
            places: UnsafeCell::new(Box::new([Cell::new(0)])),
            mask: Cell::new(0),
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }

    #[inline]
    fn place(&self, count: u32) -> &Cell<u32> {
        // SAFETY: `reserve`, the only one to replace the places, holds no reference while user code or
        // another method runs.
        let places = unsafe { &*self.places.get() };
        // SAFETY: `mask` is the number of places less one.
        unsafe { places.get_unchecked((count & self.mask.get()) as usize) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == self.tail.get()
    }

    /// Where the ring begins.
    #[inline]
    pub(crate) fn start(&self) -> u32 {
        self.head.get()
    }

    /// The slot that is popped next, of a ring that is not empty.
    pub(crate) fn first(&self) -> SlotIndex {
        debug_assert!(!self.is_empty(), "a ring that is empty has no first slot");
        SlotIndex(self.place(self.head.get()).get())
    }

    /// Where the ring ends: a pop that has reached it takes what was pushed later.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.tail.get()
    }

    #[inline]
    pub(crate) fn push(&self, slot: SlotIndex) {
        debug_assert!(
            self.tail.get().wrapping_sub(self.head.get()) <= self.mask.get(),
            "a ring has room for every slot"
        );
        self.place(self.tail.get()).set(slot.0);
        self.tail.set(self.tail.get().wrapping_add(1));
    }

    /// Takes the first slot, unless the ring has come to `end`.
    #[inline]
    pub(crate) fn pop_before(&self, end: u32) -> Option<SlotIndex> {
        let head = self.head.get();
        if head == end {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        Some(SlotIndex(self.place(head).get()))
    }

    /// Moves all of `other` behind what is here. The rings have the same room.
    pub(crate) fn append(&self, other: &Self) {
        if self.is_empty() {
            self.swap(other);
            return;
        }
        while let Some(slot) = other.pop_before(other.end()) {
            self.push(slot);
        }
    }

    fn swap(&self, other: &Self) {
        if std::ptr::eq(self, other) || other.is_empty() {
            return;
        }
        // SAFETY: the two are different rings, and no reference to their places outlives a method.
        unsafe { std::ptr::swap(self.places.get(), other.places.get()) };
        self.mask.swap(&other.mask);
        self.head.swap(&other.head);
        self.tail.swap(&other.tail);
    }

    /// Makes room for `slots` slots.
    pub(crate) fn reserve(&self, slots: u32) {
        if self.mask.get() + 1 >= slots {
            return;
        }
        let room = slots.next_power_of_two();
        let places: Box<[Cell<u32>]> = (0..room).map(|_| Cell::new(0)).collect();
        // Counts stay what they are: a round in the middle of which this happens knows its end by one.
        let mut count = self.head.get();
        while count != self.tail.get() {
            places[(count & (room - 1)) as usize].set(self.place(count).get());
            count = count.wrapping_add(1);
        }
        // SAFETY: no reference to the places is alive: each method's ends with it.
        unsafe { *self.places.get() = places };
        self.mask.set(room - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ring: &Ring) -> Vec<u32> {
        std::iter::from_fn(|| ring.pop_before(ring.end())).map(|slot| slot.0).collect()
    }

    #[test]
    fn a_ring_keeps_its_order_when_it_wraps_and_when_it_grows() {
        let ring = Ring::new();
        ring.reserve(4);
        for slot in 1..=3 {
            ring.push(SlotIndex(slot));
        }
        assert_eq!(ring.pop_before(ring.end()), Some(SlotIndex(1)));
        ring.push(SlotIndex(4));
        ring.push(SlotIndex(5));
        ring.reserve(100);
        ring.push(SlotIndex(6));
        assert_eq!(all(&ring), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn append_puts_the_other_ring_behind_this_one() {
        let (ring, other) = (Ring::new(), Ring::new());
        ring.reserve(8);
        other.reserve(8);
        other.push(SlotIndex(1));
        ring.append(&other);
        other.push(SlotIndex(2));
        other.push(SlotIndex(3));
        ring.append(&other);
        assert!(other.is_empty());
        assert_eq!(all(&ring), [1, 2, 3]);
    }

    #[test]
    fn a_pop_stops_at_the_end_that_was_taken_before() {
        let ring = Ring::new();
        ring.reserve(4);
        ring.push(SlotIndex(1));
        let end = ring.end();
        ring.push(SlotIndex(2));
        assert_eq!(ring.pop_before(end), Some(SlotIndex(1)));
        assert_eq!(ring.pop_before(end), None);
    }
}
