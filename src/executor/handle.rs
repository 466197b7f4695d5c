//! What the holder of a task's identity may do.

use std::task::Waker;

use super::{
    CancelReason, Executor, Joined,
    key::TaskIdentity,
    memory::{Payload, Stage},
    table::{Flags, Slot},
};

/// What a handle finds that is no end of its task's own.
enum Otherwise {
    Running,
    Cancelled(CancelReason),
    Gone,
}

impl Executor {
    /// Whether the task's future has been dropped.
    pub(crate) fn is_finished(&self, identity: TaskIdentity) -> bool {
        self.slot(identity).is_none_or(|slot| {
            !matches!(slot.cell.stage(), Stage::Future | Stage::Busy | Stage::Ending)
        })
    }

    /// As [`join`](Self::join), for what is found nearly always: the output, in memory of the pool. `None`
    /// says nothing. It calls no function, so whoever has it in line saves no registers.
    #[inline]
    pub(crate) fn join_quickly<T: 'static>(&self, identity: TaskIdentity) -> Option<T> {
        let slot = self.slot(identity)?;
        let output = slot.cell.take_listed_output(&self.pool)?;
        // Nothing is left in the slot: it is free unless something may still come for it.
        let flags = slot.flags().without(Flags::ATTACHED);
        slot.cell.flags.set(flags);
        if !flags.has(Flags::HELD) {
            self.table.free(slot);
        }
        Some(output)
    }

    /// Takes what the task left, if it has ended, and ends the attachment of its handle.
    pub(crate) fn join<T: 'static>(&self, identity: TaskIdentity) -> Joined<T> {
        let Some(slot) = self.slot(identity) else {
            return Joined::Gone;
        };
        if let Some(output) = slot.cell.take_output(&self.pool) {
            self.let_go(slot);
            return Joined::Output(output);
        }
        match self.join_otherwise(slot) {
            Ok(payload) => Joined::Panicked(payload),
            Err(Otherwise::Running) => Joined::Running,
            Err(Otherwise::Cancelled(reason)) => Joined::Cancelled(reason),
            Err(Otherwise::Gone) => Joined::Gone,
        }
    }

    /// As [`join`](Self::join), where there is no output.
    fn join_otherwise(&self, slot: &Slot) -> Result<Payload, Otherwise> {
        let joined = match slot.cell.stage() {
            // One that was aborted too: it has ended when its future has been dropped.
            Stage::Future | Stage::Busy | Stage::Ending => return Err(Otherwise::Running),
            Stage::Panicked => slot.cell.take_payload(&self.pool).ok_or(Otherwise::Gone),
            _ if slot.flags().has(Flags::ABORTED) => {
                Err(Otherwise::Cancelled(slot.cell.reason.get()))
            }
            Stage::Output | Stage::Empty | Stage::Claimed => Err(Otherwise::Gone),
        };
        self.let_go(slot);
        joined
    }

    /// The handle lets go of a task that has ended.
    fn let_go(&self, slot: &Slot) {
        slot.clear(Flags::ATTACHED);
        self.release(slot);
    }

    /// Stores who is woken when the task ends, unless it has: a waker that is left in a slot would be woken
    /// by the end of the next task there. A waker that is not stored, or is replaced, is returned, so that the
    /// caller drops it where nothing of the executor is in use.
    pub(crate) fn set_joiner(&self, identity: TaskIdentity, waker: Waker) -> Option<Waker> {
        if self.is_finished(identity) {
            return Some(waker);
        }
        self.slot(identity)?.joiner.replace(Some(waker))
    }

    /// Whether the stored joiner would wake the same task as `waker`.
    pub(crate) fn joiner_will_wake(&self, identity: TaskIdentity, waker: &Waker) -> bool {
        let Some(slot) = self.slot(identity) else {
            return false;
        };
        let stored = slot.joiner.take();
        let same = stored.as_ref().is_some_and(|stored| stored.will_wake(waker));
        slot.joiner.set(stored);
        same
    }

    /// The handle has gone. The task goes on; an output that nobody will take is left to the reaper.
    /// Returns the joiner, to be dropped by the caller.
    pub(crate) fn detach(&self, identity: TaskIdentity) -> Option<Waker> {
        let slot = self.slot(identity)?;
        slot.clear(Flags::ATTACHED);
        let joiner = slot.joiner.take();
        match slot.cell.stage() {
            Stage::Output | Stage::Panicked => self.bury(identity),
            Stage::Empty => self.release(slot),
            Stage::Future | Stage::Busy | Stage::Ending | Stage::Claimed => {}
        }
        joiner
    }
}
