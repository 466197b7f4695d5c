//! The futures of an mpsc channel.
#![forbid(unsafe_code)]

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    super::{
        SendError, TryRecvError, TrySendError,
        blocking::Attempt,
        budget::{A_VALUE, Courtesy, ROOM},
        shows_its_channel,
    },
    line::Ticket,
    protocol::{self, Consumer, Producer},
    queue::Nothing,
};

/// The future of [`Sender::send`](super::Sender::send).
///
/// # Cancellation
///
/// Dropping it drops the value, unsent, and gives up its place in the line. One that waits and is
/// forgotten instead of dropped keeps its place in the line, and then one place in the channel.
///
/// ```
/// use onbeat::channel::mpsc::{self, Sending};
///
/// # futures::executor::block_on(async {
/// let (sender, mut receiver) = mpsc::channel(1);
/// let sending: Sending<'_, u8> = sender.send(7);
/// assert_eq!(sending.await, Ok(()));
/// assert_eq!(receiver.try_recv(), Ok(7));
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a, T> {
    producer: &'a Producer<T>,
    /// `None` once it has been sent or given back.
    value: Option<T>,
    /// Its place in the line, from the poll that found no room until it has its answer.
    ticket: Option<Ticket>,
    courtesy: Courtesy,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(producer: &'a Producer<T>, value: T) -> Self {
        let courtesy = Courtesy::default();
        Self { producer, value: Some(value), ticket: None, courtesy }
    }

    /// The value of a send that is not ready.
    pub(super) fn into_value(mut self) -> T {
        self.value.take().expect("a send that is not ready has its value")
    }
}

/// The value is moved, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// After it has been ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.courtesy.poll(cx));
        let sent = protocol::poll_send(this.producer, &mut this.ticket, &mut this.value, cx);
        let sent = ready!(Courtesy::noting(sent, ROOM));
        this.courtesy.spend();
        Poll::Ready(sent)
    }
}

impl<T> Attempt for Sending<'_, T> {
    fn attempt(&mut self) -> Option<Self::Output> {
        match protocol::try_send(self.producer, self.value.take()?) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Closed(value)) => Some(Err(SendError(value))),
            Err(TrySendError::Full(value)) => {
                self.value = Some(value);
                None
            }
        }
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            protocol::give_up(self.producer, ticket);
        }
    }
}

/// The future of [`Receiver::recv`](super::Receiver::recv).
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// ```
/// use onbeat::channel::mpsc::{self, Receiving};
///
/// # futures::executor::block_on(async {
/// let (sender, mut receiver) = mpsc::channel(1);
/// let receiving: Receiving<'_, u8> = receiver.recv();
/// sender.try_send(7).unwrap();
/// assert_eq!(receiving.await, Some(7));
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Receiving<'a, T> {
    consumer: &'a mut Consumer<T>,
    /// Whether it has stored its waker.
    waits: bool,
    courtesy: Courtesy,
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(consumer: &'a mut Consumer<T>) -> Self {
        Self { consumer, waits: false, courtesy: Courtesy::default() }
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(&mut Consumer<T>) -> Result<R, Nothing>,
    ) -> Poll<Option<R>> {
        ready!(self.courtesy.poll(cx));
        let received = protocol::poll_recv(self.consumer, &mut self.waits, cx, take);
        let received = Courtesy::noting(received, A_VALUE);
        if received.is_ready() {
            self.courtesy.spend();
        }
        received
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_with(cx, Consumer::pop)
    }
}

impl<T> Attempt for Receiving<'_, T> {
    fn attempt(&mut self) -> Option<Option<T>> {
        match protocol::try_recv(self.consumer) {
            Ok(value) => Some(Some(value)),
            Err(TryRecvError::Disconnected) => Some(None),
            Err(TryRecvError::Empty) => None,
        }
    }
}

impl<T> Drop for Receiving<'_, T> {
    fn drop(&mut self) {
        if self.waits {
            protocol::stop_waiting(self.consumer);
        }
    }
}

/// The future of [`Receiver::recv_many`](super::Receiver::recv_many).
///
/// # Cancellation
///
/// Dropping it loses nothing: what it has received is in the vector, and then it is ready.
///
/// ```
/// use onbeat::channel::mpsc::{self, ReceivingMany};
///
/// # futures::executor::block_on(async {
/// let (sender, mut receiver) = mpsc::channel(2);
/// sender.try_send(7).unwrap();
/// let mut values = Vec::new();
/// let receiving: ReceivingMany<'_, u8> = receiver.recv_many(&mut values, 2);
/// assert_eq!(receiving.await, 1);
/// assert_eq!(values, [7]);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct ReceivingMany<'a, T> {
    one: Receiving<'a, T>,
    into: &'a mut Vec<T>,
    max: usize,
}

impl<'a, T> ReceivingMany<'a, T> {
    pub(super) fn new(one: Receiving<'a, T>, into: &'a mut Vec<T>, max: usize) -> Self {
        Self { one, into, max }
    }
}

impl<T> Future for ReceivingMany<'_, T> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let Self { one, into, max } = &mut *self;
        let received = ready!(one.poll_with(cx, |consumer| consumer.pop_many(into, *max)));
        Poll::Ready(received.unwrap_or(0))
    }
}

shows_its_channel!(
    "Sending": Sending<'_, T>, producer;
    "Receiving": Receiving<'_, T>, consumer;
    "ReceivingMany": ReceivingMany<'_, T>, one.consumer;
);
