//! The answer to what another thread asked for: [`RemoteJoin`].

use std::{
    any::Any,
    fmt,
    mem::needs_drop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread, ThreadId},
};

use pin_project_lite::pin_project;

use crate::{
    context,
    executor::{CancelReason, details::Wait},
    task::JoinError,
};

enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, JoinError>),
    Taken,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Where the answer is made.
    answers_on: ThreadId,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the user's runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtime's end: answers once. Dropped without an answer, it says that the runtime has gone.
pub(super) struct Reply<T>(Option<Arc<Shared<T>>>);

impl<T> Reply<T> {
    /// The two ends. The answer is made on the thread `answers_on`.
    pub(super) fn new(answers_on: ThreadId) -> (Self, RemoteJoin<T>) {
        let shared = Arc::new(Shared { state: Mutex::new(State::Waiting(None)), answers_on });
        (Self(Some(shared.clone())), RemoteJoin { shared })
    }

    /// Returns what holds the answer, also when nobody waits for it any more.
    fn answer(&mut self, result: Result<T, JoinError>) -> Option<Arc<Shared<T>>> {
        let shared = self.0.take()?;
        let before = std::mem::replace(&mut *shared.lock(), State::Done(result));
        if let State::Waiting(Some(waker)) = before
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake()))
        {
            // The panic of a waker is nobody's here, and its payload may panic when it is dropped.
            std::mem::forget(payload);
        }
        Some(shared)
    }

    /// Calls `f`. If it panics, the answer has the message, and the panic goes on.
    pub(super) fn or_answer<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result,
            Err(payload) => {
                drop(self.answer(Err(JoinError::Panicked(Box::new(message(&*payload))))));
                resume_unwind(payload);
            }
        }
    }
}

impl<T: 'static> Reply<T> {
    /// Answers what `f` gives, or its panic.
    pub(super) fn answer_with(&mut self, f: impl FnOnce() -> T) {
        let value = self.or_answer(f);
        self.give(value);
    }

    /// Answers `value`. If nobody waits for it the reaper drops it, where the World may be used, and where
    /// the panic of a destructor is nobody's.
    fn give(&mut self, value: T) {
        let answered = self.answer(Ok(value));
        if needs_drop::<T>()
            && let Some(answered) = answered
        {
            context::try_current(|core| core.executor.leave(Box::new(answered)));
        }
    }
}

/// What a panic says, for one who does not get its payload.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        drop(self.answer(Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
    }
}

pin_project! {
    /// A future whose end is answered to another thread.
    pub(super) struct Replying<F: Future> {
        #[pin]
        future: F,
        reply: Reply<F::Output>,
    }
}

impl<F: Future> Replying<F> {
    pub(super) fn new(future: F, reply: Reply<F::Output>) -> Self {
        Self { future, reply }
    }
}

impl<F: Future> Future for Replying<F>
where
    F::Output: 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.reply.or_answer(|| this.future.poll(cx)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(output) => {
                this.reply.give(output);
                Poll::Ready(())
            }
        }
    }
}

/// Waits for what a [`Handle`](super::Handle) asked of a runtime. Any thread may hold it, and any executor
/// may poll it.
///
/// Awaiting it gives the result, or a [`JoinError`]: `Panicked` with the message of the panic, or
/// `Cancelled` when the runtime went before it came to that.
///
/// # Cancellation
///
/// Dropping it changes nothing for what was asked; a result that comes later is dropped on the runtime's thread,
/// where the World may be used.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{RemoteJoin, Runtime};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let entities: RemoteJoin<usize> =
///     rt.handle().run_with_world(|world| world.entities().len() as usize).unwrap();
/// assert!(!entities.is_finished());
/// rt.tick().unwrap();
/// assert!(entities.is_finished());
/// assert!(entities.wait().is_ok());
/// ```
#[must_use = "what was asked for happens anyway; `drop` says that nobody waits for it"]
pub struct RemoteJoin<T> {
    shared: Arc<Shared<T>>,
}

impl<T> RemoteJoin<T> {
    /// Whether the result is there, or has been taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(*self.shared.lock(), State::Waiting(_))
    }

    /// Blocks this thread until the result is there. Await it on the runtime's own thread, where this would
    /// be for ever.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    ///
    /// # Panics
    ///
    /// When it has been awaited to its end before. Where the result is not there yet, also on the thread of
    /// the runtime that is to give it, and inside any running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, ShutdownSignal};
    ///
    /// #[derive(Resource)]
    /// struct Limit(u32);
    ///
    /// let mut world = World::new();
    /// world.insert_resource(Limit(3));
    /// let mut rt = Runtime::new(&mut world);
    /// let handle = rt.handle();
    /// let thread = std::thread::spawn(move || {
    ///     let limit = handle.run_with_world(|world| world.resource::<Limit>().0).unwrap();
    ///     assert_eq!(limit.wait().unwrap(), 3);
    ///     handle.shutdown();
    /// });
    /// rt.block_on(async { ShutdownSignal::current().await });
    /// thread.join().unwrap();
    /// ```
    #[track_caller]
    pub fn wait(mut self) -> Result<T, JoinError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => self.park(),
            }
        }
    }
}

impl<T> RemoteJoin<T> {
    /// Sleeps until somebody wakes this thread, unless nobody could.
    #[track_caller]
    fn park(&self) {
        assert!(
            self.shared.answers_on != thread::current().id(),
            "RemoteJoin::wait() would wait for ever on the thread of the runtime that is to give the \
             result: await it in a task, or run the runtime first"
        );
        assert!(
            context::try_current(|_| ()).is_none(),
            "RemoteJoin::wait() would stop the onbeat runtime that runs on this thread: await it there"
        );
        thread::park();
    }
}

impl<T> Future for RemoteJoin<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When it is polled again after it gave the result.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A waker's `clone` and `drop` may be anybody's, and run outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.shared.lock();
        let before = match &mut *state {
            State::Waiting(stored) => stored.replace(waker),
            State::Done(_) | State::Taken => {
                let before = std::mem::replace(&mut *state, State::Taken);
                drop(state);
                return match before {
                    State::Done(result) => Poll::Ready(result),
                    State::Waiting(_) | State::Taken => {
                        panic!("a RemoteJoin is not polled again after it gave its result")
                    }
                };
            }
        };
        drop(state);
        drop(before);
        let what = Wait::Other("an answer of a runtime");
        context::try_current(|core| core.executor.note_wait(what));
        Poll::Pending
    }
}

impl<T> Drop for RemoteJoin<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let waker = match &mut *state {
            State::Waiting(stored) => stored.take(),
            State::Done(_) | State::Taken => None,
        };
        drop(state);
        drop(waker);
    }
}

impl<T> fmt::Debug for RemoteJoin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJoin").field("is_finished", &self.is_finished()).finish()
    }
}
