//! A first-in, first-out ring of slots that are ready.
//!
//! Invariant **room for all**: a ring has at least as many places as there are slots, and a slot is in
//! one ring at a time (the flag `QUEUED` says so), so a push always finds room.

#![expect(
    unsafe_code,
    reason = "places are found by mask, without a bounds check, on the hot path"
)]

use std::{
    cell::{Cell, UnsafeCell},
    ptr,
};

use super::table::Slot;

#[derive(Debug)]
pub(crate) struct Ring {
    /// A power of two of places. The slots themselves, not their indices: who pops one goes on with it.
    places: UnsafeCell<Box<[Cell<*const Slot>]>>,
    mask: Cell<u32>,
    /// Counts pops, modulo 2^32.
    head: Cell<u32>,
    /// Counts pushes, modulo 2^32.
    tail: Cell<u32>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self {
            places: UnsafeCell::new(Box::new([Cell::new(ptr::null())])),
            mask: Cell::new(0),
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }

    #[inline]
    fn place(&self, count: u32) -> &Cell<*const Slot> {
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
    pub(crate) fn first(&self) -> *const Slot {
        debug_assert!(!self.is_empty(), "a ring that is empty has no first slot");
        self.place(self.head.get()).get()
    }

    /// Where the ring ends: a pop that has reached it takes what was pushed later.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.tail.get()
    }

    #[inline]
    pub(crate) fn push(&self, slot: *const Slot) {
        debug_assert!(
            self.tail.get().wrapping_sub(self.head.get()) <= self.mask.get(),
            "a ring has room for every slot"
        );
        self.place(self.tail.get()).set(slot);
        self.tail.set(self.tail.get().wrapping_add(1));
    }

    /// Takes the first slot, unless the ring has come to `end`.
    #[inline]
    pub(crate) fn pop_before(&self, end: u32) -> Option<*const Slot> {
        let head = self.head.get();
        if head == end {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        Some(self.place(head).get())
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
        if ptr::eq(self, other) || other.is_empty() {
            return;
        }
        // SAFETY: the two are different rings, and no reference to their places outlives a method.
        unsafe { ptr::swap(self.places.get(), other.places.get()) };
        debug_assert_eq!(self.mask, other.mask, "the rings have the same room");
        // Whatever its counts, a ring is empty when they are the same.
        self.head.set(other.head.replace(self.tail.get()));
        self.tail.swap(&other.tail);
    }

    /// Whether it was ever asked to have room.
    pub(crate) fn has_room(&self) -> bool {
        self.mask.get() > 0
    }

    /// Makes room for `slots` slots.
    pub(crate) fn reserve(&self, slots: u32) {
        if self.mask.get() + 1 >= slots {
            return;
        }
        let room = slots.next_power_of_two();
        let places: Box<[_]> = (0..room).map(|_| Cell::new(ptr::null())).collect();
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

    /// A ring follows no pointer, so any will do.
    fn slot(number: usize) -> *const Slot {
        ptr::without_provenance(number)
    }

    fn all(ring: &Ring) -> Vec<usize> {
        std::iter::from_fn(|| ring.pop_before(ring.end())).map(<*const Slot>::addr).collect()
    }

    #[test]
    fn a_ring_keeps_its_order_when_it_wraps_and_when_it_grows() {
        let ring = Ring::new();
        ring.reserve(4);
        for number in 1..=3 {
            ring.push(slot(number));
        }
        assert_eq!(ring.pop_before(ring.end()), Some(slot(1)));
        ring.push(slot(4));
        ring.push(slot(5));
        ring.reserve(100);
        ring.push(slot(6));
        assert_eq!(all(&ring), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn append_puts_the_other_ring_behind_this_one() {
        let (ring, other) = (Ring::new(), Ring::new());
        ring.reserve(8);
        other.reserve(8);
        other.push(slot(1));
        ring.append(&other);
        other.push(slot(2));
        other.push(slot(3));
        ring.append(&other);
        assert!(other.is_empty());
        assert_eq!(all(&ring), [1, 2, 3]);
    }

    #[test]
    fn a_pop_stops_at_the_end_that_was_taken_before() {
        let ring = Ring::new();
        ring.reserve(4);
        ring.push(slot(1));
        let end = ring.end();
        ring.push(slot(2));
        assert_eq!(ring.pop_before(end), Some(slot(1)));
        assert_eq!(ring.pop_before(end), None);
    }
}
