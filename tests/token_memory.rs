//! What cancellation tokens take of the memory, and what is left when children and waiters have gone.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

use common::{Count, LIMIT_SECONDS, watchdog};
use onbeat::CancellationToken;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `f` runs, and the bytes that it leaves.
fn measure(f: impl FnOnce()) -> (usize, isize) {
    let before = (ALLOCATIONS.get(), BYTES.get());
    f();
    (ALLOCATIONS.get() - before.0, BYTES.get() - before.1)
}

#[track_caller]
fn knows_of_nobody(token: &CancellationToken) {
    let shown = format!("{token:?}");
    assert!(shown.contains("children: 0, waiters: 0 "), "{shown}");
}

#[test]
fn a_million_children_leave_no_memory() {
    let _guard = watchdog(LIMIT_SECONDS);
    let parent = CancellationToken::new();
    drop(parent.child());
    let one_by_one = || {
        for _ in 0..1_000_000 {
            drop(parent.child());
        }
    };
    assert_eq!(measure(one_by_one).1, 0);
    knows_of_nobody(&parent);
    let mut most = 0;
    let at_once = || {
        let before = BYTES.get();
        let children: Vec<_> = (0..1_000_000).map(|_| parent.child()).collect();
        most = BYTES.get() - before;
        drop(children);
    };
    let (_, left) = measure(at_once);
    assert!(most > 50_000_000, "{most} bytes are not a million children");
    assert!(left <= 0, "{left} bytes of {most} are left");
    knows_of_nobody(&parent);
}

#[test]
fn a_million_waiters_leave_no_memory() {
    let _guard = watchdog(LIMIT_SECONDS);
    let token = CancellationToken::new();
    let count = Count::new();
    let wait = |times: usize| {
        let mut waiting: Vec<_> = (0..times).map(|_| token.cancelled()).collect();
        for cancelled in &mut waiting {
            assert!(count.poll(cancelled).is_pending());
        }
    };
    let (_, left) = measure(|| wait(1_000_000));
    assert!(left <= 0, "{left} bytes are left");
    knows_of_nobody(&token);
    assert_eq!(count.kept(), 0);
}

#[test]
fn polling_again_allocates_nothing() {
    let token = CancellationToken::new();
    let child = token.child();
    let waker = std::task::Waker::from(Count::new());
    let other = std::task::Waker::from(Count::new());
    let mut cancelled = child.cancelled();
    let mut limited = Box::pin(child.run_until_cancelled(std::future::pending::<()>()));
    let mut poll = |waker| {
        let mut cx = Context::from_waker(waker);
        assert!(Pin::new(&mut cancelled).poll(&mut cx).is_pending());
        assert_eq!(limited.as_mut().poll(&mut cx), Poll::Pending);
    };
    poll(&waker);
    let again = || {
        for _ in 0..1_000 {
            poll(&waker);
            poll(&other);
        }
    };
    assert_eq!(measure(again).0, 0);
}
