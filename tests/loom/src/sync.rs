//! The atomics that the inbox is compiled with: what the library's own list names under loom, but for
//! the order of stores.

#[path = "../../../src/executor/sync.rs"]
mod library;

pub(crate) use library::{AtomicPtr, AtomicU64, Mutex, Ordering, fence, look_after_write};

/// loom's `AtomicBool`, with a store that is ordered as C++ orders it.
///
/// A swap is the next write after the one that it read, so a flag that one thread stores and others
/// swap has its writes in the order of execution: a store that comes after a swap cannot slip between
/// that swap and what the swap read. loom keeps no such adjacency: it takes the two for unordered, and
/// lets a waker read its own old swap although a later store happened before the load, which reports
/// deadlocks that no machine has. A store that is itself a swap states the order.
#[derive(Debug)]
pub(crate) struct AtomicBool(library::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(library::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        // A store acquires nothing; loom gives `SeqCst` outside fences no other meaning than this.
        let order = if order == Ordering::Relaxed { order } else { Ordering::Release };
        self.0.swap(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }
}
