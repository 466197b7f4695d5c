//! [`TickTime`]: the times of a tick, for systems.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bevy_ecs::resource::Resource;

use super::fixed_step::Step;
use crate::{
    clock::instant_after,
    context::{self, Core},
    executor::agenda::Items,
    stats::Count,
};

/// The number and the times of the tick that is going on, or of the last one, as a resource.
///
/// The *nominal* time is the one for which the tick was due: under a fixed rate a beat of its grid, else
/// the time at which it started. Systems that integrate over time use [`delta`](Self::delta), which is
/// the distance between nominal times and carries no jitter. The *frozen* time is the one at which the
/// tick started, as [`event_time`](crate::event_time) gives it.
///
/// In a stage of fixed steps, `nominal` and `delta` are the step's.
///
/// Change detection says nothing about it, because the loop writes it without the World.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{ClockMode, Pacing, Runtime, Tick, TickTime, WorldCtx};
/// use std::time::Duration;
///
/// #[derive(Resource, Default)]
/// struct Height(f64);
///
/// let mut world = World::new();
/// world.init_resource::<Height>();
/// let mut rt = Runtime::builder(&mut world)
///     .clock(ClockMode::Virtual)
///     .pacing(Pacing::every(Duration::from_millis(100)))
///     .build();
/// rt.schedule(Tick).add_systems(|time: Res<TickTime>, mut height: ResMut<Height>| {
///     height.0 += 3.0 * time.delta().as_secs_f64();
/// });
/// rt.block_on(async {
///     for _ in 0..10 {
///         WorldCtx::current().next_tick().await;
///     }
/// });
/// assert!((rt.world().resource::<Height>().0 - 3.0).abs() < 1e-9);
/// ```
///
/// All that it says, of a tick that starts 3 ms late:
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{ClockMode, Pacing, Runtime, Tick, TickTime, VirtualClock, WorldCtx};
/// use std::time::Duration;
///
/// let millis = Duration::from_millis;
/// let mut world = World::new();
/// let builder = Runtime::builder(&mut world).clock(ClockMode::Virtual);
/// let mut rt = builder.pacing(Pacing::every(millis(10))).build();
/// rt.schedule(Tick).add_systems(move |time: Res<TickTime>| match time.number() {
///     1 => assert_eq!((time.delta(), time.lateness()), (Duration::ZERO, Duration::ZERO)),
///     2 => {
///         assert_eq!((time.delta(), time.lateness()), (millis(10), millis(3)));
///         assert_eq!(time.frozen() - time.nominal(), millis(3));
///     }
///     _ => unreachable!(),
/// });
/// rt.block_on(async {
///     VirtualClock::current().unwrap().skip(millis(13));
///     WorldCtx::current().next_tick().await;
/// });
/// ```
#[derive(Resource, Debug)]
pub struct TickTime {
    times: Arc<Times>,
    runtime: u64,
    origin: Instant,
}

impl TickTime {
    pub(super) fn new(times: Arc<Times>, core: &Core) -> Self {
        Self { times, runtime: core.serial(), origin: core.clock.instant(0) }
    }

    /// The number of the tick: the first of a runtime is 1. 0: none has started.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.read().number.get()
    }

    /// When the tick was due.
    #[must_use]
    pub fn nominal(&self) -> Instant {
        instant_after(self.origin, self.read().nominal_ns.get())
    }

    /// When the tick started: never before it was due.
    #[must_use]
    pub fn frozen(&self) -> Instant {
        instant_after(self.origin, self.read().frozen_ns.get())
    }

    /// The time between the nominal times of the tick before and of this one; zero in the first tick.
    ///
    /// Where ticks do not depend on the time, none is recorded until somebody asks: the first answer is
    /// zero.
    #[must_use]
    pub fn delta(&self) -> Duration {
        let times = self.read();
        Duration::from_nanos(times.nominal_ns.get().saturating_sub(times.before_ns.get()))
    }

    /// How much later than due the tick started.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        let times = self.read();
        Duration::from_nanos(times.frozen_ns.get().saturating_sub(times.nominal_ns.get()))
    }

    /// The times, those of a tick that was not recorded as it began among them.
    fn read(&self) -> &Times {
        context::find(self.runtime, |core| {
            core.executor.agenda().add(Items::TIMES);
            if core.tick.get() != self.times.number.get() {
                let now_ns = core.clock.now_ns();
                self.times.begin(core.tick.get(), now_ns, now_ns);
            }
        });
        &self.times
    }
}

/// The times themselves. Written by the loop's thread alone.
#[derive(Debug)]
pub(super) struct Times {
    number: Count,
    frozen_ns: Count,
    nominal_ns: Count,
    /// The nominal time before; beyond all times in the first tick.
    before_ns: Count,
}

impl Default for Times {
    fn default() -> Self {
        let times = Self {
            number: Count::default(),
            frozen_ns: Count::default(),
            nominal_ns: Count::default(),
            before_ns: Count::default(),
        };
        times.before_ns.set(u64::MAX);
        times
    }
}

/// The times of a tick, while they are those of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickTimes {
    nominal_ns: u64,
    before_ns: u64,
}

impl Times {
    /// Tick `number` begins.
    #[inline]
    pub(super) fn begin(&self, number: u64, nominal_ns: u64, frozen_ns: u64) {
        if self.number.get() > 0 {
            self.before_ns.set(self.nominal_ns.get());
        }
        self.number.set(number);
        self.frozen_ns.set(frozen_ns);
        self.nominal_ns.set(nominal_ns);
    }

    /// The nominal time of the tick that is going on.
    pub(super) fn nominal_ns(&self) -> u64 {
        self.nominal_ns.get()
    }

    /// The steps of a stage begin. Returns what [`end_steps`](Self::end_steps) puts back.
    pub(super) fn begin_steps(&self) -> TickTimes {
        TickTimes { nominal_ns: self.nominal_ns.get(), before_ns: self.before_ns.get() }
    }

    /// A step of a stage begins.
    pub(super) fn begin_step(&self, step: Step) {
        self.nominal_ns.set(step.nominal_ns);
        self.before_ns.set(step.nominal_ns.saturating_sub(step.period_ns));
    }

    /// The steps of a stage are over: the times are the tick's.
    pub(super) fn end_steps(&self, tick: TickTimes) {
        self.nominal_ns.set(tick.nominal_ns);
        self.before_ns.set(tick.before_ns);
    }
}
