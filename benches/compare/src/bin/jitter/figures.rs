//! What is kept of the passes of one contender.

use hdrhistogram::Histogram;

use crate::beat::Pass;

/// Points in time that the plots show, for each pass.
const POINTS: usize = 200;
/// What is longer counts as this long: half an hour.
const LONGEST_NS: u64 = 1_800_000_000_000;

/// Latenesses or latencies, and how they lie over time.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    histogram: Histogram<u64>,
    /// The longest of each stretch of time, in order.
    pub(crate) longest_ns: Vec<u64>,
}

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .expect("three digits from a nanosecond to half an hour are within its range");
        Self { histogram, longest_ns: Vec::new() }
    }

    /// Adds those of a pass, in order.
    pub(crate) fn add(&mut self, samples_ns: &[u64]) {
        for sample in samples_ns {
            self.histogram.saturating_record(*sample);
        }
        let stretch = samples_ns.len().div_ceil(POINTS).max(1);
        self.longest_ns.extend(
            samples_ns.chunks(stretch).map(|part| part.iter().copied().max().unwrap_or_default()),
        );
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// So much of them, 0 to 1, is not longer than this, to three digits.
    pub(crate) fn at(&self, part: f64) -> u64 {
        self.histogram.value_at_quantile(part)
    }

    /// The longest.
    pub(crate) fn max(&self) -> u64 {
        self.histogram.max()
    }
}

/// What the passes of one contender gave.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// How late each beat's tick began.
    pub(crate) lateness: Samples,
    /// Beats whose tick began only when the next one was due, or never.
    pub(crate) missed: u64,
    /// Those of them that never began.
    pub(crate) never: u64,
    /// Ticks that began before their time.
    pub(crate) early: u64,
    /// The drift of the pass that drifted most.
    pub(crate) drift_ns: i64,
    /// The part of a core that was used, over the passes.
    pub(crate) cpu: f64,
    /// It did not come to an end in time.
    pub(crate) hung: bool,
    passes: u32,
}

impl Figures {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            lateness: Samples::new(),
            missed: 0,
            never: 0,
            early: 0,
            drift_ns: 0,
            cpu: 0.0,
            hung: false,
            passes: 0,
        }
    }

    /// Adds a pass at this period.
    pub(crate) fn add(&mut self, pass: &Pass, period_ns: u64) {
        self.lateness.add(&pass.lateness_ns);
        self.missed += pass.lateness_ns.iter().filter(|late| **late >= period_ns).count() as u64;
        // The last one that never ran may still be less than a period late.
        let last = pass.lateness_ns.last().copied().unwrap_or_default();
        self.missed += u64::from(pass.never > 0 && last < period_ns);
        self.never += pass.never;
        self.early += pass.early;
        if pass.drift_ns.abs() > self.drift_ns.abs() {
            self.drift_ns = pass.drift_ns;
        }
        self.passes += 1;
        self.cpu += (pass.cpu - self.cpu) / f64::from(self.passes);
    }
}

/// A time, as short as it can be said.
pub(crate) fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..100_000 => format!("{:.1} us", ns as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_and_those_that_never_ran_are_missed() {
        let pass = Pass {
            lateness_ns: vec![10, 1_000, 999, 5_000, 4_000],
            never: 2,
            early: 1,
            drift_ns: -40,
            cpu: 0.5,
        };
        let mut figures = Figures::new();
        figures.add(&pass, 1_000);
        assert_eq!((figures.lateness.count(), figures.missed, figures.never), (5, 3, 2));
        figures.add(&Pass { cpu: 1.0, drift_ns: 7, ..pass }, 1_000);
        assert_eq!((figures.lateness.count(), figures.missed, figures.early), (10, 6, 2));
        assert_eq!(figures.drift_ns, -40);
        assert!((figures.cpu - 0.75).abs() < 1e-9);
    }

    #[test]
    fn no_long_sample_is_lost_on_the_way_to_the_plot() {
        let mut samples = Samples::new();
        let mut pass = vec![5_u64; 100_003];
        pass[77_777] = 900;
        samples.add(&pass);
        assert!(samples.longest_ns.len() <= POINTS);
        assert_eq!(samples.longest_ns.iter().max(), Some(&900));
        assert_eq!(samples.count(), 100_003);
        assert_eq!((samples.at(0.5), samples.max()), (5, 900));
    }

    #[test]
    fn a_second_is_told_from_a_microsecond() {
        let mut samples = Samples::new();
        samples.add(&[1_000, 1_000, 1_000_000_000]);
        assert!((990..1_010).contains(&samples.at(0.5)));
        assert!((990_000_000..1_010_000_000).contains(&samples.max()));
    }

    #[test]
    fn times_are_said_with_their_unit() {
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(1_500), "1.5 us");
        assert_eq!(time(123_456), "123 us");
        assert_eq!(time(1_500_000), "1.50 ms");
    }
}
