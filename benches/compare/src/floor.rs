//! What a tick cannot do without, alone: a reading of the clock, and a look at the sockets.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::systems::time_ticks;

/// `Instant::now`.
pub(crate) fn clock_read(ticks: usize) -> Duration {
    time_ticks(ticks, || {
        black_box(Instant::now());
    })
}

/// mio's poll that does not wait, with nothing registered.
pub(crate) fn mio_poll(ticks: usize) -> Duration {
    let mut poll = Poll::new().expect("the process may open an epoll descriptor");
    let mut events = Events::with_capacity(64);
    time_ticks(ticks, || {
        poll.poll(&mut events, Some(Duration::ZERO)).expect("a poll that does not wait succeeds");
    })
}
