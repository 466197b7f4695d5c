//! What the two ends of a local channel share: the ring of places, and the lines of those who wait.
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
//!   state is whole, because either may come back here;
//! - **received is safe**: who promises a place holds the value that stood there, or is the destructor of a
//!   send, so a waker that panics there goes no further.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    hint::cold_path,
    mem,
    task::{Context, Poll, Waker},
};

use crate::{
    channel::{TryRecvError, TrySendError},
    wakers::{quietly, wake_all},
};

/// What both ends share.
pub(super) struct Shared<T> {
    /// A ring of a power of two of places: value number n is at place n modulo their number.
    places: Box<[Cell<Option<T>>]>,
    capacity: usize,
    limit: Cell<usize>,
    sent: Cell<usize>,
    received: Cell<usize>,
    senders: Cell<usize>,
    mode: Cell<Mode>,
    receivers: Cell<Receivers>,
    /// Who began to wait when nobody else did; in most channels nobody else ever does.
    first_receiver: Cell<Option<Waiter>>,
    /// Those who began after it.
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

/// Who waits to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receivers {
    /// Neither `first_receiver` nor `waiting_receivers` has anybody.
    Nobody,
    /// `first_receiver` alone.
    First,
    /// Somebody is in `waiting_receivers`.
    More,
}

/// Names one wait. Tickets rise, and none is given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl Ticket {
    pub(super) const POLLED_BY_HAND: Self = Self(0);
}

pub(super) struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

/// How a sender's wait stands.
pub(super) enum Waits {
    /// It goes on, and the waker that was asked about is stored.
    Here,
    /// It goes on, and another waker is stored.
    WithAnother,
    /// It is over: a place is kept for it.
    Promised,
}

impl<T> Shared<T> {
    /// An open, empty channel with one sender.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            places: (0..capacity.next_power_of_two()).map(|_| Cell::new(None)).collect(),
            capacity,
            limit: Cell::new(capacity),
            sent: Cell::new(0),
            received: Cell::new(0),
            senders: Cell::new(1),
            mode: Cell::new(Mode::Open),
            receivers: Cell::new(Receivers::Nobody),
            first_receiver: Cell::new(None),
            waiting_receivers: RefCell::new(VecDeque::new()),
            waiting_senders: RefCell::new(VecDeque::new()),
            next_ticket: Cell::new(Ticket::POLLED_BY_HAND.0 + 1),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn is_closed(&self) -> bool {
        self.mode.get() == Mode::Closed
    }

    pub(super) fn add_sender(&self) {
        self.senders.set(self.senders.get() + 1);
    }

    /// The last one closes the channel.
    pub(super) fn remove_sender(&self) {
        let senders = self.senders.get() - 1;
        self.senders.set(senders);
        if senders == 0 {
            self.close();
        }
    }

    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
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
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.pop() {
            Some(value) => Ok(value),
            None if self.mode.get() == Mode::Closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.sent.get().wrapping_sub(self.received.get())
    }

    /// Whether there is a place that is promised to nobody.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.limit.get()
    }

    /// Puts a value into a place, of which there is one.
    #[inline]
    pub(super) fn push(&self, value: T) {
        let sent = self.sent.get();
        let before = self.place(sent).replace(Some(value));
        debug_assert!(before.is_none(), "there is no room");
        self.sent.set(sent.wrapping_add(1));
        if self.receivers.get() != Receivers::Nobody {
            self.wake_receivers();
        }
    }

    /// Takes the next value; that there is none shows in its place.
    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
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
            quietly(|| first.waker.wake());
        }
    }

    /// A place that was promised is as free as any.
    pub(super) fn end_promise(&self) {
        self.limit.set(self.limit.get() + 1);
    }

    pub(super) fn ticket(&self) -> Ticket {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        Ticket(ticket)
    }

    pub(super) fn waits(&self, ticket: Ticket, waker: &Waker) -> Waits {
        let waiting = self.waiting_senders.borrow();
        match waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            Ok(at) if waiting[at].waker.will_wake(waker) => Waits::Here,
            Ok(_) => Waits::WithAnother,
            Err(_) => Waits::Promised,
        }
    }

    /// Stores who is woken when a place is promised. Returns a waker to drop.
    pub(super) fn wait_to_send(&self, ticket: &mut Option<Ticket>, waker: Waker) -> Option<Waker> {
        let mut waiting = self.waiting_senders.borrow_mut();
        if let Some(ticket) = *ticket {
            let at = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
            return Some(mem::replace(&mut waiting[at].waker, waker));
        }
        let new = self.ticket();
        *ticket = Some(new);
        waiting.push_back(Waiter { ticket: new, waker });
        self.mode.set(Mode::SendersWait);
        None
    }

    /// A sender stops waiting. If a place was promised to it, the next one gets that.
    #[cold]
    pub(super) fn give_up(&self, ticket: Ticket) {
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

    pub(super) fn try_recv_many(
        &self,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<usize, TryRecvError> {
        let count = self.len().min(max);
        if count == 0 && max > 0 {
            return Err(if self.is_closed() {
                TryRecvError::Disconnected
            } else {
                TryRecvError::Empty
            });
        }
        into.reserve(count);
        // A waker that is woken in between may take some of them.
        let values = std::iter::from_fn(|| self.pop()).take(count);
        let before = into.len();
        values.for_each(|value| into.push(value));
        Ok(into.len() - before)
    }

    /// Waits, when `take` has found nothing; what comes meanwhile is taken. `None`: nothing will come.
    ///
    /// Never inlined, so that who finds a value saves no registers for this.
    #[inline(never)]
    pub(super) fn poll_recv<R>(
        &self,
        ticket: Ticket,
        cx: &mut Context<'_>,
        take: impl FnOnce(&Self) -> Result<R, TryRecvError>,
    ) -> Poll<Option<R>> {
        // Cloned before the look, because a waker's clone may be anybody's code.
        let waker = cx.waker().clone();
        if self.len() > 0 || self.is_closed() {
            cold_path();
            let taken = take(self).ok();
            quietly(|| drop(waker));
            return Poll::Ready(taken);
        }
        if self.receivers.get() == Receivers::Nobody {
            self.receivers.set(Receivers::First);
            let nobody = self.first_receiver.replace(Some(Waiter { ticket, waker }));
            debug_assert!(nobody.is_none(), "nobody waits");
            // Known to be nothing, so no destructor is looked for.
            mem::forget(nobody);
        } else {
            drop(self.wait_with_others(Waiter { ticket, waker }));
        }
        Poll::Pending
    }

    /// Stores who is woken by the next value, where somebody waits already. Returns a waker to drop.
    #[cold]
    fn wait_with_others(&self, waiter: Waiter) -> Option<Waiter> {
        let first = self.first_receiver.take();
        if first.as_ref().is_some_and(|first| first.ticket == waiter.ticket) {
            self.first_receiver.set(Some(waiter));
            return first;
        }
        self.first_receiver.set(first);
        let mut waiting = self.waiting_receivers.borrow_mut();
        if let Some(stored) = waiting.iter_mut().find(|stored| stored.ticket == waiter.ticket) {
            return Some(mem::replace(stored, waiter));
        }
        waiting.push_back(waiter);
        self.receivers.set(Receivers::More);
        None
    }

    /// A receiver stops waiting, if it does wait.
    #[inline]
    pub(super) fn receive_no_more(&self, ticket: Ticket) {
        if self.receivers.get() != Receivers::Nobody {
            self.leave(ticket);
        }
    }

    #[cold]
    #[inline(never)]
    fn leave(&self, ticket: Ticket) {
        let waiter = self.take_receiver(ticket);
        quietly(|| drop(waiter));
    }

    fn take_receiver(&self, ticket: Ticket) -> Option<Waiter> {
        let first = self.first_receiver.take();
        if first.as_ref().is_some_and(|first| first.ticket == ticket) {
            self.note_waiting(&self.waiting_receivers.borrow());
            return first;
        }
        self.first_receiver.set(first);
        let mut waiting = self.waiting_receivers.borrow_mut();
        let at = waiting.iter().position(|waiter| waiter.ticket == ticket)?;
        let left = waiting.remove(at);
        self.note_waiting(&waiting);
        left
    }

    /// Sets `receivers` to the truth, `waiting` being those who are not the first.
    fn note_waiting(&self, waiting: &VecDeque<Waiter>) {
        let first = self.first_receiver.take();
        self.receivers.set(match &first {
            _ if !waiting.is_empty() => Receivers::More,
            Some(_) => Receivers::First,
            None => Receivers::Nobody,
        });
        self.first_receiver.set(first);
    }

    /// Wakes all who wait to receive: one will have the value, and the others wait again.
    fn wake_receivers(&self) {
        let first = self.first_receiver.take();
        if self.receivers.get() == Receivers::More {
            return self.wake_more(first);
        }
        self.receivers.set(Receivers::Nobody);
        if let Some(first) = first {
            first.waker.wake();
        }
    }

    /// Wakes `first`, then as many as were there. The list keeps its memory.
    #[cold]
    fn wake_more(&self, first: Option<Waiter>) {
        let others = self.waiting_receivers.borrow().len();
        let others = (0..others).map_while(|_| {
            let mut waiting = self.waiting_receivers.borrow_mut();
            let next = waiting.pop_front();
            self.note_waiting(&waiting);
            next
        });
        wake_all(first.into_iter().chain(others).map(|waiter| waiter.waker));
    }

    #[cold]
    pub(super) fn close(&self) {
        if self.mode.replace(Mode::Closed) == Mode::Closed {
            return;
        }
        self.limit.set(0);
        self.receivers.set(Receivers::Nobody);
        let mut waiting = self.waiting_senders.take();
        waiting.extend(self.first_receiver.take());
        waiting.append(&mut self.waiting_receivers.borrow_mut());
        wake_all(waiting.into_iter().map(|waiter| waiter.waker));
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
