//! Names of tasks: the key, which a waker carries and which asks for nothing but a poll, and the
//! identity, which gives rights and is never reused.

use std::{hint::cold_path, num::NonZeroU64};

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// How many task slots one runtime may have, slot 0 included, which is the runtime itself. Fewer in the
/// tests of this file's crate, which come to the end of them.
pub(crate) const SLOTS_MAX: u32 = if cfg!(test) { 1 << 18 } else { 1 << SLOT_BITS };

const _: () = assert!(
    usize::BITS == 64,
    "onbeat keeps a 64-bit task key in a waker's data word and needs a 64-bit target"
);

/// The 16-bit name of a live runtime. It is reused after the runtime has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuntimeId(pub(crate) u16);

/// The place of a task in its runtime's table. Slot 0 is the runtime itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub(crate) struct SlotIndex(pub(crate) u32);

impl SlotIndex {
    /// The slot that no task has: foreign wakes use it to address the runtime.
    pub(crate) const RUNTIME: Self = Self(0);
}

/// How often a slot has been given out: 1 to 2^24 - 1, then 1 again. Zero is no generation, so a word with
/// zero in its place is no task's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation(u32);

impl Generation {
    pub(crate) const FIRST: Self = Self(1);

    /// With what the slots of a runtime begin. A runtime's number is used again; the next runtime of that
    /// number begins elsewhere, so that keys of the one before name none of its tasks.
    pub(crate) fn of_runtime(serial: u64) -> Self {
        let spread = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - GENERATION_BITS);
        Self((spread as u32).max(Self::FIRST.0))
    }
}

/// The 64-bit name of a task: runtime (16 bits), generation (24), slot (24).
///
/// A key may outlive what it names, and may then name something else once its generation has come
/// round. That is why it gives no right but to ask for a poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn new(runtime: RuntimeId, generation: Generation, slot: SlotIndex) -> Self {
        debug_assert!(u64::from(slot.0) <= SLOT_MASK, "a slot has 24 bits");
        Self(
            u64::from(runtime.0) << (SLOT_BITS + GENERATION_BITS)
                | u64::from(generation.0) << SLOT_BITS
                | u64::from(slot.0),
        )
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The name of the slot's next use.
    #[inline]
    pub(crate) fn next(self) -> Self {
        let next = self.0.wrapping_add(1 << SLOT_BITS);
        if next >> SLOT_BITS & GENERATION_MASK == 0 {
            cold_path();
            return Self::new(self.runtime(), Generation::FIRST, self.slot());
        }
        Self(next)
    }

    pub(crate) fn runtime(self) -> RuntimeId {
        RuntimeId((self.0 >> (SLOT_BITS + GENERATION_BITS)) as u16)
    }

    pub(crate) fn slot(self) -> SlotIndex {
        SlotIndex((self.0 & SLOT_MASK) as u32)
    }
}

/// What gives rights over a task: its slot, and its serial, which its runtime never gives out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskIdentity {
    pub(crate) slot: SlotIndex,
    pub(crate) serial: NonZeroU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_its_three_parts() {
        let key = Key::new(RuntimeId(0xABCD), Generation(1_001), SlotIndex(0x12_3456));
        assert_eq!(key.runtime(), RuntimeId(0xABCD));
        assert_eq!(key.slot(), SlotIndex(0x12_3456));
        assert_eq!(Key::from_word(key.word()), key);
    }

    #[test]
    fn the_next_key_differs_in_its_generation_alone_and_that_wraps_within_its_bits() {
        let of = |generation| Key::new(RuntimeId(0xABCD), Generation(generation), SlotIndex(7));
        assert_eq!(of(1_001).next(), of(1_002));
        assert_eq!(of(GENERATION_MASK as u32 - 1).next(), of(GENERATION_MASK as u32));
        assert_eq!(of(GENERATION_MASK as u32).next(), of(Generation::FIRST.0));
    }
}
