//! The stages of a tick: schedules that the loop owns and runs in order; and the World's duties at the
//! end of a tick.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bevy_ecs::{
    change_detection::{DetectChangesMut, MAX_CHANGE_AGE, Tick as ChangeTick},
    message::{MessageRegistry, ShouldUpdateMessages},
    schedule::{InternedScheduleLabel, Schedule, ScheduleLabel, Schedules, SingleThreadedExecutor},
    world::World,
};

use crate::{executor::memory::Payload, world::change_ticks};

/// The one stage of a runtime that is built without naming others.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tick;

/// The schedules, in the order in which a tick runs them.
pub(super) struct Stages {
    schedules: Vec<Schedule>,
    /// Those that the World had in its `Schedules`, by label.
    taken: Vec<InternedScheduleLabel>,
}

impl Stages {
    /// Takes each label's schedule out of the World's `Schedules`, or makes an empty one.
    pub(super) fn new(labels: &[InternedScheduleLabel], world: &mut World) -> Self {
        let mut taken = Vec::new();
        let mut take = |label: &InternedScheduleLabel| {
            let found = world
                .get_resource_mut::<Schedules>()
                .and_then(|mut schedules| schedules.remove(*label));
            if found.is_some() {
                taken.push(*label);
            }
            let mut schedule = found.unwrap_or_else(|| Schedule::new(*label));
            // Feature unification can give a schedule bevy's threads from anywhere.
            schedule.set_executor(SingleThreadedExecutor::new());
            schedule
        };
        let schedules = labels.iter().map(&mut take).collect();
        Self { schedules, taken }
    }

    /// Gives the schedules that were taken over back to the World.
    pub(super) fn give_back(&mut self, world: &mut World) {
        for label in std::mem::take(&mut self.taken) {
            if let Some(mut schedules) = world.get_resource_mut::<Schedules>()
                && let Some(at) = self.schedules.iter().position(|own| own.label() == label)
            {
                schedules.insert(self.schedules.remove(at));
            }
        }
    }

    /// All schedules that are left.
    pub(super) fn take(&mut self) -> Vec<Schedule> {
        std::mem::take(&mut self.schedules)
    }

    pub(super) fn len(&self) -> usize {
        self.schedules.len()
    }

    /// Whether a tick runs any system at all.
    pub(super) fn any_systems(&self) -> bool {
        (0..self.len()).any(|stage| self.has_systems(stage))
    }

    #[track_caller]
    pub(super) fn schedule(&mut self, label: InternedScheduleLabel) -> &mut Schedule {
        let labels: Vec<_> = self.schedules.iter().map(Schedule::label).collect();
        match self.schedules.iter_mut().find(|schedule| schedule.label() == label) {
            Some(schedule) => schedule,
            None => panic!(
                "{label:?} is not a stage of this runtime; its stages are {labels:?}, and \
                 `RuntimeBuilder::stages` names others"
            ),
        }
    }

    /// Whether there is anything to run in this stage.
    pub(super) fn has_systems(&self, stage: usize) -> bool {
        self.schedules[stage].systems_len() > 0
    }

    /// Runs one stage. A panic comes back as an error, and the
    /// schedule can be run again: bevy's executor would skip the systems that had completed.
    pub(super) fn run(&mut self, stage: usize, world: &mut World) -> Result<(), Payload> {
        if let Some(check) = change_ticks::take(world.id()) {
            for schedule in &mut self.schedules {
                schedule.check_change_ticks(check);
            }
        }
        let schedule = &mut self.schedules[stage];
        let ran = catch_unwind(AssertUnwindSafe(|| schedule.run(world)));
        if ran.is_err() {
            schedule.set_executor(SingleThreadedExecutor::new());
        }
        ran
    }
}

/// What the end of a tick does for the World.
pub(super) struct EndOfTick {
    /// The change tick of the last turnover: message types written since then are turned over.
    turned_over: ChangeTick,
    /// How many kinds of component the World knew when it was last seen not to know the registry of
    /// messages. While that number stands, nobody has registered a message.
    without_registry: Option<usize>,
}

impl EndOfTick {
    pub(super) fn new(world: &mut World) -> Self {
        // Older than any change that still counts: what was written before the loop began turns over too.
        let oldest = world.change_tick().get().wrapping_sub(MAX_CHANGE_AGE);
        Self { turned_over: ChangeTick::new(oldest), without_registry: None }
    }

    /// `check`: look whether change ticks are to be checked. Bevy looks whenever a schedule runs, but
    /// none may have run; a look now and then is enough, since half a billion changes may pass.
    pub(super) fn run(&mut self, world: &mut World, check: bool) {
        if self.without_registry != Some(world.components().num_registered()) {
            self.turn_messages_over(world);
        }
        world.clear_trackers();
        if check {
            world.check_change_ticks();
        }
    }

    fn turn_messages_over(&mut self, world: &mut World) {
        let known = world.components().component_id::<MessageRegistry>().is_some();
        self.without_registry = (!known).then(|| world.components().num_registered());
        /// Puts the registry back, also when a message's destructor panics.
        struct PutBack<'w>(&'w mut World, MessageRegistry);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                if let Some(mut registry) = self.0.get_resource_mut::<MessageRegistry>() {
                    *registry.bypass_change_detection() = std::mem::take(&mut self.1);
                }
            }
        }
        let Some(mut registry) = world.get_resource_mut::<MessageRegistry>() else {
            return;
        };
        if registry.should_update == ShouldUpdateMessages::Waiting {
            return;
        }
        let registry = std::mem::take(registry.bypass_change_detection());
        let mut back = PutBack(world, registry);
        let PutBack(world, registry) = &mut back;
        registry.run_updates(world, self.turned_over);
        if registry.should_update == ShouldUpdateMessages::Ready {
            registry.should_update = ShouldUpdateMessages::Waiting;
        }
        self.turned_over = world.change_tick();
    }
}
