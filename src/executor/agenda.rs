//! What a turn has to look at beside its ready tasks and the wakes of other threads: one word, so that a turn
//! without any of it looks at one word.
//!
//! Invariant **told**: whoever makes work of a kind adds its item, on the loop's thread, in the same breath.
//! Only who has looked and found no more of that kind takes the item out. So an item that is here may be
//! about nothing, and work without its item does not exist.
#![forbid(unsafe_code)]

use std::cell::Cell;

/// Kinds of work.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Items(u16);

impl Items {
    /// Something is to be done after this poll: reaped, dropped or flushed.
    pub(crate) const REAP: Self = Self(1);
    /// What the World's users left is to be flushed, by the reaper.
    pub(crate) const FLUSH: Self = Self(1 << 1);
    /// Somebody is to be polled first.
    pub(crate) const FRONT: Self = Self(1 << 2);
    /// A panic waits to leave `block_on`: no task is polled until it has left.
    pub(crate) const STOPPED: Self = Self(1 << 3);
    /// An entry that asks for no poll, as its task has ended or was polled ahead of it, may be all that the
    /// rings hold.
    pub(crate) const VOID: Self = Self(1 << 4);
    /// A drain of the inbox stopped before its end.
    pub(crate) const DRAIN: Self = Self(1 << 5);
    /// A counter has moved that rarely does.
    pub(crate) const COUNTS: Self = Self(1 << 6);
    /// A timer is in the wheel.
    pub(crate) const TIMERS: Self = Self(1 << 7);
    /// A socket is registered.
    pub(crate) const SOCKETS: Self = Self(1 << 8);
    /// Somebody waits for a tick, or has asked for a place among those who do.
    pub(crate) const TICK_WAITS: Self = Self(1 << 9);
    /// Somebody waited for the tick that has just begun.
    pub(crate) const AWAITED: Self = Self(1 << 10);
    /// Somebody has asked for the times of a tick.
    pub(crate) const TIMES: Self = Self(1 << 11);
    /// Every tick reads the clock as it begins, because its pacing or a stage depends on the time.
    pub(crate) const TIMED: Self = Self(1 << 12);
    /// The wait has read the clock for the turn that begins.
    pub(crate) const WAITED: Self = Self(1 << 13);
    /// There are pollers.
    pub(crate) const POLLERS: Self = Self(1 << 14);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Default, Debug)]
pub(crate) struct Agenda(Cell<Items>);

impl Agenda {
    #[inline]
    pub(crate) fn add(&self, items: Items) {
        self.0.set(Items(self.0.get().0 | items.0));
    }

    #[inline]
    pub(crate) fn remove(&self, items: Items) {
        self.0.set(Items(self.0.get().0 & !items.0));
    }

    /// Adds or removes.
    pub(crate) fn set(&self, items: Items, on: bool) {
        if on { self.add(items) } else { self.remove(items) }
    }

    /// Whether any of `items` is there.
    #[inline]
    pub(crate) fn has(&self, items: Items) -> bool {
        self.0.get().0 & items.0 != 0
    }

    /// Takes `items` out. True: one was there.
    #[inline]
    pub(crate) fn take(&self, items: Items) -> bool {
        let had = self.has(items);
        self.remove(items);
        had
    }
}
