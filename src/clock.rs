//! The only reader of time.
//!
//! Inside, time is nanoseconds since the runtime's clock began: a `u64`, enough for 584 years.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Which clock a runtime runs by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ClockMode {
    /// The machine's monotonic clock.
    #[default]
    Real,
    /// A clock that stands still while a task can run, and jumps to the next timer when none can. What
    /// would take an hour takes as long as its work, and two runs see the same times. A registered socket
    /// holds it still: what comes through it is not the program's to foresee.
    Virtual,
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

/// The machine's monotonic clock, the one that `Instant` reads, in nanoseconds from a beginning of its
/// own. A third of the instructions of `Instant::elapsed`, and read in every turn.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

#[derive(Debug)]
pub(crate) struct Clock {
    mode: ClockMode,
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
    /// Where the virtual clock stands.
    virtual_ns: Cell<u64>,
}

impl Clock {
    pub(crate) fn new(mode: ClockMode) -> Self {
        let origin = Instant::now();
        let origin_ns = monotonic_ns();
        Self {
            mode,
            origin,
            origin_ns,
            frozen_ns: Cell::new(0),
            unread: Cell::new(false),
            asked: Cell::new(false),
            virtual_ns: Cell::new(0),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.mode == ClockMode::Virtual
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

    /// Whether the turn has a time. One that has none has nothing that could be due either.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        !self.unread.get()
    }

    /// The time of the call. Equal to [`now_ns`](Self::now_ns) under the virtual clock.
    pub(crate) fn precise_ns(&self) -> u64 {
        match self.mode {
            ClockMode::Real => monotonic_ns().wrapping_sub(self.origin_ns),
            ClockMode::Virtual => self.virtual_ns.get(),
        }
    }

    /// One timestamp for the whole turn.
    fn freeze(&self) {
        self.unread.set(false);
        self.frozen_ns.set(self.precise_ns());
    }

    /// Moves the virtual clock forward to `ns`.
    pub(crate) fn jump_to(&self, ns: u64) {
        debug_assert!(self.is_virtual(), "the real clock is not ours to move");
        self.virtual_ns.set(self.virtual_ns.get().max(ns));
    }

    /// The clock's beginning, as an `Instant`.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
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

    #[test]
    fn the_virtual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::new(ClockMode::Virtual);
        clock.jump_to(5_000);
        clock.jump_to(3_000);
        assert_eq!(clock.precise_ns(), 5_000, "it never goes back");
        assert_eq!(clock.now_ns(), 0, "the turn's time changes when the turn does");
        clock.begin_turn(true);
        assert_eq!(clock.now_ns(), 5_000);
    }

    #[test]
    fn a_turn_without_anything_timed_reads_the_clock_when_it_is_asked() {
        let clock = Clock::new(ClockMode::Virtual);
        clock.begin_turn(false);
        clock.jump_to(5_000);
        assert!(!clock.is_read());
        assert_eq!(clock.now_ns(), 5_000, "the time of the first question");
        clock.jump_to(6_000);
        assert_eq!(clock.now_ns(), 5_000, "and of the whole turn from there on");
        clock.begin_turn(false);
        clock.jump_to(7_000);
        assert_eq!(
            clock.now_ns(),
            6_000,
            "who has asked once is given the time of a turn's beginning"
        );
    }

    #[test]
    fn instants_and_nanoseconds_convert_both_ways_and_saturate() {
        let clock = Clock::new(ClockMode::Real);
        assert_eq!(clock.ns(clock.instant(1_234_567)), 1_234_567);
        assert!(clock.ns(clock.instant(u64::MAX)) > u64::MAX / 4);
        assert_eq!(duration_ns(Duration::MAX), u64::MAX);
    }
}
