//! How one end waits for the other, where one waits at most: a flag, and behind it a waker.
//!
//! Invariants:
//!
//! - **store, then look**: see `sync`. Whoever waits calls [`Bell::wait`], looks again at what it waits
//!   for, and only then is pending; whoever brings it stores it, and then calls [`Bell::ring`];
//! - **flag by lock**: the flag is stored under the lock, and says whether there is a waker. That it was
//!   taken down is ordered by the lock alone: who sees it late finds no waker under the lock. The one who
//!   waits sees its own wait or what came after, so a flag that is down needs no look behind it;
//! - **last**: a waker is cloned, woken and dropped when the lock is not held, because each may be
//!   anybody's code;
//! - **received is safe**: who has taken a value wakes by [`Bell::ring_quietly`], and a waker that is not
//!   needed any more is dropped under a guard. A panic of one would take the value along.
#![forbid(unsafe_code)]

use std::task::Waker;

use super::sync::{AtomicBool, Mutex, Ordering, lock, look_after_store};
use crate::wakers::quietly;

/// Where one waits.
#[derive(Debug)]
pub(crate) struct Bell {
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { waits: AtomicBool::new(false), waker: Mutex::new(None) }
    }

    /// Says who waits, in place of who waited before. After it, whoever waits looks again. False: that waker
    /// is here already, and whoever stored it may count on it still.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let is_new = !(self.has_waker() && self.knows(waker));
        if is_new {
            let waker = waker.clone();
            let mut stored = lock(&self.waker);
            let before = stored.replace(waker);
            self.waits.store(true, Ordering::SeqCst);
            drop(stored);
            drop(before);
        }
        look_after_store();
        is_new
    }

    /// Nobody waits any more. Called by who did.
    pub(crate) fn leave(&self) {
        if self.has_waker() {
            quietly(|| drop(self.take()));
        }
    }

    /// Whether there is a waker, asked by who waits.
    fn has_waker(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    #[cold]
    fn knows(&self, waker: &Waker) -> bool {
        lock(&self.waker).as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// Wakes who waits. One load when nobody does.
    #[inline(always)]
    pub(crate) fn ring(&self) {
        look_after_store();
        if self.waits.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// As [`ring`](Self::ring), by who holds what it has received: a panic of the waker goes no further.
    #[inline(always)]
    pub(crate) fn ring_quietly(&self) {
        look_after_store();
        if self.waits.load(Ordering::SeqCst) {
            self.wake_quietly();
        }
    }

    #[cold]
    fn wake(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    #[cold]
    fn wake_quietly(&self) {
        quietly(|| self.wake());
    }

    /// Who waits, to be woken when the lock is free again.
    pub(crate) fn take(&self) -> Option<Waker> {
        let mut stored = lock(&self.waker);
        let waker = stored.take();
        self.waits.store(false, Ordering::Relaxed);
        waker
    }
}
