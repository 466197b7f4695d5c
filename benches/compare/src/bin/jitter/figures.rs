//! What is kept of the passes of one contender, and the figure that stands for all of them.
//!
//! Invariant **a pass counts once**: every figure is taken of each pass alone, and the median of the passes
//! stands for them. A pass that the machine disturbed so moves no figure, as long as most were not; in one
//! histogram of all samples its ticks would be the whole tail.

use hdrhistogram::Histogram;

use crate::beat::Pass;

/// Points in time that the plots show, for each pass.
const POINTS: usize = 60;
/// What is longer counts as this long: half an hour.
const LONGEST_NS: u64 = 1_800_000_000_000;

/// Latenesses or latencies of each pass, and how they lie over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    passes: Vec<Histogram<u32>>,
    /// The longest of each stretch of time, in order, for each pass.
    pub(crate) longest_ns: Vec<Vec<u64>>,
}

impl Samples {
    /// Adds those of a pass, in order.
    pub(crate) fn add(&mut self, samples_ns: &[u64]) {
        let mut pass = Histogram::new(3).expect("three digits are within its range");
        for sample in samples_ns {
            let recorded = pass.record((*sample).min(LONGEST_NS));
            recorded.expect("a histogram without bounds grows to what it is given");
        }
        self.passes.push(pass);
        let stretch = samples_ns.len().div_ceil(POINTS).max(1);
        let longest = samples_ns.chunks(stretch).filter_map(|part| part.iter().copied().max());
        self.longest_ns.push(longest.collect());
    }

    /// How many there are, over the passes.
    pub(crate) fn count(&self) -> u64 {
        self.passes.iter().map(Histogram::len).sum()
    }

    /// How many passes there were.
    pub(crate) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// How many the longest pass has.
    pub(crate) fn count_of_a_pass(&self) -> u64 {
        self.passes.iter().map(Histogram::len).max().unwrap_or(0)
    }

    /// So much of a pass, 0 to 1, is not longer than this, to three digits: the median of the passes.
    pub(crate) fn at(&self, part: f64) -> u64 {
        let passes = self.passes.iter().filter(|pass| !pass.is_empty());
        median(passes.map(|pass| pass.value_at_quantile(part)).collect()).unwrap_or(0)
    }

    /// The longest of all.
    pub(crate) fn max(&self) -> u64 {
        self.passes.iter().map(Histogram::max).max().unwrap_or(0)
    }
}

/// What the passes of one contender gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// How late each beat's tick began.
    pub(crate) lateness: Samples,
    /// Beats whose tick began only when the next one was due, or never, in all passes.
    pub(crate) missed: u64,
    /// Those of them that never began.
    pub(crate) never: u64,
    /// Ticks that began before their time, in all passes.
    pub(crate) early: u64,
    /// It did not come to an end in time.
    pub(crate) hung: bool,
    /// Passes that were kept from their core.
    pub(crate) disturbed: usize,
    drift_ns: Vec<i64>,
    cpu: Vec<f64>,
    stolen: Vec<f64>,
}

impl Figures {
    /// Adds a pass at this period.
    pub(crate) fn add(&mut self, pass: &Pass, period_ns: u64) {
        self.lateness.add(&pass.lateness_ns);
        self.missed += pass.lateness_ns.iter().filter(|late| **late >= period_ns).count() as u64;
        // The last one that never ran may still be less than a period late.
        let last = pass.lateness_ns.last().copied().unwrap_or_default();
        self.missed += u64::from(pass.never > 0 && last < period_ns);
        self.never += pass.never;
        self.early += pass.early;
        self.disturbed += usize::from(pass.disturbance.is_over());
        self.drift_ns.push(pass.drift_ns);
        self.cpu.push(pass.cpu);
        self.stolen.push(pass.disturbance.stolen);
    }

    /// How many passes there were.
    pub(crate) fn passes(&self) -> usize {
        self.cpu.len()
    }

    /// The median of the drifts of the passes.
    pub(crate) fn drift_ns(&self) -> i64 {
        median(self.drift_ns.clone()).unwrap_or(0)
    }

    /// The part of a core that the thread used: the median of the passes.
    pub(crate) fn cpu(&self) -> f64 {
        let per_million = self.cpu.iter().map(|cpu| (cpu * 1e6) as u64).collect();
        median(per_million).unwrap_or(0) as f64 / 1e6
    }

    /// The part of the time of each pass that the host took from the core.
    pub(crate) fn stolen(&self) -> &[f64] {
        &self.stolen
    }
}

/// The one in the middle; of two, the greater.
fn median<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
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
    use crate::disturbance::Disturbance;

    fn pass(lateness_ns: &[u64]) -> Pass {
        Pass {
            lateness_ns: lateness_ns.to_vec(),
            never: 0,
            early: 1,
            drift_ns: -40,
            cpu: 0.5,
            disturbance: Disturbance::default(),
        }
    }

    #[test]
    fn late_ticks_and_those_that_never_ran_are_missed() {
        let first = Pass { never: 2, ..pass(&[10, 1_000, 999, 5_000, 4_000]) };
        let mut figures = Figures::default();
        figures.add(&first, 1_000);
        assert_eq!((figures.lateness.count(), figures.missed, figures.never), (5, 3, 2));
        figures.add(&first, 1_000);
        assert_eq!((figures.lateness.count(), figures.missed, figures.early), (10, 6, 2));
    }

    #[test]
    fn a_disturbed_pass_moves_no_figure_but_the_longest_and_is_counted() {
        let mut figures = Figures::default();
        figures.add(&pass(&[100, 110, 120]), 1_000);
        let disturbance = Disturbance { stolen: 0.3, queued: 0.0 };
        let late = Pass { disturbance, drift_ns: 9_000, cpu: 0.9, ..pass(&[5_000; 3]) };
        figures.add(&late, 1_000);
        figures.add(&pass(&[90, 105, 130]), 1_000);
        assert_eq!((figures.lateness.at(0.5), figures.lateness.at(1.0)), (110, 130));
        assert_eq!((figures.drift_ns(), figures.cpu()), (-40, 0.5));
        assert!((5_000..5_010).contains(&figures.lateness.max()));
        assert_eq!((figures.disturbed, figures.passes(), figures.missed), (1, 3, 3));
    }

    #[test]
    fn a_percentile_is_that_of_the_pass_in_the_middle_whatever_their_order() {
        for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            let mut samples = Samples::default();
            for number in order {
                samples.add(&[number * 10, number * 100, number * 1_000]);
            }
            assert_eq!((samples.at(0.3), samples.at(0.5), samples.at(1.0)), (20, 200, 2_000));
        }
    }

    #[test]
    fn no_long_sample_is_lost_on_the_way_to_the_plot() {
        let mut samples = Samples::default();
        let mut pass = vec![5_u64; 100_003];
        pass[77_777] = 900;
        samples.add(&pass);
        assert!(samples.longest_ns[0].len() <= POINTS);
        assert_eq!(samples.longest_ns[0].iter().max(), Some(&900));
        assert_eq!((samples.count(), samples.count_of_a_pass()), (100_003, 100_003));
        assert_eq!((samples.at(0.5), samples.max()), (5, 900));
    }

    #[test]
    fn a_second_is_told_from_a_microsecond() {
        let mut samples = Samples::default();
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
