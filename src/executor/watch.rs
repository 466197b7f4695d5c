//! What is noted of polls as they happen: their running hash, and the names of the tasks that one turn
//! polls. With neither, a round asks one flag whether anybody wants to know.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ptr,
};

use super::{
    Executor,
    key::{Key, SlotIndex},
    memory::Stage,
    table::Slot,
};

/// What came of a poll, as it enters the hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The task goes on.
    GoesOn = 0,
    /// It is over, or was ended while it was polled.
    Ended = 1,
    Panicked = 2,
}

/// Who watches, and what was seen.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Somebody watches each poll.
    is_on: Cell<bool>,
    /// It stays on: tasks have details, or polls are hashed.
    stays_on: bool,
    hashes: bool,
    hash: Cell<u64>,
    /// The tick and the time of the turn that is going on.
    tick: Cell<u64>,
    time_ns: Cell<u64>,
    /// The names of those who are polled, by serial, while somebody asks for them.
    polled: RefCell<Option<BTreeMap<u64, String>>>,
}

impl Watch {
    pub(super) fn new(details: bool, hashes: bool) -> Self {
        Self {
            is_on: Cell::new(details || hashes),
            stays_on: details || hashes,
            hashes,
            hash: Cell::new(0),
            tick: Cell::new(0),
            time_ns: Cell::new(0),
            polled: RefCell::new(None),
        }
    }

    fn fold(&self, serial: u64, outcome: Outcome) {
        let words = [self.tick.get(), self.time_ns.get(), serial, outcome as u64];
        self.hash.set(words.into_iter().fold(self.hash.get(), |hash, word| mix(hash ^ word)));
    }
}

/// SplitMix64's step: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

impl Executor {
    /// Whether each poll is noted.
    #[inline]
    pub(super) fn notes_polls(&self) -> bool {
        self.watch.is_on.get() || cfg!(feature = "tracing")
    }

    /// The polls that follow are of this tick and this time.
    pub(crate) fn stamp_polls(&self, tick: u64, time_ns: u64) {
        self.watch.tick.set(tick);
        self.watch.time_ns.set(time_ns);
    }

    /// The running hash of polls, if they are hashed.
    pub(crate) fn poll_hash(&self) -> Option<u64> {
        self.watch.hashes.then(|| self.watch.hash.get())
    }

    /// Names of tasks are noted from here on, as they are polled.
    pub(crate) fn name_polled(&self) {
        *self.watch.polled.borrow_mut() = Some(BTreeMap::new());
        self.watch.is_on.set(true);
    }

    /// The tasks that were polled since [`name_polled`](Self::name_polled), in the order in which they
    /// were spawned.
    pub(crate) fn take_polled(&self) -> Vec<String> {
        self.watch.is_on.set(self.watch.stays_on);
        let polled = self.watch.polled.borrow_mut().take();
        polled.map_or_else(Vec::new, |polled| polled.into_values().collect())
    }

    /// The task in slot `index` is about to be polled.
    pub(super) fn watch_before(&self, index: SlotIndex, serial: u64) {
        if let Some(polled) = &mut *self.watch.polled.borrow_mut()
            && let Some(slot) = self.table.get(index)
        {
            polled.entry(serial).or_insert_with(|| self.describe(index, slot));
        }
    }

    /// It was polled.
    pub(super) fn watch_after(&self, index: SlotIndex, serial: u64) {
        if self.watch.hashes {
            let goes_on = self.table.get(index).is_some_and(|slot| {
                slot.serial.get() == serial && slot.cell.stage() == Stage::Future
            });
            self.watch.fold(serial, if goes_on { Outcome::GoesOn } else { Outcome::Ended });
        }
    }

    /// Its poll ended by a panic.
    pub(super) fn watch_panic(&self, slot: &Slot) {
        if self.watch.hashes {
            self.watch.fold(slot.serial.get(), Outcome::Panicked);
        }
    }

    /// A task in words: the name that it was given, else the type of its future, and where it was
    /// spawned.
    fn describe(&self, index: SlotIndex, slot: &Slot) -> String {
        let place = slot.spawned_at.get();
        if ptr::eq(slot, self.root.get()) {
            return format!("the root future of the block_on at {place}");
        }
        match self.given_name(index, slot.serial.get()) {
            Some(name) => format!("{name} spawned at {place}"),
            None => format!("{} spawned at {place}", slot.cell.name()),
        }
    }

    /// The task that `key` names, in words, if it has not ended.
    pub(crate) fn describe_key(&self, key: Key) -> Option<String> {
        let slot = self.table.get(key.slot()).filter(|slot| slot.key() == key)?;
        (slot.cell.stage() == Stage::Future).then(|| self.describe(key.slot(), slot))
    }

    /// The tasks that have not ended, in words, the root future not among them.
    pub(crate) fn describe_all(&self) -> Vec<String> {
        let tasks = (1..self.table.len()).filter_map(|index| {
            let index = SlotIndex(index);
            let slot = self.table.get(index)?;
            let waits = slot.cell.stage() == Stage::Future && !ptr::eq(slot, self.root.get());
            waits.then(|| self.describe(index, slot))
        });
        tasks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_is_documented() {
        // The first outputs of SplitMix64 with the seed 0, as its authors' code gives them.
        let first = mix(0);
        assert_eq!(first, 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(0x9E37_79B9_7F4A_7C15), 0x6E78_9E6A_A1B9_65F4);
        let watch = Watch::new(false, true);
        watch.tick.set(7);
        watch.time_ns.set(11);
        watch.fold(3, Outcome::Ended);
        assert_eq!(watch.hash.get(), mix(mix(mix(mix(7) ^ 11) ^ 3) ^ 1));
    }
}
