//! Memory for tasks that is allocated when the runtime is built: slots of one size, in chunks. Those that
//! are free are on a list of the [`pool`](super::pool), as blocks of every other size are.
//!
//! Invariant **chunks stay**: a chunk is allocated once and freed with the slab, so a slot is good as long
//! as the slab, also one that nobody ever gives back.

#![expect(unsafe_code, reason = "slots are raw memory")]

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::RefCell,
    ptr::NonNull,
};

/// Every slot is aligned to a cache line, so a future of ordinary alignment fits.
pub(crate) const ALIGN: usize = 64;

/// Whether a slab makes more slots when all are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Growth {
    Bounded,
    Unbounded,
}

/// What a slab is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlabOptions {
    /// Bytes of a slot.
    pub(crate) size: usize,
    /// Slots at the beginning, and of each chunk that is added later.
    pub(crate) slots: usize,
    pub(crate) growth: Growth,
}

impl SlabOptions {
    /// The memory of one chunk, or `None` if that is more than an address space holds.
    fn layout(self) -> Option<Layout> {
        let bytes = self.stride()?.checked_mul(self.slots)?;
        Layout::from_size_align(bytes, ALIGN).ok()
    }

    /// From one slot to the next.
    fn stride(self) -> Option<usize> {
        self.size.max(1).checked_next_multiple_of(ALIGN)
    }
}

/// The memory that was asked for is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoMemory;

/// The slots of a fresh chunk: nobody's yet, a stride apart.
pub(super) struct Chunk {
    start: NonNull<u8>,
    stride: usize,
    slots: usize,
}

impl Chunk {
    /// The slots, the highest address first.
    pub(super) fn into_slots(self) -> impl Iterator<Item = NonNull<u8>> {
        // SAFETY: `slots` slots, a stride apart, are the chunk.
        (0..self.slots).rev().map(move |slot| unsafe { self.start.byte_add(slot * self.stride) })
    }
}

#[derive(Debug)]
pub(crate) struct Slab {
    options: Option<(SlabOptions, Layout)>,
    /// Bytes of a slot; 0 without a slab.
    size: usize,
    chunks: RefCell<Vec<NonNull<u8>>>,
}

impl Slab {
    /// A slab that has no slots and never will.
    pub(crate) const fn none() -> Self {
        Self { options: None, size: 0, chunks: RefCell::new(Vec::new()) }
    }

    /// A slab, and its first chunk.
    pub(super) fn new(options: SlabOptions) -> Result<(Self, Chunk), NoMemory> {
        let layout = options.layout().filter(|layout| layout.size() > 0).ok_or(NoMemory)?;
        let (options_and_layout, chunks) = (Some((options, layout)), RefCell::new(Vec::new()));
        let slab = Self { options: options_and_layout, size: options.size, chunks };
        let chunk = slab.add_chunk(options, layout)?;
        Ok((slab, chunk))
    }

    /// Bytes of a slot, if there is a slab.
    pub(crate) fn size(&self) -> Option<usize> {
        self.options.map(|(options, _)| options.size)
    }

    /// Whether a `T` may stand in a slot.
    #[inline]
    pub(crate) fn fits<T>(&self) -> bool {
        align_of::<T>() <= ALIGN && size_of::<T>() <= self.size
    }

    /// Adds a chunk, if the slab may grow.
    pub(super) fn grow(&self) -> Option<Chunk> {
        let (options, layout) = self.options.filter(|(o, _)| o.growth == Growth::Unbounded)?;
        match self.add_chunk(options, layout) {
            Ok(chunk) => Some(chunk),
            Err(NoMemory) => handle_alloc_error(layout),
        }
    }

    fn add_chunk(&self, options: SlabOptions, layout: Layout) -> Result<Chunk, NoMemory> {
        // SAFETY: the layout is not empty: `new` has looked.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(NoMemory)?;
        self.chunks.borrow_mut().push(start);
        Ok(Chunk { start, stride: layout.size() / options.slots, slots: options.slots })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some((_, layout)) = self.options {
            for chunk in self.chunks.get_mut().drain(..) {
                // SAFETY: `add_chunk` allocated it with this layout, and by *chunks stay* this is the end.
                unsafe { dealloc(chunk.as_ptr(), layout) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn options(size: usize, slots: usize, growth: Growth) -> SlabOptions {
        SlabOptions { size, slots, growth }
    }

    #[test]
    fn slots_are_apart_and_aligned() {
        let (_slab, chunk) = Slab::new(options(65, 3, Growth::Bounded)).unwrap();
        let slots: Vec<_> = chunk.into_slots().map(|slot| slot.addr().get()).collect();
        assert_eq!(slots[2] % ALIGN, 0);
        assert_eq!(slots, [slots[2] + 256, slots[2] + 128, slots[2]]);
    }

    #[test]
    fn only_an_unbounded_slab_grows() {
        let (bounded, _) = Slab::new(options(64, 2, Growth::Bounded)).unwrap();
        assert!(bounded.grow().is_none());
        let (unbounded, _) = Slab::new(options(64, 2, Growth::Unbounded)).unwrap();
        assert_eq!(unbounded.grow().unwrap().into_slots().count(), 2);
        assert_eq!(unbounded.chunks.borrow().len(), 2);
        assert!(Slab::none().grow().is_none());
    }

    #[test]
    fn what_is_too_large_or_too_aligned_does_not_fit() {
        #[repr(align(128))]
        struct Aligned(#[expect(dead_code, reason = "only the layout is looked at")] u8);
        let (slab, _) = Slab::new(options(200, 1, Growth::Bounded)).unwrap();
        assert!(slab.fits::<[u8; 200]>() && slab.fits::<()>());
        assert!(!slab.fits::<[u8; 201]>() && !slab.fits::<Aligned>());
    }

    #[test]
    fn more_than_there_can_be_is_refused() {
        let refused = |size, slots| Slab::new(options(size, slots, Growth::Bounded)).is_err();
        assert!(refused(64, 0));
        assert!(refused(usize::MAX / 2, 2));
        assert!(refused(1, usize::MAX / 2));
    }
}
