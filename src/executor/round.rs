//! How tasks are polled.

use std::{
    cell::Cell,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Context,
};

use super::{
    Executor,
    key::SlotIndex,
    memory::{Payload, Polled, Stage},
    table::{Flags, Slot},
    waker,
};

impl Executor {
    /// A new turn: what is behind the mark comes in front of it, after those already ready.
    #[inline]
    pub(crate) fn pass_mark(&self) {
        self.ready.append(&self.deferred);
    }

    /// Polls what is ready now, each task at most once, and at most `budget` of them; what is cut off keeps
    /// its place at the head.
    #[inline(never)]
    pub(crate) fn round(&self, budget: u64) {
        let end = self.ready.end();
        self.pass(budget, || end);
    }

    /// Rounds, one after another, until nothing is ready or `budget` polls are spent. Returns how many
    /// were polled.
    #[inline(never)]
    pub(crate) fn rounds(&self, budget: u64) -> u64 {
        self.pass(budget, || self.ready.end())
    }

    /// Polls what stands before `end`, and what comes there meanwhile: one pass over the ring, under one
    /// guard against panics. Returns how many tasks were polled, at most `budget`.
    ///
    /// The budget counts polls. An entry whose task has ended is popped beside it: that costs a few
    /// nanoseconds, once for each wake or spawn that put one there, so a turn stays bounded by its polls and
    /// by what they did.
    #[inline(always)]
    fn pass(&self, budget: u64, end: impl Fn() -> u32) -> u64 {
        let before = self.polls.get();
        let pass = || {
            while !self.is_stopped() {
                let head = self.ready.start();
                let waiting = end().wrapping_sub(head);
                let left = budget - (self.polls.get() - before);
                let stop = head.wrapping_add(u64::from(waiting).min(left) as u32);
                if head == stop {
                    if waiting > 0 {
                        self.void_left.set(true);
                    }
                    return;
                }
                if self.notes_polls() { self.poll_noting(stop) } else { self.poll_before(stop) }
            }
        };
        while let Err(payload) = catch_unwind(AssertUnwindSafe(pass)) {
            self.contain(payload);
        }
        self.polls.get() - before
    }

    /// Polls those who come first, whatever the budget.
    #[inline]
    pub(crate) fn round_first(&self) {
        if self.front_waits.get() {
            self.poll_all_first();
        }
    }

    #[cold]
    pub(super) fn poll_all_first(&self) {
        let count = self.front.borrow().len();
        let left = Cell::new(count);
        while !self.is_stopped()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.poll_front(&left)))
        {
            self.contain(payload);
        }
        self.front_waits.set(!self.front.borrow().is_empty());
    }

    fn poll_front(&self, left: &Cell<usize>) {
        while left.get() > 0 {
            left.set(left.get() - 1);
            let Some(index) = self.front.borrow_mut().pop_front() else {
                return;
            };
            let Some(slot) = self.table.get(index) else {
                continue;
            };
            slot.clear(Flags::FRONT);
            if slot.flags().has(Flags::QUEUED) {
                slot.set(Flags::SPENT);
                self.void_left.set(true);
            }
            if slot.flags().has(Flags::ABORTED) {
                self.release(index, slot);
            } else if self.notes_polls() {
                self.noting(index, || self.poll_slot(index, slot));
            } else {
                self.poll_slot(index, slot);
            }
        }
    }

    /// Polls what is in the ring before `end`. What is committed before user code runs, the ring's head
    /// and `running`, lets the caller go on behind a panic.
    #[expect(unsafe_code, reason = "a bounds check less in the hottest loop")]
    pub(super) fn poll_before(&self, end: u32) {
        while let Some(index) = self.ready.pop_before(end) {
            // SAFETY: rings hold slots of this table, which never shrinks.
            let slot = unsafe { self.table.get_unchecked(index) };
            let flags = slot.flags();
            slot.cell.flags.set(flags.without(Flags::QUEUED));
            if flags.is_only(Flags::QUEUED.union(Flags::ATTACHED)) {
                self.poll_slot(index, slot);
            } else {
                self.poll_flagged(index, slot);
            }
        }
    }

    /// As [`poll_slot`](Self::poll_slot), for a slot of which something unusual is true.
    #[cold]
    fn poll_flagged(&self, index: SlotIndex, slot: &Slot) {
        if slot.flags().has(Flags::SPENT) {
            self.skip_spent(index, slot);
        } else if slot.flags().has(Flags::ABORTED) {
            self.release(index, slot);
        } else {
            self.poll_slot(index, slot);
        }
    }

    #[cold]
    fn skip_spent(&self, index: SlotIndex, slot: &Slot) {
        let again = slot.flags().has(Flags::AGAIN);
        slot.clear(Flags::SPENT.union(Flags::AGAIN));
        if again {
            slot.set(Flags::QUEUED);
            self.deferred.push(index);
        } else {
            self.release(index, slot);
        }
    }

    #[inline(always)]
    fn poll_slot(&self, index: SlotIndex, slot: &Slot) {
        self.running.set(index);
        self.polls.set(self.polls.get() + 1);
        // A waker of ours has nothing to drop.
        let waker = ManuallyDrop::new(waker::waker(slot.key()));
        let polled = slot.cell.poll(&mut Context::from_waker(&waker));
        self.running.set(SlotIndex::RUNTIME);
        match polled {
            Polled::Pending => self.reap(),
            Polled::Ready => self.completed(index, slot),
            Polled::Not => self.not_polled(index, slot),
        }
    }

    /// The task's future was ready. Apart from the loop, which keeps its registers that way.
    #[inline(never)]
    fn completed(&self, index: SlotIndex, slot: &Slot) {
        self.ended(index, slot);
        self.reap();
    }

    /// Takes entries of tasks that have ended, or were polled ahead of them, from the heads of the rings, so
    /// that they are taken for no work. Behind a task that is ready they stay: its turn pops them.
    #[cold]
    pub(super) fn drop_void(&self) {
        self.void_left.set(false);
        for ring in [&self.ready, &self.deferred] {
            while !ring.is_empty() {
                let index = ring.first();
                let Some(slot) = self.table.get(index) else {
                    return;
                };
                let spent = slot.flags().has(Flags::SPENT) && !slot.flags().has(Flags::AGAIN);
                let ended =
                    matches!(slot.cell.stage(), Stage::Empty | Stage::Output | Stage::Panicked);
                if !spent && !ended {
                    return;
                }
                _ = ring.pop_before(ring.end());
                slot.clear(Flags::QUEUED.union(Flags::SPENT).union(Flags::AGAIN));
                self.release(index, slot);
            }
        }
    }

    /// The entry outlived its task.
    #[cold]
    #[inline(never)]
    fn not_polled(&self, index: SlotIndex, slot: &Slot) {
        self.polls.set(self.polls.get() - 1);
        self.release(index, slot);
        self.reap();
    }

    /// The task has an output or a payload: whoever waits for it learns of it.
    pub(super) fn ended(&self, index: SlotIndex, slot: &Slot) {
        slot.retire();
        if slot.flags().has(Flags::QUEUED) {
            self.void_left.set(true);
        }
        if index == self.root.get() {
            self.root_ended.set(true);
        } else {
            self.ended.set(self.ended.get() + 1);
        }
        #[cfg(feature = "tracing")]
        self.guarded(|| self.close_span(index));
        self.end_keeping(index);
        if let Some(joiner) = slot.joiner.take() {
            self.wake(joiner);
        }
        self.release(index, slot);
    }

    /// Whether the root future has come to its end.
    pub(crate) fn root_ended(&self) -> bool {
        self.root_ended.get()
    }

    /// Frees the slot if nothing holds it any more: no future, no handle, no entry in a queue.
    pub(super) fn release(&self, index: SlotIndex, slot: &Slot) {
        if slot.flags().has(Flags::ATTACHED) {
            return;
        }
        match slot.cell.stage() {
            Stage::Output | Stage::Panicked => {
                if let Err(payload) = slot.cell.clear(&self.pool) {
                    self.forget(payload);
                }
            }
            Stage::Future | Stage::Busy | Stage::Ending | Stage::Claimed => return,
            Stage::Empty => {}
        }
        if slot.serial.get() != 0 && !slot.flags().has(Flags::HELD) {
            self.table.free(index, slot);
        }
    }

    /// Whether a panic waits to leave `block_on`.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The panic that is to leave `block_on`.
    pub(crate) fn take_propagated(&self) -> Option<Payload> {
        self.stopped.set(false);
        self.propagate.take()
    }
}
