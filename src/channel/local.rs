//! A bounded channel between tasks of one thread.
//!
//! Values arrive in the order in which they were sent. No runtime is needed, and any executor's wakers
//! do. After [`channel`] has made the places, sending and receiving allocate nothing, but for the lists
//! of those who wait, which keep their memory.
//!
//! A place that is freed while senders wait is promised to the one that has waited longest, so nobody
//! overtakes it, and it finds its place when it is polled. Dropped before that, it passes the place on.
//!
//! ```
//! use bevy_ecs::world::World;
//! use onbeat::{Runtime, channel::local, spawn_boxed};
//!
//! let mut world = World::new();
//! let sum = Runtime::new(&mut world).block_on(async {
//!     let (sender, receiver) = local::channel(8);
//!     let sending = spawn_boxed(async move {
//!         for price in [100, 101, 102] {
//!             sender.send(price).await.expect("the receiver is there until it has all");
//!         }
//!     });
//!     let mut sum = 0;
//!     while let Some(price) = receiver.recv().await {
//!         sum += price;
//!     }
//!     sending.await;
//!     sum
//! });
//! assert_eq!(sum, 303);
//! ```
//!
//! The ends stay on their thread:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(onbeat::channel::local::channel::<u8>(1).0);
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(onbeat::channel::local::channel::<u8>(1).1);
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(onbeat::channel::local::channel::<u8>(1).0);
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(onbeat::channel::local::channel::<u8>(1).1);
//! ```
#![forbid(unsafe_code)]

mod shared;

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    SendError, TryRecvError, TrySendError,
    budget::{A_VALUE, Courtesy, ROOM},
    sync,
};
use crate::wakers::{drop_all, quietly};
use shared::{Shared, Ticket, Waits};

/// A channel with room for `capacity` values.
///
/// # Panics
///
/// When `capacity` is 0 or more than 2^32.
///
/// ```
/// let (sender, receiver) = onbeat::channel::local::channel(2);
/// assert_eq!(sender.try_send('a'), Ok(()));
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// ```
#[track_caller]
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a local channel needs room for at least one value");
    assert!(
        capacity <= sync::CAPACITY_MAX,
        "a channel for {capacity} values: {} at most",
        sync::CAPACITY_MAX
    );
    let shared = Rc::new(Shared::new(capacity));
    (Sender { shared: shared.clone() }, Receiver { shared, courtesy: Courtesy::default() })
}

/// The end that sends. Clones send into the same channel; the last one to be dropped closes it.
///
/// ```
/// use onbeat::channel::local;
///
/// let (sender, receiver) = local::channel(2);
/// let other = sender.clone();
/// # futures::executor::block_on(async {
/// sender.send(100).await?;
/// # Ok::<(), onbeat::channel::SendError<i32>>(())
/// # }).unwrap();
/// other.try_send(101).unwrap();
/// assert_eq!((sender.len(), sender.capacity(), sender.is_empty()), (2, 2, false));
/// assert!(sender.try_send(102).unwrap_err().is_full());
///
/// sender.close();
/// assert!(other.is_closed());
/// assert!(other.try_send(103).unwrap_err().is_closed());
/// assert_eq!(receiver.try_recv(), Ok(100));
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
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
    /// Dropping the future drops the value, unsent, and gives up its place in the order.
    pub fn send(&self, value: T) -> Sending<'_, T> {
        let courtesy = Courtesy::default();
        Sending { shared: &self.shared, value: Some(value), ticket: None, courtesy }
    }

    /// Sends a value if there is a place.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value when there is none, or when the channel is closed.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.try_send(value)
    }

    /// Closes the channel for all its senders. What was sent can still be received.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether sending is an error from now on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many values wait to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.add_sender();
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

/// The end that receives, also as a `Stream`. Dropping it closes the channel and drops what is in it.
///
/// ```
/// use onbeat::channel::{TryRecvError, local};
/// use std::future::poll_fn;
///
/// let (sender, mut receiver) = local::channel(4);
/// for price in [100, 101, 102] {
///     sender.try_send(price).unwrap();
/// }
/// assert_eq!((receiver.len(), receiver.capacity(), receiver.is_empty()), (3, 4, false));
/// # futures::executor::block_on(async {
/// assert_eq!(receiver.recv().await, Some(100));
/// assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, Some(101));
/// # });
///
/// receiver.close();
/// assert!(receiver.is_closed() && sender.is_closed());
/// assert_eq!(receiver.try_recv(), Ok(102));
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
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
    pub fn recv(&self) -> Receiving<'_, T> {
        Receiving { shared: &self.shared, ticket: None, courtesy: Courtesy::default() }
    }

    /// Receives what is there, `max` values at most, at the end of `into`, and waits while there is
    /// nothing. Gives their number. 0: the channel is closed, and all that was sent has been received,
    /// or `max` is 0.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (sender, receiver) = onbeat::channel::local::channel(4);
    /// for price in [100, 101, 102] {
    ///     sender.try_send(price).unwrap();
    /// }
    /// let mut prices = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut prices, 2).await, 2);
    /// assert_eq!(prices, [100, 101]);
    /// # });
    /// ```
    pub fn recv_many<'a>(&'a self, into: &'a mut Vec<T>, max: usize) -> ReceivingMany<'a, T> {
        ReceivingMany { one: self.recv(), into, max }
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared.try_recv()
    }

    /// Receives what is there, `max` values at most, at the end of `into`, and gives their number.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: nothing is there, now or for ever. Not when `max` is 0.
    ///
    /// ```
    /// use onbeat::channel::{TryRecvError, local};
    ///
    /// let (sender, receiver) = local::channel(4);
    /// let mut prices = Vec::new();
    /// assert_eq!(receiver.try_recv_many(&mut prices, 8), Err(TryRecvError::Empty));
    /// sender.try_send(100).unwrap();
    /// sender.try_send(101).unwrap();
    /// assert_eq!(receiver.try_recv_many(&mut prices, 8), Ok(2));
    /// assert_eq!(prices, [100, 101]);
    /// ```
    pub fn try_recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, TryRecvError> {
        self.shared.try_recv_many(into, max)
    }

    /// The poll of [`recv`](Self::recv), for futures written by hand. The latest call's waker is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(self.courtesy.poll(cx));
        let take = |shared: &Shared<T>| shared.try_recv();
        let received = ready!(Courtesy::noting(
            self.shared.poll_recv(Ticket::POLLED_BY_HAND, cx, take),
            A_VALUE
        ));
        self.courtesy.spend();
        Poll::Ready(received)
    }

    /// Closes the channel. What was sent can still be received, and those who wait to send get their
    /// values back.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether nothing more will be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many values wait to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), self.is_closed().then_some(self.len()))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        /// What is left is dropped also when the waker of a sender panics.
        struct Rest<'a, T>(&'a Shared<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                drop_all(std::iter::from_fn(|| self.0.pop()));
            }
        }
        let rest = Rest(&self.shared);
        rest.0.close();
    }
}

/// The future of [`Sender::send`].
///
/// # Cancellation
///
/// Dropping it drops the value, unsent, and gives up its place in the order. One that waits and is
/// forgotten instead of dropped keeps its place in the order, and then one place in the channel.
///
/// ```
/// use onbeat::channel::local::{self, Sending};
///
/// # futures::executor::block_on(async {
/// let (sender, receiver) = local::channel(1);
/// let sending: Sending<'_, u8> = sender.send(7);
/// assert_eq!(sending.await, Ok(()));
/// assert_eq!(receiver.try_recv(), Ok(7));
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a, T> {
    shared: &'a Shared<T>,
    /// `None` once it has been sent or given back.
    value: Option<T>,
    /// Its place in the order, from the poll that found no room until it has its answer.
    ticket: Option<Ticket>,
    courtesy: Courtesy,
}

/// The value is moved, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Sending<'_, T> {
    /// It is ready.
    #[inline(always)]
    fn end(&mut self) -> T {
        self.ticket = None;
        self.courtesy.spend();
        self.value.take().expect("a send is not polled again after it was ready")
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// After it has been ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.courtesy.poll(cx));
        if this.ticket.is_some() || !this.shared.has_room() {
            return Courtesy::noting(this.poll_without_room(cx), ROOM);
        }
        let value = this.end();
        this.shared.push(value);
        Poll::Ready(Ok(()))
    }
}

impl<T> Sending<'_, T> {
    /// Apart, so that who finds room saves no registers for this.
    #[cold]
    #[inline(never)]
    fn poll_without_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let this = self;
        let mut waker = None;
        loop {
            if this.shared.is_closed() {
                quietly(|| drop(waker));
                return Poll::Ready(Err(SendError(this.end())));
            }
            let has_room = match this.ticket {
                None => this.shared.has_room(),
                Some(ticket) => match this.shared.waits(ticket, cx.waker()) {
                    Waits::Here => return Poll::Pending,
                    Waits::WithAnother => false,
                    Waits::Promised => {
                        this.shared.end_promise();
                        true
                    }
                },
            };
            if has_room {
                let value = this.end();
                this.shared.push(value);
                return Poll::Ready(Ok(()));
            }
            // Cloning a waker may be anybody's code, so all is looked at again after it.
            match waker.take() {
                None => waker = Some(cx.waker().clone()),
                Some(waker) => {
                    drop(this.shared.wait_to_send(&mut this.ticket, waker));
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<T> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.give_up(ticket);
        }
    }
}

/// The future of [`Receiver::recv`].
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// ```
/// use onbeat::channel::local::{self, Receiving};
///
/// # futures::executor::block_on(async {
/// let (sender, receiver) = local::channel(1);
/// let receiving: Receiving<'_, u8> = receiver.recv();
/// sender.try_send(7).unwrap();
/// assert_eq!(receiving.await, Some(7));
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Receiving<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<Ticket>,
    courtesy: Courtesy,
}

impl<T> Receiving<'_, T> {
    #[inline]
    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&Shared<T>) -> Result<R, TryRecvError>,
    ) -> Poll<Option<R>> {
        ready!(self.courtesy.poll(cx));
        let received = match take(self.shared) {
            Ok(taken) => Some(taken),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let ticket = *self.ticket.get_or_insert_with(|| self.shared.ticket());
                ready!(Courtesy::noting(self.shared.poll_recv(ticket, cx, take), A_VALUE))
            }
        };
        self.courtesy.spend();
        Poll::Ready(received)
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_with(cx, Shared::try_recv)
    }
}

impl<T> Drop for Receiving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.receive_no_more(ticket);
        }
    }
}

/// The future of [`Receiver::recv_many`].
///
/// # Cancellation
///
/// Dropping it loses nothing: what it has received is in the vector, and then it is ready.
///
/// ```
/// use onbeat::channel::local::{self, ReceivingMany};
///
/// # futures::executor::block_on(async {
/// let (sender, receiver) = local::channel(2);
/// sender.try_send(7).unwrap();
/// sender.try_send(8).unwrap();
/// let mut values = Vec::new();
/// let receiving: ReceivingMany<'_, u8> = receiver.recv_many(&mut values, 2);
/// assert_eq!(receiving.await, 2);
/// assert_eq!(values, [7, 8]);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct ReceivingMany<'a, T> {
    one: Receiving<'a, T>,
    into: &'a mut Vec<T>,
    max: usize,
}

impl<T> Future for ReceivingMany<'_, T> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let Self { one, into, max } = &mut *self;
        let received = ready!(one.poll_with(cx, |shared| shared.try_recv_many(into, *max)));
        Poll::Ready(received.unwrap_or(0))
    }
}

/// Each shows the state of its channel, whatever the values are.
macro_rules! shows_its_channel {
    ($($name:literal: $kind:ty, $($shared:ident).+;)*) => {$(
        impl<T> fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple($name).field(&self.$($shared).+).finish()
            }
        }
    )*};
}

shows_its_channel!(
    "Sender": Sender<T>, shared;
    "Receiver": Receiver<T>, shared;
    "Sending": Sending<'_, T>, shared;
    "Receiving": Receiving<'_, T>, shared;
    "ReceivingMany": ReceivingMany<'_, T>, one.shared;
);
