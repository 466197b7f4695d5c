//! Resources, from a task.
#![forbid(unsafe_code)]

use bevy_ecs::{change_detection::Mut, component::Mutable, resource::Resource};

use super::{ctx::WorldCtx, error::AccessError, lend};

impl WorldCtx {
    /// Calls `f` with the resource `R`, at once.
    ///
    /// # Errors
    ///
    /// [`AccessError::ResourceMissing`], [`AccessError::World`]. `f` is not called then.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource)]
    /// struct Symbols(Vec<&'static str>);
    ///
    /// let mut world = World::new();
    /// world.insert_resource(Symbols(vec!["ABC", "XYZ"]));
    /// Runtime::new(&mut world).block_on(async {
    ///     let count = WorldCtx::current().res(|symbols: &Symbols| symbols.0.len());
    ///     assert_eq!(count, Ok(2));
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn res<R: Resource, T>(&self, f: impl FnOnce(&R) -> T) -> Result<T, AccessError> {
        lend::with_ref(self.id(), |world| match world.get_resource::<R>() {
            Some(resource) => Ok(f(resource)),
            None => Err(AccessError::resource_missing::<R>()),
        })?
    }

    /// Calls `f` with the resource `R` to write, at once. Change detection sees a write when `f` writes
    /// through the `Mut`.
    ///
    /// # Errors
    ///
    /// [`AccessError::ResourceMissing`], [`AccessError::World`]. `f` is not called then.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Position(i64);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Position>();
    /// Runtime::new(&mut world).block_on(async {
    ///     WorldCtx::current().res_mut(|mut position: Mut<Position>| position.0 -= 100)
    /// })?;
    /// assert_eq!(world.resource::<Position>().0, -100);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn res_mut<R: Resource<Mutability = Mutable>, T>(
        &self,
        f: impl FnOnce(Mut<'_, R>) -> T,
    ) -> Result<T, AccessError> {
        lend::with(self.id(), |world| match world.get_resource_mut::<R>() {
            Some(resource) => Ok(f(resource)),
            None => Err(AccessError::resource_missing::<R>()),
        })?
    }

    /// A copy of the resource `R`.
    ///
    /// # Errors
    ///
    /// [`AccessError::ResourceMissing`], [`AccessError::World`].
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource, Clone, Copy, Debug, PartialEq)]
    /// struct Limit(u32);
    ///
    /// let mut world = World::new();
    /// world.insert_resource(Limit(7));
    /// Runtime::new(&mut world).block_on(async {
    ///     assert_eq!(WorldCtx::current().get(), Ok(Limit(7)));
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn get<R: Resource + Copy>(&self) -> Result<R, AccessError> {
        self.res(|resource: &R| *resource)
    }
}
