//! Waking many at once, where one that is not ours may panic.
#![forbid(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
    thread,
};

/// Wakes each, also those behind one whose waker panics. The first panic goes on when all are woken; the
/// payloads of others are leaked, since dropping one could panic as well. In a thread that unwinds already
/// no panic goes on: it would end the process.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut first = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            match first {
                None => first = Some(payload),
                Some(_) => std::mem::forget(payload),
            }
        }
    }
    match first {
        Some(payload) if thread::panicking() => std::mem::forget(payload),
        Some(payload) => resume_unwind(payload),
        None => {}
    }
}
