//! The slot in which the loop lends the World to its thread.
//!
//! Invariants:
//!
//! - **one way in**: while a [`Lent`] lives, its `&mut World` is used through the slot alone, by whoever
//!   took the pointer out as a [`Taken`], and the slot is empty meanwhile. So no two references exist;
//! - **framed**: the slot holds a pointer only inside the frame of a `Lent`, which borrows the World, and
//!   which puts back what was there before;
//! - **same World**: whoever had the World may have replaced it by another; its id is compared when it
//!   comes back, and once it differs nobody gets it any more.

#![expect(unsafe_code, reason = "the World is lent through a thread-local pointer")]

use std::{cell::Cell, marker::PhantomData, panic::Location, ptr};

use bevy_ecs::world::{World, WorldId};

use super::ctx::WorldError;
use crate::context;

/// The World that is lent, and who has it. Outside the frame of a `Lent` only `world` and `id` say anything.
#[derive(Clone)]
struct Slot {
    /// Null outside the frame of a `Lent`, while somebody has the World, and once it was replaced.
    world: Cell<*mut World>,
    id: Cell<Option<WorldId>>,
    /// Where the last access began: where `world` is null in the frame of a `Lent`, the one that has it, or
    /// that did not give it back.
    taken: Cell<Option<&'static Location<'static>>>,
    /// The access in `taken` is over, and another World came back.
    replaced: Cell<bool>,
    /// Somebody waits for a change, so each access gets a change tick of its own.
    watched: Cell<bool>,
}

thread_local! {
    static SLOT: Slot = const {
        Slot {
            world: Cell::new(ptr::null_mut()),
            id: Cell::new(None),
            taken: Cell::new(None),
            replaced: Cell::new(false),
            watched: Cell::new(false),
        }
    };
}

impl Slot {
    #[cold]
    fn copy(&self) -> Box<Self> {
        Box::new(self.clone())
    }

    #[cold]
    fn put_back(&self, before: &Self) {
        self.world.set(before.world.get());
        self.id.set(before.id.get());
        self.taken.set(before.taken.get());
        self.replaced.set(before.replaced.get());
        self.watched.set(before.watched.get());
    }
}

/// The World, lent to this thread until the guard is dropped.
pub(crate) struct Lent<'w> {
    id: WorldId,
    /// What another `Lent`, further down the stack, had put there. Rare, so it is not copied each time.
    before: Option<Box<Slot>>,
    _world: PhantomData<&'w mut World>,
}

impl<'w> Lent<'w> {
    pub(crate) fn new(world: &'w mut World) -> Self {
        let id = world.id();
        let watched = context::try_current(|core| core.looks.is_watching()).unwrap_or(false);
        let before = SLOT.with(|slot| {
            let before = slot.id.get().is_some().then(|| slot.copy());
            slot.world.set(world);
            slot.id.set(Some(id));
            slot.taken.set(None);
            slot.replaced.set(false);
            slot.watched.set(watched);
            before
        });
        Self { id, before, _world: PhantomData }
    }

    /// Calls `f` with the World, for a stage or a duty of the loop.
    #[inline]
    #[track_caller]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> Result<R, WorldError> {
        with(self.id, f)
    }

    /// As [`with`](Self::with), for the access that began at `place`.
    pub(crate) fn with_at<R>(
        &self,
        place: &'static Location<'static>,
        f: impl FnOnce(&mut World) -> R,
    ) -> Result<R, WorldError> {
        access(place, self.id, true, f)
    }

    /// Clears the World's trackers, if it knows so many kinds of component. False: it knows more or fewer,
    /// or has been replaced, and nothing was done. No code of the user runs meanwhile, so the World stays
    /// in the slot.
    #[inline]
    pub(crate) fn clear_trackers(&self, components: usize) -> bool {
        let world = SLOT.with(|slot| slot.world.get());
        // SAFETY: by *framed* a pointer in the slot is good, by *one way in* nobody has a reference while
        // it is there, and nothing below asks for the World.
        let Some(world) = (unsafe { world.as_mut() }) else {
            return false;
        };
        let is_known = world.id() == self.id && world.components().num_registered() == components;
        if is_known {
            world.clear_trackers();
        }
        is_known
    }

    /// Whether the World has been replaced, and where.
    #[inline]
    pub(crate) fn replaced(&self) -> Option<&'static Location<'static>> {
        if is_replaced() { Self::replaced_at() } else { None }
    }

    #[cold]
    fn replaced_at() -> Option<&'static Location<'static>> {
        SLOT.with(|slot| slot.taken.get())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        SLOT.with(|slot| match self.before.take() {
            None => {
                slot.world.set(ptr::null_mut());
                slot.id.set(None);
                slot.replaced.set(false);
            }
            Some(before) => slot.put_back(&before),
        });
    }
}

/// Whether the World that is lent to this thread has been replaced.
#[inline]
pub(crate) fn is_replaced() -> bool {
    SLOT.with(|slot| slot.replaced.get())
}

/// The id of the World that is lent to this thread.
#[inline]
pub(crate) fn current_id() -> Option<WorldId> {
    SLOT.with(|slot| slot.id.get())
}

/// Whether somebody waits for a change in the World that is lent to this thread.
pub(super) fn set_watched(watched: bool) {
    SLOT.with(|slot| slot.watched.set(watched));
}

/// The World, out of the slot; dropping it puts it back, also on unwinding.
pub(super) struct Taken {
    world: *mut World,
    id: WorldId,
    /// A panic leaves half an update: the access writes, and has not come to its end.
    torn: bool,
}

impl Taken {
    /// Calls `f` with the World.
    #[inline(always)]
    pub(super) fn lend<R>(mut self, f: impl FnOnce(&mut World) -> R) -> R {
        // SAFETY: by *one way in* and *framed* the pointer is good, and nobody has another reference:
        // it is in the slot no more until `self` is dropped, after `f`.
        let world = unsafe { &mut *self.world };
        if self.torn && SLOT.with(|slot| slot.watched.get()) {
            world.increment_change_tick();
        }
        let result = f(world);
        self.torn = false;
        result
    }
}

impl Drop for Taken {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference that the closure had has ended, the World is borrowed by the `Lent`
        // further up this stack, and nobody else can have the pointer.
        let id = unsafe { (*self.world).id() };
        SLOT.with(|slot| {
            if id == self.id {
                slot.world.set(self.world);
            } else {
                slot.replaced.set(true);
            }
        });
        if self.torn {
            note_torn();
        }
    }
}

/// The access panicked: half an update may stand, and commands may be left.
#[cold]
fn note_torn() {
    context::try_current(|core| {
        core.executor.note_torn();
        core.executor.ask_flush();
    });
}

/// Calls `f` with the World of `id` to read, if it is lent to this thread and nobody has it.
#[inline]
#[track_caller]
pub(crate) fn with_ref<R>(id: WorldId, f: impl FnOnce(&World) -> R) -> Result<R, WorldError> {
    access(Location::caller(), id, false, |world| f(world))
}

/// As [`with`], for the access that began at `place`.
pub(super) fn with_at<R>(
    place: &'static Location<'static>,
    id: WorldId,
    f: impl FnOnce(&mut World) -> R,
) -> Result<R, WorldError> {
    access(place, id, true, f)
}

/// As [`with_ref`], for the access that began at `place`.
pub(super) fn with_ref_at<R>(
    place: &'static Location<'static>,
    id: WorldId,
    f: impl FnOnce(&World) -> R,
) -> Result<R, WorldError> {
    access(place, id, false, |world| f(world))
}

/// Calls `f` with the World of `id`, if it is lent to this thread and nobody has it.
#[inline]
#[track_caller]
pub(crate) fn with<R>(id: WorldId, f: impl FnOnce(&mut World) -> R) -> Result<R, WorldError> {
    access(Location::caller(), id, true, f)
}

/// As [`with`]. What `f` leaves in the World's command queue is applied before the next poll, also when
/// `f` panics.
#[inline]
#[track_caller]
pub(crate) fn with_flushed_later<R>(
    id: WorldId,
    f: impl FnOnce(&mut World) -> R,
) -> Result<R, WorldError> {
    context::try_current(|core| core.executor.ask_flush());
    with(id, f)
}

/// Applies what is left in the World's command queue. What goes wrong is put down to the last access.
pub(crate) fn flush() {
    let place = SLOT.with(|slot| slot.taken.get()).unwrap_or(Location::caller());
    // An error says that the World has been replaced: the tick ends with it.
    let _ = current_id().map(|id| access(place, id, true, World::flush));
}

/// As [`with`], and then applies what `f` left in the World's command queue; when `f` panics, before the
/// next poll.
#[inline]
#[track_caller]
pub(crate) fn with_flushed<R>(
    id: WorldId,
    f: impl FnOnce(&mut World) -> R,
) -> Result<R, WorldError> {
    with(id, |world| {
        let result = f(world);
        world.flush();
        result
    })
}

/// `writes`: a panic may leave half an update.
#[inline(always)]
fn access<R>(
    place: &'static Location<'static>,
    id: WorldId,
    writes: bool,
    f: impl FnOnce(&mut World) -> R,
) -> Result<R, WorldError> {
    match take(place, id, writes) {
        Some(taken) => Ok(taken.lend(f)),
        None => Err(refusal(id)),
    }
}

/// Takes the World of `id` out, to be written, if it is lent to this thread and nobody has it.
#[inline(always)]
pub(super) fn try_take(place: &'static Location<'static>, id: WorldId) -> Option<Taken> {
    take(place, id, true)
}

#[inline(always)]
fn take(place: &'static Location<'static>, id: WorldId, writes: bool) -> Option<Taken> {
    SLOT.with(|slot| {
        let world = slot.world.get();
        // SAFETY: by *framed* a pointer in the slot is good, and by *one way in* nobody has a reference.
        if world.is_null() || unsafe { (*world).id() } != id {
            return None;
        }
        slot.world.set(ptr::null_mut());
        slot.taken.set(Some(place));
        Some(Taken { world, id, torn: writes })
    })
}

#[cold]
fn refusal(id: WorldId) -> WorldError {
    SLOT.with(|slot| {
        let has_it = slot.taken.get().filter(|_| slot.world.get().is_null());
        match (slot.id.get(), has_it) {
            (None, _) => WorldError::OutsideTurn,
            (Some(_), Some(place)) if slot.replaced.get() => WorldError::Replaced(place),
            (Some(current), Some(place)) if current == id => WorldError::Taken(place),
            (Some(_), _) => WorldError::OtherWorld,
        }
    })
}
