//! Waiting for a poll's events with a timeout in nanoseconds, where mio's is in milliseconds.
//!
//! On Linux this is `epoll_pwait2` on mio's own descriptor, and the finest timer slack for the thread.
//! Where the kernel knows neither, and on other systems, a wait ends with the last whole millisecond
//! before its time, and who waits spins for the rest.

#![cfg_attr(
    any(target_os = "linux", target_os = "android"),
    expect(unsafe_code, reason = "mio lends its descriptor as a number only")
)]

use std::{io, time::Duration};

use mio::Token;

/// What one event says of its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Happened {
    pub(super) token: Token,
    pub(super) read: bool,
    pub(super) write: bool,
}

/// The longest that mio can wait for and not be late.
pub(super) fn whole_millis(timeout: Duration) -> Duration {
    Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}

pub(super) use system::Waiter;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::{
        cell::{Cell, RefCell},
        mem::MaybeUninit,
        num::NonZeroU64,
        os::fd::{AsRawFd, BorrowedFd},
    };

    use rustix::{
        event::{
            Timespec,
            epoll::{self, EventFlags},
        },
        io::Errno,
        thread::{current_timer_slack, set_current_timer_slack},
    };

    use super::{Duration, Happened, Token, io};

    const READ: EventFlags = EventFlags::IN
        .union(EventFlags::PRI)
        .union(EventFlags::RDHUP)
        .union(EventFlags::HUP)
        .union(EventFlags::ERR);
    const WRITE: EventFlags = EventFlags::OUT.union(EventFlags::HUP).union(EventFlags::ERR);

    /// The thread's timer slack: how late the kernel may wake it to save power.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Slack {
        Untouched,
        /// It is the finest there is, and was this before.
        Finest(u64),
        Refused,
    }

    /// What waits.
    pub(in crate::reactor) struct Waiter {
        /// Room for the events of one wait.
        events: RefCell<Box<[MaybeUninit<epoll::Event>]>>,
        /// The kernel has `epoll_pwait2`, as far as is known.
        known: Cell<bool>,
        slack: Cell<Slack>,
    }

    impl Waiter {
        pub(in crate::reactor) fn new(event_capacity: usize) -> Self {
            Self {
                events: RefCell::new(Box::new_uninit_slice(event_capacity)),
                known: Cell::new(true),
                slack: Cell::new(Slack::Untouched),
            }
        }

        /// A waiter on a kernel that does not have the call.
        #[cfg(test)]
        pub(in crate::reactor) fn without_the_call() -> Self {
            let waiter = Self::new(1);
            waiter.forget_the_call();
            waiter
        }

        /// The kernel loses the call.
        #[cfg(test)]
        pub(in crate::reactor) fn forget_the_call(&self) {
            self.known.set(false);
        }

        /// Whether a wait ends with its timeout and not before, as far as is known.
        pub(in crate::reactor) fn is_precise(&self) -> bool {
            self.known.get()
        }

        /// Waits until `source` has events, and hands them out. `None`: this system cannot wait so
        /// precisely. No event: the time is over, or a signal came.
        pub(in crate::reactor) fn wait(
            &self,
            source: &mio::Poll,
            timeout: Option<Duration>,
            each: impl FnMut(Happened),
        ) -> Option<io::Result<()>> {
            if !self.known.get() {
                return None;
            }
            if timeout.is_some() {
                self.refine_slack();
            }
            let timeout = timeout.map(|timeout| Timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(timeout.subsec_nanos()),
            });
            // SAFETY: the descriptor is open as long as `source` is borrowed, which outlasts its use here.
            let fd = unsafe { BorrowedFd::borrow_raw(source.as_raw_fd()) };
            let mut events = self.events.borrow_mut();
            match epoll::wait(fd, &mut **events, timeout.as_ref()) {
                Ok((happened, _)) => happened.iter().copied().map(read_event).for_each(each),
                Err(Errno::INTR) => {}
                // Filters for system calls answer with the second.
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.known.set(false);
                    return None;
                }
                Err(error) => return Some(Err(error.into())),
            }
            Some(Ok(()))
        }

        /// Asks the kernel to wake this thread at the nanosecond.
        fn refine_slack(&self) {
            if self.slack.get() == Slack::Untouched {
                let refined = current_timer_slack().and_then(|before| {
                    set_current_timer_slack(Some(NonZeroU64::MIN)).map(|()| before)
                });
                self.slack.set(refined.map_or(Slack::Refused, Slack::Finest));
            }
        }

        /// Gives the thread its timer slack back.
        pub(in crate::reactor) fn restore_slack(&self) {
            if let Slack::Finest(before) = self.slack.replace(Slack::Untouched) {
                // Whoever was allowed to set one may set another.
                let _ = set_current_timer_slack(NonZeroU64::new(before));
            }
        }
    }

    impl std::fmt::Debug for Waiter {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Waiter")
                .field("known", &self.known.get())
                .field("slack", &self.slack.get())
                .finish_non_exhaustive()
        }
    }

    fn read_event(event: epoll::Event) -> Happened {
        let (flags, data) = (event.flags, event.data);
        Happened {
            token: Token(data.u64() as usize),
            read: flags.intersects(READ),
            write: flags.intersects(WRITE),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::{Duration, Happened, io};

    /// Nothing waits more precisely than mio here.
    #[derive(Debug)]
    pub(in crate::reactor) struct Waiter;

    impl Waiter {
        pub(in crate::reactor) fn new(_event_capacity: usize) -> Self {
            Self
        }

        #[cfg(test)]
        pub(in crate::reactor) fn without_the_call() -> Self {
            Self
        }

        #[cfg(test)]
        pub(in crate::reactor) fn forget_the_call(&self) {}

        pub(in crate::reactor) fn is_precise(&self) -> bool {
            false
        }

        pub(in crate::reactor) fn wait(
            &self,
            _source: &mio::Poll,
            _timeout: Option<Duration>,
            _each: impl FnMut(Happened),
        ) -> Option<io::Result<()>> {
            None
        }

        pub(in crate::reactor) fn restore_slack(&self) {}
    }
}
