//! What a runtime, its handles and its signals share: whether shutdown was asked for, and who waits.
//!
//! Invariants:
//!
//! - **decided under the lock**: that shutdown was asked for, or that the runtime has gone, is stored under
//!   the lock of the list, and whoever joins the list looks under the same lock. So nobody joins a list
//!   that will not be woken, and a place in it means something only before that;
//! - **nobody's code under the lock**: a waker is cloned, woken and dropped when the lock is free.
#![forbid(unsafe_code)]

use std::task::{Poll, Waker};

use slab::Slab;

use crate::executor::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

#[derive(Debug)]
pub(crate) struct Shared {
    asked: AtomicBool,
    gone: AtomicBool,
    waiters: Mutex<Slab<Waker>>,
    /// Panics of wakers that nobody was told of.
    forgotten: AtomicU64,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            asked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            waiters: Mutex::new(Slab::new()),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Calls `f` with the list, under the lock.
    fn with<R>(&self, f: impl FnOnce(&mut Slab<Waker>) -> R) -> R {
        f(&mut self.waiters.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_asked() || self.gone.load(Ordering::Acquire)
    }

    /// Asks for the shutdown. Those who are returned are to be woken.
    #[must_use]
    pub(crate) fn ask(&self) -> Slab<Waker> {
        self.with(|waiters| {
            self.asked.store(true, Ordering::Release);
            std::mem::take(waiters)
        })
    }

    /// The runtime has gone. Those who are returned are to be woken.
    #[must_use]
    pub(crate) fn end(&self) -> Slab<Waker> {
        self.with(|waiters| {
            self.gone.store(true, Ordering::Release);
            std::mem::take(waiters)
        })
    }

    /// Puts `waker` at its place in the list, which is found if there is none, unless nobody waits any
    /// more.
    pub(crate) fn wait(&self, place: &mut Option<usize>, waker: &Waker) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        let is_known = place.is_some_and(|place| {
            self.with(|waiters| waiters.get(place).is_some_and(|known| known.will_wake(waker)))
        });
        if is_known {
            // Who takes it out of the list from here on wakes it.
            return Poll::Pending;
        }
        let waker = waker.clone();
        let (polled, left) = self.with(|waiters| {
            if self.is_over() {
                return (Poll::Ready(()), Some(waker));
            }
            if let Some(known) = place.and_then(|place| waiters.get_mut(place)) {
                return (Poll::Pending, Some(std::mem::replace(known, waker)));
            }
            *place = Some(waiters.insert(waker));
            (Poll::Pending, None)
        });
        drop(left);
        polled
    }

    /// Takes what stands at `place` out of the list, for the caller to drop.
    #[must_use]
    pub(crate) fn leave(&self, place: Option<usize>) -> Option<Waker> {
        let place = place?;
        self.with(|waiters| if self.is_over() { None } else { waiters.try_remove(place) })
    }

    /// A waker panicked.
    pub(crate) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    /// How many panicked since this was last called.
    pub(crate) fn take_forgotten(&self) -> u64 {
        self.forgotten.swap(0, Ordering::Relaxed)
    }
}
