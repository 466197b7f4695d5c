//! Keeping change detection right in schedules that bevy does not know.
//!
//! When the World's change tick has moved far enough, the first `Schedule::run` that comes by makes bevy
//! clamp every old tick, in the World and in that schedule only. An observer keeps the event, and the
//! loop hands it to the schedules it owns before the next stage. Without this a stage that rarely runs
//! would, once the tick wraps, take old changes for new ones.

#![expect(unsafe_code, reason = "an observer's runner gets its event as an untyped pointer")]

use std::cell::{Cell, RefCell};

use bevy_ecs::{
    change_detection::CheckChangeTicks,
    entity::Entity,
    observer::{Observer, TriggerContext},
    ptr::PtrMut,
    resource::Resource,
    world::{DeferredWorld, World, WorldId},
};

thread_local! {
    static ANY: Cell<bool> = const { Cell::new(false) };
    static CHECKS: RefCell<Vec<(WorldId, CheckChangeTicks)>> = const { RefCell::new(Vec::new()) };
}

/// The observer is installed in this World.
#[derive(Resource)]
struct Observed;

/// Installs the observer, once a World. Its runner reads nothing of its own entity, so that it survives
/// `World::clear_all`, which despawns observers and keeps calling them.
pub(crate) fn observe(world: &mut World) {
    if world.contains_resource::<Observed>() {
        return;
    }
    world.insert_resource(Observed);
    // SAFETY: observing `CheckChangeTicks` gives the runner events of that type, as it expects.
    let observer = unsafe {
        let event = world.register_event_key::<CheckChangeTicks>();
        Observer::with_dynamic_runner(keep).with_event_key(event)
    };
    world.spawn(observer);
    world.flush();
}

/// # Safety
///
/// `event` is a `CheckChangeTicks`.
unsafe fn keep(
    world: DeferredWorld,
    _observer: Entity,
    _context: &TriggerContext,
    event: PtrMut,
    _trigger: PtrMut,
) {
    // SAFETY: the caller's promise.
    let check = *unsafe { event.deref_mut::<CheckChangeTicks>() };
    let id = world.id();
    CHECKS.with_borrow_mut(|checks| {
        checks.retain(|(world, _)| *world != id);
        checks.push((id, check));
    });
    ANY.set(true);
}

/// The check that came for the World of `id` since the last call. One load when none came.
pub(crate) fn take(id: WorldId) -> Option<CheckChangeTicks> {
    if !ANY.get() {
        return None;
    }
    CHECKS.with_borrow_mut(|checks| {
        let at = checks.iter().position(|(world, _)| *world == id)?;
        let (_, check) = checks.swap_remove(at);
        ANY.set(!checks.is_empty());
        Some(check)
    })
}
