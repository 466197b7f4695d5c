//! How much before its time a parked thread wakes.

/// How much before its time a parked thread wakes, to spin the rest: twice the median of how late the
/// operating system wakes it, and a little more.
///
/// A step up or down for each wake finds the median, however late the wake: a machine that now and then
/// holds the thread up for milliseconds does not make it spin for as long. Twice the median is more than
/// all but the wakes that were held up, and costs the processor as much time as the median.
///
/// A thread that never parks measures nothing, and one bad second would have it spin for ever where waits are
/// short. So a wait now and then is a *probe*, parked for a part that leaves room for a late wake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Margin {
    median_ns: u64,
    /// Waits since the last one that was parked in.
    spun: u32,
}

impl Margin {
    const MAX_NS: u64 = 500_000;
    /// What wakes on a machine that is always in time differ by.
    const LEAST_NS: u64 = 10_000;
    /// After so many waits that were spun through comes a probe: what a tick in a thousand risks.
    const PROBE_EVERY: u32 = 1_024;
    /// A probe parks for this part of the wait.
    const PROBE_PART: u64 = 4;

    /// How long it is.
    fn ns(self) -> u64 {
        2 * self.median_ns + Self::LEAST_NS
    }

    /// For how long to park when so much is left; `None`: the rest is spun through. `begins`: this is all
    /// that the wait had.
    pub(super) fn park_ns(&mut self, left_ns: u64, begins: bool) -> Option<u64> {
        if left_ns > self.ns() {
            self.spun = 0;
            return Some(left_ns - self.ns());
        }
        self.spun = self.spun.saturating_add(u32::from(begins));
        // A shorter wait would say nothing of a thread that really slept.
        let probes = begins && self.spun > Self::PROBE_EVERY && left_ns > Self::LEAST_NS;
        probes.then(|| {
            self.spun = 0;
            left_ns / Self::PROBE_PART
        })
    }

    /// The operating system woke the thread so much late.
    pub(super) fn adapt(&mut self, late_ns: u64) {
        let step = self.median_ns / 32 + 16;
        self.median_ns = if late_ns > self.median_ns {
            (self.median_ns + step).min((Self::MAX_NS - Self::LEAST_NS) / 2)
        } else {
            self.median_ns.saturating_sub(step)
        };
    }
}

impl Default for Margin {
    /// Between the few microseconds of a machine of its own and the fifty of a virtual one.
    fn default() -> Self {
        Self { median_ns: 25_000, spun: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The margin after 20,000 wakes, each as late as `late_ns` says of its number.
    fn margin_after(late_ns: impl Fn(u64) -> u64) -> u64 {
        let mut margin = Margin::default();
        for number in 0..20_000 {
            margin.adapt(late_ns(number));
        }
        margin.ns()
    }

    #[test]
    fn a_margin_is_twice_the_median_of_how_late_wakes_are() {
        assert!((104_000..116_000).contains(&margin_after(|_| 50_000)));
        let scattered = |number: u64| 40_000 + number * 8 % 21 * 1_000;
        assert!((100_000..120_000).contains(&margin_after(scattered)));
        assert!(margin_after(|_| 0) < 11_000);
    }

    #[test]
    fn wakes_that_were_held_up_hardly_move_a_margin() {
        let held_up = |number: u64| if number.is_multiple_of(5) { 9_000_000 } else { 50_000 };
        assert!((104_000..120_000).contains(&margin_after(held_up)));
    }

    /// How many of so many waits of 100 us are parked in, and the margin after them, from the longest on. The
    /// thread wakes so much late.
    fn parks_in_short_waits(waits: u64, late_ns: u64) -> (u64, u64) {
        let mut margin = Margin::default();
        (0..20_000).for_each(|_| margin.adapt(u64::MAX));
        let mut parks = 0;
        for _ in 0..waits {
            if let Some(parked_ns) = margin.park_ns(100_000, true) {
                assert!(parked_ns <= 100_000 - late_ns, "a probe leaves room for a late wake");
                margin.adapt(late_ns);
                parks += 1;
            }
            assert_eq!(margin.park_ns(margin.ns(), false), None, "what is left is spun through");
        }
        (parks, margin.ns())
    }

    #[test]
    fn a_margin_longer_than_every_wait_shrinks_when_wakes_are_in_time() {
        let (parks, margin_ns) = parks_in_short_waits(200_000, 5_000);
        assert!(parks > 50_000, "{parks}");
        assert!((15_000..25_000).contains(&margin_ns), "{margin_ns}");
    }

    #[test]
    fn where_wakes_are_too_late_for_a_wait_one_in_a_thousand_is_parked_in() {
        let (parks, margin_ns) = parks_in_short_waits(400_000, 60_000);
        assert!((385..=391).contains(&parks), "{parks}");
        assert!((125_000..140_000).contains(&margin_ns), "{margin_ns}");
    }

    #[test]
    fn waits_too_short_for_a_probe_are_counted_without_end() {
        let mut margin = Margin { spun: u32::MAX, ..Margin::default() };
        assert_eq!(margin.park_ns(Margin::LEAST_NS, true), None);
        assert!(margin.park_ns(20_000, true).is_some(), "the first that is long enough is one");
    }

    #[test]
    fn a_margin_is_bounded_and_comes_back() {
        assert_eq!(margin_after(|_| u64::MAX), Margin::MAX_NS);
        let recovered = margin_after(|number| if number < 19_900 { u64::MAX } else { 20_000 });
        assert!((48_000..54_000).contains(&recovered), "{recovered}");
    }
}
