//! Intervals: what each behaviour does about beats that were missed, and what a reset does, under the
//! virtual clock. The expected values are those of tokio's documentation.

mod common;

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, panic_message, poll_once, watchdog};
use futures::StreamExt;
use onbeat::{
    ClockMode, Interval,
    MissedTickBehavior::{self, Burst, Delay, Skip},
    Runtime, event_time, interval, interval_at, sleep, timeout,
};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn virtually<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(future)
}

/// Beats every 50 ms. After each beat there is work of so many milliseconds; then comes the next beat,
/// due and given at so many milliseconds from the start.
#[track_caller]
fn check(behavior: MissedTickBehavior, cells: &[(u64, (u64, u64))]) {
    let got: Vec<_> = virtually(async {
        let start = event_time();
        let mut beat = interval(millis(50));
        beat.set_missed_tick_behavior(behavior);
        assert_eq!(beat.missed_tick_behavior(), behavior);
        assert_eq!(beat.tick().await, start, "the first beat is due at once");
        let mut got = Vec::new();
        for (work, _) in cells {
            sleep(millis(*work)).await;
            let due = beat.tick().await - start;
            got.push((due.as_millis() as u64, (event_time() - start).as_millis() as u64));
        }
        got
    });
    let expected: Vec<_> = cells.iter().map(|(_, due_and_given)| *due_and_given).collect();
    assert_eq!(got, expected, "{behavior:?}");
}

#[test]
fn burst_is_the_default() {
    virtually(async {
        assert_eq!(interval(millis(1)).missed_tick_behavior(), Burst);
        assert_eq!(MissedTickBehavior::default(), Burst);
    });
}

#[test]
fn beats_in_time_are_on_the_schedule_whatever_the_behaviour() {
    for behavior in [Burst, Delay, Skip] {
        check(behavior, &[(0, (50, 50)), (49, (100, 100)), (1, (150, 150)), (50, (200, 200))]);
    }
}

#[test]
fn burst_gives_every_missed_beat_at_once() {
    check(
        Burst,
        &[
            (200, (50, 200)),
            (0, (100, 200)),
            (0, (150, 200)),
            (0, (200, 200)),
            (0, (250, 250)),
            (0, (300, 300)),
        ],
    );
}

#[test]
fn burst_catches_up_while_there_is_work() {
    check(Burst, &[(120, (50, 120)), (20, (100, 140)), (0, (150, 150)), (0, (200, 200))]);
}

#[test]
fn delay_counts_from_the_late_beat() {
    check(Delay, &[(75, (50, 75)), (0, (125, 125)), (0, (175, 175))]);
    check(Delay, &[(220, (50, 220)), (0, (270, 270)), (10, (320, 320)), (60, (370, 380))]);
    check(Delay, &[(60, (50, 60)), (60, (110, 120)), (60, (170, 180))]);
}

#[test]
fn skip_goes_on_with_the_next_beat_of_the_schedule() {
    check(Skip, &[(75, (50, 75)), (0, (100, 100)), (0, (150, 150))]);
    check(Skip, &[(220, (50, 220)), (0, (250, 250)), (10, (300, 300))]);
    check(Skip, &[(125, (50, 125)), (0, (150, 150)), (130, (200, 280)), (0, (300, 300))]);
}

#[test]
fn skip_on_a_beat_of_the_schedule_goes_on_with_the_one_after() {
    check(Skip, &[(200, (50, 200)), (0, (250, 250))]);
}

#[test]
fn the_behaviour_may_change_between_beats() {
    virtually(async {
        let start = event_time();
        let mut beat = interval_at(start + millis(10), millis(10));
        sleep(millis(35)).await;
        assert_eq!(beat.tick().await, start + millis(10));
        beat.set_missed_tick_behavior(Skip);
        assert_eq!(beat.tick().await, start + millis(20));
        assert_eq!(beat.tick().await, start + millis(40));
    });
}

#[test]
fn skip_from_a_start_long_before_the_clock_keeps_its_phase() {
    virtually(async {
        let start = event_time();
        let mut beat = interval_at(start - millis(100_007), millis(10));
        beat.set_missed_tick_behavior(Skip);
        assert_eq!(beat.tick().await, start - millis(100_007));
        assert_eq!(beat.tick().await, start + millis(3));
        assert_eq!(event_time(), start + millis(3));
    });
}

/// What happens between two beats.
#[derive(Clone, Copy, Debug)]
enum Step {
    Work(u64),
    /// The next beat is awaited for a while, and given up if it does not come.
    Await(u64),
    Behave(MissedTickBehavior),
    Reset,
    ResetImmediately,
    ResetAfter(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30_u64).prop_map(|tens| Step::Work(10 * tens)),
        2 => (1..10_u64).prop_map(|tens| Step::Await(10 * tens)),
        1 => prop_oneof![Just(Burst), Just(Delay), Just(Skip)].prop_map(Step::Behave),
        1 => prop_oneof![
            Just(Step::Reset),
            Just(Step::ResetImmediately),
            (0..20_u64).prop_map(|tens| Step::ResetAfter(10 * tens)),
        ],
    ]
}

/// tokio's rule, in milliseconds: a beat that is given more than 5 ms late is missed.
struct Rule {
    now: u64,
    due: u64,
    period: u64,
    behavior: MissedTickBehavior,
}

impl Rule {
    fn tick(&mut self) -> (u64, u64) {
        let due = self.due;
        self.now = self.now.max(due);
        self.due = match self.behavior {
            _ if self.now <= due + 5 => due + self.period,
            Burst => due + self.period,
            Delay => self.now + self.period,
            Skip => self.now + self.period - (self.now - due) % self.period,
        };
        (due, self.now)
    }
}

proptest! {
    /// All times are multiples of 10 ms, so that a beat is in time or missed by tokio's rule and by ours.
    #[test]
    fn beats_are_those_of_tokio_whatever_happens_between_them(
        period in (1..12_u64).prop_map(|tens| 10 * tens),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        virtually(async {
            let start = event_time();
            let since = |instant: Instant| u64::try_from((instant - start).as_millis()).unwrap();
            let mut beat = interval(millis(period));
            let mut rule = Rule { now: 0, due: 0, period, behavior: Burst };
            for step in &steps {
                match *step {
                    Step::Work(ms) => {
                        sleep(millis(ms)).await;
                        rule.now += ms;
                    }
                    Step::Await(ms) => {
                        // One that is due at the limit comes first.
                        let comes = rule.due <= rule.now + ms;
                        let given = timeout(millis(ms), beat.tick()).await;
                        assert_eq!(given.is_ok(), comes, "{steps:?}");
                        if comes {
                            assert_eq!(since(given.unwrap()), rule.tick().0, "{steps:?}");
                        } else {
                            rule.now += ms;
                        }
                        assert_eq!(since(event_time()), rule.now, "{steps:?}");
                        continue;
                    }
                    Step::Behave(behavior) => {
                        beat.set_missed_tick_behavior(behavior);
                        rule.behavior = behavior;
                    }
                    Step::Reset => {
                        beat.reset();
                        rule.due = rule.now + period;
                    }
                    Step::ResetImmediately => {
                        beat.reset_immediately();
                        rule.due = rule.now;
                    }
                    Step::ResetAfter(ms) => {
                        beat.reset_after(millis(ms));
                        rule.due = rule.now + ms;
                    }
                }
                let due = since(beat.tick().await);
                assert_eq!((due, since(event_time())), rule.tick(), "{steps:?}");
            }
        });
    }
}

/// Each reset 50 ms after the first beat of an interval of 100 ms: when the next two beats are.
#[track_caller]
fn check_reset(reset: impl Fn(&mut Interval), first: u64, second: u64) {
    for behavior in [Burst, Delay, Skip] {
        virtually(async {
            let start = event_time();
            let mut beat = interval(millis(100));
            beat.set_missed_tick_behavior(behavior);
            beat.tick().await;
            sleep(millis(50)).await;
            reset(&mut beat);
            assert_eq!(beat.tick().await - start, millis(first), "{behavior:?}");
            assert_eq!(event_time() - start, millis(first.max(50)));
            assert_eq!(beat.tick().await - start, millis(second), "{behavior:?}");
            assert_eq!(event_time() - start, millis(second));
            assert_eq!(beat.period(), millis(100), "a reset leaves the period");
        });
    }
}

#[test]
fn resets_move_the_next_beat_and_those_behind_it() {
    check_reset(Interval::reset, 150, 250);
    check_reset(Interval::reset_immediately, 50, 150);
    check_reset(|beat| beat.reset_after(millis(20)), 70, 170);
    check_reset(|beat| beat.reset_after(millis(500)), 550, 650);
    check_reset(|beat| beat.reset_at(event_time() + millis(30)), 80, 180);
}

#[test]
fn a_reset_into_the_past_is_a_missed_beat() {
    for (behavior, second) in [(Burst, 130), (Delay, 150), (Skip, 130)] {
        virtually(async {
            let start = event_time();
            let mut beat = interval(millis(100));
            beat.set_missed_tick_behavior(behavior);
            beat.tick().await;
            sleep(millis(50)).await;
            beat.reset_at(start + millis(30));
            assert_eq!(beat.tick().await - start, millis(30), "{behavior:?}");
            assert_eq!(beat.tick().await - start, millis(second), "{behavior:?}");
        });
    }
}

#[test]
fn a_reset_drops_the_beats_that_were_missed() {
    virtually(async {
        let start = event_time();
        let mut beat = interval(millis(10));
        beat.tick().await;
        sleep(millis(55)).await;
        beat.reset();
        assert_eq!(beat.tick().await - start, millis(65));
        assert_eq!(beat.tick().await - start, millis(75));
    });
}

#[test]
fn a_reset_moves_who_waits_along() {
    virtually(async {
        let count = Count::new();
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        let mut beat = interval(millis(10));
        beat.tick().await;
        assert!(beat.poll_tick(&mut waker).is_pending());
        assert!(count.poll(&mut Box::pin(beat.tick())).is_pending());
        beat.reset_after(millis(30));
        sleep(millis(30) - Duration::from_nanos(1)).await;
        assert_eq!(count.wakes(), 0);
        sleep(Duration::from_nanos(2)).await;
        assert_eq!(count.wakes(), 1);
        assert!(beat.poll_tick(&mut waker).is_ready());
    });
}

#[test]
fn a_dropped_tick_loses_no_beat() {
    virtually(async {
        let start = event_time();
        let mut beat = interval(millis(10));
        beat.tick().await;
        for _ in 0..5 {
            let mut tick = Box::pin(beat.tick());
            assert!(poll_once(tick.as_mut()).await.is_pending());
            drop(tick);
            sleep(millis(1)).await;
        }
        assert_eq!(beat.tick().await - start, millis(10));
    });
}

#[test]
fn a_beat_that_comes_when_nobody_awaits_it_any_more_is_missed() {
    for (behavior, second) in [(Burst, 200), (Delay, 250), (Skip, 200)] {
        virtually(async {
            let start = event_time();
            let mut beat = interval(millis(100));
            beat.set_missed_tick_behavior(behavior);
            beat.tick().await;
            // As the branch of a `select` that another one won.
            assert!(poll_once(pin!(beat.tick())).await.is_pending());
            sleep(millis(150)).await;
            assert_eq!(beat.tick().await - start, millis(100));
            assert_eq!(beat.tick().await - start, millis(second), "{behavior:?}");
        });
    }
}

#[test]
fn a_beat_that_was_moved_while_it_was_awaited_is_in_time() {
    virtually(async {
        let start = event_time();
        let mut beat = interval(millis(100));
        beat.set_missed_tick_behavior(Delay);
        beat.tick().await;
        let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(beat.poll_tick(&mut noop).is_pending());
        beat.reset_after(millis(10));
        // The waiter is not polled at its beat, as on a loop that is busy.
        sleep(millis(15)).await;
        assert_eq!(beat.tick().await - start, millis(10));
        assert_eq!(beat.tick().await - start, millis(110));
    });
}

#[test]
fn an_interval_is_a_stream_of_its_beats() {
    virtually(async {
        let start = event_time();
        let beats = interval(millis(10)).map(|due| (due - start).as_millis());
        let first: Vec<_> = beats.take(4).collect().await;
        assert_eq!(first, [0, 10, 20, 30]);
        assert_eq!(event_time() - start, millis(30));
    });
}

#[test]
fn a_stream_gives_the_missed_beats_as_tick_does() {
    virtually(async {
        let start = event_time();
        let mut beat = interval(millis(10));
        beat.set_missed_tick_behavior(Skip);
        assert_eq!(beat.next().await, Some(start));
        sleep(millis(34)).await;
        assert_eq!(beat.next().await, Some(start + millis(10)));
        assert_eq!(beat.tick().await, start + millis(40));
        assert_eq!(Pin::new(&mut beat).next().await, Some(start + millis(50)));
    });
}

#[test]
fn a_period_of_centuries_does_not_overflow() {
    virtually(async {
        for behavior in [Burst, Delay, Skip] {
            let start = event_time();
            let mut beat = interval(Duration::MAX);
            beat.set_missed_tick_behavior(behavior);
            assert_eq!(beat.tick().await, start);
            let next = timeout(Duration::from_secs(150 * 365 * 86_400), beat.tick()).await;
            assert!(next.is_err(), "not after a century either");
        }
    });
}

#[test]
fn a_period_of_zero_is_refused() {
    let message = panic_message(|| virtually(async { drop(interval(Duration::ZERO)) }));
    assert!(message.contains("longer than zero"), "{message}");
}
