//! The atomics of the byte channels: the standard library's, or loom's when a model is checked.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(super) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Tells loom that plain memory is read or written here, so that a model finds two accesses of which
/// neither is ordered before the other. Nothing outside of models.
#[derive(Debug, Default)]
pub(super) struct Witness(#[cfg(loom)] loom::cell::UnsafeCell<()>);

impl Witness {
    #[inline]
    pub(super) fn reads(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }

    #[inline]
    pub(super) fn writes(&self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }
}
