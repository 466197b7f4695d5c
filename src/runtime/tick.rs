//! One tick: the loop contract, in its order.
//!
//! ```text
//!   1 wait, then freeze the clock      `FrameLoop::wait`, `FrameLoop::begin`
//!   2 events                           `FrameLoop::events`
//!   3 ready tasks                      `FrameLoop::tasks`
//!   4 timers                           `FrameLoop::timers`
//!   5 each stage                       `FrameLoop::stages`
//!   6 end of tick                      `FrameLoop::end`
//! ```
//!
//! Steps 1 to 4 are a turn. One between two ticks ends there, and belongs to the tick before it. A
//! *round* polls the tasks that are ready when it begins, each at most once; rounds follow one another
//! until only what is behind the turn mark is ready, or the budget is spent.

use std::{ops::ControlFlow, panic::Location, sync::Arc, task::Waker};

use bevy_ecs::world::{World, WorldId};

use super::{
    error::{Failure, TickError, lost},
    idle::Idle,
    margin::Margin,
    pacing::{Due, Pacer},
    poller::Pollers,
    remote,
    request::TickRequest,
    sample::Sample,
    stage::{EndOfTick, Stages},
    tick_time::{TickTime, Times},
    virtually::Virtually,
};
use crate::{
    context::Core,
    executor::{agenda::Items, spans},
    stats::{Phase, SAMPLE_INTERVAL, TickStats},
    world::lend::Lent,
};

/// mio is looked at after so much time, however many tasks are ready.
const EVENT_INTERVAL_NS: u64 = 10_000;
/// What has a turn read the clock as it begins, or look whether it has to.
const READS_CLOCK: Items =
    Items::TIMED.union(Items::TIMERS).union(Items::SOCKETS).union(Items::WAITED);
/// What a turn finds events by, beside the inbox.
const EVENTS: Items = Items::SOCKETS.union(Items::DRAIN).union(Items::POLLERS);
/// Entries of the wheel that one turn moves ahead of need; as many more where it comes late to a slot.
const WHEEL_MOVES: usize = 128;

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
    /// When the next tick starts, and how the thread waits for it.
    pub(super) pacer: Pacer,
    pub(super) idle: Idle,
    pub(super) margin: Margin,
    /// The thread spins before a beat of the real clock, and may rehearse the tick; it has, in this wait.
    pub(super) rehearses: bool,
    pub(super) rehearsed: bool,
    pub(super) pollers: Pollers,
    /// Polls are hashed, with the number and the time of their tick.
    pub(super) hashes: bool,
    /// Timers registered in the turn that goes on are behind this mark, if any timer was there before.
    pub(super) timer_mark: u64,
    pub(super) time: Arc<Times>,
    pub(super) virtually: Virtually,
    /// Those who awaited the tick that begins, from the moment its number rises: whoever asks for the next
    /// tick from then on asks for the one after.
    pub(super) awaited: Vec<Option<Waker>>,
    /// The wait has looked at mio, and the turn that it ended with need not.
    pub(super) looked: bool,
    /// When the wait found something due: the time of the turn.
    pub(super) waited_ns: Option<u64>,
    /// Turns since mio was last looked at, and the time of that look, if its turn had one.
    pub(super) turns_unpolled: u32,
    pub(super) polled_ns: Option<u64>,
}

/// What the World had of our resources when the runtime was built on it: another runtime's, if that one
/// has lent its World to this one.
#[derive(Default)]
pub(super) struct Before {
    pub(super) stats: Option<TickStats>,
    pub(super) time: Option<TickTime>,
}

/// How much of each kind one turn does at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) tasks_per_cycle: u64,
    pub(super) event_interval: u32,
    pub(super) foreign_wakes: usize,
    pub(super) timers: u64,
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
        if let Some(time) = before.time {
            world.insert_resource(time);
        }
    }
}

impl FrameLoop {
    /// The next ticks are driven by `pacer`.
    pub(super) fn drive_by(&mut self, core: &Core, pacer: Pacer) {
        self.pacer = pacer;
        let timed = self.pacer.is_timed() || self.stages.has_steps() || self.hashes;
        core.executor.agenda().set(Items::TIMED, timed);
    }

    /// The thread waits like this in the ticks that follow, those of a fixed rate with a rehearsal of what it
    /// does in them, if it is awake before the beat.
    pub(super) fn idle_by(&mut self, idle: Idle, core: &Core, lent: &Lent<'_>) {
        self.idle = idle;
        let spins = !matches!(idle, Idle::Park) && !core.clock.is_virtual();
        if spins && self.pacer.beat_ns().is_some() {
            // Whoever replaced the World is found out by the tick.
            let _ = lent.with(|world| self.stages.prepare_rehearsal(world));
        }
        self.rehearses = spins && self.stages.can_rehearse();
    }

    /// The next tick is driven by `tick()`.
    #[inline]
    pub(super) fn drive_by_hand(&mut self, core: &Core) {
        if !matches!(self.pacer, Pacer::ByHand) {
            self.drive_by(core, Pacer::ByHand);
        }
    }

    /// Waits for what is due, then runs it: a tick, or a turn between ticks. What it did is counted also
    /// when it was not finished.
    pub(super) fn tick(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        let waited = if self.goes_on(core) {
            ControlFlow::Continue(())
        } else {
            self.wait_or_turn(core, lent)
        };
        let ticked = match waited {
            ControlFlow::Continue(()) if (core.tick.get() + 1).is_multiple_of(SAMPLE_INTERVAL) => {
                self.sampled_steps(core, lent)
            }
            ControlFlow::Continue(()) => self.steps(core, lent, Due::Tick, false),
            ControlFlow::Break(ended) => ended,
        };
        Self::publish(core);
        ticked
    }

    /// Waits until a tick begins, or runs the turn between ticks that begins before it.
    #[inline(never)]
    fn wait_or_turn(
        &mut self,
        core: &Core,
        lent: &Lent<'_>,
    ) -> ControlFlow<Result<(), Box<Failure>>> {
        let waited = self.wait(core);
        // A wait counts what it looked at, and may have read the clock.
        core.executor.agenda().add(Items::COUNTS.union(Items::WAITED));
        match waited {
            Ok(Due::Tick) => ControlFlow::Continue(()),
            Ok(Due::Turn) => {
                core.counters.turns_between.add(1);
                ControlFlow::Break(self.steps(core, lent, Due::Turn, false))
            }
            Err(failure) => ControlFlow::Break(Err(failure)),
        }
    }

    /// The steps of a tick whose phases are measured.
    #[inline(never)]
    fn sampled_steps(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        self.steps(core, lent, Due::Tick, true)
    }

    /// The steps of what is due. Made three times, so that a tick asks neither whether it is one nor
    /// whether it is measured.
    #[inline(always)]
    fn steps(
        &mut self,
        core: &Core,
        lent: &Lent<'_>,
        due: Due,
        sampled: bool,
    ) -> Result<(), Box<Failure>> {
        self.begin(core, due);
        let _span = spans::tick(core.tick.get());
        let mut sample = Sample::start(core, sampled);
        let mut budget = self.budgets.tasks_per_cycle;

        self.events(core, lent)?;
        sample.end_of(Phase::Events);

        self.tasks(core);
        if due == Due::Tick && !sampled {
            // In line, where nearly all tasks are polled.
            budget -= core.executor.rounds_in_line(budget);
        } else {
            Self::rounds(core, &mut budget);
        }
        sample.end_of(Phase::Tasks);

        if core.executor.agenda().has(Items::TIMERS) {
            self.timers(core, &mut budget);
        }
        sample.end_of(Phase::Timers);

        if due == Due::Turn {
            Self::check(core, lent)?;
            self.before_stage(core, lent, None);
            core.executor.reap();
            return Self::check(core, lent);
        }
        self.stages(core, lent)?;
        sample.end_of(Phase::Stages);

        self.end(lent, sampled)?;
        sample.end_of(Phase::End);
        Ok(())
    }

    /// Step 1, after the wait: freezes the clock. When it is a tick, its number rises.
    #[inline(always)]
    fn begin(&mut self, core: &Core, due: Due) {
        if core.executor.agenda().has(READS_CLOCK) {
            self.begin_timed(core);
        } else {
            core.clock.begin_turn(false);
        }
        core.turn.set(core.turn.get() + 1);
        if due == Due::Tick {
            self.begin_tick(core);
        } else if self.hashes {
            core.executor.stamp_polls(core.tick.get(), core.clock.now_ns());
        }
    }

    /// A turn begins in which something may depend on the time.
    #[inline(never)]
    fn begin_timed(&mut self, core: &Core) {
        let agenda = core.executor.agenda();
        agenda.remove(Items::WAITED);
        if agenda.has(Items::TIMERS) {
            let timers = core.timers.borrow();
            agenda.set(Items::TIMERS, timers.len() > 0);
            self.timer_mark = timers.next_serial();
        }
        agenda.set(Items::SOCKETS, core.reactor.len() > 0);
        match self.waited_ns.take() {
            Some(waited_ns) => core.clock.begin_turn_at(waited_ns),
            // A look at sockets reads it where it has to know.
            None => core.clock.begin_turn(agenda.has(Items::TIMED.union(Items::TIMERS))),
        }
    }

    #[inline(always)]
    fn begin_tick(&mut self, core: &Core) {
        core.tick.set(core.tick.get() + 1);
        self.request.fulfil();
        if core.executor.agenda().has(Items::TICK_WAITS.union(Items::TIMES).union(Items::TIMED)) {
            self.begin_known_tick(core);
        }
    }

    /// A tick begins that somebody waits for, or whose times somebody asks for.
    #[inline(never)]
    fn begin_known_tick(&mut self, core: &Core) {
        let agenda = core.executor.agenda();
        if agenda.take(Items::TICK_WAITS) && core.waits.has_places() {
            let awaited = core.waits.take(core.tick.get());
            if self.awaited.is_empty() {
                self.awaited = awaited;
            } else {
                // The tick before ended in a panic before it woke them.
                self.awaited.extend(awaited);
            }
            agenda.set(Items::TICK_WAITS, core.waits.has_places());
            agenda.set(Items::AWAITED, !self.awaited.is_empty());
        }
        if agenda.has(Items::TIMES.union(Items::TIMED)) {
            self.record(core);
        }
    }

    /// The times of the tick that begins, for who asks.
    fn record(&mut self, core: &Core) {
        let frozen_ns = core.clock.now_ns();
        let start = self.pacer.start(frozen_ns);
        core.counters.beats_skipped.add(start.skipped);
        self.time.begin(core.tick.get(), start.nominal_ns, frozen_ns);
        if self.hashes {
            core.executor.stamp_polls(core.tick.get(), frozen_ns);
        }
    }

    /// Step 2: mio's events and the wakes of other threads become wakes here, and pollers are called.
    ///
    /// mio is looked at in a turn that found nothing ready, and otherwise after `event_interval` turns
    /// or 10 us, whichever comes first. What the wait has seen of it counts as this turn's look.
    #[inline(always)]
    fn events(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        if core.executor.agenda().has(EVENTS) || !core.executor.inbox().is_empty() {
            self.find_events(core, lent)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn find_events(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        if core.executor.agenda().has(Items::SOCKETS) {
            self.socket_events(core)?;
        }
        if core.executor.drain_inbox(self.budgets.foreign_wakes) {
            core.executor.count_forgotten(core.shutdown.take_forgotten());
            remote::run(core, lent);
        }
        let ends = core.executor.is_stopped() || lent.replaced().is_some();
        if core.executor.agenda().has(Items::POLLERS) && !ends {
            _ = self.pollers.poll().map_err(Failure::panic)?;
        }
        Ok(())
    }

    fn socket_events(&mut self, core: &Core) -> Result<(), TickError> {
        // What came while the thread slept is ready, and spares a look.
        Self::wake_ready(core);
        self.poll_events(core)?;
        Self::wake_ready(core);
        // A signal is heard of through a socket.
        if core.signals.get().is_some_and(|signals| signals.take(&core.reactor)) {
            core.shutdown.handle().shutdown();
        }
        Ok(())
    }

    fn wake_ready(core: &Core) {
        while let Some(waker) = core.reactor.pop_woken() {
            core.executor.wake(waker);
        }
    }

    fn poll_events(&mut self, core: &Core) -> Result<(), TickError> {
        let looked = std::mem::take(&mut self.looked);
        self.turns_unpolled += 1;
        let ready = core.executor.has_work();
        let now_ns = if ready { Some(core.clock.turn_ns()) } else { core.clock.known_ns() };
        // A look whose time nobody knows may be as old as that.
        let long_ago = || {
            let since_ns =
                now_ns.zip(self.polled_ns).map(|(now, polled)| now.saturating_sub(polled));
            since_ns.is_none_or(|since_ns| since_ns >= EVENT_INTERVAL_NS)
        };
        let due = !ready || self.turns_unpolled >= self.budgets.event_interval || long_ago();
        if !looked && !due {
            return Ok(());
        }
        self.turns_unpolled = 0;
        self.polled_ns = now_ns;
        if looked {
            return Ok(());
        }
        core.reactor.drain().map(drop).map_err(|error| TickError::Io(error.kind()))
    }

    /// Step 3, before its rounds: what waited for this tick comes first, what was behind the mark comes last.
    #[inline(always)]
    fn tasks(&mut self, core: &Core) {
        core.executor.pass_mark();
        if core.executor.agenda().has(Items::REAP.union(Items::AWAITED).union(Items::FRONT)) {
            self.first_tasks(core);
        }
    }

    #[inline(never)]
    fn first_tasks(&mut self, core: &Core) {
        core.executor.reap();
        if core.executor.agenda().take(Items::AWAITED) {
            let mut awaited = std::mem::take(&mut self.awaited);
            core.executor.wake_first(awaited.drain(..).flatten());
            core.waits.give_back(awaited);
        }
        core.executor.round_first();
    }

    /// Rounds, until nothing is ready before the mark or the budget is spent.
    #[inline(never)]
    fn rounds(core: &Core, budget: &mut u64) {
        *budget -= core.executor.rounds(*budget);
    }

    /// Step 4: fires the timers registered before this turn and due at the frozen time, in (deadline,
    /// registration) order; then rounds, at least one. A turn without a time began without a timer.
    #[inline(never)]
    fn timers(&self, core: &Core, budget: &mut u64) {
        if !core.clock.is_read() {
            return;
        }
        let now_ns = core.clock.now_ns();
        let mut fired = 0;
        while fired < self.budgets.timers {
            let due = core.timers.borrow_mut().pop_due(now_ns, self.timer_mark);
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

    /// Step 5: before each stage a look at what is awaited here, the tasks that it woke, one round of the
    /// others; then its schedule, then the reaper. After the last one the same without a schedule: what
    /// it woke acts in this tick.
    #[inline(always)]
    fn stages(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        if self.stages.are_empty() && core.executor.is_quiet() && core.looks.pass(core) {
            return Ok(());
        }
        self.run_stages(core, lent)
    }

    /// As [`stages`](Self::stages), where there is something to run, or to look at.
    #[inline(never)]
    fn run_stages(&mut self, core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        Self::check(core, lent)?;
        for stage in self.stages.begin_tick() {
            if self.stages.has_steps() && self.steps_of(core, lent, stage)? {
                continue;
            }
            self.stage(core, lent, stage, true)?;
        }
        self.before_stage(core, lent, None);
        core.executor.reap();
        Self::check(core, lent)
    }

    #[inline(always)]
    fn stage(
        &mut self,
        core: &Core,
        lent: &Lent<'_>,
        stage: usize,
        first: bool,
    ) -> Result<(), Box<Failure>> {
        self.before_stage(core, lent, first.then_some(stage));
        Self::check(core, lent)?;
        if self.stages.has_systems(stage) {
            let ran = lent.with(|world| self.stages.run(stage, world));
            ran.map_err(|error| lost(lent, error))?.map_err(Failure::panic)?;
            core.executor.reap();
        }
        Ok(())
    }

    /// A stage of fixed steps: as often as steps are due. Who waits for the stage runs before the first.
    /// False: the stage is not of that kind.
    #[inline(never)]
    fn steps_of(
        &mut self,
        core: &Core,
        lent: &Lent<'_>,
        stage: usize,
    ) -> Result<bool, Box<Failure>> {
        let Some(steps) = self.stages.begin_steps(stage, self.time.nominal_ns()) else {
            return Ok(false);
        };
        core.counters.steps_skipped.add(steps.skipped);
        let tick = self.time.begin_steps();
        let mut ran = Ok(());
        for number in 0..steps.run {
            if let Some(step) = self.stages.step(stage) {
                self.time.begin_step(step);
            }
            ran = self.stage(core, lent, stage, number == 0);
            if ran.is_err() {
                break;
            }
        }
        self.time.end_steps(tick);
        ran.map(|()| true)
    }

    /// `stage`: whoever waits for this stage is woken. `None`: before a further step of a stage, and
    /// after the last one.
    fn before_stage(&self, core: &Core, lent: &Lent<'_>, stage: Option<usize>) {
        core.looks.look(core, lent, stage);
        core.executor.round_first();
        if core.executor.has_ready() {
            core.executor.round(self.budgets.tasks_per_cycle);
        }
    }

    /// Step 6: messages turn over, unless a stage of fixed steps has yet to see them; trackers are
    /// cleared, and change ticks checked in a tick that is measured.
    #[inline(always)]
    fn end(&mut self, lent: &Lent<'_>, sampled: bool) -> Result<(), Box<Failure>> {
        if !sampled && lent.clear_trackers(self.end.without_registry()) {
            return Ok(());
        }
        self.end_knowing(lent, sampled)
    }

    /// As [`end`](Self::end), where there may be more to do than to clear trackers.
    #[inline(never)]
    fn end_knowing(&mut self, lent: &Lent<'_>, check: bool) -> Result<(), Box<Failure>> {
        let ended = lent.with(|world| self.end.run(world, &mut self.stages, check));
        ended.map_err(|error| lost(lent, error))
    }

    /// Statistics, for those who look from outside and from systems.
    #[inline(always)]
    fn publish(core: &Core) {
        let counters = &*core.counters;
        counters.ticks.set(core.tick.get());
        counters.polls.set(core.executor.poll_number());
        counters.wakes_local.set(core.executor.local_wakes());
        if core.executor.agenda().has(Items::COUNTS.union(Items::SOCKETS)) {
            Self::publish_rare(core);
        }
    }

    #[inline(never)]
    fn publish_rare(core: &Core) {
        core.executor.agenda().remove(Items::COUNTS);
        let counts = core.executor.counts();
        let counters = &*core.counters;
        counters.wakes_foreign.set(counts.foreign_wakes);
        counters.task_panics.set(counts.task_panics);
        counters.forgotten_payloads.set(counts.forgotten_payloads);
        counters.events.set(core.reactor.events_seen());
        counters.event_looks.set(core.reactor.looks());
    }

    /// Stops the tick when a panic is to leave it, or the World has been replaced.
    fn check(core: &Core, lent: &Lent<'_>) -> Result<(), Box<Failure>> {
        if core.executor.is_stopped()
            && let Some(payload) = core.executor.take_propagated()
        {
            return Err(Failure::panic(payload));
        }
        match lent.replaced() {
            Some(place) => Err(TickError::WorldReplaced(place).into()),
            None => Ok(()),
        }
    }
}
