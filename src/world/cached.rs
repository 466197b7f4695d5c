//! [`Cached`]: the state of system parameters, kept from one use to the next.
//!
//! Bevy's `SystemState` is the model. This one advances the change tick with a plain add, where bevy's
//! takes an atomic one although it has the World to itself: that costs as much as a resource does.
//!
//! Invariant **initialized here**: `state` was made by `P::init_state` and registered by
//! `P::init_access`, without a panic, both with the World of id `world`.
//!
//! One hole in it is bevy's own, and is in `SystemState::new` and in every system too: the `FromWorld` of a
//! `Local` gets the whole World, so of three parameters the first may put another World in its place and
//! the third may put it back. The second then has a state of the other World, and nobody can tell. The
//! worlds' ids are compared before and after all three.

#![expect(
    unsafe_code,
    reason = "parameters are fetched without an atomic operation on the change tick"
)]

use std::any::type_name;

use bevy_ecs::{
    system::{SystemAccess, SystemMeta, SystemParam, SystemParamItem, SystemState},
    world::{World, WorldId},
};

use super::{change_ticks::Age, ctx::WorldError, error::AccessError};

/// The state of parameters, by the rule *initialized here*.
pub(super) struct Cached<P: SystemParam + 'static> {
    state: P::State,
    meta: SystemMeta,
    world: WorldId,
    age: Age,
    /// It is of more than one World, or the last use did not come to its end: then commands of half an
    /// update may be in the state.
    torn: bool,
    /// The parameters may leave commands in the World's own queue.
    flushes: bool,
}

impl<P: SystemParam + 'static> Cached<P> {
    /// # Panics
    ///
    /// When the parameters conflict with one another.
    #[cold]
    pub(super) fn new(world: &mut World) -> Self {
        // Bevy lets nobody make a `SystemMeta`, but gives one away. Its last run is as long ago as
        // change detection looks back, so the first use sees everything as new.
        let id = world.id();
        let mut meta = SystemState::<()>::new(world).meta().clone();
        meta.set_name(type_name::<P>());
        let age = Age::new(world);
        let state = P::init_state(world);
        let mut access = SystemAccess::default();
        P::init_access(&state, &mut meta, &mut access, world);
        let writes_all = match &access {
            SystemAccess::None => false,
            SystemAccess::Shared(set) => set.combined_access().has_write_all(),
            SystemAccess::Exclusive => true,
        };
        let flushes = writes_all || meta.has_deferred();
        // A `Local` makes its value with the World, and may have put another one in its place.
        let torn = world.id() != id;
        Self { state, meta, world: id, age, torn, flushes }
    }

    /// Whether it can be used with the World of `id`; if not, it is dropped and made anew.
    #[inline]
    pub(super) fn is_good_for(&self, id: WorldId) -> bool {
        self.world == id && !self.torn
    }

    /// The World that it was made with.
    #[inline]
    pub(super) fn world(&self) -> WorldId {
        self.world
    }

    /// Whether the last use ended by a panic, or with another World.
    #[inline]
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Calls `f` with the parameters, then applies the commands. With a World for which it is not good it
    /// is an error.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        world: &mut World,
        f: impl FnOnce(SystemParamItem<'_, '_, P>) -> R,
    ) -> Result<R, AccessError> {
        if !self.is_good_for(world.id()) {
            return Err(WorldError::OtherWorld.into());
        }
        if !self.age.is_current() {
            let last_run = self.age.look(world, self.meta.get_last_run());
            self.meta.set_last_run(last_run);
        }
        let this_run = world.increment_change_tick();
        let cell = world.as_unsafe_world_cell();
        // SAFETY: by *initialized here* the state is of this World, whose id was compared, and its
        // accesses are registered, unless `FromWorld`s swapped the World twice, which bevy does not rule
        // out either; the cell comes from the only reference to the World, which nobody uses until `f` has
        // returned.
        let params = unsafe { P::get_param(&mut self.state, &self.meta, cell, this_run) };
        let params = params.map_err(|error| AccessError::params_invalid::<P>(&error))?;
        self.meta.set_last_run(this_run);
        self.torn = true;
        let result = f(params);
        if world.id() == self.world {
            P::apply(&mut self.state, &self.meta, world);
            if self.flushes {
                world.flush();
            }
            self.torn = false;
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use bevy_ecs::prelude::*;

    use super::*;
    use crate::world::change_ticks::wrap_once;

    #[derive(Resource, Default)]
    struct Score;

    fn is_changed(cached: &mut Cached<Res<'static, Score>>, world: &mut World) -> bool {
        cached.call(world, |score| score.is_changed()).expect("the resource is there")
    }

    #[test]
    fn a_state_that_slept_while_the_tick_went_round_sees_a_young_change() {
        let mut world = World::new();
        world.init_resource::<Score>();
        let mut cached = Cached::new(&mut world);
        world.increment_change_tick();
        assert!(is_changed(&mut cached, &mut world));
        assert!(!is_changed(&mut cached, &mut world));
        // From here on the resource's tick, two back, is that of a write after the state's last run.
        wrap_once(&mut world);
        assert!(is_changed(&mut cached, &mut world));
        assert!(!is_changed(&mut cached, &mut world));
    }

    #[test]
    fn checks_of_another_world_change_nothing() {
        let (mut world, mut other) = (World::new(), World::new());
        world.init_resource::<Score>();
        let mut cached = Cached::new(&mut world);
        assert!(is_changed(&mut cached, &mut world));
        wrap_once(&mut other);
        assert!(!is_changed(&mut cached, &mut world));
    }

    #[test]
    fn with_a_world_of_another_id_it_is_an_error() {
        let (mut world, mut other) = (World::new(), World::new());
        let mut cached = Cached::<Commands<'static, 'static>>::new(&mut world);
        assert!(cached.call(&mut other, |_| ()).is_err());
        assert!(cached.call(&mut world, |_| ()).is_ok());
    }
}
