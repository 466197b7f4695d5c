//! The atomics of the inbox, and of other layers that wakes of any thread reach: the standard library's, or loom's when a model is checked.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};

/// Stands between a wake's `SeqCst` write and its `SeqCst` look. One order of both exists, so on x86-64 the
/// look is a plain load. loom takes such accesses for acquire and release ones and orders fences only, so
/// there it is a fence.
#[inline(always)]
pub(crate) fn look_after_write() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
