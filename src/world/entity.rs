//! [`EntityCtx`]: one entity, from a task.
#![forbid(unsafe_code)]

use std::{error::Error, fmt};

use bevy_ecs::{
    bundle::{Bundle, BundleFromComponents},
    change_detection::Mut,
    component::{Component, Mutable},
    entity::Entity,
    world::{EntityRef, EntityWorldMut},
};

use super::{ctx::WorldCtx, error::AccessError, lend};

impl WorldCtx {
    /// Access to one entity. Nothing is looked up before it is used.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{AccessError, Runtime, WorldCtx};
    ///
    /// #[derive(Component, Clone, Copy, Debug, PartialEq)]
    /// struct Quantity(u32);
    ///
    /// let mut world = World::new();
    /// let order = world.spawn(Quantity(300)).id();
    /// Runtime::new(&mut world).block_on(async {
    ///     let order = WorldCtx::current().entity(order);
    ///     order.get_mut(|mut quantity: Mut<Quantity>| quantity.0 -= 100)?;
    ///     assert_eq!(order.copied(), Ok(Quantity(200)));
    ///     order.despawn()?;
    ///     assert_eq!(order.copied::<Quantity>(), Err(AccessError::EntityGone(order.id())));
    ///     Ok::<_, AccessError>(())
    /// })?;
    /// # Ok::<_, AccessError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn entity(&self, entity: Entity) -> EntityCtx {
        EntityCtx { ctx: *self, entity }
    }
}

/// Access to one entity of the World that the loop lends to its thread; made by [`WorldCtx::entity`].
///
/// It is `Copy`, holds no pointer, and may outlive the entity: each method looks, and an entity that has
/// gone is [`AccessError::EntityGone`]. Every method does its work at once; what hooks and observers
/// queue is applied before it returns.
///
/// # Errors
///
/// Of every method: [`AccessError::EntityGone`], and [`AccessError::World`] where
/// [`WorldCtx::try_with_world`] gives an error; of those that name a component,
/// [`AccessError::ComponentMissing`] as well. A closure is not called then.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{AccessError, EntityCtx, Runtime, WorldCtx};
///
/// #[derive(Component, Clone, Copy, Debug, PartialEq)]
/// struct Quantity(u32);
///
/// let mut world = World::new();
/// let order = world.spawn(Quantity(300)).id();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let entity: EntityCtx = ctx.entity(order);
///     assert_eq!((entity.id(), entity.world()), (order, ctx));
///     assert_eq!(entity.copied(), Ok(Quantity(300)));
///     entity.despawn().unwrap();
///     assert_eq!(entity.copied::<Quantity>(), Err(AccessError::EntityGone(order)));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntityCtx {
    pub(super) ctx: WorldCtx,
    pub(super) entity: Entity,
}

impl EntityCtx {
    /// The entity.
    #[inline]
    #[must_use]
    pub fn id(&self) -> Entity {
        self.entity
    }

    /// The World that it is of.
    #[inline]
    #[must_use]
    pub fn world(&self) -> WorldCtx {
        self.ctx
    }

    /// Calls `f` with the component `C`.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component)]
    /// struct Symbol(String);
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn(Symbol("ABC".to_owned())).id();
    /// # Runtime::new(&mut world).block_on(async {
    /// let length = WorldCtx::current().entity(entity).get(|symbol: &Symbol| symbol.0.len());
    /// assert_eq!(length, Ok(3));
    /// # });
    /// ```
    #[inline]
    #[track_caller]
    pub fn get<C: Component, R>(&self, f: impl FnOnce(&C) -> R) -> Result<R, AccessError> {
        self.read(|entity| match entity.get::<C>() {
            Some(component) => Ok(f(component)),
            None => Err(AccessError::component_missing::<C>(self.entity)),
        })
    }

    /// Calls `f` with the component `C` to write. Change detection sees a write when `f` writes through
    /// the `Mut`.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component)]
    /// struct Quantity(u32);
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn(Quantity(3)).id();
    /// # Runtime::new(&mut world).block_on(async {
    /// WorldCtx::current().entity(entity).get_mut(|mut quantity: Mut<Quantity>| quantity.0 += 1)?;
    /// # Ok::<_, onbeat::AccessError>(())
    /// # })?;
    /// assert_eq!(world.get::<Quantity>(entity).unwrap().0, 4);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_mut<C: Component<Mutability = Mutable>, R>(
        &self,
        f: impl FnOnce(Mut<'_, C>) -> R,
    ) -> Result<R, AccessError> {
        lend::with(self.ctx.id(), |world| {
            let Ok(entity) = world.get_entity_mut(self.entity) else {
                return Err(AccessError::EntityGone(self.entity));
            };
            match entity.into_mut::<C>() {
                Some(component) => Ok(f(component)),
                None => Err(AccessError::component_missing::<C>(self.entity)),
            }
        })?
    }

    /// A copy of the component `C`.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{AccessError, Runtime, WorldCtx};
    /// #[derive(Component, Clone, Copy, Debug, PartialEq)]
    /// struct Side(char);
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// # Runtime::new(&mut world).block_on(async {
    /// let entity = WorldCtx::current().entity(entity);
    /// assert!(matches!(entity.copied::<Side>(), Err(AccessError::ComponentMissing { .. })));
    /// entity.insert(Side('B'))?;
    /// assert_eq!(entity.copied(), Ok(Side('B')));
    /// # Ok::<_, AccessError>(())
    /// # }).unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn copied<C: Component + Copy>(&self) -> Result<C, AccessError> {
        self.get(|component: &C| *component)
    }

    /// Whether the entity has the component `C`.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`]; a component that is missing is `Ok(false)`.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component)]
    /// struct Open;
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn(Open).id();
    /// # Runtime::new(&mut world).block_on(async {
    /// assert_eq!(WorldCtx::current().entity(entity).contains::<Open>(), Ok(true));
    /// # });
    /// ```
    #[inline]
    #[track_caller]
    pub fn contains<C: Component>(&self) -> Result<bool, AccessError> {
        self.read(|entity| Ok(entity.contains::<C>()))
    }

    /// Whether the World has the entity.
    ///
    /// # Errors
    ///
    /// [`AccessError::World`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// # let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// # Runtime::new(&mut world).block_on(async {
    /// let entity = WorldCtx::current().entity(entity);
    /// assert_eq!(entity.exists(), Ok(true));
    /// entity.despawn()?;
    /// assert_eq!(entity.exists(), Ok(false));
    /// # Ok::<_, onbeat::AccessError>(())
    /// # }).unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn exists(&self) -> Result<bool, AccessError> {
        Ok(lend::with_ref(self.ctx.id(), |world| world.get_entity(self.entity).is_ok())?)
    }

    /// Inserts a bundle of components; those that the entity has are replaced.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`]. The bundle is dropped then.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component)]
    /// struct Price(u32);
    /// #[derive(Component)]
    /// struct Quantity(u32);
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// # Runtime::new(&mut world).block_on(async {
    /// WorldCtx::current().entity(entity).insert((Price(101), Quantity(5)))
    /// # })?;
    /// # assert_eq!(world.get::<Price>(entity).unwrap().0 + world.get::<Quantity>(entity).unwrap().0, 106);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[track_caller]
    pub fn insert<B: Bundle>(&self, bundle: B) -> Result<(), AccessError> {
        self.change(|mut entity| {
            entity.insert(bundle);
            Ok(())
        })
    }

    /// Removes the components of a bundle; those that the entity lacks are passed over.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component)]
    /// struct Open;
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn(Open).id();
    /// # Runtime::new(&mut world).block_on(async {
    /// WorldCtx::current().entity(entity).remove::<Open>()
    /// # })?;
    /// assert!(!world.entity(entity).contains::<Open>());
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[track_caller]
    pub fn remove<B: Bundle>(&self) -> Result<(), AccessError> {
        self.change(|mut entity| {
            entity.remove::<B>();
            Ok(())
        })
    }

    /// Removes the components of a bundle and gives them back.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`]. When one of the components is missing, none is removed.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{Runtime, WorldCtx};
    /// #[derive(Component, Debug, PartialEq)]
    /// struct Symbol(&'static str);
    ///
    /// # let mut world = World::new();
    /// let entity = world.spawn(Symbol("ABC")).id();
    /// # Runtime::new(&mut world).block_on(async {
    /// assert_eq!(WorldCtx::current().entity(entity).take(), Ok(Symbol("ABC")));
    /// # });
    /// ```
    #[track_caller]
    pub fn take<B: Bundle + BundleFromComponents>(&self) -> Result<B, AccessError> {
        self.change(|mut entity| {
            entity.take::<B>().ok_or_else(|| AccessError::component_missing::<B>(self.entity))
        })
    }

    /// Despawns the entity, and what belongs to it.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`].
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{AccessError, Runtime, WorldCtx};
    /// # let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// # Runtime::new(&mut world).block_on(async {
    /// let ctx = WorldCtx::current();
    /// ctx.entity(entity).despawn()?;
    /// assert_eq!(ctx.entity(entity).despawn(), Err(AccessError::EntityGone(entity)));
    /// # Ok::<_, AccessError>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn despawn(&self) -> Result<(), AccessError> {
        self.change(|entity| {
            entity.despawn();
            Ok(())
        })
    }

    #[inline]
    #[track_caller]
    fn read<R>(
        &self,
        f: impl FnOnce(EntityRef<'_>) -> Result<R, AccessError>,
    ) -> Result<R, AccessError> {
        lend::with_ref(self.ctx.id(), |world| match world.get_entity(self.entity) {
            Ok(entity) => f(entity),
            Err(_) => Err(AccessError::EntityGone(self.entity)),
        })?
    }

    #[inline]
    #[track_caller]
    fn change<R>(
        &self,
        f: impl FnOnce(EntityWorldMut<'_>) -> Result<R, AccessError>,
    ) -> Result<R, AccessError> {
        lend::with_flushed(self.ctx.id(), |world| match world.get_entity_mut(self.entity) {
            Ok(entity) => f(entity),
            Err(_) => Err(AccessError::EntityGone(self.entity)),
        })?
    }
}

/// The entity is not there, or went while something was awaited on it. That its components were all taken
/// counts as its end too, as [`EntityCtx::despawned`] says.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{EntityGone, Runtime, WorldCtx};
///
/// #[derive(Component)]
/// struct Filled;
///
/// let mut world = World::new();
/// let order = world.spawn_empty().id();
/// Runtime::new(&mut world).block_on(async {
///     let order = WorldCtx::current().entity(order);
///     let filled = order.inserted::<Filled>();
///     order.despawn().unwrap();
///     assert_eq!(filled.await.map(drop), Err(EntityGone { entity: order.id() }));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntityGone {
    /// The entity that is meant.
    pub entity: Entity,
}

impl fmt::Display for EntityGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the entity {} has gone: it was despawned, or never there", self.entity)
    }
}

impl Error for EntityGone {}

impl From<EntityGone> for AccessError {
    fn from(gone: EntityGone) -> Self {
        Self::EntityGone(gone.entity)
    }
}
