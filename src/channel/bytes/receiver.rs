//! The end that receives, of both byte channels.
#![forbid(unsafe_code)]

use std::{
    fmt, mem,
    task::{Context, Poll},
};

use super::super::TryRecvError;
use super::{
    blocking::block_on,
    claims::ReadClaim,
    futures::Receiving,
    ring::{Consumer, Found, Ring},
};

/// Names the one receiver among those who wait for messages.
const ID: u64 = 0;

/// The end that receives. Dropping it closes the channel.
///
/// ```
/// use onbeat::channel::mpsc_bytes;
///
/// let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
/// let other = std::thread::spawn({
///     let mut sender = sender.clone();
///     move || sender.blocking_send(b"from a thread")
/// });
/// other.join().expect("it does not panic")?;
/// sender.try_send(b"from here")?;
/// drop(sender);
/// assert_eq!(&*receiver.blocking_recv().expect("two were sent"), b"from a thread");
/// assert_eq!(&*receiver.blocking_recv().expect("two were sent"), b"from here");
/// assert!(receiver.blocking_recv().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver {
    consumer: Consumer,
}

impl Receiver {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self { consumer }
    }

    fn ring(&self) -> &Ring {
        self.consumer.ring()
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever.
    ///
    /// ```
    /// use onbeat::channel::{TryRecvError, spsc_bytes};
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    /// sender.try_send(b"bid").expect("there is room");
    /// drop(sender);
    /// assert_eq!(&*receiver.try_recv().expect("one was sent"), b"bid");
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<ReadClaim<'_>, TryRecvError> {
        match self.find() {
            Found::Message => Ok(ReadClaim::new(self)),
            Found::Nothing => Err(TryRecvError::Empty),
            Found::Closed => Err(TryRecvError::Disconnected),
        }
    }

    /// Receives the next message, and waits while there is none. `None`: the channel is closed, and all
    /// that was sent has been received.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # use onbeat::{Runtime, channel::spsc_bytes};
    /// # let mut world = bevy_ecs::world::World::new();
    /// # Runtime::new(&mut world).block_on(async {
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid").expect("there is room");
    /// drop(sender);
    /// assert_eq!(&*receiver.recv().await.expect("one was sent"), b"bid");
    /// assert!(receiver.recv().await.is_none());
    /// # });
    /// ```
    pub fn recv(&mut self) -> Receiving<'_> {
        Receiving::new(self)
    }

    /// Receives the next message, and puts the thread to sleep while there is none. For threads of their
    /// own: in a task it stops the loop. `None` as of [`recv`](Self::recv).
    ///
    /// ```
    /// use onbeat::channel::spsc_bytes;
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let reading = std::thread::spawn(move || receiver.blocking_recv().map(|bytes| bytes.len()));
    /// sender.blocking_send(b"bid").expect("the receiver is there");
    /// assert_eq!(reading.join().expect("it does not panic"), Some(3));
    /// ```
    pub fn blocking_recv(&mut self) -> Option<ReadClaim<'_>> {
        block_on(self.recv())
    }

    /// Closes the channel. What was sent can still be received; who claims gets an error, and who waits
    /// to claim too.
    ///
    /// ```
    /// use onbeat::channel::{TryClaimError, spsc_bytes};
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// sender.try_send(b"bid").expect("there is room");
    /// receiver.close();
    /// assert_eq!(sender.try_send(b"ask"), Err(TryClaimError::Closed));
    /// assert_eq!(&*receiver.try_recv().expect("it was sent before"), b"bid");
    /// ```
    pub fn close(&self) {
        self.ring().close();
    }

    /// Whether nothing more can be claimed.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
    /// assert!(!receiver.is_closed());
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring().is_closed()
    }

    /// Bytes of the ring: what was asked for, rounded up to a power of two, at least 32.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::spsc_bytes::channel(1000);
    /// assert_eq!(receiver.capacity(), 1024);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring().capacity()
    }

    #[inline]
    fn find(&mut self) -> Found {
        let mut freed = false;
        let found = self.consumer.find(&mut freed);
        if freed {
            self.ring().room().notify();
        }
        found
    }

    /// Finds a message, or stores who is woken when there may be one. `waits` says whether it did. True:
    /// there is a message. False: there is none, and none will come.
    pub(super) fn poll_find(&mut self, waits: &mut bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut found = self.find();
        if found == Found::Nothing {
            *waits = true;
            self.ring().messages().register(ID, cx.waker());
            found = self.find();
        }
        if found == Found::Nothing {
            return Poll::Pending;
        }
        self.wait_no_more(waits);
        Poll::Ready(found == Found::Message)
    }

    /// Takes back what [`poll_find`](Self::poll_find) stored.
    pub(super) fn wait_no_more(&self, waits: &mut bool) {
        if mem::take(waits) {
            self.ring().messages().leave(ID);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.consumer.bytes()
    }

    /// Frees the room of the message that is being read, then wakes who waits for room.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.consumer.release() {
            self.ring().room().notify();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ring().messages().leave(ID);
        self.ring().close();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("capacity", &self.capacity())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
