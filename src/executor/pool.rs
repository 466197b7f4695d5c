//! Memory for tasks, by size, kept for the next task when one ends: in steady state a spawn takes what
//! an ended task gave back, and the allocator is not asked.
//!
//! Invariant **own size**: a block on the free list of a class has that class's layout and nobody uses
//! it, so it can be given out for anything that fits, and freed with that layout.

#![expect(
    unsafe_code,
    reason = "blocks are raw memory, linked through themselves while they are free"
)]

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::Cell,
    num::NonZeroUsize,
    ptr::NonNull,
};

/// Blocks of 64, 128, 256, 512, 1,024 and 2,048 bytes; what is larger goes to the allocator each time.
const CLASSES: usize = 6;
const SMALLEST: usize = 64;
/// Every block is aligned to a cache line, so a future of ordinary alignment fits.
const ALIGN: usize = 64;

#[derive(Debug)]
pub(crate) struct Pool {
    free: [Cell<Option<NonNull<Block>>>; CLASSES],
}

/// A free block: its first bytes name the next.
struct Block {
    next: Option<NonNull<Block>>,
}

/// The class of a layout, or `None` if it is not pooled.
const fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN || layout.size() > SMALLEST << (CLASSES - 1) {
        return None;
    }
    let mut class = 0;
    while SMALLEST << class < layout.size() {
        class += 1;
    }
    Some(class)
}

const fn class_layout(class: usize) -> Layout {
    match Layout::from_size_align(SMALLEST << class, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two of at least 64 makes a layout"),
    }
}

/// What memory for a `T` is taken as.
struct For<T>(T);

impl<T> For<T> {
    const LAYOUT: Layout = Layout::new::<T>();
    const CLASS: Option<usize> = class(Self::LAYOUT);
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Self { free: [const { Cell::new(None) }; CLASSES] }
    }

    /// Memory for a `T`, uninitialised.
    #[inline]
    pub(crate) fn take<T>(&self) -> NonNull<T> {
        let Some(class) = For::<T>::CLASS else {
            return fresh(For::<T>::LAYOUT).cast();
        };
        match self.free[class].get() {
            Some(block) => {
                // SAFETY: by *own size* the block is ours and its first bytes name the next.
                self.free[class].set(unsafe { block.as_ref() }.next);
                block.cast()
            }
            None => fresh(class_layout(class)).cast(),
        }
    }

    /// Takes memory back.
    ///
    /// # Safety
    ///
    /// `memory` comes from `take::<T>` of this pool, once, and nothing in it is alive.
    #[inline]
    pub(crate) unsafe fn give_back<T>(&self, memory: NonNull<T>) {
        let Some(class) = For::<T>::CLASS else {
            // SAFETY: `take` allocated it with this layout; the caller's promise for the rest.
            unsafe { free(memory.cast(), For::<T>::LAYOUT) };
            return;
        };
        let block = memory.cast::<Block>();
        // SAFETY: the block is large and aligned enough for a link, and the caller gives it up.
        unsafe { block.write(Block { next: self.free[class].get() }) };
        self.free[class].set(Some(block));
    }
}

#[cold]
fn fresh(layout: Layout) -> NonNull<u8> {
    if layout.size() == 0 {
        // As good as memory for what has no size, but at an address that is aligned for it.
        let aligned = NonZeroUsize::new(layout.align()).expect("an alignment is never zero");
        return NonNull::without_provenance(aligned);
    }
    // SAFETY: the layout is not empty.
    match NonNull::new(unsafe { alloc(layout) }) {
        Some(memory) => memory,
        None => handle_alloc_error(layout),
    }
}

/// # Safety
///
/// `memory` comes from `fresh(layout)`, once.
unsafe fn free(memory: NonNull<u8>, layout: Layout) {
    if layout.size() > 0 {
        // SAFETY: the caller's promise.
        unsafe { dealloc(memory.as_ptr(), layout) };
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (class, list) in self.free.iter().enumerate() {
            let mut at = list.take();
            while let Some(block) = at {
                // SAFETY: by *own size*, and the list is gone: this is the block's only use.
                at = unsafe { block.read() }.next;
                // SAFETY: as above; `take` allocated every block of this class with this layout.
                unsafe { free(block.cast(), class_layout(class)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_given_back_is_given_out_again() {
        let pool = Pool::new();
        let first = pool.take::<[u64; 9]>();
        // SAFETY: taken above, and holds nothing alive.
        unsafe { pool.give_back(first) };
        let second = pool.take::<[u8; 128]>();
        assert_eq!(first.cast::<u8>(), second.cast::<u8>(), "both are of the class of 128 bytes");
        // SAFETY: as above.
        unsafe { pool.give_back(second) };
    }

    #[test]
    fn what_is_too_large_or_too_aligned_is_not_pooled_and_is_placed_right() {
        #[repr(align(256))]
        struct Aligned(#[expect(dead_code, reason = "only the layout is looked at")] u8);
        let pool = Pool::new();
        let aligned = pool.take::<Aligned>();
        assert_eq!(aligned.addr().get() % 256, 0);
        #[repr(align(128))]
        struct Nothing;
        assert_eq!(pool.take::<Nothing>().addr().get() % 128, 0, "also what has no size");
        let large = pool.take::<[u8; 4096]>();
        // SAFETY: taken above, and holds nothing alive.
        unsafe { pool.give_back(aligned) };
        // SAFETY: as above.
        unsafe { pool.give_back(large) };
    }

    #[test]
    fn a_class_is_the_smallest_block_that_fits() {
        let of = |size| class(Layout::from_size_align(size, 8).unwrap());
        assert_eq!(
            (of(0), of(64), of(65), of(2048), of(2049)),
            (Some(0), Some(0), Some(1), Some(5), None)
        );
    }
}
