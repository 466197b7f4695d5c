//! How the phases of a tick are measured.

use crate::{context::Core, stats::Phase};

/// A stopwatch for the phases, which runs in one tick of [`SAMPLE_INTERVAL`](crate::SAMPLE_INTERVAL).
pub(super) struct Sample<'a> {
    core: &'a Core,
    since_ns: Option<u64>,
}

impl<'a> Sample<'a> {
    #[inline(always)]
    pub(super) fn start(core: &'a Core, sampled: bool) -> Self {
        if sampled {
            core.counters.ticks_sampled.add(1);
        }
        Self { core, since_ns: sampled.then(|| core.clock.precise_ns()) }
    }

    #[inline(always)]
    pub(super) fn end_of(&mut self, phase: Phase) {
        if let Some(since_ns) = self.since_ns {
            self.since_ns = Some(Self::record(self.core, phase, since_ns));
        }
    }

    /// Returns the time.
    fn record(core: &Core, phase: Phase, since_ns: u64) -> u64 {
        let now_ns = core.clock.precise_ns();
        core.counters.record_phase(phase, now_ns - since_ns);
        now_ns
    }
}
