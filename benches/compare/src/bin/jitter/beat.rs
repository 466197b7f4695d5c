//! The measure itself: how late each tick of an absolute schedule begins.
//!
//! Invariant **on the schedule**: tick `k` is compared with `t0 + k * period`, computed from `k`. Nothing is
//! ever re-based, so a tick that is late makes no later one look punctual.
//!
//! Invariant **each beat once**: the `n`th call of [`Beat::tick`] belongs to beat `n`, and a beat that
//! never got its tick is entered at the end, as late as it was by then. So slow contenders do not
//! improve their percentiles by doing less.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::disturbance::Disturbance;

/// The schedule of one pass, and what came of it.
#[derive(Debug)]
pub(crate) struct Beat {
    period: Duration,
    beats: usize,
    work: Duration,
    begun: Option<Begun>,
    ended: Option<Ended>,
    lateness_ns: Vec<u64>,
    early: u64,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    start: Instant,
    at: Instant,
    cpu: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Instant,
    cpu: Duration,
}

/// What one pass gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pass {
    /// How late each beat's tick began, in order.
    pub(crate) lateness_ns: Vec<u64>,
    /// So many beats, the last ones, never got their tick.
    pub(crate) never: u64,
    /// Ticks that began before their time. They are entered as not late.
    pub(crate) early: u64,
    /// How much later the last tenth of the ticks was than the first, by the medians.
    pub(crate) drift_ns: i64,
    /// The part of a core that the thread used, 0 to 1.
    pub(crate) cpu: f64,
    /// What kept the thread from its core.
    pub(crate) disturbance: Disturbance,
}

impl Beat {
    /// `rate_hz` beats a second for so long, each with a tick that works for `work_percent` of the period.
    pub(crate) fn new(rate_hz: u32, length: Duration, work_percent: u32) -> Self {
        let period = Duration::from_secs(1) / rate_hz;
        let beats = ((length.as_nanos() / period.as_nanos()) as usize).max(10);
        Self {
            period,
            beats,
            work: period * work_percent / 100,
            begun: None,
            ended: None,
            lateness_ns: Vec::with_capacity(beats),
            early: 0,
        }
    }

    /// The time between two beats.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Sets `t0`, the time of beat 0. Without it the first tick does.
    pub(crate) fn begin(&mut self, start: Instant) {
        self.begun = Some(Begun { start, at: Instant::now(), cpu: thread_time() });
    }

    /// When the next tick should begin; the first at `t0`.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.begun.map(|begun| begun.start + self.offset(self.lateness_ns.len()))
    }

    /// A tick begins: the first thing that it does. False after the last one.
    pub(crate) fn tick(&mut self) -> bool {
        let now = Instant::now();
        if self.begun.is_none() {
            self.begin(now);
        }
        let begun = self.begun.expect("it has just been set");
        let due = begun.start + self.offset(self.lateness_ns.len());
        self.early += u64::from(now < due);
        self.lateness_ns.push(now.saturating_duration_since(due).as_nanos() as u64);
        let whole = self.offset(self.beats);
        if self.lateness_ns.len() == self.beats || now > begun.start + whole + whole / 4 {
            self.ended = Some(Ended { at: now, cpu: thread_time() });
            return false;
        }
        while now.elapsed() < self.work {
            spin_loop();
        }
        true
    }

    /// What came of it.
    ///
    /// # Panics
    ///
    /// When the last call of [`tick`](Self::tick) did not return false.
    pub(crate) fn finish(mut self) -> Pass {
        let begun = self.begun.expect("a pass has a first tick");
        let ended = self.ended.expect("a pass goes on until tick() says that it is over");
        let drift_ns = drift(&self.lateness_ns);
        let ran = self.lateness_ns.len();
        for beat in ran..self.beats {
            let due = begun.start + self.offset(beat);
            self.lateness_ns.push(ended.at.saturating_duration_since(due).as_nanos() as u64);
        }
        let wall = ended.at.saturating_duration_since(begun.at);
        let cpu = ended.cpu.saturating_sub(begun.cpu).as_secs_f64() / wall.as_secs_f64().max(1e-9);
        Pass {
            never: (self.beats - ran) as u64,
            early: self.early,
            drift_ns,
            cpu,
            lateness_ns: self.lateness_ns,
            disturbance: Disturbance::default(),
        }
    }

    fn offset(&self, beat: usize) -> Duration {
        Duration::from_nanos(self.period.as_nanos() as u64 * beat as u64)
    }
}

/// The median of the last tenth less that of the first.
fn drift(lateness_ns: &[u64]) -> i64 {
    let tenth = (lateness_ns.len() / 10).max(1);
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2] as i64
    };
    median(&lateness_ns[lateness_ns.len() - tenth..]) - median(&lateness_ns[..tenth])
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_late_tick_is_counted_by_its_own_beat_and_moves_no_other() {
        let mut beat = Beat::new(1_000, 10 * MS, 0);
        let start = Instant::now().checked_sub(5 * MS).expect("the machine is up for longer");
        beat.begin(start);
        while beat.tick() {}
        let pass = beat.finish();
        assert_eq!(pass.lateness_ns.len(), 10);
        assert_eq!(pass.never, 0);
        for (index, pair) in pass.lateness_ns.windows(2).enumerate().take(4) {
            assert!(pair[0] <= pair[1] + 1_000_000, "beat {index}: {pair:?}");
        }
        assert!(pass.lateness_ns[0] >= 5_000_000);
        assert!(pass.early > 0, "the last ticks came before their time, and are counted as early");
    }

    #[test]
    fn a_beat_without_a_tick_is_entered_as_late_as_it_was_at_the_end() {
        let mut beat = Beat::new(1_000, 10 * MS, 0);
        beat.begin(Instant::now().checked_sub(100 * MS).expect("the machine is up for longer"));
        assert!(!beat.tick(), "the pass is over a quarter after its time");
        let pass = beat.finish();
        assert_eq!((pass.lateness_ns.len(), pass.never), (10, 9));
        assert!(pass.lateness_ns[9] >= 91_000_000, "{:?}", pass.lateness_ns);
    }

    #[test]
    fn drift_is_how_much_later_the_end_is_than_the_beginning() {
        let growing: Vec<u64> = (0..1_000).map(|beat| 50 + beat * 10).collect();
        assert_eq!(drift(&growing), 9_000);
        assert_eq!(drift(&[7; 1_000]), 0);
    }
}
