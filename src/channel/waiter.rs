//! Who waits for the other side of a byte channel, and how that side finds out.
//!
//! Invariants:
//!
//! - **store, then look**: see `sync`. Whoever waits registers and then looks at the channel again; whoever
//!   changes the channel stores that, and then calls [`Waiters::notify`];
//! - **flag is list**: `waiting` says whether the list has an entry. Both change under the lock alone,
//!   which nobody takes while nobody waits;
//! - **no lock around a waker**: wakers are cloned, woken and dropped when the lock is not held, because
//!   any of the three may be anybody's code, and may come back here or panic.
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    task::Waker,
    thread,
};

use super::sync::{AtomicBool, Mutex, Ordering, look_after_store};
use crate::wakers::wake_all;

/// Those who wait on one side of a channel.
pub(super) struct Waiters {
    waiting: AtomicBool,
    list: Mutex<VecDeque<Waiter>>,
}

struct Waiter {
    id: u64,
    waker: Waker,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Self { waiting: AtomicBool::new(false), list: Mutex::new(VecDeque::new()) }
    }

    /// Stores the waker of the waiter called `id`, in place of an earlier one of it. The caller looks at
    /// the channel again before it waits.
    pub(super) fn register(&self, id: u64, waker: &Waker) {
        let waker = waker.clone();
        let replaced = self.change(|list| {
            if let Some(waiter) = list.iter_mut().find(|waiter| waiter.id == id) {
                return Some(mem::replace(&mut waiter.waker, waker));
            }
            list.push_back(Waiter { id, waker });
            None
        });
        look_after_store();
        drop(replaced);
    }

    /// Forgets the waiter called `id`, if it is there.
    pub(super) fn leave(&self, id: u64) {
        // Who registered sees its own entry's flag, or the one of whoever took the entry out.
        if !self.waiting.load(Ordering::Relaxed) {
            return;
        }
        let left = self.change(|list| {
            let at = list.iter().position(|waiter| waiter.id == id)?;
            list.remove(at)
        });
        drop(left);
    }

    /// Wakes all who wait, when the channel has changed. One load where nobody waits.
    #[inline]
    pub(super) fn notify(&self) {
        look_after_store();
        if self.waiting.load(Ordering::SeqCst) {
            wake(self.drain());
        }
    }

    /// Wakes all who wait here or there.
    pub(super) fn notify_with(&self, others: &Self) {
        look_after_store();
        wake(self.drain().chain(others.drain()));
    }

    /// Takes out those who are there at the first step, one at a time. The list keeps its memory.
    fn drain(&self) -> impl Iterator<Item = Waker> {
        let mut left = None;
        std::iter::from_fn(move || {
            let first = self.change(|list| {
                let count: usize = left.unwrap_or(list.len());
                left = Some(count.checked_sub(1)?);
                list.pop_front()
            });
            first.map(|waiter| waiter.waker)
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Waiter>) -> T) -> T {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut list);
        self.waiting.store(!list.is_empty(), Ordering::SeqCst);
        result
    }
}

/// Wakes each. A panic of a waker goes on, but in a thread that unwinds already it would end the process.
#[cold]
fn wake(wakers: impl Iterator<Item = Waker>) {
    if !thread::panicking() {
        wake_all(wakers);
    } else if let Err(payload) = catch_unwind(AssertUnwindSafe(|| wake_all(wakers))) {
        mem::forget(payload);
    }
}
