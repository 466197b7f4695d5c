//! Starting tasks where the World is at hand: from commands, and with the World itself.

use std::{error::Error, fmt, panic::Location};

use bevy_ecs::{
    entity::Entity,
    system::{Commands, EntityCommands},
    world::{EntityWorldMut, World},
};

use super::{
    super::{ctx::WorldCtx, entity::EntityCtx, lend, tether::Tether},
    start,
};
use crate::{
    context,
    task::{self, JoinHandle},
};

/// `commands.spawn_task(..)`: starts a task when the command is applied.
pub trait TaskCommands {
    /// Starts the task whose future `make` makes when the command is applied, on the loop's thread. The
    /// future need not be `Send`. It is polled in the round before the next stage, or after the last one.
    ///
    /// Where no runtime is running on the World, the command fails with [`SpawnTaskError::NoRuntime`],
    /// which goes to the World's `FallbackErrorHandler`.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, TaskCommands, Tick, WorldCtx};
    /// use std::rc::Rc;
    ///
    /// #[derive(Resource, Default)]
    /// struct Greeting(String);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Greeting>();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut commands: Commands| {
    ///     commands.spawn_task(|| async {
    ///         let words = Rc::new("hello");
    ///         WorldCtx::current().with_world(|world| world.resource_mut::<Greeting>().0 = words.to_string());
    ///     });
    /// });
    /// rt.tick().unwrap();
    /// assert_eq!(rt.world().resource::<Greeting>().0, "hello");
    /// ```
    fn spawn_task<M, F>(&mut self, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: 'static;
}

impl TaskCommands for Commands<'_, '_> {
    #[track_caller]
    fn spawn_task<M, F>(&mut self, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: 'static,
    {
        let spawned_at = Location::caller();
        self.queue(move |world: &mut World| start_with(world, make, spawned_at).map(drop));
    }
}

/// `commands.entity(entity).spawn_task(..)`: starts a task that belongs to the entity when the command is
/// applied.
pub trait EntityTaskCommands {
    /// Starts the task whose future `make` makes when the command is applied, on the loop's thread. The
    /// future need not be `Send`. The task ends with the entity, as that of [`spawn_on`](crate::spawn_on).
    ///
    /// `make` runs inside the command's access to the World: it gets an [`EntityCtx`] for the future to
    /// use, and can do nothing with it itself.
    ///
    /// Where no runtime is running on the World, or the entity is not there, the command fails with a
    /// [`SpawnTaskError`], which names the entity and goes to the World's `FallbackErrorHandler`.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{EntityTaskCommands, Runtime, Tick, sleep};
    /// use std::time::Duration;
    ///
    /// #[derive(Component)]
    /// struct Quote;
    ///
    /// let mut world = World::new();
    /// let quote = world.spawn_empty().id();
    /// // Whatever becomes a quote expires by itself.
    /// world.add_observer(|added: On<Add<Quote>>, mut commands: Commands| {
    ///     commands.entity(added.entity).spawn_task(|quote| async move {
    ///         sleep(Duration::from_micros(100)).await;
    ///         quote.despawn()
    ///     });
    /// });
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     let quote = onbeat::WorldCtx::current().entity(quote);
    ///     quote.insert(Quote)?;
    ///     quote.despawned().await;
    ///     Ok::<_, onbeat::AccessError>(())
    /// }).unwrap();
    /// ```
    fn spawn_task<M, F>(&mut self, make: M) -> &mut Self
    where
        M: FnOnce(EntityCtx) -> F + Send + 'static,
        F: Future + 'static,
        F::Output: 'static;
}

impl EntityTaskCommands for EntityCommands<'_> {
    #[track_caller]
    fn spawn_task<M, F>(&mut self, make: M) -> &mut Self
    where
        M: FnOnce(EntityCtx) -> F + Send + 'static,
        F: Future + 'static,
        F::Output: 'static,
    {
        let spawned_at = Location::caller();
        let entity = self.id();
        self.commands_mut()
            .queue(move |world: &mut World| start_on(world, entity, make, spawned_at).map(drop));
        self
    }
}

/// `world.spawn_task(..)`: starts a task where there is a `&mut World`.
pub trait WorldTasks {
    /// Starts the task whose future `make` makes. Neither need be `Send`.
    ///
    /// # Errors
    ///
    /// [`SpawnTaskError::NoRuntime`] where no runtime is running on this World. `make` is not called then.
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn()).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, SpawnTaskError, WorldCtx, WorldTasks};
    ///
    /// let mut world = World::new();
    /// let missing = world.spawn_task(|| async {}).map(drop);
    /// assert_eq!(missing, Err(SpawnTaskError::NoRuntime { entity: None }));
    ///
    /// Runtime::new(&mut world).block_on(async {
    ///     let sum = WorldCtx::current().with_world(|world| world.spawn_task(|| async { 3 + 4 }));
    ///     assert_eq!(sum?.await, 7);
    ///     Ok::<_, SpawnTaskError>(())
    /// }).unwrap();
    /// ```
    fn spawn_task<M, F>(&mut self, make: M) -> Result<JoinHandle<F::Output>, SpawnTaskError>
    where
        M: FnOnce() -> F,
        F: Future + 'static,
        F::Output: 'static;
}

impl WorldTasks for World {
    #[track_caller]
    fn spawn_task<M, F>(&mut self, make: M) -> Result<JoinHandle<F::Output>, SpawnTaskError>
    where
        M: FnOnce() -> F,
        F: Future + 'static,
        F::Output: 'static,
    {
        start_with(self, make, Location::caller())
    }
}

/// `world.entity_mut(entity).spawn_task(..)`: starts a task that belongs to an entity where there is a
/// `&mut World`.
pub trait EntityTasks {
    /// Starts the task whose future `make` makes; neither need be `Send`. The task ends with the entity, as
    /// that of [`spawn_on`](crate::spawn_on).
    ///
    /// `make` runs inside the access to the World: it gets an [`EntityCtx`] for the future to use, and can
    /// do nothing with it itself.
    ///
    /// # Errors
    ///
    /// [`SpawnTaskError`] where no runtime is running on this World, or the entity is not there. `make` is
    /// not called then.
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn()).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{EntityTasks, Runtime, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     WorldCtx::current().with_world(|world| {
    ///         let mut entity = world.spawn_empty();
    ///         drop(entity.spawn_task(|_| std::future::pending::<()>()).unwrap());
    ///         entity.despawn();
    ///     });
    /// });
    /// assert_eq!(rt.task_count(), 0);
    /// ```
    fn spawn_task<M, F>(&mut self, make: M) -> Result<JoinHandle<F::Output>, SpawnTaskError>
    where
        M: FnOnce(EntityCtx) -> F,
        F: Future + 'static,
        F::Output: 'static;
}

impl EntityTasks for EntityWorldMut<'_> {
    #[track_caller]
    fn spawn_task<M, F>(&mut self, make: M) -> Result<JoinHandle<F::Output>, SpawnTaskError>
    where
        M: FnOnce(EntityCtx) -> F,
        F: Future + 'static,
        F::Output: 'static,
    {
        let spawned_at = Location::caller();
        let entity = self.id();
        self.world_scope(|world| start_on(world, entity, make, spawned_at))
    }
}

/// Why no task was started where the World was at hand.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{EntityTasks, SpawnTaskError};
///
/// let mut world = World::new();
/// let mut entity = world.spawn_empty();
/// let id = entity.id();
/// let error = entity.spawn_task(|_| async {}).map(drop).unwrap_err();
/// assert_eq!(error, SpawnTaskError::NoRuntime { entity: Some(id) });
/// assert!(error.to_string().contains("no onbeat runtime is running on this World"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SpawnTaskError {
    /// No runtime is running on this World, on this thread.
    NoRuntime {
        /// The entity that the task was to belong to.
        entity: Option<Entity>,
    },
    /// The World has no such entity.
    EntityGone(Entity),
}

impl fmt::Display for SpawnTaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime { entity } => {
                match entity {
                    Some(entity) => write!(f, "no task was started on the entity {entity}")?,
                    None => f.write_str("no task was started")?,
                }
                f.write_str(
                    ": no onbeat runtime is running on this World; apply the command in a stage of its \
                     loop, or in a task",
                )
            }
            Self::EntityGone(entity) => write!(
                f,
                "no task was started on the entity {entity}: the World has no such entity, because it \
                 was despawned, or was never there"
            ),
        }
    }
}

impl Error for SpawnTaskError {}

/// Whether the runtime that this thread is in runs on `world`.
fn runs_on(world: &World) -> bool {
    context::try_current(|_| ()).is_some() && lend::current_id() == Some(world.id())
}

fn start_with<M, F>(
    world: &World,
    make: M,
    spawned_at: &'static Location<'static>,
) -> Result<JoinHandle<F::Output>, SpawnTaskError>
where
    M: FnOnce() -> F,
    F: Future + 'static,
    F::Output: 'static,
{
    if !runs_on(world) {
        return Err(SpawnTaskError::NoRuntime { entity: None });
    }
    Ok(task::spawn_at(make(), spawned_at))
}

fn start_on<M, F>(
    world: &mut World,
    entity: Entity,
    make: M,
    spawned_at: &'static Location<'static>,
) -> Result<JoinHandle<F::Output>, SpawnTaskError>
where
    M: FnOnce(EntityCtx) -> F,
    F: Future + 'static,
    F::Output: 'static,
{
    if !runs_on(world) {
        return Err(SpawnTaskError::NoRuntime { entity: Some(entity) });
    }
    let tether = Tether::of(world, entity).ok_or(SpawnTaskError::EntityGone(entity))?;
    let ctx = WorldCtx::new(world).entity(entity);
    Ok(start(tether, make(ctx), spawned_at))
}
