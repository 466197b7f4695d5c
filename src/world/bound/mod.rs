//! Tasks that belong to an entity, and tasks that are started where the World is at hand.
//!
//! In reading order: [`spawn_on`] here; [`commands`], for systems, observers, hooks and closures that have
//! the World; [`tasks`], the system parameter.
#![forbid(unsafe_code)]

mod commands;
mod tasks;

use std::{
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bevy_ecs::entity::Entity;
use pin_project_lite::pin_project;

pub use commands::{EntityTaskCommands, EntityTasks, SpawnTaskError, TaskCommands, WorldTasks};
pub use tasks::Tasks;

use super::{
    ctx::WorldCtx,
    entity::EntityCtx,
    error::AccessError,
    lend,
    tether::{BoundTask, Tether},
};
use crate::{context, executor::CancelReason, task::JoinHandle};

/// Starts a task that belongs to `entity`: it ends with it at the latest.
///
/// `make` is called at once and makes the future, which is put where [`spawn`](crate::spawn()) puts it and
/// is first polled in a later round of this turn.
///
/// From the moment in which the entity goes, the task is never polled again, whoever despawns it and
/// wherever: a task (the task itself among them, whose poll goes on to its next `await`), a system, an
/// observer, a hook, a command, `World::clear_entities`, or the World's own end. Its future is dropped by
/// the reaper, after the current poll or stage, where the World may be used. What counts is a private
/// component of the entity, not its id: an id that comes back after `clear_entities` does not bring its
/// tasks back, and `EntityWorldMut::clear` and `retain`, which take every component or all but those that
/// are named, end them too. A clone of the entity has no tasks; nor do its components take them along when
/// they are moved to another.
///
/// [`JoinHandle::join`] of a task that ended so gives `Cancelled(CancelReason::Entity)`. So does, at once,
/// the handle of a task on an entity that is not there; `make` is not called then.
/// [`EntityCtx::spawn_task`] gives that as an error.
///
/// # Panics
///
/// Outside a turn; inside another access to the World, where [`EntityTasks`] serves; and as
/// [`spawn`](crate::spawn()).
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{CancelReason, EntityCtx, JoinError, Runtime, WorldCtx, sleep, spawn_on};
/// use std::time::Duration;
///
/// #[derive(Component)]
/// struct Order { open: u32 }
///
/// async fn work(order: EntityCtx) -> Result<(), onbeat::AccessError> {
///     loop {
///         order.get_mut(|mut order: Mut<Order>| order.open -= 1)?;
///         sleep(Duration::from_micros(50)).await;
///     }
/// }
///
/// let mut world = World::new();
/// let order = world.spawn(Order { open: 300 }).id();
/// Runtime::new(&mut world).block_on(async {
///     let working = spawn_on(order, work);
///     sleep(Duration::from_micros(200)).await;
///     WorldCtx::current().entity(order).despawn()?;
///     let ended = working.join().await;
///     assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Entity))));
///     Ok::<_, onbeat::AccessError>(())
/// }).unwrap();
/// ```
#[track_caller]
pub fn spawn_on<M, F>(entity: Entity, make: M) -> JoinHandle<F::Output>
where
    M: FnOnce(EntityCtx) -> F,
    F: Future + 'static,
    F::Output: 'static,
{
    match WorldCtx::current().entity(entity).spawn_task(make) {
        Ok(handle) => handle,
        Err(AccessError::World(error)) => panic!("spawn_on(): {error}"),
        Err(_) => JoinHandle::of_none(CancelReason::Entity),
    }
}

impl EntityCtx {
    /// Starts a task that belongs to the entity, as [`spawn_on`] does.
    ///
    /// # Errors
    ///
    /// See [`EntityCtx`]. `make` is not called then.
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn()).
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// # use onbeat::{AccessError, Runtime, WorldCtx};
    /// # let mut world = World::new();
    /// let entity = world.spawn_empty().id();
    /// # Runtime::new(&mut world).block_on(async {
    /// let entity = WorldCtx::current().entity(entity);
    /// let name = entity.spawn_task(|entity| async move { entity.id().to_string() })?;
    /// assert_eq!(name.await, entity.id().to_string());
    /// entity.despawn()?;
    /// let gone = entity.spawn_task(|_| async {}).map(drop);
    /// assert_eq!(gone, Err(AccessError::EntityGone(entity.id())));
    /// # Ok::<_, AccessError>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_task<M, F>(&self, make: M) -> Result<JoinHandle<F::Output>, AccessError>
    where
        M: FnOnce(Self) -> F,
        F: Future + 'static,
        F::Output: 'static,
    {
        let tether = lend::with_flushed(self.ctx.id(), |world| Tether::of(world, self.entity))?
            .ok_or(AccessError::EntityGone(self.entity))?;
        Ok(start(tether, make(*self), Location::caller()))
    }
}

/// Starts a task that belongs to the entity of `tether`. In a runtime.
fn start<F>(
    tether: Arc<Tether>,
    future: F,
    spawned_at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    context::current("spawn_on()", |core| {
        let bound = Bound { future, tether: tether.clone() };
        let spawned = core.executor.spawn_anywhere(bound, spawned_at);
        // The entity may have gone while the future was made.
        if let Ok(task) = spawned
            && !tether.bind(BoundTask::new(core, task))
        {
            core.executor.abort(task, CancelReason::Entity);
        }
        JoinHandle::of(core, spawned, "spawn_on()")
    })
}

pin_project! {
    /// A future that belongs to an entity.
    struct Bound<F> {
        #[pin]
        future: F,
        tether: Arc<Tether>,
    }
}

impl<F: Future> Future for Bound<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // The entity went on another thread, from where the end of the task is on its way.
        if self.tether.is_cut() { Poll::Pending } else { self.project().future.poll(cx) }
    }
}
