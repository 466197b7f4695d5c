//! Waiting on a plain thread, for what is a future elsewhere.
//!
//! A thread that sleeps is woken tens of microseconds late, and who wakes it pays for a system call. So a
//! thread first looks for as long as a sleep and a wake would take, and whoever brings it something meanwhile
//! finds nobody registered. It looks in two ways, each so many times at most: [`PAUSES`] hints to the
//! processor, which see what a thread on another core is about to bring; then [`YIELDS`] times it lets any
//! other thread of its core run, so that one that shares its core with whom it waits for does not keep it
//! from it. Then it sleeps until it is woken, however often it is woken for nothing.
#![forbid(unsafe_code)]

use std::{
    error, fmt,
    hint::spin_loop,
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

/// Hints to the processor, between looks, before the thread yields: a few microseconds.
const PAUSES: u32 = 128;
/// The most hints from one look to the next, which double up to here.
const PAUSES_APART: u32 = 4;
/// How often the thread yields before it sleeps, with a look after each: tens of microseconds where no other
/// thread wants its core.
const YIELDS: u32 = 64;

/// What a thread waits for.
pub(crate) trait Attempt: Future + Unpin {
    /// What a poll would be ready with, if it would be. Nobody is registered. Not called after a poll.
    fn attempt(&mut self) -> Option<Self::Output>;
}

/// Looks for the output of `future` again and again, then polls it until it is ready and sleeps in between.
///
/// # Panics
///
/// Inside a running runtime, whose loop would stand still.
#[track_caller]
pub(crate) fn wait<F: Attempt>(future: &mut F) -> F::Output {
    wait_until(future, None).expect("without a limit it ends with the future")
}

/// As [`wait`], for `limit` at most; `None` after it. The future is polled once more at its end.
#[track_caller]
pub(crate) fn wait_for<F: Attempt>(future: &mut F, limit: Duration) -> Option<F::Output> {
    wait_until(future, Some(monotonic_ns().saturating_add(duration_ns(limit))))
}

#[track_caller]
fn wait_until<F: Attempt>(future: &mut F, deadline_ns: Option<u64>) -> Option<F::Output> {
    assert!(
        context::try_current(|_| ()).is_none(),
        "a call that blocks its thread would stop the onbeat runtime that runs on it: \
         await `send` or `recv` there"
    );
    match look(future, deadline_ns) {
        None => sleep(future, deadline_ns),
        output => output,
    }
}

/// Looks for the output until the deadline, or until that has taken as long as a sleep would.
fn look<F: Attempt>(future: &mut F, deadline_ns: Option<u64>) -> Option<F::Output> {
    let (mut pauses, mut apart, mut yields) = (0, 1, 0);
    loop {
        if let Some(output) = future.attempt() {
            return Some(output);
        }
        if deadline_ns.is_some_and(|deadline_ns| monotonic_ns() >= deadline_ns) {
            return None;
        }
        if pauses < PAUSES {
            (0..apart).for_each(|_| spin_loop());
            pauses += apart;
            apart = (2 * apart).min(PAUSES_APART);
        } else if yields < YIELDS {
            thread::yield_now();
            yields += 1;
        } else {
            return None;
        }
    }
}

fn sleep<F: Attempt>(future: &mut F, deadline_ns: Option<u64>) -> Option<F::Output> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Has its output from attempt number `at` on, if that is ever made, and from its second poll.
    struct Late {
        at: u32,
        attempts: u32,
        polls: u32,
    }

    impl Late {
        fn new(at: u32) -> Self {
            Self { at, attempts: 0, polls: 0 }
        }
    }

    impl Future for Late {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.polls += 1;
            cx.waker().wake_by_ref();
            if self.polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    impl Attempt for Late {
        fn attempt(&mut self) -> Option<()> {
            assert_eq!(self.polls, 0, "who is registered waits to be woken");
            self.attempts += 1;
            (self.attempts >= self.at).then_some(())
        }
    }

    #[test]
    fn what_comes_while_a_thread_looks_finds_nobody_registered() {
        for at in [1, 2, 20, YIELDS] {
            let mut late = Late::new(at);
            wait(&mut late);
            assert_eq!((late.attempts, late.polls), (at, 0));
        }
    }

    #[test]
    fn a_thread_looks_so_often_at_most_then_sleeps_until_it_is_woken() {
        let mut late = Late::new(u32::MAX);
        wait(&mut late);
        assert_eq!(late.polls, 2);
        assert!(late.attempts > YIELDS && late.attempts <= PAUSES + YIELDS + 1);
        let mut late = Late::new(u32::MAX);
        assert_eq!(wait_for(&mut late, Duration::MAX), Some(()));
        assert_eq!(late.polls, 2);
    }

    #[test]
    fn a_thread_that_has_no_time_looks_once() {
        let mut late = Late::new(2);
        assert_eq!(wait_for(&mut late, Duration::ZERO), None);
        assert_eq!((late.attempts, late.polls), (1, 1));
    }
}
