//! [`WorldCtx`]: a task's way to the World.
#![forbid(unsafe_code)]

use std::{fmt, marker::PhantomData, panic::Location, rc::Rc};

use bevy_ecs::{
    schedule::ScheduleLabel,
    world::{World, WorldId},
};

use super::{
    lend,
    stages::{BeforeStage, Earliest, StageEntry},
    until::{Condition, Test, Until},
    wait::{NextTick, Ticks},
};
use crate::context;

/// Access to the World that the loop lends to its thread.
///
/// It is `Copy` and holds the World's id, no pointer. While a turn runs, [`with_world`](Self::with_world)
/// is a plain call; outside a turn, inside another access, and while another World is the current one
/// it is an error.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, WorldCtx};
///
/// #[derive(Resource, Default)]
/// struct Score(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Score>();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     let ctx = WorldCtx::current();
///     ctx.with_world(|world| world.resource_mut::<Score>().0 += 3);
///     ctx.next_tick().await;
///     ctx.with_world(|world| world.resource_mut::<Score>().0 += 4);
/// });
/// assert_eq!(rt.world().resource::<Score>().0, 7);
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn ctx_is_not_send(ctx: onbeat::WorldCtx) {
///     send(ctx);
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorldCtx {
    id: WorldId,
    _not_send: PhantomData<*const ()>,
}

impl WorldCtx {
    /// Access to the World of the turn that is going on.
    ///
    /// # Panics
    ///
    /// Outside a turn.
    #[track_caller]
    #[must_use]
    pub fn current() -> Self {
        match Self::try_current() {
            Ok(ctx) => ctx,
            Err(error) => panic!("WorldCtx::current(): {error}"),
        }
    }

    /// Access to the World of the turn that is going on.
    ///
    /// # Errors
    ///
    /// [`WorldError::OutsideTurn`].
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, WorldCtx, WorldError};
    ///
    /// assert_eq!(WorldCtx::try_current(), Err(WorldError::OutsideTurn));
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async { assert!(WorldCtx::try_current().is_ok()) });
    /// ```
    pub fn try_current() -> Result<Self, WorldError> {
        lend::current_id().map(Self::of).ok_or(WorldError::OutsideTurn)
    }

    /// Access to `world`, to be used by the tasks of a runtime on it.
    #[must_use]
    pub fn new(world: &mut World) -> Self {
        Self::of(world.id())
    }

    #[inline]
    pub(super) fn id(self) -> WorldId {
        self.id
    }

    fn of(id: WorldId) -> Self {
        Self { id, _not_send: PhantomData }
    }

    /// Calls `f` with the World, at once. What `f` leaves in the World's command queue is applied before
    /// the next poll, of whichever task, also when `f` panics; or by `World::flush`, or by any access that
    /// applies commands of its own.
    ///
    /// # Panics
    ///
    /// Where [`try_with_world`](Self::try_with_world) gives an error, with the words of that error.
    #[inline]
    #[track_caller]
    pub fn with_world<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        match lend::with_flushed_later(self.id, f) {
            Ok(result) => result,
            Err(error) => refused(error),
        }
    }

    /// Calls `f` with the World to read, at once. No other access is possible meanwhile, not even to
    /// read.
    ///
    /// # Panics
    ///
    /// As [`with_world`](Self::with_world).
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let id = world.id();
    /// Runtime::new(&mut world).block_on(async {
    ///     assert_eq!(WorldCtx::current().with_world_ref(|world| world.id()), id);
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn with_world_ref<R>(&self, f: impl FnOnce(&World) -> R) -> R {
        match lend::with_ref(self.id, f) {
            Ok(result) => result,
            Err(error) => refused(error),
        }
    }

    /// Calls `f` with the World, at once, if that is possible. Destructors use this form: they may run
    /// anywhere.
    ///
    /// # Errors
    ///
    /// [`WorldError`] says why it is not possible, and names the place that is in the way.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, WorldCtx, WorldError};
    ///
    /// let mut world = World::new();
    /// let ctx = WorldCtx::new(&mut world);
    /// assert_eq!(ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    /// Runtime::new(&mut world).block_on(async {
    ///     ctx.with_world(|_| {
    ///         assert!(matches!(ctx.try_with_world(|_| ()), Err(WorldError::Taken(_))));
    ///     });
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_with_world<R>(&self, f: impl FnOnce(&mut World) -> R) -> Result<R, WorldError> {
        lend::with_flushed_later(self.id, f)
    }

    /// Resumes in the first round of the next tick, ahead of other ready tasks, in order of call.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn next_tick(&self) -> NextTick {
        context::current("WorldCtx::next_tick()", NextTick::new)
    }

    /// Resumes in the first round of the tick `n` after this one, ahead of other ready tasks, in order
    /// of call. `ticks(1)` is [`next_tick`](Self::next_tick), and `ticks(0)` is ready at once.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async { WorldCtx::current().ticks(3).await });
    /// assert_eq!(rt.stats().ticks, 4, "the tick of the call, and three more");
    /// ```
    #[track_caller]
    pub fn ticks(&self, n: u64) -> Ticks {
        context::current("WorldCtx::ticks()", |core| Ticks::new(core, n))
    }

    /// Resumes just before `stage`, in order of call: in this tick if the loop has not begun to look who
    /// waits for `stage`, else in the next one. Called by a task that runs because it waited for `stage`,
    /// that is the next tick. Those who resume before `stage` do so whatever the budget.
    ///
    /// A stage of fixed steps ([`RuntimeBuilder::fixed_step`](crate::RuntimeBuilder::fixed_step)) is waited
    /// for until a tick in which it runs, and then resumes before the first of its steps in that tick. The
    /// loop may sleep until the step is due.
    ///
    /// # Panics
    ///
    /// Outside a runtime; when `stage` is not one of its stages.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Orders(u32);
    /// #[derive(Resource, Default)]
    /// struct Checked(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Orders>();
    /// world.init_resource::<Checked>();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|orders: Res<Orders>, mut checked: ResMut<Checked>| {
    ///     checked.0 = orders.0;
    /// });
    /// rt.block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     ctx.at(Tick).await;
    ///     ctx.with_world(|world| world.resource_mut::<Orders>().0 = 7);
    /// });
    /// assert_eq!(rt.world().resource::<Checked>().0, 7);
    /// assert_eq!(rt.stats().ticks, 1);
    /// ```
    #[track_caller]
    pub fn at(&self, stage: impl ScheduleLabel) -> BeforeStage {
        let label = stage.intern();
        context::current("WorldCtx::at()", |core| {
            let what = "WorldCtx::at()";
            BeforeStage::new(StageEntry::new(core, what, label, Earliest::NextLook, None))
        })
    }

    /// Resumes just before `stage` in the next tick, in order of call; before a stage of fixed steps in
    /// the first tick after this one in which it runs.
    ///
    /// # Panics
    ///
    /// As [`at`](Self::at).
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async { WorldCtx::current().next(Tick).await });
    /// assert_eq!(rt.stats().ticks, 2);
    /// ```
    #[track_caller]
    pub fn next(&self, stage: impl ScheduleLabel) -> BeforeStage {
        let label = stage.intern();
        context::current("WorldCtx::next()", |core| {
            let what = "WorldCtx::next()";
            BeforeStage::new(StageEntry::new(core, what, label, Earliest::NextTick, None))
        })
    }

    /// Calls `condition` with the World before `stage`, once a tick, until it gives a value; resumes
    /// with that value before the same `stage`. First asked as [`at`](Self::at) would resume. What
    /// `condition` leaves in the World's command queue is applied when it returns.
    ///
    /// It does not keep a sleeping loop awake: the condition is asked in every tick that happens.
    ///
    /// # Panics
    ///
    /// As [`at`](Self::at). A panic of `condition`, or of a command that it left, is a panic of the task
    /// that waits.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Count(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Count>();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut count: ResMut<Count>| count.0 += 1);
    /// let seen = rt.block_on_busy(async {
    ///     let enough = |world: &mut World| Some(world.resource::<Count>().0).filter(|&n| n >= 3);
    ///     WorldCtx::current().until(Tick, enough).await
    /// });
    /// assert_eq!(seen, 3);
    /// ```
    #[track_caller]
    pub fn until<F, T>(&self, stage: impl ScheduleLabel, condition: F) -> Until<F, T>
    where
        F: FnMut(&mut World) -> Option<T> + 'static,
        T: 'static,
    {
        let label = stage.intern();
        let test = Test::new(condition, Location::caller());
        context::current("WorldCtx::until()", |core| {
            let (what, asked) = ("WorldCtx::until()", Some(test.clone() as Rc<dyn Condition>));
            let entry = StageEntry::new(core, what, label, Earliest::NextLook, asked);
            Until::new(entry, test)
        })
    }
}

#[cold]
#[track_caller]
pub(super) fn refused(error: WorldError) -> ! {
    panic!("{error}")
}

/// Why the World cannot be used here and now.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, WorldCtx, WorldError};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let error = ctx.with_world(|_| ctx.try_with_world(|_| ())).unwrap_err();
///     assert!(matches!(error, WorldError::Taken(place) if place.file() == file!()));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorldError {
    /// No turn is going on on this thread.
    OutsideTurn,
    /// A closure that was called here, or the loop running a stage from here, has the World.
    Taken(&'static Location<'static>),
    /// Another World is the current one.
    OtherWorld,
    /// The World came back from the closure that was called here as another World.
    Replaced(&'static Location<'static>),
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideTurn => f.write_str(
                "the World is lent to tasks while a turn runs, and none runs on this thread: use it \
                 inside a task, or through `Runtime::world_mut` between turns",
            ),
            Self::Taken(place) => write!(
                f,
                "the World is already in use by the access at {place}: end that closure before the \
                 next access, and use `try_with_world` in destructors. Systems, observers and hooks \
                 have the World while they run: they take parameters, and start tasks with \
                 `commands.spawn_task(..)` or `commands.entity(e).spawn_task(..)`"
            ),
            Self::OtherWorld => f.write_str(
                "this WorldCtx belongs to another World than the one whose turn it is: make it with \
                 `WorldCtx::current()` inside the task that uses it",
            ),
            Self::Replaced(place) => write!(
                f,
                "the access at {place} put another World in the place of the runtime's: change the \
                 World's content, do not replace it"
            ),
        }
    }
}

impl std::error::Error for WorldError {}
