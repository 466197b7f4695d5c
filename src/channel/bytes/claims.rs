//! The parts of a ring that an end may write or read.
#![forbid(unsafe_code)]

use std::{
    fmt,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

use super::{Receiver, SendEnd, ring::Position};

/// Room for one message, to write into. It begins at a multiple of 16 bytes.
///
/// What it shows at first are bytes of earlier messages, or zeros: nothing is cleared for it. Write all of
/// it, or [`commit_len`](Self::commit_len) what was written.
///
/// Dropping it gives it up, and nothing is sent. Forgetting it ([`std::mem::forget`]) sends nothing
/// either: the sender's next claim is made at the same place.
///
/// ```
/// use onbeat::channel::spsc_bytes;
///
/// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
/// let mut claim = sender.try_claim(8)?;
/// claim.copy_from_slice(&101_u64.to_le_bytes());
/// claim.commit();
/// assert_eq!(*receiver.try_recv()?, 101_u64.to_le_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot outlive its sender:
///
/// ```compile_fail,E0505
/// let (mut sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let claim = sender.try_claim(8).unwrap();
/// drop(sender);
/// claim.commit();
/// ```
///
/// and there is one at a time:
///
/// ```compile_fail,E0499
/// let (mut sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let first = sender.try_claim(8).unwrap();
/// let second = sender.try_claim(8).unwrap();
/// first.commit();
/// ```
#[must_use = "a claim that is dropped is given up; commit it"]
pub struct WriteClaim<'a> {
    end: &'a mut SendEnd,
}

impl<'a> WriteClaim<'a> {
    /// What the producer has claimed.
    #[inline]
    pub(super) fn new(end: &'a mut SendEnd) -> Self {
        Self { end }
    }

    /// Sends the message.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// # let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let mut claim = sender.try_claim(3)?;
    /// claim.copy_from_slice(b"bid");
    /// claim.commit();
    /// assert_eq!(&*receiver.try_recv()?, b"bid");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit(self) {
        // What is committed is not given up.
        ManuallyDrop::new(self).end.commit();
    }

    /// Sends the first `len` bytes as the message, where the length was not known before it was written.
    ///
    /// # Panics
    ///
    /// When `len` is more than was claimed. The claim is given up then.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// # let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// use std::io::Write;
    ///
    /// let mut claim = sender.try_claim(64)?;
    /// let mut rest = &mut claim[..];
    /// write!(rest, "{}@{}", 100, 101)?;
    /// let written = 64 - rest.len();
    /// claim.commit_len(written);
    /// assert_eq!(&*receiver.try_recv()?, b"100@101");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn commit_len(self, len: usize) {
        assert!(len <= self.len(), "committed {len} bytes of a claim of {}", self.len());
        self.end.shorten(len);
        self.commit();
    }
}

impl Deref for WriteClaim<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.end.bytes()
    }
}

impl DerefMut for WriteClaim<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.end.bytes_mut()
    }
}

impl Drop for WriteClaim<'_> {
    #[inline]
    fn drop(&mut self) {
        self.end.abandon();
    }
}

impl fmt::Debug for WriteClaim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteClaim").field("len", &self.len()).finish()
    }
}

/// One message, to read where it lies. It begins at a multiple of 16 bytes.
///
/// Dropping it frees its room, then wakes whoever waits for room. Forgetting it
/// ([`std::mem::forget`]) frees nothing: the receiver gives the same message again.
///
/// ```
/// use onbeat::channel::spsc_bytes;
///
/// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
/// sender.try_send(b"ask")?;
/// std::mem::forget(receiver.try_recv()?);
/// let message = receiver.try_recv()?;
/// assert_eq!(&*message, b"ask");
/// drop(message);
/// assert!(receiver.try_recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot outlive its receiver:
///
/// ```compile_fail,E0505
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let message = receiver.try_recv().unwrap();
/// drop(receiver);
/// assert_eq!(&*message, b"ask");
/// ```
///
/// and there is one at a time, which is why the receivers of byte channels are no `Stream`s:
///
/// ```compile_fail,E0499
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let first = receiver.try_recv().unwrap();
/// let second = receiver.try_recv().unwrap();
/// assert_eq!(&*first, b"ask");
/// ```
#[must_use = "a message that is dropped has been received"]
pub struct ReadClaim<'a> {
    receiver: &'a mut Receiver,
}

impl<'a> ReadClaim<'a> {
    /// What the consumer has found.
    #[inline]
    pub(super) fn new(receiver: &'a mut Receiver) -> Self {
        Self { receiver }
    }
}

impl Deref for ReadClaim<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.receiver.bytes()
    }
}

impl Drop for ReadClaim<'_> {
    #[inline]
    fn drop(&mut self) {
        self.receiver.release();
    }
}

impl fmt::Debug for ReadClaim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadClaim").field("len", &self.len()).finish()
    }
}

/// Messages that are read where they lie, and freed together. A loop over it, or over [`iter`](Self::iter),
/// gives them as slices, in their order; each begins at a multiple of 16 bytes.
///
/// Dropping it frees the room of all of them by one store, then wakes whoever waits for room: once, and not
/// once a message. Forgetting it ([`std::mem::forget`]) frees nothing: the receiver gives the same messages
/// again.
///
/// ```
/// use onbeat::channel::spsc_bytes;
///
/// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
/// for message in ["bid", "ask", "trade"] {
///     sender.try_send(message.as_bytes())?;
/// }
/// let messages = receiver.try_recv_many(2)?;
/// assert_eq!(messages.len(), 2);
/// assert!(messages.iter().eq([b"bid", b"ask"]));
/// drop(messages);
/// assert_eq!(&*receiver.try_recv()?, b"trade");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot outlive its receiver, and no message outlives it:
///
/// ```compile_fail,E0505
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let messages = receiver.try_recv_many(2).unwrap();
/// drop(receiver);
/// assert!(messages.is_empty());
/// ```
///
/// ```compile_fail,E0505
/// let (mut sender, mut receiver) = onbeat::channel::spsc_bytes::channel(1024);
/// let messages = receiver.try_recv_many(2).unwrap();
/// let first = messages.iter().next();
/// drop(messages);
/// assert!(first.is_some());
/// ```
#[must_use = "messages that are dropped have been received"]
pub struct ReadClaims<'a> {
    receiver: &'a mut Receiver,
    messages: usize,
}

impl<'a> ReadClaims<'a> {
    /// The first `messages` that the consumer has counted.
    pub(super) fn new(receiver: &'a mut Receiver, messages: usize) -> Self {
        Self { receiver, messages }
    }

    /// How many messages there are.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid")?;
    /// assert_eq!(receiver.try_recv_many(8)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether there is none, which is so only where none was asked for.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid")?;
    /// assert!(!receiver.try_recv_many(8)?.is_empty());
    /// assert!(receiver.try_recv_many(0)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The messages in their order.
    ///
    /// ```
    /// # use onbeat::channel::spsc_bytes;
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid")?;
    /// sender.try_send(b"asked")?;
    /// let messages = receiver.try_recv_many(8)?;
    /// assert_eq!(messages.iter().map(<[u8]>::len).sum::<usize>(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Messages<'_> {
        Messages { receiver: self.receiver, at: self.receiver.head(), left: self.messages }
    }
}

impl<'b> IntoIterator for &'b ReadClaims<'_> {
    type Item = &'b [u8];
    type IntoIter = Messages<'b>;

    fn into_iter(self) -> Messages<'b> {
        self.iter()
    }
}

impl Drop for ReadClaims<'_> {
    fn drop(&mut self) {
        self.receiver.release_many(self.messages);
    }
}

impl fmt::Debug for ReadClaims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadClaims").field("len", &self.messages).finish()
    }
}

/// The messages of a [`ReadClaims`], as slices.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, Messages};
///
/// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
/// sender.try_send(b"bid")?;
/// let messages = receiver.try_recv_many(8)?;
/// let mut each: Messages<'_> = messages.iter();
/// assert_eq!((each.len(), each.next()), (1, Some(&b"bid"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Messages<'a> {
    receiver: &'a Receiver,
    at: Position,
    left: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.receiver.next_at(&mut self.at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("left", &self.left).finish()
    }
}
