//! Waiting for a poll's descriptor with a timeout in nanoseconds, where mio's is in milliseconds.

#![expect(unsafe_code, reason = "mio lends its descriptor as a number only")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until `source` has an event. False: the time is over, or a signal came.
pub(crate) fn readable(source: &mio::Poll, timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    // SAFETY: the descriptor is open as long as `source` is borrowed, which outlasts its use here.
    let fd = unsafe { BorrowedFd::borrow_raw(source.as_raw_fd()) };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
