//! Running a bevy `App` on onbeat's loop: [`OnbeatPlugin`].
//!
//! A headless [`App`] is driven by bevy's `ScheduleRunnerPlugin`: it runs a frame, then sleeps. Whatever
//! reaches the process meanwhile, from a socket, a timer or a thread, waits for the next frame, and tasks
//! run on pools that do not have the World. With [`OnbeatPlugin`] the `App`, its plugins and its systems
//! stay as they are, and the loop is onbeat's: tasks have the `World` at any time, are woken by sockets and
//! timers between two frames, and wait for stages, messages and changes; and frames start on a grid that
//! does not drift.
//!
//! ```
//! use bevy_app::prelude::*;
//! use bevy_ecs::prelude::*;
//! use onbeat::{WorldCtx, bevy::OnbeatPlugin, sleep};
//! use std::time::Duration;
//!
//! #[derive(Resource)]
//! struct Lives(u32);
//!
//! let exit = App::new()
//!     .add_plugins(OnbeatPlugin::new(|| async {
//!         let ctx = WorldCtx::current();
//!         while ctx.with_world_ref(|world| world.resource::<Lives>().0) > 0 {
//!             sleep(Duration::from_millis(1)).await;
//!             ctx.with_world(|world| world.resource_mut::<Lives>().0 -= 1);
//!         }
//!     }))
//!     .add_systems(Startup, |mut commands: Commands| commands.insert_resource(Lives(3)))
//!     .add_systems(Update, |lives: Res<Lives>, mut exit: MessageWriter<AppExit>| {
//!         if lives.0 == 0 {
//!             exit.write(AppExit::from_code(7));
//!         }
//!     })
//!     .run();
//! assert_eq!(exit, AppExit::from_code(7));
//! ```
//!
//! # What a frame is
//!
//! The plugin gives the `App` a runner. It waits until the plugins are ready, finishes them and cleans up,
//! and then runs until a message of [`AppExit`] is there at the end of a frame. Its code is what `App::run`
//! returns. `App::update` is never called. A frame is a tick of [the loop](crate#the-tick):
//!
//! - its stages are the labels of [`MainScheduleOrder`], in the first tick those of startup before them; a
//!   label may be among both, as that of bevy's states is. Each is taken out of `Schedules` when the runner begins, so from then on systems cannot be added to it,
//!   nor can `World::run_schedule` run it, nor does a change to `MainScheduleOrder` matter. What those run,
//!   such as `FixedUpdate` and the schedules of states, stays in `Schedules`;
//! - every schedule is run by this thread, one system after the other;
//! - tasks run before the first stage, between any two, and after the last;
//! - messages turn over in `First` by bevy's own system: what was written after it, in a stage, or by a task
//!   between two frames, is seen once by every reader that runs in each frame;
//! - trackers are cleared once, at the end: a removal in `Last` is seen by `RemovedComponents` in the next
//!   frame, and in no other.
//!
//! # When a frame starts
//!
//! On the beat of a grid, 60 times a second unless [`OnbeatPlugin::pacing`] says otherwise. Tasks do not wait
//! for it: a turn between two frames handles whatever comes. With [`Pacing::OnEvent`] there are no frames
//! while nothing happens.
//!
//! # Time
//!
//! Where bevy's `TimePlugin` is, and its [`TimeUpdateStrategy`] is `Automatic` when the `App` starts, each
//! frame gives it a `ManualInstant`: the nominal time of the tick, which is the beat and not the moment at
//! which the thread came to run. So `Time::delta` is the period, without jitter, and under
//! [`ClockMode::Virtual`](crate::ClockMode::Virtual) a whole game runs as fast as it can and the same each
//! time. [`TickTime`] is there too.
//!
//! # Tasks
//!
//! [`OnbeatPlugin::new`] and [`OnbeatPlugin::task`] take what is spawned once startup is over. Systems spawn
//! more with [`spawn_boxed`] and its like, those of `Startup` among them. A task ends the
//! `App` as anybody does, with a message:
//!
//! ```
//! use bevy_app::prelude::*;
//! use onbeat::{WorldCtx, bevy::OnbeatPlugin, spawn_boxed};
//!
//! fn listen() {
//!     drop(spawn_boxed(async {
//!         let ctx = WorldCtx::current();
//!         ctx.next(Last).await;
//!         ctx.write_message(AppExit::Success).expect("an `App` has this message");
//!     }));
//! }
//!
//! let mut app = App::new();
//! assert!(app.add_plugins(OnbeatPlugin::default()).add_systems(Startup, listen).run().is_success());
//! ```
//!
//! When the `App` ends, tasks are dropped while the World can still be used, and then the `App` is.
//!
//! # Not covered
//!
//! Sub-apps, and with them rendering: the runner refuses an `App` that has any. Systems in the schedule
//! `Main` itself, and a main `SubApp` with another `update_schedule`. `WorldCtx::at(Startup)` and its like are
//! met in the first tick or never.
#![forbid(unsafe_code)]

use std::{convert::Infallible, fmt, future::pending, pin::Pin, sync::Arc, thread};

use bevy_app::{App, AppExit, First, MainScheduleOrder, Plugin, PluginsState};
use bevy_ecs::{
    change_detection::{Res, ResMut},
    message::{MessageCursor, Messages},
    schedule::{InternedScheduleLabel, IntoScheduleConfigs, Schedules, SingleThreadedExecutor},
    world::World,
};
use bevy_tasks::{AsyncComputeTaskPool, ComputeTaskPool, IoTaskPool};
use bevy_time::{TimeSystems, TimeUpdateStrategy};

use crate::{
    runtime::{Pacing, Runtime, RuntimeBuilder, TickTime},
    task::spawn_boxed,
    world::WorldCtx,
};

const HERTZ: f64 = 60.0;

type MakeTask = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;
type Options = Arc<dyn for<'w> Fn(RuntimeBuilder<'w>) -> RuntimeBuilder<'w> + Send + Sync>;

/// Makes a headless `App` run on onbeat's loop. [The module](self) tells what that means.
///
/// It sets the `App`'s runner: of several plugins that do, `ScheduleRunnerPlugin` among them, the one that
/// is added last runs the `App`.
///
/// ```
/// use bevy_app::prelude::*;
/// use bevy_ecs::prelude::*;
/// use onbeat::{ClockMode, Pacing, TickTime, bevy::OnbeatPlugin};
///
/// let on_beat = OnbeatPlugin::default()
///     .pacing(Pacing::hertz(30))
///     .options(|runtime| runtime.clock(ClockMode::Virtual).slab_bounded::<512>(64));
/// App::new()
///     .add_plugins(on_beat)
///     .add_systems(Update, |time: Res<TickTime>, mut exit: MessageWriter<AppExit>| {
///         if time.number() == 90 {
///             exit.write(AppExit::Success);
///         }
///     })
///     .run();
/// ```
///
/// # Panics
///
/// `App::run` panics when the `App` has sub-apps, where [`RuntimeBuilder::build`] does, and with the panic of
/// a system.
pub struct OnbeatPlugin {
    tasks: Vec<MakeTask>,
    options: Options,
}

impl OnbeatPlugin {
    /// A plugin that spawns what `make` makes, in the first frame, when startup is over.
    ///
    /// The `App` goes on when the task has ended.
    #[must_use]
    pub fn new<F>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::default().task(make)
    }

    /// Spawns what `make` makes too, in order of call.
    ///
    /// ```
    /// use bevy_app::prelude::*;
    /// use onbeat::{WorldCtx, bevy::OnbeatPlugin};
    ///
    /// let on_beat = OnbeatPlugin::default().task(|| async {}).task(|| async {
    ///     WorldCtx::current().write_message(AppExit::Success).expect("an `App` has this message");
    /// });
    /// assert!(App::new().add_plugins(on_beat).run().is_success());
    /// ```
    #[must_use]
    pub fn task<F>(mut self, make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        self.tasks.push(Arc::new(move || Box::pin(make())));
        self
    }

    /// When a frame starts; 60 times a second by default.
    #[must_use]
    pub fn pacing(self, pacing: impl Into<Pacing>) -> Self {
        let pacing = pacing.into();
        self.options(move |builder| builder.pacing(pacing))
    }

    /// Sets options of the runtime: its clock, its slab, how it waits. Those of a later call win. Stages and
    /// fixed steps are the `App`'s, and what is said of them here does not count.
    #[must_use]
    pub fn options(
        mut self,
        options: impl for<'w> Fn(RuntimeBuilder<'w>) -> RuntimeBuilder<'w> + Send + Sync + 'static,
    ) -> Self {
        let before = self.options;
        self.options = Arc::new(move |builder| options(before(builder)));
        self
    }
}

impl Default for OnbeatPlugin {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            options: Arc::new(|builder| builder.pacing(Pacing::hertz(HERTZ))),
        }
    }
}

impl Plugin for OnbeatPlugin {
    fn build(&self, app: &mut App) {
        let (tasks, options) = (self.tasks.clone(), self.options.clone());
        app.set_runner(move |app| run(app, tasks, &options));
    }
}

impl fmt::Debug for OnbeatPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnbeatPlugin").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// The runner.
fn run(mut app: App, tasks: Vec<MakeTask>, options: &Options) -> AppExit {
    assert!(
        app.sub_apps().sub_apps.is_empty(),
        "onbeat's loop runs no sub-apps: leave out the plugins that add them, such as rendering"
    );
    if app.plugins_state() != PluginsState::Cleaned {
        while app.plugins_state() == PluginsState::Adding {
            help_pools();
        }
        app.finish();
        app.cleanup();
    }
    feed_time(&mut app);
    let world = app.world_mut();
    run_on_this_thread(world);
    let (startup, labels) = labels(world);
    let first = labels.first().copied();
    let mut runtime = options(Runtime::builder(world)).stages_of_app(startup, labels).build();
    runtime.run_until(spawn_all(tasks, first), exit_of)
}

/// Bevy's pools have tasks for this thread, for which a plugin may wait.
fn help_pools() {
    let all_exist = ComputeTaskPool::try_get().is_some()
        && AsyncComputeTaskPool::try_get().is_some()
        && IoTaskPool::try_get().is_some();
    if all_exist {
        bevy_tasks::tick_global_task_pools_on_main_thread();
    }
    thread::yield_now();
}

/// Lets bevy's clock show the nominal time of the tick, unless the program sets it.
fn feed_time(app: &mut App) {
    fn feed(tick: Res<TickTime>, mut strategy: ResMut<TimeUpdateStrategy>) {
        if let TimeUpdateStrategy::Automatic | TimeUpdateStrategy::ManualInstant(_) = *strategy {
            *strategy = TimeUpdateStrategy::ManualInstant(tick.nominal());
        }
    }
    let strategy = app.world().get_resource::<TimeUpdateStrategy>();
    if matches!(strategy, Some(TimeUpdateStrategy::Automatic)) {
        app.add_systems(First, feed.before(TimeSystems));
    }
}

/// Gives every schedule the executor of one thread; also those that a stage runs.
fn run_on_this_thread(world: &mut World) {
    if let Some(mut schedules) = world.get_resource_mut::<Schedules>() {
        for (_, schedule) in schedules.iter_mut() {
            schedule.set_executor(SingleThreadedExecutor::new());
        }
    }
}

/// The stages of the first frame, and of every frame.
fn labels(world: &World) -> (Vec<InternedScheduleLabel>, Vec<InternedScheduleLabel>) {
    match world.get_resource::<MainScheduleOrder>() {
        Some(order) => (order.startup_labels.clone(), order.labels.clone()),
        None => Default::default(),
    }
}

/// Spawns the tasks when startup is over: just before the stage `first`.
async fn spawn_all(tasks: Vec<MakeTask>, first: Option<InternedScheduleLabel>) -> Infallible {
    if let Some(first) = first {
        WorldCtx::current().at(first).await;
    }
    for make in tasks {
        drop(spawn_boxed(make()));
    }
    pending().await
}

/// As whom the `App` exits: as the first error, if there is one.
fn exit_of(world: &World) -> Option<AppExit> {
    let messages = world.get_resource::<Messages<AppExit>>()?;
    let mut cursor = MessageCursor::default();
    let mut exits = cursor.read(messages);
    let first = exits.next()?.clone();
    Some(if first.is_error() {
        first
    } else {
        exits.find(|exit| exit.is_error()).cloned().unwrap_or(first)
    })
}
