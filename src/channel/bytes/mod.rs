//! What the two byte channels have in common: claims, the end that receives, futures and errors.

mod claims;
mod futures;
mod receiver;
mod ring;
mod sender;

use std::{error, fmt};

pub use claims::{Messages, ReadClaim, ReadClaims, WriteClaim};
pub use futures::{Claiming, Receiving, ReceivingMany, Sending};
pub use receiver::Receiver;
pub(crate) use sender::SendEnd;

use ring::Producers;

/// Bytes of the largest channel: 1 GiB.
///
/// ```
/// use onbeat::channel::spsc_bytes::CAPACITY_MAX;
///
/// assert_eq!(CAPACITY_MAX, 1 << 30);
/// ```
pub const CAPACITY_MAX: usize = ring::CAPACITY_MAX;

/// The ends of a channel with a single sender, or with many.
#[track_caller]
fn ends(capacity: usize, producers: Producers) -> (SendEnd, Receiver) {
    assert!(capacity > 0, "a byte channel needs room for at least one byte");
    assert!(capacity <= CAPACITY_MAX, "a byte channel of {capacity} bytes: {CAPACITY_MAX} at most");
    let (producer, consumer) = ring::ring(capacity, producers);
    (SendEnd::new(producer), Receiver::new(consumer))
}

#[track_caller]
pub(crate) fn single(capacity: usize) -> (SendEnd, Receiver) {
    ends(capacity, Producers::One)
}

#[track_caller]
pub(crate) fn many(capacity: usize) -> (SendEnd, Receiver) {
    ends(capacity, Producers::Many)
}

/// Why no message can be claimed or sent, now or ever.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, ClaimError};
///
/// # futures::executor::block_on(async {
/// let (mut sender, receiver) = spsc_bytes::channel(64);
/// let max = sender.len_max();
/// assert_eq!(sender.send(&[0; 65]).await, Err(ClaimError::TooLarge { len: 65, max }));
/// drop(receiver);
/// assert_eq!(sender.send(b"bid").await, Err(ClaimError::Closed));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// Nobody will receive it.
    Closed,
    /// It has no room in this channel, even an empty one.
    TooLarge {
        /// The length that was asked for.
        len: usize,
        /// The longest message of this channel.
        max: usize,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TryClaimError::from(*self).fmt(f)
    }
}

impl error::Error for ClaimError {}

/// Why no message can be claimed or sent at once.
///
/// ```
/// use onbeat::channel::spsc_bytes;
///
/// let (mut sender, receiver) = spsc_bytes::channel(64);
/// let error = loop {
///     match sender.try_claim(8) {
///         Ok(claim) => claim.commit(),
///         Err(error) => break error,
///     }
/// };
/// assert!(error.is_full() && !error.is_closed());
/// drop(receiver);
/// assert!(sender.try_claim(8).unwrap_err().is_closed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryClaimError {
    /// There is no room for a message of this length.
    Full,
    /// Nobody will receive it.
    Closed,
    /// It has no room in this channel, even an empty one.
    TooLarge {
        /// The length that was asked for.
        len: usize,
        /// The longest message of this channel.
        max: usize,
    },
}

impl TryClaimError {
    /// Whether trying later may succeed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::Full
    }

    /// Whether the channel is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self == Self::Closed
    }
}

impl fmt::Display for TryClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the channel is full; try later, or await `claim`"),
            Self::Closed => f.write_str("claiming in a closed channel; nobody will receive it"),
            Self::TooLarge { len, max } => {
                write!(
                    f,
                    "a message of {len} bytes is longer than this channel's {max} at most; "
                )?;
                f.write_str(
                    "split it, or make the channel larger: half of it is the longest message",
                )
            }
        }
    }
}

impl error::Error for TryClaimError {}

impl From<ClaimError> for TryClaimError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Closed => Self::Closed,
            ClaimError::TooLarge { len, max } => Self::TooLarge { len, max },
        }
    }
}

/// Why no message was claimed or sent in time.
///
/// ```
/// use onbeat::channel::{ClaimTimeoutError, spsc_bytes};
/// use std::time::Duration;
///
/// let (mut sender, receiver) = spsc_bytes::channel(32);
/// sender.try_send(&[0; 16]).unwrap();
/// sender.try_send(&[0; 16]).unwrap();
/// let late = sender.blocking_send_timeout(b"bid", Duration::ZERO);
/// assert_eq!(late, Err(ClaimTimeoutError::Timeout));
/// drop(receiver);
/// let late = sender.blocking_send_timeout(b"bid", Duration::ZERO);
/// assert_eq!(late, Err(ClaimTimeoutError::Closed));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimTimeoutError {
    /// There was no room in that time.
    Timeout,
    /// Nobody will receive it.
    Closed,
    /// It has no room in this channel, even an empty one.
    TooLarge {
        /// The length that was asked for.
        len: usize,
        /// The longest message of this channel.
        max: usize,
    },
}

impl fmt::Display for ClaimTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Timeout => f.write_str("the channel stayed full; try later, or wait longer"),
            Self::Closed => ClaimError::Closed.fmt(f),
            Self::TooLarge { len, max } => ClaimError::TooLarge { len, max }.fmt(f),
        }
    }
}

impl error::Error for ClaimTimeoutError {}

impl From<ClaimError> for ClaimTimeoutError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Closed => Self::Closed,
            ClaimError::TooLarge { len, max } => Self::TooLarge { len, max },
        }
    }
}
