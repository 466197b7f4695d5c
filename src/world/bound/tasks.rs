//! [`Tasks`]: the runtime's tasks, for systems.

use std::{fmt, panic::Location};

use bevy_ecs::system::{NonSendMarker, SystemParam};

use crate::{
    context,
    executor::CancelReason,
    task::{self, JoinHandle, TaskInfo, TaskKey},
};

/// A system parameter: the tasks of the runtime in which the system runs.
///
/// A system that takes it runs on the loop's thread, whatever executor its schedule has. It conflicts with
/// no other parameter. Tasks that belong to an entity are started with
/// [`commands.entity(entity).spawn_task(..)`](crate::EntityTaskCommands).
///
/// Outside of a runtime there are no tasks, and [`spawn`](Self::spawn) panics.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, TaskKey, Tasks, Tick, spawn};
///
/// #[derive(Resource)]
/// struct Feed(TaskKey);
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let feed = rt.block_on(async { spawn(std::future::pending::<()>()) });
/// rt.world_mut().insert_resource(Feed(feed.id()));
/// rt.schedule(Tick).add_systems(|tasks: Tasks, feed: Res<Feed>| {
///     if tasks.info(feed.0).is_some() {
///         assert!(tasks.abort(feed.0));
///     }
/// });
/// rt.tick().unwrap();
/// assert!(feed.is_finished());
/// assert_eq!(rt.task_count(), 0);
/// ```
#[derive(SystemParam)]
pub struct Tasks {
    _on_the_loops_thread: NonSendMarker,
}

impl Tasks {
    /// Starts a task, as [`spawn`](crate::spawn()) does. It is polled in the round before the next stage,
    /// or after the last one. The task goes on when its handle is dropped.
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn()).
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tasks, Tick};
    ///
    /// # let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|tasks: Tasks| drop(tasks.spawn(std::future::pending::<()>())));
    /// rt.tick().unwrap();
    /// assert_eq!(rt.task_count(), 1);
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        task::spawn_at(future, Location::caller())
    }

    /// How many tasks have been spawned and have not ended.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tasks, Tick};
    ///
    /// # let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|tasks: Tasks| assert_eq!(tasks.count(), 0));
    /// rt.tick().unwrap();
    /// ```
    #[must_use]
    pub fn count(&self) -> usize {
        context::try_current(|core| core.executor.task_count()).unwrap_or(0)
    }

    /// Ends a task: it is never polled again, and its future is dropped after the stage, where the World
    /// may be used. Its handle learns that it was aborted. False: it has ended, or was ended before.
    ///
    /// The example is that of [`Tasks`].
    pub fn abort(&self, task: TaskKey) -> bool {
        let abort =
            |core: &context::Core| core.executor.abort(task.identity(), CancelReason::Aborted);
        context::find(task.runtime(), abort).unwrap_or(false)
    }

    /// What is known of a task; `None` when it has ended.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tasks, Tick};
    ///
    /// # let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|tasks: Tasks| {
    ///     let waiting = tasks.spawn(std::future::pending::<()>()).id();
    ///     assert!(tasks.info(waiting).unwrap().is_ready);
    /// });
    /// rt.tick().unwrap();
    /// ```
    #[must_use]
    pub fn info(&self, task: TaskKey) -> Option<TaskInfo> {
        context::find(task.runtime(), |core| TaskInfo::of(core, task)).flatten()
    }

    /// All tasks that have not ended, as [`Runtime::tasks`](crate::Runtime::tasks) gives them. It walks
    /// every slot, and allocates.
    ///
    /// ```
    /// # use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tasks, Tick};
    ///
    /// # let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|tasks: Tasks| assert!(tasks.list().is_empty()));
    /// rt.tick().unwrap();
    /// ```
    #[must_use]
    pub fn list(&self) -> Vec<TaskInfo> {
        context::try_current(TaskInfo::all).unwrap_or_default()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("count", &self.count()).finish_non_exhaustive()
    }
}
