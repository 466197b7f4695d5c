//! Waiting for what happens to an entity.
#![forbid(unsafe_code)]

use std::{
    fmt,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bevy_ecs::{component::Component, entity::Entity, event::EntityEvent};

use super::{
    component_watch::ComponentWatch,
    ctx::refused,
    entity::{EntityCtx, EntityGone},
    events::Subscription,
    lend,
    observe::{Aimed, Inserted, Removed, Source},
    tether::{Hold, Tether},
};
use crate::{context, executor::details::Wait};

/// The future of [`EntityCtx::event`] and the like: completes with the first event after the call, or
/// when the entity goes before one.
///
/// # Cancellation
///
/// Dropping it loses the event, if it came; one made later gets a later event.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{EntityOccurrence, Runtime, WorldCtx};
///
/// #[derive(EntityEvent, Clone, Debug, PartialEq)]
/// struct Filled {
///     entity: Entity,
/// }
///
/// let mut world = World::new();
/// let order = world.spawn_empty().id();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let filled: EntityOccurrence<Filled> = ctx.entity(order).event();
///     ctx.with_world(|world| world.trigger(Filled { entity: order }));
///     assert_eq!(filled.await, Ok(Filled { entity: order }));
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct EntityOccurrence<T> {
    entity: Entity,
    /// `None` when the entity was not there.
    begun: Option<(Subscription<T>, Hold)>,
}

impl<T> Unpin for EntityOccurrence<T> {}

impl<T> Future for EntityOccurrence<T> {
    type Output = Result<T, EntityGone>;

    /// # Panics
    ///
    /// With the panic of a clone or of a closure; when its runtime has gone; when it is polled after it
    /// completed with a value.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let entity = self.entity;
        if let Some((subscription, hold)) = &mut self.begun {
            // The entity first: an event that came before its end is then found below.
            let lives = hold.park(cx.waker().clone());
            match subscription.poll(cx) {
                Poll::Ready(value) => return Poll::Ready(Ok(value)),
                Poll::Pending if lives => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Err(EntityGone { entity }))
    }
}

impl<T> fmt::Debug for EntityOccurrence<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityOccurrence").field("entity", &self.entity).finish_non_exhaustive()
    }
}

/// The future of [`EntityCtx::despawned`]: completes when the entity is not there.
///
/// # Cancellation
///
/// Dropping it loses nothing: one made later completes at once if the entity has gone.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Despawned, Runtime, WorldCtx};
///
/// let mut world = World::new();
/// let order = world.spawn_empty().id();
/// Runtime::new(&mut world).block_on(async {
///     let order = WorldCtx::current().entity(order);
///     let gone: Despawned = order.despawned();
///     order.despawn().unwrap();
///     gone.await;
///     assert_eq!(order.exists(), Ok(false));
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Despawned {
    hold: Option<Hold>,
    _not_send: PhantomData<*const ()>,
}

impl Future for Despawned {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let lives = self.hold.as_mut().is_some_and(|hold| hold.park(cx.waker().clone()));
        if !lives {
            return Poll::Ready(());
        }
        let what = Wait::Other("the end of an entity");
        context::try_current(|core| core.executor.note_wait(what));
        Poll::Pending
    }
}

/// The future of [`EntityCtx::changed`]: completes when a component was changed after the call, or when
/// the entity goes before that is seen.
///
/// # Cancellation
///
/// Dropping it loses nothing but the reference: one made later counts later changes only.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{EntityChanged, Runtime, WorldCtx};
///
/// #[derive(Component)]
/// struct Price(u32);
///
/// let mut world = World::new();
/// let order = world.spawn(Price(100)).id();
/// Runtime::new(&mut world).block_on(async {
///     let order = WorldCtx::current().entity(order);
///     let changed: EntityChanged<Price> = order.changed();
///     order.get_mut(|mut price: Mut<Price>| price.0 += 1).unwrap();
///     assert_eq!(changed.await.map(drop), Ok(()));
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct EntityChanged<C: Component> {
    at: EntityCtx,
    runtime: u64,
    called_at: &'static Location<'static>,
    /// `None` when the entity was not there.
    begun: Option<(Rc<ComponentWatch<C>>, Hold)>,
    /// `None` once the component was seen changed.
    entry: Option<usize>,
}

impl<C: Component> EntityChanged<C> {
    fn is_over(&self, watch: &ComponentWatch<C>, hold: &Hold, entry: usize) -> bool {
        let Some(reference) = watch.reference(entry) else {
            return true;
        };
        if hold.tether().is_cut() {
            return false;
        }
        let EntityCtx { ctx, entity } = self.at;
        // Where the World cannot be read, the next look tells.
        let looked = lend::with_ref_at(self.called_at, ctx.id(), |world| {
            let ticks = world.get_entity(entity).ok()?.get_change_ticks::<C>()?;
            Some(ticks.changed.is_newer_than(reference, world.read_change_tick()))
        });
        matches!(looked, Ok(Some(true)))
    }

    fn leave(&mut self) {
        if let Some((watch, _)) = &self.begun
            && let Some(entry) = self.entry.take()
        {
            watch.leave(entry);
        }
    }
}

impl<C: Component> Unpin for EntityChanged<C> {}

impl<C: Component> Future for EntityChanged<C> {
    type Output = Result<(), EntityGone>;

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = EntityGone { entity: self.at.entity };
        let Some((watch, hold)) = &self.begun else {
            return Poll::Ready(Err(gone));
        };
        let Some(entry) = self.entry else {
            return Poll::Ready(Ok(()));
        };
        if self.is_over(watch, hold, entry) {
            self.leave();
            return Poll::Ready(Ok(()));
        }
        context::find(self.runtime, |core| {
            core.executor.note_wait(Wait::Other("a change of a component"));
        })
        .expect("the runtime whose World is awaited has gone");
        let waker = cx.waker().clone();
        let old = watch.park(entry, waker);
        drop(old);
        let lives = self.begun.as_mut().is_some_and(|(_, hold)| hold.park(cx.waker().clone()));
        if lives { Poll::Pending } else { Poll::Ready(Err(gone)) }
    }
}

impl<C: Component> Drop for EntityChanged<C> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<C: Component> fmt::Debug for EntityChanged<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityChanged")
            .field("entity", &self.at.entity)
            .field("called_at", &self.called_at)
            .finish_non_exhaustive()
    }
}

/// Waiting for what happens to the entity.
///
/// Each of these counts what happens after the call, and does not keep a sleeping loop awake. The first
/// leaves a mark on the entity, by which the others learn that it has gone; an entity that is stripped of
/// all its components has gone in that sense.
impl EntityCtx {
    /// Completes with a clone of the first event of type `E` at this entity. Resumes in the round after
    /// the trigger.
    ///
    /// # Errors
    ///
    /// Its future gives [`EntityGone`] when the entity is not there, or goes before an event.
    ///
    /// # Panics
    ///
    /// Outside a runtime, and where [`WorldCtx::with_world`](crate::WorldCtx::with_world) panics.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(EntityEvent, Clone, Debug, PartialEq)]
    /// struct Hit {
    ///     entity: Entity,
    ///     damage: u32,
    /// }
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(move |mut commands: Commands| {
    ///     commands.trigger(Hit { entity, damage: 3 });
    /// });
    /// rt.block_on(async {
    ///     let hit = WorldCtx::current().entity(entity).event::<Hit>().await;
    ///     assert_eq!(hit.map(|hit| hit.damage), Ok(3));
    /// });
    /// ```
    #[track_caller]
    pub fn event<E: EntityEvent + Clone>(&self) -> EntityOccurrence<E> {
        self.event_with(E::clone)
    }

    /// As [`event`](Self::event), with what `f` makes of the event. `f` runs where the event is
    /// triggered, which may be another thread.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event). A panic of `f` is a panic of the task that waits.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(EntityEvent)]
    /// struct Said {
    ///     entity: Entity,
    ///     words: String,
    /// }
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let length = ctx.entity(entity).event_with(|said: &Said| said.words.len());
    ///     ctx.with_world(|world| world.trigger(Said { entity, words: "hm".into() }));
    ///     assert_eq!(length.await, Ok(2));
    /// });
    /// ```
    #[track_caller]
    pub fn event_with<E, T, F>(&self, f: F) -> EntityOccurrence<T>
    where
        E: EntityEvent,
        T: Send + 'static,
        F: FnOnce(&E) -> T + Send + 'static,
    {
        self.occurrence::<Aimed<E>, T>(Location::caller(), f)
    }

    /// Completes when the component `C` is inserted, also in the place of another. Resumes as
    /// [`event`](Self::event) does.
    ///
    /// # Errors
    ///
    /// Its future gives [`EntityGone`] when the entity is not there, or goes before that.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Component)]
    /// struct Burning;
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let lit = ctx.entity(entity).inserted::<Burning>();
    ///     let out = ctx.entity(entity).removed::<Burning>();
    ///     ctx.with_world(|world| world.entity_mut(entity).insert(Burning).remove::<Burning>().id());
    ///     assert_eq!((lit.await, out.await), (Ok(()), Ok(())));
    /// });
    /// ```
    #[track_caller]
    pub fn inserted<C: Component>(&self) -> EntityOccurrence<()> {
        self.occurrence::<Inserted<C>, ()>(Location::caller(), |_| ())
    }

    /// Completes when the component `C` is removed while the entity goes on. Resumes as
    /// [`event`](Self::event) does.
    ///
    /// # Errors
    ///
    /// Its future gives [`EntityGone`] when the entity is not there, or goes before that, component and
    /// all.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{EntityGone, Runtime, WorldCtx};
    ///
    /// #[derive(Component)]
    /// struct Shield;
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn(Shield).id();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let removed = ctx.entity(entity).removed::<Shield>();
    ///     ctx.with_world(|world| world.despawn(entity));
    ///     assert_eq!(removed.await, Err(EntityGone { entity }));
    /// });
    /// ```
    #[track_caller]
    pub fn removed<C: Component>(&self) -> EntityOccurrence<()> {
        self.occurrence::<Removed<C>, ()>(Location::caller(), |_| ())
    }

    /// Completes when the component `C` is changed, or inserted. Seen at the first look after the
    /// change: before the next stage, or after the last one; not when `C` is removed before that. A look costs
    /// one scan of the entities that have `C`, however many tasks wait; and less where few of these entities
    /// are awaited.
    ///
    /// # Errors
    ///
    /// Its future gives [`EntityGone`] when the entity is not there, or goes before a change is seen.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Component)]
    /// struct Health(u32);
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn(Health(9)).id();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut all: Query<&mut Health>| {
    ///     all.iter_mut().for_each(|mut health| health.0 -= 1);
    /// });
    /// let changed = rt.block_on(async { WorldCtx::current().entity(entity).changed::<Health>().await });
    /// assert_eq!(changed, Ok(()));
    /// ```
    #[track_caller]
    pub fn changed<C: Component>(&self) -> EntityChanged<C> {
        let (place, EntityCtx { ctx, entity }) = (Location::caller(), *self);
        let begun = lend::with_at(place, ctx.id(), |world| {
            let tether = Tether::of(world, entity)?;
            let reference = world.increment_change_tick();
            let (runtime, watch) = context::current("EntityCtx::changed()", |core| {
                let make = || ComponentWatch::new(world, reference);
                let watch = core.looks.watch::<ComponentWatch<C>, C>(ctx.id(), make);
                core.looks.begin_watching();
                (core.serial(), watch)
            });
            let entry = watch.enter(entity, reference, tether.clone());
            Some((runtime, entry, watch, Hold::new(tether)))
        });
        let (runtime, entry, begun) = match begun.unwrap_or_else(|error| refused(error)) {
            Some((runtime, entry, watch, hold)) => (runtime, Some(entry), Some((watch, hold))),
            None => (0, None, None),
        };
        EntityChanged { at: *self, runtime, called_at: place, begun, entry }
    }

    /// Completes when the entity is not there: despawned, cleared away with all others, or never there.
    /// Resumes in the next round.
    ///
    /// As in all that is awaited on an entity, `EntityWorldMut::clear` and `retain`, which take every
    /// component or all but those that are named, count as its end for who waited by then.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(move |mut commands: Commands| {
    ///     commands.entity(entity).try_despawn();
    /// });
    /// rt.block_on(async { WorldCtx::current().entity(entity).despawned().await });
    /// assert_eq!(rt.stats().ticks, 1);
    /// ```
    #[track_caller]
    pub fn despawned(&self) -> Despawned {
        let place = Location::caller();
        let tether = lend::with_at(place, self.ctx.id(), |world| Tether::of(world, self.entity));
        let hold = tether.unwrap_or_else(|error| refused(error)).map(Hold::new);
        Despawned { hold, _not_send: PhantomData }
    }

    fn occurrence<S: Source, T: Send + 'static>(
        &self,
        place: &'static Location<'static>,
        taker: impl FnOnce(&S::Event) -> T + Send + 'static,
    ) -> EntityOccurrence<T> {
        let entity = self.entity;
        let begun = lend::with_at(place, self.ctx.id(), |world| {
            let tether = Tether::of(world, entity)?;
            let wanted = Some(tether.clone());
            let subscription = Subscription::new::<S>(world, Some(entity), wanted, taker);
            Some((subscription, Hold::new(tether)))
        });
        EntityOccurrence { entity, begun: begun.unwrap_or_else(|error| refused(error)) }
    }
}
