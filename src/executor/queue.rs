//! How a task comes into a queue: it is spawned, or woken from this thread or from another one.
//!
//! Invariant **own slots**: the rings and `running` hold pointers to slots of this executor's table, made
//! from references to them, and nothing else; slots stay where they are as long as the table.

use std::{panic::Location, pin::pin, ptr, task::Waker};

use super::{
    Executor, NotSpawned,
    agenda::Items,
    key::{Key, SLOTS_MAX, SlotIndex, TaskIdentity},
    memory::{self, RootBody, TaskCell},
    pool::Pool,
    ring::Ring,
    table::{Flags, Slot, TableFull},
    waker,
};

impl Executor {
    /// Makes room for `tasks` tasks at once.
    pub(crate) fn reserve(&self, tasks: usize) -> Result<(), TableFull> {
        if tasks >= SLOTS_MAX as usize {
            return Err(TableFull);
        }
        self.table.reserve(tasks as u32 + 1)?;
        self.make_room();
        Ok(())
    }

    /// Every slot for which the table has room has its bit in the inbox, and its place in the rings.
    #[cold]
    pub(super) fn make_room(&self) {
        let room = self.table.room();
        self.ready.reserve(room);
        self.deferred.reserve(room);
        if self.aside.has_room() {
            self.aside.reserve(room);
        }
        for slot in (self.in_inbox.replace(room)..room).step_by(64) {
            self.inbox().ensure(slot);
        }
    }

    /// A place in the table, with `flags`.
    #[inline]
    pub(super) fn allocate(
        &self,
        spawned_at: &'static Location<'static>,
        flags: Flags,
    ) -> Result<(TaskIdentity, &Slot), TableFull> {
        let slot = match self.table.allocate(flags) {
            Some(slot) => slot,
            None => self.allocate_more(flags)?,
        };
        let serial = self.next_serial.get();
        self.next_serial.set(serial.checked_add(1).expect("a count of tasks does not reach 2^64"));
        slot.serial.set(serial.get());
        slot.spawned_at.set(spawned_at);
        Ok((TaskIdentity { slot: slot.index(), serial }, slot))
    }

    #[cold]
    fn allocate_more(&self, flags: Flags) -> Result<&Slot, TableFull> {
        self.table.grow()?;
        if self.in_inbox.get() < self.table.room() {
            self.make_room();
        }
        self.table.allocate(flags).ok_or(TableFull)
    }

    /// Takes a place back in which no task began.
    #[cold]
    pub(super) fn unallocate(&self, slot: &Slot) {
        slot.cell.flags.set(Flags::NONE);
        self.table.free(slot);
    }

    /// Puts a boxed task into the ready queue, attached to a handle that the caller makes. The future is
    /// dropped if it is not spawned.
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<TaskIdentity, NotSpawned>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_in(future, spawned_at, |cell, pool, future| {
            cell.install(pool, future);
            Ok(())
        })
    }

    /// As [`spawn`](Self::spawn), in the memory that `install` finds.
    #[inline(always)]
    pub(super) fn spawn_in<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
        install: impl FnOnce(&TaskCell, &Pool, F) -> Result<(), F>,
    ) -> Result<TaskIdentity, NotSpawned>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.closing.get() {
            return Err(self.not_spawned(future, NotSpawned::Closing));
        }
        let flags = Flags::ATTACHED.union(Flags::QUEUED);
        let Ok((identity, slot)) = self.allocate(spawned_at, flags) else {
            return Err(self.not_spawned(future, NotSpawned::Full));
        };
        if let Err(future) = install(&slot.cell, &self.pool, future) {
            self.unallocate(slot);
            return Err(self.not_spawned(future, self.no_slot(memory::needs::<F>())));
        }
        self.spawned.set(self.spawned.get() + 1);
        self.ready.push(slot);
        Ok(identity)
    }

    /// Drops a future that finds no place.
    #[cold]
    fn not_spawned<F>(&self, future: F, why: NotSpawned) -> NotSpawned {
        self.guarded(|| drop(future));
        why
    }

    /// Puts `future`, which may borrow, into the ready queue and calls `run`. When
    /// `run` is over, also by a panic, what is left of the future is dropped. Second: its output, if it
    /// was polled to its end.
    #[expect(unsafe_code, reason = "the root future may borrow, so it stays in its caller's frame")]
    pub(crate) fn with_root<F: Future, R>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
        run: impl FnOnce() -> R,
    ) -> Result<(R, Option<F::Output>), TableFull> {
        struct End<'a>(&'a Executor, TaskIdentity);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end_root(self.1);
            }
        }
        let body = pin!(RootBody::new(future));
        let (identity, slot) = self.allocate(spawned_at, Flags::ATTACHED)?;
        let end = End(self, identity);
        // SAFETY: `end` clears the cell before `body`, declared before it, is dropped; neither leaves
        // this frame.
        unsafe { slot.cell.attach(body.as_ref()) };
        self.root.set(slot);
        self.root_ended.set(false);
        self.queue(slot);
        let result = run();
        drop(end);
        Ok((result, body.take_output()))
    }

    pub(super) fn end_root(&self, identity: TaskIdentity) {
        if let Some(slot) = self.slot(identity) {
            if let Err(payload) = slot.cell.clear(&self.pool) {
                self.forget(payload);
            }
            self.root.set(self.nobody);
            slot.retire();
            #[cfg(feature = "tracing")]
            self.guarded(|| self.close_span(identity.slot));
            drop(self.detach(identity));
            self.end_keeping(slot);
            self.drop_left();
            if let Err(payload) = self.flush_left() {
                self.forget(payload);
            }
        }
    }

    /// The task of `identity`, if it is still there.
    #[inline]
    pub(super) fn slot(&self, identity: TaskIdentity) -> Option<&Slot> {
        self.table.get(identity.slot).filter(|slot| slot.serial.get() == identity.serial.get())
    }

    /// A wake on the owner's thread, while this executor runs there. False: the key is not of a task that
    /// is in this executor now.
    #[inline(always)]
    pub(crate) fn wake_local(&self, key: Key) -> bool {
        let running = self.running();
        if running.key() == key {
            // By far most wakes of a task that yields, and its slot need not be looked for.
            self.local_wakes.set(self.local_wakes.get() + 1);
            self.queue_in(&self.deferred, running);
            return true;
        }
        let Some(slot) = self.table.get(key.slot()).filter(|slot| slot.key() == key) else {
            return false;
        };
        self.local_wakes.set(self.local_wakes.get() + 1);
        self.queue_in(&self.ready, slot);
        true
    }

    /// The slot that is being polled, or slot 0, whose key is nobody's.
    #[inline(always)]
    #[expect(unsafe_code, reason = "slots are held by pointer")]
    pub(super) fn running(&self) -> &Slot {
        // SAFETY: by *own slots*.
        unsafe { &*self.running.get() }
    }

    /// No slot is being polled any more.
    #[inline(always)]
    pub(super) fn end_running(&self) {
        self.running.set(self.nobody);
    }

    /// The first slot that is ready, or is behind the turn mark: that ring is not empty.
    #[expect(unsafe_code, reason = "slots are held by pointer")]
    pub(super) fn first(&self, deferred: bool) -> &Slot {
        let ring = if deferred { &self.deferred } else { &self.ready };
        // SAFETY: by *own slots*.
        unsafe { &*ring.first() }
    }

    /// Takes the first slot that is ready, unless the ring has come to `end`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "slots are held by pointer")]
    pub(super) fn pop_ready(&self, end: u32) -> Option<&Slot> {
        let slot = self.ready.pop_before(end)?;
        // SAFETY: by *own slots*.
        Some(unsafe { &*slot })
    }

    #[inline]
    pub(super) fn queue(&self, slot: &Slot) {
        let runs = ptr::eq(self.running.get(), slot);
        self.queue_in(if runs { &self.deferred } else { &self.ready }, slot);
    }

    /// Puts `slot` into `ring`: the deferred one, if it is being polled.
    #[inline(always)]
    fn queue_in(&self, ring: &Ring, slot: &Slot) {
        let flags = slot.flags();
        if flags.has(Flags::QUEUED) {
            if flags.has(Flags::SPENT) || self.gathering.get() {
                self.revive(slot);
            }
            return;
        }
        slot.cell.flags.set(flags.union(Flags::QUEUED));
        ring.push(slot);
    }

    /// A wake after the task was polled ahead of its place in the queue: that place counts again, but a
    /// wake by the task itself goes behind the mark from there. Or a wake of those who wait for a stage:
    /// its place in the queue does not hold it up.
    #[cold]
    fn revive(&self, slot: &Slot) {
        if self.gathering.get() {
            self.put_in_front(slot.key());
        } else if ptr::eq(self.running.get(), slot) {
            slot.set(Flags::AGAIN);
        } else {
            slot.clear(Flags::SPENT.union(Flags::AGAIN));
        }
    }

    /// Wakes those who come before everything that is ready: tasks of ours are polled first, and what
    /// the wakers of others wake stands at the head of the ring.
    pub(crate) fn wake_first(&self, wakers: impl Iterator<Item = Waker>) {
        self.aside.reserve(self.table.room());
        self.aside.append(&self.ready);
        for waker in wakers {
            match waker::own_key(&waker, self.id()) {
                Some(key) => self.put_in_front(key),
                None => self.guarded(|| waker.wake()),
            }
        }
        self.ready.append(&self.aside);
    }

    /// Wakes those who wait for a stage: whatever task a waker is of, and whatever queue that task is in,
    /// it is polled first. Returns when all are woken.
    pub(crate) fn wake_for_stage(&self, wakers: impl Iterator<Item = Waker>) {
        self.aside.reserve(self.table.room());
        self.aside.append(&self.ready);
        self.gathering.set(true);
        for waker in wakers {
            match waker::own_key(&waker, self.id()) {
                Some(key) => self.put_in_front(key),
                None => self.guarded(|| waker.wake()),
            }
            while let Some(slot) = self.pop_ready(self.ready.end()) {
                slot.clear(Flags::QUEUED);
                self.put_in_front(slot.key());
            }
        }
        self.gathering.set(false);
        self.ready.append(&self.aside);
    }

    fn put_in_front(&self, key: Key) {
        if let Some(slot) = self.table.get(key.slot())
            && slot.key() == key
            && slot.serial.get() != 0
            && !slot.flags().has(Flags::FRONT)
        {
            slot.set(Flags::FRONT);
            self.front.borrow_mut().push_back(key.slot());
            self.agenda.add(Items::FRONT);
        }
    }

    /// Takes the wakes of other threads, at most about `limit`. True: the runtime itself was woken.
    #[inline]
    pub(crate) fn drain_inbox(&self, limit: usize) -> bool {
        if self.inbox().is_empty() && !self.agenda.has(Items::DRAIN) {
            return false;
        }
        self.drain_bits(limit)
    }

    // Not cold: it is seldom called, but then somebody waits for it.
    #[inline(never)]
    fn drain_bits(&self, limit: usize) -> bool {
        let mut runtime = false;
        let mut drain = self.drain.borrow_mut();
        let mut woken = 0;
        self.inbox().drain(&mut drain, limit, |index| {
            let index = SlotIndex(index);
            if index == SlotIndex::RUNTIME {
                runtime = true;
            } else if let Some(slot) = self.table.get(index) {
                woken += 1;
                self.queue(slot);
            }
        });
        self.agenda.set(Items::DRAIN, drain.is_pending());
        self.agenda.add(Items::COUNTS);
        self.foreign_wakes.set(self.foreign_wakes.get() + woken);
        runtime
    }
}
