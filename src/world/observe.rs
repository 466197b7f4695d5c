//! One shared observer a type, which hands what it observes to those who wait.
//!
//! The observer is installed when somebody first waits for its type. Its runner reads nothing of its own
//! entity, so it goes on also when `World::clear_entities` took that entity away; it may run on any
//! thread that has the World. Those who wait are found through a table from World and type to [`Hub`],
//! which holds a hub only as long as its observer or somebody who waits.
//!
//! Invariant **event as registered**: a runner is made for one [`Source`] and registered for that
//! source's events only, so bevy calls it with an event and a trigger of that source's types.

#![expect(unsafe_code, reason = "an observer's runner gets its event as an untyped pointer")]

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bevy_ecs::{
    component::Component,
    entity::Entity,
    event::{EntityComponentsTrigger, EntityEvent, Event},
    lifecycle::{INSERT, InsertEvent, REMOVE, RemoveEvent},
    observer::{Observer, TriggerContext},
    ptr::PtrMut,
    world::{DeferredWorld, World, WorldId},
};

use super::{tether::Tether, waiters::Waiters};

/// What an observer observes.
pub(super) trait Source: Send + Sync + 'static {
    type Event: Event;

    /// Adds to `observer` what it observes.
    fn register(world: &mut World, observer: Observer) -> Observer;

    /// Whether the event is one that is waited for, and the entity that it is about, if it is about one.
    fn target(
        event: &Self::Event,
        trigger: &<Self::Event as Event>::Trigger<'_>,
    ) -> Option<Option<Entity>>;
}

/// Any event of type `E`.
pub(super) struct Triggered<E>(PhantomData<fn() -> E>);

impl<E: Event> Source for Triggered<E> {
    type Event = E;

    fn register(world: &mut World, observer: Observer) -> Observer {
        let key = world.register_event_key::<E>();
        // SAFETY: by *event as registered* the runner takes events of type `E`.
        unsafe { observer.with_event_key(key) }
    }

    fn target(_: &E, _: &E::Trigger<'_>) -> Option<Option<Entity>> {
        Some(None)
    }
}

/// An event of type `E` at an entity.
pub(super) struct Aimed<E>(PhantomData<fn() -> E>);

impl<E: EntityEvent> Source for Aimed<E> {
    type Event = E;

    fn register(world: &mut World, observer: Observer) -> Observer {
        Triggered::<E>::register(world, observer)
    }

    fn target(event: &E, _: &E::Trigger<'_>) -> Option<Option<Entity>> {
        Some(Some(event.event_target()))
    }
}

/// The insertion of a component `C`.
pub(super) struct Inserted<C>(PhantomData<fn() -> C>);

impl<C: Component> Source for Inserted<C> {
    type Event = InsertEvent;

    fn register(world: &mut World, observer: Observer) -> Observer {
        let component = world.register_component::<C>();
        // SAFETY: bevy raises `INSERT` with an `InsertEvent`.
        unsafe { observer.with_event_key(INSERT) }.with_component(component)
    }

    fn target(event: &InsertEvent, _: &EntityComponentsTrigger<'_>) -> Option<Option<Entity>> {
        Some(Some(event.entity))
    }
}

/// The removal of a component `C`, other than by the end of its entity.
pub(super) struct Removed<C>(PhantomData<fn() -> C>);

impl<C: Component> Source for Removed<C> {
    type Event = RemoveEvent;

    fn register(world: &mut World, observer: Observer) -> Observer {
        let component = world.register_component::<C>();
        // SAFETY: bevy raises `REMOVE` with a `RemoveEvent`.
        unsafe { observer.with_event_key(REMOVE) }.with_component(component)
    }

    fn target(
        event: &RemoveEvent,
        trigger: &EntityComponentsTrigger<'_>,
    ) -> Option<Option<Entity>> {
        trigger.new_archetype.is_some().then_some(Some(event.entity))
    }
}

/// Called with the event that is waited for, once.
type Taker<E> = Box<dyn FnOnce(&E) + Send>;

/// What an entry waits for: an event at its key, while its entity lives.
struct Want<E> {
    taker: Option<Taker<E>>,
    tether: Option<Arc<Tether>>,
}

/// Those who wait for one source, in order of call; `None` waits for events at any entity, or at none.
pub(super) struct Hub<S: Source> {
    waiting: Mutex<Waiters<Option<Entity>, Want<S::Event>>>,
    key: HubKey,
    /// The observer's entity is there.
    observed: AtomicBool,
}

type HubKey = (WorldId, TypeId);

/// Hubs by World and source.
static HUBS: LazyLock<Mutex<HashMap<HubKey, Weak<dyn Any + Send + Sync>>>> =
    LazyLock::new(Mutex::default);

/// How many observers have lost their entity.
static OBSERVERS_LOST: AtomicU64 = AtomicU64::new(0);

/// How many observers have lost their entity, in all Worlds. A change says that some hub may need
/// another.
pub(super) fn observers_lost() -> u64 {
    OBSERVERS_LOST.load(Ordering::Relaxed)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hub whose source does not matter.
pub(super) trait AnyHub: Send + Sync {
    /// Installs the observer again, if it has lost its entity and somebody waits.
    fn repair(self: Arc<Self>, world: &mut World);
}

impl<S: Source> Hub<S> {
    /// The hub of this World, with its observer in place.
    pub(super) fn of(world: &mut World) -> Arc<Self> {
        let key = (world.id(), TypeId::of::<S>());
        let hub = Self::find(key).unwrap_or_else(|| {
            let hub =
                Arc::new(Self { waiting: Mutex::default(), key, observed: AtomicBool::new(false) });
            let shared: Arc<dyn Any + Send + Sync> = hub.clone();
            locked(&HUBS).insert(key, Arc::downgrade(&shared));
            hub
        });
        hub.clone().install(world);
        hub
    }

    fn find(key: HubKey) -> Option<Arc<Self>> {
        let found = locked(&HUBS).get(&key).and_then(Weak::upgrade);
        found.and_then(|hub| hub.downcast().ok())
    }

    fn install(self: Arc<Self>, world: &mut World) {
        if self.observed.swap(true, Ordering::Relaxed) {
            return;
        }
        let observer = S::register(world, Observer::with_dynamic_runner(run::<S>));
        world.spawn((observer, Observes { hub: self }));
        world.flush();
    }

    pub(super) fn key(&self) -> (WorldId, TypeId) {
        self.key
    }

    /// A place among those who wait; `taker` gets the event.
    pub(super) fn enter(
        &self,
        entity: Option<Entity>,
        tether: Option<Arc<Tether>>,
        taker: impl FnOnce(&S::Event) + Send + 'static,
    ) -> usize {
        let want = Want { taker: Some(Box::new(taker)), tether };
        locked(&self.waiting).enter(entity, want, false)
    }

    /// Gives a place back, whether the event came or not.
    pub(super) fn leave(&self, entry: usize) {
        let left = locked(&self.waiting).leave(entry);
        drop(left);
    }

    fn offer(&self, event: &S::Event, entity: Option<Entity>) {
        let mut takers = Vec::new();
        let mut take = |want: &mut Want<S::Event>| {
            // An entity that has gone may have given its name to another.
            let lives = want.tether.as_ref().is_none_or(|tether| !tether.is_cut());
            if lives {
                takers.extend(want.taker.take());
            }
            lives
        };
        let mut waiting = locked(&self.waiting);
        if waiting.pending() == 0 {
            return;
        }
        // Nobody leaves a waker here: a taker wakes whom it serves.
        waiting.fire(None, &mut take, &mut Vec::new());
        if entity.is_some() {
            waiting.fire(entity, &mut take, &mut Vec::new());
        }
        drop(waiting);
        for taker in takers {
            taker(event);
        }
    }
}

impl<S: Source> AnyHub for Hub<S> {
    fn repair(self: Arc<Self>, world: &mut World) {
        if world.id() == self.key.0 && locked(&self.waiting).pending() > 0 {
            self.install(world);
        }
    }
}

impl<S: Source> Drop for Hub<S> {
    fn drop(&mut self) {
        let mut hubs = locked(&HUBS);
        if hubs.get(&self.key).is_some_and(|hub| hub.strong_count() == 0) {
            hubs.remove(&self.key);
        }
    }
}

/// On the observer's entity: keeps the hub while the observer is there, and tells when it is not.
struct Observes<S: Source> {
    hub: Arc<Hub<S>>,
}

impl<S: Source> Component for Observes<S> {
    const STORAGE_TYPE: bevy_ecs::component::StorageType =
        bevy_ecs::component::StorageType::SparseSet;
    type Mutability = bevy_ecs::component::Immutable;

    fn clone_behavior() -> bevy_ecs::component::ComponentCloneBehavior {
        bevy_ecs::component::ComponentCloneBehavior::Ignore
    }
}

impl<S: Source> Drop for Observes<S> {
    fn drop(&mut self) {
        self.hub.observed.store(false, Ordering::Relaxed);
        OBSERVERS_LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// The runner of a source's observer.
///
/// # Safety
///
/// `event` and `trigger` are of the types that `S` names.
unsafe fn run<S: Source>(
    world: DeferredWorld,
    _observer: Entity,
    _context: &TriggerContext,
    event: PtrMut,
    trigger: PtrMut,
) {
    // SAFETY: by *event as registered*.
    let event: &S::Event = unsafe { event.deref_mut() };
    // SAFETY: by *event as registered*.
    let trigger: &<S::Event as Event>::Trigger<'_> = unsafe { trigger.deref_mut() };
    let key = (world.id(), TypeId::of::<S>());
    if let Some(target) = S::target(event, trigger)
        && let Some(hub) = Hub::<S>::find(key)
    {
        hub.offer(event, target);
    }
}
