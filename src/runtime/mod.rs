//! The runtime: what a program makes, and what drives everything else.
//!
//! In reading order:
//!
//! - [`tick`]: the loop contract, in its order;
//! - [`pacing`]: when the next tick starts; [`idle`]: what the thread does until then, step 1 of the
//!   contract, and by what [`margin`] it wakes before its time; [`virtually`]: how time moves there under the virtual clock;
//! - [`stage`]: the schedules that a tick runs, step 5, some of them in [`fixed_step`]s; and the end of a
//!   tick, step 6;
//! - [`remote`]: what other threads asked for, the end of step 2;
//! - [`builder`]: the options;
//! - [`request`]: how a system asks for another tick; [`tick_time`]: the times that it reads;
//! - [`poller`]: closures that the loop calls in every turn;
//! - [`sample`]: how the phases of a tick are measured;
//! - [`quiesce`]: running until nothing is left to run;
//! - [`error`]: why a tick was not finished.
//!
//! This file is the facade: it keeps the World, enters the runtime, and drives the loop.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod fixed_step;
mod idle;
mod introspection;
mod margin;
mod pacing;
mod poller;
mod quiesce;
mod remote;
mod request;
mod sample;
mod stage;
mod tick;
mod tick_time;
mod virtually;

use std::{
    fmt, io,
    panic::{Location, resume_unwind},
};

use bevy_ecs::{
    schedule::{Schedule, ScheduleLabel},
    world::World,
};

pub use builder::RuntimeBuilder;
pub use error::TickError;
pub use idle::Idle;
pub use pacing::{CatchUp, FixedRate, Pacing};
pub use poller::Polled;
pub use quiesce::{QuiesceTimeout, ShutdownStats};
pub use request::TickRequest;
pub use stage::Tick;
pub use tick_time::TickTime;

use error::Failure;
use pacing::Pacer;
use tick::FrameLoop;

use crate::{
    context::{Core, Enter, OwnedCore},
    handle::Handle,
    machine::Granted,
    shutdown::ShutdownHandle,
    world::lend::Lent,
};

/// The World of a runtime, borrowed or its own.
enum Held<'w> {
    Borrowed(&'w mut World),
    Owned(Box<World>),
}

impl Held<'_> {
    fn get(&self) -> &World {
        match self {
            Self::Borrowed(world) => world,
            Self::Owned(world) => world,
        }
    }

    fn get_mut(&mut self) -> &mut World {
        match self {
            Self::Borrowed(world) => world,
            Self::Owned(world) => world,
        }
    }
}

/// A single-threaded async runtime over one `World`.
///
/// It stays on the thread that made it. Dropping it drops every task, while the World may still be used
/// by their destructors, and waits for nothing; handles, wakers and sockets may outlive it, and whoever
/// waits for a task or a [`ShutdownSignal`](crate::ShutdownSignal) elsewhere is told.
/// [`shutdown_quiesce`](Self::shutdown_quiesce) lets the tasks end by themselves first.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, Tick, WorldCtx, sleep};
/// use std::time::Duration;
///
/// #[derive(Resource, Default)]
/// struct Seen(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Seen>();
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|mut seen: ResMut<Seen>| seen.0 += 1);
/// rt.block_on(async {
///     let ctx = WorldCtx::current();
///     sleep(Duration::from_micros(100)).await;
///     ctx.with_world(|world| assert!(world.resource::<Seen>().0 >= 1));
/// });
/// ```
///
/// The World cannot be moved or dropped before the runtime (`world_outlives_runtime`):
///
/// ```compile_fail,E0505
/// let mut world = bevy_ecs::world::World::new();
/// let mut rt = onbeat::Runtime::new(&mut world);
/// drop(world);
/// rt.block_on(async {});
/// ```
pub struct Runtime<'w> {
    frame: FrameLoop,
    core: OwnedCore,
    /// What the builder was told, which wins over what `block_on` and `block_on_busy` stand for.
    pacing: Option<Pacing>,
    idle: Option<Idle>,
    machine: Granted,
    /// `None` only after `into_world`.
    world: Option<Held<'w>>,
    /// Where the World was last given out to be written, in case it comes back as another.
    given_out: &'static Location<'static>,
}

impl<'w> Runtime<'w> {
    /// A runtime on `world` with the default options.
    ///
    /// # Panics
    ///
    /// When the operating system refuses an event queue, or 65,536 runtimes are live or leaked.
    /// [`RuntimeBuilder::try_build`] gives these as errors. Also when `world` was cleared whole with
    /// `World::clear_all`: bevy then refuses the runtime's resources.
    #[must_use]
    pub fn new(world: &'w mut World) -> Self {
        Self::builder(world).build()
    }

    /// The options of a runtime on `world`.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Idle, Runtime};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).idle(Idle::ParkThenSpin).build();
    /// assert_eq!(rt.block_on(async { 7 }), 7);
    /// ```
    pub fn builder(world: &'w mut World) -> RuntimeBuilder<'w> {
        RuntimeBuilder::new(Held::Borrowed(world))
    }

    fn held(&self) -> &Held<'w> {
        self.world.as_ref().expect("only `into_world`, which consumes the runtime, takes the World")
    }

    /// The World, between turns.
    #[must_use]
    pub fn world(&self) -> &World {
        self.held().get()
    }

    /// The World, between turns. Change its content, do not replace it: a tick on another World is an
    /// error. What is left in its command queue is applied in the next turn, before any task is polled.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::Runtime;
    ///
    /// #[derive(Resource, Debug, PartialEq)]
    /// struct Limit(u32);
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.world_mut().insert_resource(Limit(3));
    /// assert_eq!(rt.world().get_resource(), Some(&Limit(3)));
    /// ```
    #[track_caller]
    pub fn world_mut(&mut self) -> &mut World {
        self.given_out = Location::caller();
        self.core.get().executor.ask_flush();
        self.world
            .as_mut()
            .expect("only `into_world`, which consumes the runtime, takes the World")
            .get_mut()
    }

    /// The schedule of the stage `label`, to add systems to.
    ///
    /// # Panics
    ///
    /// When `label` is not a stage of this runtime.
    #[track_caller]
    pub fn schedule(&mut self, label: impl ScheduleLabel) -> &mut Schedule {
        self.frame.stages.schedule(label.intern())
    }

    /// Runs until `future` completes, and sleeps while there is nothing to do.
    ///
    /// A tick runs when something happened: an event, a wake, a timer, or a request for one; and the
    /// thread parks in between. [`RuntimeBuilder::pacing`] and [`RuntimeBuilder::idle`] say otherwise.
    /// The tick in which `future` completes is finished first. `future` may borrow. Tasks that are left go
    /// on in the next call.
    ///
    /// # Panics
    ///
    /// With the panic of `future`, of a system, or of a task as [`OnTaskPanic`](crate::OnTaskPanic) says;
    /// the runtime can be used again afterwards. Also when the World was replaced in a `with_world`
    /// closure, and, under the virtual clock, when nothing can ever happen again: see [`TickError`].
    #[track_caller]
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.block(future, Pacing::OnEvent, Idle::Park, Location::caller())
    }

    /// Runs until `future` completes, and never sleeps: one tick follows the other, unless
    /// [`RuntimeBuilder::pacing`] says otherwise.
    ///
    /// # Panics
    ///
    /// As [`block_on`](Self::block_on).
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on_busy(async { sleep(Duration::from_micros(100)).await });
    /// assert!(rt.stats().ticks > 10, "one tick follows the other");
    /// assert_eq!(rt.stats().parks, 0);
    /// ```
    #[track_caller]
    pub fn block_on_busy<F: Future>(&mut self, future: F) -> F::Output {
        self.block(future, Pacing::FreeRunning, Idle::Spin, Location::caller())
    }

    fn block<F: Future>(
        &mut self,
        future: F,
        pacing: Pacing,
        idle: Idle,
        spawned_at: &'static Location<'static>,
    ) -> F::Output {
        self.drive(future, pacing, idle, spawned_at, |_, _| false)
            .expect("the root future completed, and its output is taken once")
    }

    /// As [`block_on`](Self::block_on), until `result` has one at the end of a tick.
    #[cfg(feature = "bevy_app")]
    #[track_caller]
    pub(crate) fn run_until<T>(
        &mut self,
        root: impl Future<Output = std::convert::Infallible>,
        mut result: impl FnMut(&World) -> Option<T>,
    ) -> T {
        let (mut seen, mut found) = (self.core.get().tick.get(), None);
        let never =
            self.drive(root, Pacing::OnEvent, Idle::Park, Location::caller(), |core, lent| {
                // A turn between ticks ends nothing.
                if std::mem::replace(&mut seen, core.tick.get()) != core.tick.get() {
                    found = lent.with(|world| result(world)).ok().flatten();
                }
                found.is_some()
            });
        match never {
            Some(never) => match never {},
            None => found.expect("the loop goes on until there is a result"),
        }
    }

    /// Runs until the root future completes, or `ends` says so after a tick or a turn. `None`: it did not
    /// complete.
    fn drive<F: Future>(
        &mut self,
        future: F,
        pacing: Pacing,
        idle: Idle,
        spawned_at: &'static Location<'static>,
        mut ends: impl FnMut(&Core, &Lent<'_>) -> bool,
    ) -> Option<F::Output> {
        let pacing = self.pacing.unwrap_or(pacing);
        let idle = self.idle.unwrap_or(idle);
        let Self { frame, core, world, given_out, .. } = self;
        let core = core.get();
        let world = world.as_mut().expect("a runtime that runs has its World").get_mut();
        if let Err(error) = frame.check_world(world, given_out) {
            panic!("{error}");
        }
        let entered = Enter::new(core);
        let lent = Lent::new(world);
        frame.drive_by(core, Pacer::new(pacing));
        frame.idle_by(idle, core, &lent);
        frame.forget_turns(core);
        let precision = core.reactor.keep_precision();
        let driven = core.executor.with_root(future, spawned_at, || {
            loop {
                frame.tick(core, &lent)?;
                if core.executor.root_ended() || ends(core, &lent) {
                    return Ok(());
                }
            }
        });
        let driven = driven.map(|(ended, mut output)| {
            if ended.is_err() {
                // Not while the failure unwinds: its destructor may panic too.
                core.executor.guarded(|| drop(output.take()));
            }
            (ended, output)
        });
        drop(precision);
        drop(lent);
        drop(entered);
        let Ok((ended, output)) = driven else {
            panic!("a runtime holds at most 16,777,215 tasks, and has them all");
        };
        match ended.map_err(|failure: Box<Failure>| failure.noting(given_out)) {
            Ok(()) => output,
            Err(Failure::Panic(payload)) => resume_unwind(payload),
            Err(Failure::Error(error)) => panic!("{error}"),
        }
    }

    /// Runs one tick and never waits, whatever the pacing: for tests, and for programs with a loop of
    /// their own. Under the virtual clock a tick that finds nothing to do is that of the next timer or fixed
    /// step.
    ///
    /// # Errors
    ///
    /// [`TickError`] when the tick could not be finished.
    ///
    /// # Panics
    ///
    /// With the panic of a system, or of a task as [`OnTaskPanic`](crate::OnTaskPanic) says.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async { drop(spawn(async { onbeat::yield_now().await })) });
    /// assert_eq!(rt.task_count(), 1);
    /// rt.tick().unwrap();
    /// assert_eq!(rt.task_count(), 0);
    /// ```
    pub fn tick(&mut self) -> Result<(), TickError> {
        let Self { frame, core, world, given_out, .. } = self;
        let core = core.get();
        let world = world.as_mut().expect("a runtime that runs has its World").get_mut();
        frame.check_world(world, given_out)?;
        let entered = Enter::new(core);
        let lent = Lent::new(world);
        frame.drive_by_hand(core);
        let ticked = frame.tick(core, &lent);
        drop(lent);
        drop(entered);
        match ticked.map_err(|failure| failure.noting(given_out)) {
            Ok(()) => Ok(()),
            Err(Failure::Panic(payload)) => resume_unwind(payload),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// A handle that asks this runtime to stop, from any thread.
    ///
    /// [`ShutdownHandle`] has an example.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.core.get().shutdown.handle().clone()
    }

    /// A handle for other threads: to start tasks, to run closures with the World, to wake the loop.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// let handle = rt.handle();
    /// let sum = std::thread::spawn(move || handle.spawn_with(|| async { 3 + 4 }).unwrap());
    /// let sum = sum.join().unwrap();
    /// assert_eq!(rt.block_on(sum).unwrap(), 7);
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        let core = self.core.get();
        Handle::new(core.shutdown.handle().clone(), core.remote.clone())
    }

    /// Lets SIGINT and SIGTERM complete every [`ShutdownSignal`](crate::ShutdownSignal), in place of
    /// ending the process. Calling it again changes nothing.
    ///
    /// When the last runtime that listens has gone, the two signals end the process again, also if the
    /// program has handlers of its own: one that has them calls [`ShutdownHandle::shutdown`] from there
    /// and does without this.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a socket pair or a handler.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::new(&mut world);
    /// rt.install_signal_handlers()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn install_signal_handlers(&self) -> io::Result<()> {
        self.core.get().install_signal_handlers()
    }

    /// Drops every task, where the World may be used, then takes the runtime off its thread.
    fn close(&mut self) {
        self.core.unlist();
        let core = self.core.get();
        let entered = Enter::new(core);
        let left = core.remote.close();
        if let Some(world) = &mut self.world {
            let lent = Lent::new(world.get_mut());
            core.executor.close();
            for job in left {
                core.executor.guarded(|| drop(job));
            }
            for poller in self.frame.pollers.take() {
                core.executor.guarded(|| drop(poller));
            }
            core.executor.end_left();
            drop(lent);
            // Bevy refuses to insert into a World that was cleared whole.
            core.executor.guarded(|| self.frame.leave(world.get_mut()));
            for schedule in self.frame.stages.take() {
                core.executor.guarded(|| drop(schedule));
            }
        }
        for waker in self.frame.awaited.drain(..) {
            core.executor.guarded(|| drop(waker));
        }
        core.drop_wakers();
        drop(entered);
    }
}

impl Runtime<'static> {
    /// A runtime that owns its World, with the default options.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    ///
    /// [`into_world`](Self::into_world) has an example.
    #[must_use]
    pub fn owning(world: World) -> Self {
        RuntimeBuilder::new(Held::Owned(Box::new(world))).build()
    }

    /// Drops the tasks and gives the World back.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource)]
    /// struct Answer(u32);
    ///
    /// let mut rt = Runtime::owning(World::new());
    /// rt.block_on(async {
    ///     WorldCtx::current().with_world(|world| world.insert_resource(Answer(42)));
    /// });
    /// let world = rt.into_world();
    /// assert_eq!(world.resource::<Answer>().0, 42);
    /// ```
    ///
    /// # Panics
    ///
    /// Never for a runtime made by [`owning`](Self::owning); for one that borrows a World for ever, it
    /// has none to give.
    #[must_use]
    pub fn into_world(mut self) -> World {
        self.close();
        match self.world.take() {
            Some(Held::Owned(world)) => *world,
            Some(Held::Borrowed(_)) | None => {
                panic!("into_world() gives back a World that was given to Runtime::owning()")
            }
        }
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        if self.world.is_some() {
            self.close();
        }
    }
}

impl fmt::Debug for Runtime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("tasks", &self.task_count())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
