//! The runtime that this thread is in: what futures reach without being told.
//!
//! Invariants:
//!
//! - **entered is alive**: `CURRENT` is non-null only while an [`Enter`] guard borrows the core;
//! - **listed is alive**: a core is on the thread's list from the making of its [`OwnedCore`] to the
//!   beginning of its drop;
//! - **found runs nothing**: a closure given to [`find`] calls no user code, so the core cannot go away
//!   under it.

#![expect(unsafe_code, reason = "thread-local pointers to the cores of this thread")]

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    io, ptr,
    sync::Arc,
    task::Waker,
};

use crate::{
    clock::Clock,
    executor::{Executor, agenda::Items, key::TaskIdentity, waker},
    handle::queue::Remote,
    reactor::{Reactor, signals::SignalPipe},
    shutdown::ShutdownState,
    stats::Counters,
    timer::wheel::Wheel,
    world::{look::Looks, wait::TickWaits},
};

thread_local! {
    static CURRENT: Cell<*const Core> = const { Cell::new(ptr::null()) };
    static LISTED: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// Everything of a runtime that a future may need: all but the World and the stages.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) executor: Executor,
    pub(crate) clock: Clock,
    /// Borrowed for one operation on the wheel at a time, never while a waker is woken or dropped.
    pub(crate) timers: RefCell<Wheel<Waker>>,
    pub(crate) reactor: Reactor,
    pub(crate) waits: TickWaits,
    pub(crate) looks: Looks,
    pub(crate) shutdown: ShutdownState,
    pub(crate) remote: Arc<Remote>,
    pub(crate) signals: OnceCell<SignalPipe>,
    pub(crate) counters: Arc<Counters>,
    /// The number of the tick, and of the turn, that is going on.
    pub(crate) tick: Cell<u64>,
    pub(crate) turn: Cell<u64>,
    next: Cell<*const Core>,
}

impl Core {
    pub(crate) fn new(executor: Executor, clock: Clock, reactor: Reactor) -> Self {
        let shutdown = ShutdownState::new(executor.id());
        let remote = Arc::new(Remote::new(executor.id()));
        Self {
            executor,
            clock,
            timers: RefCell::new(Wheel::new(0)),
            reactor,
            waits: TickWaits::default(),
            looks: Looks::default(),
            shutdown,
            remote,
            signals: OnceCell::new(),
            counters: Arc::default(),
            tick: Cell::new(0),
            turn: Cell::new(0),
            next: Cell::new(ptr::null()),
        }
    }

    pub(crate) fn serial(&self) -> u64 {
        self.executor.serial()
    }

    /// A task was spawned.
    #[inline]
    pub(crate) fn spawned(&self, task: TaskIdentity) {
        if self.executor.has_details() {
            self.note_spawn(task, None);
        }
    }

    /// Begins what is known of a task beside what it is.
    #[cold]
    pub(crate) fn note_spawn(&self, task: TaskIdentity, name: Option<Cow<'static, str>>) {
        self.executor.note_spawn(task, self.clock.precise_ns(), name);
    }

    /// Drops what futures and tasks left behind for others to wake, each under a guard; those who wait
    /// for the shutdown, on any thread, learn that the runtime has gone.
    pub(crate) fn drop_wakers(&self) {
        let timers = self.timers.borrow_mut().drain();
        let mut waiting = self.waits.take_all();
        waiting.extend(self.looks.drain());
        for waker in self.shutdown.end() {
            self.executor.wake(waker);
        }
        for waker in timers.into_iter().chain(waiting) {
            self.executor.guarded(|| drop(waker));
        }
        for waker in self.reactor.clear() {
            self.executor.guarded(|| drop(waker));
        }
    }

    /// Routes SIGINT and SIGTERM of the process to this runtime's shutdown.
    pub(crate) fn install_signal_handlers(&self) -> io::Result<()> {
        if self.signals.get().is_none() {
            self.executor.agenda().add(Items::SOCKETS);
            let pipe = SignalPipe::new(&self.reactor)?;
            // The cell was empty above, and nothing in between fills it.
            let _ = self.signals.set(pipe);
        }
        Ok(())
    }
}

/// Owns a core, at one address, listed on the thread that made it.
#[derive(Debug)]
pub(crate) struct OwnedCore(ptr::NonNull<Core>);

impl OwnedCore {
    pub(crate) fn new(core: Core) -> Self {
        core.next.set(LISTED.get());
        let core = ptr::NonNull::from(Box::leak(Box::new(core)));
        LISTED.set(core.as_ptr());
        Self(core)
    }

    pub(crate) fn get(&self) -> &Core {
        // SAFETY: the box was leaked in `new` and is taken back in `drop` only.
        unsafe { self.0.as_ref() }
    }

    /// Takes the core off the list: its handles find it no more.
    pub(crate) fn unlist(&self) {
        let this = self.0.as_ptr().cast_const();
        if LISTED.get() == this {
            LISTED.set(self.get().next.get());
            return;
        }
        let mut at = LISTED.get();
        // SAFETY: by *listed is alive* every core on the list is.
        while let Some(core) = unsafe { at.as_ref() } {
            if core.next.get() == this {
                core.next.set(self.get().next.get());
                return;
            }
            at = core.next.get();
        }
    }
}

impl Drop for OwnedCore {
    fn drop(&mut self) {
        self.unlist();
        // SAFETY: the box was leaked in `new`, nothing is entered (an `Enter` borrows `self`), and the
        // list does not have it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// While it lives, futures on this thread find `core`. Dropping it puts back what was there.
pub(crate) struct Enter<'a> {
    before: *const Core,
    _waker: waker::Entered<'a>,
}

impl<'a> Enter<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        let before = CURRENT.replace(core);
        Self { before, _waker: waker::Entered::new(&core.executor) }
    }
}

impl Drop for Enter<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Calls `f` with the core that this thread is in.
pub(crate) fn try_current<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    // SAFETY: by *entered is alive* the pointer is null or good until the guard further up this stack
    // is dropped, which is after this call.
    unsafe { CURRENT.get().as_ref() }.map(f)
}

/// As [`try_current`], for what makes no sense outside a runtime.
///
/// # Panics
///
/// Outside a runtime, with a message that names `what`.
#[track_caller]
pub(crate) fn current<R>(what: &str, f: impl FnOnce(&Core) -> R) -> R {
    match try_current(f) {
        Some(result) => result,
        None => outside(what),
    }
}

#[cold]
#[track_caller]
fn outside(what: &str) -> ! {
    panic!(
        "{what} needs a running onbeat runtime on this thread: call it inside `Runtime::block_on`, \
         `block_on_busy` or `tick`, from a task or from a system"
    )
}

/// Calls `f` with the core of serial `serial`, if it lives on this thread. `f` runs no user code.
pub(crate) fn find<R>(serial: u64, f: impl FnOnce(&Core) -> R) -> Option<R> {
    // SAFETY: by *entered is alive*.
    let current = unsafe { CURRENT.get().as_ref() };
    match current.filter(|core| core.serial() == serial) {
        Some(core) => Some(f(core)),
        // SAFETY: by *listed is alive*, and by *found runs nothing* also while `f` runs.
        None => unsafe { listed(serial).as_ref() }.map(f),
    }
}

/// The core of serial `serial` on this thread's list, or null.
#[cold]
fn listed(serial: u64) -> *const Core {
    let mut at = LISTED.get();
    // SAFETY: by *listed is alive*.
    while let Some(core) = unsafe { at.as_ref() } {
        if core.serial() == serial {
            return at;
        }
        at = core.next.get();
    }
    ptr::null()
}
