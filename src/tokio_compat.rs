//! Futures that need tokio: an HTTP client, a database driver, a vendor's SDK.
//!
//! - [`with_tokio`] polls a future on onbeat's thread, where it reaches the World, with tokio's timers and
//!   sockets at hand;
//! - [`spawn_on_tokio`] runs a future on tokio's own threads, and gives what it returns to a task here.
//!
//! tokio's driver runs on threads of its own. It is the runtime that the calling thread is in
//! (`Handle::try_current`), and otherwise one that the process shares, with one worker, which is started
//! when it is first needed and lives as long as the process. What it wakes comes as wakes of other threads
//! do: tens of microseconds later than by onbeat's own sockets, and so for what may be late.
//!
//! A future that is under way on tokio is work outside of the program: it holds virtual time still, as an
//! [`ExternalWork`] does.
#![forbid(unsafe_code)]

use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::{runtime, task};

use crate::handle::ExternalWork;

/// tokio's runtime of this thread, or that of the process.
fn driver() -> runtime::Handle {
    static SHARED: OnceLock<runtime::Runtime> = OnceLock::new();
    let start = || {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("onbeat-tokio").enable_all();
        builder.build().expect("tokio starts: a thread and a few descriptors are to be had")
    };
    runtime::Handle::try_current().unwrap_or_else(|_| SHARED.get_or_init(start).handle().clone())
}

/// Polls on onbeat's thread a future that needs tokio's timers or sockets.
///
/// `make` is called at once, inside tokio's runtime: what it makes may be tokio's. Each poll, and the drop,
/// is inside it as well, so that `tokio::spawn` works there.
///
/// # Panics
///
/// When the process's tokio runtime cannot be started.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, WorldCtx, tokio_compat::with_tokio};
/// use std::time::Duration;
///
/// #[derive(Resource, Default)]
/// struct Quotes(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Quotes>();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(with_tokio(|| async {
///     tokio::time::sleep(Duration::from_millis(1)).await;
///     WorldCtx::current().res_mut(|mut quotes: Mut<Quotes>| quotes.0 = 7)
/// }))?;
/// assert_eq!(rt.world().resource::<Quotes>().0, 7);
/// # Ok::<(), onbeat::AccessError>(())
/// ```
pub fn with_tokio<F, Fut>(make: F) -> TokioCompat<Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let driver = driver();
    let inside = driver.enter();
    let future = make();
    drop(inside);
    TokioCompat { future: Some(future), driver, work: None }
}

pin_project! {
    /// What [`with_tokio`] gives: the future, polled inside tokio's runtime.
    ///
    /// # Panics
    ///
    /// When it is polled after it has given its output.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the future, inside tokio's runtime.
    #[must_use = "a future does nothing until it is awaited"]
    pub struct TokioCompat<F> {
        #[pin]
        future: Option<F>,
        driver: runtime::Handle,
        // From the first poll to the output.
        work: Option<ExternalWork>,
    }

    impl<F> PinnedDrop for TokioCompat<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _inside = this.driver.enter();
                this.future.set(None);
            }
        }
    }
}

impl<F: Future> Future for TokioCompat<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if this.work.is_none() {
            *this.work = ExternalWork::try_current();
        }
        let _inside = this.driver.enter();
        let future = this.future.as_mut().as_pin_mut();
        let output = ready!(future.expect("`TokioCompat` is polled after its end").poll(cx));
        this.future.set(None);
        *this.work = None;
        Poll::Ready(output)
    }
}

impl<F> fmt::Debug for TokioCompat<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioCompat")
            .field("has_ended", &self.future.is_none())
            .finish_non_exhaustive()
    }
}

/// Runs a future on tokio's threads. It starts at once, also if the handle is not awaited, and cannot reach
/// the World.
///
/// May be called from any thread.
///
/// # Panics
///
/// When the process's tokio runtime cannot be started.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, tokio_compat::spawn_on_tokio};
///
/// let mut world = World::new();
/// let sum = Runtime::new(&mut world).block_on(async {
///     // What would hold the loop goes to a thread that may wait.
///     spawn_on_tokio(async { tokio::task::spawn_blocking(|| 3 + 4).await.unwrap() }).await
/// });
/// assert_eq!(sum?, 7);
/// # Ok::<(), onbeat::tokio_compat::TokioJoinError>(())
/// ```
pub fn spawn_on_tokio<F>(future: F) -> TokioJoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    TokioJoinHandle {
        task: driver().spawn(future),
        work: ExternalWork::try_current(),
        aborts: true,
    }
}

/// A future that runs on tokio's threads: await it for what it returns.
///
/// Dropping it aborts the future, as what nobody waits for should not hold a connection;
/// [`detach`](Self::detach) lets it go on. In that it differs from a [`JoinHandle`](crate::JoinHandle).
///
/// # Errors
///
/// Awaited, [`TokioJoinError`] when the future panicked or was aborted.
///
/// # Panics
///
/// When it is polled after it has given its output.
#[must_use = "dropping it aborts the future"]
pub struct TokioJoinHandle<T> {
    task: task::JoinHandle<T>,
    work: Option<ExternalWork>,
    aborts: bool,
}

impl<T> TokioJoinHandle<T> {
    /// Whether the future has ended.
    ///
    /// ```
    /// use onbeat::tokio_compat::spawn_on_tokio;
    ///
    /// let waits = spawn_on_tokio(std::future::pending::<()>());
    /// assert!(!waits.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks tokio to drop the future. Awaiting this then gives an error, unless the future ended first.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, tokio_compat::spawn_on_tokio};
    ///
    /// let waits = spawn_on_tokio(std::future::pending::<()>());
    /// waits.abort();
    /// let mut world = World::new();
    /// let error = Runtime::new(&mut world).block_on(waits).unwrap_err();
    /// assert!(error.is_cancelled());
    /// ```
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Lets the future run to its end on tokio's threads. What it returns is dropped there.
    ///
    /// ```
    /// use onbeat::tokio_compat::spawn_on_tokio;
    ///
    /// let (send, receive) = std::sync::mpsc::channel();
    /// spawn_on_tokio(async move { send.send(7) }).detach();
    /// assert_eq!(receive.recv(), Ok(7));
    /// ```
    pub fn detach(mut self) {
        self.aborts = false;
    }
}

impl<T> Drop for TokioJoinHandle<T> {
    fn drop(&mut self) {
        if self.aborts {
            self.task.abort();
        }
    }
}

impl<T> Future for TokioJoinHandle<T> {
    type Output = Result<T, TokioJoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.work.is_none() {
            self.work = ExternalWork::try_current();
        }
        let result = ready!(Pin::new(&mut self.task).poll(cx));
        self.work = None;
        Poll::Ready(result.map_err(TokioJoinError))
    }
}

impl<T> fmt::Debug for TokioJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioJoinHandle")
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// A future on tokio's threads gave nothing: it panicked, or was aborted.
pub struct TokioJoinError(task::JoinError);

impl TokioJoinError {
    /// Whether it was aborted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Whether it panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    /// The payload of its panic, for [`resume_unwind`](std::panic::resume_unwind).
    ///
    /// # Errors
    ///
    /// This error, when it did not panic.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, tokio_compat::spawn_on_tokio};
    ///
    /// let mut world = World::new();
    /// let task = spawn_on_tokio(async { panic!("no route") });
    /// let error: onbeat::tokio_compat::TokioJoinError =
    ///     Runtime::new(&mut world).block_on(task).unwrap_err();
    /// assert!(error.is_panic());
    /// assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&"no route"));
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        self.0.try_into_panic().map_err(Self)
    }
}

impl fmt::Debug for TokioJoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokioJoinError").field(&self.0).finish()
    }
}

impl fmt::Display for TokioJoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a future on tokio's threads gave nothing: {}", self.0)
    }
}

impl std::error::Error for TokioJoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
