//! Channels between tasks, and between threads.
//!
//! - [`local`]: bounded, any number of senders, one thread, no atomics;
//! - [`mpsc`]: bounded, any number of senders, across threads;
//! - [`spsc`]: bounded, one sender, across threads;
//! - [`spsc_bytes`]: messages of bytes from one sender, on any thread;
//! - [`mpsc_bytes`]: messages of bytes from any number of senders, on any threads.
//!
//! All have the same surface: `send`, `recv` and `recv_many` are awaited, `try_send`, `try_recv` and
//! `try_recv_many` are not, `poll_recv` is for futures written by hand, either end closes. What crosses threads
//! can also be waited for on a plain thread, by `blocking_send` and `blocking_recv`, and for a limited time by
//! `blocking_send_timeout` and `blocking_recv_timeout`. Receivers of values are `Stream`s. Byte channels also
//! claim: `claim`, `try_claim`, `blocking_claim`, `blocking_claim_timeout`.
//!
//! A task that finds its channels always ready cannot hold the turn: after 128 sends and receives in one
//! poll, the next one lets everybody else go first.
//!
//! Wakers of another executor may panic. Whoever receives, or gives up a send, is not told: a value that was
//! received is given. Whoever sends or closes is told when that is done, and all who wait are woken.
//!
//! A plain thread that waits does not sleep at once: it takes tens of microseconds to be woken, and waking
//! costs the other end a system call. It looks some thirty times with a hint to the processor in between,
//! 128 hints in all, which take a few microseconds; then 64 times with a `thread::yield_now` in between,
//! which leaves the core to any other thread that wants it; then it sleeps. A limit ends that too. So a wait
//! costs its core tens of microseconds at most, and two threads that answer each other need not sleep.
//!
//! The errors of channels of values are shared, and give back the value that was not sent.
//!
//! # Which channel for what
//!
//! Between tasks of one runtime, `local`. Between threads, `spsc` where there is one sender and `mpsc` where
//! there are more. Bytes that have no type yet, and lengths that differ, such as
//! frames from a socket's thread to the decoder: the byte channels. A message is written where it is read,
//! so neither end allocates or copies; take `spsc_bytes` where there is one writer, since it
//! claims by plain loads and stores and an open claim holds nobody back. Values with destructors, and values that
//! are kept for longer than it takes to look at them, do not belong in a ring of bytes: as long as a message is held,
//! its room is taken.
//!
//! Those of bytes are no `Stream`s: a message borrows the receiver, which an item of a `Stream` cannot.

mod bell;
mod blocking;
mod budget;
mod bytes;
pub mod local;
pub mod mpsc;
pub mod mpsc_bytes;
pub mod spsc;
pub mod spsc_bytes;
mod sync;
mod waiter;

pub use blocking::{RecvTimeoutError, SendTimeoutError};
pub use bytes::{ClaimError, ClaimTimeoutError, TryClaimError};

use std::{error, fmt};

/// The channel is closed; the value that was not sent is given back.
///
/// ```
/// use onbeat::channel::{SendError, local};
///
/// let (sender, receiver) = local::channel(1);
/// drop(receiver);
/// let error: SendError<&str> = futures::executor::block_on(sender.send("bid")).unwrap_err();
/// assert_eq!(error.into_inner(), "bid");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sending on a closed channel; the error has the value")
    }
}

impl<T> error::Error for SendError<T> {}

/// Why a value could not be sent at once; it is given back.
///
/// ```
/// use onbeat::channel::local;
///
/// let (sender, receiver) = local::channel(1);
/// sender.try_send("bid").unwrap();
/// let full = sender.try_send("ask").unwrap_err();
/// assert!(full.is_full() && !full.is_closed());
/// assert_eq!(full.into_inner(), "ask");
/// drop(receiver);
/// assert!(sender.try_send("ask").unwrap_err().is_closed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// Every place is taken, or promised to a sender that waits.
    Full(T),
    /// Nobody will receive it.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// Whether trying later may succeed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the channel is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full; try later, or await `send`",
            Self::Closed(_) => "sending on a closed channel; the error has the value",
        })
    }
}

impl<T> error::Error for TrySendError<T> {}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        Self::Closed(error.0)
    }
}

/// Why nothing could be received at once.
///
/// ```
/// use onbeat::channel::{TryRecvError, local};
///
/// let (sender, receiver) = local::channel::<u8>(1);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// Nothing is there now.
    Empty,
    /// Nothing is there, and nothing will come.
    Disconnected,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty; try later, or await `recv`",
            Self::Disconnected => "the channel is empty and closed; nothing will come",
        })
    }
}

impl error::Error for TryRecvError {}

/// Each end and each future shows the state of its channel, whatever the values are.
macro_rules! shows_its_channel {
    ($($name:literal: $kind:ty, $($end:ident).+;)*) => {$(
        impl<T> std::fmt::Debug for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name)
                    .field("len", &self.$($end).+.len())
                    .field("capacity", &self.$($end).+.capacity())
                    .field("is_closed", &self.$($end).+.is_closed())
                    .finish()
            }
        }
    )*};
}

use shows_its_channel;
