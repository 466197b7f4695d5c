//! Work that would hold the loop, on a thread that may wait.
#![forbid(unsafe_code)]

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::handle::ExternalWork;

/// Runs `f` on a thread of a pool, for what blocks: to resolve a name, to read or write a file, to compute
/// for long.
///
/// The pool is that of the crate [`blocking`](https://docs.rs/blocking): the process shares it, it starts
/// threads as they are needed, up to 500 (`BLOCKING_MAX_THREADS`), and ends those that have had nothing to do
/// for half a second. `f` waits while all are taken.
///
/// May be called from any thread. Until the answer has been taken it holds virtual time still, as an
/// [`ExternalWork`] does.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, blocking};
/// use std::net::ToSocketAddrs;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let addrs = blocking(|| ("localhost", 26_400).to_socket_addrs()).await?;
///     assert!(addrs.count() > 0);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn blocking<F, T>(f: F) -> Blocking<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Blocking { task: blocking::unblock(f), work: ExternalWork::try_current() }
}

/// What [`blocking`](fn@blocking) gives: await it for what the closure returns.
///
/// # Panics
///
/// Awaited, with the panic of the closure; and when it is polled after it has given its output.
///
/// # Cancellation
///
/// Dropping it drops a closure that has not begun. One that has begun runs to its end, and what it returns is
/// dropped on its thread. [`detach`](Self::detach) lets it begin as well.
#[must_use = "dropping it drops a closure that has not begun"]
pub struct Blocking<T> {
    task: blocking::Task<T>,
    work: Option<ExternalWork>,
}

impl<T> Blocking<T> {
    /// Lets the closure run to its end. What it returns is dropped on its thread.
    ///
    /// ```
    /// let (send, receive) = std::sync::mpsc::channel();
    /// onbeat::blocking(move || send.send(7)).detach();
    /// assert_eq!(receive.recv(), Ok(7));
    /// ```
    pub fn detach(self) {
        self.task.detach();
    }

    /// Whether the closure has ended.
    ///
    /// ```
    /// let (go, wait) = std::sync::mpsc::channel::<()>();
    /// let waits = onbeat::blocking(move || wait.recv());
    /// assert!(!waits.is_finished());
    /// # drop(go);
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for Blocking<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.work.is_none() {
            self.work = ExternalWork::try_current();
        }
        let output = ready!(Pin::new(&mut self.task).poll(cx));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}
