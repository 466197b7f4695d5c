//! The end that receives, of both byte channels.
#![forbid(unsafe_code)]

use std::{
    fmt, mem,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::super::{
    RecvTimeoutError, TryRecvError, blocking,
    budget::{A_VALUE, Courtesy},
};
use super::{
    claims::{ReadClaim, ReadClaims},
    futures::{Receiving, ReceivingMany},
    ring::{Consumer, Found, Position, Ring},
};

/// Names the receiver among those who wait for messages: its future, of which there is one at a time, and
/// [`Receiver::poll_recv`]. Each has a waker of its own, so that a future that is dropped takes but its own.
const FUTURE: u64 = 0;
const BY_HAND: u64 = 1;

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
    /// Of [`poll_recv`](Self::poll_recv), which has no future to keep it in.
    courtesy: Courtesy,
}

impl Receiver {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self { consumer, courtesy: Courtesy::default() }
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

    /// Receives the messages that are there, `max` at most, to be read where they lie and freed together,
    /// and waits while there is none. `None`: the channel is closed, and all that was sent has been
    /// received. None of them where `max` is 0.
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
    /// sender.try_send(b"ask").expect("there is room");
    /// drop(sender);
    /// let mut read = Vec::new();
    /// while let Some(messages) = receiver.recv_many(64).await {
    ///     for message in &messages {
    ///         read.extend_from_slice(message);
    ///     }
    /// }
    /// assert_eq!(read, b"bidask");
    /// # });
    /// ```
    pub fn recv_many(&mut self, max: usize) -> ReceivingMany<'_> {
        ReceivingMany::new(self, max)
    }

    /// Receives the messages that are there, `max` at most, to be read where they lie and freed together.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever. Not when `max` is 0.
    ///
    /// ```
    /// use onbeat::channel::{TryRecvError, spsc_bytes};
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// assert_eq!(receiver.try_recv_many(8).unwrap_err(), TryRecvError::Empty);
    /// sender.try_send(b"bid")?;
    /// sender.try_send(b"ask")?;
    /// let mut lengths = Vec::new();
    /// for message in &receiver.try_recv_many(8)? {
    ///     lengths.push(message.len());
    /// }
    /// assert_eq!(lengths, [3, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_many(&mut self, max: usize) -> Result<ReadClaims<'_>, TryRecvError> {
        match self.find() {
            Found::Nothing if max > 0 => Err(TryRecvError::Empty),
            Found::Closed if max > 0 => Err(TryRecvError::Disconnected),
            Found::Message | Found::Nothing | Found::Closed => Ok(self.claims(max)),
        }
    }

    /// The poll of [`recv`](Self::recv), for futures written by hand. The latest call's waker is woken.
    ///
    /// ```
    /// use onbeat::channel::spsc_bytes;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(receiver.poll_recv(&mut cx).is_pending());
    /// sender.try_send(b"bid").unwrap();
    /// let Poll::Ready(Some(message)) = receiver.poll_recv(&mut cx) else { panic!("it was sent") };
    /// assert_eq!(&*message, b"bid");
    /// ```
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ReadClaim<'_>>> {
        ready!(self.courtesy.poll(cx));
        let is_message = self.poll_find_as(BY_HAND, &mut false, cx);
        let is_message = ready!(Courtesy::noting(is_message, A_VALUE));
        self.courtesy.spend();
        Poll::Ready(is_message.then(|| ReadClaim::new(self)))
    }

    /// Receives the next message on a plain thread, which sleeps while there is none. `None` as of
    /// [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use onbeat::channel::spsc_bytes;
    ///
    /// let (mut sender, mut receiver) = spsc_bytes::channel(1024);
    /// let reading = std::thread::spawn(move || receiver.blocking_recv().map(|bytes| bytes.len()));
    /// sender.blocking_send(b"bid").expect("the receiver is there");
    /// assert_eq!(reading.join().expect("it does not panic"), Some(3));
    /// ```
    #[track_caller]
    pub fn blocking_recv(&mut self) -> Option<ReadClaim<'_>> {
        blocking::wait(&mut self.recv())
    }

    /// As [`blocking_recv`](Self::blocking_recv), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: nothing came in that time, or nothing will come.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use onbeat::channel::{RecvTimeoutError, spsc_bytes};
    /// use std::time::Duration;
    ///
    /// let (sender, mut receiver) = spsc_bytes::channel(1024);
    /// let limit = Duration::from_millis(1);
    /// let error = receiver.blocking_recv_timeout(limit).unwrap_err();
    /// assert_eq!(error, RecvTimeoutError::Timeout);
    /// drop(sender);
    /// let error = receiver.blocking_recv_timeout(limit).unwrap_err();
    /// assert_eq!(error, RecvTimeoutError::Disconnected);
    /// ```
    #[track_caller]
    pub fn blocking_recv_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<ReadClaim<'_>, RecvTimeoutError> {
        match blocking::wait_for(&mut self.recv(), limit) {
            Some(received) => received.ok_or(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
        }
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

    /// Whether no message waits to be received. While senders work it may have changed already.
    ///
    /// ```
    /// let (mut sender, receiver) = onbeat::channel::spsc_bytes::channel(1024);
    /// assert!(receiver.is_empty());
    /// sender.try_send(b"bid").unwrap();
    /// assert!(!receiver.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
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
        self.poll_find_as(FUTURE, waits, cx)
    }

    fn poll_find_as(&mut self, id: u64, waits: &mut bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut found = self.attempt_find();
        if found.is_none() {
            *waits = true;
            self.ring().messages().register(id, cx.waker());
            found = self.attempt_find();
        }
        let Some(is_message) = found else {
            return Poll::Pending;
        };
        if mem::take(waits) {
            self.ring().messages().leave(id);
        }
        Poll::Ready(is_message)
    }

    /// Whether there is a message, or none will come. `None`: there is none now.
    pub(super) fn attempt_find(&mut self) -> Option<bool> {
        match self.find() {
            Found::Message => Some(true),
            Found::Closed => Some(false),
            Found::Nothing => None,
        }
    }

    /// Takes back what [`poll_find`](Self::poll_find) stored.
    pub(super) fn wait_no_more(&self, waits: &mut bool) {
        if mem::take(waits) {
            self.ring().messages().leave(FUTURE);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.consumer.bytes()
    }

    /// What is there, `max` messages at most.
    pub(super) fn claims(&mut self, max: usize) -> ReadClaims<'_> {
        let messages = self.consumer.count(max);
        ReadClaims::new(self, messages)
    }

    pub(super) fn head(&self) -> Position {
        self.consumer.head()
    }

    #[inline]
    pub(super) fn next_at(&self, at: &mut Position) -> Option<&[u8]> {
        self.consumer.next_at(at)
    }

    /// Frees the room of the first `messages`, then wakes who waits for room.
    pub(super) fn release_many(&mut self, messages: usize) {
        if self.consumer.release_many(messages) {
            self.ring().room().notify();
        }
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
        self.ring().messages().leave(FUTURE);
        self.ring().messages().leave(BY_HAND);
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
