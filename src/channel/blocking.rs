//! Waiting on a plain thread, for what is a future elsewhere.
#![forbid(unsafe_code)]

use std::{
    error, fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use crate::{
    clock::{duration_ns, monotonic_ns},
    context,
};

/// Why a value was not sent in time; it is given back.
///
/// ```
/// use onbeat::channel::{SendTimeoutError, mpsc};
/// use std::time::Duration;
///
/// let (sender, receiver) = mpsc::channel(1);
/// sender.try_send('a').unwrap();
/// let error = sender.blocking_send_timeout('b', Duration::ZERO).unwrap_err();
/// assert_eq!(error, SendTimeoutError::Timeout('b'));
/// assert_eq!(error.into_inner(), 'b');
/// drop(receiver);
/// let error = sender.blocking_send_timeout('b', Duration::ZERO);
/// assert_eq!(error, Err(SendTimeoutError::Closed('b')));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room in that time.
    Timeout(T),
    /// Nobody will receive it.
    Closed(T),
}

impl<T> SendTimeoutError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout(_) => "Timeout(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout(_) => "the channel stayed full; try later, or wait longer",
            Self::Closed(_) => "sending on a closed channel; the error has the value",
        })
    }
}

impl<T> error::Error for SendTimeoutError<T> {}

/// Why nothing was received in time.
///
/// ```
/// use onbeat::channel::{RecvTimeoutError, mpsc};
/// use std::time::Duration;
///
/// let (sender, mut receiver) = mpsc::channel::<u8>(1);
/// let error = receiver.blocking_recv_timeout(Duration::ZERO);
/// assert_eq!(error, Err(RecvTimeoutError::Timeout));
/// drop(sender);
/// let error = receiver.blocking_recv_timeout(Duration::ZERO);
/// assert_eq!(error, Err(RecvTimeoutError::Disconnected));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvTimeoutError {
    /// Nothing came in that time.
    Timeout,
    /// Nothing is there, and nothing will come.
    Disconnected,
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the channel stayed empty; try later, or wait longer",
            Self::Disconnected => "the channel is empty and closed; nothing will come",
        })
    }
}

impl error::Error for RecvTimeoutError {}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static THIS_THREAD: Waker = unpark_this_thread();
}

fn unpark_this_thread() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Polls `future` until it is ready, and sleeps in between.
///
/// # Panics
///
/// Inside a running runtime, whose loop would stand still.
#[track_caller]
pub(crate) fn wait<F: Future + Unpin>(future: &mut F) -> F::Output {
    wait_until(future, None).expect("without a limit it ends with the future")
}

/// As [`wait`], for `limit` at most; `None` after it. The future is polled once more at its end.
#[track_caller]
pub(crate) fn wait_for<F: Future + Unpin>(future: &mut F, limit: Duration) -> Option<F::Output> {
    wait_until(future, Some(monotonic_ns().saturating_add(duration_ns(limit))))
}

#[track_caller]
fn wait_until<F: Future + Unpin>(future: &mut F, deadline_ns: Option<u64>) -> Option<F::Output> {
    assert!(
        context::try_current(|_| ()).is_none(),
        "a call that blocks its thread would stop the onbeat runtime that runs on it: \
         await `send` or `recv` there"
    );
    // A thread that is ending has no thread-local values.
    let waker = THIS_THREAD.try_with(Waker::clone).unwrap_or_else(|_| unpark_this_thread());
    let mut cx = Context::from_waker(&waker);
    loop {
        let is_last =
            deadline_ns.map(|deadline| deadline.saturating_sub(monotonic_ns())) == Some(0);
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut cx) {
            return Some(output);
        }
        match deadline_ns {
            _ if is_last => return None,
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_sub(monotonic_ns());
                thread::park_timeout(Duration::from_nanos(left));
            }
        }
    }
}
