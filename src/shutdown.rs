//! Asking a runtime to stop: from a task, from another thread, or by a signal.

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::{
    context,
    executor::{
        key::{RuntimeId, SlotIndex},
        registry,
    },
};

/// A runtime's side of shutdown: whether it was asked for, and who waits for that.
#[derive(Debug)]
pub(crate) struct ShutdownState {
    handle: ShutdownHandle,
    waiters: RefCell<Slab<Waker>>,
}

impl ShutdownState {
    pub(crate) fn new(runtime: RuntimeId) -> Self {
        let handle = ShutdownHandle { requested: Arc::default(), runtime };
        Self { handle, waiters: RefCell::new(Slab::new()) }
    }

    pub(crate) fn handle(&self) -> &ShutdownHandle {
        &self.handle
    }

    /// Those who wait, to be woken, if shutdown was asked for.
    pub(crate) fn take_waiters(&self) -> Vec<Waker> {
        if self.handle.is_shutdown() { self.clear() } else { Vec::new() }
    }

    /// Forgets who waits. The caller drops the wakers, where nothing is borrowed.
    pub(crate) fn clear(&self) -> Vec<Waker> {
        self.waiters.borrow_mut().drain().collect()
    }
}

/// Asks a runtime to stop. Any thread may hold one, and it may outlive the runtime.
///
/// Asking does not end anything by itself: it completes every [`ShutdownSignal`], and the tasks and the
/// root future that wait for one decide what to do.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, ShutdownSignal};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let handle = rt.shutdown_handle();
/// std::thread::spawn(move || handle.shutdown());
/// rt.block_on(async { ShutdownSignal::current().await });
/// ```
#[derive(Clone)]
pub struct ShutdownHandle {
    requested: Arc<AtomicBool>,
    runtime: RuntimeId,
}

impl ShutdownHandle {
    /// Asks the runtime to stop. Asking again changes nothing; asking one that has gone does nothing.
    pub fn shutdown(&self) {
        self.requested.store(true, Ordering::Release);
        if let Some(inbox) = registry::inbox(self.runtime) {
            inbox.wake(SlotIndex::RUNTIME.0);
        }
    }

    /// Whether the runtime was asked to stop.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("is_shutdown", &self.is_shutdown()).finish()
    }
}

/// Completes when the current runtime is asked to stop: by a [`ShutdownHandle`], or by SIGINT or SIGTERM
/// where the signal handlers are installed.
///
/// Any number of tasks may wait at once. Polled after its runtime has gone, it completes.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, ShutdownSignal, spawn_boxed};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).signal_handlers(true).build();
/// let handle = rt.shutdown_handle();
/// rt.block_on(async move {
///     let gateway = spawn_boxed(async {
///         ShutdownSignal::current().await;
///         "orders cancelled"
///     });
///     handle.shutdown();
///     assert_eq!(gateway.await, "orders cancelled");
/// });
/// ```
///
/// # Cancellation
///
/// Dropping it loses nothing: a signal made later completes at once if shutdown was asked for.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownSignal {
    runtime: u64,
    requested: Arc<AtomicBool>,
    waiter: Cell<Option<usize>>,
    _not_send: PhantomData<*const ()>,
}

impl ShutdownSignal {
    /// The signal of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Self {
        context::current("ShutdownSignal::current()", |core| Self {
            runtime: core.serial(),
            requested: core.shutdown.handle.requested.clone(),
            waiter: Cell::new(None),
            _not_send: PhantomData,
        })
    }

    /// Whether the runtime was asked to stop.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    fn leave(&self) -> Option<Waker> {
        let waiter = self.waiter.take()?;
        context::find(self.runtime, |core| core.shutdown.waiters.borrow_mut().try_remove(waiter))?
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_shutdown() {
            // The loop empties the list, and its places are given to nobody any more.
            self.waiter.set(None);
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let found = context::find(self.runtime, |core| {
            let mut waiters = core.shutdown.waiters.borrow_mut();
            if let Some(waiter) = self.waiter.get()
                && let Some(stored) = waiters.get_mut(waiter)
            {
                return Some(std::mem::replace(stored, waker));
            }
            self.waiter.set(Some(waiters.insert(waker)));
            None
        });
        match found {
            Some(before) => {
                drop(before);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for ShutdownSignal {
    fn drop(&mut self) {
        if !self.is_shutdown() {
            drop(self.leave());
        }
    }
}
