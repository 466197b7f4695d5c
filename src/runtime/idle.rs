//! Step 1 of the loop contract: what the thread does until there is something to do.

use std::{ops::Range, time::Duration};

use super::{
    error::{Failure, TickError},
    pacing::{Due, Pacer},
    poller::Polled,
    tick::FrameLoop,
    virtually::Onward,
};
use crate::{clock::reached, context::Core, timer::wheel::IsDue, world::lend};

/// Entries of the wheel that are moved ahead between two looks at what happens outside.
const WHEEL_MOVES: usize = 128;

/// Nothing is moved in the wheel when a beat or a timer comes so soon: more than such a batch takes.
const SOON_NS: u64 = 20_000;

/// What lies nearer than this is waited for by reading the clock alone: a look at mio, or a sleep, might
/// end after it.
const APPROACH_NS: u64 = 1_000;

/// A beat is rehearsed when it is so near: longer than a rehearsal takes, and so short that little of it is
/// forgotten.
const REHEARSAL_NS: Range<u64> = 8_000..20_000;

/// After so long a wait the processor has to fetch the code of a tick from afar.
const COLD_NS: u64 = 40_000;

/// How the thread waits until there is something to do.
///
/// [`Runtime::block_on`](crate::Runtime::block_on) parks and
/// [`block_on_busy`](crate::Runtime::block_on_busy) spins, unless
/// [`RuntimeBuilder::idle`](crate::RuntimeBuilder::idle) says otherwise. Free-running ticks leave nothing
/// to wait for. Whatever is chosen, sockets, other threads and timers end the wait, and nothing starts
/// before its time.
///
/// A thread that spins before a beat of a fixed rate, for 40 us or more, rehearses it some 10 us before: it
/// runs an empty schedule, so that bevy's code is in the processor's caches when the beat comes. Nothing of
/// the program runs then; the World's change tick goes on.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Idle, Pacing, Runtime, precise_now, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world)
///     .pacing(Pacing::hertz(1_000))
///     .idle(Idle::ParkThenSpin)
///     .build();
/// rt.block_on(async {
///     let start = precise_now();
///     sleep(Duration::from_millis(2)).await;
///     assert!(precise_now() - start >= Duration::from_millis(2));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Idle {
    /// Looks again and again: the shortest reaction, and a whole core.
    Spin,
    /// As `Spin`, but lets another thread of this core run in between, if one wants to.
    Yield,
    /// Sleeps in the operating system, on Linux with a timeout in nanoseconds, elsewhere in whole
    /// milliseconds with a spin for the rest. What is due within a microsecond is not slept for.
    Park,
    /// As `Park`, but wakes early for what has a time and spins until then. How much earlier adapts to
    /// how late the operating system wakes the thread, up to 500 us. While that is more than the whole wait,
    /// as it may be at thousands of ticks a second, one wait in 1,024 is slept through for its first quarter,
    /// to see whether the system is still so late.
    ParkThenSpin,
}

/// What a wait has to know of the timers.
#[derive(Clone, Copy, Default, Debug)]
struct NextTimer {
    /// When to look at them again, at the latest.
    at_ns: Option<u64>,
    /// There is more to move in the wheel: the thread does not sleep before that is done.
    moves: bool,
}

impl FrameLoop {
    /// Whether a tick begins at once, whatever the time.
    #[inline(always)]
    pub(super) fn goes_on(&self, core: &Core) -> bool {
        !core.clock.is_virtual()
            && (self.pacer.never_waits()
                || (matches!(self.pacer, Pacer::OnEvent) && self.has_work(core)))
    }

    /// Waits until something begins, and says what.
    pub(super) fn wait(&mut self, core: &Core) -> Result<Due, Box<Failure>> {
        match core.clock.virtual_time() {
            Some(time) => self.wait_virtually(core, time),
            None => self.wait_for_time(core),
        }
    }

    /// Waits where the time decides: for a beat, a timer, or whatever comes before.
    ///
    /// A wake-up that only moves timers on within the wheel is followed by more waiting: it is not a
    /// turn.
    #[inline(never)]
    pub(super) fn wait_for_time(&mut self, core: &Core) -> Result<Due, Box<Failure>> {
        let (mut happened, mut begins) = (false, true);
        self.looked = false;
        self.rehearsed = false;
        loop {
            let now_ns = core.clock.precise_ns();
            if self.pacer.has_overrun(now_ns) {
                core.counters.overruns.add(1);
            }
            let mut turn = happened || self.has_turn_work(core);
            let timer = if turn { NextTimer::default() } else { self.next_timer(core, now_ns) };
            let timer_ns = timer.at_ns;
            turn |= timer_ns.is_some_and(|timer_ns| timer_ns <= now_ns);
            let mut step_ns = self.next_step(core);
            // A step that is due asks for a tick, which the pacing may hold back.
            let step_due = step_ns.take_if(|step_ns| *step_ns <= now_ns).is_some();
            let wanted = turn || step_due || self.wants_tick(core);
            if let Some(due) = self.pacer.due(now_ns, turn, wanted) {
                self.waited_ns = Some(now_ns);
                return Ok(due);
            }
            let polled = self.poll_pollers(core)?;
            if polled.did > 0 {
                happened = true;
                continue;
            }
            let left_ns = if let Some(time) = core.clock.virtual_time() {
                match self.go_on(core, time, polled.may_park, [timer_ns, step_ns])? {
                    Onward::Again => continue,
                    Onward::Wait(left_ns) => left_ns,
                }
            } else {
                let next = [timer_ns, step_ns, self.pacer.next_ns()].into_iter().flatten().min();
                next.map(|next_ns| next_ns.saturating_sub(now_ns))
            };
            happened = if timer.moves {
                self.spin(core)?
            } else if self.rehearse(now_ns, left_ns, begins)? {
                false
            } else {
                self.pause(core, polled.may_park, left_ns, begins)?
            };
            begins = false;
            if let Some(time) = core.clock.virtual_time() {
                self.step_time(core, time);
            }
        }
    }

    /// Whether tasks have something to do before any event.
    pub(super) fn has_turn_work(&self, core: &Core) -> bool {
        core.executor.has_work() || !core.executor.inbox().is_empty()
    }

    /// Whether somebody waits for a tick.
    pub(super) fn wants_tick(&self, core: &Core) -> bool {
        !core.waits.is_empty() || core.looks.keeps_awake() || self.request.is_requested()
    }

    /// Whether a tick has something to do before any event.
    #[inline(always)]
    pub(super) fn has_work(&self, core: &Core) -> bool {
        self.has_turn_work(core) || self.wants_tick(core)
    }

    /// When the next fixed step asks for a tick, because it has a system or somebody waits for it. Beats are
    /// not asked: the step waits for the next.
    pub(super) fn next_step(&self, core: &Core) -> Option<u64> {
        if !self.stages.has_steps() || matches!(self.pacer, Pacer::Fixed(_)) {
            return None;
        }
        let counts = |stage| self.stages.has_systems(stage) || core.looks.awaits(stage);
        self.stages.next_step_ns(counts)
    }

    /// When to look at the timers again: under the virtual clock, which jumps there, exactly when the
    /// next is due. What can be moved in the wheel ahead of need is moved here, as long as there is time.
    fn next_timer(&self, core: &Core, now_ns: u64) -> NextTimer {
        if core.clock.is_virtual() {
            return NextTimer { at_ns: Self::next_deadline(core), moves: false };
        }
        let is_soon = |at_ns: Option<u64>| at_ns.is_some_and(|at_ns| at_ns < now_ns + SOON_NS);
        let mut timers = core.timers.borrow_mut();
        let mut at_ns = timers.next_deadline();
        // It may be the bound of a timer that has gone.
        let is_due = match at_ns.filter(|at_ns| *at_ns <= now_ns) {
            Some(_) => timers.has_due(now_ns),
            None => IsDue::No,
        };
        match is_due {
            IsDue::Yes => return NextTimer { at_ns, moves: false },
            // No turn, but no wait either.
            IsDue::Unknown => at_ns = Some(now_ns + 1),
            IsDue::No => at_ns = timers.next_deadline(),
        }
        if is_soon(self.pacer.next_ns()) || (is_due == IsDue::No && is_soon(at_ns)) {
            return NextTimer { at_ns, moves: is_due == IsDue::Unknown };
        }
        let done = timers.prepare(now_ns, WHEEL_MOVES);
        if is_due == IsDue::No {
            at_ns = timers.next_deadline();
        }
        NextTimer { at_ns, moves: !done || is_due == IsDue::Unknown }
    }

    /// When the first timer is due, exactly: where the virtual clock jumps. It does not go to the end of
    /// time for one that is never due.
    pub(super) fn next_deadline(core: &Core) -> Option<u64> {
        core.timers.borrow_mut().first_deadline().and_then(reached)
    }

    /// Before the thread waits, pollers are asked, whether it then parks or not. The turn that begins if
    /// they had something to do is theirs: it asks them again.
    pub(super) fn poll_pollers(&mut self, core: &Core) -> Result<Polled, Box<Failure>> {
        if self.pollers.is_empty() {
            return Ok(Polled::default().may_park());
        }
        core.clock.begin_turn(true);
        let polled = self.pollers.poll().map_err(Failure::panic);
        // What they left in the World's queue is applied here; else it would be work that begins a turn.
        core.executor.reap();
        match polled {
            Ok(mut polled) => {
                // What is to leave the loop leaves at the end of a turn, which begins for it.
                let ends = core.executor.is_stopped() || lend::is_replaced();
                polled.did = polled.did.max(ends.into());
                Ok(polled)
            }
            Err(failure) => {
                if let Some(second) = core.executor.take_propagated() {
                    core.executor.forget(second);
                }
                Err(failure)
            }
        }
    }

    /// Rehearses the tick of a beat, once in a wait, when it is near and nothing comes before. `begins`:
    /// nothing of the wait has passed. True: it has taken some time.
    fn rehearse(
        &mut self,
        now_ns: u64,
        left_ns: Option<u64>,
        begins: bool,
    ) -> Result<bool, Box<Failure>> {
        let Some(beat_ns) = self.pacer.beat_ns().filter(|_| self.rehearses) else {
            return Ok(false);
        };
        let beat_left_ns = beat_ns.saturating_sub(now_ns);
        // What ran just before the wait is warm.
        self.rehearsed |= begins && beat_left_ns < COLD_NS;
        if self.rehearsed
            || !REHEARSAL_NS.contains(&beat_left_ns)
            || left_ns.is_none_or(|left_ns| left_ns < REHEARSAL_NS.start)
        {
            return Ok(false);
        }
        self.rehearsed = true;
        // Whoever replaced the World is found out by the tick.
        let ran = lend::with(self.world, |world| self.stages.rehearse(world));
        ran.unwrap_or(Ok(())).map(|()| true).map_err(Failure::panic)
    }

    /// Lets the time pass until something may have happened, at most for `left_ns`. True: something did.
    /// What happens outside holds virtual time still: no time ends that wait. `begins`: nothing of the wait
    /// has passed.
    fn pause(
        &mut self,
        core: &Core,
        may_park: bool,
        left_ns: Option<u64>,
        begins: bool,
    ) -> Result<bool, TickError> {
        if left_ns.is_some_and(|left_ns| left_ns <= APPROACH_NS) {
            std::hint::spin_loop();
            return Ok(false);
        }
        match (self.idle, left_ns) {
            (Idle::Park | Idle::ParkThenSpin, _) if !may_park => self.spin(core),
            (Idle::Spin, _) => self.spin(core),
            (Idle::Yield, _) => {
                std::thread::yield_now();
                self.spin(core)
            }
            (Idle::ParkThenSpin, Some(left_ns)) => {
                let Some(parked_ns) = self.margin.park_ns(left_ns, begins) else {
                    return self.spin(core);
                };
                let now_ns = core.clock.real_ns();
                let happened = self.park(core, Some(parked_ns))?;
                let late_ns = core.clock.real_ns().checked_sub(now_ns + parked_ns);
                // A wait that something else ended says nothing about the operating system's timers.
                if let (Some(late_ns), false) = (late_ns, happened || self.has_turn_work(core)) {
                    self.margin.adapt(late_ns);
                }
                Ok(happened)
            }
            (Idle::Park | Idle::ParkThenSpin, left_ns) => self.park(core, left_ns),
        }
    }

    /// One look at what the operating system has. Wakes of other threads need none.
    fn spin(&mut self, core: &Core) -> Result<bool, TickError> {
        if core.reactor.len() == 0 {
            std::hint::spin_loop();
            return Ok(false);
        }
        self.looked = true;
        Self::io(core.reactor.drain())
    }

    /// Sleeps until an event, a wake from another thread, or the end of the time; what is too short to
    /// sleep for is spun through.
    fn park(&mut self, core: &Core, left_ns: Option<u64>) -> Result<bool, TickError> {
        let left = left_ns.map(Duration::from_nanos);
        if left.is_some_and(|left| !core.reactor.sleeps_for(left)) {
            return self.spin(core);
        }
        if !core.executor.inbox().park() {
            return Ok(false);
        }
        core.counters.parks.add(1);
        self.looked = true;
        let waited = core.reactor.wait(left);
        core.executor.inbox().unpark();
        Self::io(waited)
    }

    fn io(waited: std::io::Result<usize>) -> Result<bool, TickError> {
        waited.map(|events| events > 0).map_err(|error| TickError::Io(error.kind()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixStream,
        panic::Location,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        thread,
    };

    use bevy_ecs::{message::MessageRegistry, prelude::*};

    use super::*;
    use crate::{
        Pacing, Runtime, ShutdownSignal, Tick, WorldCtx, net, precise_now, sleep_until, spawn_boxed,
    };

    /// Timers nanoseconds to seconds apart in one slot of the wheel, in no order, and a socket that hears
    /// nothing. Another thread ends the first sleep.
    #[test]
    fn a_thread_looks_outside_while_it_moves_timers_ahead_and_sleeps_when_that_is_done() {
        const TIMERS: u64 = 20_000;
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        let (own, _peer) = UnixStream::pair().unwrap();
        let (counters, stop) = (rt.core.get().counters.clone(), rt.shutdown_handle());
        let other = thread::spawn(move || {
            while counters.parks.get() == 0 {
                thread::yield_now();
            }
            stop.shutdown();
        });
        rt.block_on(async {
            let _stream = net::UnixStream::from_std(own).unwrap();
            let first = precise_now() + Duration::from_secs(20);
            for number in 0..TIMERS {
                let after = Duration::from_nanos(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 31);
                drop(spawn_boxed(sleep_until(first + after)));
            }
            ShutdownSignal::current().await;
        });
        other.join().unwrap();
        let core = rt.core.get();
        let moved = core.timers.borrow().moved() as u64;
        assert!(moved >= TIMERS, "{moved}");
        core.timers.borrow_mut().prepare(core.clock.precise_ns(), usize::MAX);
        assert_eq!(core.timers.borrow().moved() as u64, moved, "nothing was left to be done");
        assert!(core.reactor.looks() >= TIMERS / WHEEL_MOVES as u64, "{}", core.reactor.looks());
    }

    #[test]
    fn where_the_system_waits_for_whole_milliseconds_the_rest_is_spun_through() {
        let sleeps_us = [0, 300, 999, 1_000, 1_500, 3_200];
        for idle in [Idle::Park, Idle::ParkThenSpin] {
            let mut world = World::new();
            let mut rt = Runtime::builder(&mut world).idle(idle).build();
            rt.core.get().reactor.wait_coarsely();
            rt.block_on(async {
                for micros in sleeps_us {
                    let before = precise_now();
                    let sleep = Duration::from_micros(micros);
                    sleep_until(before + sleep).await;
                    assert!(precise_now() - before >= sleep, "{idle:?}: {micros} us");
                }
            });
            let parks = rt.stats().parks;
            assert!(parks <= 2 * sleeps_us.len() as u64, "{idle:?}: {parks}");
            let stop = rt.shutdown_handle();
            let counters = rt.core.get().counters.clone();
            let other = thread::spawn(move || {
                while counters.parks.get() == parks {
                    thread::yield_now();
                }
                stop.shutdown();
            });
            rt.block_on(async {
                drop(spawn_boxed(sleep_until(precise_now() + Duration::from_secs(3_600))));
                ShutdownSignal::current().await;
            });
            other.join().unwrap();
        }
    }

    #[test]
    fn a_turn_that_finds_nothing_ready_looks_at_sockets_and_reads_no_clock() {
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        let (own, _peer) = UnixStream::pair().unwrap();
        let _stream = rt.block_on(async { net::UnixStream::from_std(own).unwrap() });
        for _ in 0..3 {
            let looks = rt.core.get().reactor.looks();
            rt.tick().unwrap();
            let core = rt.core.get();
            assert_eq!((core.reactor.looks() - looks, core.clock.known_ns()), (1, None));
        }
        // A turn that has a task to poll asks how long ago that was, and nobody knows.
        let looks = rt.core.get().reactor.looks();
        let _at_once = rt.core.get().executor.spawn(async {}, Location::caller()).unwrap();
        rt.tick().unwrap();
        let core = rt.core.get();
        assert_eq!(core.reactor.looks() - looks, 1);
        assert!(core.clock.known_ns().is_some());
    }

    /// Runs ticks at this rate, a few at a time, until `ends` says so of the rehearsals, or 5,000 have run.
    fn rehearsals(rate: f64, idle: Idle, ends: impl Fn(u64) -> bool) -> u64 {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).pacing(Pacing::hertz(rate)).idle(idle).build();
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        rt.schedule(Tick).add_systems(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        while rt.stats().ticks < 5_000 && !ends(rt.frame.stages.rehearsals) {
            rt.block_on(async {
                for _ in 0..10 {
                    WorldCtx::current().next_tick().await;
                }
            });
        }
        assert_eq!(
            runs.load(Ordering::Relaxed),
            rt.stats().ticks,
            "no system of a stage is rehearsed"
        );
        rt.frame.stages.rehearsals
    }

    #[test]
    fn a_spinning_thread_rehearses_beats_that_are_far_apart() {
        assert!(rehearsals(500.0, Idle::Spin, |rehearsals| rehearsals > 0) > 0);
        assert!(rehearsals(500.0, Idle::ParkThenSpin, |rehearsals| rehearsals > 0) > 0);
    }

    #[test]
    fn a_program_sees_nothing_of_a_rehearsal_but_the_change_tick() {
        #[derive(Component)]
        struct Order;
        #[derive(Message)]
        struct Fill;
        #[derive(Resource, Default)]
        struct Seen([usize; 4]);
        let watch = |added: Query<(), Added<Order>>,
                     mut removed: RemovedComponents<Order>,
                     mut fills: MessageReader<Fill>,
                     mut seen: ResMut<Seen>| {
            let Seen([ticks, adds, removals, messages]) = &mut *seen;
            *ticks += 1;
            *adds += added.iter().count();
            *removals += removed.read().count();
            *messages += fills.read().count();
        };
        let mut world = World::new();
        world.init_resource::<Seen>();
        MessageRegistry::register_message::<Fill>(&mut world);
        let pacing = Pacing::hertz(500);
        let mut rt = Runtime::builder(&mut world).pacing(pacing).idle(Idle::Spin).build();
        rt.schedule(Tick).add_systems(watch);
        let mut ticks = 0;
        while rt.frame.stages.rehearsals < 3 && ticks < 5_000 {
            rt.block_on(async {
                for _ in 0..10 {
                    WorldCtx::current().with_world(|world| {
                        let order = world.spawn(Order).id();
                        world.spawn(Order);
                        world.despawn(order);
                        world.write_message(Fill);
                    });
                    WorldCtx::current().next_tick().await;
                }
            });
            // The first tick of each call, and those that are awaited.
            ticks += 11;
            let Seen(seen) = rt.world().resource::<Seen>();
            assert_eq!(*seen, [ticks, ticks / 11 * 10, ticks / 11 * 10, ticks / 11 * 10]);
        }
        let schedules = rt.world().resource::<Schedules>();
        assert_eq!(schedules.iter().count(), 0, "those of the loop are its own");
    }

    #[test]
    fn nothing_is_rehearsed_where_ticks_are_warm_or_the_thread_sleeps() {
        assert_eq!(rehearsals(30_000.0, Idle::Spin, |_| false), 0);
        assert_eq!(rehearsals(5_000.0, Idle::Park, |_| false), 0);
    }
}
