//! Which slots a time lies in, and when they start.

use super::{LEVEL_BITS, LEVELS, TICK_BITS};

/// log2 of the width of a level's slots.
pub(super) fn shift(level: usize) -> u32 {
    TICK_BITS + LEVEL_BITS * level as u32
}

/// The slot of a level in which a time lies.
pub(super) fn slot_at(level: usize, time_ns: u64) -> u8 {
    (time_ns >> shift(level)) as u8 & 63
}

/// The start of the slot of a level in which a time lies.
pub(super) fn slot_floor(level: usize, time_ns: u64) -> u64 {
    time_ns >> shift(level) << shift(level)
}

/// The start of the whole level around a time.
pub(super) fn level_floor(level: usize, time_ns: u64) -> u64 {
    if level + 1 == LEVELS { 0 } else { slot_floor(level + 1, time_ns) }
}

pub(super) fn tick_start(time_ns: u64) -> u64 {
    slot_floor(0, time_ns)
}

/// The last moment of the tick in which a time lies.
pub(super) fn tick_last(time_ns: u64) -> u64 {
    time_ns | ((1 << TICK_BITS) - 1)
}

/// The start of the next tick; the last moment if there is none.
pub(super) fn tick_end(time_ns: u64) -> u64 {
    tick_start(time_ns).saturating_add(1 << TICK_BITS)
}

/// The positions of the bits that are set, ascending.
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}
