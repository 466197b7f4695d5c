//! What the ends of an mpsc channel say to each other: each operation on the queue, followed by a look
//! at who waits for it.
#![forbid(unsafe_code)]

use std::task::{Context, Poll, Waker};

use crate::wakers::{drop_all, quietly, wake_all};

use super::{
    super::{
        SendError, TryRecvError, TrySendError,
        bell::Bell,
        sync::{AtomicUsize, Ordering, spin_loop},
    },
    line::{Line, Places, Ticket, Tried},
    queue::{self, Nothing, queue},
};

pub(crate) type Producer<T> = queue::Producer<T, Waits>;
pub(crate) type Consumer<T> = queue::Consumer<T, Waits>;

/// How often a receiver looks for a value that is about to be written, before it lets others run.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 64 };

/// Who waits at either end, and how many may send.
#[derive(Debug)]
pub(crate) struct Waits {
    receiver: Bell,
    senders: Line,
    count: AtomicUsize,
}

/// A channel with one sender.
pub(crate) fn open<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let waits = Waits { receiver: Bell::new(), senders: Line::new(), count: AtomicUsize::new(1) };
    queue(capacity, waits)
}

impl<T> Places<T> for Producer<T> {
    fn room(&self) -> usize {
        self.capacity() - self.len()
    }

    fn push(&self, value: T) -> Result<(), TrySendError<T>> {
        Self::push(self, value)
    }
}

#[inline]
pub(crate) fn try_send<T>(producer: &Producer<T>, value: T) -> Result<(), TrySendError<T>> {
    let waits = producer.with();
    if waits.senders.is_there() {
        waits.senders.try_send(producer, value)?;
    } else {
        producer.push(value)?;
    }
    waits.receiver.ring();
    Ok(())
}

/// Sends the value, which is left where it is while there is no room.
#[inline]
pub(crate) fn poll_send<T>(
    producer: &Producer<T>,
    ticket: &mut Option<Ticket>,
    value: &mut Option<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<T>>> {
    let own = value.take().expect("a send is not polled again after it was ready");
    if ticket.is_some() {
        return wait_to_send(producer, ticket, own, value, cx);
    }
    match try_send(producer, own) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(TrySendError::Closed(own)) => Poll::Ready(Err(SendError(own))),
        Err(TrySendError::Full(own)) => wait_to_send(producer, ticket, own, value, cx),
    }
}

/// Apart, so that who finds room saves no registers for this.
#[cold]
#[inline(never)]
fn wait_to_send<T>(
    producer: &Producer<T>,
    ticket: &mut Option<Ticket>,
    mut own: T,
    value: &mut Option<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<T>>> {
    let waits = producer.with();
    let mut waker: Option<Waker> = None;
    loop {
        match waits.senders.send(producer, ticket, own, &mut waker, cx.waker()) {
            Tried::Sent => {
                waits.receiver.ring();
                return Poll::Ready(Ok(()));
            }
            Tried::Closed(own) => {
                quietly(|| drop(waker));
                return Poll::Ready(Err(SendError(own)));
            }
            Tried::Waits(own) => {
                *value = Some(own);
                return Poll::Pending;
            }
            // What is cloned may be anybody's code, and may unwind.
            Tried::NeedsWaker(back) => {
                *value = Some(back);
                waker = Some(cx.waker().clone());
                own = value.take().expect("it was put there above");
            }
        }
    }
}

/// A send that waits is given up.
pub(crate) fn give_up<T>(producer: &Producer<T>, ticket: Ticket) {
    producer.with().senders.give_up(producer, ticket);
}

#[inline]
pub(crate) fn try_recv<T>(consumer: &mut Consumer<T>) -> Result<T, TryRecvError> {
    let value = consumer.pop()?;
    promise(consumer);
    Ok(value)
}

pub(crate) fn try_recv_many<T>(
    consumer: &mut Consumer<T>,
    into: &mut Vec<T>,
    max: usize,
) -> Result<usize, TryRecvError> {
    let count = consumer.pop_many(into, max)?;
    promise(consumer);
    Ok(count)
}

/// Places are free: those who wait for them are told.
#[inline(always)]
fn promise<T>(consumer: &Consumer<T>) {
    consumer.with().senders.promise(|| consumer.capacity() - consumer.len());
}

/// Takes what `take` finds, or waits for it, and then `waits` says whether a waker was stored for that: one that
/// somebody else has stored is left to him. `None`: nothing will come.
#[inline]
pub(crate) fn poll_recv<T, R>(
    consumer: &mut Consumer<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut Consumer<T>) -> Result<R, Nothing>,
) -> Poll<Option<R>> {
    match take(consumer) {
        Ok(taken) => {
            promise(consumer);
            Poll::Ready(Some(taken))
        }
        Err(Nothing::Closed) => Poll::Ready(None),
        Err(Nothing::Empty | Nothing::Coming) => wait_to_receive(consumer, waits, cx, take),
    }
}

#[cold]
fn wait_to_receive<T, R>(
    consumer: &mut Consumer<T>,
    waits: &mut bool,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut Consumer<T>) -> Result<R, Nothing>,
) -> Poll<Option<R>> {
    *waits |= consumer.with().receiver.wait(cx.waker());
    let mut looks = 0;
    let taken = loop {
        match take(consumer) {
            Ok(taken) => break Some(taken),
            Err(Nothing::Closed) => break None,
            Err(Nothing::Empty) => return Poll::Pending,
            // Who claimed the place may have looked for a waiting receiver before this one waited.
            Err(Nothing::Coming) if looks < LOOKS => spin_loop(),
            Err(Nothing::Coming) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        looks += 1;
    };
    if std::mem::take(waits) {
        stop_waiting(consumer);
    }
    if taken.is_some() {
        promise(consumer);
    }
    Poll::Ready(taken)
}

/// The receiver waits no more.
pub(crate) fn stop_waiting<T>(consumer: &Consumer<T>) {
    consumer.with().receiver.leave();
}

pub(crate) fn add_sender<T>(producer: &Producer<T>) -> Producer<T> {
    // A channel whose senders are leaked until the count wraps is not to be closed early.
    let before = producer.with().count.fetch_add(1, Ordering::Relaxed);
    assert!(before < usize::MAX / 2, "a channel has too many senders");
    producer.clone()
}

/// The last one closes the channel.
pub(crate) fn remove_sender<T>(producer: &Producer<T>) {
    if producer.with().count.fetch_sub(1, Ordering::AcqRel) == 1 && producer.close() {
        wake_everybody(producer.with());
    }
}

pub(crate) fn close_by_sender<T>(producer: &Producer<T>) {
    if producer.close() {
        wake_everybody(producer.with());
    }
}

pub(crate) fn close_by_receiver<T>(consumer: &Consumer<T>) {
    if consumer.close() {
        wake_everybody(consumer.with());
    }
}

/// Whoever waits learns that the channel is closed.
#[cold]
fn wake_everybody(waits: &Waits) {
    wake_all(waits.senders.close().chain(waits.receiver.take()));
}

/// The receiver has gone: what nobody will take is dropped, also behind values whose destructors panic.
pub(crate) fn drop_rest<T>(consumer: &mut Consumer<T>) {
    drop_all(std::iter::from_fn(|| consumer.pop().ok()));
}
