//! The waker: a task's key in the data word, and nothing behind it.
//!
//! Invariant **no pointer**: the data word is an integer made with `without_provenance`, so a waker can
//! be cloned, kept, sent and dropped by anyone for ever, and there is nothing to count or to free.

#![expect(unsafe_code, reason = "a RawWaker cannot be made without it")]

use std::{
    cell::Cell,
    ptr,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    Executor,
    key::{Key, RuntimeId},
    registry,
};

thread_local! {
    /// The executor that runs on this thread, or null. Const and without destructor, so a waker may
    /// look at it at any time, also while the thread ends.
    static CURRENT: Cell<*const Executor> = const { Cell::new(ptr::null()) };
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_nothing);

fn data(key: Key) -> *const () {
    ptr::without_provenance(key.word() as usize)
}

fn key(data: *const ()) -> Key {
    Key::from_word(data.addr() as u64)
}

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

fn drop_nothing(_: *const ()) {}

fn wake(data: *const ()) {
    wake_by_ref(data);
}

fn wake_by_ref(data: *const ()) {
    wake_key(key(data));
}

/// Asks for a poll of what `key` names, from any thread.
#[inline(always)]
fn wake_key(key: Key) {
    let executor = CURRENT.get();
    // SAFETY: the pointer is null, or `Entered` put it here; it borrows an executor that outlives it
    // and takes the pointer out again before that borrow ends.
    let here = unsafe { executor.as_ref() };
    if !here.is_some_and(|executor| executor.wake_local(key)) {
        wake_elsewhere(key, here.map(Executor::id));
    }
}

/// The task is not in the executor that runs here: it has ended, or belongs to another runtime.
#[cold]
#[inline(never)]
fn wake_elsewhere(key: Key, here: Option<RuntimeId>) {
    if here != Some(key.runtime()) {
        wake_foreign(key);
    }
}

/// The other road: the task belongs to a runtime that does not run on this thread now.
// Not cold: for a thread that only wakes tasks of another one it is the road.
#[inline(never)]
fn wake_foreign(key: Key) {
    if let Some(inbox) = registry::inbox(key.runtime()) {
        inbox.note_stranger(key.word());
        inbox.wake(key.slot().0);
    }
}

/// A waker for the task that `key` names.
pub(crate) fn waker(key: Key) -> Waker {
    // SAFETY: the four functions take any data word, on any thread, any number of times, and follow no
    // pointer, so every rule of `RawWaker`'s contract holds.
    unsafe { Waker::new(data(key), &VTABLE) }
}

/// The key inside `waker`, if it is one of ours, of runtime `id`.
pub(crate) fn own_key(waker: &Waker, id: RuntimeId) -> Option<Key> {
    let key = key(waker.data());
    (ptr::eq(waker.vtable(), &VTABLE) && key.runtime() == id).then_some(key)
}

/// While it lives, local wakes on this thread go to one executor. Dropping it puts back what was
/// there, so runtimes nest.
pub(crate) struct Entered<'a> {
    before: *const Executor,
    executor: &'a Executor,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(executor: &'a Executor) -> Self {
        Self { before: CURRENT.replace(executor), executor }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        debug_assert!(ptr::eq(CURRENT.get(), self.executor), "runtimes are left in reverse order");
        CURRENT.set(self.before);
    }
}
