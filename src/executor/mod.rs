//! The executor: a table of tasks, queues of those that are ready, and the ways in which they end.
//!
//! In reading order:
//!
//! - [`key`]: how tasks are named, and which names give rights;
//! - [`waker`]: a key as a `Waker`;
//! - [`inbox`]: wakes from other threads, over [`sync`]'s atomics, found through [`registry`];
//! - [`table`]: slots; [`ring`]: those that are ready;
//! - [`memory`]: what a slot's future and output live in, taken from [`pool`].
//!
//! ```text
//!                  (1) spawn                    (2) round
//!   free slot ------------------> ready queue ------------> running
//!       ^                          ^    ^                    |  |  |
//!       |               (3) wake   |    | (5) next turn      |  |  |
//!       |             +------------+    +--- behind <--------+  |  |
//!       |             |                      the mark           |  |
//!       |          waiting <----- Pending ----------------------+  |
//!       |             |                                            |
//!       |             | (6) abort, reap                            | Ready, panic
//!       |             v                                            v
//!       +---------- ended: output or payload, until (7) taken or detached
//! ```
//!
//! (1) [`Executor::spawn`], (2) [`Executor::round`], (3) [`Executor::wake_local`] and
//! [`Executor::drain_inbox`], (5) [`Executor::pass_mark`], (6) [`Executor::abort`] and
//! [`Executor::reap`], (7) [`Executor::take_output`] and [`Executor::detach`].
//!
//! Invariant **no guard across user code**: while a future, a destructor or a waker of somebody else
//! runs, nothing of the executor is borrowed but cells.

pub(crate) mod inbox;
pub(crate) mod key;
pub(crate) mod memory;
pub(crate) mod pool;
pub(crate) mod registry;
pub(crate) mod ring;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod waker;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem::ManuallyDrop,
    num::NonZeroU64,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::pin,
    task::{Context, Waker},
};

use inbox::{Drain, Inbox};
use key::{Key, RuntimeId, SlotIndex, TaskIdentity};
use memory::{Payload, RootBody, Stage};
use pool::Pool;
use registry::Registration;
use ring::Ring;
use table::{Flags, Slot, Table, TableFull};

/// What happens when a task panics.
///
/// Whatever is chosen, the panic of the root future leaves `block_on`, and a task's `JoinHandle` learns
/// of its panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnTaskPanic {
    /// The task ends, and the others go on; but a panic that unwound out of a `with_world` closure, and
    /// may have left half an update in the World, leaves `block_on`.
    #[default]
    Contain,
    /// The task ends, and the others go on, also when the panic came out of a `with_world` closure.
    ContainAlways,
    /// The panic leaves `block_on`.
    Propagate,
}

/// How a task stands, as its handle sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskState {
    /// It may still be polled.
    Running,
    /// The output is there to be taken.
    Output,
    /// The payload of its panic is there to be taken.
    Panicked,
    /// It was aborted, and its future is gone or about to go.
    Aborted,
    /// Nothing is left of it.
    Gone,
}

/// Counters of the executor, since it was made.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ExecutorCounts {
    pub(crate) polls: u64,
    pub(crate) foreign_wakes: u64,
    pub(crate) task_panics: u64,
    pub(crate) forgotten_payloads: u64,
}

pub(crate) struct Executor {
    registration: Registration,
    table: Table,
    pool: Pool,
    ready: Ring,
    /// Behind the turn mark.
    deferred: Ring,
    /// Polled first, whatever other queue they are in as well.
    front: RefCell<VecDeque<SlotIndex>>,
    /// `front` holds something.
    front_waits: Cell<bool>,
    /// The slot that is being polled, or slot 0.
    running: Cell<SlotIndex>,
    root: Cell<SlotIndex>,
    reapable: RefCell<Vec<TaskIdentity>>,
    reap_pending: Cell<bool>,
    drain: RefCell<Drain>,
    /// A drain stopped before its end.
    drain_pending: Cell<bool>,
    next_serial: Cell<NonZeroU64>,
    tasks: Cell<usize>,
    polls: Cell<u64>,
    local_wakes: Cell<u64>,
    foreign_wakes: Cell<u64>,
    task_panics: Cell<u64>,
    forgotten_payloads: Cell<u64>,
    on_task_panic: OnTaskPanic,
    /// The poll in which a panic last unwound out of a `with_world` closure.
    torn_in_poll: Cell<u64>,
    propagate: Cell<Option<Payload>>,
    /// `propagate` holds something: no task is polled until it has left.
    stopped: Cell<bool>,
    /// The runtime is being dropped: nothing is spawned any more.
    closing: Cell<bool>,
}

impl Executor {
    pub(crate) fn new(registration: Registration, on_task_panic: OnTaskPanic) -> Self {
        let executor = Self {
            registration,
            table: Table::new(),
            pool: Pool::new(),
            ready: Ring::new(),
            deferred: Ring::new(),
            front: RefCell::new(VecDeque::new()),
            front_waits: Cell::new(false),
            running: Cell::new(SlotIndex::RUNTIME),
            root: Cell::new(SlotIndex::RUNTIME),
            reapable: RefCell::new(Vec::new()),
            reap_pending: Cell::new(false),
            drain: RefCell::new(Drain::default()),
            drain_pending: Cell::new(false),
            next_serial: Cell::new(NonZeroU64::MIN),
            tasks: Cell::new(0),
            polls: Cell::new(0),
            local_wakes: Cell::new(0),
            foreign_wakes: Cell::new(0),
            task_panics: Cell::new(0),
            forgotten_payloads: Cell::new(0),
            on_task_panic,
            torn_in_poll: Cell::new(0),
            propagate: Cell::new(None),
            stopped: Cell::new(false),
            closing: Cell::new(false),
        };
        executor.make_room();
        executor
    }

    pub(crate) fn id(&self) -> RuntimeId {
        self.registration.id
    }

    pub(crate) fn serial(&self) -> u64 {
        self.registration.serial
    }

    pub(crate) fn inbox(&self) -> &'static Inbox {
        self.registration.inbox
    }

    /// Tasks that have been spawned and have not ended, the root future not counted.
    pub(crate) fn task_count(&self) -> usize {
        self.tasks.get()
    }

    pub(crate) fn local_wakes(&self) -> u64 {
        self.local_wakes.get()
    }

    pub(crate) fn counts(&self) -> ExecutorCounts {
        ExecutorCounts {
            polls: self.polls.get(),
            foreign_wakes: self.foreign_wakes.get(),
            task_panics: self.task_panics.get(),
            forgotten_payloads: self.forgotten_payloads.get(),
        }
    }

    /// Whether a task, or the reaper, has something to do before any event.
    pub(crate) fn has_work(&self) -> bool {
        !(self.ready.is_empty()
            && self.deferred.is_empty()
            && !self.reap_pending.get()
            && !self.drain_pending.get()
            && !self.front_waits.get())
    }

    /// Whether a task is ready to be polled in this turn.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

/// Spawning and waking.
impl Executor {
    /// Makes room for `tasks` tasks at once.
    pub(crate) fn reserve(&self, tasks: usize) -> Result<(), TableFull> {
        let mut taken = Vec::new();
        while (self.table.len() as usize) <= tasks {
            taken.push(self.table.allocate(self.id())?);
        }
        for (index, slot) in taken.into_iter().rev() {
            self.table.free(index, slot);
        }
        self.make_room();
        Ok(())
    }

    /// Every slot of the table has its bit in the inbox, and its place in the rings.
    #[cold]
    fn make_room(&self) {
        self.ready.reserve(self.table.len());
        self.deferred.reserve(self.table.len());
        for start in (0..self.table.len()).step_by(64) {
            self.inbox().ensure(start);
        }
    }

    fn allocate(
        &self,
        spawned_at: &'static Location<'static>,
    ) -> Result<(TaskIdentity, &Slot), TableFull> {
        let before = self.table.len();
        let (index, slot) = self.table.allocate(self.id())?;
        if self.table.len() != before {
            self.make_room();
        }
        let serial = self.next_serial.get();
        self.next_serial.set(serial.checked_add(1).expect("2^64 tasks take centuries to spawn"));
        slot.serial.set(serial.get());
        slot.spawned_at.set(spawned_at);
        Ok((TaskIdentity { slot: index, serial }, slot))
    }

    /// Puts a boxed task into the ready queue, attached to a handle that the caller makes.
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<TaskIdentity, TableFull>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(
            !self.closing.get(),
            "a task cannot be spawned while its runtime is dropped: spawn before, or not in a destructor"
        );
        let (identity, slot) = self.allocate(spawned_at)?;
        slot.cell.install(&self.pool, future);
        slot.set(Flags::ATTACHED);
        self.tasks.set(self.tasks.get() + 1);
        self.queue(identity.slot, slot);
        Ok(identity)
    }

    /// Puts `future`, which may borrow, into the ready queue and calls `run` with its identity. When
    /// `run` is over, also by a panic, what is left of the future is dropped. Second: its output, if it
    /// was polled to its end.
    #[expect(unsafe_code, reason = "the root future may borrow, so it stays in its caller's frame")]
    pub(crate) fn with_root<F: Future, R>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
        run: impl FnOnce(TaskIdentity) -> R,
    ) -> Result<(R, Option<F::Output>), TableFull> {
        struct End<'a>(&'a Executor, TaskIdentity);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end_root(self.1);
            }
        }
        let body = pin!(RootBody::new(future));
        let (identity, slot) = self.allocate(spawned_at)?;
        let end = End(self, identity);
        // SAFETY: `end` clears the cell before `body`, declared before it, is dropped; neither leaves
        // this frame.
        unsafe { slot.cell.attach(body.as_ref()) };
        slot.set(Flags::ATTACHED);
        self.root.set(identity.slot);
        self.queue(identity.slot, slot);
        let result = run(identity);
        drop(end);
        Ok((result, body.take_output()))
    }

    fn end_root(&self, identity: TaskIdentity) {
        if let Some(slot) = self.slot(identity) {
            if let Err(payload) = slot.cell.clear(&self.pool) {
                self.forget(payload);
            }
            self.root.set(SlotIndex::RUNTIME);
            drop(self.detach(identity));
        }
    }

    /// The task of `identity`, if it is still there.
    fn slot(&self, identity: TaskIdentity) -> Option<&Slot> {
        self.table.get(identity.slot).filter(|slot| slot.serial.get() == identity.serial.get())
    }

    /// A wake on the owner's thread, while this executor runs there. False: the key is not of a task that
    /// is in this executor now.
    #[inline(always)]
    pub(crate) fn wake_local(&self, key: Key) -> bool {
        let index = key.slot();
        let Some(slot) = self.table.get(index).filter(|slot| slot.key() == key) else {
            return false;
        };
        self.local_wakes.set(self.local_wakes.get() + 1);
        self.queue(index, slot);
        true
    }

    #[inline(always)]
    fn queue(&self, index: SlotIndex, slot: &Slot) {
        let flags = slot.flags();
        if flags.has(Flags::QUEUED) {
            if flags.has(Flags::SPENT) {
                self.revive(index, slot);
            }
            return;
        }
        slot.cell.flags.set(flags.union(Flags::QUEUED));
        if self.running.get() == index {
            self.deferred.push(index);
        } else {
            self.ready.push(index);
        }
    }

    /// A wake after the task was polled ahead of its place in the queue: that place counts again, but a
    /// wake by the task itself goes behind the mark from there.
    #[cold]
    fn revive(&self, index: SlotIndex, slot: &Slot) {
        if self.running.get() == index {
            slot.set(Flags::AGAIN);
        } else {
            slot.clear(Flags::SPENT.union(Flags::AGAIN));
        }
    }

    /// Puts a task among those polled first, or, if `waker` is not of a task of ours, wakes it.
    pub(crate) fn wake_first(&self, waker: Waker) {
        let Some(key) = waker::own_key(&waker, self.id()) else {
            self.guarded(|| waker.wake());
            return;
        };
        let Some(slot) = self.table.get(key.slot()) else {
            return;
        };
        if slot.key() == key && !slot.flags().has(Flags::FRONT) {
            slot.set(Flags::FRONT);
            self.front.borrow_mut().push_back(key.slot());
            self.front_waits.set(true);
        }
    }

    /// Takes the wakes of other threads, at most about `limit`. True: the runtime itself was woken.
    #[inline]
    pub(crate) fn drain_inbox(&self, limit: usize) -> bool {
        if self.inbox().is_empty() && !self.drain_pending.get() {
            return false;
        }
        self.drain_bits(limit)
    }

    #[cold]
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
                self.queue(index, slot);
            }
        });
        self.drain_pending.set(drain.is_pending());
        self.foreign_wakes.set(self.foreign_wakes.get() + woken);
        runtime
    }
}

/// Rounds.
impl Executor {
    /// A new turn: what is behind the mark comes in front of it, after those already ready.
    #[inline]
    pub(crate) fn pass_mark(&self) {
        self.ready.append(&self.deferred);
    }

    /// Polls what is ready now, each task at most once, and at most `budget` of them. Returns how many
    /// were polled; what is cut off keeps its place at the head.
    pub(crate) fn round(&self, budget: u64) -> u64 {
        let start = self.ready.start();
        let count = u64::from(self.ready.end().wrapping_sub(start)).min(budget);
        let end = start.wrapping_add(count as u32);
        while !self.is_stopped()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.poll_before(end)))
        {
            self.contain(payload);
        }
        count
    }

    /// Polls those who come first, whatever the budget.
    #[inline]
    pub(crate) fn round_first(&self) {
        if self.front_waits.get() {
            self.poll_all_first();
        }
    }

    #[cold]
    fn poll_all_first(&self) {
        self.front_waits.set(false);
        let count = self.front.borrow().len();
        let left = Cell::new(count);
        while !self.is_stopped()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.poll_front(&left)))
        {
            self.contain(payload);
        }
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
            }
            if slot.flags().has(Flags::ABORTED) {
                self.release(index, slot);
            } else {
                self.poll_slot(index, slot);
            }
        }
    }

    /// Polls what is in the ring before `end`. What is committed before user code runs, the ring's head
    /// and `running`, lets the caller go on behind a panic.
    #[expect(unsafe_code, reason = "a bounds check less in the hottest loop")]
    fn poll_before(&self, end: u32) {
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
        if slot.cell.stage() != Stage::Future {
            self.release(index, slot);
            return;
        }
        self.running.set(index);
        self.polls.set(self.polls.get() + 1);
        // A waker of ours has nothing to drop.
        let waker = ManuallyDrop::new(waker::waker(slot.key()));
        let polled = slot.cell.poll(&mut Context::from_waker(&waker));
        self.running.set(SlotIndex::RUNTIME);
        if polled.is_ready() {
            self.ended(index, slot);
        }
        self.reap();
    }

    /// The task has an output or a payload: whoever waits for it learns of it.
    fn ended(&self, index: SlotIndex, slot: &Slot) {
        if index != self.root.get() {
            self.tasks.set(self.tasks.get() - 1);
        }
        if let Some(joiner) = slot.joiner.take() {
            self.wake(joiner);
        }
        self.release(index, slot);
    }

    /// Frees the slot if nothing holds it any more: no future, no handle, no entry in a queue.
    fn release(&self, index: SlotIndex, slot: &Slot) {
        if slot.flags().has(Flags::ATTACHED) {
            return;
        }
        match slot.cell.stage() {
            Stage::Output | Stage::Panicked => {
                if let Err(payload) = slot.cell.clear(&self.pool) {
                    self.forget(payload);
                }
            }
            Stage::Future | Stage::Busy | Stage::Ending => return,
            Stage::Empty => {}
        }
        let held = Flags::QUEUED.union(Flags::FRONT).union(Flags::ATTACHED);
        if slot.serial.get() != 0 && !slot.flags().has(held) {
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

/// Endings.
impl Executor {
    /// A panic came out of a poll, or out of what ran between two.
    #[cold]
    fn contain(&self, payload: Payload) {
        let index = self.running.replace(SlotIndex::RUNTIME);
        let Some(slot) = self.table.get(index).filter(|_| index != SlotIndex::RUNTIME) else {
            self.forget(payload);
            return;
        };
        let is_root = index == self.root.get();
        let torn = self.torn_in_poll.get() == self.polls.get();
        let leaves = is_root
            || match self.on_task_panic {
                OnTaskPanic::Contain => torn,
                OnTaskPanic::ContainAlways => false,
                OnTaskPanic::Propagate => true,
            };
        let kept: Payload = if leaves {
            self.propagate.set(Some(payload));
            self.stopped.set(true);
            Box::new("the task panicked, and its panic left block_on")
        } else {
            payload
        };
        if let Err(second) = slot.cell.panicked(&self.pool, kept) {
            self.forget(second);
        }
        if !is_root {
            self.task_panics.set(self.task_panics.get() + 1);
        }
        self.ended(index, slot);
        self.reap();
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
        self.forgotten_payloads.set(self.forgotten_payloads.get() + 1);
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
    }

    /// From here on the task is never polled again; the reaper drops its future.
    pub(crate) fn abort(&self, identity: TaskIdentity) {
        if let Some(slot) = self.slot(identity)
            && matches!(slot.cell.stage(), Stage::Future | Stage::Busy | Stage::Ending)
            && !slot.flags().has(Flags::ABORTED)
        {
            slot.set(Flags::ABORTED);
            self.bury(identity);
        }
    }

    fn bury(&self, identity: TaskIdentity) {
        self.reapable.borrow_mut().push(identity);
        self.reap_pending.set(true);
    }

    /// Drops the futures of aborted tasks and the outputs that nobody waits for. Called between polls
    /// and between stages, where the World may be used.
    #[inline]
    pub(crate) fn reap(&self) {
        if self.reap_pending.get() {
            self.reap_all();
        }
    }

    #[cold]
    fn reap_all(&self) {
        loop {
            let next = self.reapable.borrow_mut().pop();
            let Some(identity) = next else {
                self.reap_pending.set(false);
                return;
            };
            let Some(slot) = self.slot(identity) else {
                continue;
            };
            if slot.flags().has(Flags::ABORTED) && slot.cell.stage() == Stage::Future {
                if let Err(payload) = slot.cell.clear(&self.pool) {
                    self.forget(payload);
                }
                self.ended(identity.slot, slot);
            } else {
                self.release(identity.slot, slot);
            }
        }
    }

    /// Drops every task, when the runtime is dropped. Nothing can be spawned from here on.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        for index in 1..self.table.len() {
            let Some(slot) = self.table.get(SlotIndex(index)) else {
                continue;
            };
            if slot.serial.get() == 0 {
                continue;
            }
            let is_task = slot.cell.stage() == Stage::Future;
            slot.set(Flags::ABORTED);
            if let Err(payload) = slot.cell.clear(&self.pool) {
                self.forget(payload);
            }
            if is_task {
                self.tasks.set(self.tasks.get() - 1);
            }
            if let Some(joiner) = slot.joiner.take() {
                self.wake(joiner);
            }
        }
    }
}

/// What a handle may do.
impl Executor {
    pub(crate) fn state(&self, identity: TaskIdentity) -> TaskState {
        let Some(slot) = self.slot(identity) else {
            return TaskState::Gone;
        };
        match slot.cell.stage() {
            Stage::Output => TaskState::Output,
            Stage::Panicked => TaskState::Panicked,
            _ if slot.flags().has(Flags::ABORTED) => TaskState::Aborted,
            Stage::Future | Stage::Busy | Stage::Ending => TaskState::Running,
            Stage::Empty => TaskState::Gone,
        }
    }

    /// Whether the task's future has been dropped.
    pub(crate) fn is_finished(&self, identity: TaskIdentity) -> bool {
        self.slot(identity)
            .is_none_or(|slot| {
                !matches!(slot.cell.stage(), Stage::Future | Stage::Busy | Stage::Ending)
            })
    }

    pub(crate) fn take_output<T: 'static>(&self, identity: TaskIdentity) -> Option<T> {
        self.slot(identity)?.cell.take_output(&self.pool)
    }

    pub(crate) fn take_payload(&self, identity: TaskIdentity) -> Option<Payload> {
        self.slot(identity)?.cell.take_payload(&self.pool)
    }

    /// Stores who is woken when the task ends. The waker that was there is returned, so that the
    /// caller drops it where nothing of the executor is in use.
    pub(crate) fn set_joiner(&self, identity: TaskIdentity, waker: Waker) -> Option<Waker> {
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
            Stage::Empty => self.release(identity.slot, slot),
            Stage::Future | Stage::Busy | Stage::Ending => {}
        }
        joiner
    }

    /// Where each task that has not ended was spawned, and the type of its future.
    pub(crate) fn each_task(&self, mut each: impl FnMut(&'static str, &'static Location<'static>)) {
        for index in 1..self.table.len() {
            if let Some(slot) = self.table.get(SlotIndex(index))
                && slot.cell.stage() == Stage::Future
                && SlotIndex(index) != self.root.get()
            {
                each(slot.cell.name(), slot.spawned_at.get());
            }
        }
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("id", &self.id())
            .field("serial", &self.serial())
            .field("tasks", &self.tasks.get())
            .finish_non_exhaustive()
    }
}

