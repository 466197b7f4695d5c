//! What the wheel does ahead of need, and gives out under a budget when it comes late.

use super::{LEAD_NS, LEVELS, NEAR_NS, Slot, Wheel, bits, slot_at, slot_floor, tick_start};

impl<T> Wheel<T> {
    /// The list that is given out, as its bank and slot.
    pub(super) fn given(&self) -> Option<(u8, u8)> {
        let level = usize::from(self.giving?);
        Some((self.level_bank[level], slot_at(level, self.position_ns)))
    }

    /// A lower bound of the deadlines in the list that is given out.
    pub(super) fn given_from_ns(&self) -> Option<u64> {
        let (bank, slot) = self.given()?;
        self.lists.bound_ns(bank, slot)
    }

    /// Moves entries of the list that is given out to lower levels and to the heap, as many as are allowed.
    /// Whether none is left.
    pub(super) fn give_out(&mut self) -> bool {
        let Some((bank, slot)) = self.given() else { return true };
        while self.left > 0 {
            let Some(key) = self.lists.pop_front(bank, slot) else {
                self.giving = None;
                return true;
            };
            self.left -= 1;
            // The next `advance` has something to do: it allows more.
            self.attend_ns = 0;
            self.count_moved();
            match self.place_of(key.deadline_ns) {
                None => self.place_near(key.index),
                Some((bank, slot)) => self.lists.relink(key.index, key.deadline_ns, bank, slot),
            }
        }
        self.lists.head(bank, slot).is_none()
    }

    #[inline(always)]
    pub(super) fn count_moved(&mut self) {
        #[cfg(test)]
        {
            self.work.moved += 1;
        }
    }

    #[inline(always)]
    pub(super) fn count_look(&mut self) {
        #[cfg(test)]
        {
            self.work.looks += 1;
        }
    }

    /// Moves `position` up to this time as far as that costs nothing, so that new timers go to
    /// the lowest level that can hold them, and the next slots can be moved ahead.
    pub(super) fn follow(&mut self, now_ns: u64) {
        if self.given_from_ns().is_some() {
            return;
        }
        self.giving = None;
        let target_ns = tick_start(now_ns);
        while let Some(slot) = self.first_slot().filter(|slot| slot.start_ns <= target_ns) {
            let first = self.first_entered().map_or(u64::MAX, |(key, _)| key.deadline_ns);
            let unsorted = self.lists.unsorted(self.level_bank[slot.level]) >> slot.slot & 1;
            if first < slot.start_ns || unsorted != 0 {
                return;
            }
            self.enter(slot, slot.start_ns);
        }
        if target_ns <= self.position_ns {
            return;
        }
        for level in bits(u64::from(self.runs)) {
            let slot = slot_at(level, self.position_ns);
            if self.lists.head(self.level_bank[level], slot).is_none() {
                self.runs &= !(1 << level);
            } else if slot_floor(level, self.position_ns) != slot_floor(level, target_ns) {
                return;
            }
        }
        self.position_ns = target_ns;
    }

    /// Moves entries of the next unsorted slot of each level that starts before the horizon, which is so
    /// long ahead as it is told. Returns what is left of the budget.
    pub(super) fn move_ahead(&mut self, budget: usize, horizon_ns: impl Fn(u64) -> u64) -> usize {
        let mut left = self.move_ticks_ahead(horizon_ns(NEAR_NS), budget);
        for level in 1..LEVELS {
            let unsorted = self.not_entered(level) & self.lists.unsorted(self.level_bank[level]);
            if unsorted == 0 {
                continue;
            }
            let Slot { slot, start_ns, .. } = self.slot(level, unsorted.trailing_zeros() as u8);
            if start_ns > horizon_ns(LEAD_NS)
                || (self.has_ahead(level) && self.ahead_slot[level] != slot)
            {
                continue;
            }
            self.ahead_slot[level] = slot;
            left = self.move_slot_ahead(Slot { level, slot, start_ns }, left);
            if left == 0 {
                break;
            }
        }
        left
    }

    /// Moves unsorted lowest slots that start before the horizon to the heap.
    pub(super) fn move_ticks_ahead(&mut self, horizon_ns: u64, mut left: usize) -> usize {
        let bank = self.level_bank[0];
        for slot in bits(self.not_entered(0) & self.lists.unsorted(bank)) {
            if self.slot(0, slot as u8).start_ns > horizon_ns {
                break;
            }
            while left > 0 {
                let Some(key) = self.lists.pop_front(bank, slot as u8) else { break };
                self.place_near(key.index);
                self.count_moved();
                left -= 1;
            }
        }
        left
    }

    /// Moves entries to the spare bank, or to the heap if they are due soon after the start.
    pub(super) fn move_slot_ahead(
        &mut self,
        Slot { level, slot, start_ns }: Slot,
        mut left: usize,
    ) -> usize {
        while left > 0 {
            let Some(key) = self.lists.pop_front(self.level_bank[level], slot) else { break };
            let below = slot_at(level - 1, key.deadline_ns);
            if below == 0 || key.deadline_ns - start_ns < NEAR_NS {
                self.place_near(key.index);
            } else {
                self.lists.relink(key.index, key.deadline_ns, self.ahead_bank[level], below);
            }
            self.count_moved();
            left -= 1;
        }
        left
    }
}
