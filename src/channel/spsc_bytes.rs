//! A bounded channel of byte messages from one sender to one receiver, also between threads.
//!
//! The sender claims a part of the ring, writes the message there, and commits it; the receiver reads it
//! where it lies. Nothing is copied and nothing is cleared. No runtime is needed: ends may be used by
//! tasks of any executor, and by threads (`blocking_claim`, `blocking_recv`).
//!
//! ```
//! use bevy_ecs::world::World;
//! use onbeat::{Runtime, channel::spsc_bytes};
//!
//! let (mut sender, mut receiver) = spsc_bytes::channel(4096);
//! let feed = std::thread::spawn(move || {
//!     for price in 100..103_u32 {
//!         let mut claim = sender.blocking_claim(4).expect("the receiver is there until it has all");
//!         claim.copy_from_slice(&price.to_le_bytes());
//!         claim.commit();
//!     }
//! });
//! let mut world = World::new();
//! let sum = Runtime::new(&mut world).block_on(async {
//!     let mut sum = 0;
//!     while let Some(message) = receiver.recv().await {
//!         sum += u32::from_le_bytes((*message).try_into().expect("four bytes"));
//!     }
//!     sum
//! });
//! feed.join().expect("it does not panic");
//! assert_eq!(sum, 303);
//! ```
//!
//! # Claims
//!
//! The cursors move when a claim is committed, and when a message is dropped: by nothing else. A write claim
//! that is dropped leaves the ring as it was, and one that is forgotten too. A message that is forgotten is
//! received again, and so are those of a batch. A claim that is open while the receiver closes the channel may still be committed;
//! then it is received if the receiver looks once more.
//!
//! # Room
//!
//! A message takes its length, rounded up to 16 bytes, and an empty one takes 16. It lies in one piece: what
//! is left over before the end of the ring is skipped. The longest message is half of the ring, which has
//! room in an empty one wherever the last message ended. Beside the ring stand 4 bytes for every 16.
//! Everything is allocated, and cleared, by [`channel`]; after that claims show what the ring held before.
//!
//! Room becomes free before whoever waits for it is woken. Several that wait are all woken, and a short
//! message may find room before a longer one that has waited for more.
//!
//! # One owner for each end
//!
//! Both ends may go to another thread, and neither can be in two hands: they are not `Clone`, and
//! claiming takes `&mut self`.
//!
//! ```compile_fail,E0599
//! let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
//! let second = sender.clone();
//! ```
//!
//! ```compile_fail,E0596
//! let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
//! let shared = &sender;
//! shared.try_send(b"bid");
//! ```
//!
//! ```compile_fail,E0596
//! let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
//! let shared = &receiver;
//! shared.try_recv();
//! ```
#![forbid(unsafe_code)]

use std::{fmt, time::Duration};

use super::bytes::SendEnd;
pub use super::bytes::{
    CAPACITY_MAX, ClaimError, ClaimTimeoutError, Claiming, Messages, ReadClaim, ReadClaims,
    Receiver, Receiving, ReceivingMany, Sending, TryClaimError, WriteClaim,
};

/// A channel with `capacity` bytes of room, rounded up to a power of two, at least 32.
///
/// # Panics
///
/// When `capacity` is 0, or more than [`CAPACITY_MAX`].
///
/// ```
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(64);
/// sender.try_send(b"bid").unwrap();
/// assert_eq!(*receiver.try_recv().unwrap(), *b"bid");
/// ```
#[track_caller]
#[must_use]
pub fn channel(capacity: usize) -> (Sender, Receiver) {
    let (end, receiver) = super::bytes::single(capacity);
    (Sender { end }, receiver)
}

/// The end that sends. Dropping it closes the channel.
///
/// ```
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(64);
/// sender.try_send(b"bid").unwrap();
/// drop(sender);
/// assert_eq!(*receiver.try_recv().unwrap(), *b"bid");
/// assert!(receiver.try_recv().is_err());
/// ```
pub struct Sender {
    end: SendEnd,
}

impl Sender {
    /// Claims room for a message of `len` bytes, and waits while there is none. Write into the claim, then
    /// commit it. A length of 0 is a message too.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]: the channel is closed, or such a message is longer than [`len_max`](Self::len_max).
    ///
    /// # Cancellation
    ///
    /// Dropping the future claims nothing.
    ///
    /// ```
    /// # use onbeat::{Runtime, channel::spsc_bytes};
    /// # let mut world = bevy_ecs::world::World::new();
    /// # Runtime::new(&mut world).block_on(async {
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let mut claim = sender.claim(4).await.expect("the receiver is there");
    /// claim.copy_from_slice(&100_u32.to_le_bytes());
    /// claim.commit();
    /// assert_eq!(*receiver.recv().await.expect("one was sent"), 100_u32.to_le_bytes());
    /// # });
    /// ```
    pub fn claim(&mut self, len: usize) -> Claiming<'_> {
        self.end.claim(len)
    }

    /// Claims room for a message of `len` bytes if there is room.
    ///
    /// # Errors
    ///
    /// [`TryClaimError`]: there is none, now or ever.
    ///
    /// ```
    /// use onbeat::channel::{TryClaimError, spsc_bytes};
    ///
    /// let (mut sender, _receiver) = spsc_bytes::channel(64);
    /// sender.try_claim(32)?.commit();
    /// sender.try_claim(32)?.commit();
    /// assert_eq!(sender.try_claim(1).unwrap_err(), TryClaimError::Full);
    /// assert_eq!(sender.try_claim(33).unwrap_err(), TryClaimError::TooLarge { len: 33, max: 32 });
    /// # Ok::<(), TryClaimError>(())
    /// ```
    #[inline]
    pub fn try_claim(&mut self, len: usize) -> Result<WriteClaim<'_>, TryClaimError> {
        self.end.try_claim(len)
    }

    /// Claims room for a message of `len` bytes on a plain thread, which sleeps while there is none.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] as [`claim`](Self::claim).
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let mut claim = sender.blocking_claim(3)?;
    /// claim.copy_from_slice(b"bid");
    /// claim.commit();
    /// assert_eq!(&*receiver.blocking_recv().expect("one was sent"), b"bid");
    /// # Ok::<(), onbeat::channel::ClaimError>(())
    /// ```
    #[track_caller]
    pub fn blocking_claim(&mut self, len: usize) -> Result<WriteClaim<'_>, ClaimError> {
        self.end.blocking_claim(len)
    }

    /// As [`blocking_claim`](Self::blocking_claim), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`ClaimTimeoutError`]: there was no room in that time, or there will be none.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use onbeat::channel::{ClaimTimeoutError, spsc_bytes};
    /// use std::time::Duration;
    ///
    /// let (mut sender, _receiver) = spsc_bytes::channel(64);
    /// let limit = Duration::from_millis(1);
    /// sender.blocking_claim_timeout(32, limit)?.commit();
    /// sender.blocking_claim_timeout(32, limit)?.commit();
    /// let error = sender.blocking_claim_timeout(1, limit).unwrap_err();
    /// assert_eq!(error, ClaimTimeoutError::Timeout);
    /// # Ok::<(), ClaimTimeoutError>(())
    /// ```
    #[track_caller]
    pub fn blocking_claim_timeout(
        &mut self,
        len: usize,
        limit: Duration,
    ) -> Result<WriteClaim<'_>, ClaimTimeoutError> {
        self.end.blocking_claim_timeout(len, limit)
    }

    /// Sends a copy of `bytes`, and waits while there is no room.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] as [`claim`](Self::claim).
    ///
    /// # Cancellation
    ///
    /// Dropping the future before it is done sends nothing.
    ///
    /// ```
    /// # use onbeat::{Runtime, channel::spsc_bytes};
    /// # let mut world = bevy_ecs::world::World::new();
    /// # Runtime::new(&mut world).block_on(async {
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.send(b"bid").await.expect("the receiver is there");
    /// assert_eq!(&*receiver.recv().await.expect("one was sent"), b"bid");
    /// # });
    /// ```
    pub fn send<'a>(&'a mut self, bytes: &'a [u8]) -> Sending<'a> {
        self.end.send(bytes)
    }

    /// Sends a copy of `bytes` if there is room.
    ///
    /// # Errors
    ///
    /// [`TryClaimError`] as [`try_claim`](Self::try_claim).
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid")?;
    /// assert_eq!(&*receiver.try_recv()?, b"bid");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<(), TryClaimError> {
        self.end.try_send(bytes)
    }

    /// Sends a copy of `bytes` from a plain thread, which sleeps while there is no room.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] as [`claim`](Self::claim).
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let sending = std::thread::spawn(move || sender.blocking_send(b"bid"));
    /// assert_eq!(&*receiver.blocking_recv().expect("one was sent"), b"bid");
    /// sending.join().expect("it does not panic")?;
    /// # Ok::<(), onbeat::channel::ClaimError>(())
    /// ```
    #[track_caller]
    pub fn blocking_send(&mut self, bytes: &[u8]) -> Result<(), ClaimError> {
        self.end.blocking_send(bytes)
    }

    /// As [`blocking_send`](Self::blocking_send), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`ClaimTimeoutError`]: there was no room in that time, or there will be none. Nothing was sent.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use onbeat::channel::{ClaimTimeoutError, spsc_bytes};
    /// use std::time::Duration;
    ///
    /// let (mut sender, receiver) = spsc_bytes::channel(32);
    /// let limit = Duration::from_millis(1);
    /// assert_eq!(sender.blocking_send_timeout(b"bid", limit), Ok(()));
    /// drop(receiver);
    /// let error = sender.blocking_send_timeout(b"ask", limit);
    /// assert_eq!(error, Err(ClaimTimeoutError::Closed));
    /// ```
    #[track_caller]
    pub fn blocking_send_timeout(
        &mut self,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<(), ClaimTimeoutError> {
        self.end.blocking_send_timeout(bytes, limit)
    }

    /// Closes the channel. What was sent can still be received.
    ///
    /// ```
    /// # use onbeat::channel::{TryClaimError, spsc_bytes};
    /// let (mut sender, receiver) = spsc_bytes::channel(1024);
    /// sender.close();
    /// assert!(receiver.is_closed());
    /// assert_eq!(sender.try_send(b"bid"), Err(TryClaimError::Closed));
    /// ```
    pub fn close(&self) {
        self.end.close();
    }

    /// Whether claiming is an error from now on.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.is_closed()
    }

    /// Bytes of the ring: what was asked for, rounded up to a power of two, at least 32.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1000);
    /// assert_eq!(sender.capacity(), 1024);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end.capacity()
    }

    /// Bytes of the longest message: half of the [`capacity`](Self::capacity).
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1000);
    /// assert_eq!(sender.len_max(), 512);
    /// ```
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.end.len_max()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.end.fmt(f)
    }
}
