//! One tick: the loop contract, in its order.
//!
//! ```text
//!   1 wait, then freeze the clock      `FrameLoop::begin`
//!   2 events                           `FrameLoop::events`
//!   3 ready tasks                      `FrameLoop::tasks`
//!   4 timers                           `FrameLoop::timers`
//!   5 each stage                       `FrameLoop::stages`
//!   6 end of tick                      `FrameLoop::end`
//! ```
//!
//! Steps 1 to 4 are a turn. A *round* polls the tasks that are ready when it begins, each at most once;
//! rounds follow one another until only what is behind the turn mark is ready, or the budget is spent.

use std::{cell::Cell, panic::Location, task::Waker};

use bevy_ecs::world::{World, WorldId};

use super::{
    TickError,
    idle::Idle,
    remote,
    request::TickRequest,
    stage::{EndOfTick, Stages},
};
use crate::{
    context::Core,
    executor::{memory::Payload, spans},
    stats::{Phase, SAMPLE_INTERVAL, TickStats},
    world::{WorldError, lend::Lent},
};

/// mio is looked at after so much time, however many tasks are ready.
const EVENT_INTERVAL_NS: u64 = 10_000;
/// Entries of the wheel that one turn moves ahead of need.
const WHEEL_MOVES: usize = 256;

/// The loop: its stages, its budgets, and what it remembers from tick to tick. It does not own the
/// World; a tick borrows it.
pub(super) struct FrameLoop {
    pub(super) stages: Stages,
    pub(super) end: EndOfTick,
    /// The World that the stages were made for.
    pub(super) world: WorldId,
    pub(super) before: Before,
    pub(super) request: TickRequest,
    pub(super) budgets: Budgets,
    /// Those who awaited the tick that begins, from the moment its number rises: whoever asks for the next
    /// tick from then on asks for the one after.
    pub(super) awaited: Vec<Option<Waker>>,
    /// Turns since mio was last looked at, and the time of that look.
    pub(super) turns_unpolled: Cell<u32>,
    pub(super) polled_ns: Cell<u64>,
}

/// What the World had of our resources when the runtime was built on it: another runtime's, if that one
/// has lent its World to this one.
#[derive(Default)]
pub(super) struct Before {
    pub(super) stats: Option<TickStats>,
}

/// How much of each kind one turn does at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) tasks_per_cycle: u64,
    pub(super) event_interval: u32,
    pub(super) foreign_wakes: usize,
    pub(super) timers: u64,
}

/// Why a tick was not finished.
pub(super) enum Failure {
    /// A panic that is to leave the loop.
    Panic(Payload),
    Error(TickError),
}

impl From<TickError> for Failure {
    fn from(error: TickError) -> Self {
        Self::Error(error)
    }
}

/// The World went away under the loop: only replacing it does that.
fn lost(lent: &Lent<'_>, error: WorldError) -> Failure {
    match (lent.replaced(), error) {
        (Some(place), _) | (None, WorldError::Replaced(place) | WorldError::Taken(place)) => {
            Failure::Error(TickError::WorldReplaced(place))
        }
        (None, error) => Failure::Panic(Box::new(error.to_string())),
    }
}

/// A stopwatch for the phases, which runs in one tick of [`SAMPLE_INTERVAL`].
struct Sample<'a> {
    core: &'a Core,
    since_ns: Option<u64>,
}

impl<'a> Sample<'a> {
    fn start(core: &'a Core) -> Self {
        let sampled = core.tick.get().is_multiple_of(SAMPLE_INTERVAL);
        if sampled {
            core.counters.ticks_sampled.add(1);
        }
        Self { core, since_ns: sampled.then(|| core.clock.precise_ns()) }
    }

    fn end_of(&mut self, phase: Phase) {
        if let Some(since_ns) = self.since_ns {
            let now_ns = self.core.clock.precise_ns();
            self.core.counters.record_phase(phase, now_ns - since_ns);
            self.since_ns = Some(now_ns);
        }
    }
}

/// Coming to a World, and leaving it.
impl FrameLoop {
    /// Whether `world` is the one that the stages were made for; it was last given out at `place`.
    pub(super) fn check_world(
        &self,
        world: &World,
        place: &'static Location<'static>,
    ) -> Result<(), TickError> {
        if world.id() == self.world { Ok(()) } else { Err(TickError::WorldReplaced(place)) }
    }

    /// Puts back what the World had of our resources before, if it had any; else ours stay, to be read.
    pub(super) fn leave(&mut self, world: &mut World) {
        if world.id() != self.world {
            return;
        }
        self.stages.give_back(world);
        let before = std::mem::take(&mut self.before);
        if let Some(stats) = before.stats {
            world.insert_resource(stats);
        }
    }
}

impl FrameLoop {
    /// Waits as `idle` says, then runs one tick. What it did is counted also when it was not finished.
    pub(super) fn tick(&mut self, core: &Core, lent: &Lent<'_>, idle: Idle) -> Result<(), Failure> {
        let ticked = self.steps(core, lent, idle);
        Self::publish(core);
        ticked
    }

    fn steps(&mut self, core: &Core, lent: &Lent<'_>, idle: Idle) -> Result<(), Failure> {
        let timer_mark = self.begin(core, idle)?;
        let _span = spans::tick(core.tick.get());
        let mut sample = Sample::start(core);
        let mut budget = self.budgets.tasks_per_cycle;

        self.events(core, lent)?;
        sample.end_of(Phase::Events);

        self.tasks(core, &mut budget);
        sample.end_of(Phase::Tasks);

        self.timers(core, timer_mark, &mut budget);
        sample.end_of(Phase::Timers);
        Self::check(core, lent)?;

        self.stages(core, lent)?;
        sample.end_of(Phase::Stages);

        self.end(core, lent)?;
        sample.end_of(Phase::End);
        Ok(())
    }

    /// Step 1: waits until there is something to do, then freezes the clock. The tick number rises.
    /// Returns the mark that timers registered in this turn are behind.
    fn begin(&mut self, core: &Core, idle: Idle) -> Result<u64, Failure> {
        self.wait(core, idle)?;
        core.clock.begin_turn(core.timers.borrow().len() > 0 || core.reactor.len() > 0);
        core.tick.set(core.tick.get() + 1);
        if core.waits.has_places() {
            self.awaited = core.waits.take();
        }
        core.turn.set(core.turn.get() + 1);
        self.request.fulfil();
        Ok(core.timers.borrow().next_serial())
    }

    /// Step 2: mio's events and the wakes of other threads become wakes here.
    ///
    /// mio is looked at in a turn that found nothing ready, and otherwise after `event_interval` turns
    /// or 10 us, whichever comes first.
    fn events(&self, core: &Core, lent: &Lent<'_>) -> Result<(), Failure> {
        if core.reactor.len() > 0 {
            // What came while the thread slept is ready, and spares a look.
            Self::wake_ready(core);
            self.poll_events(core)?;
            Self::wake_ready(core);
        }
        if core.signals.get().is_some_and(|signals| signals.take(&core.reactor)) {
            core.shutdown.handle().shutdown();
        }
        if core.executor.drain_inbox(self.budgets.foreign_wakes) {
            for waker in core.shutdown.take_waiters() {
                core.executor.wake(waker);
            }
            remote::run(core, lent);
        }
        Ok(())
    }

    fn wake_ready(core: &Core) {
        while let Some(waker) = core.reactor.pop_woken() {
            core.executor.wake(waker);
        }
    }

    fn poll_events(&self, core: &Core) -> Result<(), TickError> {
        let turns = self.turns_unpolled.get() + 1;
        let now_ns = core.clock.now_ns();
        let due = turns >= self.budgets.event_interval
            || now_ns.saturating_sub(self.polled_ns.get()) >= EVENT_INTERVAL_NS
            || !core.executor.has_work();
        if !due {
            self.turns_unpolled.set(turns);
            return Ok(());
        }
        self.turns_unpolled.set(0);
        self.polled_ns.set(now_ns);
        core.reactor.drain().map(drop).map_err(|error| TickError::Io(error.kind()))
    }

    /// Step 3: what waited for this tick comes first, what was behind the mark comes last; then rounds.
    fn tasks(&mut self, core: &Core, budget: &mut u64) {
        core.executor.pass_mark();
        core.executor.reap();
        if !self.awaited.is_empty() {
            let mut awaited = std::mem::take(&mut self.awaited);
            core.executor.wake_first(awaited.drain(..).flatten());
            core.waits.give_back(awaited);
        }
        core.executor.round_first();
        Self::rounds(core, budget);
    }

    /// Rounds, until nothing is ready before the mark or the budget is spent.
    fn rounds(core: &Core, budget: &mut u64) {
        while *budget > 0 && core.executor.has_ready() && !core.executor.is_stopped() {
            *budget -= core.executor.round(*budget);
        }
    }

    /// Step 4: fires the timers registered before this turn and due at the frozen time, in (deadline,
    /// registration) order; then rounds, at least one. A turn without a time began without a timer.
    fn timers(&self, core: &Core, timer_mark: u64, budget: &mut u64) {
        if !core.clock.is_read() {
            return;
        }
        let now_ns = core.clock.now_ns();
        let mut fired = 0;
        while fired < self.budgets.timers {
            let due = core.timers.borrow_mut().pop_due(now_ns, timer_mark);
            let Some(waker) = due else {
                break;
            };
            fired += 1;
            core.executor.wake(waker);
        }
        core.timers.borrow_mut().advance(now_ns, WHEEL_MOVES);
        if fired > 0 {
            core.counters.timers_fired.add(fired);
            // A spent budget still leaves as many polls as timers fired.
            *budget = (*budget).max(fired);
            Self::rounds(core, budget);
        }
    }

    /// Step 5: before each stage one round of what is ready, then its schedule, then the reaper. After
    /// the last one a round more: what it woke acts in this tick.
    fn stages(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Failure> {
        for stage in 0..self.stages.len() {
            self.before_stage(core);
            Self::check(core, lent)?;
            if self.stages.has_systems(stage) {
                let ran = lent.with(|world| self.stages.run(stage, world));
                ran.map_err(|error| lost(lent, error))?.map_err(Failure::Panic)?;
                core.executor.reap();
            }
        }
        self.before_stage(core);
        core.executor.reap();
        Self::check(core, lent)
    }

    fn before_stage(&self, core: &Core) {
        core.executor.round_first();
        if core.executor.has_ready() {
            core.executor.round(self.budgets.tasks_per_cycle);
        }
    }

    /// Step 6: messages turn over, trackers are cleared, change ticks checked.
    fn end(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Failure> {
        let check = core.tick.get().is_multiple_of(SAMPLE_INTERVAL);
        lent.with(|world| self.end.run(world, check)).map_err(|error| lost(lent, error))?;
        Ok(())
    }

    /// Statistics, for those who look from outside and from systems.
    fn publish(core: &Core) {
        let counts = core.executor.counts();
        core.counters.ticks.set(core.tick.get());
        core.counters.polls.set(counts.polls);
        core.counters.wakes_local.set(core.executor.local_wakes());
        core.counters.wakes_foreign.set(counts.foreign_wakes);
        core.counters.task_panics.set(counts.task_panics);
        core.counters.forgotten_payloads.set(counts.forgotten_payloads);
        core.counters.events.set(core.reactor.events_seen());
    }

    /// Stops the tick when a panic is to leave it, or the World has been replaced.
    fn check(core: &Core, lent: &Lent<'_>) -> Result<(), Failure> {
        if core.executor.is_stopped()
            && let Some(payload) = core.executor.take_propagated()
        {
            return Err(Failure::Panic(payload));
        }
        match lent.replaced() {
            Some(place) => Err(Failure::Error(TickError::WorldReplaced(place))),
            None => Ok(()),
        }
    }
}
