//! The byte channels, without the public types of their senders.

#[path = "../../../src/channel/atomics.rs"]
mod atomics;
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
