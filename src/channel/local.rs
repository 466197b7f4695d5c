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
//! Invariants:
//!
//! - **open or promised**: `limit` is the number of values that may be in the channel while the promised
//!   places stay empty: the capacity less the promises, and 0 once the channel is closed. There is no room
//!   below it while senders wait. So sending compares with it alone;
//! - **two counters**: `sent` and `received` only rise, and their difference is the number of values.
//!   Sending writes one of them and receiving the other, which keeps either from waiting for the other's
//!   store;
//! - **last**: wakers are woken, cloned and dropped, and values dropped, when no list is borrowed and the
//!   state is whole, because either may come back here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use super::{SendError, TryRecvError, TrySendError};

/// A channel with room for `capacity` values.
///
/// # Panics
///
/// When `capacity` is 0.
#[track_caller]
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a local channel needs room for at least one value");
    let shared = Rc::new(Shared {
        places: (0..capacity.next_power_of_two()).map(|_| Cell::new(None)).collect(),
        capacity,
        limit: Cell::new(capacity),
        sent: Cell::new(0),
        received: Cell::new(0),
        senders: Cell::new(1),
        mode: Cell::new(Mode::Open),
        receiver_waits: Cell::new(false),
        waiting_receivers: RefCell::new(VecDeque::new()),
        waiting_senders: RefCell::new(VecDeque::new()),
        next_ticket: Cell::new(Ticket::POLLED_BY_HAND.0 + 1),
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The end that sends. Clones send into the same channel; the last one to be dropped closes it.
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
        Sending { shared: &self.shared, value: Some(value), ticket: None }
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
        self.shared.mode.get() == Mode::Closed
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
        self.shared.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let senders = self.shared.senders.get() - 1;
        self.shared.senders.set(senders);
        if senders == 0 {
            self.shared.close();
        }
    }
}

/// The end that receives, also as a `Stream`. Dropping it closes the channel and drops what is in it.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Receives the next value, and waits while there is none. `None`: the channel is closed, and all
    /// that was sent has been received.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&self) -> Receiving<'_, T> {
        Receiving { shared: &self.shared, ticket: None }
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

    /// The poll of [`recv`](Self::recv), for futures written by hand. The latest call's waker is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.shared.poll_recv(Ticket::POLLED_BY_HAND, cx)
    }

    /// Closes the channel. What was sent can still be received, and those who wait to send get their
    /// values back.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether nothing more will be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.mode.get() == Mode::Closed
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
        self.shared.capacity
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
        self.shared.close();
        while let Some(value) = self.shared.pop() {
            drop(value);
        }
    }
}

/// The future of [`Sender::send`].
///
/// # Cancellation
///
/// Dropping it drops the value, unsent, and gives up its place in the order. One that waits and is
/// forgotten instead of dropped keeps its place in the order, and then one place in the channel.
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a, T> {
    shared: &'a Shared<T>,
    /// `None` once it has been sent or given back.
    value: Option<T>,
    /// Its place in the order, from the poll that found no room until it has its answer.
    ticket: Option<Ticket>,
}

/// The value is moved, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Sending<'_, T> {
    /// With room for the value, or on a channel that is closed.
    fn complete(&mut self, has_room: bool) -> Poll<Result<(), SendError<T>>> {
        self.ticket = None;
        let value = self.value.take().expect("a send is not polled again after it was ready");
        if has_room {
            self.shared.push(value);
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(SendError(value)))
        }
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// After it has been ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut waker = None;
        loop {
            if this.shared.mode.get() == Mode::Closed {
                return this.complete(false);
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
                return this.complete(true);
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
#[must_use = "futures do nothing unless polled"]
pub struct Receiving<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<Ticket>,
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let shared = self.shared;
        match shared.try_recv() {
            Ok(value) => return Poll::Ready(Some(value)),
            Err(TryRecvError::Disconnected) => return Poll::Ready(None),
            Err(TryRecvError::Empty) => {}
        }
        let ticket = *self.ticket.get_or_insert_with(|| shared.ticket());
        shared.poll_recv(ticket, cx)
    }
}

impl<T> Drop for Receiving<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            drop(self.shared.receive_no_more(ticket));
        }
    }
}

/// What both ends share.
struct Shared<T> {
    /// A ring of a power of two of places: value number n is at place n modulo their number.
    places: Box<[Cell<Option<T>>]>,
    capacity: usize,
    limit: Cell<usize>,
    sent: Cell<usize>,
    received: Cell<usize>,
    senders: Cell<usize>,
    mode: Cell<Mode>,
    /// Whether `waiting_receivers` has an entry.
    receiver_waits: Cell<bool>,
    waiting_receivers: RefCell<VecDeque<Waiter>>,
    /// In order of tickets. Who has left the list of an open channel without dropping its ticket has
    /// been promised a place.
    waiting_senders: RefCell<VecDeque<Waiter>>,
    next_ticket: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Open,
    /// Somebody waits to send, so a place that is freed is promised at once.
    SendersWait,
    Closed,
}

/// Names one wait. Tickets rise, and none is given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

impl Ticket {
    const POLLED_BY_HAND: Self = Self(0);
}

struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

/// How a sender's wait stands.
enum Waits {
    /// It goes on, and the waker that was asked about is stored.
    Here,
    /// It goes on, and another waker is stored.
    WithAnother,
    /// It is over: a place is kept for it.
    Promised,
}

impl<T> Shared<T> {
    #[inline]
    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.has_room() {
            self.push(value);
            Ok(())
        } else if self.mode.get() == Mode::Closed {
            Err(TrySendError::Closed(value))
        } else {
            Err(TrySendError::Full(value))
        }
    }

    #[inline]
    fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.pop() {
            Some(value) => Ok(value),
            None if self.mode.get() == Mode::Closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        self.sent.get().wrapping_sub(self.received.get())
    }

    /// Whether there is a place that is promised to nobody.
    #[inline]
    fn has_room(&self) -> bool {
        self.len() < self.limit.get()
    }

    /// Puts a value into a place, of which there is one.
    #[inline]
    fn push(&self, value: T) {
        let sent = self.sent.get();
        let before = self.place(sent).replace(Some(value));
        debug_assert!(before.is_none(), "there is no room");
        self.sent.set(sent.wrapping_add(1));
        if self.receiver_waits.get() {
            self.wake_receivers();
        }
    }

    /// Takes the next value; that there is none shows in its place.
    #[inline]
    fn pop(&self) -> Option<T> {
        let received = self.received.get();
        let value = self.place(received).take()?;
        self.received.set(received.wrapping_add(1));
        if self.mode.get() == Mode::SendersWait {
            self.promise();
        }
        Some(value)
    }

    #[inline]
    fn place(&self, number: usize) -> &Cell<Option<T>> {
        &self.places[number & (self.places.len() - 1)]
    }

    /// A place is free while senders wait: it is promised to the one that has waited longest.
    #[cold]
    fn promise(&self) {
        let mut waiting = self.waiting_senders.borrow_mut();
        let first = waiting.pop_front();
        if waiting.is_empty() {
            self.mode.set(Mode::Open);
        }
        drop(waiting);
        if let Some(first) = first {
            self.limit.set(self.limit.get() - 1);
            first.waker.wake();
        }
    }

    /// A place that was promised is as free as any.
    fn end_promise(&self) {
        self.limit.set(self.limit.get() + 1);
    }

    fn ticket(&self) -> Ticket {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        Ticket(ticket)
    }

    fn waits(&self, ticket: Ticket, waker: &Waker) -> Waits {
        let waiting = self.waiting_senders.borrow();
        match waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            Ok(at) if waiting[at].waker.will_wake(waker) => Waits::Here,
            Ok(_) => Waits::WithAnother,
            Err(_) => Waits::Promised,
        }
    }

    /// Stores who is woken when a place is promised. Returns a waker to drop.
    fn wait_to_send(&self, ticket: &mut Option<Ticket>, waker: Waker) -> Option<Waker> {
        let mut waiting = self.waiting_senders.borrow_mut();
        if let Some(ticket) = *ticket {
            let at = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
            return Some(std::mem::replace(&mut waiting[at].waker, waker));
        }
        let new = self.ticket();
        *ticket = Some(new);
        waiting.push_back(Waiter { ticket: new, waker });
        self.mode.set(Mode::SendersWait);
        None
    }

    /// A sender stops waiting. If a place was promised to it, the next one gets that.
    #[cold]
    fn give_up(&self, ticket: Ticket) {
        if self.mode.get() == Mode::Closed {
            return;
        }
        let mut waiting = self.waiting_senders.borrow_mut();
        let Ok(at) = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) else {
            drop(waiting);
            self.end_promise();
            if self.mode.get() == Mode::SendersWait {
                self.promise();
            }
            return;
        };
        let left = waiting.remove(at);
        if waiting.is_empty() {
            self.mode.set(Mode::Open);
        }
        drop(waiting);
        drop(left);
    }

    fn poll_recv(&self, ticket: Ticket, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // Cloned before the look, because a waker's clone may be anybody's code.
        let waker = cx.waker().clone();
        match self.try_recv() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                drop(self.wait_to_receive(ticket, waker));
                Poll::Pending
            }
        }
    }

    /// Stores who is woken by the next value. Returns a waker to drop.
    fn wait_to_receive(&self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        let mut waiting = self.waiting_receivers.borrow_mut();
        if let Some(stored) = waiting.iter_mut().find(|waiter| waiter.ticket == ticket) {
            return Some(std::mem::replace(&mut stored.waker, waker));
        }
        waiting.push_back(Waiter { ticket, waker });
        self.receiver_waits.set(true);
        None
    }

    /// A receiver stops waiting. Returns a waker to drop.
    fn receive_no_more(&self, ticket: Ticket) -> Option<Waiter> {
        if !self.receiver_waits.get() {
            return None;
        }
        let mut waiting = self.waiting_receivers.borrow_mut();
        let at = waiting.iter().position(|waiter| waiter.ticket == ticket)?;
        let left = waiting.remove(at);
        self.receiver_waits.set(!waiting.is_empty());
        left
    }

    /// Wakes all who wait to receive: one will have the value, and the others wait again. One that waits
    /// again while this runs is not woken again.
    #[cold]
    fn wake_receivers(&self) {
        let count = self.waiting_receivers.borrow().len();
        for _ in 0..count {
            let mut waiting = self.waiting_receivers.borrow_mut();
            let first = waiting.pop_front();
            self.receiver_waits.set(!waiting.is_empty());
            drop(waiting);
            if let Some(first) = first {
                first.waker.wake();
            }
        }
    }

    #[cold]
    fn close(&self) {
        if self.mode.replace(Mode::Closed) == Mode::Closed {
            return;
        }
        self.limit.set(0);
        self.receiver_waits.set(false);
        let mut waiting = self.waiting_senders.take();
        waiting.append(&mut self.waiting_receivers.borrow_mut());
        wake_all(waiting);
    }
}

/// Wakes each, also those behind one whose waker panics.
fn wake_all(waiting: VecDeque<Waiter>) {
    struct Rest(VecDeque<Waiter>);
    impl Drop for Rest {
        fn drop(&mut self) {
            while let Some(waiter) = self.0.pop_front() {
                waiter.waker.wake();
            }
        }
    }
    let mut rest = Rest(waiting);
    while let Some(waiter) = rest.0.pop_front() {
        waiter.waker.wake();
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("is_closed", &(self.mode.get() == Mode::Closed))
            .finish()
    }
}

/// Each shows the state of its channel, whatever the values are.
macro_rules! shows_its_channel {
    ($($name:literal: $kind:ty),*) => {$(
        impl<T> fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple($name).field(&self.shared).finish()
            }
        }
    )*};
}

shows_its_channel!(
    "Sender": Sender<T>,
    "Receiver": Receiver<T>,
    "Sending": Sending<'_, T>,
    "Receiving": Receiving<'_, T>
);
