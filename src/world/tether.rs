//! How those who wait on an entity learn that it has gone, and how the tasks that belong to it end.
//!
//! The entity gets a private component whose destructor tells them. That holds however the entity ends:
//! despawned, cleared away with all others, or dropped with its World, on whatever thread. The component
//! stays when nobody waits any more.
//!
//! Invariant **bound by the component**: a task belongs to the component, not to the entity, whose id may
//! come back; and it is held by its full identity, which never does.
#![forbid(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use bevy_ecs::{component::Component, entity::Entity, world::World};
use slab::Slab;

use crate::{
    context::{self, Core},
    executor::{CancelReason, key::TaskIdentity},
    handle::queue::Remote,
};

/// Shared by an entity and those who wait on it.
#[derive(Debug, Default)]
pub(super) struct Tether {
    /// Written under the lock of `ends`; read without it at each poll of a task that belongs.
    cut: AtomicBool,
    ends: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    waiting: Slab<Waker>,
    /// Tasks that end with the entity. Those that have ended are taken out when the list would grow.
    bound: Vec<BoundTask>,
}

/// A task that belongs to an entity.
#[derive(Debug)]
pub(super) struct BoundTask {
    runtime: u64,
    task: TaskIdentity,
    remote: Arc<Remote>,
}

impl BoundTask {
    pub(super) fn new(core: &Core, task: TaskIdentity) -> Self {
        Self { runtime: core.serial(), task, remote: core.remote.clone() }
    }

    /// Whether the task may still have to be ended.
    fn lives(&self) -> bool {
        let finished = context::find(self.runtime, |core| core.executor.is_finished(self.task));
        match finished {
            Some(finished) => !finished,
            // Its runtime is on another thread, or has gone.
            None => !self.remote.is_closed(),
        }
    }

    /// Ends the task, from whatever thread: it is not polled again. Its future is left to the reaper.
    fn end(&self) {
        let end = |core: &Core| core.executor.abort(self.task, CancelReason::Entity);
        if context::find(self.runtime, end).is_none() {
            self.remote.unbind(self.task);
        }
    }
}

/// The entity's end of the tether.
#[derive(Component)]
#[component(storage = "SparseSet", clone_behavior = Ignore, immutable)]
struct Tied(Arc<Tether>);

impl Drop for Tied {
    fn drop(&mut self) {
        let (waiting, bound) = {
            let mut ends = self.0.ends();
            self.0.cut.store(true, Ordering::Release);
            (std::mem::take(&mut ends.waiting), std::mem::take(&mut ends.bound))
        };
        for task in &bound {
            task.end();
        }
        for (_, waker) in waiting {
            wake_contained(waker);
        }
    }
}

impl Tether {
    /// The tether of `entity`, if that is there.
    pub(super) fn of(world: &mut World, entity: Entity) -> Option<Arc<Self>> {
        let mut entity = world.get_entity_mut(entity).ok()?;
        if let Some(Tied(tether)) = entity.get() {
            return Some(tether.clone());
        }
        let tether = Arc::<Self>::default();
        entity.insert(Tied(tether.clone()));
        Some(tether)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the entity has gone.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Has `task` end when the entity goes. False: it has gone.
    pub(super) fn bind(&self, task: BoundTask) -> bool {
        let mut ends = self.ends();
        if self.is_cut() {
            return false;
        }
        if ends.bound.len() == ends.bound.capacity() {
            ends.bound.retain(BoundTask::lives);
            let live = ends.bound.len();
            // Twice the room that is needed, so that few of the calls look at all.
            ends.bound.reserve_exact((live + 1).max(2));
            ends.bound.shrink_to(2 * live + 2);
        }
        ends.bound.push(task);
        true
    }

    /// Stores who is woken when the entity goes, under `entry` if that is given. `None`: it has gone.
    /// Second: a waker that the caller drops.
    pub(super) fn park(
        &self,
        entry: Option<usize>,
        waker: Waker,
    ) -> (Option<usize>, Option<Waker>) {
        let mut ends = self.ends();
        if self.is_cut() {
            return (None, Some(waker));
        }
        match entry {
            Some(entry) => {
                let stored = &mut ends.waiting[entry];
                if stored.will_wake(&waker) {
                    (Some(entry), Some(waker))
                } else {
                    (Some(entry), Some(std::mem::replace(stored, waker)))
                }
            }
            None => (Some(ends.waiting.insert(waker)), None),
        }
    }

    /// Gives an entry back. The waker is dropped by the caller.
    pub(super) fn leave(&self, entry: usize) -> Option<Waker> {
        // When the entity goes, all entries go with it.
        self.ends().waiting.try_remove(entry)
    }
}

/// One wait's hold on a tether.
#[derive(Debug)]
pub(super) struct Hold {
    tether: Arc<Tether>,
    entry: Option<usize>,
}

impl Hold {
    pub(super) fn new(tether: Arc<Tether>) -> Self {
        Self { tether, entry: None }
    }

    pub(super) fn tether(&self) -> &Arc<Tether> {
        &self.tether
    }

    /// Stores who is woken when the entity goes. False: it has gone.
    pub(super) fn park(&mut self, waker: Waker) -> bool {
        let (entry, old) = self.tether.park(self.entry, waker);
        self.entry = entry;
        drop(old);
        entry.is_some()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let left = self.entry.take().and_then(|entry| self.tether.leave(entry));
        drop(left);
    }
}

/// Wakes in the middle of bevy's work, where a panic must not go on.
pub(super) fn wake_contained(waker: Waker) {
    let mut waker = Some(waker);
    let mut wake = || waker.take().map_or((), Waker::wake);
    if context::try_current(|core| core.executor.guarded(&mut wake)).is_none()
        && let Err(payload) = catch_unwind(AssertUnwindSafe(wake))
    {
        // Its destructor may panic as well.
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::{EntityCtx, Runtime, WorldCtx, spawn_on, yield_now};

    fn bound(entity: EntityCtx) -> (usize, usize) {
        entity
            .get(|Tied(tether): &Tied| {
                let ends = tether.ends();
                (ends.bound.len(), ends.bound.capacity())
            })
            .expect("it has tasks")
    }

    #[test]
    fn tasks_that_have_ended_leave_no_room_behind() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let ctx = WorldCtx::current();
            let entity = ctx.entity(ctx.with_world(|world| world.spawn_empty().id()));
            let living: Vec<_> =
                (0..100).map(|_| spawn_on(entity.id(), |_| pending::<()>())).collect();
            for _ in 0..10_000 {
                spawn_on(entity.id(), |_| async {}).await;
            }
            assert!(bound(entity).1 < 1_000, "{:?}", bound(entity));
            living.into_iter().for_each(crate::JoinHandle::abort);
            yield_now().await;
            for _ in 0..1_000 {
                spawn_on(entity.id(), |_| async {}).await;
            }
            assert!(bound(entity).1 < 10, "{:?}", bound(entity));
        });
    }

    #[test]
    fn slots_come_back_from_entities_that_went() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let ctx = WorldCtx::current();
            for _ in 0..10_000 {
                let entity = ctx.entity(ctx.with_world(|world| world.spawn_empty().id()));
                let tasks = [0; 2].map(|_| spawn_on(entity.id(), |_| pending::<()>()));
                assert!(tasks.iter().all(|task| task.id().identity().slot.0 < 256));
                yield_now().await;
                entity.despawn().expect("it is there");
                yield_now().await;
                assert!(tasks.iter().all(crate::JoinHandle::is_finished));
            }
        });
    }
}
