//! How tasks end before they complete, and how what panics is survived.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    task::Waker,
};

use super::{
    CancelReason, Executor, OnTaskPanic,
    agenda::Items,
    key::{SlotIndex, TaskIdentity},
    memory::{Payload, Stage},
    table::Flags,
    waker,
};

impl Executor {
    /// A panic came out of a poll, or out of what ran between two.
    #[cold]
    pub(super) fn contain(&self, payload: Payload) {
        let slot = self.running();
        self.end_running();
        if ptr::eq(slot, self.nobody) {
            self.forget(payload);
            return;
        }
        self.watch_panic(slot);
        let is_root = ptr::eq(slot, self.root.get());
        let torn = self.torn_in_poll.get() == self.polls.get();
        let leaves = is_root || self.leaves(torn);
        let kept: Payload = if leaves {
            self.let_leave(payload);
            Box::new("the task panicked, and its panic left block_on")
        } else {
            payload
        };
        if let Err(second) = slot.cell.panicked(&self.pool, kept) {
            self.forget(second);
        }
        if !is_root {
            self.count_panic();
            self.panicked.set(self.panicked.get() + 1);
        }
        self.ended(slot);
        self.reap();
    }

    /// Runs a closure that is no task's, and treats its panic as that of a task.
    pub(crate) fn run_closure(&self, f: impl FnOnce()) {
        self.torn_in_poll.set(u64::MAX);
        let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
            return;
        };
        self.count_panic();
        if self.leaves(self.torn_in_poll.get() == self.polls.get()) {
            self.let_leave(payload);
        } else {
            self.guarded(|| drop(payload));
        }
    }

    fn count_panic(&self) {
        self.agenda.add(Items::COUNTS);
        self.task_panics.set(self.task_panics.get() + 1);
    }

    /// Whether a panic leaves `block_on`. `torn`: it may have left half an update in the World.
    fn leaves(&self, torn: bool) -> bool {
        match self.on_task_panic {
            OnTaskPanic::Contain => torn,
            OnTaskPanic::ContainAlways => false,
            OnTaskPanic::Propagate => true,
        }
    }

    /// Notes that a panic unwinds out of a `with_world` closure in the poll that is going on.
    pub(crate) fn note_torn(&self) {
        self.torn_in_poll.set(self.polls.get());
    }

    /// Wakes whatever task `waker` is of; one that is not ours may panic.
    pub(crate) fn wake(&self, waker: Waker) {
        match waker::own_key(&waker, self.id()) {
            Some(key) => {
                self.wake_local(key);
            }
            None => self.guarded(|| waker.wake()),
        }
    }

    /// Runs what may panic and must not stop the caller.
    pub(crate) fn guarded(&self, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            self.forget(payload);
        }
    }

    /// Lets go of a payload that nobody asks for. Its destructor may panic too; then it is leaked.
    pub(crate) fn forget(&self, payload: Payload) {
        self.count_forgotten(1);
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
    }

    /// So many payloads were let go of elsewhere.
    pub(crate) fn count_forgotten(&self, payloads: u64) {
        self.agenda.add(Items::COUNTS);
        self.forgotten_payloads.set(self.forgotten_payloads.get() + payloads);
    }

    /// From here on the task is never polled again; the reaper drops its future. Its handle learns the
    /// `reason`, unless it was ended before for another. False: it had ended, or been ended.
    pub(crate) fn abort(&self, identity: TaskIdentity, reason: CancelReason) -> bool {
        if let Some(slot) = self.slot(identity)
            && matches!(slot.cell.stage(), Stage::Future | Stage::Busy | Stage::Ending)
            && !slot.flags().has(Flags::ABORTED)
        {
            slot.set(Flags::ABORTED);
            slot.cell.reason.set(reason);
            self.bury(identity);
            return true;
        }
        false
    }

    pub(super) fn bury(&self, identity: TaskIdentity) {
        self.reapable.borrow_mut().push_back(identity);
        self.agenda.add(Items::REAP);
    }

    /// Flushes what was left to be flushed, then drops the futures of aborted tasks, the outputs that
    /// nobody waits for, in the order in which they were aborted or let go, and what ended tasks kept. Called
    /// between polls and between stages, where the World may be used.
    #[inline]
    pub(crate) fn reap(&self) {
        if self.agenda.has(Items::REAP) {
            self.reap_all();
        }
    }

    #[inline(never)]
    fn reap_all(&self) {
        while self.agenda.take(Items::REAP) {
            if let Err(payload) = self.flush_left() {
                self.tear(payload);
            }
            self.reap_ended();
            self.drop_left();
        }
    }

    fn reap_ended(&self) {
        loop {
            let next = self.reapable.borrow_mut().pop_front();
            let Some(identity) = next else {
                return;
            };
            let Some(slot) = self.slot(identity) else {
                continue;
            };
            if slot.flags().has(Flags::ABORTED) && slot.cell.stage() == Stage::Future {
                if let Err(payload) = slot.cell.clear(&self.pool) {
                    self.forget(payload);
                }
                self.aborted.set(self.aborted.get() + 1);
                self.ended(slot);
            } else {
                self.release(slot);
            }
        }
    }

    /// What the executor calls, after a poll, when [`ask_flush`](Self::ask_flush) was called in it.
    pub(crate) fn flush_with(&self, flush: fn()) {
        self.flush.set(flush);
    }

    /// Has what the World's users left to be done done before the next poll.
    #[inline]
    pub(crate) fn ask_flush(&self) {
        self.agenda.add(Items::FLUSH.union(Items::REAP));
    }

    pub(super) fn flush_left(&self) -> Result<(), Payload> {
        if self.agenda.take(Items::FLUSH) {
            catch_unwind(AssertUnwindSafe(self.flush.get()))
        } else {
            Ok(())
        }
    }

    /// A panic came out of what a task left to be done, and may have left half an update.
    #[cold]
    fn tear(&self, payload: Payload) {
        if self.on_task_panic == OnTaskPanic::ContainAlways {
            self.forget(payload);
        } else {
            self.let_leave(payload);
        }
    }

    /// The panic is to leave `block_on`, unless an earlier one is on its way: that one leaves.
    fn let_leave(&self, payload: Payload) {
        self.agenda.add(Items::STOPPED);
        match self.propagate.take() {
            Some(first) => {
                self.propagate.set(Some(first));
                self.forget(payload);
            }
            None => self.propagate.set(Some(payload)),
        }
    }

    /// Drops every task, when the runtime is dropped. Nothing can be spawned from here on.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.inbox().discard(self.drain.take());
        for index in 1..self.table.len() {
            let Some(slot) = self.table.get(SlotIndex(index)) else {
                continue;
            };
            if slot.serial.get() == 0 {
                continue;
            }
            let is_task = slot.cell.stage() == Stage::Future;
            if !slot.flags().has(Flags::ABORTED) {
                slot.set(Flags::ABORTED);
                slot.cell.reason.set(CancelReason::RuntimeGone);
            }
            if let Err(payload) = slot.cell.clear(&self.pool) {
                self.forget(payload);
            }
            if is_task {
                self.ended.set(self.ended.get() + 1);
            }
            if let Some(joiner) = slot.joiner.take() {
                self.wake(joiner);
            }
        }
        self.drop_all_kept();
        self.end_left();
    }

    /// Drops and flushes what destructors have left behind, when the runtime is dropped.
    pub(crate) fn end_left(&self) {
        while self.agenda.take(Items::REAP) {
            self.drop_left();
            if let Err(payload) = self.flush_left() {
                self.forget(payload);
            }
        }
    }
}
