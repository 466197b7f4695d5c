//! The channels' own files, with the errors that they return.

#[path = "../../../../src/channel/bell.rs"]
pub(crate) mod bell;
#[allow(unused_imports, reason = "the byte channels need what these do not")]
#[path = "../../../../src/channel/sync.rs"]
pub(crate) mod sync;

pub(crate) mod mpsc;
pub(crate) mod spsc;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct SendError<T>(pub(crate) T);

#[derive(PartialEq, Eq, Debug)]
pub(crate) enum TrySendError<T> {
    Full(T),
    Closed(T),
}

impl<T> TrySendError<T> {
    pub(crate) fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TryRecvError {
    Empty,
    Disconnected,
}
