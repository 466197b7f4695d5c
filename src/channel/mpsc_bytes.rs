//! A bounded channel of byte messages from many senders to one receiver, also between threads.
//!
//! A sender claims a part of the ring, writes the message there, and commits it; the receiver reads it
//! where it lies. Nothing is copied and nothing is cleared. Several senders write at the same time. No
//! runtime is needed: ends may be used by tasks of any executor, and by threads (`blocking_claim`,
//! `blocking_recv`).
//!
//! ```
//! use bevy_ecs::world::World;
//! use onbeat::{Runtime, channel::mpsc_bytes};
//!
//! let (sender, mut receiver) = mpsc_bytes::channel(4096);
//! let feeds = [100_u32, 200].map(|price| {
//!     let mut sender = sender.clone();
//!     std::thread::spawn(move || {
//!         let mut claim = sender.blocking_claim(4).expect("the receiver is there until it has all");
//!         claim.copy_from_slice(&price.to_le_bytes());
//!         claim.commit();
//!     })
//! });
//! drop(sender);
//! let mut world = World::new();
//! let sum = Runtime::new(&mut world).block_on(async {
//!     let mut sum = 0;
//!     while let Some(message) = receiver.recv().await {
//!         sum += u32::from_le_bytes((*message).try_into().expect("four bytes"));
//!     }
//!     sum
//! });
//! for feed in feeds {
//!     feed.join().expect("it does not panic");
//! }
//! assert_eq!(sum, 300);
//! ```
//!
//! # Order, and claims that stay open
//!
//! Messages are received in the order in which they were *claimed*. So a claim that is open holds back what
//! other senders commit behind it, and when the ring is full, the other senders too: claim when the length
//! is known, write, commit, and do not wait in between.
//!
//! A claim that is dropped is skipped. One that is forgotten ([`std::mem::forget`]) stays with its sender: the
//! sender's next claim is made there if it fits, and otherwise it is skipped, as it is when
//! the sender is dropped. Only a sender that is forgotten together with its claim holds the others back
//! for ever. A message that is forgotten is received again.
//!
//! The channel is closed by either end, or when the last sender or the receiver is dropped. What was
//! claimed by then can still be committed, and the receiver is told of the end after the last of it.
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
//! Senders are cloned, one for each owner; claiming takes `&mut self`. The receiver is not `Clone`.
//!
//! ```compile_fail,E0599
//! let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1024);
//! let second = receiver.clone();
//! ```
//!
//! ```compile_fail,E0596
//! let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1024);
//! let shared = &sender;
//! shared.try_send(b"bid");
//! ```
//!
//! ```compile_fail,E0596
//! let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1024);
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
/// let (mut sender, mut receiver) = onbeat::channel::mpsc_bytes::channel(64);
/// sender.try_send(b"bid").unwrap();
/// assert_eq!(*receiver.try_recv().unwrap(), *b"bid");
/// ```
#[track_caller]
#[must_use]
pub fn channel(capacity: usize) -> (Sender, Receiver) {
    let (end, receiver) = super::bytes::many(capacity);
    (Sender { end }, receiver)
}

/// An end that sends. Clones send into the same channel; the last one to be dropped closes it.
///
/// ```
/// let (mut sender, mut receiver) = onbeat::channel::mpsc_bytes::channel(64);
/// let mut other = sender.clone();
/// sender.try_send(b"bid").unwrap();
/// other.try_send(b"ask").unwrap();
/// assert_eq!(*receiver.try_recv().unwrap(), *b"bid");
/// assert_eq!(*receiver.try_recv().unwrap(), *b"ask");
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
    /// # use onbeat::{Runtime, channel::mpsc_bytes};
    /// # let mut world = bevy_ecs::world::World::new();
    /// # Runtime::new(&mut world).block_on(async {
    /// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
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
    /// use onbeat::channel::{TryClaimError, mpsc_bytes};
    ///
    /// let (mut sender, _receiver) = mpsc_bytes::channel(64);
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
    /// # use onbeat::channel::mpsc_bytes;
    /// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
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
    /// use onbeat::channel::{ClaimTimeoutError, mpsc_bytes};
    /// use std::time::Duration;
    ///
    /// let (mut sender, _receiver) = mpsc_bytes::channel(64);
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
    /// # use onbeat::{Runtime, channel::mpsc_bytes};
    /// # let mut world = bevy_ecs::world::World::new();
    /// # Runtime::new(&mut world).block_on(async {
    /// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
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
    /// # use onbeat::channel::mpsc_bytes;
    /// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
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
    /// # use onbeat::channel::mpsc_bytes;
    /// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
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
    /// use onbeat::channel::{ClaimTimeoutError, mpsc_bytes};
    /// use std::time::Duration;
    ///
    /// let (mut sender, receiver) = mpsc_bytes::channel(32);
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

    /// Closes the channel for all its senders. What was sent can still be received.
    ///
    /// ```
    /// # use onbeat::channel::{TryClaimError, mpsc_bytes};
    /// let (mut sender, receiver) = mpsc_bytes::channel(1024);
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
    /// let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1024);
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
    /// let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1000);
    /// assert_eq!(sender.capacity(), 1024);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end.capacity()
    }

    /// Bytes of the longest message: half of the [`capacity`](Self::capacity).
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::mpsc_bytes::channel(1000);
    /// assert_eq!(sender.len_max(), 512);
    /// ```
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.end.len_max()
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self { end: self.end.another() }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.end.fmt(f)
    }
}
