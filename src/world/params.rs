//! [`Params`]: system parameters for a task's hot path.
#![forbid(unsafe_code)]

use std::{any::type_name, fmt, marker::PhantomData, panic::Location};

use bevy_ecs::system::{SystemParam, SystemParamItem};

use super::{
    cached::Cached,
    ctx::{WorldCtx, WorldError},
    error::AccessError,
    lend,
};

impl WorldCtx {
    /// System parameters for a hot path: a state that the task owns, so that nothing is looked up when
    /// it is used.
    ///
    /// The state is made at the first use, and sees everything as changed then, as a system does in its
    /// first run.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx, yield_now};
    ///
    /// #[derive(Resource, Default)]
    /// struct Traded(u64);
    /// #[derive(Component)]
    /// struct Price(u64);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Traded>();
    /// world.spawn(Price(101));
    /// Runtime::new(&mut world).block_on(async {
    ///     let mut params = WorldCtx::current().params::<(ResMut<Traded>, Query<&Price>)>();
    ///     for lots in 1..=3 {
    ///         params.with(|(mut traded, prices)| {
    ///             traded.0 += lots * prices.iter().map(|price| price.0).sum::<u64>();
    ///         })?;
    ///         yield_now().await;
    ///     }
    ///     Ok::<_, onbeat::AccessError>(())
    /// })?;
    /// assert_eq!(world.resource::<Traded>().0, 606);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[must_use]
    pub fn params<P: SystemParam + 'static>(&self) -> Params<P> {
        Params { cached: None, _not_send: PhantomData }
    }
}

/// The state of system parameters, owned by a task; made by [`WorldCtx::params`].
///
/// - It is used in the turn of whichever World is the current one. When that is another World than last
///   time, the state is made anew.
/// - It has its own change detection, its own `Local`s and its own place in what `MessageReader`s read,
///   however long it sleeps in between.
/// - Commands are applied when the closure returns. When the closure panics they are lost, and the state
///   begins anew.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn params_are_not_send(params: onbeat::Params<bevy_ecs::prelude::Commands<'static, 'static>>) {
///     send(params);
/// }
/// ```
pub struct Params<P: SystemParam + 'static> {
    cached: Option<Cached<P>>,
    _not_send: PhantomData<*const ()>,
}

impl<P: SystemParam + 'static> Params<P> {
    /// Calls `f` with the parameters, at once. It may borrow whatever the task has.
    ///
    /// # Errors
    ///
    /// [`AccessError::ParamsInvalid`] when a resource that the parameters name is missing, and the like;
    /// [`AccessError::World`]. `f` is not called then.
    ///
    /// # Panics
    ///
    /// When the parameters conflict with one another, as they would in a system.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{AccessError, Runtime, WorldCtx};
    ///
    /// #[derive(Resource)]
    /// struct Book;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let mut book = WorldCtx::current().params::<Res<Book>>();
    ///     let refused = book.with(|_| ());
    ///     assert!(matches!(refused, Err(AccessError::ParamsInvalid { .. })));
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn with<R>(
        &mut self,
        f: impl FnOnce(SystemParamItem<'_, '_, P>) -> R,
    ) -> Result<R, AccessError> {
        let place = Location::caller();
        if let Some(cached) = &mut self.cached
            && !cached.is_torn()
            && let Some(taken) = lend::try_take(place, cached.world())
        {
            return taken.lend(|world| cached.call(world, f));
        }
        self.with_another(place, f)
    }

    /// As [`with`](Self::with), where there is no state yet, or not one of the World that is lent, or where
    /// none is.
    #[cold]
    fn with_another<R>(
        &mut self,
        place: &'static Location<'static>,
        f: impl FnOnce(SystemParamItem<'_, '_, P>) -> R,
    ) -> Result<R, AccessError> {
        let id = lend::current_id().ok_or(WorldError::OutsideTurn)?;
        if !self.cached.as_ref().is_some_and(|cached| cached.is_good_for(id)) {
            // Where the World may be used: `Local`s may ask for it in their destructors.
            self.cached = None;
            self.cached = Some(lend::with_at(place, id, Cached::new)?);
        }
        match &mut self.cached {
            Some(cached) => lend::with_at(place, id, |world| cached.call(world, f))?,
            None => Err(WorldError::OtherWorld.into()),
        }
    }
}

impl<P: SystemParam + 'static> fmt::Debug for Params<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("params", &type_name::<P>())
            .field("made", &self.cached.is_some())
            .finish()
    }
}
