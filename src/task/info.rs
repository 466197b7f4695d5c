//! Looking at tasks from outside: [`TaskInfo`], and names to know them by.

use std::{
    borrow::Cow,
    fmt,
    panic::Location,
    time::{Duration, Instant},
};

use super::{JoinHandle, TaskKey};
use crate::{
    context::{self, Core},
    executor::details::{Listed, Wait},
};

/// A task that has not ended, as it was when [`Runtime::tasks`](crate::Runtime::tasks) or
/// [`Tasks::info`](crate::Tasks::info) was called.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, TaskInfo, named, sleep, spawn};
/// use std::{future::pending, time::Duration};
///
/// let mut world = World::new();
/// let builder = Runtime::builder(&mut world).clock(ClockMode::Virtual);
/// let mut rt = builder.task_details(true).build();
/// rt.block_on(async {
///     drop(named("feed").spawn(pending::<()>()));
///     sleep(Duration::from_secs(2)).await;
/// });
/// let tasks: Vec<TaskInfo> = rt.tasks();
/// let feed = &tasks[0];
/// assert_eq!(feed.name, "feed");
/// assert_eq!((feed.age, feed.polls), (Some(Duration::from_secs(2)), Some(1)));
/// assert!(!feed.is_ready && feed.waits_for.is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its name for programs.
    pub key: TaskKey,
    /// The name that [`named`] gave it, else the type of its future.
    pub name: Cow<'static, str>,
    /// The line that spawned it.
    pub spawned_at: &'static Location<'static>,
    /// How long ago it was spawned, by the runtime's clock. Known with
    /// [`task_details`](crate::RuntimeBuilder::task_details), and of tasks that were given a name.
    pub age: Option<Duration>,
    /// How often it was polled. Known with [`task_details`](crate::RuntimeBuilder::task_details).
    pub polls: Option<u64>,
    /// Whether it is about to be polled.
    pub is_ready: bool,
    /// What it waits for. Known with [`task_details`](crate::RuntimeBuilder::task_details), if a future of
    /// onbeat's was pending in its last poll; of several, the last.
    pub waits_for: Option<WaitsFor>,
}

impl TaskInfo {
    pub(crate) fn all(core: &Core) -> Vec<Self> {
        let now_ns = core.clock.precise_ns();
        core.executor.list().into_iter().map(|listed| Self::new(core, listed, now_ns)).collect()
    }

    /// One task of this runtime, unless it has ended.
    pub(crate) fn of(core: &Core, key: TaskKey) -> Option<Self> {
        let listed = core.executor.listed(key.identity())?;
        Some(Self::new(core, listed, core.clock.precise_ns()))
    }

    fn new(core: &Core, listed: Listed, now_ns: u64) -> Self {
        Self {
            key: TaskKey::new(core.serial(), listed.task),
            name: listed.name,
            spawned_at: listed.spawned_at,
            age: listed.spawned_ns.map(|ns| Duration::from_nanos(now_ns.saturating_sub(ns))),
            polls: listed.polls,
            is_ready: listed.is_ready,
            waits_for: listed.wait.map(|wait| match wait {
                Wait::Until(ns) => WaitsFor::Time(core.clock.instant(ns)),
                Wait::Task(runtime, task) => WaitsFor::Task(TaskKey::new(runtime, task)),
                Wait::Other(what) => WaitsFor::Other(what),
            }),
        }
    }
}

/// What a task waits for.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{CancellationToken, Runtime, WaitsFor, spawn, yield_now};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).task_details(true).build();
/// let token = CancellationToken::new();
/// rt.block_on(async {
///     drop(spawn(token.cancelled()));
///     yield_now().await;
/// });
/// let waits_for = rt.tasks()[0].waits_for.unwrap();
/// assert_eq!(waits_for, WaitsFor::Other("a cancellation"));
/// assert_eq!(waits_for.to_string(), "a cancellation");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WaitsFor {
    /// A time: it sleeps, or has a limit.
    Time(Instant),
    /// The end of a task.
    Task(TaskKey),
    /// Something else, in words.
    Other(&'static str),
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(_) => f.write_str("a time"),
            Self::Task(task) => write!(f, "task {task}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Gives the task that is spawned through it a name, by which [`Runtime::tasks`](crate::Runtime::tasks)
/// knows it.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, named};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async { drop(named("feed").spawn(std::future::pending::<()>())) });
/// assert_eq!(rt.tasks()[0].name, "feed");
/// ```
pub fn named(name: impl Into<Cow<'static, str>>) -> Named {
    Named { name: name.into() }
}

/// A name for a task: see [`named`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Named, Runtime, named};
/// use std::future::pending;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<64>(4).build();
/// rt.block_on(async {
///     let feed: Named = named("feed");
///     drop(feed.spawn(pending::<()>()));
///     drop(named("book").spawn_boxed(pending::<()>()));
///     drop(named(format!("orders {}", 1)).spawn_slab(pending::<()>()));
/// });
/// let mut names: Vec<_> = rt.tasks().into_iter().map(|task| task.name).collect();
/// names.sort();
/// assert_eq!(names, ["book", "feed", "orders 1"]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a name spawns nothing by itself"]
pub struct Named {
    name: Cow<'static, str>,
}

impl Named {
    /// As [`spawn`](crate::spawn()).
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn()).
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.give(super::spawn(future))
    }

    /// As [`spawn_boxed`](crate::spawn_boxed).
    ///
    /// # Panics
    ///
    /// As [`spawn_boxed`](crate::spawn_boxed).
    #[track_caller]
    pub fn spawn_boxed<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.give(super::spawn_boxed(future))
    }

    /// As [`spawn_slab`](crate::spawn_slab).
    ///
    /// # Panics
    ///
    /// As [`spawn_slab`](crate::spawn_slab).
    #[track_caller]
    pub fn spawn_slab<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.give(super::spawn_slab(future))
    }

    fn give<T>(self, handle: JoinHandle<T>) -> JoinHandle<T> {
        context::find(handle.runtime, |core| core.note_spawn(handle.task, Some(self.name)));
        handle
    }
}
