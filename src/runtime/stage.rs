//! The stages of a tick: schedules that the loop owns and runs in order; and the World's duties at the
//! end of a tick.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bevy_ecs::{
    change_detection::{DetectChangesMut, MAX_CHANGE_AGE, Tick as ChangeTick},
    message::{MessageRegistry, ShouldUpdateMessages},
    schedule::{InternedScheduleLabel, Schedule, ScheduleLabel, Schedules, SingleThreadedExecutor},
    world::World,
};

use super::fixed_step::{FixedStep, Step, Steps};
use crate::{
    executor::memory::Payload,
    world::{change_ticks, schedules::StageLabels},
};

/// The one stage of a runtime that is built without naming others.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, Tick};
///
/// #[derive(Resource, Default)]
/// struct Count(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Count>();
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|mut count: ResMut<Count>| count.0 += 1);
/// rt.tick().unwrap();
/// assert_eq!(rt.world().resource::<Count>().0, 1);
/// ```
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tick;

/// The schedule that is run before a beat.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Rehearsal;

/// The stages, in the order in which a tick runs them, and their schedules.
pub(super) struct Stages {
    schedules: Vec<Schedule>,
    /// By stage: where its schedule is. A label that is named more than once has one schedule, which runs in
    /// each of its places.
    order: Vec<usize>,
    /// How many stages, from the first on, run in the first tick only.
    startup: usize,
    /// The first one that the next tick runs.
    first: usize,
    /// By stage: its steps, if it has a period of its own.
    steps: Vec<Option<FixedStep>>,
    has_steps: bool,
    /// Whether the ticks that follow have nothing to run; `None` when that may have changed.
    empty: Option<bool>,
    /// What is run before a beat: see [`rehearse`](Self::rehearse).
    rehearsal: Option<Schedule>,
    /// How often it was run.
    #[cfg(test)]
    pub(super) rehearsals: u64,
    /// Those that the World had in its `Schedules`, by label.
    taken: Vec<InternedScheduleLabel>,
    _labels: StageLabels,
}

impl Stages {
    /// Takes each label's schedule out of the World's `Schedules`, or makes an empty one. The first
    /// `startup` of them run in the first tick only.
    pub(super) fn new(
        labels: &[InternedScheduleLabel],
        startup: usize,
        steps: Vec<Option<FixedStep>>,
        world: &mut World,
    ) -> Self {
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
        let mut schedules: Vec<Schedule> = Vec::new();
        let order = labels.iter().map(|label| {
            let known = schedules.iter().position(|schedule| schedule.label() == *label);
            known.unwrap_or_else(|| {
                schedules.push(take(label));
                schedules.len() - 1
            })
        });
        let order = order.collect();
        let has_steps = steps.iter().any(Option::is_some);
        let _labels = StageLabels::new(world.id(), labels);
        Self {
            schedules,
            order,
            startup,
            first: 0,
            steps,
            has_steps,
            empty: None,
            rehearsal: None,
            #[cfg(test)]
            rehearsals: 0,
            taken,
            _labels,
        }
    }

    /// The stages of the tick that begins.
    #[inline]
    pub(super) fn begin_tick(&mut self) -> Range<usize> {
        std::mem::replace(&mut self.first, self.startup)..self.len()
    }

    /// Whether no stage of a tick that is to come has a system or steps of its own. The stages of the first
    /// tick have to have begun.
    #[inline]
    pub(super) fn are_empty(&mut self) -> bool {
        self.empty == Some(true) || (self.empty.is_none() && self.look_for_systems())
    }

    #[inline(never)]
    fn look_for_systems(&mut self) -> bool {
        let begun = self.first == self.startup;
        let empty = begun
            && !self.has_steps
            && !(self.first..self.len()).any(|stage| self.has_systems(stage));
        self.empty = begun.then_some(empty);
        empty
    }

    /// Gives the schedules that were taken over back to the World. No stage is left then.
    pub(super) fn give_back(&mut self, world: &mut World) {
        self.order.clear();
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
        self.order.clear();
        std::mem::take(&mut self.schedules)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether a tick runs any system at all.
    pub(super) fn any_systems(&self) -> bool {
        (0..self.len()).any(|stage| self.has_systems(stage))
    }

    #[track_caller]
    pub(super) fn schedule(&mut self, label: InternedScheduleLabel) -> &mut Schedule {
        self.empty = None;
        let labels: Vec<_> = self.schedules.iter().map(Schedule::label).collect();
        match self.schedules.iter_mut().find(|schedule| schedule.label() == label) {
            Some(schedule) => schedule,
            None => panic!(
                "{label:?} is not a stage of this runtime; its stages are {labels:?}, and \
                 `RuntimeBuilder::stages` names others"
            ),
        }
    }

    /// Whether a stage has a period of its own.
    #[inline]
    pub(super) fn has_steps(&self) -> bool {
        self.has_steps
    }

    /// How often a stage runs in the tick of this nominal time. `None`: once, like any other.
    pub(super) fn begin_steps(&mut self, stage: usize, nominal_ns: u64) -> Option<Steps> {
        self.steps[stage].as_mut().map(|steps| steps.begin(nominal_ns))
    }

    /// The next step of a stage that has steps begins.
    pub(super) fn step(&mut self, stage: usize) -> Option<Step> {
        self.steps[stage].as_mut().map(FixedStep::step)
    }

    /// When the next step is due of those stages that `counts` accepts.
    pub(super) fn next_step_ns(&self, counts: impl Fn(usize) -> bool) -> Option<u64> {
        let steps = self.steps.iter().enumerate().filter(|(stage, _)| counts(*stage));
        steps.filter_map(|(_, steps)| steps.as_ref()?.next_ns()).min()
    }

    /// Whether every stage of fixed steps has run since messages last turned over.
    #[inline]
    pub(super) fn have_run(&self) -> bool {
        !self.has_steps || self.steps_have_run()
    }

    #[inline(never)]
    fn steps_have_run(&self) -> bool {
        self.steps.iter().flatten().all(FixedStep::has_run)
    }

    /// Messages turn over.
    pub(super) fn turn_over(&mut self) {
        self.steps.iter_mut().flatten().for_each(FixedStep::turn_over);
    }

    /// Whether there is anything to run in this stage.
    pub(super) fn has_systems(&self, stage: usize) -> bool {
        self.schedules[self.order[stage]].systems_len() > 0
    }

    /// Makes what [`rehearse`](Self::rehearse) runs, which takes longer than a rehearsal.
    pub(super) fn prepare_rehearsal(&mut self, world: &mut World) {
        if self.rehearsal.is_none() && self.any_systems() {
            let mut schedule = Schedule::new(Rehearsal);
            schedule.set_executor(SingleThreadedExecutor::new());
            schedule.add_systems(|| {});
            schedule.run(world);
            self.rehearsal = Some(schedule);
        }
    }

    /// Whether there is something to rehearse.
    pub(super) fn can_rehearse(&self) -> bool {
        self.rehearsal.is_some()
    }

    /// Runs a schedule with one system that does nothing. Bevy's code, and what of the World it reads, is
    /// in the processor's caches then: a thread that spun for a millisecond finds its own loop there, and
    /// what its neighbours left. A panic of an observer of change ticks, which any schedule may call, comes
    /// back as an error.
    pub(super) fn rehearse(&mut self, world: &mut World) -> Result<(), Payload> {
        #[cfg(test)]
        {
            self.rehearsals += 1;
        }
        let Some(schedule) = &mut self.rehearsal else { return Ok(()) };
        let ran = catch_unwind(AssertUnwindSafe(|| schedule.run(world)));
        if ran.is_err() {
            self.rehearsal = None;
        }
        ran
    }

    /// Runs one stage. A panic comes back as an error, and the
    /// schedule can be run again: bevy's executor would skip the systems that had completed.
    pub(super) fn run(&mut self, stage: usize, world: &mut World) -> Result<(), Payload> {
        if let Some(check) = change_ticks::take(world.id()) {
            for schedule in self.schedules.iter_mut().chain(&mut self.rehearsal) {
                schedule.check_change_ticks(check);
            }
        }
        let schedule = &mut self.schedules[self.order[stage]];
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
    /// messages. While that number stands, nobody has registered a message. More than there can be: the
    /// World knows the registry.
    without_registry: usize,
    /// False: a system of the World does it.
    turns_messages_over: bool,
}

impl EndOfTick {
    pub(super) fn new(world: &mut World, turns_messages_over: bool) -> Self {
        // Older than any change that still counts: what was written before the loop began turns over too.
        let oldest = world.change_tick().get().wrapping_sub(MAX_CHANGE_AGE);
        Self {
            turned_over: ChangeTick::new(oldest),
            without_registry: usize::MAX,
            turns_messages_over,
        }
    }

    /// How many kinds of component a World knows that has no messages to turn over, as far as that is known.
    #[inline]
    pub(super) fn without_registry(&self) -> usize {
        self.without_registry
    }

    /// Messages turn over if every stage of fixed steps has run since they last did, as far as the World's
    /// registry allows it. `check`: look whether change ticks are to be checked. Bevy looks whenever a
    /// schedule runs, but none may have run; a look now and then is enough, since half a billion changes
    /// may pass.
    pub(super) fn run(&mut self, world: &mut World, stages: &mut Stages, check: bool) {
        if self.without_registry != world.components().num_registered()
            && self.turns_messages_over
            && stages.have_run()
            && self.turn_messages_over(world)
        {
            stages.turn_over();
        }
        world.clear_trackers();
        if check {
            world.check_change_ticks();
        }
    }

    /// True: they have.
    fn turn_messages_over(&mut self, world: &mut World) -> bool {
        let known = world.components().component_id::<MessageRegistry>().is_some();
        self.without_registry =
            if known { usize::MAX } else { world.components().num_registered() };
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
            return false;
        };
        if registry.should_update == ShouldUpdateMessages::Waiting {
            return false;
        }
        let registry = std::mem::take(registry.bypass_change_detection());
        let mut back = PutBack(world, registry);
        let PutBack(world, registry) = &mut back;
        registry.run_updates(world, self.turned_over);
        if registry.should_update == ShouldUpdateMessages::Ready {
            registry.should_update = ShouldUpdateMessages::Waiting;
        }
        self.turned_over = world.change_tick();
        true
    }
}
