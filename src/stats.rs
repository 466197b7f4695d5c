//! What the loop counts: read at any time through [`Runtime::stats`](crate::Runtime::stats), or by a
//! system through the [`TickStats`] resource.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bevy_ecs::resource::Resource;

/// How often the durations of a tick's phases are measured: one tick in so many.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, SAMPLE_INTERVAL};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// for _ in 0..2 * SAMPLE_INTERVAL {
///     rt.tick().unwrap();
/// }
/// assert_eq!(rt.stats().ticks_sampled, 2);
/// ```
pub const SAMPLE_INTERVAL: u64 = 64;

/// A part of the tick, in the order of the loop contract.
///
/// ```
/// use onbeat::Phase;
///
/// let last = Phase::ALL[4];
/// assert_eq!(last, Phase::End);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// mio's events and the wakes of other threads.
    Events,
    /// The rounds before the timers.
    Tasks,
    /// The timers, and the rounds after them.
    Timers,
    /// The stages, with the tasks that run before each.
    Stages,
    /// The duties at the end of a tick.
    End,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [Self::Events, Self::Tasks, Self::Timers, Self::Stages, Self::End];
}

/// The measured durations of one phase.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Phase, PhaseDuration, Runtime, SAMPLE_INTERVAL};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// for _ in 0..SAMPLE_INTERVAL {
///     rt.tick().unwrap();
/// }
/// let PhaseDuration { total, longest } = rt.stats().phase(Phase::Stages);
/// assert!(total >= longest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhaseDuration {
    /// The sum over the measured ticks.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

/// A copy of the loop's counters. All count from the runtime's beginning.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Phase, Runtime, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async { sleep(Duration::from_micros(10)).await });
/// let stats = rt.stats();
/// assert_eq!((stats.timers_fired, stats.task_panics), (1, 0));
/// assert!(stats.phase(Phase::Tasks).total >= stats.phase(Phase::Tasks).longest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Ticks that have begun.
    pub ticks: u64,
    /// Turns between ticks: events, tasks and timers, and no stage.
    pub turns_between: u64,
    /// Ticks of a fixed rate after which the loop was so late that the next beat had already come.
    pub overruns: u64,
    /// Beats of a fixed rate that got no tick of their own.
    pub beats_skipped: u64,
    /// Steps of stages of fixed steps that were more than a tick may run.
    pub steps_skipped: u64,
    /// Polls of tasks, the root future's among them.
    pub polls: u64,
    /// Wakes on the loop's own thread.
    pub wakes_local: u64,
    /// Wakes of tasks from other threads. Those of one task between two looks count as one.
    pub wakes_foreign: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Readiness events from the operating system.
    pub events: u64,
    /// Times the operating system was asked for readiness events, waits among them.
    pub event_looks: u64,
    /// Times the thread slept.
    pub parks: u64,
    /// Tasks that ended by a panic.
    pub task_panics: u64,
    /// Panic payloads that nobody asked for, of destructors and wakers among them.
    pub forgotten_payloads: u64,
    /// Ticks whose phases were measured: one in [`SAMPLE_INTERVAL`].
    pub ticks_sampled: u64,
    /// The measured durations, in the order of [`Phase::ALL`].
    pub phases: [PhaseDuration; 5],
}

impl Stats {
    /// The measured durations of `phase`.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> PhaseDuration {
        self.phases[phase as usize]
    }
}

/// The counters themselves. Written by the loop's thread alone.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) ticks: Count,
    pub(crate) turns_between: Count,
    pub(crate) overruns: Count,
    pub(crate) beats_skipped: Count,
    pub(crate) steps_skipped: Count,
    pub(crate) polls: Count,
    pub(crate) wakes_local: Count,
    pub(crate) wakes_foreign: Count,
    pub(crate) timers_fired: Count,
    pub(crate) events: Count,
    pub(crate) event_looks: Count,
    pub(crate) parks: Count,
    pub(crate) task_panics: Count,
    pub(crate) forgotten_payloads: Count,
    pub(crate) ticks_sampled: Count,
    pub(crate) phase_total_ns: [Count; 5],
    pub(crate) phase_longest_ns: [Count; 5],
}

/// A number with one writer: a plain load and store, without a locked instruction.
#[derive(Default, Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }
}

impl Counters {
    pub(crate) fn record_phase(&self, phase: Phase, duration_ns: u64) {
        self.phase_total_ns[phase as usize].add(duration_ns);
        let longest = &self.phase_longest_ns[phase as usize];
        longest.set(longest.get().max(duration_ns));
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            ticks: self.ticks.get(),
            turns_between: self.turns_between.get(),
            overruns: self.overruns.get(),
            beats_skipped: self.beats_skipped.get(),
            steps_skipped: self.steps_skipped.get(),
            polls: self.polls.get(),
            wakes_local: self.wakes_local.get(),
            wakes_foreign: self.wakes_foreign.get(),
            timers_fired: self.timers_fired.get(),
            events: self.events.get(),
            event_looks: self.event_looks.get(),
            parks: self.parks.get(),
            task_panics: self.task_panics.get(),
            forgotten_payloads: self.forgotten_payloads.get(),
            ticks_sampled: self.ticks_sampled.get(),
            phases: std::array::from_fn(|phase| PhaseDuration {
                total: Duration::from_nanos(self.phase_total_ns[phase].get()),
                longest: Duration::from_nanos(self.phase_longest_ns[phase].get()),
            }),
        }
    }
}

/// The loop's counters as a resource, inserted when the runtime is built.
///
/// It is a window on the counters, not a copy. A system sees ticks, polls, wakes, events, looks for
/// events and panics as they were when the last tick ended, and the others (turns between, overruns, timers,
/// parks, phases) as they are. Change detection says nothing about it, because the loop writes the
/// counters without the World.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, Tick, TickStats};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|stats: Res<TickStats>| {
///     assert!(stats.get().ticks <= 3);
/// });
/// for _ in 0..3 {
///     rt.tick().unwrap();
/// }
/// assert_eq!(rt.stats().ticks, 3);
/// ```
#[derive(Resource, Clone, Debug)]
pub struct TickStats(pub(crate) Arc<Counters>);

impl TickStats {
    /// A copy of the counters.
    #[must_use]
    pub fn get(&self) -> Stats {
        self.0.snapshot()
    }
}
