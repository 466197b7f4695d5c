//! Asking a runtime to stop: from a task, from another thread, or by a signal.
#![forbid(unsafe_code)]

mod shared;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use shared::Shared;

use crate::{
    context,
    executor::{
        details::Wait,
        key::{RuntimeId, SlotIndex},
        registry,
    },
};

/// A runtime's side of shutdown.
#[derive(Debug)]
pub(crate) struct ShutdownState {
    handle: ShutdownHandle,
}

impl ShutdownState {
    pub(crate) fn new(runtime: RuntimeId) -> Self {
        Self { handle: ShutdownHandle { shared: Arc::new(Shared::new()), runtime } }
    }

    pub(crate) fn handle(&self) -> &ShutdownHandle {
        &self.handle
    }

    /// How many wakers panicked since this was last called.
    pub(crate) fn take_forgotten(&self) -> u64 {
        self.handle.shared.take_forgotten()
    }

    /// The runtime has gone. The caller wakes those who wait, where nothing is borrowed.
    pub(crate) fn end(&self) -> impl Iterator<Item = Waker> + use<> {
        self.handle.shared.end().into_iter().map(|(_, waker)| waker)
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
    shared: Arc<Shared>,
    runtime: RuntimeId,
}

impl ShutdownHandle {
    /// Asks the runtime to stop. When this returns, all who waited have been woken, whether the runtime
    /// runs or not. Asking again changes nothing; nothing ends if the runtime has gone.
    ///
    /// A waker that panics keeps nobody else asleep; its panic is counted in
    /// [`Stats::forgotten_payloads`](crate::Stats::forgotten_payloads) and goes no further.
    pub fn shutdown(&self) {
        for (_, waker) in self.shared.ask() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Its destructor might panic as well.
                std::mem::forget(payload);
                self.shared.forget();
            }
        }
        if let Some(inbox) = registry::inbox(self.runtime) {
            inbox.wake(SlotIndex::RUNTIME.0);
        }
    }

    /// The same as [`shutdown`](Self::shutdown).
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let handle = Runtime::new(&mut world).shutdown_handle();
    /// assert!(!handle.is_shutdown());
    /// handle.trigger();
    /// assert!(handle.is_shutdown());
    /// ```
    pub fn trigger(&self) {
        self.shutdown();
    }

    /// Whether the runtime was asked to stop.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.shared.is_asked()
    }

    /// A future that completes when the runtime is asked to stop. Any thread may make it and await it,
    /// on any executor.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::new(&mut world);
    /// let handle = rt.shutdown_handle();
    /// let signal = handle.signal();
    /// let recorder = std::thread::spawn(move || futures::executor::block_on(signal));
    /// handle.shutdown();
    /// recorder.join().unwrap();
    /// ```
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal { shared: self.shared.clone(), place: None }
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("is_shutdown", &self.is_shutdown()).finish()
    }
}

/// Completes when a runtime is asked to stop: by a [`ShutdownHandle`], by
/// [`Runtime::shutdown_quiesce`](crate::Runtime::shutdown_quiesce), or by SIGINT or SIGTERM where the
/// signal handlers are installed. It completes also when the runtime goes.
///
/// Any number may wait at once, in tasks of the runtime or elsewhere: a signal is `Send`, and needs no
/// runtime to be polled. SIGINT and SIGTERM are noticed by the runtime in its next turn, so they reach
/// nobody while it does not run.
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
/// Dropping it takes its waker back and loses nothing: a signal made later completes at once if shutdown
/// was asked for.
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownSignal {
    shared: Arc<Shared>,
    /// Its place among those who wait; it means nothing once nobody waits any more.
    place: Option<usize>,
}

impl ShutdownSignal {
    /// The signal of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime; [`ShutdownHandle::signal`] needs none.
    #[track_caller]
    pub fn current() -> Self {
        context::current("ShutdownSignal::current()", |core| core.shutdown.handle.signal())
    }

    /// Whether the runtime was asked to stop.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let handle = Runtime::new(&mut world).shutdown_handle();
    /// let signal = handle.signal();
    /// assert!(!signal.is_shutdown());
    /// handle.shutdown();
    /// assert!(signal.is_shutdown());
    /// ```
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.shared.is_asked()
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, place } = &mut *self;
        let polled = shared.wait(place, cx.waker());
        if polled.is_pending() {
            context::try_current(|core| core.executor.note_wait(Wait::Other("the shutdown")));
        }
        polled
    }
}

impl Drop for ShutdownSignal {
    fn drop(&mut self) {
        drop(self.shared.leave(self.place));
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownSignal").field("is_shutdown", &self.is_shutdown()).finish()
    }
}
