//! The executor: a table of tasks, queues of those that are ready, and the ways in which they end.
//!
//! In reading order:
//!
//! - [`key`]: how tasks are named, and which names give rights;
//! - [`waker`]: a key as a `Waker`;
//! - [`inbox`]: wakes from other threads, over [`sync`]'s atomics, found through [`registry`];
//! - [`table`]: slots; [`ring`]: those that are ready; [`agenda`]: what else a turn looks at;
//! - [`queue`], [`round`], [`ending`], [`handle`]: the executor's operations, along the drawing below;
//! - [`details`]: what is known of tasks for those who look; [`watch`]: what is noted of polls;
//!   [`spans`]: what a collector of traces sees;
//! - [`memory`]: what a slot's future and output live in, taken from [`pool`], which has blocks of its own
//!   and the slots of a [`slab`]; [`slots`]: tasks in the slab;
//! - [`keep`]: what a task keeps beside its future.
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
//! [`Executor::reap`], (7) [`Executor::join`] and [`Executor::detach`].
//!
//! Invariant **no guard across user code**: while a future, a destructor or a waker of somebody else
//! runs, nothing of the executor is borrowed but cells.

pub(crate) mod agenda;
pub(crate) mod details;
mod ending;
mod handle;
pub(crate) mod inbox;
mod keep;
pub(crate) mod key;
pub(crate) mod memory;
pub(crate) mod pool;
mod queue;
pub(crate) mod registry;
pub(crate) mod ring;
mod round;
pub(crate) mod slab;
mod slots;
pub(crate) mod spans;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod waker;
mod watch;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    num::NonZeroU64,
    ptr,
};

use agenda::{Agenda, Items};
use details::Details;
use inbox::{Drain, Inbox};
use keep::Keeping;
use key::{Generation, RuntimeId, SlotIndex, TaskIdentity};
use memory::Payload;
use pool::Pool;
use registry::Registration;
use ring::Ring;
use table::{Slot, Table};
use watch::Watch;

/// What happens when a task panics.
///
/// Whatever is chosen, the panic of the root future leaves `block_on`, and a task's `JoinHandle` learns
/// of its panic.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{OnTaskPanic, Runtime, spawn_boxed};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::ContainAlways).build();
/// rt.block_on(async {
///     let failing = spawn_boxed(async { std::panic::resume_unwind(Box::new("out of cheese")) });
///     let _: Result<(), _> = failing.join().await;
/// });
/// assert_eq!(rt.stats().task_panics, 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnTaskPanic {
    /// The task ends, and the others go on; but a panic that unwound out of a `with_world` closure, and
    /// may have left half an update in the World, leaves `block_on`. Destructors are exempt.
    #[default]
    Contain,
    /// The task ends, and the others go on, also when the panic came out of a `with_world` closure.
    ContainAlways,
    /// The panic leaves `block_on`.
    Propagate,
}

/// What ended a task before it completed.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{CancelReason, JoinError, Runtime, spawn};
/// use std::future::pending;
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let task = rt.block_on(async { spawn(pending::<()>()) });
/// drop(rt);
/// let ended = Runtime::new(&mut world).block_on(task.join());
/// let Err(JoinError::Cancelled(reason)) = ended else { unreachable!() };
/// assert_eq!(reason, CancelReason::RuntimeGone);
/// assert_eq!(reason.to_string(), "its runtime has gone");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CancelReason {
    /// It was aborted.
    Aborted,
    /// The entity that it belonged to has gone.
    Entity,
    /// Its runtime has gone, and dropped it. There is no reason of the name of shutdown: being asked to
    /// stop ends no task, and what is left when the runtime is dropped ends for this reason, whether the
    /// runtime was asked to stop or not.
    RuntimeGone,
    /// The scope of which it was a child has ended.
    Scope,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aborted => "it was aborted",
            Self::Entity => "the entity that it belonged to has gone",
            Self::RuntimeGone => "its runtime has gone",
            Self::Scope => "its scope has ended",
        })
    }
}

/// What a handle finds when it looks for its task's end.
#[derive(Debug)]
pub(crate) enum Joined<T> {
    /// The task has not ended.
    Running,
    Output(T),
    Panicked(Payload),
    /// It was ended, and its future is gone or about to go.
    Cancelled(CancelReason),
    /// Nothing is left of it.
    Gone,
}

/// Why a task was not spawned, or nothing was claimed for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotSpawned {
    /// The runtime has as many tasks as it may have.
    Full,
    /// The runtime is being dropped, or has gone.
    Closing,
    /// It was built without a slab.
    NoSlab,
    /// Every slot of its slab is taken.
    SlabFull,
    /// A slot of its slab is too small.
    TooLarge { needs: usize, size: usize },
}

/// Counters of the executor that rarely move, since it was made.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ExecutorCounts {
    pub(crate) foreign_wakes: u64,
    pub(crate) task_panics: u64,
    pub(crate) forgotten_payloads: u64,
}

/// How many tasks have ended since the executor was made, and by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endings {
    /// All of them.
    pub(crate) ended: u64,
    pub(crate) aborted: u64,
    pub(crate) panicked: u64,
}

pub(crate) struct Executor {
    registration: Registration,
    agenda: Agenda,
    table: Table,
    pool: Pool,
    ready: Ring,
    /// Behind the turn mark.
    deferred: Ring,
    /// What is ready waits here while those who come before it are woken. It has room from the first time on.
    aside: Ring,
    /// Polled first, whatever other queue they are in as well.
    front: RefCell<VecDeque<SlotIndex>>,
    /// Those who wait for a stage are being woken: who is woken is polled first.
    gathering: Cell<bool>,
    /// The slot that is being polled, or slot 0. Between two polls of one pass over the ring it may still
    /// be the one before, but not while anything runs there.
    running: Cell<*const Slot>,
    /// Slot 0.
    nobody: *const Slot,
    /// The slot of the root future, or slot 0.
    root: Cell<*const Slot>,
    root_ended: Cell<bool>,
    /// Who ended first is reaped first.
    reapable: RefCell<VecDeque<TaskIdentity>>,
    flush: Cell<fn()>,
    keeping: Keeping,
    /// Slots that have their bit in the inbox.
    in_inbox: Cell<u32>,
    drain: RefCell<Drain>,
    next_serial: Cell<NonZeroU64>,
    /// Tasks that were spawned, and those of them that have ended, the root futures not counted.
    spawned: Cell<u64>,
    ended: Cell<u64>,
    /// Of those that have ended: by an abort, by a panic.
    aborted: Cell<u64>,
    panicked: Cell<u64>,
    polls: Cell<u64>,
    local_wakes: Cell<u64>,
    foreign_wakes: Cell<u64>,
    task_panics: Cell<u64>,
    forgotten_payloads: Cell<u64>,
    on_task_panic: OnTaskPanic,
    details: Details,
    watch: Watch,
    /// The poll in which a panic last unwound out of a `with_world` closure.
    torn_in_poll: Cell<u64>,
    propagate: Cell<Option<Payload>>,
    /// The runtime is being dropped: nothing is spawned any more.
    closing: Cell<bool>,
}

impl Executor {
    pub(crate) fn new(
        registration: Registration,
        on_task_panic: OnTaskPanic,
        pool: Pool,
        details: bool,
        hashes: bool,
    ) -> Self {
        let first = Generation::of_runtime(registration.serial);
        let table = Table::new(registration.id, first);
        let nobody = ptr::from_ref(table.runtime());
        let executor = Self {
            registration,
            agenda: Agenda::default(),
            running: Cell::new(nobody),
            nobody,
            table,
            pool,
            ready: Ring::new(),
            deferred: Ring::new(),
            aside: Ring::new(),
            front: RefCell::new(VecDeque::new()),
            gathering: Cell::new(false),
            root: Cell::new(nobody),
            root_ended: Cell::new(false),
            reapable: RefCell::new(VecDeque::new()),
            flush: Cell::new(|| {}),
            keeping: Keeping::default(),
            in_inbox: Cell::new(0),
            drain: RefCell::new(Drain::default()),
            next_serial: Cell::new(NonZeroU64::MIN),
            spawned: Cell::new(0),
            ended: Cell::new(0),
            aborted: Cell::new(0),
            panicked: Cell::new(0),
            polls: Cell::new(0),
            local_wakes: Cell::new(0),
            foreign_wakes: Cell::new(0),
            task_panics: Cell::new(0),
            forgotten_payloads: Cell::new(0),
            on_task_panic,
            details: Details::new(details),
            watch: Watch::new(details, hashes),
            torn_in_poll: Cell::new(0),
            propagate: Cell::new(None),
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
        (self.spawned.get() - self.ended.get()) as usize
    }

    /// How the tasks that have ended have ended.
    pub(crate) fn endings(&self) -> Endings {
        Endings {
            ended: self.ended.get(),
            aborted: self.aborted.get(),
            panicked: self.panicked.get(),
        }
    }

    pub(crate) fn local_wakes(&self) -> u64 {
        self.local_wakes.get()
    }

    /// Polls of tasks: which one is going on.
    pub(crate) fn poll_number(&self) -> u64 {
        self.polls.get()
    }

    pub(crate) fn counts(&self) -> ExecutorCounts {
        ExecutorCounts {
            foreign_wakes: self.foreign_wakes.get(),
            task_panics: self.task_panics.get(),
            forgotten_payloads: self.forgotten_payloads.get(),
        }
    }

    /// Whether a task, or the reaper, has something to do before any event. Not to be asked in a poll.
    pub(crate) fn has_work(&self) -> bool {
        if self.agenda.has(Items::VOID) {
            self.drop_void();
        }
        !(self.deferred.is_empty()
            && self.ready.is_empty()
            && !self.agenda.has(Items::REAP.union(Items::DRAIN).union(Items::FRONT)))
    }

    /// Whether nothing is ready in this turn, nor to be reaped, and no panic waits to leave.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        !self.agenda.has(Items::REAP.union(Items::FRONT).union(Items::STOPPED))
            && self.ready.is_empty()
    }

    /// What a turn has to look at beside what is ready.
    #[inline]
    pub(crate) fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// Whether a task is ready to be polled in this turn.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("id", &self.id())
            .field("serial", &self.serial())
            .field("tasks", &self.task_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        task::Poll,
        thread,
        time::Duration,
    };

    use bevy_ecs::world::World;

    use super::key::SlotIndex;
    use crate::{
        JoinHandle, Runtime, claim_slab, context, sleep, spawn, spawn_boxed, spawn_slab, yield_now,
    };

    /// Wakes its task, and is ready, or panics, in the same poll.
    async fn woken(panics: bool, from_afar: bool) {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if from_afar {
                let waker = cx.waker();
                thread::scope(|scope| _ = scope.spawn(|| waker.wake_by_ref()));
            }
            assert!(!panics, "it has woken itself");
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn every_end_of_a_task_frees_its_slot() {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(16).build();
        let taken = || {
            context::current("slots", |core| {
                let table = &core.executor.table;
                let slots = (1..table.len()).filter_map(|slot| table.get(SlotIndex(slot)));
                slots.filter(|slot| slot.identity().is_some()).count()
            })
        };
        for _ in 0..20 {
            rt.block_on(async {
                for from_afar in [false, true] {
                    drop((spawn(woken(false, from_afar)), spawn_slab(woken(true, from_afar))));
                }
                let unread = spawn(async { 7 });
                // The loop sleeps, and so has dropped what is void.
                sleep(Duration::from_micros(1)).await;
                let (output, panic) =
                    (spawn_slab(woken(false, true)), spawn_boxed(woken(true, false)));
                let waits = [spawn(pending()), spawn_slab(pending()), spawn_boxed(pending())];
                let detached = spawn(sleep(Duration::from_nanos(1)));
                drop(claim_slab());
                let claimed = claim_slab().spawn(woken(false, false));
                yield_now().await;
                waits.into_iter().for_each(JoinHandle::<()>::abort);
                drop((detached, unread));
                output.await;
                assert!(panic.join().await.is_err());
                let ready = spawn_boxed(woken(false, true));
                ready.abort();
                claimed.await;
            });
            while rt.task_count() > 0 {
                rt.tick().unwrap();
            }
        }
        rt.tick().unwrap();
        assert_eq!(rt.block_on(async { taken() }), 1, "the root future's own");
    }
}
