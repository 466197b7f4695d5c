//! Memory for tasks, by size, kept for the next task when one ends: in steady state a spawn takes what
//! an ended task gave back, and the allocator is not asked.
//!
//! Invariant **own size**: a block on the free list of a class has that class's layout, a block on the list
//! of the slab is one of its slots, and nobody uses it; so it can be given out for anything that fits.

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

use super::slab::{ALIGN, Chunk, NoMemory, Slab, SlabOptions};

/// Blocks of 64, 128, 256, 512, 1,024 and 2,048 bytes; what is larger goes to the allocator each time.
const CLASSES: usize = 6;
const SMALLEST: usize = 64;
/// One free list for each class, and one for the slots of the slab.
const LISTS: usize = CLASSES + 1;

/// The number of a free list, or of none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct List(u8);

impl List {
    /// For memory that goes back to whoever it came from.
    pub(crate) const NONE: Self = Self(u8::MAX);
    /// For slots of the slab.
    pub(crate) const SLAB: Self = Self(CLASSES as u8);

    /// For a `T` that [`Pool::take`] made room for.
    pub(crate) const fn of<T>() -> Self {
        match For::<T>::CLASS {
            Some(class) => Self(class as u8),
            None => Self::NONE,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    free: [Cell<Option<NonNull<Block>>>; LISTS],
    slab: Slab,
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
        Self { free: [const { Cell::new(None) }; LISTS], slab: Slab::none() }
    }

    /// A pool with a slab, all of which is allocated and touched here.
    pub(crate) fn with_slab(options: SlabOptions) -> Result<Self, NoMemory> {
        let (slab, chunk) = Slab::new(options)?;
        let mut pool = Self::new();
        pool.slab = slab;
        pool.add(chunk);
        Ok(pool)
    }

    pub(crate) fn slab(&self) -> &Slab {
        &self.slab
    }

    /// Memory for a `T`, uninitialised.
    #[inline]
    pub(crate) fn take<T>(&self) -> NonNull<T> {
        let Some(class) = For::<T>::CLASS else {
            return fresh(For::<T>::LAYOUT).cast();
        };
        match self.pop(class) {
            Some(block) => block.cast(),
            None => fresh(class_layout(class)).cast(),
        }
    }

    /// A slot of the slab, uninitialised. `None`: all are taken, and the slab does not grow.
    #[inline]
    pub(crate) fn take_slot(&self) -> Option<NonNull<()>> {
        match self.pop(List::SLAB.0.into()) {
            Some(slot) => Some(slot.cast()),
            None => self.grow(),
        }
    }

    #[cold]
    fn grow(&self) -> Option<NonNull<()>> {
        self.add(self.slab.grow()?);
        self.pop(List::SLAB.0.into()).map(NonNull::cast)
    }

    #[inline]
    fn pop(&self, list: usize) -> Option<NonNull<Block>> {
        let block = self.free[list].get()?;
        // SAFETY: by *own size* the block is ours and its first bytes name the next.
        self.free[list].set(unsafe { block.as_ref() }.next);
        Some(block)
    }

    fn add(&self, chunk: Chunk) {
        for slot in chunk.into_slots() {
            // SAFETY: a slot of a fresh chunk of the slab is as good as one that was taken.
            unsafe { self.give_back(List::SLAB, slot.cast()) };
        }
    }

    /// Takes memory back that came from a list. False: `list` is none.
    ///
    /// # Safety
    ///
    /// `memory` comes from `take::<T>` of this pool, where `list` is `List::of::<T>()`, or from
    /// `take_slot` of this pool, where it is `List::SLAB`; it is given back once, and nothing in it is
    /// alive.
    #[inline]
    pub(crate) unsafe fn give_back(&self, list: List, memory: NonNull<()>) -> bool {
        let Some(head) = self.free.get(usize::from(list.0)) else {
            return false;
        };
        let block = memory.cast::<Block>();
        // SAFETY: the block is large and aligned enough for a link, and the caller gives it up.
        unsafe { block.write(Block { next: head.get() }) };
        head.set(Some(block));
        true
    }

    /// Takes memory back that came from no list.
    ///
    /// # Safety
    ///
    /// `memory` comes from `take::<T>`, where `List::of::<T>()` is none, once, and nothing in it is alive.
    pub(crate) unsafe fn free<T>(memory: NonNull<T>) {
        // SAFETY: `take` allocated it with this layout; the caller's promise for the rest.
        unsafe { free(memory.cast(), For::<T>::LAYOUT) };
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
        // The slots of the slab go with its chunks.
        for (class, list) in self.free[..CLASSES].iter().enumerate() {
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
    use super::{super::slab::Growth, *};

    #[test]
    fn memory_given_back_is_given_out_again() {
        let pool = Pool::new();
        let first = pool.take::<[u64; 9]>();
        // SAFETY: taken above, and holds nothing alive.
        unsafe { pool.give_back(List::of::<[u64; 9]>(), first.cast()) };
        let second = pool.take::<[u8; 128]>();
        assert_eq!(first.cast::<u8>(), second.cast::<u8>(), "both are of the class of 128 bytes");
        // SAFETY: as above.
        unsafe { pool.give_back(List::of::<[u8; 128]>(), second.cast()) };
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
        // SAFETY: it is on no list, and holds nothing alive.
        assert!(!unsafe { pool.give_back(List::of::<Aligned>(), aligned.cast()) });
        // SAFETY: taken above, and holds nothing alive.
        unsafe { Pool::free(aligned) };
        // SAFETY: as above.
        unsafe { Pool::free(large) };
    }

    #[test]
    fn slots_are_as_many_as_asked_for_and_are_given_out_again() {
        let slab = |growth| Pool::with_slab(SlabOptions { size: 100, slots: 3, growth }).unwrap();
        let bounded = slab(Growth::Bounded);
        let slots: Vec<_> = (0..3).map(|_| bounded.take_slot().unwrap()).collect();
        assert!(slots.windows(2).all(|pair| pair[1].addr().get() == pair[0].addr().get() + 128));
        assert_eq!(bounded.take_slot(), None);
        // SAFETY: taken above, and holds nothing alive.
        unsafe { bounded.give_back(List::SLAB, slots[1]) };
        assert_eq!(bounded.take_slot(), Some(slots[1]));
        let unbounded = slab(Growth::Unbounded);
        let mut slots: Vec<_> = (0..8).map(|_| unbounded.take_slot().unwrap()).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 8);
        assert_eq!(Pool::new().take_slot(), None);
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
