//! The memory that nexus's `spawn_slab` takes tasks from.

#![expect(unsafe_code, reason = "nexus has its users make the slab, by an unsafe call")]

use nexus_slab::byte::unbounded::Slab;

/// A slab of slots of `SIZE` bytes for a runtime of nexus, `slots` at first.
pub(crate) fn of_nexus<const SIZE: usize>(slots: usize) -> Slab<SIZE> {
    // SAFETY: the slab goes into a runtime, which stays on the thread that made both.
    unsafe { Slab::with_chunk_capacity(slots) }
}
