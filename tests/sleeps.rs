//! Sleeps that are moved, looked at, limited and followed by something else, under the virtual clock.

mod common;

use std::{
    cell::Cell,
    future::{pending, ready},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{Count, Drops, LIMIT_SECONDS, log, logged, panic_message, poll_once, watchdog};
use onbeat::{
    ClockMode, Runtime, Sleep, after, after_delay, event_time, precise_now, sleep, sleep_until,
    spawn_boxed, timeout, timeout_at, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Runs a future on a runtime with the virtual clock.
fn virtually<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(future)
}

#[test]
fn a_sleep_says_when_it_completes_and_completes_then() {
    virtually(async {
        let start = event_time();
        let relative = sleep(3 * MILLI);
        assert_eq!(relative.deadline(), start + 3 * MILLI);
        let absolute = sleep_until(start + 5 * MILLI);
        assert_eq!(absolute.deadline(), start + 5 * MILLI);
        relative.await;
        assert_eq!(event_time() - start, 3 * MILLI);
        absolute.await;
        assert_eq!(event_time() - start, 5 * MILLI);
    });
}

#[test]
fn a_deadline_before_the_clock_began_is_kept_and_due_at_once() {
    virtually(async {
        let start = event_time();
        let long_ago = start - HOUR;
        let mut late = sleep_until(long_ago);
        assert_eq!(late.deadline(), long_ago);
        assert!(late.is_elapsed());
        assert!(poll_once(&mut late).await.is_pending(), "not in the turn of its registration");
        late.await;
        assert_eq!(event_time(), start);
    });
}

#[test]
fn a_sleep_that_no_clock_can_reach_never_completes() {
    virtually(async {
        let mut endless = sleep(Duration::MAX);
        assert!(endless.deadline() > event_time() + 1_000_000 * HOUR);
        assert!(poll_once(&mut endless).await.is_pending());
        sleep(1_000_000 * HOUR).await;
        assert!(poll_once(&mut endless).await.is_pending());
        assert!(!endless.is_elapsed());
    });
}

#[test]
fn a_program_that_waits_for_what_no_clock_can_reach_is_stuck() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
        let message = panic_message(|| {
            let endless = async { assert!(timeout(Duration::MAX, pending::<()>()).await.is_ok()) };
            if busy { rt.block_on_busy(endless) } else { rt.block_on(endless) }
        });
        assert!(message.contains("nothing can ever happen again"), "{message}");
    }
}

#[test]
fn is_elapsed_follows_the_time_of_the_turn_and_not_the_polls() {
    virtually(async {
        let never_polled = sleep(2 * MILLI);
        let mut polled = sleep(2 * MILLI);
        assert!(poll_once(&mut polled).await.is_pending());
        sleep(2 * MILLI - Duration::from_nanos(1)).await;
        assert!(!never_polled.is_elapsed() && !polled.is_elapsed());
        sleep(Duration::from_nanos(1)).await;
        assert!(never_polled.is_elapsed() && polled.is_elapsed());
    });
}

#[test]
fn a_sleep_whose_runtime_has_gone_is_not_elapsed() {
    let (sleep,) = virtually(async { (sleep_until(event_time()),) });
    assert!(!sleep.is_elapsed());
}

/// What a reset does to who waits already: the deadline, when it was polled before, when it is moved to.
fn check_reset(first: Duration, moved_at: Duration, to: Duration) {
    virtually(async {
        let start = event_time();
        let count = Count::new();
        let mut moved = Box::pin(sleep(first));
        assert!(count.poll(&mut moved).is_pending());
        sleep(moved_at).await;
        moved.as_mut().get_mut().reset(start + to);
        assert_eq!(moved.deadline(), start + to);
        assert_eq!(count.kept(), 1, "who waits goes on waiting");
        if to > moved_at {
            sleep(to - moved_at - Duration::from_nanos(1)).await;
            assert_eq!(count.wakes(), 0, "not before the new deadline");
            assert!(!moved.is_elapsed());
        }
        sleep(Duration::from_nanos(1)).await;
        yield_now().await;
        assert_eq!(count.wakes(), 1);
        assert_eq!(count.poll(&mut moved), Poll::Ready(()));
    });
}

#[test]
fn a_reset_moves_who_waits_to_the_new_deadline() {
    check_reset(10 * MILLI, 4 * MILLI, 20 * MILLI);
    check_reset(10 * MILLI, 4 * MILLI, 6 * MILLI);
    check_reset(10 * MILLI, 4 * MILLI, 10 * MILLI);
    check_reset(10 * MILLI, 4 * MILLI, 2 * MILLI);
    check_reset(HOUR, MILLI, 1_000 * HOUR);
    check_reset(1_000 * HOUR, MILLI, 2 * MILLI);
}

#[test]
fn reset_after_counts_from_the_call() {
    virtually(async {
        let start = event_time();
        let mut moved = sleep(10 * MILLI);
        assert!(poll_once(&mut moved).await.is_pending());
        sleep(5 * MILLI).await;
        moved.reset_after(7 * MILLI);
        assert_eq!(moved.deadline() - start, 12 * MILLI);
        moved.await;
        assert_eq!(event_time() - start, 12 * MILLI);
    });
}

#[test]
fn reset_after_is_never_early_by_the_clock_of_the_machine() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        let mut moved = sleep(HOUR);
        for _ in 0..20 {
            assert!(poll_once(&mut moved).await.is_pending());
            let before = precise_now();
            moved.reset_after(MILLI / 5);
            (&mut moved).await;
            assert!(precise_now() - before >= MILLI / 5);
        }
    });
}

#[test]
fn a_completed_sleep_can_be_reset_and_awaited_again() {
    virtually(async {
        let start = event_time();
        let mut again = pin!(sleep(MILLI));
        for round in 1..=5 {
            again.as_mut().await;
            assert_eq!(event_time() - start, round * MILLI);
            again.reset_after(MILLI);
        }
    });
}

#[test]
fn a_completed_sleep_that_is_polled_again_completes_again() {
    virtually(async {
        let mut done = sleep(MILLI);
        (&mut done).await;
        (&mut done).await;
    });
}

#[test]
fn a_reset_goes_behind_those_with_the_same_deadline() {
    virtually(async {
        let deadline = event_time() + 10 * MILLI;
        let first = Rc::new(Cell::new(Some(sleep_until(deadline))));
        let moved = first.clone();
        let a = spawn_boxed(async move {
            let mut sleep = moved.take().unwrap();
            assert!(poll_once(&mut sleep).await.is_pending());
            yield_now().await;
            sleep.reset(deadline);
            sleep.await;
            log("moved");
        });
        let b = spawn_boxed(async move {
            sleep_until(deadline).await;
            log("stayed");
        });
        a.await;
        b.await;
    });
    assert_eq!(logged(), ["stayed", "moved"]);
}

#[test]
fn a_sleep_of_another_runtime_moves_by_reset() {
    let _guard = watchdog(LIMIT_SECONDS);
    let count = Count::new();
    let (mut first, mut second) = (World::new(), World::new());
    let mut old = Runtime::builder(&mut first).clock(ClockMode::Virtual).build();
    let (mut sleeper,): (Pin<Box<Sleep>>,) = old.block_on(async { (Box::pin(sleep(HOUR)),) });
    old.block_on(async { assert!(count.poll(&mut sleeper).is_pending()) });
    let mut new = Runtime::builder(&mut second).clock(ClockMode::Virtual).build();
    new.block_on(async {
        sleeper.reset_after(MILLI);
        assert_eq!(count.kept(), 1);
        sleep(2 * MILLI).await;
        assert_eq!(count.wakes(), 1, "the new runtime wakes who waited in the old one");
    });
    let stuck = panic_message(|| old.block_on(pending::<()>()));
    assert!(stuck.contains("nothing can ever happen again"), "the old wheel is empty: {stuck}");
}

#[test]
fn a_reset_outside_a_runtime_panics_and_leaves_the_sleep_as_it_was() {
    let count = Count::new();
    let (mut sleeper,) = virtually(async { (Box::pin(sleep(HOUR)),) });
    let before = sleeper.deadline();
    assert!(panic_message(|| sleeper.reset(before)).contains("Sleep::reset()"));
    assert!(panic_message(|| sleeper.reset_after(HOUR)).contains("Sleep::reset_after()"));
    let polled = panic_message(|| assert!(count.poll(&mut sleeper).is_pending()));
    assert!(polled.contains("polling a Sleep"));
    assert_eq!((sleeper.deadline(), count.kept()), (before, 0));
}

#[test]
fn the_waker_of_the_latest_poll_is_woken() {
    virtually(async {
        let (old, new) = (Count::new(), Count::new());
        let mut sleeper = Box::pin(sleep(MILLI));
        assert!(old.poll(&mut sleeper).is_pending());
        assert!(new.poll(&mut sleeper).is_pending());
        assert!(new.poll(&mut sleeper).is_pending());
        assert_eq!((old.kept(), new.kept()), (0, 1));
        sleep(2 * MILLI).await;
        assert_eq!((old.wakes(), new.wakes()), (0, 1));
    });
}

#[test]
fn after_polls_its_future_when_the_deadline_has_come_and_not_before() {
    virtually(async {
        let start = event_time();
        let deadline = start + 5 * MILLI;
        let at = after(deadline, async { event_time() }).await;
        assert_eq!(at, deadline);
        let follows = after_delay(5 * MILLI, async { event_time() });
        sleep(3 * MILLI).await;
        assert_eq!(follows.await, start + 10 * MILLI, "counted from the call, not from the await");
    });
}

#[test]
fn after_goes_on_with_a_future_that_is_pending() {
    virtually(async {
        let start = event_time();
        after_delay(MILLI, async { sleep(MILLI).await }).await;
        assert_eq!(event_time() - start, 2 * MILLI);
    });
}

#[test]
fn after_in_the_past_runs_in_the_next_turn() {
    virtually(async {
        let start = event_time();
        let mut late = pin!(after(start - HOUR, ready(7)));
        assert!(poll_once(late.as_mut()).await.is_pending());
        assert_eq!(late.await, 7);
        assert_eq!(event_time(), start);
    });
}

#[test]
fn a_dropped_after_drops_its_future_and_leaves_the_wheel() {
    let drops = Rc::new(Cell::new(0));
    let count = Count::new();
    virtually(async {
        let witness = Drops::counted_by(&drops);
        let mut waiting = Box::pin(after_delay(HOUR, async move {
            let _witness = witness;
            log("polled");
        }));
        assert!(count.poll(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!((drops.get(), count.kept()), (1, 0));
    });
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_future_that_is_ready_in_the_turn_of_the_limit_wins() {
    virtually(async {
        let deadline = event_time() + MILLI;
        let inner = sleep_until(deadline);
        assert!(timeout_at(deadline, inner).await.is_ok());
        assert!(timeout(MILLI, pending::<()>()).await.is_err());
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
    });
}
