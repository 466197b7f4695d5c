//! A bounded channel from any number of senders to one receiver, on any threads.
//!
//! The values of one sender arrive in the order in which it sent them. After [`channel`] has made the
//! places, sending and receiving allocate nothing, but for the line of those who wait to send, which keeps
//! its memory, and lock nothing; a lock is taken for some instructions by who waits, and by whoever sends
//! or receives while senders wait. Any executor's wakers do, and no executor is needed: a plain thread calls
//! [`Sender::blocking_send`] and [`Receiver::blocking_recv`].
//!
//! ```
//! use bevy_ecs::world::World;
//! use onbeat::{Runtime, channel::mpsc};
//! use std::thread;
//!
//! let (sender, mut receiver) = mpsc::channel(64);
//! let feeds = [100, 101, 102].map(|price| {
//!     let sender = sender.clone();
//!     thread::spawn(move || sender.blocking_send(price))
//! });
//! drop(sender);
//! let mut world = World::new();
//! let sum = Runtime::new(&mut world).block_on(async {
//!     let mut sum = 0;
//!     while let Some(price) = receiver.recv().await {
//!         sum += price;
//!     }
//!     sum
//! });
//! assert_eq!(sum, 303);
//! assert!(feeds.into_iter().all(|feed| feed.join().is_ok_and(|sent| sent.is_ok())));
//! ```
//!
//! # Fairness
//!
//! A place that is freed while senders wait is promised to the one that has waited longest, and whoever
//! comes new finds a full channel, or waits behind. A send that is dropped passes its place on. Only a
//! `try_send` or a `send` that began before the other waited may still take the place first; then that one
//! waits on at the head of the line.
//!
//! # Closing
//!
//! Either end closes the channel: any sender or the receiver by `close`, the receiver when it is dropped,
//! and the last sender when it is dropped. From that moment nothing more is
//! sent, and what was sent can still be received, to the last value. When the receiver is dropped, what
//! is in the channel is dropped with it.
//!
//! # One owner
//!
//! The receiver has one owner at a time: all that receives takes `&mut Receiver`, and it is not `Clone`,
//! so two threads cannot use it (`channel_ends_have_one_owner`). Senders are cloned and shared at will.
//!
//! ```compile_fail,E0499
//! let (_sender, mut receiver) = onbeat::channel::mpsc::channel::<u8>(1);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| receiver.try_recv());
//!     scope.spawn(|| receiver.try_recv());
//! });
//! ```
//!
//! ```compile_fail,E0599
//! let (_sender, receiver) = onbeat::channel::mpsc::channel::<u8>(1);
//! let _ = receiver.clone();
//! ```
//!
//! Values that must stay on their thread keep the ends there:
//!
//! ```compile_fail,E0277
//! let (sender, _receiver) = onbeat::channel::mpsc::channel(1);
//! std::thread::spawn(move || sender.try_send(std::rc::Rc::new(1)));
//! ```

mod futures;
pub(crate) mod line;
pub(crate) mod protocol;
pub(crate) mod queue;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

pub use futures::{Receiving, ReceivingMany, Sending};

use futures_core::Stream;

use super::{
    RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, blocking,
    budget::{A_VALUE, Courtesy},
    shows_its_channel, sync,
};
use protocol::{Consumer, Producer};

/// A channel with room for `capacity` values.
///
/// # Panics
///
/// When `capacity` is 0 or more than 2^32.
///
/// ```
/// let (sender, mut receiver) = onbeat::channel::mpsc::channel(2);
/// assert_eq!(sender.try_send('a'), Ok(()));
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// ```
#[track_caller]
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "an mpsc channel needs room for at least one value");
    assert!(
        capacity <= sync::CAPACITY_MAX,
        "a channel for {capacity} values: {} at most",
        sync::CAPACITY_MAX
    );
    let (producer, consumer) = protocol::open(capacity);
    (Sender { producer }, Receiver { consumer, courtesy: Courtesy::default() })
}

/// The end that sends. Clones send into the same channel; the last one to be dropped closes it.
///
/// ```
/// let (sender, mut receiver) = onbeat::channel::mpsc::channel(2);
/// let other = sender.clone();
/// sender.try_send(7)?;
/// drop(sender);
/// other.try_send(8)?;
/// drop(other);
/// assert_eq!(receiver.blocking_recv(), Some(7));
/// assert_eq!(receiver.blocking_recv(), Some(8));
/// assert_eq!(receiver.blocking_recv(), None);
/// # Ok::<(), onbeat::channel::TrySendError<i32>>(())
/// ```
pub struct Sender<T> {
    producer: Producer<T>,
}

impl<T> Sender<T> {
    /// Sends a value, and waits for a place if there is none.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value when the channel is closed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the value, unsent, and gives up its place in the line.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// sender.send(7).await?;
    /// assert_eq!(receiver.recv().await, Some(7));
    /// # Ok::<(), onbeat::channel::SendError<i32>>(())
    /// # }).unwrap();
    /// ```
    pub fn send(&self, value: T) -> Sending<'_, T> {
        Sending::new(&self.producer, value)
    }

    /// Sends a value if there is a place.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value when there is none, or when the channel is closed.
    ///
    /// ```
    /// use onbeat::channel::{TrySendError, mpsc};
    ///
    /// let (sender, receiver) = mpsc::channel(1);
    /// assert_eq!(sender.try_send(1), Ok(()));
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        protocol::try_send(&self.producer, value)
    }

    /// Sends a value from a plain thread, which sleeps while there is no place.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value when the channel is closed.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || sender.blocking_send(7));
    /// assert_eq!(receiver.blocking_recv(), Some(7));
    /// assert_eq!(thread.join().unwrap(), Ok(()));
    /// ```
    #[track_caller]
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        blocking::wait(&mut self.send(value))
    }

    /// As [`blocking_send`](Self::blocking_send), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the value when there was no place in that time, or when the channel is
    /// closed.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// use onbeat::channel::{SendTimeoutError, mpsc};
    /// use std::time::Duration;
    ///
    /// let (sender, _receiver) = mpsc::channel(1);
    /// assert_eq!(sender.blocking_send_timeout(1, Duration::from_millis(1)), Ok(()));
    /// let error = sender.blocking_send_timeout(2, Duration::from_millis(1));
    /// assert_eq!(error, Err(SendTimeoutError::Timeout(2)));
    /// ```
    #[track_caller]
    pub fn blocking_send_timeout(
        &self,
        value: T,
        limit: Duration,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut sending = self.send(value);
        match blocking::wait_for(&mut sending, limit) {
            Some(sent) => sent.map_err(|error| SendTimeoutError::Closed(error.0)),
            None => Err(SendTimeoutError::Timeout(sending.into_value())),
        }
    }

    /// Closes the channel for all its senders. What was sent can still be received.
    ///
    /// ```
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// sender.try_send(7).unwrap();
    /// sender.close();
    /// assert!(sender.try_send(8).unwrap_err().is_closed());
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    pub fn close(&self) {
        protocol::close_by_sender(&self.producer);
    }

    /// Whether sending is an error from now on.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::mpsc::channel::<u8>(1);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.producer.is_closed()
    }

    /// How many values wait to be received, those counted that are just being sent. While others
    /// work it may have changed already.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producer.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room at once.
    ///
    /// ```
    /// let (sender, _receiver) = onbeat::channel::mpsc::channel(2);
    /// sender.try_send(7).unwrap();
    /// assert_eq!((sender.len(), sender.is_empty(), sender.capacity()), (1, false, 2));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.producer.capacity()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { producer: protocol::add_sender(&self.producer) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        protocol::remove_sender(&self.producer);
    }
}

/// The end that receives, also as a `Stream`. Dropping it closes the channel and drops what is in it.
///
/// ```
/// use futures::StreamExt;
///
/// let (sender, receiver) = onbeat::channel::mpsc::channel(4);
/// for price in [100, 101] {
///     sender.try_send(price)?;
/// }
/// drop(sender);
/// let prices: Vec<_> = futures::executor::block_on(receiver.collect());
/// assert_eq!(prices, [100, 101]);
/// # Ok::<(), onbeat::channel::TrySendError<i32>>(())
/// ```
pub struct Receiver<T> {
    consumer: Consumer<T>,
    /// Of [`poll_recv`](Self::poll_recv), which has no future to keep it in.
    courtesy: Courtesy,
}

impl<T> Receiver<T> {
    /// Receives the next value, and waits while there is none. `None`: the channel is closed, and all
    /// that was sent has been received.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// sender.try_send(7).unwrap();
    /// assert_eq!(receiver.recv().await, Some(7));
    /// drop(sender);
    /// assert_eq!(receiver.recv().await, None);
    /// # });
    /// ```
    pub fn recv(&mut self) -> Receiving<'_, T> {
        Receiving::new(&mut self.consumer)
    }

    /// Receives what is there, `max` values at most, at the end of `into`, and waits while there is
    /// nothing. Gives their number. 0: the channel is closed, and all that was sent has been received,
    /// or `max` is 0. The places are freed together, which costs less than one by one.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(4);
    /// for price in [100, 101, 102] {
    ///     sender.try_send(price).unwrap();
    /// }
    /// let mut prices = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut prices, 2).await, 2);
    /// assert_eq!(prices, [100, 101]);
    /// # });
    /// ```
    pub fn recv_many<'a>(&'a mut self, into: &'a mut Vec<T>, max: usize) -> ReceivingMany<'a, T> {
        ReceivingMany::new(self.recv(), into, max)
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever.
    ///
    /// ```
    /// use onbeat::channel::{TryRecvError, mpsc};
    ///
    /// let (sender, mut receiver) = mpsc::channel(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send(7).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        protocol::try_recv(&mut self.consumer)
    }

    /// Receives what is there, `max` values at most, at the end of `into`, and gives their number. The
    /// places are freed together, which costs less than one by one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever. Not when `max` is 0.
    ///
    /// ```
    /// use onbeat::channel::{TryRecvError, mpsc};
    ///
    /// let (sender, mut receiver) = mpsc::channel(4);
    /// let mut prices = Vec::new();
    /// assert_eq!(receiver.try_recv_many(&mut prices, 8), Err(TryRecvError::Empty));
    /// sender.try_send(100).unwrap();
    /// sender.try_send(101).unwrap();
    /// assert_eq!(receiver.try_recv_many(&mut prices, 8), Ok(2));
    /// assert_eq!(prices, [100, 101]);
    /// ```
    pub fn try_recv_many(&mut self, into: &mut Vec<T>, max: usize) -> Result<usize, TryRecvError> {
        protocol::try_recv_many(&mut self.consumer, into, max)
    }

    /// The poll of [`recv`](Self::recv), for futures written by hand. The latest call's waker is woken, unless
    /// a `recv` was polled with another one since.
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
    /// sender.try_send(7).unwrap();
    /// assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(7)));
    /// ```
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(self.courtesy.poll(cx));
        let received = protocol::poll_recv(&mut self.consumer, &mut false, cx, Consumer::pop);
        let received = ready!(Courtesy::noting(received, A_VALUE));
        self.courtesy.spend();
        Poll::Ready(received)
    }

    /// Receives the next value on a plain thread, which sleeps while there is none. `None`: the channel
    /// is closed, and all that was sent has been received.
    ///
    /// # Panics
    ///
    /// Inside a running onbeat runtime, which it would stop.
    ///
    /// ```
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || receiver.blocking_recv());
    /// sender.try_send(7).unwrap();
    /// assert_eq!(thread.join().unwrap(), Some(7));
    /// ```
    #[track_caller]
    pub fn blocking_recv(&mut self) -> Option<T> {
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
    /// use onbeat::channel::{RecvTimeoutError, mpsc};
    /// use std::time::Duration;
    ///
    /// let (sender, mut receiver) = mpsc::channel::<u8>(1);
    /// let limit = Duration::from_millis(1);
    /// assert_eq!(receiver.blocking_recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    /// drop(sender);
    /// assert_eq!(receiver.blocking_recv_timeout(limit), Err(RecvTimeoutError::Disconnected));
    /// ```
    #[track_caller]
    pub fn blocking_recv_timeout(&mut self, limit: Duration) -> Result<T, RecvTimeoutError> {
        match blocking::wait_for(&mut self.recv(), limit) {
            Some(received) => received.ok_or(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Closes the channel. What was sent can still be received, and senders that wait get their values
    /// back.
    ///
    /// ```
    /// let (sender, mut receiver) = onbeat::channel::mpsc::channel(2);
    /// sender.try_send(7).unwrap();
    /// receiver.close();
    /// assert!(sender.try_send(8).unwrap_err().is_closed());
    /// assert_eq!(receiver.blocking_recv(), Some(7));
    /// assert_eq!(receiver.blocking_recv(), None);
    /// ```
    pub fn close(&self) {
        protocol::close_by_receiver(&self.consumer);
    }

    /// Whether nothing more will be sent.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::mpsc::channel(1);
    /// sender.try_send(7).unwrap();
    /// drop(sender);
    /// assert!(receiver.is_closed() && !receiver.is_empty());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.consumer.is_closed()
    }

    /// How many values wait to be received, those counted that are just being sent. While others
    /// work it may have changed already.
    #[must_use]
    pub fn len(&self) -> usize {
        self.consumer.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room at once.
    ///
    /// ```
    /// let (sender, receiver) = onbeat::channel::mpsc::channel(2);
    /// sender.try_send(7).unwrap();
    /// assert_eq!((receiver.len(), receiver.is_empty(), receiver.capacity()), (1, false, 2));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.consumer.capacity()
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The length after the look: nothing is sent once the channel is closed.
        let is_closed = self.is_closed();
        let len = self.len();
        (len, is_closed.then_some(len))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        /// What is left is dropped also when the waker of a sender panics.
        struct Leave<'a, T>(&'a mut Consumer<T>);
        impl<T> Drop for Leave<'_, T> {
            fn drop(&mut self) {
                protocol::stop_waiting(self.0);
                protocol::drop_rest(self.0);
            }
        }
        let leave = Leave(&mut self.consumer);
        protocol::close_by_receiver(leave.0);
    }
}

shows_its_channel!(
    "Sender": Sender<T>, producer;
    "Receiver": Receiver<T>, consumer;
);
