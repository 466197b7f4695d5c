//! Waking many at once, and dropping many, where somebody else's code may panic.
#![forbid(unsafe_code)]

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
    thread,
};

/// Wakes each, also those behind one whose waker panics. The first panic goes on when all are woken; the
/// payloads of others are leaked, since dropping one could panic as well. In a thread that unwinds already
/// no panic goes on: it would end the process.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    go_on(each(wakers, Waker::wake));
}

/// Drops each, also those behind one whose destructor panics; panics go on as those of [`wake_all`].
pub(crate) fn drop_all<T>(values: impl IntoIterator<Item = T>) {
    go_on(each(values, drop));
}

/// Runs somebody else's code where a panic has nowhere to go: the caller holds what would be lost by it, or
/// may be a destructor. The payload is leaked, since dropping it could panic as well.
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        std::mem::forget(payload);
    }
}

/// Calls `f` with each, also with those behind one that panics, and gives the first panic.
fn each<T>(
    items: impl IntoIterator<Item = T>,
    mut f: impl FnMut(T),
) -> Option<Box<dyn Any + Send>> {
    let mut items = items.into_iter();
    let mut first = None;
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| items.by_ref().for_each(&mut f))) {
        match first {
            None => first = Some(payload),
            Some(_) => std::mem::forget(payload),
        }
    }
    first
}

fn go_on(panic: Option<Box<dyn Any + Send>>) {
    match panic {
        Some(payload) if thread::panicking() => std::mem::forget(payload),
        Some(payload) => resume_unwind(payload),
        None => {}
    }
}
