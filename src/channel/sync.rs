//! What the channels between threads are built of: the standard library's, or loom's when a model is
//! checked.
//!
//! One rule carries every wait: *store, then look*. Each side stores what the other waits for, and only
//! then looks whether the other waits; whoever waits says so first, and only then looks again. The four
//! accesses are `SeqCst`, so one order of all of them exists, and in it one of the two looks comes last
//! and sees. On x86-64 the store is one locked instruction, and the look is a plain load. loom takes such
//! accesses for acquire and release ones and orders fences only, so each store is followed by
//! [`look_after_store`], which is a fence there and nothing elsewhere.

use std::ops::Deref;

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now as spin_loop,
};

/// Stands between the store and the look.
#[inline(always)]
pub(crate) fn look_after_store() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Locks. Nothing that is locked here runs anybody's code, so what a panic left behind is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The standard library's cell with the surface of loom's.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Tells loom that plain memory is read or written here, so that a model finds two accesses of which
/// neither is ordered before the other. Nothing outside of models.
#[derive(Debug, Default)]
pub(crate) struct Witness(#[cfg(loom)] UnsafeCell<()>);

impl Witness {
    #[inline]
    pub(crate) fn reads(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }

    #[inline]
    pub(crate) fn writes(&self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }
}

/// Values of the largest channel: more than any memory holds, and far from where positions overflow.
pub(crate) const CAPACITY_MAX: usize = 1 << 32;

/// Alone on its cache lines: two, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
