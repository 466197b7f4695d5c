//! The allocator of this program: the system's, which counts bytes while somebody asks for that.
//!
//! Invariant **counts only**: each call goes to the system's allocator with the arguments it came with.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

#[derive(Debug)]
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

static COUNTS: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: by *counts only* every promise is the system allocator's own.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Counts from its making to its drop; one at a time.
#[derive(Debug)]
pub(crate) struct Counting(());

impl Counting {
    pub(crate) fn start() -> Self {
        BYTES.store(0, Ordering::Relaxed);
        COUNTS.store(true, Ordering::Relaxed);
        Self(())
    }

    /// The bytes allocated and not freed since the start.
    pub(crate) fn allocated(&self) -> u64 {
        BYTES.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        COUNTS.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_and_kept_is_counted() {
        let counting = Counting::start();
        let kept = vec![0_u8; 100_000];
        drop(vec![0_u8; 1_000_000]);
        // Other tests allocate meanwhile, but not so much.
        assert!((90_000..200_000).contains(&counting.allocated()));
        drop(kept);
    }
}
