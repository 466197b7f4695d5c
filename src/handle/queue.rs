//! What other threads ask of a runtime, and what tells them that it is there.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
};

use bevy_ecs::world::World;

use crate::{
    context::Core,
    executor::{
        key::{RuntimeId, SlotIndex, TaskIdentity},
        registry,
    },
};

/// A closure for the loop to call.
pub(crate) enum Job {
    /// With the World.
    World(Box<dyn FnOnce(&mut World) + Send>),
    /// With what tasks have.
    Task(Box<dyn FnOnce(&Core) + Send>),
}

/// One runtime's link to other threads, shared by all its handles. It outlives the runtime.
pub(crate) struct Remote {
    runtime: RuntimeId,
    /// Where the runtime runs.
    thread: ThreadId,
    /// The runtime takes no job any more. Written under the lock of `jobs`.
    closed: AtomicBool,
    jobs: Mutex<VecDeque<Job>>,
    /// Tasks whose entities went on another thread.
    unbound: Mutex<Vec<TaskIdentity>>,
    /// What holds virtual time still: see [`ExternalWork`](super::ExternalWork).
    external: AtomicUsize,
    /// How often something began to hold it.
    holds: AtomicUsize,
}

impl Remote {
    pub(crate) fn new(runtime: RuntimeId) -> Self {
        Self {
            runtime,
            thread: thread::current().id(),
            closed: AtomicBool::new(false),
            jobs: Mutex::default(),
            unbound: Mutex::default(),
            external: AtomicUsize::new(0),
            holds: AtomicUsize::new(0),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        // Nothing panics under the lock: a push and a pop are all that happens there.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that made the runtime, and that alone runs it.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Queues a job, unless the runtime has gone; then `make` is not called.
    pub(super) fn push<F>(&self, f: F, make: impl FnOnce(F) -> Job) -> Result<(), F> {
        let mut jobs = self.jobs();
        if self.is_closed() {
            drop(jobs);
            return Err(f);
        }
        jobs.push_back(make(f));
        drop(jobs);
        self.wake();
        Ok(())
    }

    /// The job that was queued first.
    pub(crate) fn pop(&self) -> Option<Job> {
        self.jobs().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs().len()
    }

    /// Has the loop end a task whose entity has gone, where that happened on another thread.
    pub(crate) fn unbind(&self, task: TaskIdentity) {
        if !self.is_closed() {
            self.unbound().push(task);
            self.wake();
        }
    }

    fn unbound(&self) -> MutexGuard<'_, Vec<TaskIdentity>> {
        self.unbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tasks whose entities went on another thread.
    pub(crate) fn take_unbound(&self) -> Vec<TaskIdentity> {
        std::mem::take(&mut *self.unbound())
    }

    /// Takes no job any more. Those that are left are dropped by the caller, where the World may be used.
    #[must_use]
    pub(crate) fn close(&self) -> VecDeque<Job> {
        let mut jobs = self.jobs();
        self.closed.store(true, Ordering::Release);
        std::mem::take(&mut *jobs)
    }

    /// Asks for a turn.
    pub(crate) fn wake(&self) {
        if !self.is_closed()
            && let Some(inbox) = registry::inbox(self.runtime)
        {
            inbox.wake(SlotIndex::RUNTIME.0);
        }
    }

    pub(super) fn hold(&self) {
        self.external.fetch_add(1, Ordering::Relaxed);
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop looks again whether anything is left to wait for.
    pub(super) fn let_go(&self) {
        if self.external.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    /// Differs after something began to hold virtual time still, whether it still does or not. What begins
    /// does so on the runtime's own thread.
    pub(crate) fn holds(&self) -> usize {
        self.holds.load(Ordering::Relaxed)
    }

    /// Whether something outside the program holds virtual time still.
    pub(crate) fn is_held(&self) -> bool {
        self.external.load(Ordering::Acquire) > 0
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
