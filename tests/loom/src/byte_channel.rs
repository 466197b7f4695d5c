//! The byte channels, without the public types of their senders.

use crate::channel::sync;

/// A model has no turn to hold: every operation may be ready.
mod budget {
    use std::task::{Context, Poll};

    pub(crate) const A_VALUE: &str = "";
    pub(crate) const ROOM: &str = "";

    #[derive(Clone, Copy, Default, Debug)]
    pub(crate) struct Courtesy {}

    impl Courtesy {
        pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        pub(crate) fn spend(&mut self) {}

        pub(crate) fn noting<R>(polled: Poll<R>, _: &str) -> Poll<R> {
            polled
        }
    }
}
/// A model waits by loom's means.
mod blocking {
    use std::time::Duration;

    pub(crate) trait Attempt: Future + Unpin {
        fn attempt(&mut self) -> Option<Self::Output>;
    }

    pub(crate) fn wait<F: Attempt>(_: &mut F) -> F::Output {
        unreachable!("no model waits on a plain thread")
    }

    pub(crate) fn wait_for<F: Attempt>(_: &mut F, _: Duration) -> Option<F::Output> {
        unreachable!("no model waits on a plain thread")
    }
}
#[path = "../../../src/channel/bytes/mod.rs"]
pub(crate) mod bytes;
#[path = "../../../src/channel/waiter.rs"]
mod waiter;

/// What the library's own of this name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TryRecvError {
    Empty,
    Disconnected,
}

/// As above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecvTimeoutError {
    Timeout,
    Disconnected,
}
