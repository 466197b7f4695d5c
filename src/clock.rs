//! The only reader of time.
//!
//! Inside, time is nanoseconds since the runtime's clock began: a `u64`, enough for 584 years.

mod virtual_time;

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use virtual_time::VirtualTime;

/// Which clock a runtime runs by.
///
/// Everything of a runtime reads this one clock: timers, beats, [`event_time`](crate::event_time),
/// [`precise_now`](crate::precise_now), [`utc_now`](crate::utc_now) and the statistics.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, event_time, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
/// rt.block_on(async {
///     let start = event_time();
///     sleep(Duration::from_secs(86_400)).await;
///     assert_eq!(event_time() - start, Duration::from_secs(86_400));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ClockMode {
    /// The machine's monotonic clock.
    #[default]
    Real,
    /// A clock that stands still while a task can run, and jumps to the next timer or beat when none can, or
    /// to the next fixed step whose stage has a system, or is awaited. What would take an hour takes as long
    /// as its work, and two runs see the same times and poll the same tasks in the same order: see
    /// [`poll_hash`](crate::RuntimeBuilder::poll_hash).
    /// [`VirtualClock`](crate::VirtualClock) moves, paces and stops it.
    ///
    /// *External work* holds time still, because what comes from there is not the program's to foresee: a
    /// registered socket, a live [`Handle`](crate::Handle), an [`ExternalWork`](crate::ExternalWork).
    /// Nothing else does. The wake of a task by another thread while none is counted is an error that
    /// names the task, [`TickError::ForeignWake`](crate::TickError::ForeignWake): it would come at another
    /// time in every run. [`ShutdownHandle`](crate::ShutdownHandle) and signals are exempt.
    ///
    /// A program that can never go on is an error, [`TickError::Stuck`](crate::TickError::Stuck), and so
    /// is one that goes round and round in one moment,
    /// [`TickError::NoProgress`](crate::TickError::NoProgress).
    Virtual,
}

/// A time that the clock reaches. What was too far for its nanoseconds, and so is the largest number there
/// is, never comes.
pub(crate) fn reached(ns: u64) -> Option<u64> {
    (ns < u64::MAX).then_some(ns)
}

/// A duration in the clock's nanoseconds; what does not fit is the largest there is.
pub(crate) fn duration_ns(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// The instant so many nanoseconds after `origin`; what does not fit is as far in the future as an
/// `Instant` goes.
pub(crate) fn instant_after(origin: Instant, ns: u64) -> Instant {
    let mut span = Duration::from_nanos(ns);
    loop {
        if let Some(instant) = origin.checked_add(span) {
            return instant;
        }
        span /= 2;
    }
}

/// So many nanoseconds after `epoch`; what does not fit is `epoch`.
fn system_time_after(epoch: SystemTime, ns: u64) -> SystemTime {
    epoch.checked_add(Duration::from_nanos(ns)).unwrap_or(epoch)
}

/// The machine's monotonic clock, the one that `Instant` reads, in nanoseconds from a beginning of its
/// own. A third of the instructions of `Instant::elapsed`, and read in every turn.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn monotonic_ns() -> u64 {
    use rustix::time::{ClockId, clock_gettime};

    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// The same where `Instant` stands still while the machine sleeps, and the monotonic clock does not: a
/// deadline that is an `Instant` would come early.
#[cfg(target_vendor = "apple")]
pub(crate) fn monotonic_ns() -> u64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    duration_ns(FIRST.get_or_init(Instant::now).elapsed())
}

/// What the machine's clock says, in nanoseconds since it said `origin_ns`.
pub(crate) fn real_ns_since(origin_ns: u64) -> u64 {
    monotonic_ns().wrapping_sub(origin_ns)
}

#[derive(Debug)]
pub(crate) struct Clock {
    /// `None`: the real clock.
    virtual_time: Option<Rc<VirtualTime>>,
    /// What the virtual clock's beginning is in UTC.
    epoch: SystemTime,
    /// The turn's time, in nanoseconds and in UTC, as it was last asked for under the real clock.
    utc: Cell<Option<(u64, SystemTime)>>,
    /// The clock's beginning, as an `Instant` and as the clock has it. The second is read later, so that
    /// a time of ours, made an `Instant`, is never ahead of `Instant::now`.
    origin: Instant,
    origin_ns: u64,
    /// What `event_time` says: the time of the turn.
    frozen_ns: Cell<u64>,
    /// This turn has not read the clock, because nothing is timed and nobody has ever asked.
    unread: Cell<bool>,
    /// Somebody has asked for the time of a turn: from the next one on, each reads the clock as it begins.
    asked: Cell<bool>,
}

impl Clock {
    /// `epoch`: what the beginning of a virtual clock is in UTC.
    pub(crate) fn new(mode: ClockMode, epoch: SystemTime) -> Self {
        let origin = Instant::now();
        let origin_ns = monotonic_ns();
        Self {
            virtual_time: (mode == ClockMode::Virtual).then(Rc::default),
            epoch,
            utc: Cell::new(None),
            origin,
            origin_ns,
            frozen_ns: Cell::new(0),
            unread: Cell::new(false),
            asked: Cell::new(false),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.virtual_time.is_some()
    }

    /// The state of the virtual clock, if it is one.
    pub(crate) fn virtual_time(&self) -> Option<&Rc<VirtualTime>> {
        self.virtual_time.as_ref()
    }

    /// The time of the turn.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        if self.unread.get() {
            self.read_late();
        }
        self.frozen_ns.get()
    }

    #[cold]
    fn read_late(&self) {
        self.asked.set(true);
        self.freeze();
    }

    /// A turn begins. `timed`: something in it depends on the time. A read of the clock is half of what an
    /// empty turn costs, so a turn in which nothing does reads it when first asked.
    #[inline]
    pub(crate) fn begin_turn(&self, timed: bool) {
        if timed || self.asked.get() {
            self.freeze();
        } else {
            self.unread.set(true);
        }
    }

    /// A turn begins at a time that was read just now.
    #[inline]
    pub(crate) fn begin_turn_at(&self, now_ns: u64) {
        self.unread.set(false);
        self.frozen_ns.set(now_ns);
    }

    /// Whether the turn has a time.
    pub(crate) fn is_read(&self) -> bool {
        !self.unread.get()
    }

    /// The time of the turn, if it has one.
    pub(crate) fn known_ns(&self) -> Option<u64> {
        self.is_read().then(|| self.frozen_ns.get())
    }

    /// The time of the turn, for the loop: that it asks has no later turn read the clock as it begins.
    pub(crate) fn turn_ns(&self) -> u64 {
        if self.unread.get() {
            self.freeze();
        }
        self.frozen_ns.get()
    }

    /// The time of the call. Equal to [`now_ns`](Self::now_ns) under the virtual clock.
    pub(crate) fn precise_ns(&self) -> u64 {
        match &self.virtual_time {
            None => self.real_ns(),
            Some(time) => time.now_ns(),
        }
    }

    /// What the real clock says, whichever this one is.
    pub(crate) fn real_ns(&self) -> u64 {
        real_ns_since(self.origin_ns)
    }

    /// The turn's time in UTC. Under the real clock the machine is asked once a turn.
    pub(crate) fn utc(&self) -> SystemTime {
        let now_ns = self.now_ns();
        if self.is_virtual() {
            return system_time_after(self.epoch, now_ns);
        }
        if let Some((asked_ns, utc)) = self.utc.get()
            && asked_ns == now_ns
        {
            return utc;
        }
        let since = Duration::from_nanos(self.real_ns().saturating_sub(now_ns));
        let machine = SystemTime::now();
        let utc = machine.checked_sub(since).unwrap_or(machine);
        self.utc.set(Some((now_ns, utc)));
        utc
    }

    /// One timestamp for the whole turn.
    fn freeze(&self) {
        self.begin_turn_at(self.precise_ns());
    }

    /// The clock's beginning, as an `Instant`.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// What the machine's clock said then.
    pub(crate) fn origin_ns(&self) -> u64 {
        self.origin_ns
    }

    /// `ns` as an `Instant`; what does not fit is as far in the future as an `Instant` goes.
    pub(crate) fn instant(&self, ns: u64) -> Instant {
        instant_after(self.origin, ns)
    }

    /// An `Instant` in nanoseconds; what is before the clock's beginning is 0.
    pub(crate) fn ns(&self, instant: Instant) -> u64 {
        duration_ns(instant.saturating_duration_since(self.origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(mode: ClockMode) -> Clock {
        Clock::new(mode, SystemTime::UNIX_EPOCH)
    }

    fn move_to(clock: &Clock, ns: u64) {
        clock.virtual_time().unwrap().move_to(ns);
    }

    #[test]
    fn the_virtual_clock_stands_still_until_it_is_moved() {
        let clock = clock(ClockMode::Virtual);
        move_to(&clock, 5_000);
        move_to(&clock, 3_000);
        assert_eq!(clock.precise_ns(), 5_000, "it never goes back");
        assert_eq!(clock.now_ns(), 0, "the turn's time changes when the turn does");
        clock.begin_turn(true);
        assert_eq!(clock.now_ns(), 5_000);
        let utc = clock.utc().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(utc, Duration::from_nanos(5_000));
    }

    #[test]
    fn a_turn_without_anything_timed_reads_the_clock_when_it_is_asked() {
        let clock = clock(ClockMode::Virtual);
        clock.begin_turn(false);
        move_to(&clock, 5_000);
        assert!(!clock.is_read());
        assert_eq!(clock.now_ns(), 5_000, "the time of the first question");
        move_to(&clock, 6_000);
        assert_eq!(clock.now_ns(), 5_000, "and of the whole turn from there on");
        clock.begin_turn(false);
        move_to(&clock, 7_000);
        assert_eq!(
            clock.now_ns(),
            6_000,
            "who has asked once is given the time of a turn's beginning"
        );
    }

    #[test]
    fn the_loop_asks_for_the_time_of_one_turn_only() {
        let clock = clock(ClockMode::Virtual);
        clock.begin_turn(false);
        move_to(&clock, 5_000);
        assert_eq!(clock.known_ns(), None);
        assert_eq!(clock.turn_ns(), 5_000);
        assert_eq!(clock.known_ns(), Some(5_000));
        clock.begin_turn(false);
        assert_eq!(clock.known_ns(), None, "the next turn reads the clock when it is asked");
    }

    #[test]
    fn the_real_clock_has_one_time_in_utc_for_a_turn() {
        let clock = clock(ClockMode::Real);
        clock.begin_turn(true);
        let utc = clock.utc();
        while clock.precise_ns() == clock.now_ns() {}
        assert_eq!(clock.utc(), utc);
        assert!(utc > SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn instants_and_nanoseconds_convert_both_ways_and_saturate() {
        let clock = clock(ClockMode::Real);
        assert_eq!(clock.ns(clock.instant(1_234_567)), 1_234_567);
        assert!(clock.ns(clock.instant(u64::MAX)) > u64::MAX / 4);
        assert_eq!(duration_ns(Duration::MAX), u64::MAX);
    }
}
