//! A hierarchical timing wheel that fires in exact order.
//!
//! Eight levels of 64 slots cover all of `u64` nanoseconds; a slot of the lowest level is
//! 2^16 ns wide. A deadline lies on the level of the highest bit group in which it differs from
//! `position`, so every slot of a level comes before every slot of the next. Inserting and
//! cancelling link and unlink one entry. Nothing here calls user code: payloads are handed back.
//!
//! To fire in the order (deadline, registration), a slot is *entered* when its start is due:
//!
//! - a *sorted* list stays where it is and becomes its level's *run*, fired from its head. Equal
//!   deadlines and equal durations are always sorted, so they are never moved at all, however
//!   many fall due together;
//! - of any other list, each entry goes to a lower level, and the entries of a lowest slot, and all that
//!   are due by now, go to the *near* ones: runs of keys that are sorted when their time has come.
//!
//! Only the second kind costs time in proportion to the slot, so it is done ahead: in each
//! [`Wheel::advance`] a budget of entries of the next unsorted slot of each level is moved to a
//! spare bank, which takes the place of the level below when the slot is entered. What is not done by
//! then is *given out* under a budget of its own, so a thread that comes late to a slot of 100,000 finds
//! its first timer some turns later, and no turn in between is longer than another.
//!
//! The timer that was registered last is not linked before something asks for an order: most of those that
//! are cancelled at once, as a timeout is whose future goes on, are never linked at all.
//!
//! Invariants, by name:
//!
//! - *Newest*: the timer that was registered last, if it is not linked, is `newest`. Another one is
//!   registered, or anything but `next_deadline` asks for an order, when it is linked only; so timers are
//!   linked in the order of their registration.
//! - *Ahead of position*: a listed entry is later than `position`, in a run, or in the list that is given
//!   out.
//! - *Run*: bit `k` of `runs` means that the list of level `k` in whose slot `position` lies is
//!   sorted and being fired. Nothing is ever linked into a slot that `position` lies in.
//! - *Giving out*: `giving` is the level of an unsorted list in whose slot `position` lies, if there is
//!   one. Until it is empty nothing is entered, and only what is earlier than all in it is fired.
//! - *Lower bounds*: `earliest_ns` is at most every live deadline; `slots_from_ns` is at most the
//!   start of every occupied slot that has not been entered.
#![forbid(unsafe_code)]

mod deferred;
mod lists;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, reason = "a fuzz target includes it; the loop does not"))]
pub(crate) mod model;
mod moves;
mod near;
mod sort;
#[cfg(test)]
mod tests;
mod ticks;

use std::num::NonZeroU64;

use deferred::Deferred;
use lists::{Key, Lists, Place};
use near::Near;
use ticks::{bits, level_floor, shift, slot_at, slot_floor, tick_end, tick_last, tick_start};

/// log2 of the width of a lowest slot, in nanoseconds.
const TICK_BITS: u32 = 16;
/// log2 of the width of a bucket of near keys, at least, where lowest slots are moved ahead one by one:
/// the buckets cover more than [`NEAR_NS`] then.
const BUCKET_BITS: u32 = 14;
/// log2 of the number of slots in a level.
const LEVEL_BITS: u32 = 6;
/// `TICK_BITS + LEVELS * LEVEL_BITS` is 64.
const LEVELS: usize = 8;
/// Deadlines less than this after a slot's start go to the near ones when the slot is moved ahead:
/// once the slot has begun there is too little time to move them again under a budget.
const NEAR_NS: u64 = 1 << 20;
/// How long before its start a slot begins to be moved ahead. Earlier, the work would be lost on
/// all that is still cancelled.
const LEAD_NS: u64 = 1 << 24;
/// The index of no timer.
const NOBODY: u32 = u32::MAX;
/// The slot of a level that has nothing moved ahead.
const NO_SLOT: u8 = u8::MAX;
/// What may be given out before the first `advance`.
const FIRST_BUDGET: usize = 128;

/// The first registration number.
const FIRST_SERIAL: NonZeroU64 = NonZeroU64::MIN;

/// Names one registration of a timer in its wheel.
///
/// A serial is never used again in its wheel, so the identity of a fired, cancelled or reset
/// timer stays dead. Serials ascend: they are the registration numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    index: u32,
    /// Never zero, which leaves a place for the `None` of an `Option<TimerId>`.
    serial: NonZeroU64,
}

/// Timers with a payload, fired in the order (deadline, registration).
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    lists: Lists<T>,
    near: Near,
    deferred: Deferred,
    next_serial: NonZeroU64,
    /// See *newest*; [`NOBODY`] if it is linked or gone.
    newest: u32,
    /// What levels and slots are counted from; a multiple of a tick, at most the latest time seen or the
    /// latest that `first_deadline` gave.
    position_ns: u64,
    earliest_ns: u64,
    slots_from_ns: u64,
    /// Before this time `advance` has nothing to do.
    attend_ns: u64,
    /// How many entries may be given out until `advance` allows more.
    left: usize,
    /// The bank of each level; one more for each level but the lowest is spare.
    level_bank: [u8; LEVELS],
    /// The bank that a slot of level `k` is moved ahead to; level 0 has none.
    ahead_bank: [u8; LEVELS],
    /// The slot of level `k` whose entries are in `ahead_bank[k]`, if there are any.
    ahead_slot: [u8; LEVELS],
    /// Levels with a *run*. The bit may outlive the last entry of the run.
    runs: u8,
    /// See *giving out*. It may outlive the last entry of the list.
    giving: Option<u8>,
    /// What tests count.
    #[cfg(test)]
    work: Work,
}

/// What the wheel did beyond the one compare of a turn with nothing due.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    /// Entries that were moved to another list or to the near ones.
    moved: usize,
    /// Looks for what is due, and for what is to be moved.
    looks: usize,
}

/// Whether a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsDue {
    Yes,
    No,
    /// More entries have to be moved before it is known: `advance` or `prepare` allows it.
    Unknown,
}

/// A slot that has not been entered.
#[derive(Clone, Copy)]
struct Slot {
    level: usize,
    slot: u8,
    start_ns: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at this time.
    pub(crate) fn new(now_ns: u64) -> Self {
        let banks = |from: usize| std::array::from_fn(|level| (from + level) as u8);
        Self {
            lists: Lists::new(),
            near: Near::new(),
            deferred: Deferred::new(),
            next_serial: FIRST_SERIAL,
            newest: NOBODY,
            position_ns: tick_start(now_ns),
            earliest_ns: u64::MAX,
            slots_from_ns: u64::MAX,
            attend_ns: tick_end(now_ns),
            level_bank: banks(0),
            ahead_bank: banks(LEVELS - 1),
            ahead_slot: [NO_SLOT; LEVELS],
            left: FIRST_BUDGET,
            runs: 0,
            giving: None,
            #[cfg(test)]
            work: Work::default(),
        }
    }

    /// How many timers are registered and have neither fired nor been cancelled.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The registration number that the next `insert` or `reset` gives out.
    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial.get()
    }

    /// Registers a timer. A deadline in the past is due at once.
    ///
    /// # Panics
    ///
    /// With about 2^32 timers registered.
    pub(crate) fn insert(&mut self, deadline_ns: u64, payload: T) -> TimerId {
        let serial = self.take_serial();
        let index = self.lists.allocate(deadline_ns, serial.get(), payload);
        self.begin(index, deadline_ns);
        TimerId { index, serial }
    }

    /// Takes a timer out; `None` if it has fired, was cancelled or was reset.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<T> {
        if !self.lists.is_live(id.index, id.serial.get()) {
            return None;
        }
        self.leave(id.index);
        self.lists.release(id.index)
    }

    /// The payload of a timer, to replace it; `None` if the timer is gone.
    pub(crate) fn payload_mut(&mut self, id: TimerId) -> Option<&mut T> {
        if !self.lists.is_live(id.index, id.serial.get()) {
            return None;
        }
        self.lists.payload_mut(id.index)
    }

    /// Gives a timer another deadline and keeps its payload; `None` if the timer is gone.
    ///
    /// This is a new registration: the timer gets the next serial, so it goes behind the timers
    /// that already have the same deadline and does not fire in the turn of the reset. The old
    /// identity is dead.
    pub(crate) fn reset(&mut self, id: TimerId, deadline_ns: u64) -> Option<TimerId> {
        if !self.lists.is_live(id.index, id.serial.get()) {
            return None;
        }
        self.leave(id.index);
        let serial = self.take_serial();
        self.lists.rekey(id.index, deadline_ns, serial.get());
        self.begin(id.index, deadline_ns);
        Some(TimerId { index: id.index, serial })
    }

    /// Follows the time, moves up to `budget` entries ahead of need, and allows as many to be given out
    /// until the next call.
    ///
    /// One compare when there is nothing to do.
    pub(crate) fn advance(&mut self, now_ns: u64, budget: usize) {
        if now_ns >= self.attend_ns {
            self.move_on(now_ns, budget, |lead_ns| now_ns.saturating_add(lead_ns));
        }
    }

    /// As `advance`, for a wait: also moves what starts too late to be moved yet. It is done while the
    /// thread has time, and makes `next_deadline` tighter. False: there may be more to move.
    pub(crate) fn prepare(&mut self, now_ns: u64, budget: usize) -> bool {
        self.move_on(now_ns, budget, |_| u64::MAX) > 0
    }

    /// How many entries have been moved to another list or to the near ones.
    #[cfg(test)]
    pub(crate) fn moved(&self) -> usize {
        self.work.moved
    }

    /// Returns what is left of the budget.
    fn move_on(&mut self, now_ns: u64, budget: usize, horizon_ns: impl Fn(u64) -> u64) -> usize {
        self.count_look();
        self.settle();
        self.left = budget;
        self.give_out(now_ns);
        let left = self.move_ahead(now_ns, self.left, horizon_ns);
        self.near.sort_full();
        self.follow(now_ns);
        self.attend_ns = if left == 0 { now_ns } else { tick_end(now_ns) };
        self.left = budget;
        left
    }

    /// Takes out the first timer in the order (deadline, registration) that is due and was
    /// registered before the mark.
    ///
    /// Due timers registered at or after the mark stay, and are found in their order by a call
    /// with a later mark. `None` says that none is due, or that the first cannot be known before the next
    /// `advance`. One compare when nothing is due.
    pub(crate) fn pop_due(&mut self, now_ns: u64, registered_before: u64) -> Option<T> {
        if now_ns < self.earliest_ns {
            return None;
        }
        self.count_look();
        self.settle();
        if self.deferred.has_before(registered_before) {
            self.restore_deferred();
        }
        loop {
            let key = self.enter_until(now_ns, now_ns);
            if key.deadline_ns > now_ns || key.is_none() {
                self.earliest_ns = self.next_deadline().unwrap_or(u64::MAX);
                return None;
            }
            self.take_entered(key);
            if key.serial < registered_before {
                return self.lists.release(key.index);
            }
            self.lists.set_deferred(key.index);
            self.deferred.push(key);
        }
    }

    /// When to look again: at most the earliest deadline, and that deadline itself unless a timer that
    /// was due before it has been taken out of its slot; `None` without timers.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let entered = self.first_entered().deadline();
        let listed = self.first_slot().and_then(|slot| self.slot_bound(slot));
        let newest = (self.newest != NOBODY).then(|| self.lists.key(self.newest).deadline_ns);
        let deferred_ns = self.deferred.deadline_ns_min();
        [newest, entered, self.given_from_ns(), listed, deferred_ns].into_iter().flatten().min()
    }

    /// The earliest deadline; `None` without timers.
    ///
    /// For a clock that goes there next: `position` may run ahead of the time up to that deadline.
    pub(crate) fn first_deadline(&mut self) -> Option<u64> {
        self.settle();
        self.restore_deferred();
        let left = std::mem::replace(&mut self.left, usize::MAX);
        let first = self.enter_until(u64::MAX, 0);
        self.left = left;
        first.deadline()
    }

    /// Whether a timer is due, whenever it was registered. If none is, `next_deadline` is later than this
    /// time.
    pub(crate) fn has_due(&mut self, now_ns: u64) -> IsDue {
        self.settle();
        self.restore_deferred();
        let first = self.enter_until(now_ns, now_ns).deadline();
        if first.is_some_and(|first_ns| first_ns <= now_ns) {
            IsDue::Yes
        } else if self.given_from_ns().is_some() && self.listed_from_ns() <= now_ns {
            IsDue::Unknown
        } else {
            IsDue::No
        }
    }

    /// Takes out every timer, in no particular order. All identities are dead afterwards.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.newest = NOBODY;
        self.near.clear();
        self.deferred.take();
        self.runs = 0;
        self.giving = None;
        self.earliest_ns = u64::MAX;
        self.slots_from_ns = u64::MAX;
        self.lists.drain()
    }

    /// A registration number that no timer gets: something that differs from all else in this wheel.
    pub(crate) fn take_serial(&mut self) -> NonZeroU64 {
        let serial = self.next_serial;
        self.next_serial = serial.checked_add(1).expect("five centuries of one a nanosecond");
        serial
    }

    /// A timer has been registered.
    #[inline(always)]
    fn begin(&mut self, index: u32, deadline_ns: u64) {
        if deadline_ns < self.earliest_ns {
            self.earliest_ns = deadline_ns;
        }
        self.settle();
        self.newest = index;
    }

    /// Links the newest timer.
    #[inline(always)]
    fn settle(&mut self) {
        if self.newest != NOBODY {
            self.link_newest();
        }
    }

    #[inline(never)]
    fn link_newest(&mut self) {
        let index = std::mem::replace(&mut self.newest, NOBODY);
        let deadline_ns = self.lists.key(index).deadline_ns;
        match self.place_of(deadline_ns) {
            None => self.place_near(index),
            Some((bank, slot)) => self.lists.link(index, deadline_ns, bank, slot),
        }
    }

    /// Takes a live timer out of where it is. Its entry is to be released, or to get another key.
    #[inline(always)]
    fn leave(&mut self, index: u32) {
        if index == self.newest {
            self.newest = NOBODY;
            return;
        }
        match self.lists.place(index) {
            Place::Listed => self.lists.unlink(index),
            place => self.bury(index, place),
        }
    }

    /// The bank and the slot for a deadline, by its distance from `position`; `None` is the near ones.
    #[inline(always)]
    fn place_of(&mut self, deadline_ns: u64) -> Option<(u8, u8)> {
        let (tick, position) = (deadline_ns >> TICK_BITS, self.position_ns >> TICK_BITS);
        if tick <= position {
            return None;
        }
        let level = ((tick ^ position).ilog2() / LEVEL_BITS) as usize;
        // A slot that starts before `slots_from_ns` ends before it, too: one around both would be the one
        // that `position` lies in.
        if deadline_ns <= self.slots_from_ns {
            self.slots_from_ns = slot_floor(level, deadline_ns);
        }
        Some((self.level_bank[level], slot_at(level, deadline_ns)))
    }

    #[inline(never)]
    fn place_near(&mut self, index: u32) {
        self.lists.set_near(index);
        self.near.push(self.lists.key(index));
    }

    /// As `place_near`, for a key that the near ones expect.
    #[inline]
    fn gather_near(&mut self, key: Key) {
        self.lists.set_near(key.index);
        self.near.gather(key);
    }

    /// Accounts for the key that an entry leaves behind here: it is dead from this moment.
    #[inline(never)]
    fn bury(&mut self, index: u32, place: Place) {
        self.lists.disown(index);
        let lists = &self.lists;
        match place {
            Place::Near => self.near.bury(|key| lists.is_live(key.index, key.serial)),
            Place::Deferred => self.deferred.bury(|key| lists.is_live(key.index, key.serial)),
            Place::Listed => {}
        }
    }

    fn restore_deferred(&mut self) {
        let keys = self.deferred.take();
        for key in &keys {
            if self.lists.is_live(key.index, key.serial) {
                self.place_near(key.index);
            }
        }
        self.deferred.give_back(keys);
    }

    /// Enters the slots that may hold a deadline at or before this time and before all that is entered; of
    /// what is given out, all up to `due_ns` goes to the near ones at once. The first key of all up to this
    /// time is what it returns, if it is due and known.
    #[inline(always)]
    fn enter_until(&mut self, now_ns: u64, due_ns: u64) -> Key {
        let first = self.first_entered();
        if self.giving.is_none() && self.slots_from_ns > first.deadline_ns.min(now_ns) {
            return first;
        }
        self.enter_more(now_ns, due_ns)
    }

    #[inline(never)]
    fn enter_more(&mut self, now_ns: u64, due_ns: u64) -> Key {
        loop {
            let first = self.first_entered();
            let bound_ns = first.deadline_ns.min(now_ns);
            if self.listed_from_ns() > bound_ns {
                return first;
            }
            let slot = self.first_slot();
            self.slots_from_ns = slot.map_or(u64::MAX, |slot| slot.start_ns);
            let slot = slot.filter(|slot| slot.start_ns <= bound_ns);
            match (self.given_from_ns(), slot) {
                (None, Some(slot)) => self.enter(slot, bound_ns),
                (Some(from_ns), slot) if slot.is_some() || from_ns <= bound_ns => {
                    if !self.give_out(due_ns) {
                        let first = self.first_entered();
                        let is_known = first.deadline_ns < self.listed_from_ns();
                        return if is_known { first } else { Key::NONE };
                    }
                }
                _ => return first,
            }
        }
    }

    /// A lower bound of the deadlines in lists that are not runs.
    fn listed_from_ns(&self) -> u64 {
        self.given_from_ns().map_or(self.slots_from_ns, |from_ns| from_ns.min(self.slots_from_ns))
    }

    /// The first key of the near ones and the runs; [`Key::NONE`] if there is none.
    #[inline(always)]
    fn first_entered(&self) -> Key {
        let mut first = self.near.peek();
        let mut runs = self.runs;
        while runs != 0 {
            let level = runs.trailing_zeros() as usize;
            runs &= runs - 1;
            let (bank, slot) = (self.level_bank[level], slot_at(level, self.position_ns));
            if let Some(head) = self.lists.head(bank, slot) {
                // A branch is right here: it goes the same way as long as a run has the first key.
                if head < first {
                    first = head;
                }
            }
        }
        first
    }

    /// Takes out the first key of the near ones and the runs.
    #[inline(always)]
    fn take_entered(&mut self, key: Key) {
        if key.serial == self.near.peek().serial {
            let lists = &self.lists;
            self.near.pop(|key| lists.is_live(key.index, key.serial));
        } else {
            self.lists.unlink(key.index);
        }
    }

    /// The earliest slot that has not been entered.
    fn first_slot(&self) -> Option<Slot> {
        (0..LEVELS).find_map(|level| {
            let mut occupied = self.not_entered(level);
            if self.has_ahead(level) {
                occupied |= 1 << self.ahead_slot[level];
            }
            (occupied != 0).then(|| self.slot(level, occupied.trailing_zeros() as u8))
        })
    }

    fn slot(&self, level: usize, slot: u8) -> Slot {
        let start_ns = level_floor(level, self.position_ns) | u64::from(slot) << shift(level);
        Slot { level, slot, start_ns }
    }

    /// Occupied slots of a level without the one in which `position` lies.
    fn not_entered(&self, level: usize) -> u64 {
        let entered = self.runs >> level & 1 != 0 || self.giving == Some(level as u8);
        let entered = u64::from(entered) << slot_at(level, self.position_ns);
        self.lists.occupied(self.level_bank[level]) & !entered
    }

    fn has_ahead(&self, level: usize) -> bool {
        self.ahead_slot[level] != NO_SLOT && self.lists.occupied(self.ahead_bank[level]) != 0
    }

    /// A lower bound of the deadlines in a slot.
    fn slot_bound(&self, Slot { level, slot, .. }: Slot) -> Option<u64> {
        let listed = self.lists.bound_ns(self.level_bank[level], slot);
        let ahead = (self.ahead_slot[level] == slot && self.has_ahead(level)).then(|| {
            let bank = self.ahead_bank[level];
            let below = self.lists.occupied(bank).trailing_zeros() as u8;
            self.lists.bound_ns(bank, below)
        });
        listed.into_iter().chain(ahead.flatten()).min()
    }

    /// Moves `position` into the first slot, which starts at or before the bound. All levels below are
    /// empty, and the runs up to this level are exhausted: their deadlines come before.
    fn enter(&mut self, Slot { level, slot, start_ns }: Slot, bound_ns: u64) {
        let bank = self.level_bank[level];
        let is_sorted = self.lists.unsorted(bank) >> slot & 1 == 0;
        self.position_ns = start_ns;
        self.runs &= !(((2u16 << level) - 1) as u8);
        if self.ahead_slot[level] == slot {
            std::mem::swap(&mut self.level_bank[level - 1], &mut self.ahead_bank[level]);
            self.ahead_slot[level] = NO_SLOT;
        } else if !is_sorted && let Some(from_ns) = self.lists.bound_ns(bank, slot) {
            // Those that are close together go to the near ones at once, not level by level.
            self.position_ns = tick_start(from_ns.min(bound_ns));
        }
        self.slots_from_ns = self.position_ns;
        self.giving = (!is_sorted).then_some(level as u8);
        self.runs |= u8::from(is_sorted) << level;
    }
}
