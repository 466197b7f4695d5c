//! Who of a scope is to be polled: a flag and a waker for each child.
//!
//! Invariants:
//!
//! - **flag, then waker**: a wake sets the child's flag and then looks for the scope's waker. The scope puts
//!   its waker back and then looks at the flags. So one of them sees the other, and no wake is lost;
//! - **nothing under the lock**: nothing of anybody else (a waker's clone, wake or drop) runs under it.
#![forbid(unsafe_code)]

use std::{
    mem::replace,
    sync::{Arc, PoisonError},
    task::{Wake, Waker},
};

use crate::executor::sync::{AtomicBool, Mutex, Ordering};

/// Who polls the scope. `None` while it is polled, so that a child that wakes another does not wake the
/// task, and after its end.
#[derive(Default)]
pub(super) struct ScopeWaker(Mutex<Option<Waker>>);

impl ScopeWaker {
    /// Puts a waker there, or none, and gives what was there.
    pub(super) fn put(&self, waker: Option<Waker>) -> Option<Waker> {
        replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), waker)
    }

    /// Wakes the scope, unless it is being polled and sees by itself what is new. Its waker is used up: the
    /// scope puts the next one there when it is polled.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.put(None) {
            waker.wake();
        }
    }
}

/// What the waker of a child sets.
pub(super) struct ChildWaker {
    woken: AtomicBool,
    aborted: AtomicBool,
    scope: Arc<ScopeWaker>,
}

impl ChildWaker {
    /// Of a child that is yet to be polled for the first time.
    pub(super) fn new(scope: Arc<ScopeWaker>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), aborted: AtomicBool::new(false), scope })
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Takes the wakes that came. What was written before them is seen after it.
    pub(super) fn take_woken(&self) -> bool {
        self.is_woken() && self.woken.swap(false, Ordering::AcqRel)
    }

    /// The child is dropped when the scope comes to it.
    pub(super) fn abort(self: &Arc<Self>) {
        self.aborted.store(true, Ordering::Relaxed);
        self.wake_by_ref();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.scope.wake();
    }
}
