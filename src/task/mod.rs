//! What a user holds of a task: [`spawn_boxed`] and its kin, the [`JoinHandle`], and [`yield_now`].
#![forbid(unsafe_code)]

mod info;
mod key;
mod slab;

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    num::NonZeroU64,
    panic::{Location, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    context::{self, Core},
    executor::{
        Joined, NotSpawned,
        details::Wait,
        key::{SlotIndex, TaskIdentity},
    },
};

pub use crate::executor::CancelReason;
pub use info::{Named, TaskInfo, WaitsFor, named};
pub use key::TaskKey;
pub(crate) use slab::spawn_at;
pub use slab::{
    SlabClaim, claim_slab, claim_slab_of, spawn, spawn_slab, try_claim_slab, try_claim_slab_of,
};

/// No runtime has this serial.
const NO_RUNTIME: u64 = 0;

/// Starts a task in memory of its own. It is polled in a later round of this turn.
///
/// The task goes on when its handle is dropped, and ends with the runtime at the latest. In a destructor
/// that runs because the runtime is dropped, `future` is dropped at once, and the handle says that the
/// runtime has gone.
///
/// # Panics
///
/// Outside a runtime, and when the runtime has 16,777,215 tasks already.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, spawn_boxed};
///
/// let mut world = World::new();
/// let sum = Runtime::new(&mut world).block_on(async {
///     let seven = spawn_boxed(async { 3 + 4 });
///     seven.await + 1
/// });
/// assert_eq!(sum, 8);
/// ```
#[track_caller]
pub fn spawn_boxed<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let spawned_at = Location::caller();
    context::current("spawn_boxed()", |core| {
        JoinHandle::of(core, core.executor.spawn(future, spawned_at), "spawn_boxed()")
    })
}

/// Lets everything else that is ready run, and resumes in the next turn.
///
/// # Cancellation
///
/// Dropping it does nothing.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, spawn, yield_now};
/// use std::{cell::Cell, rc::Rc};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let seen = Rc::new(Cell::new(false));
///     let other = seen.clone();
///     drop(spawn(async move { other.set(true) }));
///     assert!(!seen.get());
///     yield_now().await;
///     assert!(seen.get());
/// });
/// ```
#[inline]
pub fn yield_now() -> YieldNow {
    YieldNow { since: NOT_POLLED }
}

/// In [`YieldNow`]: no turn has this number, nor the next.
const NOT_POLLED: u64 = u64::MAX;
const OUTSIDE: u64 = u64::MAX - 1;

/// The future of [`yield_now`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, YieldNow, yield_now};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let later: YieldNow = yield_now();
/// rt.block_on(later);
/// assert_eq!(rt.stats().ticks, 2);
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    /// The turn of the first poll.
    since: u64,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Another executor has no turns: there the second poll is the next.
        let turn = context::try_current(|core| core.turn.get()).unwrap_or(OUTSIDE);
        if self.since != NOT_POLLED && (self.since != turn || turn == OUTSIDE) {
            return Poll::Ready(());
        }
        self.since = turn;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A task's handle: await it for the task's output, or end the task.
///
/// It belongs to the thread of its runtime, which it may outlive. Dropping it lets the task go on.
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn handle_is_not_send(handle: onbeat::JoinHandle<()>) {
///     send(handle);
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn sync<T: Sync>(_: &T) {}
/// fn handle_is_not_sync(handle: onbeat::JoinHandle<()>) {
///     sync(&handle);
/// }
/// ```
///
/// Aborting consumes it, so an aborted task is awaited by nobody:
///
/// ```compile_fail,E0382
/// async fn abort_then_await(handle: onbeat::JoinHandle<()>) {
///     handle.abort();
///     handle.await;
/// }
/// ```
#[must_use = "a task goes on when its handle is dropped; `drop(handle)` says that this is meant"]
pub struct JoinHandle<T> {
    runtime: u64,
    task: TaskIdentity,
    /// The output has been given out.
    joined: bool,
    /// What is said of the task when its runtime is not found.
    otherwise: CancelReason,
    /// Neither `Send` nor `Sync`, and no owner of a `T`.
    _output: PhantomData<*const T>,
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// The handle of what `what` spawned.
    #[inline]
    #[track_caller]
    pub(crate) fn of(core: &Core, spawned: Result<TaskIdentity, NotSpawned>, what: &str) -> Self {
        match spawned {
            Ok(task) => {
                core.spawned(task);
                let otherwise = CancelReason::RuntimeGone;
                Self {
                    runtime: core.serial(),
                    task,
                    joined: false,
                    otherwise,
                    _output: PhantomData,
                }
            }
            Err(NotSpawned::Closing) => Self::of_none(CancelReason::RuntimeGone),
            Err(refused) => slab::refuse(refused, what),
        }
    }

    /// The handle of a task that never began, because what it belongs to has gone.
    pub(crate) fn of_none(otherwise: CancelReason) -> Self {
        let task = TaskIdentity { slot: SlotIndex::RUNTIME, serial: NonZeroU64::MAX };
        Self { runtime: NO_RUNTIME, task, joined: false, otherwise, _output: PhantomData }
    }

    /// The task's name, which stays good when the task has ended.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn_boxed};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let [one, other] = [spawn_boxed(async {}), spawn_boxed(async {})];
    ///     assert_ne!(one.id(), other.id());
    /// });
    /// ```
    #[must_use]
    pub fn id(&self) -> TaskKey {
        TaskKey::new(self.runtime, self.task)
    }
}

impl<T: 'static> JoinHandle<T> {
    /// Ends the task: it is never polled again, and its future is dropped in this turn, after the
    /// current poll, where the World may be used; who was aborted first is dropped first.
    ///
    /// A task that has already ended is left as it is, and its output is dropped. Who aborts a task and waits
    /// for its end keeps the handle, and aborts by [`id`](Self::id) through [`Tasks`](crate::Tasks):
    /// [`join`](Self::join) then gives [`CancelReason::Aborted`].
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn_boxed, yield_now};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     let parked = spawn_boxed(std::future::pending::<()>());
    ///     yield_now().await;
    ///     assert!(!parked.is_finished());
    ///     parked.abort();
    /// });
    /// assert_eq!(rt.task_count(), 0);
    /// ```
    pub fn abort(self) {
        if !self.joined {
            let abort = |core: &Core| core.executor.abort(self.task, CancelReason::Aborted);
            context::find(self.runtime, abort);
        }
    }

    /// Whether the task has ended and its future has been dropped. True when the runtime has gone.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn, yield_now};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let task = spawn(async { 7 });
    ///     assert!(!task.is_finished());
    ///     yield_now().await;
    ///     assert!(task.is_finished());
    ///     assert_eq!(task.await, 7);
    /// });
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.joined
            || context::find(self.runtime, |core| core.executor.is_finished(self.task))
                .unwrap_or(true)
    }

    /// Waits for the end of the task, whichever way it ends. Then its future has been dropped, also that of a
    /// task which was aborted: what it held is free.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with the payload if the task panicked, [`JoinError::Cancelled`] if it was
    /// ended before it completed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future lets the task go on, detached.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{JoinError, Runtime, spawn_boxed};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let failing = spawn_boxed(async { panic!("out of cheese") });
    ///     assert!(matches!(failing.join().await, Err(JoinError::Panicked(_))));
    /// });
    /// ```
    pub fn join(self) -> Join<T> {
        Join { handle: self }
    }

    /// The output, if it is there, under the runtime that this thread is in. `None` says nothing.
    #[inline]
    fn join_quickly(&mut self) -> Option<T> {
        let of_current = |core: &Core| {
            if core.serial() == self.runtime { core.executor.join_quickly(self.task) } else { None }
        };
        let output = context::try_current(of_current)??;
        self.joined = true;
        Some(output)
    }

    /// As [`poll_join`](Self::poll_join), for who awaits the output.
    #[inline(never)]
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match self.poll_join(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(output)) => Poll::Ready(output),
            Poll::Ready(Err(JoinError::Panicked(payload))) => resume_unwind(payload),
            Poll::Ready(Err(JoinError::Cancelled(reason))) => panic!(
                "awaited a task that was cancelled ({reason}); `JoinHandle::join` gives this as an error"
            ),
        }
    }

    /// # Panics
    ///
    /// After it has been ready.
    fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        assert!(!self.joined, "a JoinHandle is not polled again after it gave its output");
        let mut found = context::find(self.runtime, |core| core.executor.join(self.task));
        if matches!(found, Some(Joined::Running)) && self.wait(self.task, cx) {
            // The clone of somebody else's waker may have run anything, the end of the task too.
            found = context::find(self.runtime, |core| core.executor.join(self.task));
        }
        let result = match found {
            Some(Joined::Running) => {
                context::try_current(|core| {
                    core.executor.note_wait(Wait::Task(self.runtime, self.task));
                });
                return Poll::Pending;
            }
            Some(Joined::Output(output)) => Ok(output),
            Some(Joined::Panicked(payload)) => Err(JoinError::Panicked(payload)),
            Some(Joined::Cancelled(reason)) => Err(JoinError::Cancelled(reason)),
            Some(Joined::Gone) => Err(JoinError::Cancelled(CancelReason::Aborted)),
            None => Err(JoinError::Cancelled(self.otherwise)),
        };
        self.joined = true;
        Poll::Ready(result)
    }

    /// Stores who is woken at the end. Clones and drops outside the executor. True: it was not stored yet.
    fn wait(&self, task: TaskIdentity, cx: &mut Context<'_>) -> bool {
        let stored =
            context::find(self.runtime, |core| core.executor.joiner_will_wake(task, cx.waker()));
        if stored == Some(true) {
            return false;
        }
        let waker = cx.waker().clone();
        let old = context::find(self.runtime, |core| core.executor.set_joiner(task, waker));
        drop(old);
        true
    }
}

impl<T: 'static> Future for JoinHandle<T> {
    type Output = T;

    /// Gives the task's output.
    ///
    /// # Panics
    ///
    /// With the task's own panic if it panicked, by name if it was cancelled or the runtime has gone,
    /// and when it is polled again after it gave the output.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.join_quickly() {
            Some(output) => Poll::Ready(output),
            None => self.poll_output(cx),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if !self.joined {
            let joiner = context::find(self.runtime, |core| core.executor.detach(self.task));
            drop(joiner);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The future of [`JoinHandle::join`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Join, Runtime, spawn};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let end: Join<u32> = spawn(async { 7 }).join();
///     assert_eq!(end.await.unwrap(), 7);
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Join<T> {
    handle: JoinHandle<T>,
}

impl<T: 'static> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.poll_join(cx)
    }
}

/// Why a task gave no output.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{JoinError, Runtime, spawn};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let failing = spawn(async { panic!("out of cheese") });
///     let error: JoinError = failing.join().await.unwrap_err();
///     assert_eq!(error.panic_message(), Some("out of cheese"));
///     assert_eq!(error.to_string(), "the task panicked: out of cheese");
/// });
/// ```
pub enum JoinError {
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// It was ended before it completed.
    Cancelled(CancelReason),
}

impl JoinError {
    /// The message of the panic, if the task panicked with one.
    #[must_use]
    pub fn panic_message(&self) -> Option<&str> {
        let Self::Panicked(payload) = self else {
            return None;
        };
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(_) => f.debug_tuple("Panicked").field(&self.panic_message()).finish(),
            Self::Cancelled(reason) => f.debug_tuple("Cancelled").field(reason).finish(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(_) => match self.panic_message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
            Self::Cancelled(reason) => write!(f, "the task was cancelled: {reason}"),
        }
    }
}

impl std::error::Error for JoinError {}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        panic::{AssertUnwindSafe, catch_unwind},
        rc::Rc,
    };

    use bevy_ecs::world::World;

    use super::*;
    use crate::{Runtime, executor::key::SLOTS_MAX, yield_now};

    /// The message of the panic that `f` ends with.
    fn refused<R>(f: impl FnOnce() -> R) -> String {
        let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it is refused");
        payload.downcast_ref::<&str>().expect("a message").to_string()
    }

    #[test]
    fn a_runtime_that_has_as_many_tasks_as_it_may_refuses_more_by_name() {
        const REFUSED: &str = "a runtime holds at most 16,777,215 tasks, and has them all";
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).slab_bounded::<64>(4).build();
        let held = Rc::new(());
        let mut tasks = rt.block_on(async {
            // The runtime itself has one slot, and the root future another.
            let tasks: Vec<_> = (2..SLOTS_MAX).map(|_| spawn_boxed(pending::<()>())).collect();
            for spawn in [spawn_boxed, spawn, spawn_slab] {
                let kept = held.clone();
                let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { drop(kept) });
                assert_eq!(refused(|| spawn(future)), REFUSED);
            }
            assert_eq!(Rc::strong_count(&held), 1, "what is refused is dropped");
            assert_eq!(refused(claim_slab), REFUSED);
            assert!(try_claim_slab().is_none());
            yield_now().await;
            tasks
        });
        drop(rt.handle().spawn_with(pending::<()>).unwrap());
        rt.tick().unwrap();
        assert_eq!(rt.task_count(), SLOTS_MAX as usize - 1, "the place of the root future too");
        assert_eq!(refused(|| rt.block_on(async {})), REFUSED);
        tasks.pop().expect("there are some").abort();
        rt.tick().unwrap();
        assert_eq!(rt.block_on(async { 7 }), 7, "it goes on when one has ended");
        tasks.clear();
        drop(rt);
    }

    #[test]
    fn the_first_reason_for_which_a_task_was_ended_reaches_its_handle() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let end = |task: &JoinHandle<()>, reason| {
                context::current("end", |core| core.executor.abort(task.task, reason));
            };
            let [prompt, later] = [0; 2].map(|_| spawn_boxed(pending::<()>()));
            end(&prompt, CancelReason::RuntimeGone);
            end(&prompt, CancelReason::Aborted);
            end(&later, CancelReason::Aborted);
            let cancelled = prompt.join().await;
            assert!(matches!(cancelled, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
            yield_now().await;
            end(&later, CancelReason::RuntimeGone);
            let cancelled = later.join().await;
            assert!(matches!(cancelled, Err(JoinError::Cancelled(CancelReason::Aborted))));
        });
    }

    #[test]
    fn a_slot_that_is_used_again_forgets_why_its_last_task_was_ended() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            for reason in [CancelReason::RuntimeGone, CancelReason::Aborted] {
                let task = spawn_boxed(pending::<()>());
                let key = task.id();
                context::current("end", |core| core.executor.abort(task.task, reason));
                let Err(JoinError::Cancelled(found)) = task.join().await else {
                    panic!("it was ended");
                };
                assert_eq!(found, reason);
                assert_ne!(key, spawn_boxed(async {}).id());
                yield_now().await;
            }
        });
    }
}
