//! Systems and schedules, run by a task.
#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use bevy_ecs::{
    schedule::{InternedScheduleLabel, ScheduleLabel, Schedules, SingleThreadedExecutor},
    system::{RegisteredSystemError, SystemId, SystemInput},
    world::{World, WorldId},
};

use super::{
    ctx::{WorldCtx, WorldError},
    lend,
};

/// Which labels are stages, in which World.
type StageList = Vec<(WorldId, InternedScheduleLabel)>;

thread_local! {
    static STAGES: RefCell<StageList> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with the list of stages. `None`: the thread ends and has dropped it; a runtime that the thread
/// keeps may still be there.
fn with_stages<R>(f: impl FnOnce(&mut StageList) -> R) -> Option<R> {
    STAGES.try_with(|stages| f(&mut stages.borrow_mut())).ok()
}

/// The labels that a runtime runs as its stages: while this lives, nobody else runs them.
#[derive(Debug)]
pub(crate) struct StageLabels {
    world: WorldId,
    labels: Vec<InternedScheduleLabel>,
    _not_send: PhantomData<*const ()>,
}

impl StageLabels {
    pub(crate) fn new(world: WorldId, labels: &[InternedScheduleLabel]) -> Self {
        with_stages(|stages| stages.extend(labels.iter().map(|label| (world, *label))));
        Self { world, labels: labels.to_vec(), _not_send: PhantomData }
    }
}

impl Drop for StageLabels {
    fn drop(&mut self) {
        with_stages(|stages| {
            for label in &self.labels {
                if let Some(at) = stages.iter().rposition(|stage| *stage == (self.world, *label)) {
                    stages.swap_remove(at);
                }
            }
        });
    }
}

impl WorldCtx {
    /// Runs a system that was registered with `World::register_system`, at once. Its commands are applied
    /// before this returns.
    ///
    /// # Errors
    ///
    /// [`SystemError`].
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Exposure(u64);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Exposure>();
    /// let add = world.register_system(|In(lots): In<u64>, mut exposure: ResMut<Exposure>| {
    ///     exposure.0 += lots;
    ///     exposure.0
    /// });
    /// Runtime::new(&mut world).block_on(async {
    ///     assert_eq!(WorldCtx::current().run_system(add, 5).unwrap(), 5);
    /// });
    /// ```
    #[track_caller]
    pub fn run_system<I, O>(
        &self,
        id: SystemId<I, O>,
        input: I::Inner<'_>,
    ) -> Result<O, SystemError<I, O>>
    where
        I: SystemInput + 'static,
        O: 'static,
    {
        lend::with_flushed(self.id(), |world| world.run_system_with(id, input))
            .map_err(SystemError::World)?
            .map_err(SystemError::System)
    }

    /// Runs a schedule of the World's `Schedules`, at once.
    ///
    /// A panic of one of its systems goes on; the schedule is put back all the same, and can be run again.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`]. A stage of a runtime is run by that runtime, in its place of each tick, and by
    /// nobody else.
    ///
    /// ```
    /// use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
    /// use onbeat::{Runtime, ScheduleError, Tick, WorldCtx};
    ///
    /// #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    /// struct EndOfDay;
    /// #[derive(Resource, Default)]
    /// struct Days(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Days>();
    /// let mut schedule = Schedule::new(EndOfDay);
    /// schedule.add_systems(|mut days: ResMut<Days>| days.0 += 1);
    /// world.add_schedule(schedule);
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     ctx.run_schedule(EndOfDay)?;
    ///     assert!(matches!(ctx.run_schedule(Tick), Err(ScheduleError::Stage(_))));
    ///     Ok::<_, ScheduleError>(())
    /// })?;
    /// assert_eq!(world.resource::<Days>().0, 1);
    /// # Ok::<_, ScheduleError>(())
    /// ```
    #[track_caller]
    pub fn run_schedule(&self, label: impl ScheduleLabel) -> Result<(), ScheduleError> {
        let label = label.intern();
        lend::with_flushed(self.id(), |world| run_schedule(world, label))
            .map_err(ScheduleError::World)?
    }
}

fn run_schedule(world: &mut World, label: InternedScheduleLabel) -> Result<(), ScheduleError> {
    let id = world.id();
    let Some(mut schedule) = world
        .get_resource_mut::<Schedules>()
        .and_then(|mut schedules| schedules.remove_temporarily(label))
    else {
        return Err(why_not_there(world, label));
    };
    let ran = catch_unwind(AssertUnwindSafe(|| schedule.run(world)));
    if ran.is_err() {
        // Bevy's executor would skip the systems that had completed.
        schedule.set_executor(SingleThreadedExecutor::new());
    }
    if world.id() == id
        && let Some(mut schedules) = world.get_resource_mut::<Schedules>()
    {
        schedules.reinsert(schedule);
    }
    match ran {
        Ok(()) => Ok(()),
        Err(payload) => resume_unwind(payload),
    }
}

#[cold]
fn why_not_there(world: &World, label: InternedScheduleLabel) -> ScheduleError {
    let is_stage = with_stages(|stages| stages.contains(&(world.id(), label)));
    let is_out = |schedules: &Schedules| schedules.get_temporarily_removed().contains(&label);
    if is_stage == Some(true) {
        ScheduleError::Stage(label)
    } else if world.get_resource::<Schedules>().is_some_and(is_out) {
        ScheduleError::Running(label)
    } else {
        ScheduleError::Missing(label)
    }
}

/// Why a schedule was not run. See [`WorldCtx::run_schedule`].
///
/// ```
/// use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
/// use onbeat::{Runtime, ScheduleError, WorldCtx};
///
/// #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
/// struct Close;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let error = WorldCtx::current().run_schedule(Close).unwrap_err();
///     assert!(matches!(error, ScheduleError::Missing(_)));
///     assert!(error.to_string().contains("Close"));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The World cannot be used here and now.
    World(WorldError),
    /// The World's `Schedules` has no schedule of this label.
    Missing(InternedScheduleLabel),
    /// The schedule is running, further up this stack.
    Running(InternedScheduleLabel),
    /// The schedule is a stage of a runtime, which runs it in its place of each tick.
    Stage(InternedScheduleLabel),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::Missing(label) => {
                write!(f, "the World has no schedule {label:?}: add it with `World::add_schedule`")
            }
            Self::Running(label) => write!(
                f,
                "the schedule {label:?} is running: it can be run again when it has ended"
            ),
            Self::Stage(label) => write!(
                f,
                "the schedule {label:?} is a stage of a runtime, which runs it in its place of each \
                 tick: put what is to be run by hand into a schedule of its own"
            ),
        }
    }
}

impl std::error::Error for ScheduleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::World(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a registered system gave no output. See [`WorldCtx::run_system`].
///
/// ```
/// use bevy_ecs::{error::BevyError, prelude::*, system::{RegisteredSystemError, SystemId}};
/// use onbeat::{Runtime, SystemError, WorldCtx};
///
/// let mut world = World::new();
/// let id: SystemId = world.register_system(|| -> Result<(), BevyError> { Err("no quote")? });
/// let gone = world.register_system(|| ());
/// world.unregister_system(gone).unwrap();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let failed = ctx.run_system(id, ());
///     assert!(matches!(failed, Err(SystemError::System(RegisteredSystemError::Failed(_)))));
///     assert!(ctx.run_system(gone, ()).is_err());
/// });
/// ```
#[non_exhaustive]
pub enum SystemError<I: SystemInput + 'static, O: 'static> {
    /// The World cannot be used here and now.
    World(WorldError),
    /// Bevy did not run it, or it returned an error.
    System(RegisteredSystemError<I, O>),
}

impl<I: SystemInput + 'static, O: 'static> fmt::Debug for SystemError<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => f.debug_tuple("World").field(error).finish(),
            Self::System(error) => f.debug_tuple("System").field(error).finish(),
        }
    }
}

impl<I: SystemInput + 'static, O: 'static> fmt::Display for SystemError<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl<I: SystemInput + 'static, O: 'static> std::error::Error for SystemError<I, O> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::World(error) => Some(error),
            Self::System(error) => Some(error),
        }
    }
}
