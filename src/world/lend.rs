//! The slot in which the loop lends the World to its thread.
//!
//! Invariants:
//!
//! - **one way in**: while a [`Lent`] lives, its `&mut World` is used through the slot alone, by whoever
//!   took the pointer out, and the slot is empty meanwhile. So no two references exist;
//! - **framed**: the slot holds a pointer only inside the frame of a `Lent`, which borrows the World, and
//!   which puts back what was there before;
//! - **same World**: whoever had the World may have replaced it by another; its id is compared when it
//!   comes back, and once it differs nobody gets it any more.

#![expect(unsafe_code, reason = "the World is lent through a thread-local pointer")]

use std::{cell::Cell, panic::Location, ptr};

use bevy_ecs::world::{World, WorldId};

use super::ctx::WorldError;
use crate::context;

/// Who has the World.
#[derive(Clone, Copy)]
enum Holder {
    /// Nobody: the next to ask gets it.
    Nobody,
    /// A closure or a stage, entered here.
    Taken(&'static Location<'static>),
    /// Nobody any more: it came back as another World from what was entered here.
    Replaced(&'static Location<'static>),
}

#[derive(Clone, Copy)]
struct Slot {
    /// Null outside the frame of a `Lent`.
    world: *mut World,
    id: Option<WorldId>,
    holder: Holder,
}

thread_local! {
    static SLOT: Cell<Slot> = const {
        Cell::new(Slot { world: ptr::null_mut(), id: None, holder: Holder::Nobody })
    };
}

/// The World, lent to this thread until the guard is dropped.
pub(crate) struct Lent<'w> {
    before: Slot,
    id: WorldId,
    _world: std::marker::PhantomData<&'w mut World>,
}

impl<'w> Lent<'w> {
    pub(crate) fn new(world: &'w mut World) -> Self {
        let id = world.id();
        let slot = Slot { world, id: Some(id), holder: Holder::Nobody };
        Self { before: SLOT.replace(slot), id, _world: std::marker::PhantomData }
    }

    /// Calls `f` with the World, for a stage or a duty of the loop.
    #[track_caller]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> Result<R, WorldError> {
        with(self.id, f)
    }

    /// Whether the World has been replaced, and where.
    pub(crate) fn replaced(&self) -> Option<&'static Location<'static>> {
        match SLOT.get().holder {
            Holder::Replaced(place) => Some(place),
            Holder::Nobody | Holder::Taken(_) => None,
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        SLOT.set(self.before);
    }
}

/// The id of the World that is lent to this thread.
pub(crate) fn current_id() -> Option<WorldId> {
    SLOT.get().id
}

/// Puts the World back into the slot when its user is done with it, also by a panic.
struct PutBack {
    lent: Slot,
    place: &'static Location<'static>,
    /// Cleared when the closure has returned.
    unwinding: bool,
}

impl Drop for PutBack {
    fn drop(&mut self) {
        // SAFETY: the reference that the closure had has ended, the World is borrowed by the `Lent`
        // further up this stack, and nobody else can have the pointer.
        let id = unsafe { (*self.lent.world).id() };
        let holder = if Some(id) == self.lent.id {
            Holder::Nobody
        } else {
            Holder::Replaced(self.place)
        };
        SLOT.set(Slot { holder, ..self.lent });
        if self.unwinding {
            note_torn();
        }
    }
}

#[cold]
fn note_torn() {
    context::try_current(|core| core.executor.note_torn());
}

/// Calls `f` with the World of `id`, if it is lent to this thread and nobody has it.
#[inline]
#[track_caller]
pub(crate) fn with<R>(id: WorldId, f: impl FnOnce(&mut World) -> R) -> Result<R, WorldError> {
    let slot = SLOT.get();
    if !matches!(slot.holder, Holder::Nobody) || slot.id != Some(id) {
        return Err(refusal(slot, id));
    }
    let place = Location::caller();
    SLOT.set(Slot { holder: Holder::Taken(place), ..slot });
    let mut back = PutBack { lent: slot, place, unwinding: true };
    // SAFETY: by *one way in* and *framed* the pointer is good, and nobody has another reference: the
    // slot said `Nobody`, and says `Taken` from here until `back` is dropped, after `f`.
    let result = f(unsafe { &mut *slot.world });
    back.unwinding = false;
    Ok(result)
}

#[cold]
fn refusal(slot: Slot, id: WorldId) -> WorldError {
    match (slot.id, slot.holder) {
        (None, _) => WorldError::OutsideTurn,
        (Some(current), Holder::Nobody) if current != id => WorldError::OtherWorld,
        (Some(_), Holder::Replaced(place)) => WorldError::Replaced(place),
        (Some(_), Holder::Taken(place)) => WorldError::Taken(place),
        (Some(_), Holder::Nobody) => WorldError::OtherWorld,
    }
}
