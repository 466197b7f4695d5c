//! The line of those who wait to send.
//!
//! A place that is freed while senders wait is promised to the first in the line. It leaves the line, is
//! woken, and takes its place when it is polled. While the line or a promise stands, whoever comes new
//! has room only beyond what is promised.
//!
//! Invariants:
//!
//! - **store, then look**: see `sync`. Whoever waits says so by the flag, and then looks again for room;
//!   whoever receives frees the place, and then calls [`Line::promise`];
//! - **flag by lock**: the flag is stored under the lock, and says whether anybody is in the line or has a
//!   promise. It stays down only while nobody is, so a place that is freed while it is down is seen by
//!   the next one who comes, before it waits;
//! - **room is a guess**: a sender that found the flag down may take a place that is promised meanwhile.
//!   So a promise is kept by trying; whom it fails is in the line again, where it was;
//! - **last**: a waker is cloned, woken and dropped when the lock is not held, because each may be
//!   anybody's code. `push` and `room`, which are called under it, call nobody's;
//! - **received is safe**: who promises a place holds the value that stood there, or is the destructor of a
//!   send, so a waker that panics there goes no further.
#![forbid(unsafe_code)]

use std::{collections::VecDeque, task::Waker};

use crate::wakers::{quietly, wake_all};

use super::super::{
    TrySendError,
    sync::{AtomicBool, Mutex, MutexGuard, Ordering, lock, look_after_store},
};

/// Names one wait. Tickets rise, and none is given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
pub(crate) struct Line {
    waits: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In order of tickets.
    waiting: VecDeque<Waiter>,
    /// How many have left the line with a promise that they have not used.
    promised: usize,
    next_ticket: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

/// What became of a try to send.
#[derive(Debug)]
pub(crate) enum Tried<T> {
    Sent,
    Closed(T),
    /// It waits, and the waker that it brought, if it brought one, is stored.
    Waits(T),
    /// It has to bring a waker.
    NeedsWaker(T),
}

/// What the line needs of the queue.
pub(crate) trait Places<T> {
    /// How many places are empty, read in the one order of *store, then look*.
    fn room(&self) -> usize;
    fn push(&self, value: T) -> Result<(), TrySendError<T>>;
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { waits: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Whether somebody is in the line or has a promise. A guess for whoever sends.
    #[inline(always)]
    pub(crate) fn is_there(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Sends beside the line, where there is room beyond what is promised.
    #[cold]
    pub(crate) fn try_send<T>(
        &self,
        places: &impl Places<T>,
        value: T,
    ) -> Result<(), TrySendError<T>> {
        let state = lock(&self.state);
        if state.is_closed || state.has_room(places) {
            places.push(value)
        } else {
            Err(TrySendError::Full(value))
        }
    }

    /// Sends, or waits in the line. `ticket` is the wait's name while it has one.
    pub(crate) fn send<T>(
        &self,
        places: &impl Places<T>,
        ticket: &mut Option<Ticket>,
        value: T,
        brought: &mut Option<Waker>,
        asks: &Waker,
    ) -> Tried<T> {
        let mut state = lock(&self.state);
        if state.is_closed {
            *ticket = None;
            return Tried::Closed(value);
        }
        let mut value = value;
        if let Some(own) = *ticket {
            if let Ok(at) = state.find(own) {
                if state.waiting[at].waker.will_wake(asks) {
                    return Tried::Waits(value);
                }
                let Some(waker) = brought.take() else {
                    return Tried::NeedsWaker(value);
                };
                *brought = Some(std::mem::replace(&mut state.waiting[at].waker, waker));
                return Tried::Waits(value);
            }
            // It has a promise.
            match places.push(value) {
                Ok(()) => {
                    state.promised -= 1;
                    *ticket = None;
                    self.settle(&state);
                    return Tried::Sent;
                }
                Err(TrySendError::Closed(value)) => {
                    *ticket = None;
                    return Tried::Closed(value);
                }
                Err(TrySendError::Full(back)) => value = back,
            }
        }
        let Some(waker) = brought.take() else {
            return Tried::NeedsWaker(value);
        };
        self.enter(state, places, ticket, value, waker, brought)
    }

    /// Enters the line, unless there is room when that has been said.
    fn enter<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        places: &impl Places<T>,
        ticket: &mut Option<Ticket>,
        value: T,
        waker: Waker,
        back: &mut Option<Waker>,
    ) -> Tried<T> {
        if ticket.is_some() {
            state.promised -= 1;
        }
        self.waits.store(true, Ordering::SeqCst);
        look_after_store();
        let mut value = value;
        if state.has_room(places) {
            match places.push(value) {
                Err(TrySendError::Full(full)) => value = full,
                pushed => {
                    *ticket = None;
                    *back = Some(waker);
                    self.settle(&state);
                    return match pushed {
                        Err(error) => Tried::Closed(error.into_inner()),
                        Ok(()) => Tried::Sent,
                    };
                }
            }
        }
        let own = *ticket.get_or_insert(Ticket(state.next_ticket));
        state.next_ticket = state.next_ticket.max(own.0 + 1);
        let at = state.find(own).unwrap_or_else(|at| at);
        state.waiting.insert(at, Waiter { ticket: own, waker });
        Tried::Waits(value)
    }

    /// A sender stops waiting. A promise that it had is passed on.
    #[cold]
    pub(crate) fn give_up<T>(&self, places: &impl Places<T>, ticket: Ticket) {
        let mut state = lock(&self.state);
        if state.is_closed {
            return;
        }
        let left = match state.find(ticket) {
            Ok(at) => state.waiting.remove(at),
            Err(_) => {
                state.promised -= 1;
                None
            }
        };
        self.settle(&state);
        drop(state);
        drop(left);
        self.promise(|| places.room());
    }

    /// Promises what is free to those who have waited longest. One load when nobody waits.
    #[inline(always)]
    pub(crate) fn promise(&self, room: impl Fn() -> usize) {
        look_after_store();
        if self.waits.load(Ordering::SeqCst) {
            self.keep_promising(room);
        }
    }

    #[cold]
    fn keep_promising(&self, room: impl Fn() -> usize) {
        let promised = std::iter::from_fn(|| {
            let mut state = lock(&self.state);
            if room() <= state.promised {
                return None;
            }
            let first = state.waiting.pop_front()?;
            state.promised += 1;
            Some(first.waker)
        });
        quietly(|| wake_all(promised));
    }

    /// The queue is closed: nobody waits from now on. Returns those to be woken.
    #[cold]
    pub(crate) fn close(&self) -> impl Iterator<Item = Waker> + use<> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        self.waits.store(false, Ordering::SeqCst);
        std::mem::take(&mut state.waiting).into_iter().map(|waiter| waiter.waker)
    }

    /// Takes the flag down when nobody is left.
    fn settle(&self, state: &State) {
        if state.waiting.is_empty() && state.promised == 0 {
            self.waits.store(false, Ordering::SeqCst);
        }
    }
}

impl State {
    /// Whether there is room for one who is not in the line.
    fn has_room<T>(&self, places: &impl Places<T>) -> bool {
        self.waiting.is_empty() && places.room() > self.promised
    }

    fn find(&self, ticket: Ticket) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket)
    }
}
