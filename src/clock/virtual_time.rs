//! Where the virtual clock stands, and what was asked of it. Shared by the loop, which moves time, and
//! by those who hold a [`VirtualClock`](crate::VirtualClock). It reads no clock: who calls brings the
//! machine's time along.

use std::cell::Cell;

/// Virtual time that follows real time.
#[derive(Clone, Copy, Debug)]
struct Pace {
    factor: f64,
    /// A moment, on the machine's clock and on ours.
    real_ns: u64,
    virtual_ns: u64,
}

impl Pace {
    fn at(self, real_ns: u64) -> u64 {
        let passed_ns = real_ns.saturating_sub(self.real_ns) as f64 * self.factor;
        self.virtual_ns.saturating_add(passed_ns as u64)
    }
}

/// The state of a virtual clock. Its time never goes back.
#[derive(Debug, Default)]
pub(crate) struct VirtualTime {
    now_ns: Cell<u64>,
    /// Where `advance` said that time is to go.
    ahead_ns: Cell<u64>,
    is_paused: Cell<bool>,
    pace: Cell<Option<Pace>>,
}

impl VirtualTime {
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Moves time forward to `ns`.
    pub(crate) fn move_to(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get().max(ns));
    }

    /// Time is to go on by `ns`, one deadline after the other.
    pub(crate) fn advance(&self, ns: u64) {
        let from_ns = self.ahead_ns.get().max(self.now_ns.get());
        self.ahead_ns.set(from_ns.saturating_add(ns));
        self.shift(ns);
    }

    /// Moves time by `ns` at once.
    pub(crate) fn skip(&self, ns: u64) {
        self.move_to(self.now_ns.get().saturating_add(ns));
        self.shift(ns);
    }

    /// What time is moved by comes on top of what real time brings.
    fn shift(&self, ns: u64) {
        if let Some(pace) = self.pace.get() {
            let virtual_ns = pace.virtual_ns.saturating_add(ns);
            self.pace.set(Some(Pace { virtual_ns, ..pace }));
        }
    }

    /// How far `advance` has still to bring it.
    pub(crate) fn left_ns(&self) -> u64 {
        self.ahead_ns.get().saturating_sub(self.now_ns.get())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    pub(crate) fn pause(&self) {
        self.is_paused.set(true);
    }

    /// Time goes on, with real time from `real_ns` on if it follows that.
    pub(crate) fn resume(&self, real_ns: u64) {
        if self.is_paused.replace(false) {
            self.follow(real_ns, self.speed());
        }
    }

    /// So many virtual seconds in a real one; infinite when time jumps.
    pub(crate) fn speed(&self) -> f64 {
        self.pace.get().map_or(f64::INFINITY, |pace| pace.factor)
    }

    /// From `real_ns` on time follows real time, `factor` times as fast: from where it stands, or from
    /// where `advance` has still to bring it.
    pub(crate) fn follow(&self, real_ns: u64, factor: f64) {
        let virtual_ns = self.now_ns.get().max(self.ahead_ns.get());
        let pace = Pace { factor, real_ns, virtual_ns };
        self.pace.set(factor.is_finite().then_some(pace));
    }

    /// Whether time follows real time.
    pub(crate) fn is_paced(&self) -> bool {
        !self.is_paused.get() && self.pace.get().is_some()
    }

    /// Whether time jumps by itself to what comes next.
    pub(crate) fn jumps(&self) -> bool {
        !self.is_paused.get() && self.pace.get().is_none()
    }

    /// How far time may go at `real_ns`, as far as it does not jump.
    pub(crate) fn goal_ns(&self, real_ns: u64) -> u64 {
        let paced_ns =
            self.pace.get().filter(|_| self.is_paced()).map_or(0, |pace| pace.at(real_ns));
        paced_ns.max(self.ahead_ns.get())
    }

    /// How much real time passes until time is `until_ns`. `None`: time does not follow real time.
    pub(crate) fn real_left_ns(&self, until_ns: u64, real_ns: u64) -> Option<u64> {
        let pace = self.pace.get().filter(|_| self.is_paced())?;
        let left_ns = until_ns.saturating_sub(pace.at(real_ns)) as f64 / pace.factor;
        Some(left_ns.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_adds_up() {
        let time = VirtualTime::default();
        time.advance(10);
        time.advance(5);
        assert_eq!((time.now_ns(), time.left_ns(), time.goal_ns(0)), (0, 15, 15));
        time.move_to(4);
        time.skip(1);
        assert_eq!((time.now_ns(), time.left_ns()), (5, 10));
        time.move_to(40);
        assert_eq!(time.left_ns(), 0);
        time.advance(2);
        assert_eq!(time.goal_ns(0), 42, "from where time is");
    }

    #[test]
    fn a_pace_is_kept_from_the_moment_it_is_set_and_not_while_time_is_paused() {
        let time = VirtualTime::default();
        time.move_to(1_000);
        time.follow(500, 10.0);
        assert_eq!((time.goal_ns(500), time.goal_ns(600)), (1_000, 2_000));
        assert_eq!(time.real_left_ns(2_001, 500), Some(101), "rounded up: never early");
        time.advance(300);
        assert_eq!(time.goal_ns(600), 2_300, "on top of it");
        time.pause();
        assert_eq!((time.goal_ns(10_000), time.real_left_ns(9_000, 10_000)), (1_300, None));
        time.resume(20_000);
        assert_eq!(time.goal_ns(20_000), 1_300, "what passed meanwhile does not count");
        assert_eq!(time.goal_ns(20_010), 1_400, "on top of what is left of the way");
        time.follow(30_000, 2.0);
        assert_eq!(time.goal_ns(30_010), 1_320, "at any speed");
        time.move_to(1_300);
        time.follow(0, f64::INFINITY);
        assert!(time.jumps() && !time.is_paced());
    }
}
