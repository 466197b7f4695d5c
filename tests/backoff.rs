//! Backoff: the delays of each policy, its limits, its jitter, and waiting by it.

mod common;

use std::{pin::pin, time::Duration};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, panic_message, poll_once, watchdog};
use onbeat::{Backoff, BackoffBuilder, ClockMode, Exhausted, Jitter, Runtime, event_time, sleep};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn virtually<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(future)
}

#[track_caller]
fn check_delays(policy: BackoffBuilder, expected: &[u64]) {
    let delays: Vec<_> = policy.build().take(expected.len() + 1).collect();
    let expected: Vec<_> = expected.iter().map(|ms| millis(*ms)).collect();
    assert_eq!(delays, expected);
}

#[test]
fn delays_grow_by_the_factor_up_to_the_longest_as_often_as_allowed() {
    let policy = || Backoff::builder().initial(millis(10));
    check_delays(policy().max_retries(5), &[10, 20, 40, 80, 160]);
    check_delays(policy().max_retries(5).max_delay(millis(50)), &[10, 20, 40, 50, 50]);
    check_delays(policy().max_retries(4).factor(1.0), &[10, 10, 10, 10]);
    check_delays(policy().max_retries(4).factor(3.0), &[10, 30, 90, 270]);
    check_delays(policy().max_retries(3).factor(1.5).initial(millis(100)), &[100, 150, 225]);
    check_delays(policy().max_retries(0), &[]);
    check_delays(policy().max_retries(2).initial(Duration::ZERO), &[0, 0]);
}

#[test]
fn delays_of_centuries_stay_at_the_longest() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let backoff = Backoff::builder().initial(century).max_delay(Duration::MAX).factor(1e9).build();
    let delays: Vec<_> = backoff.take(3).collect();
    assert_eq!(delays[0], century);
    assert_eq!(delays[1..], [Duration::from_nanos(u64::MAX); 2]);
}

#[test]
fn without_a_limit_it_goes_on() {
    let mut backoff = Backoff::builder().build();
    assert_eq!(backoff.nth(10_000), Some(Duration::from_secs(30)));
    assert_eq!(backoff.retries(), 10_001);
    assert!(!backoff.is_exhausted());
}

/// Every delay is in the bounds that its jitter gives, and both halves of them are used.
#[track_caller]
fn check_jitter(jitter: impl Into<Jitter>, least: u64, most: u64) {
    let policy = Backoff::builder().initial(millis(1_000)).factor(1.0).jitter(jitter).seed(3);
    let middle = millis(least + most) / 2;
    let (mut low, mut high) = (0, 0);
    for delay in policy.build().take(10_000) {
        assert!(delay >= millis(least) && delay <= millis(most), "{delay:?}");
        *(if delay < middle { &mut low } else { &mut high }) += 1;
    }
    assert!(low > 4_500 && high > 4_500, "{low} below the middle, {high} above");
}

#[test]
fn jitter_stays_in_its_bounds_and_uses_them() {
    check_jitter(Jitter::Full, 0, 1_000);
    check_jitter(Jitter::Equal, 500, 1_000);
    check_jitter(Jitter::Around(0.25), 750, 1_250);
    check_jitter(0.5, 500, 1_500);
    check_jitter(1.0, 0, 2_000);
}

#[test]
fn jitter_of_nothing_is_no_jitter() {
    for jitter in [Jitter::None, Jitter::Around(0.0)] {
        let policy = Backoff::builder().jitter(jitter).seed(3).max_retries(3);
        check_delays(policy, &[100, 200, 400]);
    }
}

#[test]
fn jitter_does_not_feed_back_into_the_growth() {
    let mut backoff = Backoff::builder().initial(millis(10)).jitter(Jitter::Full).seed(1).build();
    for grown in [10, 20, 40, 80] {
        assert_eq!(backoff.current_delay(), millis(grown));
        assert!(backoff.next_delay().unwrap() <= millis(grown));
    }
}

#[test]
fn a_seed_says_what_the_delays_are() {
    let policy = |seed| Backoff::builder().jitter(Jitter::Full).seed(seed).max_retries(20);
    let delays = |seed| policy(seed).build().collect::<Vec<_>>();
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
}

/// The delays of three backoffs without a seed, of one run.
fn unseeded() -> Vec<Vec<Duration>> {
    virtually(async {
        let policy = || Backoff::builder().jitter(Jitter::Full).max_retries(8).build();
        (0..3).map(|_| policy().collect()).collect()
    })
}

#[test]
fn without_a_seed_two_differ_and_two_runs_under_the_virtual_clock_do_not() {
    let run = unseeded();
    assert!(run[0] != run[1] && run[1] != run[2] && run[0] != run[2]);
    assert_eq!(run, unseeded());
}

#[test]
fn without_a_seed_jitter_needs_a_runtime() {
    let mut backoff = Backoff::builder().jitter(Jitter::Equal).build();
    let message = panic_message(|| assert_eq!(backoff.next_delay(), None));
    assert!(message.contains("a Backoff with jitter and without a seed"), "{message}");
    assert_eq!(backoff.retries(), 0);
}

#[test]
fn waiting_takes_as_long_as_the_delays_and_hands_the_last_error_back() {
    virtually(async {
        let start = event_time();
        let mut backoff = Backoff::builder().initial(millis(10)).max_retries(3).build();
        let mut attempts = 0;
        let last = loop {
            attempts += 1;
            if let Err(exhausted) = backoff.wait(attempts).await {
                break exhausted;
            }
        };
        assert_eq!((attempts, last), (4, Exhausted(4)));
        assert_eq!(event_time() - start, millis(70));
        assert!(backoff.is_exhausted());
        assert_eq!(Exhausted("refused").to_string(), "no retry is left: refused");
    });
}

#[test]
fn a_wait_counts_from_the_call() {
    virtually(async {
        let start = event_time();
        let mut backoff = Backoff::builder().initial(millis(10)).build();
        let wait = backoff.wait(());
        sleep(millis(4)).await;
        wait.await.unwrap();
        assert_eq!(event_time() - start, millis(10));
    });
}

#[test]
fn a_dropped_wait_leaves_the_wheel_and_counts_as_a_retry() {
    virtually(async {
        let count = Count::new();
        let mut backoff = Backoff::builder().max_retries(1).build();
        let mut wait = Box::pin(backoff.wait("first"));
        assert!(count.poll(&mut wait).is_pending());
        drop(wait);
        assert_eq!(count.kept(), 0);
        assert_eq!(backoff.wait("second").await, Err(Exhausted("second")));
    });
}

#[test]
fn a_deadline_cuts_the_last_delay_short() {
    virtually(async {
        let start = event_time();
        let mut backoff =
            Backoff::builder().initial(millis(40)).deadline(start + millis(100)).build();
        assert_eq!(backoff.remaining(), Some(millis(100)));
        backoff.wait(()).await.unwrap();
        assert_eq!(backoff.remaining(), Some(millis(60)));
        backoff.wait(()).await.unwrap();
        assert_eq!(event_time() - start, millis(100), "40 ms, and 60 of 80");
        assert!(backoff.is_exhausted());
        let mut over = pin!(backoff.wait(7));
        assert_eq!(poll_once(over.as_mut()).await, std::task::Poll::Ready(Err(Exhausted(7))));
        backoff.reset();
        assert!(backoff.is_exhausted(), "a reset does not move the deadline");
    });
}

#[test]
fn a_total_runs_from_the_first_delay_and_anew_after_a_reset() {
    virtually(async {
        let mut backoff = Backoff::builder().initial(millis(40)).max_total(millis(100)).build();
        sleep(millis(500)).await;
        assert_eq!(backoff.remaining(), Some(millis(100)), "it has not begun");
        for _ in 0..2 {
            let start = event_time();
            let mut waits = 0;
            while backoff.wait(()).await.is_ok() {
                waits += 1;
                sleep(millis(10)).await;
            }
            assert_eq!((waits, event_time() - start), (2, millis(110)));
            backoff.reset();
            assert_eq!((backoff.retries(), backoff.current_delay()), (0, millis(40)));
        }
    });
}

#[test]
fn the_nearer_of_two_limits_holds() {
    virtually(async {
        let policy = Backoff::builder().deadline(event_time() + millis(50));
        assert_eq!(policy.clone().max_total(millis(20)).build().remaining(), Some(millis(20)));
        assert_eq!(policy.max_total(millis(200)).build().remaining(), Some(millis(50)));
    });
}

#[test]
fn advance_counts_without_waiting() {
    let mut backoff = Backoff::builder().initial(millis(10)).max_retries(2).build();
    backoff.advance();
    assert_eq!((backoff.retries(), backoff.next_delay()), (1, Some(millis(20))));
    assert_eq!(backoff.next_delay(), None);
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let check = |build: fn() -> BackoffBuilder, expected: &str| {
        let message = panic_message(|| drop(build().build()));
        assert!(message.contains(expected), "{message}");
    };
    check(|| Backoff::builder().factor(0.5), "at least 1");
    check(|| Backoff::builder().factor(f64::NAN), "at least 1");
    check(|| Backoff::builder().factor(f64::INFINITY), "at least 1");
    check(|| Backoff::builder().jitter(1.5), "a part from 0 to 1");
    check(|| Backoff::builder().jitter(f64::NAN), "a part from 0 to 1");
    check(|| Backoff::builder().initial(millis(2)).max_delay(millis(1)), "must not be longer");
}
