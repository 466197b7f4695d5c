//! The memory of one task: a place that holds its future, then its output or the payload of its panic.
//!
//! ```text
//!            install            poll: Ready            take_output
//!   Empty ------------> Future -------------> Output --------------> Empty
//!     |                  ^ |  ^                 |
//!     | claim       fill | |  | Pending         | clear
//!     v                  | v  |                 v
//!   Claimed -------------+ Busy -------------> Empty
//!     |                    |   panicked          ^
//!     v clear              +---------> Panicked -+ take_payload, clear
//!   Empty
//! ```
//!
//! Invariant **stage says**: what the memory holds is what `stage` says. Each method looks at the stage
//! first, sets it to `Busy` before it calls user code, and to the truth after it; a panic leaves `Busy` or
//! `Ending` behind, which only [`TaskCell::panicked`] resolves. So nothing is polled, read or dropped twice,
//! whoever calls what from inside a poll or a destructor.

#![expect(unsafe_code, reason = "a future and its output share one type-erased allocation")]

use std::{
    any::{Any, TypeId},
    cell::{Cell, UnsafeCell},
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    ptr::{self, NonNull},
    task::{Context, Poll},
};

use super::{
    CancelReason,
    pool::{List, Pool},
    slab,
    table::Flags,
};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// No memory is attached.
    Empty,
    /// A slot of the slab, with nothing in it.
    Claimed,
    /// A future that may be polled.
    Future,
    /// User code runs on what is inside, or unwound out of it.
    Busy,
    /// A poll goes on whose future has ended its life, or unwound then.
    Ending,
    /// The output, not yet taken.
    Output,
    /// The payload of a panic, not yet taken.
    Panicked,
}

/// What came of a poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Polled {
    Pending,
    Ready,
    /// There is no future that may be polled.
    Not,
}

/// What differs from one type of future to the next.
struct Functions {
    name: fn() -> &'static str,
    /// The type of the output; [`Unread`] where only the owner of the memory may read it.
    output_type: TypeId,
    /// Polls the future. Ready: the future is dropped and the output written in its place.
    poll: unsafe fn(*mut (), &Cell<Stage>, &mut Context<'_>) -> Poll<()>,
    drop_future: unsafe fn(*mut ()),
    drop_output: unsafe fn(*mut ()),
    /// Where the memory goes when nothing in it is alive; if that is no list, `free` takes it.
    list: List,
    free: unsafe fn(*mut ()),
}

/// The type of no output.
enum Unread {}

/// A future and, in the same place, its output.
union Body<F: Future> {
    future: ManuallyDrop<F>,
    #[expect(dead_code, reason = "the output is reached by pointer; the field makes room for it")]
    output: ManuallyDrop<F::Output>,
}

/// The root future of `block_on`, which may borrow, in the frame of its caller.
pub(crate) struct RootBody<F: Future> {
    future: UnsafeCell<Option<F>>,
    output: Cell<Option<F::Output>>,
}

impl<F: Future> RootBody<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: UnsafeCell::new(Some(future)), output: Cell::new(None) }
    }

    pub(crate) fn take_output(&self) -> Option<F::Output> {
        self.output.take()
    }
}

/// One task's memory, by the rule *stage says*.
pub(crate) struct TaskCell {
    /// While the stage is `Empty`, whatever [`set_link`](Self::set_link) puts there.
    data: Cell<*mut ()>,
    functions: Cell<&'static Functions>,
    /// Of the slot whose memory this is; they stand here because here is room for them.
    pub(super) flags: Cell<Flags>,
    stage: Cell<Stage>,
    /// Why it was ended, if it was.
    pub(super) reason: Cell<CancelReason>,
}

impl TaskCell {
    pub(crate) const fn empty() -> Self {
        Self {
            data: Cell::new(ptr::null_mut()),
            functions: Cell::new(EMPTY),
            flags: Cell::new(Flags::QUEUED),
            stage: Cell::new(Stage::Empty),
            reason: Cell::new(CancelReason::Aborted),
        }
    }

    /// What [`set_link`](Self::set_link) put here.
    #[inline]
    pub(super) fn link(&self) -> *const () {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "only an empty cell has a link");
        self.data.get()
    }

    /// Has an empty cell hold the link of a list, until something is put into it.
    #[inline]
    pub(super) fn set_link(&self, link: *const ()) {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "only an empty cell has a link");
        self.data.set(link.cast_mut());
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// The name of the future's type.
    pub(crate) fn name(&self) -> &'static str {
        (self.functions.get().name)()
    }

    /// Puts a future into memory of its own.
    #[inline]
    pub(crate) fn install<F>(&self, pool: &Pool, future: F)
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "a cell holds one future at a time");
        let body = pool.take::<Body<F>>();
        // SAFETY: the memory is for a `Body<F>`, and ours.
        unsafe { self.put(body, future, boxed::<F>()) };
    }

    /// # Safety
    ///
    /// `body` is for a `Body<F>`, holds nothing alive, and is this cell's alone; `functions` are those of `F`
    /// and of where `body` comes from.
    #[inline]
    unsafe fn put<F: Future>(
        &self,
        body: NonNull<Body<F>>,
        future: F,
        functions: &'static Functions,
    ) {
        // SAFETY: the caller's promise.
        unsafe { body.write(Body { future: ManuallyDrop::new(future) }) };
        self.data.set(body.as_ptr().cast());
        self.functions.set(functions);
        self.stage.set(Stage::Future);
    }

    /// Puts a future into a slot of the slab. It comes back if none is free, or if it does not fit.
    #[inline]
    pub(crate) fn install_slab<F>(&self, pool: &Pool, future: F) -> Result<(), F>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "a cell holds one future at a time");
        if !pool.slab().fits::<Body<F>>() {
            return Err(future);
        }
        let Some(slot) = pool.take_slot() else {
            return Err(future);
        };
        // SAFETY: what fits a slot was compared with what a `Body<F>` needs, and this one was free.
        unsafe { self.put(slot.cast(), future, in_slab::<F>()) };
        Ok(())
    }

    /// Attaches a slot of the slab, for a future that [`fill`](Self::fill) brings. False: none is free.
    #[inline]
    pub(crate) fn claim(&self, pool: &Pool) -> bool {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "a cell holds one future at a time");
        let Some(slot) = pool.take_slot() else {
            return false;
        };
        self.data.set(slot.as_ptr());
        self.functions.set(&CLAIMED);
        self.stage.set(Stage::Claimed);
        true
    }

    /// Puts a future into the slot that was claimed. It comes back if none was, or if it does not fit.
    #[inline]
    pub(crate) fn fill<F>(&self, pool: &Pool, future: F) -> Result<(), F>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.stage.get() != Stage::Claimed || !pool.slab().fits::<Body<F>>() {
            return Err(future);
        }
        // SAFETY: whoever attaches memory attaches a pointer that is not null.
        let slot = unsafe { NonNull::new_unchecked(self.data.get()) };
        // SAFETY: by *stage says* the memory is a slot of this pool's slab that nobody uses, and what fits
        // a slot was compared with what a `Body<F>` needs.
        unsafe { self.put(slot.cast(), future, in_slab::<F>()) };
        Ok(())
    }

    /// Attaches a root future that stays where it is.
    ///
    /// # Safety
    ///
    /// The cell is cleared before `body` is moved, dropped, or its lifetime ends.
    pub(crate) unsafe fn attach<F: Future>(&self, body: Pin<&RootBody<F>>) {
        debug_assert_eq!(self.stage.get(), Stage::Empty, "a cell holds one future at a time");
        self.data.set(ptr::from_ref(body.get_ref()).cast_mut().cast());
        self.functions.set(root::<F>());
        self.stage.set(Stage::Future);
    }

    /// Polls the future, if there is one that may be polled. Ready: the output is in its place.
    #[inline(always)]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Polled {
        if self.stage.get() != Stage::Future {
            return Polled::Not;
        }
        self.stage.set(Stage::Busy);
        // SAFETY: by *stage says* the memory held a future of the type these functions are for.
        match unsafe { (self.functions.get().poll)(self.data.get(), &self.stage, cx) } {
            Poll::Pending => {
                self.stage.set(Stage::Future);
                Polled::Pending
            }
            Poll::Ready(()) => {
                self.stage.set(Stage::Output);
                Polled::Ready
            }
        }
    }

    /// Records that a poll unwound with `payload`: drops what is left of the future and keeps the
    /// payload in its place. A destructor that panics as well leaves its payload as the error.
    pub(crate) fn panicked(&self, pool: &Pool, payload: Payload) -> Result<(), Payload> {
        let dropped = if self.stage.get() == Stage::Busy {
            let (data, functions) = (self.data.get(), self.functions.get());
            // SAFETY: the poll unwound before the future's life ended, so the future is still there; the
            // stage stays `Busy` while its destructor runs.
            catch_unwind(AssertUnwindSafe(|| unsafe { (functions.drop_future)(data) }))
        } else {
            Ok(())
        };
        self.give_back(pool);
        self.data.set(Box::into_raw(Box::new(payload)).cast());
        self.functions.set(&PAYLOAD);
        self.stage.set(Stage::Panicked);
        dropped
    }

    /// As [`take_output`](Self::take_output), where the memory is of a list: no call is made.
    #[inline]
    pub(crate) fn take_listed_output<T: 'static>(&self, pool: &Pool) -> Option<T> {
        if self.functions.get().list == List::NONE { None } else { self.take_output(pool) }
    }

    /// Moves the output out, if it is there and is a `T`.
    #[inline]
    pub(crate) fn take_output<T: 'static>(&self, pool: &Pool) -> Option<T> {
        if self.stage.get() != Stage::Output
            || self.functions.get().output_type != TypeId::of::<T>()
        {
            return None;
        }
        // SAFETY: by *stage says* the memory holds the output, and its type was compared.
        let output = unsafe { self.data.get().cast::<T>().read() };
        self.release(pool);
        Some(output)
    }

    /// Moves the payload of a panic out, if it is there.
    pub(crate) fn take_payload(&self, pool: &Pool) -> Option<Payload> {
        if self.stage.get() != Stage::Panicked {
            return None;
        }
        // SAFETY: by *stage says* the memory holds the payload that `panicked` put there.
        let payload = unsafe { self.data.get().cast::<Payload>().read() };
        self.release(pool);
        Some(payload)
    }

    /// Drops whatever is inside and gives the memory back. An error is the payload of a destructor's
    /// panic; the memory is given back all the same. Does nothing while user code runs inside.
    pub(crate) fn clear(&self, pool: &Pool) -> Result<(), Payload> {
        let functions = self.functions.get();
        let destructor = match self.stage.get() {
            Stage::Future => functions.drop_future,
            Stage::Output | Stage::Panicked => functions.drop_output,
            Stage::Claimed => |_| {},
            Stage::Empty | Stage::Busy | Stage::Ending => return Ok(()),
        };
        self.stage.set(Stage::Busy);
        let data = self.data.get();
        // SAFETY: by *stage says* the memory held what this destructor is for.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { destructor(data) }));
        self.release(pool);
        dropped
    }

    /// Gives the memory back; what was inside has ended its life.
    #[inline]
    fn release(&self, pool: &Pool) {
        self.stage.set(Stage::Empty);
        self.give_back(pool);
    }

    /// As [`release`](Self::release); the caller says what the stage is from here on.
    #[inline]
    fn give_back(&self, pool: &Pool) {
        let (data, functions) = (self.data.get(), self.functions.get());
        // SAFETY: whoever attaches memory attaches a pointer that is not null.
        let memory = unsafe { NonNull::new_unchecked(data) };
        // SAFETY: the memory came from the list these functions are for, nothing in it is alive, and by
        // *stage says* nobody asks for it again.
        if !unsafe { pool.give_back(functions.list, memory) } {
            // SAFETY: as above; it came from where these functions give it back.
            unsafe { (functions.free)(data) };
        }
    }
}

/// The bytes that a task of this future needs: for the future, or for its output, which stands in the same
/// place.
pub(crate) const fn needs<F: Future>() -> usize {
    size_of::<Body<F>>()
}

/// Whether a task of this future may stand in a slot of the slab, if that is large enough.
pub(crate) const fn may_stand_in_slab<F: Future>() -> bool {
    align_of::<Body<F>>() <= slab::ALIGN
}

const NOTHING: Functions = Functions {
    name: || "nothing",
    output_type: TypeId::of::<Unread>(),
    poll: |_, _, _| Poll::Pending,
    drop_future: |_| {},
    drop_output: |_| {},
    list: List::NONE,
    free: |_| {},
};

static EMPTY: &Functions = &NOTHING;

static CLAIMED: Functions = Functions { name: || "a claimed slot", list: List::SLAB, ..NOTHING };

static PAYLOAD: Functions = Functions {
    name: || "panic payload",
    drop_output: drop_payload,
    free: free_payload,
    ..NOTHING
};

/// # Safety
///
/// `data` holds a live payload.
unsafe fn drop_payload(data: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { ptr::drop_in_place(data.cast::<Payload>()) };
}

/// # Safety
///
/// `data` comes from the box of a payload, which is dead.
unsafe fn free_payload(data: *mut ()) {
    // SAFETY: the caller's promise; `ManuallyDrop` has the layout of what it wraps.
    drop(unsafe { Box::from_raw(data.cast::<ManuallyDrop<Payload>>()) });
}

const fn functions<F>(list: List) -> Functions
where
    F: Future + 'static,
    F::Output: 'static,
{
    Functions {
        name: std::any::type_name::<F>,
        output_type: TypeId::of::<F::Output>(),
        poll: poll_boxed::<F>,
        drop_future: drop_boxed_future::<F>,
        drop_output: drop_boxed_output::<F>,
        list,
        free: free_boxed::<F>,
    }
}

/// For a future in memory of its own.
fn boxed<F>() -> &'static Functions
where
    F: Future + 'static,
    F::Output: 'static,
{
    &const { functions::<F>(List::of::<Body<F>>()) }
}

/// For a future in a slot of the slab.
fn in_slab<F>() -> &'static Functions
where
    F: Future + 'static,
    F::Output: 'static,
{
    &const { functions::<F>(List::SLAB) }
}

/// # Safety
///
/// `data` is a `Body<F>` that holds a future, pinned there.
unsafe fn poll_boxed<F: Future>(
    data: *mut (),
    stage: &Cell<Stage>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let future = data.cast::<F>();
    // SAFETY: the caller's promise; a union's fields all start at its address.
    let unpinned = unsafe { &mut *future };
    // SAFETY: the future is dropped where it is.
    let pinned = unsafe { Pin::new_unchecked(unpinned) };
    let Poll::Ready(output) = pinned.poll(cx) else {
        return Poll::Pending;
    };
    stage.set(Stage::Ending);
    if std::mem::needs_drop::<F>() {
        // SAFETY: the future is alive, and `Ending` says that nobody may touch it after this.
        let ended = catch_unwind(AssertUnwindSafe(|| unsafe { ptr::drop_in_place(future) }));
        if let Err(payload) = ended {
            // A second panic while this one unwinds would abort: the output goes under a guard.
            let second = catch_unwind(AssertUnwindSafe(|| drop(output)));
            if let Err(third) = catch_unwind(AssertUnwindSafe(|| drop(second))) {
                std::mem::forget(third);
            }
            resume_unwind(payload);
        }
    }
    // SAFETY: the future's life has ended; the union is large enough and aligned for its output.
    unsafe { data.cast::<F::Output>().write(output) };
    Poll::Ready(())
}

/// # Safety
///
/// `data` is a `Body<F>` that holds a future.
unsafe fn drop_boxed_future<F: Future>(data: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { ptr::drop_in_place(data.cast::<F>()) };
}

/// # Safety
///
/// `data` is a `Body<F>` that holds an output.
unsafe fn drop_boxed_output<F: Future>(data: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { ptr::drop_in_place(data.cast::<F::Output>()) };
}

/// # Safety
///
/// `data` is a `Body<F>` from a pool, of no list, in which nothing is alive.
unsafe fn free_boxed<F: Future>(data: *mut ()) {
    // SAFETY: what a pool gave out is not null.
    let body = unsafe { NonNull::new_unchecked(data.cast::<Body<F>>()) };
    // SAFETY: the caller's promise.
    unsafe { Pool::free(body) };
}

fn root<F: Future>() -> &'static Functions {
    &const {
        Functions {
            name: std::any::type_name::<F>,
            poll: poll_root::<F>,
            drop_future: drop_root::<F>,
            ..NOTHING
        }
    }
}

/// # Safety
///
/// `data` is a pinned `RootBody<F>` that outlives the call, and no one else uses it meanwhile.
unsafe fn poll_root<F: Future>(
    data: *mut (),
    stage: &Cell<Stage>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // SAFETY: the caller's promise.
    let body = unsafe { &*data.cast::<RootBody<F>>() };
    // SAFETY: the stage is `Busy`, so this is the only reference to the future.
    let slot = unsafe { &mut *body.future.get() };
    let Some(future) = slot.as_mut() else {
        return Poll::Pending;
    };
    // SAFETY: the body is pinned, and its future is dropped where it is.
    let pinned = unsafe { Pin::new_unchecked(future) };
    let Poll::Ready(output) = pinned.poll(cx) else {
        return Poll::Pending;
    };
    body.output.set(Some(output));
    stage.set(Stage::Ending);
    *slot = None;
    Poll::Ready(())
}

/// # Safety
///
/// As for [`poll_root`].
unsafe fn drop_root<F: Future>(data: *mut ()) {
    // SAFETY: the caller's promise.
    let body = unsafe { &*data.cast::<RootBody<F>>() };
    // SAFETY: the stage is `Busy`, so this is the only reference to the future.
    let slot = unsafe { &mut *body.future.get() };
    *slot = None;
}
