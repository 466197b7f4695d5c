//! How tasks are polled.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    hint::cold_path,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    task::{Context, Waker},
};

use super::{
    Executor,
    agenda::Items,
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

    /// As [`rounds`](Self::rounds), in the caller's own code: for the one place where nearly all tasks are
    /// polled.
    #[inline(always)]
    pub(crate) fn rounds_in_line(&self, budget: u64) -> u64 {
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
            while !self.is_stopped() && self.has_ready() {
                let head = self.ready.start();
                let waiting = end().wrapping_sub(head);
                let left = budget - (self.polls.get() - before);
                let stop = head.wrapping_add(u64::from(waiting).min(left) as u32);
                if head == stop {
                    if waiting > 0 {
                        self.agenda.add(Items::VOID);
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
        if self.agenda.has(Items::FRONT) {
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
        self.agenda.set(Items::FRONT, !self.front.borrow().is_empty());
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
                self.agenda.add(Items::VOID);
            }
            if slot.flags().has(Flags::ABORTED) {
                self.release(slot);
            } else if self.notes_polls() {
                self.noting(slot, || self.poll_one(slot));
            } else {
                self.poll_one(slot);
            }
        }
    }

    /// Polls what is in the ring before `end`. What is committed before user code runs, the ring's head
    /// and `running`, lets the caller go on behind a panic.
    #[inline(always)]
    pub(super) fn poll_before(&self, end: u32) {
        while let Some(slot) = self.pop_ready(end) {
            let flags = slot.flags();
            slot.cell.flags.set(flags.without(Flags::QUEUED));
            if flags.is_only(Flags::QUEUED.union(Flags::ATTACHED)) {
                self.poll_slot(slot);
            } else {
                self.poll_flagged(slot);
            }
        }
        self.end_running();
    }

    /// As [`poll_slot`](Self::poll_slot), for a slot of which something unusual is true.
    #[cold]
    fn poll_flagged(&self, slot: &Slot) {
        self.end_running();
        if slot.flags().has(Flags::SPENT) {
            self.skip_spent(slot);
        } else if slot.flags().has(Flags::ABORTED) {
            self.release(slot);
        } else {
            self.poll_slot(slot);
        }
    }

    #[cold]
    fn skip_spent(&self, slot: &Slot) {
        let again = slot.flags().has(Flags::AGAIN);
        slot.clear(Flags::SPENT.union(Flags::AGAIN));
        // A task that has ended since is not kept among those that are ready.
        if again && slot.cell.stage() == Stage::Future {
            slot.set(Flags::QUEUED);
            self.deferred.push(slot);
        } else {
            self.release(slot);
        }
    }

    /// Polls one task that is not popped from the ring.
    fn poll_one(&self, slot: &Slot) {
        self.poll_slot(slot);
        self.end_running();
    }

    /// Leaves `running` as it is if nothing runs after the poll: the next one sets it.
    #[inline(always)]
    fn poll_slot(&self, slot: &Slot) {
        self.running.set(slot);
        self.polls.set(self.polls.get() + 1);
        // A waker of ours has nothing to drop.
        let waker = ManuallyDrop::new(waker::waker(slot.key()));
        match slot.cell.poll(&mut Context::from_waker(&waker)) {
            Polled::Pending if !self.agenda.has(Items::REAP) => {}
            Polled::Pending => self.reap_after_poll(),
            Polled::Ready => self.completed(slot),
            Polled::Not => self.not_polled(slot),
        }
    }

    #[inline(never)]
    fn reap_after_poll(&self) {
        self.end_running();
        self.reap();
    }

    /// The task's future was ready.
    #[inline(always)]
    fn completed(&self, slot: &Slot) {
        self.end_running();
        self.ended(slot);
        self.reap();
    }

    /// Takes entries of tasks that have ended, or were polled ahead of them, from the heads of the rings, so
    /// that they are taken for no work. Behind a task that is ready they stay: its turn pops them.
    #[cold]
    pub(super) fn drop_void(&self) {
        self.agenda.remove(Items::VOID);
        for deferred in [false, true] {
            let ring = if deferred { &self.deferred } else { &self.ready };
            while !ring.is_empty() {
                let slot = self.first(deferred);
                let spent = slot.flags().has(Flags::SPENT) && !slot.flags().has(Flags::AGAIN);
                let ended =
                    matches!(slot.cell.stage(), Stage::Empty | Stage::Output | Stage::Panicked);
                if !spent && !ended {
                    return;
                }
                _ = ring.pop_before(ring.end());
                slot.clear(Flags::QUEUED.union(Flags::SPENT).union(Flags::AGAIN));
                self.release(slot);
            }
        }
    }

    /// The entry outlived its task.
    #[cold]
    #[inline(never)]
    fn not_polled(&self, slot: &Slot) {
        self.end_running();
        self.polls.set(self.polls.get() - 1);
        self.release(slot);
        self.reap();
    }

    /// The task has an output or a payload: whoever waits for it learns of it.
    #[inline]
    pub(super) fn ended(&self, slot: &Slot) {
        slot.retire();
        if slot.flags().has(Flags::QUEUED) {
            self.agenda.add(Items::VOID);
        }
        if ptr::eq(slot, self.root.get()) {
            cold_path();
            self.root_ended.set(true);
        } else {
            self.ended.set(self.ended.get() + 1);
        }
        #[cfg(feature = "tracing")]
        self.guarded(|| self.close_span(slot.index()));
        self.end_keeping(slot);
        if let Some(joiner) = slot.joiner.take() {
            self.wake_joiner(joiner);
        }
        if !slot.flags().has(Flags::ATTACHED) {
            self.release(slot);
        }
    }

    #[inline(never)]
    fn wake_joiner(&self, joiner: Waker) {
        self.wake(joiner);
    }

    /// Whether the root future has come to its end.
    pub(crate) fn root_ended(&self) -> bool {
        self.root_ended.get()
    }

    /// Frees the slot if nothing holds it any more: no future, no handle, no entry in a queue.
    #[inline(never)]
    pub(super) fn release(&self, slot: &Slot) {
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
            self.table.free(slot);
        }
    }

    /// Whether a panic waits to leave `block_on`.
    pub(crate) fn is_stopped(&self) -> bool {
        self.agenda.has(Items::STOPPED)
    }

    /// The panic that is to leave `block_on`.
    pub(crate) fn take_propagated(&self) -> Option<Payload> {
        self.agenda.remove(Items::STOPPED);
        self.propagate.take()
    }
}
