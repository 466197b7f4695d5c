//! Tasks in the slots of the slab.
//!
//! A claim is a task without a future: it has its place in the table, attached to whoever claimed it, and
//! its memory is a slot of the slab. So a claim is named by an identity, as a task is.
#![forbid(unsafe_code)]

use std::panic::Location;

use super::{Executor, NotSpawned, key::TaskIdentity, memory::Stage, table::Flags};

impl Executor {
    /// Puts a task into the ready queue, in a slot of the slab.
    pub(crate) fn spawn_slab<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<TaskIdentity, NotSpawned>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_in(future, spawned_at, |cell, pool, future| cell.install_slab(pool, future))
    }

    /// Puts a task into the ready queue, in a slot of the slab if it fits and one is free, else boxed.
    pub(crate) fn spawn_anywhere<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<TaskIdentity, NotSpawned>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_in(future, spawned_at, |cell, pool, future| {
            cell.install_slab(pool, future).or_else(|future| {
                cell.install(pool, future);
                Ok(())
            })
        })
    }

    /// Takes a slot of the slab for a future that comes later.
    pub(crate) fn claim(
        &self,
        claimed_at: &'static Location<'static>,
    ) -> Result<TaskIdentity, NotSpawned> {
        if self.closing.get() {
            return Err(NotSpawned::Closing);
        }
        let (identity, slot) =
            self.allocate(claimed_at, Flags::ATTACHED).map_err(|_| NotSpawned::Full)?;
        if slot.cell.claim(&self.pool) {
            return Ok(identity);
        }
        self.unallocate(slot);
        Err(self.no_slot(0))
    }

    /// Puts a future into the slot that was claimed, and into the ready queue. It comes back if the claim
    /// is of another executor, or if it does not fit.
    pub(crate) fn fill<F>(
        &self,
        claim: TaskIdentity,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<(), F>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let Some(slot) = self.slot(claim) else {
            return Err(future);
        };
        slot.cell.fill(&self.pool, future)?;
        slot.spawned_at.set(spawned_at);
        self.spawned.set(self.spawned.get() + 1);
        self.queue(slot);
        Ok(())
    }

    /// Gives a claimed slot back, unless a future stands in it.
    pub(crate) fn unclaim(&self, claim: TaskIdentity) {
        if let Some(slot) = self.slot(claim)
            && slot.cell.stage() == Stage::Claimed
        {
            if let Err(payload) = slot.cell.clear(&self.pool) {
                self.forget(payload);
            }
            slot.clear(Flags::ATTACHED);
            self.release(slot);
        }
    }

    /// The bytes of a slot of the slab, if there is one.
    pub(crate) fn slab_size(&self) -> Option<usize> {
        self.pool.slab().size()
    }

    /// Why what needs so many bytes got no slot of the slab.
    #[cold]
    pub(super) fn no_slot(&self, needs: usize) -> NotSpawned {
        match self.pool.slab().size() {
            None => NotSpawned::NoSlab,
            Some(size) if needs > size => NotSpawned::TooLarge { needs, size },
            Some(_) => NotSpawned::SlabFull,
        }
    }
}
