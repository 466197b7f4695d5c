//! What other threads hold of a runtime: [`Handle`].
#![forbid(unsafe_code)]

mod join;
pub(crate) mod queue;

use std::{fmt, panic::Location, sync::Arc};

use bevy_ecs::world::World;

pub use join::RemoteJoin;

use join::{Reply, Replying};
use queue::{Job, Remote};

use crate::{context, shutdown::ShutdownHandle};

/// A runtime, for other threads: it starts tasks there, runs closures with the World, wakes the loop, asks
/// it to stop. It may outlive the runtime.
///
/// What it asks for happens in the next turn, in step 2 of the tick, in the order in which it was asked:
/// after the events and wakes of that turn have become wakes, before any task is polled. So what a closure
/// writes is seen by every task and every system of that tick. At most 256 closures run in a turn; those
/// that are asked for meanwhile, and those beyond, run in the next ones.
///
/// A closure that panics ends nothing but itself, unless [`OnTaskPanic`](crate::OnTaskPanic) says
/// otherwise: as with a task, a panic that may have left half an update in the World leaves `block_on` by
/// default. Closures that have not run when the runtime goes are dropped by it, where the World may be
/// used.
///
/// While a handle lives, virtual time stands still whenever nothing can run: what comes through it is not
/// the program's to foresee.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, ShutdownSignal, WorldCtx, sleep};
/// use std::time::Duration;
///
/// #[derive(Resource, Default)]
/// struct Limits(Vec<u32>);
///
/// let mut world = World::new();
/// world.init_resource::<Limits>();
/// let mut rt = Runtime::new(&mut world);
/// let handle = rt.handle();
/// let operator = std::thread::spawn(move || {
///     drop(handle.run_with_world(|world| world.resource_mut::<Limits>().0.push(10)));
///     let task = handle.spawn_with(|| async {
///         sleep(Duration::from_micros(50)).await;
///         WorldCtx::current().with_world(|world| world.resource::<Limits>().0.len())
///     });
///     assert_eq!(task.unwrap().wait().unwrap(), 1);
///     handle.shutdown();
/// });
/// rt.block_on(async { ShutdownSignal::current().await });
/// operator.join().unwrap();
/// ```
#[derive(Clone)]
pub struct Handle {
    shutdown: ShutdownHandle,
    live: Arc<ExternalWork>,
}

impl Handle {
    pub(crate) fn new(shutdown: ShutdownHandle, remote: Arc<Remote>) -> Self {
        Self { shutdown, live: Arc::new(ExternalWork::new(remote)) }
    }

    /// A handle of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    #[track_caller]
    pub fn current() -> Self {
        context::current("Handle::current()", |core| {
            Self::new(core.shutdown.handle().clone(), core.remote.clone())
        })
    }

    fn remote(&self) -> &Remote {
        &self.live.remote
    }

    /// Starts the task whose future `make` makes on the runtime's thread. The future need not be `Send`.
    ///
    /// # Errors
    ///
    /// [`RuntimeGone`] with `make` when the runtime has gone.
    #[track_caller]
    pub fn spawn_with<M, F>(&self, make: M) -> Result<RemoteJoin<F::Output>, RuntimeGone<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let spawned_at = Location::caller();
        let (mut reply, join) = Reply::new(self.remote().thread());
        let job = |make: M| {
            Job::Task(Box::new(move |core| {
                let future = reply.or_answer(make);
                // A runtime that has no place for it drops it, and so answers.
                let spawned =
                    core.executor.spawn_anywhere(Replying::new(future, reply), spawned_at);
                if let Ok(task) = spawned {
                    core.spawned(task);
                    drop(core.executor.detach(task));
                }
            }))
        };
        self.remote().push(make, job).map_err(RuntimeGone)?;
        Ok(join)
    }

    /// Calls `f` with the World. What `f` leaves in the World's command queue is applied before any task is
    /// polled.
    ///
    /// # Errors
    ///
    /// [`RuntimeGone`] with `f` when the runtime has gone.
    pub fn run_with_world<F, R>(&self, f: F) -> Result<RemoteJoin<R>, RuntimeGone<F>>
    where
        F: FnOnce(&mut World) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (mut reply, join) = Reply::new(self.remote().thread());
        let job = |f: F| Job::World(Box::new(move |world| reply.answer_with(|| f(world))));
        self.remote().push(f, job).map_err(RuntimeGone)?;
        Ok(join)
    }

    /// Asks for another turn. With the default pacing that is another tick.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Handle, Runtime, Tick, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     let handle = Handle::current();
    ///     std::thread::spawn(move || handle.wake());
    ///     let mut asked = 0;
    ///     let second_time = move |_: &mut World| {
    ///         asked += 1;
    ///         (asked == 2).then_some(())
    ///     };
    ///     // Nothing but the wake starts the tick in which this is asked again.
    ///     WorldCtx::current().until(Tick, second_time).await;
    /// });
    /// assert_eq!(rt.stats().ticks, 2);
    /// ```
    pub fn wake(&self) {
        self.remote().wake();
    }

    /// Asks the runtime to stop, as [`ShutdownHandle::shutdown`] does.
    pub fn shutdown(&self) {
        self.shutdown.shutdown();
    }

    /// Whether the runtime has gone.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::new(&mut world);
    /// let handle = rt.handle();
    /// assert!(!handle.is_closed());
    /// drop(rt);
    /// assert!(handle.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.remote().is_closed()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The runtime has gone: the closure that it did not take.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, RuntimeGone};
///
/// let mut world = World::new();
/// let handle = Runtime::new(&mut world).handle();
/// let RuntimeGone(make) = handle.spawn_with(|| async { 7 }).unwrap_err();
/// assert_eq!(futures::executor::block_on(make()), 7, "the closure is given back");
/// ```
pub struct RuntimeGone<F>(pub F);

impl<F> fmt::Debug for RuntimeGone<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeGone")
    }
}

impl<F> fmt::Display for RuntimeGone<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime has gone; the closure is in this error")
    }
}

impl<F> std::error::Error for RuntimeGone<F> {}

/// While it lives, virtual time stands still whenever nothing can run: something outside the program, which
/// the runtime does not see, may still wake it.
///
/// Sockets and a [`Handle`] do this by themselves; it is for wakers that other threads have.
///
/// ```
/// use bevy_ecs::world::World;
/// use futures::channel::oneshot;
/// use onbeat::{ClockMode, ExternalWork, Runtime};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
/// let answer = rt.block_on(async {
///     let (send, receive) = oneshot::channel();
///     let work = ExternalWork::current();
///     std::thread::spawn(move || {
///         send.send(7).unwrap();
///         drop(work);
///     });
///     receive.await.unwrap()
/// });
/// assert_eq!(answer, 7);
/// ```
pub struct ExternalWork {
    remote: Arc<Remote>,
}

impl ExternalWork {
    fn new(remote: Arc<Remote>) -> Self {
        remote.hold();
        Self { remote }
    }

    /// Work outside of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    #[track_caller]
    pub fn current() -> Self {
        context::current("ExternalWork::current()", |core| Self::new(core.remote.clone()))
    }

    /// Work outside of the runtime that this thread is in, if it is in one.
    ///
    /// ```
    /// assert!(onbeat::ExternalWork::try_current().is_none());
    /// ```
    #[must_use]
    pub fn try_current() -> Option<Self> {
        context::try_current(|core| Self::new(core.remote.clone()))
    }
}

impl Drop for ExternalWork {
    fn drop(&mut self) {
        self.remote.let_go();
    }
}

impl fmt::Debug for ExternalWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalWork")
    }
}
