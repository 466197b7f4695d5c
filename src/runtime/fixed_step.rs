//! Stages that run in steps of a fixed length, whatever the distance between ticks.

use std::time::Duration;

use super::pacing::Grid;
use crate::clock::reached;

/// The steps of one stage, on a grid that begins with the first tick.
#[derive(Clone, Debug)]
pub(super) struct FixedStep {
    grid: Grid,
    period_ns: u64,
    steps_max: u64,
    /// The nominal time of the first tick; none has begun before.
    start_ns: Option<u64>,
    /// The number of the step that comes next, from 1.
    next: u64,
    /// A step has run since messages last turned over.
    has_run: bool,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) nominal_ns: u64,
    pub(super) period_ns: u64,
}

/// What a tick does about a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Steps {
    pub(super) run: u64,
    /// Steps that get no run.
    pub(super) skipped: u64,
}

impl FixedStep {
    /// `period` is longer than zero.
    pub(super) fn new(period: Duration, steps_max: u32) -> Self {
        let grid = Grid::every(period);
        Self {
            grid,
            period_ns: grid.at_ns(1),
            steps_max: u64::from(steps_max),
            start_ns: None,
            next: 1,
            has_run: false,
        }
    }

    /// When the next step is due; not known before the first tick, and none beyond the end of time.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let start_ns = self.start_ns?;
        reached(start_ns.saturating_add(self.grid.at_ns(self.next)))
    }

    /// A tick of this nominal time comes to the stage.
    pub(super) fn begin(&mut self, nominal_ns: u64) -> Steps {
        let start_ns = *self.start_ns.get_or_insert(nominal_ns);
        let latest = self.grid.index_at(nominal_ns.saturating_sub(start_ns));
        let due = latest.saturating_add(1).saturating_sub(self.next);
        let run = due.min(self.steps_max);
        self.next += due - run;
        Steps { run, skipped: due - run }
    }

    /// The next step begins.
    pub(super) fn step(&mut self) -> Step {
        let nominal_ns = self.next_ns().unwrap_or(u64::MAX);
        self.next += 1;
        self.has_run = true;
        Step { nominal_ns, period_ns: self.period_ns }
    }

    pub(super) fn has_run(&self) -> bool {
        self.has_run
    }

    /// Messages turn over.
    pub(super) fn turn_over(&mut self) {
        self.has_run = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many steps run in ticks at these times, and how many are skipped.
    #[track_caller]
    fn check(steps_max: u32, ticks_ns: &[u64], run: &[u64], skipped: u64) {
        let mut stage = FixedStep::new(Duration::from_nanos(10), steps_max);
        let (mut runs, mut sum, mut last_ns) = (Vec::new(), 0, 100);
        for tick_ns in ticks_ns {
            let steps = stage.begin(100 + tick_ns);
            runs.push(steps.run);
            sum += steps.skipped;
            for _ in 0..steps.run {
                let step = stage.step();
                assert!(step.nominal_ns > last_ns && step.nominal_ns <= 100 + tick_ns);
                assert_eq!((step.nominal_ns - 100) % 10, 0);
                last_ns = step.nominal_ns;
            }
        }
        assert_eq!((runs.as_slice(), sum), (run, skipped));
    }

    #[test]
    fn the_first_tick_has_no_step_and_the_others_what_has_come_since() {
        check(10, &[0, 9, 10, 11, 35, 35, 40], &[0, 0, 1, 0, 2, 0, 1], 0);
    }

    #[test]
    fn more_steps_than_allowed_are_skipped_and_counted() {
        check(3, &[0, 100, 100, 110], &[0, 3, 0, 1], 7);
        check(1, &[0, 10, 39, 40], &[0, 1, 1, 1], 1);
    }

    #[test]
    fn steps_go_on_to_the_end_of_time_and_not_beyond() {
        let mut stage = FixedStep::new(Duration::from_nanos(1), 3);
        stage.begin(0);
        assert_eq!(stage.begin(u64::MAX), Steps { run: 3, skipped: u64::MAX - 4 });
        for _ in 0..3 {
            stage.step();
        }
        assert_eq!((stage.begin(u64::MAX).run, stage.next_ns()), (0, None));
        let mut never = FixedStep::new(Duration::MAX, 1);
        never.begin(5);
        assert_eq!(never.next_ns(), None);
    }

    #[test]
    fn a_step_that_did_not_begin_is_due_in_the_next_tick() {
        let mut stage = FixedStep::new(Duration::from_nanos(10), 5);
        stage.begin(0);
        assert_eq!(stage.begin(30).run, 3);
        stage.step();
        assert_eq!(stage.begin(30).run, 2);
        assert_eq!(stage.next_ns(), Some(20));
    }
}
