//! When the next tick starts: the option, and the state of the one that is driven.
//!
//! Invariant **on the grid**: a beat's time is computed from its number, never from the beat before, so
//! no error adds up.

use std::time::Duration;

use crate::clock::{duration_ns, reached};

/// When the next tick starts.
///
/// Whatever is chosen, events, wakes and timers are handled when they come: under a fixed rate, or while
/// [`Hybrid`](Self::Hybrid) holds ticks back, in turns between ticks, which run tasks and no stage. What
/// waits for a tick ([`WorldCtx::next_tick`](crate::WorldCtx::next_tick),
/// [`TickRequest`](crate::TickRequest)) waits for the beat.
///
/// [`Runtime::block_on`](crate::Runtime::block_on) is `OnEvent` and
/// [`block_on_busy`](crate::Runtime::block_on_busy) is `FreeRunning`, unless
/// [`RuntimeBuilder::pacing`](crate::RuntimeBuilder::pacing) says otherwise.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Pacing, Runtime, WorldCtx, event_time};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world)
///     .clock(ClockMode::Virtual)
///     .pacing(Pacing::hertz(50))
///     .build();
/// rt.block_on(async {
///     let start = event_time();
///     WorldCtx::current().next_tick().await;
///     assert_eq!(event_time() - start, Duration::from_millis(20));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Pacing {
    /// One tick follows the other, without a wait.
    FreeRunning,
    /// A tick starts when something happened: an event, a wake, a timer, or a request for one.
    OnEvent,
    /// A tick starts at each beat of a grid: see [`every`](Self::every) and [`hertz`](Self::hertz).
    FixedRate(FixedRate),
    /// A tick starts when something happened, but not sooner after the start of the one before than
    /// `at_most_every`; and when nothing happens, `at_least_every` after it.
    Hybrid {
        /// The shortest time between the starts of two ticks. May be zero.
        at_most_every: Duration,
        /// The longest, as far as the thread is free. Longer than zero, and not shorter than the other.
        /// `Duration::MAX`: nothing starts without an event.
        at_least_every: Duration,
    },
}

impl Pacing {
    /// A tick every `period`, at `t0 + k * period`, where `t0` is the start of the first tick of a
    /// `block_on`.
    ///
    /// # Panics
    ///
    /// When `period` is zero.
    ///
    /// ```
    /// use onbeat::Pacing;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Pacing::every(Duration::from_micros(250)), Pacing::hertz(4_000));
    /// ```
    #[track_caller]
    pub fn every(period: Duration) -> FixedRate {
        assert!(!period.is_zero(), "a fixed rate's period must be longer than zero");
        FixedRate { grid: Grid::every(period), catch_up: CatchUp::default() }
    }

    /// So many ticks a second, on the grid of [`every`](Self::every). Exact for whole numbers, also
    /// where the period is not a whole number of nanoseconds; others are rounded to a millionth.
    ///
    /// # Panics
    ///
    /// When `rate` is not between 0.000,001 and 1,000,000,000.
    ///
    /// ```
    /// use onbeat::Pacing;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Pacing::hertz(1_000), Pacing::every(Duration::from_millis(1)));
    /// assert_eq!(Pacing::hertz(59.94).period(), Duration::from_nanos(16_683_350));
    /// ```
    #[track_caller]
    pub fn hertz(rate: impl Into<f64>) -> FixedRate {
        let rate: f64 = rate.into();
        assert!(
            (0.000_001..=1e9).contains(&rate),
            "a fixed rate lies between 0.000001 and 1000000000 hertz, and {rate} does not"
        );
        let grid = Grid { length_ns: 1_000_000_000_000_000, parts: (rate * 1e6).round() as u64 };
        FixedRate { grid: grid.reduced(), catch_up: CatchUp::default() }
    }
}

impl From<FixedRate> for Pacing {
    fn from(rate: FixedRate) -> Self {
        Self::FixedRate(rate)
    }
}

/// A fixed rate of ticks, made by [`Pacing::every`] and [`Pacing::hertz`].
///
/// ```
/// use onbeat::{CatchUp, FixedRate, Pacing};
/// use std::time::Duration;
///
/// let rate: FixedRate = Pacing::hertz(50).catch_up(CatchUp::AtMost(2));
/// assert_eq!(rate.period(), Duration::from_millis(20));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedRate {
    grid: Grid,
    catch_up: CatchUp,
}

impl FixedRate {
    /// What is done about beats that passed without a tick; they are skipped by default.
    #[must_use]
    pub fn catch_up(self, catch_up: CatchUp) -> Self {
        Self { catch_up, ..self }
    }

    /// The time between two beats, rounded down to nanoseconds.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.grid.at_ns(1))
    }
}

/// What a fixed rate does about beats that passed while an earlier tick still ran. Either way the ticks
/// stay on the grid, and what happened is counted in [`Stats::overruns`](crate::Stats::overruns) and
/// [`Stats::beats_skipped`](crate::Stats::beats_skipped).
///
/// ```
/// use onbeat::{CatchUp, Pacing};
///
/// let pacing = Pacing::hertz(1_000).catch_up(CatchUp::AtMost(3));
/// # let _ = pacing;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum CatchUp {
    /// The latest beat that has come gets its tick at once, those before it get none.
    #[default]
    Skip,
    /// The latest beat and at most so many before it get their ticks, back to back; older ones get none.
    AtMost(u32),
}

/// Instants at equal distances: number `k` lies at `k * length_ns / parts`, rounded down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grid {
    length_ns: u64,
    parts: u64,
}

impl Grid {
    /// `period` is longer than zero.
    pub(super) fn every(period: Duration) -> Self {
        Self { length_ns: duration_ns(period), parts: 1 }
    }

    fn reduced(self) -> Self {
        let (mut divisor, mut rest) = (self.length_ns, self.parts);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Self { length_ns: self.length_ns / divisor, parts: self.parts / divisor }
    }

    /// Where number `index` lies; what does not fit is as good as never.
    pub(super) fn at_ns(self, index: u64) -> u64 {
        if self.parts == 1 {
            return index.saturating_mul(self.length_ns);
        }
        let ns = u128::from(index) * u128::from(self.length_ns) / u128::from(self.parts);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The number of the last one that lies at `ns` or before.
    pub(super) fn index_at(self, ns: u64) -> u64 {
        if self.parts == 1 {
            return ns / self.length_ns;
        }
        let parts = (u128::from(ns) + 1) * u128::from(self.parts);
        u64::try_from((parts - 1) / u128::from(self.length_ns)).unwrap_or(u64::MAX)
    }
}

/// What begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// A turn between ticks: no stage runs.
    Turn,
    Tick,
}

/// When the next tick starts, for whoever drives the loop at the moment. The two that never wait come
/// first, and the tag is plain: every tick asks for it.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Pacer {
    /// `tick()`: at the call.
    ByHand,
    FreeRunning,
    OnEvent,
    Fixed(Beats),
    Hybrid(Gaps),
}

/// The beats of a fixed rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beats {
    rate: FixedRate,
    /// The start of the first tick; none has started before.
    start_ns: Option<u64>,
    index: u64,
    next_ns: u64,
    /// The loop has looked for the next tick since the last one.
    looked: bool,
}

/// The bounds of the time between two ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    shortest_ns: u64,
    longest_ns: u64,
    /// The start of the last tick; none has started before.
    last_ns: Option<u64>,
    /// Something happened since then.
    wanted: bool,
}

/// A tick that starts, by its pacing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Start {
    pub(super) nominal_ns: u64,
    /// Beats that get no tick.
    pub(super) skipped: u64,
}

impl Pacer {
    pub(super) fn new(pacing: Pacing) -> Self {
        match pacing {
            Pacing::FreeRunning => Self::FreeRunning,
            Pacing::OnEvent => Self::OnEvent,
            Pacing::FixedRate(rate) => {
                Self::Fixed(Beats { rate, start_ns: None, index: 0, next_ns: 0, looked: true })
            }
            Pacing::Hybrid { at_most_every, at_least_every } => Self::Hybrid(Gaps {
                shortest_ns: duration_ns(at_most_every),
                longest_ns: duration_ns(at_least_every),
                last_ns: None,
                wanted: false,
            }),
        }
    }

    /// Whether the next tick starts at once, whatever happens.
    #[inline]
    pub(super) fn never_waits(&self) -> bool {
        matches!(self, Self::ByHand | Self::FreeRunning)
    }

    /// Whether ticks depend on the time.
    pub(super) fn is_timed(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Hybrid(_))
    }

    /// What begins at `now_ns`, if anything does. `turn`: tasks have something to do. `wanted`: so has
    /// somebody in a tick.
    pub(super) fn due(&mut self, now_ns: u64, turn: bool, wanted: bool) -> Option<Due> {
        if let Self::Hybrid(gaps) = self {
            gaps.wanted |= wanted;
        }
        let on_event = matches!(self, Self::OnEvent) && wanted;
        if on_event || self.next_ns().is_some_and(|next_ns| next_ns <= now_ns) {
            Some(Due::Tick)
        } else {
            turn.then_some(Due::Turn)
        }
    }

    /// When the next tick starts, if no event makes it start sooner.
    pub(super) fn next_ns(&self) -> Option<u64> {
        match self {
            Self::ByHand | Self::FreeRunning => Some(0),
            Self::OnEvent => None,
            Self::Fixed(beats) => reached(beats.next_ns),
            Self::Hybrid(gaps) => reached(gaps.next_ns()),
        }
    }

    /// The beat of the next tick, if it waits for one.
    pub(super) fn beat_ns(&self) -> Option<u64> {
        match self {
            Self::Fixed(beats) => Some(beats.next_ns),
            _ => None,
        }
    }

    /// Whether the beat of the next tick came before the last one had ended. Says so once.
    pub(super) fn has_overrun(&mut self, now_ns: u64) -> bool {
        match self {
            Self::Fixed(beats) => {
                !std::mem::replace(&mut beats.looked, true) && beats.next_ns <= now_ns
            }
            _ => false,
        }
    }

    /// A tick starts at `now_ns`.
    pub(super) fn start(&mut self, now_ns: u64) -> Start {
        match self {
            Self::ByHand | Self::FreeRunning | Self::OnEvent => {}
            Self::Fixed(beats) => return beats.start(now_ns),
            Self::Hybrid(gaps) => {
                gaps.last_ns = Some(now_ns);
                gaps.wanted = false;
            }
        }
        Start { nominal_ns: now_ns, skipped: 0 }
    }
}

impl Beats {
    fn start(&mut self, now_ns: u64) -> Start {
        let grid = self.rate.grid;
        let first = self.start_ns.is_none();
        let start_ns = *self.start_ns.get_or_insert(now_ns);
        let mut skipped = 0;
        if !first {
            let next = self.index.saturating_add(1);
            let latest = grid.index_at(now_ns.saturating_sub(start_ns)).max(next);
            let made_up_for = match self.rate.catch_up {
                CatchUp::Skip => 0,
                CatchUp::AtMost(ticks) => u64::from(ticks),
            };
            self.index = next.max(latest.saturating_sub(made_up_for));
            skipped = self.index - next;
        }
        self.looked = false;
        self.next_ns = start_ns.saturating_add(grid.at_ns(self.index.saturating_add(1)));
        Start { nominal_ns: start_ns.saturating_add(grid.at_ns(self.index)), skipped }
    }
}

impl Gaps {
    fn next_ns(&self) -> u64 {
        let gap_ns = if self.wanted { self.shortest_ns } else { self.longest_ns };
        self.last_ns.map_or(0, |last_ns| last_ns.saturating_add(gap_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn every_ms(catch_up: CatchUp) -> Pacer {
        Pacer::new(Pacing::every(Duration::from_millis(1)).catch_up(catch_up).into())
    }

    /// The nominal times, in milliseconds after the first, of ticks that start at these times.
    #[track_caller]
    fn check(catch_up: CatchUp, starts_us: &[u64], nominal_ms: &[u64], skipped: u64) {
        let mut pacer = every_ms(catch_up);
        let mut sum = 0;
        let mut nominals = Vec::new();
        for us in starts_us {
            let start = pacer.start(7 + us * 1_000);
            sum += start.skipped;
            nominals.push((start.nominal_ns - 7) / MS);
            assert_eq!((start.nominal_ns - 7) % MS, 0);
        }
        assert_eq!(nominals, nominal_ms);
        assert_eq!(sum, skipped);
    }

    #[test]
    fn a_late_tick_keeps_its_nominal_time() {
        check(CatchUp::Skip, &[0, 1_000, 2_900, 3_000], &[0, 1, 2, 3], 0);
    }

    #[test]
    fn a_skipping_rate_goes_on_with_the_latest_beat() {
        check(CatchUp::Skip, &[0, 1_000, 5_500, 6_000], &[0, 1, 5, 6], 3);
        check(CatchUp::AtMost(0), &[0, 1_000, 5_500, 6_000], &[0, 1, 5, 6], 3);
    }

    #[test]
    fn a_rate_that_catches_up_makes_up_for_so_many_ticks_and_skips_the_others() {
        let starts = [0, 1_000, 5_500, 5_510, 5_520, 6_000];
        check(CatchUp::AtMost(2), &starts, &[0, 1, 3, 4, 5, 6], 1);
        let starts = [0, 1_000, 5_500, 5_510, 5_520, 5_530, 6_000];
        check(CatchUp::AtMost(3), &starts, &[0, 1, 2, 3, 4, 5, 6], 0);
        check(CatchUp::AtMost(u32::MAX), &starts, &[0, 1, 2, 3, 4, 5, 6], 0);
    }

    #[test]
    fn an_overrun_is_seen_at_the_first_look_after_its_tick_and_once() {
        let mut pacer = every_ms(CatchUp::Skip);
        assert!(!pacer.has_overrun(0), "nothing has run");
        pacer.start(0);
        assert!(!pacer.has_overrun(MS - 1));
        assert!(!pacer.has_overrun(MS), "a beat that comes while the loop waits is none");
        pacer.start(MS);
        assert!(pacer.has_overrun(2 * MS));
        assert!(!pacer.has_overrun(2 * MS));
    }

    #[test]
    fn a_grid_has_no_drift_whatever_its_period() {
        for rate in [1.0_f64, 3.0, 7.0, 59.94, 60.0, 144.0, 1_000.0, 999_983.0] {
            let grid = Pacing::hertz(rate).grid;
            let hour = (rate * 3_600.0).round() as u64;
            let drift_ns = grid.at_ns(hour).abs_diff(3_600_000_000_000);
            assert!(drift_ns <= if rate == 59.94 { 20_000_000 } else { 0 }, "{rate}: {drift_ns}");
            for index in [0, 1, 2, 1_000, hour] {
                let at_ns = grid.at_ns(index);
                assert_eq!(grid.index_at(at_ns), index, "{rate}: {index}");
                assert_eq!(grid.index_at(grid.at_ns(index + 1) - 1), index, "{rate}: {index}");
            }
        }
    }

    #[test]
    fn a_beat_that_no_clock_reaches_is_never_due() {
        for pacing in [
            Pacing::every(Duration::MAX).into(),
            Pacing::Hybrid { at_most_every: Duration::ZERO, at_least_every: Duration::MAX },
        ] {
            let mut pacer = Pacer::new(pacing);
            assert_eq!(
                pacer.due(5 * MS, false, false),
                Some(Due::Tick),
                "the first starts at once"
            );
            pacer.start(5 * MS);
            assert_eq!(pacer.next_ns(), None);
            assert_eq!(pacer.due(u64::MAX, false, false), None);
        }
    }

    #[test]
    fn a_rate_goes_on_to_the_end_of_time() {
        let mut pacer = Pacer::new(Pacing::hertz(1e9).into());
        pacer.start(0);
        for _ in 0..2 {
            let start = pacer.start(u64::MAX);
            assert_eq!(start.nominal_ns, u64::MAX);
        }
        assert_eq!(pacer.next_ns(), None);
    }

    #[test]
    fn a_hybrid_holds_back_what_is_wanted_too_soon_and_goes_on_without_events() {
        let mut pacer = Pacer::new(Pacing::Hybrid {
            at_most_every: Duration::from_millis(1),
            at_least_every: Duration::from_millis(10),
        });
        assert_eq!(pacer.due(5 * MS, false, false), Some(Due::Tick), "the first starts at once");
        pacer.start(5 * MS);
        assert_eq!(pacer.next_ns(), Some(15 * MS));
        assert_eq!(pacer.due(6 * MS - 1, true, true), Some(Due::Turn));
        assert_eq!(pacer.next_ns(), Some(6 * MS), "what happened asks for a tick");
        assert_eq!(pacer.due(6 * MS, false, false), Some(Due::Tick));
        pacer.start(6 * MS);
        assert_eq!(pacer.due(16 * MS - 1, false, false), None);
        assert_eq!(pacer.due(16 * MS, false, false), Some(Due::Tick));
    }
}
