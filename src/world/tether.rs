//! How those who wait on an entity learn that it has gone.
//!
//! The entity gets a private component whose destructor tells them. That holds however the entity ends:
//! despawned, cleared away with all others, or dropped with its World, on whatever thread. The component
//! stays when nobody waits any more.
#![forbid(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bevy_ecs::{component::Component, entity::Entity, world::World};
use slab::Slab;

use crate::context;

/// Shared by an entity and those who wait on it.
#[derive(Debug, Default)]
pub(super) struct Tether(Mutex<Ends>);

#[derive(Debug, Default)]
struct Ends {
    cut: bool,
    waiting: Slab<Waker>,
}

/// The entity's end of the tether.
#[derive(Component)]
#[component(storage = "SparseSet", clone_behavior = Ignore, immutable)]
struct Tied(Arc<Tether>);

impl Drop for Tied {
    fn drop(&mut self) {
        let waiting = {
            let mut ends = self.0.ends();
            ends.cut = true;
            std::mem::take(&mut ends.waiting)
        };
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the entity has gone.
    pub(super) fn is_cut(&self) -> bool {
        self.ends().cut
    }

    /// Stores who is woken when the entity goes, under `entry` if that is given. `None`: it has gone.
    /// Second: a waker that the caller drops.
    pub(super) fn park(
        &self,
        entry: Option<usize>,
        waker: Waker,
    ) -> (Option<usize>, Option<Waker>) {
        let mut ends = self.ends();
        if ends.cut {
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
