//! The systems that the stages hold, and a tick of bevy alone: the reference of the tick questions.

use std::time::{Duration, Instant};

use bevy_app::{App, Update};
use bevy_ecs::prelude::{Resource, Schedule, World};
use bevy_ecs::schedule::{
    IntoScheduleConfigs, ScheduleConfigs, ScheduleLabel, SingleThreadedExecutor,
};
use bevy_ecs::system::{ResMut, ScheduleSystem};

/// Ticks that are run before the clock starts.
pub(crate) const WARM_UP_TICKS: usize = 1_000;

/// What a small system writes: each of the eight has its own.
#[derive(Resource, Default)]
pub(crate) struct Counter<const INDEX: usize>(u64);

fn count<const INDEX: usize>(mut counter: ResMut<'_, Counter<INDEX>>) {
    counter.0 += 1;
}

/// Puts what the systems write into `world`.
pub(crate) fn insert_counters(world: &mut World) {
    world.init_resource::<Counter<0>>();
    world.init_resource::<Counter<1>>();
    world.init_resource::<Counter<2>>();
    world.init_resource::<Counter<3>>();
    world.init_resource::<Counter<4>>();
    world.init_resource::<Counter<5>>();
    world.init_resource::<Counter<6>>();
    world.init_resource::<Counter<7>>();
}

/// How many systems a stage holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Systems {
    /// A stage without systems.
    None,
    /// One small system.
    One,
    /// Eight small systems on eight resources.
    Eight,
}

impl Systems {
    /// The systems, to be added to a schedule; `None` where there is nothing to add.
    pub(crate) fn configs(self) -> Option<ScheduleConfigs<ScheduleSystem>> {
        match self {
            Self::None => None,
            Self::One => Some(count::<0>.into_configs()),
            Self::Eight => Some(
                (
                    count::<0>, count::<1>, count::<2>, count::<3>, count::<4>, count::<5>,
                    count::<6>, count::<7>,
                )
                    .into_configs(),
            ),
        }
    }
}

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Bare;

/// `Schedule::run` on a schedule that the caller owns: the least that a stage can cost.
pub(crate) fn bare_schedule(systems: Systems, ticks: usize) -> Duration {
    let mut world = World::new();
    insert_counters(&mut world);
    let mut schedule = Schedule::new(Bare);
    schedule.set_executor(SingleThreadedExecutor::new());
    if let Some(configs) = systems.configs() {
        schedule.add_systems(configs);
    }
    time_ticks(ticks, || schedule.run(&mut world))
}

/// `App::update` of an app without plugins.
pub(crate) fn app_update(systems: Systems, ticks: usize) -> Duration {
    let mut app = App::new();
    insert_counters(app.world_mut());
    if let Some(configs) = systems.configs() {
        app.add_systems(Update, configs);
    }
    time_ticks(ticks, || app.update())
}

/// Warms up, then gives the time of `ticks` calls of `tick`.
pub(crate) fn time_ticks(ticks: usize, mut tick: impl FnMut()) -> Duration {
    for _ in 0..WARM_UP_TICKS {
        tick();
    }
    let start = Instant::now();
    for _ in 0..ticks {
        tick();
    }
    start.elapsed()
}
