//! The keys that a pop has put aside.
//!
//! *Half dead*: the dead never outnumber the living, which bounds memory and makes a sweep constant in
//! amortised time.

use super::lists::Key;

/// Due keys that wait for a later mark.
#[derive(Debug)]
pub(super) struct Deferred {
    keys: Vec<Key>,
    dead: usize,
    /// No key here is earlier.
    deadline_ns_min: u64,
    /// No key here was registered earlier.
    serial_min: u64,
}

impl Deferred {
    pub(super) fn new() -> Self {
        Self { keys: Vec::new(), dead: 0, deadline_ns_min: u64::MAX, serial_min: u64::MAX }
    }

    pub(super) fn push(&mut self, key: Key) {
        self.deadline_ns_min = self.deadline_ns_min.min(key.deadline_ns);
        self.serial_min = self.serial_min.min(key.serial);
        self.keys.push(key);
    }

    /// Whether a key may be here that was registered before the mark.
    pub(super) fn has_before(&self, mark: u64) -> bool {
        self.serial_min < mark
    }

    /// A lower bound of the deadlines here.
    pub(super) fn deadline_ns_min(&self) -> Option<u64> {
        (!self.keys.is_empty()).then_some(self.deadline_ns_min)
    }

    /// Everything here, and forgets it. [`give_back`](Self::give_back) returns the memory.
    pub(super) fn take(&mut self) -> Vec<Key> {
        std::mem::replace(self, Self::new()).keys
    }

    /// Keeps the memory of keys that were taken, so that the next ones allocate nothing.
    pub(super) fn give_back(&mut self, mut keys: Vec<Key>) {
        if self.keys.is_empty() {
            keys.clear();
            self.keys = keys;
        }
    }

    /// Says that one key here has died. `is_live` knows it.
    pub(super) fn bury(&mut self, is_live: impl Fn(&Key) -> bool) {
        self.dead += 1;
        if self.dead > self.keys.len() - self.dead {
            let mut keys = self.take();
            keys.retain(is_live);
            for &key in &keys {
                self.deadline_ns_min = self.deadline_ns_min.min(key.deadline_ns);
                self.serial_min = self.serial_min.min(key.serial);
            }
            self.keys = keys;
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.keys.len() - self.dead, self.dead)
    }
}
