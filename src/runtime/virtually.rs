//! Step 1 of the loop contract under the virtual clock: when time moves, and what is wrong with a
//! program whose time cannot.
//!
//! Invariant **never past a deadline**: but for [`VirtualClock::skip`](crate::VirtualClock::skip), time
//! moves to the next timer, step or beat at most, and what is due there gets its turn before time moves on.
#![forbid(unsafe_code)]

use super::{
    error::{Failure, TickError},
    pacing::{Due, Pacer},
    tick::FrameLoop,
};
use crate::{clock::VirtualTime, context::Core, executor::key::Key};

/// After so many turns in one moment a program makes no progress, unless the builder says otherwise.
pub(super) const TURNS_WITHOUT_PROGRESS: u64 = 1_000_000;

/// What the loop remembers from one wait under the virtual clock to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Virtually {
    limit: u64,
    /// Turns at the time `at_ns`, before the beat `beat_ns`.
    turns: u64,
    at_ns: u64,
    beat_ns: Option<u64>,
    /// They are too many: the turn that goes on is the last, and names its tasks.
    is_last: bool,
    /// External work was counted at the last look.
    was_held: bool,
    /// What had begun to be external work by then.
    begun: (usize, u32),
}

impl Virtually {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            turns: 0,
            at_ns: 0,
            beat_ns: None,
            is_last: false,
            was_held: false,
            begun: (0, 0),
        }
    }
}

/// What is left to do about time where nothing is to be done.
pub(super) enum Onward {
    /// Time has moved, or something is to be asked again.
    Again,
    /// The thread waits, so long at most, in nanoseconds of the real clock.
    Wait(Option<u64>),
}

impl FrameLoop {
    /// As [`wait`](Self::wait), under the virtual clock.
    #[inline(never)]
    pub(super) fn wait_virtually(
        &mut self,
        core: &Core,
        time: &VirtualTime,
    ) -> Result<Due, Box<Failure>> {
        self.refuse_strangers(core)?;
        self.count_turn(core, time)?;
        let moved = self.step_time(core, time);
        if self.pacer.never_waits() {
            if moved { Ok(Due::Tick) } else { self.jump_or_tick(core, time) }
        } else if matches!(self.pacer, Pacer::OnEvent) && self.has_work(core) {
            Ok(Due::Tick)
        } else {
            self.wait_for_time(core)
        }
    }

    /// Whether something outside the program may still happen, which holds virtual time still. A signal
    /// may always come, and does not count.
    fn waits_outside(core: &Core) -> bool {
        core.reactor.len() > usize::from(core.signals.get().is_some()) || core.remote.is_held()
    }

    /// A wake by another thread is an error, unless external work was counted when it came: now, at the
    /// last look, or in between.
    fn refuse_strangers(&mut self, core: &Core) -> Result<(), TickError> {
        // Looked at first: who wakes, then ends its work, is seen by this look, or excused by the next.
        let is_held = Self::waits_outside(core);
        let begun = (core.remote.holds(), core.reactor.registered());
        let excused = is_held || self.virtually.was_held || begun != self.virtually.begun;
        self.virtually.was_held = is_held;
        self.virtually.begun = begun;
        // A request to stop may come from any thread; it was noted before it woke anybody.
        let stranger = core
            .executor
            .inbox()
            .take_stranger()
            .filter(|_| !excused && !core.shutdown.handle().is_shutdown());
        match stranger.and_then(|word| core.executor.describe_key(Key::from_word(word))) {
            Some(task) => Err(TickError::ForeignWake(task)),
            None => Ok(()),
        }
    }

    /// Another turn. Too many in one moment, with nothing from outside to end it, are an error that names
    /// the tasks of one more. Whoever calls `tick()` sees for himself. A tick that makes up for a beat is a
    /// step towards the end of the moment, however many are to follow.
    fn count_turn(&mut self, core: &Core, time: &VirtualTime) -> Result<(), TickError> {
        let state = &mut self.virtually;
        let (at_ns, beat_ns) = (time.now_ns(), self.pacer.beat_ns());
        let counts = (at_ns, beat_ns) == (state.at_ns, state.beat_ns)
            && !matches!(self.pacer, Pacer::ByHand)
            && !time.is_paced()
            && !Self::waits_outside(core);
        if !counts {
            (state.at_ns, state.beat_ns) = (at_ns, beat_ns);
            self.forget_turns(core);
            return Ok(());
        }
        state.turns += 1;
        if state.turns < state.limit {
            return Ok(());
        }
        if !std::mem::replace(&mut state.is_last, true) {
            core.executor.name_polled();
            return Ok(());
        }
        let turns = state.turns;
        let tasks = core.executor.take_polled();
        self.forget_turns(core);
        Err(TickError::NoProgress { turns, tasks })
    }

    /// Turns are counted from here on.
    pub(super) fn forget_turns(&mut self, core: &Core) {
        self.virtually.turns = 0;
        if std::mem::take(&mut self.virtually.is_last) {
            drop(core.executor.take_polled());
        }
    }

    /// Moves time on by a step, to the next deadline at most, as far as it was told to go or real time
    /// has gone. Whether it moved.
    pub(super) fn step_time(&self, core: &Core, time: &VirtualTime) -> bool {
        let now_ns = time.now_ns();
        let real_ns = if time.is_paced() { core.clock.real_ns() } else { 0 };
        let goal_ns = time.goal_ns(real_ns);
        if goal_ns <= now_ns {
            return false;
        }
        let timer_ns = Self::next_deadline(core);
        let beat_ns = self.pacer.next_ns().filter(|_| !self.pacer.never_waits());
        // A step that is due waits for a tick, which may be held back until time has gone on.
        let step_ns = self.next_step(core).filter(|step_ns| *step_ns > now_ns);
        let next_ns = [timer_ns, beat_ns, step_ns].into_iter().flatten().min();
        time.move_to(next_ns.map_or(goal_ns, |next_ns| next_ns.min(goal_ns)));
        time.now_ns() > now_ns
    }

    /// A tick that nothing is waited for: time goes on to the next timer or step, if nothing can happen
    /// before it.
    fn jump_or_tick(&mut self, core: &Core, time: &VirtualTime) -> Result<Due, Box<Failure>> {
        // Whoever wakes a task, then ends its work, is seen by one of the two in this order.
        if Self::waits_outside(core) || self.has_work(core) || self.poll_pollers(core)?.did > 0 {
            return Ok(Due::Tick);
        }
        let timer_ns = Self::next_deadline(core);
        match [timer_ns, self.next_step(core)].into_iter().flatten().min() {
            Some(next_ns) if time.jumps() => time.move_to(next_ns),
            Some(_) if time.is_paced() => {}
            // A system or a poller may count ticks, and wake somebody in one of them.
            _ if self.stages.any_systems() || !self.pollers.is_empty() => {}
            _ if matches!(self.pacer, Pacer::ByHand) => {}
            _ => return Err(Self::stuck(core).into()),
        }
        Ok(Due::Tick)
    }

    /// Nothing is due. Moves time to what comes next, timers and steps among it, where nothing can happen
    /// before it; or says how long the thread waits for it.
    pub(super) fn go_on(
        &mut self,
        core: &Core,
        time: &VirtualTime,
        may_park: bool,
        [timer_ns, step_ns]: [Option<u64>; 2],
    ) -> Result<Onward, Box<Failure>> {
        let next_ns = [timer_ns, step_ns, self.pacer.next_ns()].into_iter().flatten().min();
        let outside = Self::waits_outside(core);
        // Whoever woke a task, then ended its work, did so after the inbox was last looked at.
        if !outside && self.has_turn_work(core) {
            return Ok(Onward::Again);
        }
        // A system may count ticks, and wake somebody in one of them; a poller that is to be called
        // again may have something to do then.
        let somebody_waits = self.wants_tick(core) || core.looks.awaits_stages();
        let comes = time.left_ns() > 0
            || !time.is_paused()
                && (timer_ns.is_some()
                    || (next_ns.is_some() && (self.stages.any_systems() || somebody_waits)));
        if !comes && may_park && !outside {
            return Err(Self::stuck(core).into());
        }
        let real_ns = if time.is_paced() { core.clock.real_ns() } else { 0 };
        if time.left_ns() > 0 || next_ns.is_some_and(|next_ns| next_ns <= time.goal_ns(real_ns)) {
            self.step_time(core, time);
            return Ok(Onward::Again);
        }
        if time.is_paced() {
            return Ok(Onward::Wait(next_ns.and_then(|ns| time.real_left_ns(ns, real_ns))));
        }
        if outside {
            return Ok(Onward::Wait(None));
        }
        match next_ns {
            Some(next_ns) if time.jumps() => time.move_to(next_ns),
            // A poller is asked again and again.
            _ => self.count_turn(core, time)?,
        }
        Ok(Onward::Again)
    }

    fn stuck(core: &Core) -> TickError {
        TickError::Stuck(core.executor.describe_all())
    }
}
