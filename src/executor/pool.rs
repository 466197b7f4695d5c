//! Memory for tasks, by size, kept for the next task when one ends: in steady state a spawn takes what
//! an ended task gave back, and the allocator is not asked.
//!
//! Blocks are cut from chunks, whatever their class, so a task takes up the size of its class and nothing is
//! spent on what an allocator notes of a block.
//!
//! Invariants:
//!
//! - **own size**: a block on the free list of a class has that class's size and alignment, a block on the
//!   list of the slab is one of its slots, and nobody uses it; so it can be given out for anything that fits;
//! - **chunks stay**: a chunk is allocated once and freed with the pool, so a block is good as long as the
//!   pool; what is left of the last chunk belongs to nobody.

#![expect(
    unsafe_code,
    reason = "blocks are raw memory, linked through themselves while they are free"
)]

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::{Cell, RefCell},
    num::NonZeroUsize,
    ptr::NonNull,
};

use super::slab::{ALIGN, Chunk, NoMemory, Slab, SlabOptions};

/// Blocks have multiples of so many bytes,
const FINE: usize = 16;
/// up to these; then multiples of so many,
const FINE_MAX: usize = 256;
const COARSE: usize = 64;
/// up to these; and then
const COARSE_MAX: usize = 1_024;
/// so many. What is larger goes to the allocator each time.
const LARGEST: usize = 2_048;
const FINE_CLASSES: usize = FINE_MAX / FINE;
const CLASSES: usize = FINE_CLASSES + (COARSE_MAX - FINE_MAX) / COARSE + 1;
/// With what a block is filled that is given back, where debug assertions are on: whoever still looks at it
/// finds neither a future nor an output.
const NOTHING: u8 = 0xDB;
/// What blocks are cut from.
const CHUNK: Layout = match Layout::from_size_align(2 * LARGEST, ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("two powers of two make a layout"),
};
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
    chunks: RefCell<Vec<NonNull<u8>>>,
    /// What is left of the last chunk: where it begins, and how many bytes it has.
    rest: Cell<(NonNull<u8>, usize)>,
    slab: Slab,
}

/// A free block: its first bytes name the next.
struct Block {
    next: Option<NonNull<Block>>,
}

/// The class of a layout, or `None` if it is not pooled.
const fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN || layout.size() > LARGEST {
        return None;
    }
    // A size that is a multiple of its alignment: blocks of it follow one another.
    let step = if layout.align() > FINE { layout.align() } else { FINE };
    let size = if layout.size() == 0 { step } else { layout.size().next_multiple_of(step) };
    Some(if size <= FINE_MAX {
        size / FINE - 1
    } else if size <= COARSE_MAX {
        FINE_CLASSES + (size - FINE_MAX).div_ceil(COARSE) - 1
    } else {
        CLASSES - 1
    })
}

const fn class_size(class: usize) -> usize {
    if class < FINE_CLASSES {
        (class + 1) * FINE
    } else if class < CLASSES - 1 {
        FINE_MAX + (class - FINE_CLASSES + 1) * COARSE
    } else {
        LARGEST
    }
}

/// The largest that every multiple of its size has, up to that of a chunk.
const fn class_align(class: usize) -> usize {
    let align = 1 << class_size(class).trailing_zeros();
    if align > ALIGN { ALIGN } else { align }
}

/// What memory for a `T` is taken as.
struct For<T>(T);

impl<T> For<T> {
    const LAYOUT: Layout = Layout::new::<T>();
    const CLASS: Option<usize> = class(Self::LAYOUT);
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Self {
            free: [const { Cell::new(None) }; LISTS],
            chunks: RefCell::new(Vec::new()),
            rest: Cell::new((NonNull::dangling(), 0)),
            slab: Slab::none(),
        }
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
            None => self.cut(class).cast(),
        }
    }

    /// A block that nobody has had.
    #[cold]
    fn cut(&self, class: usize) -> NonNull<u8> {
        let (size, align) = (class_size(class), class_align(class));
        let (start, left) = self.rest.get();
        let skip = start.addr().get().wrapping_neg() & (align - 1);
        if left < skip + size {
            let chunk = fresh(CHUNK);
            self.chunks.borrow_mut().push(chunk);
            self.rest.set((chunk, CHUNK.size()));
            return self.cut(class);
        }
        // SAFETY: so many bytes of the chunk are left.
        let block = unsafe { start.byte_add(skip) };
        // SAFETY: as above.
        let rest = unsafe { block.byte_add(size) };
        self.rest.set((rest, left - skip - size));
        block
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
        if cfg!(debug_assertions) {
            // No allocator and no tool that watches one sees a use behind this.
            // SAFETY: the block is so large, and the caller gives it up.
            unsafe { memory.cast::<u8>().write_bytes(NOTHING, self.block_size(list)) };
        }
        let block = memory.cast::<Block>();
        // SAFETY: the block is large and aligned enough for a link, and the caller gives it up.
        unsafe { block.write(Block { next: head.get() }) };
        head.set(Some(block));
        true
    }

    /// Bytes of a block on this list.
    fn block_size(&self, list: List) -> usize {
        if list == List::SLAB { self.slab.size().unwrap_or(0) } else { class_size(list.0.into()) }
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
        // The slots of the slab go with its own.
        for chunk in self.chunks.get_mut().drain(..) {
            // SAFETY: `cut` allocated it with this layout, and by *chunks stay* this is the end.
            unsafe { free(chunk, CHUNK) };
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
        let second = pool.take::<[u8; 80]>();
        assert_eq!(first.cast::<u8>(), second.cast::<u8>(), "both are of the class of 80 bytes");
        // SAFETY: as above.
        unsafe { pool.give_back(List::of::<[u8; 80]>(), second.cast()) };
    }

    #[test]
    #[cfg(debug_assertions)]
    fn memory_given_back_holds_nothing_that_was_there() {
        let options = SlabOptions { size: 100, slots: 1, growth: Growth::Bounded };
        let pool = Pool::with_slab(options).unwrap();
        let block = pool.take::<[u8; 100]>().cast::<()>();
        let slot = pool.take_slot().unwrap();
        for (list, memory) in [(List::of::<[u8; 100]>(), block), (List::SLAB, slot)] {
            let bytes = memory.cast::<[u8; 100]>();
            // SAFETY: taken above, for so many bytes.
            unsafe { bytes.write([7; 100]) };
            // SAFETY: taken above, and holds nothing alive.
            unsafe { pool.give_back(list, memory) };
            // SAFETY: it was written, and nobody has taken it since.
            let left = unsafe { bytes.read() };
            assert!(left[size_of::<Block>()..].iter().all(|byte| *byte == NOTHING));
        }
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
            [of(0), of(16), of(17), of(256), of(257), of(1024), of(1025), of(2048), of(2049)],
            [0, 0, 1, 15, 16, 27, 28, 28, 29].map(|class| (class < CLASSES).then_some(class))
        );
    }

    #[test]
    fn a_block_has_the_size_and_the_alignment_that_its_layout_asks_for() {
        for align in [1, 8, 16, 32, 64] {
            for size in 0..=LARGEST {
                let layout = Layout::from_size_align(size, align).unwrap();
                let class = class(layout).unwrap();
                assert!(class_size(class) >= size && class_align(class) >= align, "{layout:?}");
                assert!(
                    class_size(class) < size.max(1) + 2 * COARSE.max(align) || size > COARSE_MAX
                );
            }
        }
    }

    #[test]
    fn blocks_that_are_cut_are_apart_and_aligned() {
        let pool = Pool::new();
        let mut blocks = Vec::new();
        for round in 0..200 {
            let class = round * 7 % CLASSES;
            let block = pool.cut(class).addr().get();
            assert_eq!(block % class_align(class), 0);
            blocks.push((block, class_size(class)));
        }
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    }
}
