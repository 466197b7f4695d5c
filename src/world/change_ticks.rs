//! Keeping change detection right in schedules that bevy does not know.
//!
//! When the World's change tick has moved far enough, the first `Schedule::run` that comes by makes bevy
//! clamp every old tick, in the World and in that schedule only. An observer keeps the event, and the
//! loop hands it to the schedules it owns before the next stage. Without this a stage that rarely runs
//! would, once the tick wraps, take old changes for new ones.
//!
//! A state that a task keeps may sleep through any number of checks, in places that the loop does not
//! know. It has an [`Age`], which tells it at its next use what the checks would have done to it.

#![expect(unsafe_code, reason = "an observer's runner gets its event as an untyped pointer")]

use std::{
    cell::{Cell, RefCell},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bevy_ecs::{
    change_detection::{CHECK_TICK_THRESHOLD, CheckChangeTicks, MAX_CHANGE_AGE, Tick},
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
    if world.change_tick().get() > CHECK_TICK_THRESHOLD {
        // Its tick may wrap before the first check that is seen.
        note_check(world.id(), world.change_tick());
    }
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
    note_check(id, check.present_tick());
    // When the thread ends and has dropped the list, no stage runs any more.
    let kept = CHECKS.try_with(|checks| {
        let mut checks = checks.borrow_mut();
        checks.retain(|(world, _)| *world != id);
        checks.push((id, check));
    });
    ANY.set(kept.is_ok());
}

/// The check that came for the World of `id` since the last call. One load when none came.
pub(crate) fn take(id: WorldId) -> Option<CheckChangeTicks> {
    if !ANY.get() {
        return None;
    }
    let taken = CHECKS.try_with(|checks| {
        let mut checks = checks.borrow_mut();
        let at = checks.iter().position(|(world, _)| *world == id)?;
        let (_, check) = checks.swap_remove(at);
        ANY.set(!checks.is_empty());
        Some(check)
    });
    taken.ok().flatten()
}

/// A World's tick in 64 bits before its 32 bits wrap for the first time: earlier ones lie below it.
const EPOCH: u64 = 1 << 32;

/// How many checks this process has seen, of whichever World.
static CHECKS_SEEN: AtomicU64 = AtomicU64::new(0);
/// The tick of each World's latest check, in 64 bits. Few Worlds come to be checked.
static CHECKED_AT: Mutex<Vec<(WorldId, u64)>> = Mutex::new(Vec::new());

fn note_check(id: WorldId, present: Tick) {
    let mut checked = CHECKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    match checked.iter_mut().find(|(world, _)| *world == id) {
        Some((_, at)) => *at = after(*at, present),
        None => checked.push((id, EPOCH + u64::from(present.get()))),
    }
    CHECKS_SEEN.fetch_add(1, Ordering::Relaxed);
}

/// The first time at or after `earlier` whose low 32 bits are `tick`.
fn after(earlier: u64, tick: Tick) -> u64 {
    earlier + u64::from(tick.get().wrapping_sub(earlier as u32))
}

/// The World's tick in 64 bits. Its latest check is less than 2^32 ticks ago.
fn ticks_of(world: &mut World) -> u64 {
    let (id, tick) = (world.id(), world.change_tick());
    let checked = CHECKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    match checked.iter().find(|(world, _)| *world == id) {
        Some((_, at)) => after(*at, tick),
        None => EPOCH + u64::from(tick.get()),
    }
}

/// What a cached state must know to keep its `last_run` right across the checks that it slept through.
#[derive(Debug)]
pub(super) struct Age {
    checks_seen: u64,
    /// The World's tick when the checks were last looked at, in 64 bits.
    looked_at: u64,
}

impl Age {
    pub(super) fn new(world: &mut World) -> Self {
        // Before the tick is read: a check in between is looked at twice, not missed.
        let checks_seen = CHECKS_SEEN.load(Ordering::Relaxed);
        Self { checks_seen, looked_at: ticks_of(world) }
    }

    /// Whether no check came since the last look. One load.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.checks_seen == CHECKS_SEEN.load(Ordering::Relaxed)
    }

    /// What the checks since the last look would have made of `last_run`: the oldest tick that still
    /// counts, when it is older.
    #[cold]
    pub(super) fn look(&mut self, world: &mut World, last_run: Tick) -> Tick {
        let before = std::mem::replace(self, Self::new(world));
        clamped(last_run, before.looked_at, self.looked_at)
    }
}

/// `last_run`, seen at the time `now`, when what it was at the look of time `before` counted still.
fn clamped(last_run: Tick, before: u64, now: u64) -> Tick {
    // A run after the last look came before the check that followed it, so within two thresholds. One
    // before that look was no older than a run may be, which is two thresholds less than a wrap.
    let since_look = last_run.get().wrapping_sub(before as u32);
    let ran_at = if since_look < 2 * CHECK_TICK_THRESHOLD {
        before + u64::from(since_look)
    } else {
        before - (EPOCH - u64::from(since_look))
    };
    if now - ran_at > u64::from(MAX_CHANGE_AGE) {
        Tick::new((now as u32).wrapping_sub(MAX_CHANGE_AGE))
    } else {
        last_run
    }
}

/// Lets `world` have checks as if its tick had gone once round.
#[cfg(test)]
pub(super) fn wrap_once(world: &mut World) {
    for step in (0..=u32::MAX).step_by(CHECK_TICK_THRESHOLD as usize) {
        note_check(world.id(), Tick::new(world.change_tick().get().wrapping_add(step)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The model counts in 64 bits and misses no check.
        #[test]
        fn a_state_that_sleeps_through_checks_is_as_one_that_saw_each(
            start in EPOCH..EPOCH * 3,
            never_run in any::<bool>(),
            steps in prop::collection::vec(
                (0..2 * u64::from(CHECK_TICK_THRESHOLD), any::<bool>(), any::<bool>()),
                1..40,
            ),
        ) {
            let (mut now, mut looked_at) = (start, start);
            let mut ran_at = if never_run { start - u64::from(MAX_CHANGE_AGE) } else { start };
            let mut last_run = Tick::new(ran_at as u32);
            for (ticks, is_used, runs) in steps {
                // One interval between two checks, in which the state is used at most once.
                now += ticks;
                if !is_used {
                    continue;
                }
                last_run = clamped(last_run, looked_at, now);
                looked_at = now;
                ran_at = ran_at.max(now - u64::from(MAX_CHANGE_AGE));
                prop_assert_eq!(last_run, Tick::new(ran_at as u32));
                if runs {
                    ran_at = now;
                    last_run = Tick::new(now as u32);
                }
            }
        }
    }

    #[test]
    fn a_world_that_is_old_when_it_is_observed_keeps_its_time_over_the_wrap() {
        let mut world = World::new();
        let id = world.id();
        note_check(id, Tick::new(u32::MAX - 10));
        let age = ticks_of(&mut world);
        assert!(age > u64::from(u32::MAX) + EPOCH, "{age:x}");
        note_check(id, Tick::new(500));
        assert_eq!(after(age, Tick::new(500)), 2 * EPOCH + 500);
    }
}
