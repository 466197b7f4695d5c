//! What the wheel does ahead of need, and gives out under a budget when it comes late.

use super::{
    BUCKET_BITS, LEAD_NS, LEVELS, NEAR_NS, Slot, Wheel, bits, slot_at, slot_floor, tick_last,
    tick_start,
};

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

    /// Moves entries of the list that is given out to lower levels and to the near ones, as many as are
    /// allowed. What is due at `due_ns` goes to the near ones at once. Whether none is left.
    pub(super) fn give_out(&mut self, due_ns: u64) -> bool {
        let Some((bank, slot)) = self.given() else { return true };
        let (from_ns, until_ns) = self.lists.span_ns(bank, slot);
        let until_ns = until_ns.min(due_ns.max(tick_last(self.position_ns)));
        self.near.aim(from_ns, until_ns, 0);
        let before = self.left;
        let mut cut = self.lists.cut_begin(bank, slot);
        while self.left > 0
            && let Some(key) = self.lists.cut_next(&mut cut)
        {
            self.left -= 1;
            self.count_moved();
            if key.deadline_ns <= due_ns {
                self.gather_near(key);
                continue;
            }
            match self.place_of(key.deadline_ns) {
                None => self.gather_near(key),
                Some((bank, slot)) => self.lists.relink(key.index, key.deadline_ns, bank, slot),
            }
        }
        if self.left < before {
            // The next `advance` has something to do: it allows more.
            self.attend_ns = 0;
        }
        let is_done = !self.lists.cut_end(cut);
        if is_done {
            self.giving = None;
        }
        is_done
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
            let first = self.first_entered().deadline_ns;
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
    pub(super) fn move_ahead(
        &mut self,
        now_ns: u64,
        budget: usize,
        horizon_ns: impl Fn(u64) -> u64,
    ) -> usize {
        let mut left = self.move_ticks_ahead(horizon_ns(NEAR_NS), budget);
        for level in 1..LEVELS {
            if left == 0 {
                break;
            }
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
            left = self.move_slot_ahead(Slot { level, slot, start_ns }, now_ns, left);
        }
        left
    }

    /// Moves unsorted lowest slots that start before the horizon to the near ones.
    pub(super) fn move_ticks_ahead(&mut self, horizon_ns: u64, mut left: usize) -> usize {
        let bank = self.level_bank[0];
        for slot in bits(self.not_entered(0) & self.lists.unsorted(bank)) {
            let start_ns = self.slot(0, slot as u8).start_ns;
            if left == 0 || start_ns > horizon_ns {
                break;
            }
            self.near.aim(start_ns, tick_last(start_ns), BUCKET_BITS);
            let mut cut = self.lists.cut_begin(bank, slot as u8);
            while left > 0
                && let Some(key) = self.lists.cut_next(&mut cut)
            {
                self.gather_near(key);
                self.count_moved();
                left -= 1;
            }
            self.lists.cut_end(cut);
        }
        left
    }

    /// Moves entries to the spare bank, or to the near ones if they are due or soon after the start.
    pub(super) fn move_slot_ahead(
        &mut self,
        Slot { level, slot, start_ns }: Slot,
        now_ns: u64,
        mut left: usize,
    ) -> usize {
        let bank = self.level_bank[level];
        let (from_ns, until_ns) = self.lists.span_ns(bank, slot);
        let near_ns = now_ns.max(start_ns.saturating_add(NEAR_NS - 1));
        self.near.aim(from_ns, until_ns.min(near_ns), 0);
        let mut cut = self.lists.cut_begin(bank, slot);
        while left > 0
            && let Some(key) = self.lists.cut_next(&mut cut)
        {
            let below = slot_at(level - 1, key.deadline_ns);
            if below == 0 || key.deadline_ns <= near_ns {
                self.gather_near(key);
            } else {
                self.lists.relink(key.index, key.deadline_ns, self.ahead_bank[level], below);
            }
            self.count_moved();
            left -= 1;
        }
        self.lists.cut_end(cut);
        left
    }
}
