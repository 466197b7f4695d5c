//! When each feed message is due. Pure: no clock is read here.

use std::time::{Duration, Instant};

use onbeat_systems::price::MarketTime;

use crate::args::Speed;

/// A longer silence of the market is skipped: a day's file is silent for hours before the open, and a
/// wrong timestamp looks the same. Nobody watches a replay that stands still.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How late a message may be before the ones behind it are put off.
///
/// A thread that gets no processor for a while would otherwise send all that has come due meanwhile in
/// one go, and an engine that has as little of it would meet a market that moved without it.
const LATENESS_MAX: Duration = Duration::from_millis(1);

/// The pace of a replay: the recorded time between messages, divided by the speed.
///
/// Only what lies between two messages counts, never a timestamp by itself, so one that is wrong costs
/// its own message the pace and no other: after a jump, forward or back, the next message is paced from
/// where the jump led. A timestamp beyond the day leads nowhere; its message is due at once.
///
/// A replay that falls behind does not hurry to catch up: it ends later.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    /// The timestamp of the last message that had one of the day.
    last: Option<MarketTime>,
    /// The recorded time up to there, without what was skipped.
    passed: Duration,
    /// How far the rest is put off, because messages were late.
    behind: Duration,
}

impl Pace {
    /// The pace of a replay whose first message is due when it opens.
    pub(super) const fn new(speed: Speed) -> Self {
        Self { speed, last: None, passed: Duration::ZERO, behind: Duration::ZERO }
    }

    /// When the message that follows the last one is due, in a replay that has opened at `opened`.
    /// To be asked once for each message.
    pub(super) fn due(&mut self, timestamp: MarketTime, opened: Instant) -> Instant {
        if timestamp.is_within_day() {
            let last = self.last.replace(timestamp).unwrap_or(timestamp);
            let silence = Duration::from_nanos(timestamp.ns().saturating_sub(last.ns()));
            if silence <= SILENCE_MAX {
                self.passed = self.passed.saturating_add(silence);
            }
        }
        // A replay that would last longer than an `Instant` can say is paced no more.
        let due = opened.checked_add(self.speed.scale(self.passed));
        due.and_then(|due| due.checked_add(self.behind)).unwrap_or(opened)
    }

    /// A message that was due at `due` is sent at `now`.
    pub(super) fn sent(&mut self, due: Instant, now: Instant) {
        let late = now.saturating_duration_since(due);
        self.behind = self.behind.saturating_add(late.saturating_sub(LATENESS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_NS: u64 = 34_200_000_000_000;
    const HOUR_NS: u64 = 3_600_000_000_000;

    /// How long after the opening messages of these times are due, in milliseconds, at speed 10.
    #[track_caller]
    fn check(timestamps_ns: &[u64], due_ms: &[u64]) {
        let opened = Instant::now();
        let mut pace = Pace::new(Speed::Times(10.0));
        let due: Vec<_> = timestamps_ns
            .iter()
            .map(|&ns| pace.due(MarketTime::from_ns(ns), opened).duration_since(opened))
            .collect();
        let expected: Vec<_> = due_ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn a_message_is_due_at_its_distance_from_the_first_by_the_speed() {
        check(&[OPEN_NS, OPEN_NS + 1_000_000_000, OPEN_NS + 1_500_000_000], &[0, 100, 150]);
    }

    #[test]
    fn a_timestamp_beyond_the_day_is_due_at_once_and_shifts_nothing() {
        let beyond = 24 * HOUR_NS;
        check(&[OPEN_NS, beyond, u64::MAX >> 16, OPEN_NS + 1_000_000_000], &[0, 0, 0, 100]);
        check(&[beyond, OPEN_NS, OPEN_NS + 1_000_000_000], &[0, 0, 100]);
    }

    #[test]
    fn a_jump_ahead_is_skipped_and_the_pace_kept_on_both_sides() {
        let jump = [OPEN_NS, OPEN_NS + HOUR_NS, OPEN_NS + 1_000_000_000, OPEN_NS + 2_000_000_000];
        check(&jump, &[0, 0, 0, 100]);
        check(&[OPEN_NS, OPEN_NS + HOUR_NS, OPEN_NS + HOUR_NS + 1_000_000_000], &[0, 0, 100]);
    }

    #[test]
    fn a_late_message_puts_off_the_ones_behind_it() {
        let opened = Instant::now();
        let after = |ms| opened + Duration::from_millis(ms);
        let mut pace = Pace::new(Speed::Times(10.0));
        let mut due = |ns| pace.due(MarketTime::from_ns(OPEN_NS + ns), opened);
        let (first, second) = (due(0), due(1_000_000_000));
        assert_eq!((first, second), (after(0), after(100)));
        pace.sent(second, second + LATENESS_MAX);
        assert_eq!(pace.due(MarketTime::from_ns(OPEN_NS + 2_000_000_000), opened), after(200));
        pace.sent(after(200), after(270) + LATENESS_MAX);
        let fourth = pace.due(MarketTime::from_ns(OPEN_NS + 3_000_000_000), opened);
        assert_eq!(fourth, after(370));
    }

    #[test]
    fn a_timestamp_that_goes_back_is_due_at_once_and_the_next_is_paced_from_there() {
        let back = [OPEN_NS + 1_000_000_000, OPEN_NS, OPEN_NS + 500_000_000];
        check(&back, &[0, 0, 50]);
    }
}
