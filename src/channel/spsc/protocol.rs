//! What the ends of an spsc channel say to each other: each operation on the ring, followed by a look
//! at who waits for it.
#![forbid(unsafe_code)]

use std::task::{Context, Poll};

use crate::wakers::{drop_all, wake_all};

use super::{
    super::{SendError, TryRecvError, TrySendError, bell::Bell},
    ring::{self, ring},
};

pub(crate) type Producer<T> = ring::Producer<T, Waits>;
pub(crate) type Consumer<T> = ring::Consumer<T, Waits>;

/// Who waits at either end.
#[derive(Debug)]
pub(crate) struct Waits {
    receiver: Bell,
    sender: Bell,
}

pub(crate) fn open<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring(capacity, Waits { receiver: Bell::new(), sender: Bell::new() })
}

#[inline]
pub(crate) fn try_send<T>(producer: &mut Producer<T>, value: T) -> Result<(), TrySendError<T>> {
    producer.push(value)?;
    producer.with().receiver.ring();
    Ok(())
}

/// Sends the value, which is left where it is while there is no room.
#[inline]
pub(crate) fn poll_send<T>(
    producer: &mut Producer<T>,
    value: &mut Option<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<T>>> {
    let sent = take_and_send(producer, value);
    if sent.is_pending() || *waits {
        return wait_to_send(producer, value, waits, cx, sent);
    }
    sent
}

#[inline(always)]
fn take_and_send<T>(
    producer: &mut Producer<T>,
    value: &mut Option<T>,
) -> Poll<Result<(), SendError<T>>> {
    let own = value.take().expect("a send is not polled again after it was ready");
    match try_send(producer, own) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(TrySendError::Closed(own)) => Poll::Ready(Err(SendError(own))),
        Err(TrySendError::Full(own)) => {
            *value = Some(own);
            Poll::Pending
        }
    }
}

/// Apart, so that who finds room saves no registers for this.
#[cold]
#[inline(never)]
fn wait_to_send<T>(
    producer: &mut Producer<T>,
    value: &mut Option<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
    mut sent: Poll<Result<(), SendError<T>>>,
) -> Poll<Result<(), SendError<T>>> {
    if sent.is_pending() {
        producer.with().sender.wait(cx.waker());
        *waits = true;
        sent = take_and_send(producer, value);
    }
    if sent.is_ready() {
        *waits = false;
        producer.with().sender.leave();
    }
    sent
}

#[inline]
pub(crate) fn try_recv<T>(consumer: &mut Consumer<T>) -> Result<T, TryRecvError> {
    let value = consumer.pop()?;
    consumer.with().sender.ring_quietly();
    Ok(value)
}

pub(crate) fn try_recv_many<T>(
    consumer: &mut Consumer<T>,
    into: &mut Vec<T>,
    max: usize,
) -> Result<usize, TryRecvError> {
    let count = consumer.pop_many(into, max)?;
    consumer.with().sender.ring_quietly();
    Ok(count)
}

/// Takes what `take` finds, or waits for it, and then `waits` says whether a waker was stored for that: one that
/// somebody else has stored is left to him. `None`: nothing will come.
#[inline]
pub(crate) fn poll_recv<T, R>(
    consumer: &mut Consumer<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut Consumer<T>) -> Result<R, TryRecvError>,
) -> Poll<Option<R>> {
    match take(consumer) {
        Ok(taken) => {
            consumer.with().sender.ring_quietly();
            Poll::Ready(Some(taken))
        }
        Err(TryRecvError::Disconnected) => Poll::Ready(None),
        Err(TryRecvError::Empty) => wait_to_receive(consumer, waits, cx, take),
    }
}

#[cold]
fn wait_to_receive<T, R>(
    consumer: &mut Consumer<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut Consumer<T>) -> Result<R, TryRecvError>,
) -> Poll<Option<R>> {
    *waits |= consumer.with().receiver.wait(cx.waker());
    let taken = match take(consumer) {
        Ok(taken) => Some(taken),
        Err(TryRecvError::Disconnected) => None,
        Err(TryRecvError::Empty) => return Poll::Pending,
    };
    if std::mem::take(waits) {
        receiver_leaves(consumer);
    }
    if taken.is_some() {
        consumer.with().sender.ring_quietly();
    }
    Poll::Ready(taken)
}

/// The sender waits no more.
pub(crate) fn sender_leaves<T>(producer: &Producer<T>) {
    producer.with().sender.leave();
}

/// The receiver waits no more.
pub(crate) fn receiver_leaves<T>(consumer: &Consumer<T>) {
    consumer.with().receiver.leave();
}

pub(crate) fn close_by_sender<T>(producer: &Producer<T>) {
    if producer.close() {
        wake_both(producer.with());
    }
}

pub(crate) fn close_by_receiver<T>(consumer: &Consumer<T>) {
    if consumer.close() {
        wake_both(consumer.with());
    }
}

/// Whoever waits learns that the channel is closed.
#[cold]
fn wake_both(waits: &Waits) {
    wake_all(waits.sender.take().into_iter().chain(waits.receiver.take()));
}

/// The receiver has gone: what nobody will take is dropped, also behind values whose destructors panic.
pub(crate) fn drop_rest<T>(consumer: &mut Consumer<T>) {
    drop_all(std::iter::from_fn(|| consumer.pop().ok()));
}
