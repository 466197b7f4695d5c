//! The task table: slots that never move, and the free list.
//!
//! Invariants:
//!
//! - **slots stay**: a page of slots is allocated once and freed with the table, so a reference to a slot
//!   is good as long as the table, whatever user code does meanwhile;
//! - **begun in order**: the slots below `len` have begun to be, in whichever page; those above are memory
//!   that nobody has touched;
//! - **once in a list**: a slot with `QUEUED` has exactly one entry in a ring, or is on the free list, and
//!   no other slot has; only the pop clears the flag. So a ring never overflows, and a stale wake of a
//!   free slot finds it taken.

#![expect(unsafe_code, reason = "pages of slots are shared while the table grows")]

use std::{
    cell::{Cell, UnsafeCell},
    mem::MaybeUninit,
    num::NonZeroU64,
    panic::Location,
    ptr::{self, NonNull},
    task::Waker,
};

use super::{
    key::{Generation, Key, RuntimeId, SLOTS_MAX, SlotIndex, TaskIdentity},
    memory::TaskCell,
};

const PAGE_BITS: u32 = 8;
const PAGE: usize = 1 << PAGE_BITS;

/// What is true of a slot beside its task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// In a ring, or free.
    pub(crate) const QUEUED: Self = Self(1);
    /// The entry in the ring is spent: the task was polled ahead of it.
    pub(crate) const SPENT: Self = Self(1 << 1);
    /// When the spent entry comes up, it goes behind the turn mark.
    pub(crate) const AGAIN: Self = Self(1 << 2);
    /// In the list of those polled first.
    pub(crate) const FRONT: Self = Self(1 << 3);
    /// A `JoinHandle` belongs to it.
    pub(crate) const ATTACHED: Self = Self(1 << 4);
    /// Never to be polled again.
    pub(crate) const ABORTED: Self = Self(1 << 5);
    /// Something may still come for this use of the slot: it is not free.
    pub(crate) const HELD: Self = Self::QUEUED.union(Self::FRONT).union(Self::ATTACHED);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing but (some of) `other` is set.
    pub(crate) const fn is_only(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One task's header. The future is elsewhere, behind [`TaskCell`].
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) cell: TaskCell,
    /// What this use of the slot answers to; when its task has ended, and while the slot is free, what the next
    /// use will. A waker that has been kept for as many uses as there are generations may have that key
    /// already: what it asks for then is a poll of nothing. Slot 0 has a key of no generation.
    key: Cell<Key>,
    /// Never reused in this runtime; 0 while the slot is free.
    pub(crate) serial: Cell<u64>,
    pub(crate) joiner: Cell<Option<Waker>>,
    pub(crate) spawned_at: Cell<&'static Location<'static>>,
}

const _: () = assert!(size_of::<Slot>() == 64, "a task's header is one cache line");

impl Slot {
    #[track_caller]
    fn new(key: Key) -> Self {
        Self {
            cell: TaskCell::empty(),
            key: Cell::new(key),
            serial: Cell::new(0),
            joiner: Cell::new(None),
            spawned_at: Cell::new(Location::caller()),
        }
    }

    /// The key that this use of the slot answers to.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        self.key.get()
    }

    /// The task has ended: its keys ask for nothing from here on.
    #[inline]
    pub(super) fn retire(&self) {
        self.key.set(self.key().next());
    }

    /// Where in the table it is.
    #[inline]
    pub(crate) fn index(&self) -> SlotIndex {
        self.key().slot()
    }

    /// The task in this slot. `None`: it is free.
    #[inline]
    pub(crate) fn identity(&self) -> Option<TaskIdentity> {
        NonZeroU64::new(self.serial.get()).map(|serial| TaskIdentity { slot: self.index(), serial })
    }

    #[inline]
    pub(crate) fn flags(&self) -> Flags {
        self.cell.flags.get()
    }

    pub(crate) fn set(&self, flags: Flags) {
        self.cell.flags.set(self.flags().union(flags));
    }

    pub(crate) fn clear(&self, flags: Flags) {
        self.cell.flags.set(self.flags().without(flags));
    }
}

type Page = [MaybeUninit<Slot>; PAGE];

/// Slots by index.
pub(crate) struct Table {
    pages: UnsafeCell<Vec<NonNull<Page>>>,
    /// Slots in the pages that have begun to be, slot 0 included.
    len: Cell<u32>,
    /// Slots for which the pages have room.
    room: Cell<u32>,
    /// The first free slot, or null; each links to the next through its cell. Slot 0, the runtime's own, is
    /// never among them.
    free: Cell<*const Slot>,
    /// With what each slot's key begins.
    runtime: RuntimeId,
    first: Generation,
}

/// Every one of the 2^24 slots is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableFull;

impl Table {
    pub(crate) fn new(runtime: RuntimeId, first: Generation) -> Self {
        let table = Self {
            pages: UnsafeCell::new(Vec::new()),
            len: Cell::new(0),
            room: Cell::new(0),
            free: Cell::new(ptr::null()),
            runtime,
            first,
        };
        table.add_page();
        table.begin(Key::from_word(0));
        table
    }

    /// Slots that have been used or are, slot 0 included.
    pub(crate) fn len(&self) -> u32 {
        self.len.get()
    }

    /// How many slots there can be before memory is allocated, slot 0 included.
    pub(crate) fn room(&self) -> u32 {
        self.room.get()
    }

    #[inline]
    pub(crate) fn get(&self, index: SlotIndex) -> Option<&Slot> {
        if index.0 >= self.len.get() {
            return None;
        }
        // SAFETY: the index is below `len`.
        Some(unsafe { self.get_unchecked(index) })
    }

    /// Slot 0.
    pub(crate) fn runtime(&self) -> &Slot {
        self.get(SlotIndex::RUNTIME).expect("`new` begins the first slot")
    }

    /// # Safety
    ///
    /// `index` is below [`len`](Self::len).
    #[inline]
    pub(crate) unsafe fn get_unchecked(&self, index: SlotIndex) -> &Slot {
        // SAFETY: the shared borrow of the list of pages ends in this function, no user code runs in it,
        // and `add_page` is the only other user of the list.
        let pages = unsafe { &*self.pages.get() };
        // SAFETY: the caller's promise: the page exists.
        let page = unsafe { pages.get_unchecked((index.0 >> PAGE_BITS) as usize) };
        // SAFETY: by *slots stay* the page is alive as long as the table, and all of `Slot` is cells.
        let page = unsafe { page.as_ref() };
        // SAFETY: by *begun in order* the slot has begun to be.
        unsafe { page[index.0 as usize & (PAGE - 1)].assume_init_ref() }
    }

    /// Takes a free slot, with `flags`. `None`: there is none, and [`grow`](Self::grow) makes some.
    #[inline]
    pub(crate) fn allocate(&self, flags: Flags) -> Option<&Slot> {
        // SAFETY: the free list holds slots of this table, which by *slots stay* are alive as long as it.
        let slot = unsafe { self.free.get().as_ref() }?;
        self.free.set(slot.cell.link().cast());
        slot.cell.flags.set(flags);
        Some(slot)
    }

    /// Adds a free slot.
    pub(crate) fn grow(&self) -> Result<(), TableFull> {
        let index = SlotIndex(self.len.get());
        if index.0 >= self.room.get() {
            self.reserve(index.0 + 1)?;
        }
        self.begin(Key::new(self.runtime, self.first, index));
        let slot = self.get(index).expect("the slot began above");
        slot.cell.set_link(self.free.replace(slot).cast());
        Ok(())
    }

    /// Makes room for `slots` slots, slot 0 included.
    #[cold]
    pub(crate) fn reserve(&self, slots: u32) -> Result<(), TableFull> {
        if slots > SLOTS_MAX {
            return Err(TableFull);
        }
        while self.room.get() < slots {
            self.add_page();
        }
        Ok(())
    }

    /// Gives a slot back, whose task has retired, or never began.
    #[inline]
    pub(crate) fn free(&self, slot: &Slot) {
        debug_assert!(
            slot.flags().is_only(Flags::ABORTED),
            "a free slot is in no queue and has no handle"
        );
        slot.cell.flags.set(Flags::QUEUED);
        slot.serial.set(0);
        slot.cell.set_link(self.free.replace(slot).cast());
    }

    fn add_page(&self) {
        let page: Box<Page> = Box::new([const { MaybeUninit::uninit() }; PAGE]);
        // SAFETY: no other borrow of the list is alive: `get` ends its own before it returns.
        let pages = unsafe { &mut *self.pages.get() };
        pages.push(NonNull::from(Box::leak(page)));
        self.room.set(self.room.get() + PAGE as u32);
    }

    /// The next slot begins, for which there is room.
    fn begin(&self, key: Key) {
        let index = self.len.get();
        debug_assert!(index < self.room.get(), "who begins a slot has made room for it");
        // SAFETY: no other borrow of the list is alive: `get` ends its own before it returns.
        let pages = unsafe { &*self.pages.get() };
        let page = pages[(index >> PAGE_BITS) as usize].cast::<Slot>();
        // SAFETY: a page has so many slots.
        let slot = unsafe { page.add(index as usize & (PAGE - 1)) };
        // SAFETY: by *begun in order* nobody has a reference to this slot.
        unsafe { slot.write(Slot::new(key)) };
        self.len.set(index + 1);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for index in 0..self.len.get() {
            // Of a slot nothing has a destructor but this.
            drop(self.get(SlotIndex(index)).and_then(|slot| slot.joiner.take()));
        }
        for page in self.pages.get_mut().drain(..) {
            // SAFETY: each page was leaked from a box in `add_page`, once, and nobody can borrow a
            // slot while the table is dropped.
            drop(unsafe { Box::from_raw(page.as_ptr()) });
        }
    }
}
