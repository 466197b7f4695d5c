//! Commands, messages and events, from a task.
#![forbid(unsafe_code)]

use bevy_ecs::{
    event::Event,
    message::{Message, MessageId, Messages},
    system::Commands,
};

use super::{ctx::WorldCtx, error::AccessError, lend};

impl WorldCtx {
    /// Calls `f` with a queue of commands, and applies them when it returns; when it panics, before the next
    /// poll.
    ///
    /// A command that fails, because its entity is gone for example, goes to the World's
    /// `FallbackErrorHandler`, as from a system. [`WorldCtx::entity`] gives such errors back instead.
    ///
    /// # Errors
    ///
    /// [`AccessError::World`]. `f` is not called then.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Component)]
    /// struct Order;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let order = ctx.commands(|commands| commands.spawn(Order).id())?;
    ///     assert_eq!(ctx.entity(order).contains::<Order>(), Ok(true));
    ///     Ok::<_, onbeat::AccessError>(())
    /// })?;
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn commands<T>(
        &self,
        f: impl FnOnce(&mut Commands<'_, '_>) -> T,
    ) -> Result<T, AccessError> {
        Ok(lend::with_flushed(self.id(), |world| f(&mut world.commands()))?)
    }

    /// Writes a message. Its readers see it in this tick and in the next one.
    ///
    /// # Errors
    ///
    /// [`AccessError::MessageUnregistered`] when nobody has registered the type of message;
    /// [`AccessError::World`]. The message is dropped then.
    ///
    /// ```
    /// use bevy_ecs::{message::MessageRegistry, prelude::*};
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Message)]
    /// struct Fill(u32);
    /// #[derive(Resource, Default)]
    /// struct Filled(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Filled>();
    /// MessageRegistry::register_message::<Fill>(&mut world);
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut fills: MessageReader<Fill>, mut filled: ResMut<Filled>| {
    ///     filled.0 += fills.read().map(|fill| fill.0).sum::<u32>();
    /// });
    /// rt.block_on(async { WorldCtx::current().write_message(Fill(3)) })?;
    /// assert_eq!(rt.world().resource::<Filled>().0, 3);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn write_message<M: Message>(&self, message: M) -> Result<MessageId<M>, AccessError> {
        let mut message = Some(message);
        let written = lend::with(self.id(), |world| {
            let mut messages = world.get_resource_mut::<Messages<M>>()?;
            Some(messages.write(message.take()?))
        })?;
        written.ok_or_else(AccessError::message_unregistered::<M>)
    }

    /// Triggers an event: its observers run at once, and their commands are applied.
    ///
    /// # Errors
    ///
    /// [`AccessError::World`]. The event is dropped then.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Event)]
    /// struct Halt;
    /// #[derive(Resource, Default)]
    /// struct Halted(bool);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Halted>();
    /// world.add_observer(|_: On<Halt>, mut halted: ResMut<Halted>| halted.0 = true);
    /// Runtime::new(&mut world).block_on(async { WorldCtx::current().trigger(Halt) })?;
    /// assert!(world.resource::<Halted>().0);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[track_caller]
    pub fn trigger<'t, E: Event<Trigger<'t>: Default>>(&self, event: E) -> Result<(), AccessError> {
        Ok(lend::with_flushed(self.id(), |world| world.trigger(event))?)
    }
}
