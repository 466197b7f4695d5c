//! Many timers: due at once, waiting while the loop is parked, and in the order they promise.

mod common;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{LIMIT_SECONDS, poll_once, watchdog};
use onbeat::{
    ClockMode, Runtime, event_time, precise_now, sleep, sleep_until, spawn_boxed, timeout,
    yield_now,
};

/// What one turn fires at most.
const TIMERS_A_TURN: u64 = 64;
const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A number that looks like chance; the same in every run.
fn scattered(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 32)
}

/// Spawns sleepers with these deadlines, then looks at each turn until all have fired.
fn check_fires_in_order(deadline_ns: impl Fn(u64) -> u64, count: u64) {
    let _guard = watchdog(4 * LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let woken = Rc::new(RefCell::new(Vec::with_capacity(count as usize)));
    let log = woken.clone();
    let mut expected: Vec<_> = (0..count).map(|number| (deadline_ns(number), number)).collect();
    let all = expected.clone();
    rt.block_on(async move {
        let start = event_time();
        for (deadline_ns, number) in all {
            let log = log.clone();
            drop(spawn_boxed(async move {
                sleep_until(start + Duration::from_nanos(deadline_ns)).await;
                log.borrow_mut().push((deadline_ns, number));
            }));
        }
    });
    while rt.stats().polls <= count {
        rt.tick().unwrap();
    }
    let mut worst = 0;
    while (woken.borrow().len() as u64) < count {
        let before = rt.stats();
        rt.tick().unwrap();
        let after = rt.stats();
        worst = worst.max(after.timers_fired - before.timers_fired);
        assert!(
            after.polls - before.polls <= 2 * TIMERS_A_TURN,
            "who fires is polled in that turn"
        );
    }
    assert!(worst <= TIMERS_A_TURN, "{worst} timers in one turn");
    expected.sort_unstable();
    assert!(*woken.borrow() == expected, "in the order of deadline, then of registration");
    assert_eq!(rt.stats().timers_fired, count);
}

#[test]
fn a_hundred_thousand_due_at_one_instant_fire_in_order_and_within_the_budget() {
    check_fires_in_order(|_| 60_000_000_000, 100_000);
}

#[test]
fn a_hundred_thousand_due_within_a_microsecond_fire_in_order_and_within_the_budget() {
    check_fires_in_order(|number| (1 << 36) + scattered(number) % 1_000, 100_000);
}

#[test]
fn deadlines_from_nanoseconds_to_centuries_fire_in_order() {
    check_fires_in_order(|number| scattered(number) >> (number % 62 + 2), 20_000);
}

/// While one task keeps the thread, all the others come due; then they fire in order.
#[test]
fn lateness_does_not_change_the_order() {
    const COUNT: u64 = 2_000;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let woken = Rc::new(RefCell::new(Vec::new()));
    let log = woken.clone();
    Runtime::new(&mut world).block_on(async move {
        let first = precise_now() + 200 * MILLI;
        let registered = Rc::new(Cell::new(0));
        let sleepers: Vec<_> = (0..COUNT)
            .map(|number| {
                let (log, registered) = (log.clone(), registered.clone());
                let deadline = first + Duration::from_nanos(scattered(number) % 20_000_000);
                spawn_boxed(async move {
                    let mut sleep = sleep_until(deadline);
                    assert!(poll_once(&mut sleep).await.is_pending());
                    registered.set(registered.get() + 1);
                    sleep.await;
                    assert!(precise_now() >= deadline, "never early");
                    log.borrow_mut().push((deadline, number));
                })
            })
            .collect();
        while registered.get() < COUNT {
            yield_now().await;
        }
        // On a machine that needs so long for so little there is nothing to be seen.
        let in_time = precise_now() < first;
        while precise_now() < first + 25 * MILLI {}
        for sleeper in sleepers {
            sleeper.await;
        }
        assert!(!in_time || log.borrow().is_sorted(), "late, and out of order");
    });
    assert_eq!(woken.borrow().len() as u64, COUNT);
}

#[test]
fn the_virtual_clock_stops_at_deadlines_only() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let count = 500;
    rt.block_on(async move {
        let start = event_time();
        for number in 0..count {
            let deadline = start + HOUR + Duration::from_nanos(scattered(number) % (1 << 45));
            drop(spawn_boxed(async move {
                sleep_until(deadline).await;
                assert_eq!(event_time(), deadline);
            }));
            // One beside each that is taken out again, so that slots hold what nobody waits for.
            let before = deadline - Duration::from_nanos(scattered(number) % (1 << 30));
            drop(spawn_boxed(async move {
                let _ = timeout(before - event_time(), sleep(Duration::ZERO)).await;
            }));
        }
        sleep(MILLI).await;
    });
    let before = rt.stats();
    rt.block_on(async { sleep(20 * HOUR).await });
    let after = rt.stats();
    assert_eq!(after.timers_fired - before.timers_fired, count + 1);
    // One tick to set the timer, and one for each deadline.
    assert_eq!(after.ticks - before.ticks, count + 2);
}

#[test]
fn a_parked_loop_wakes_up_for_what_is_due_and_for_nothing_else() {
    const GROUPS: u64 = 20;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let start = precise_now() + 50 * MILLI;
        let mut last = Vec::new();
        for group in 0..GROUPS as u32 {
            // Nanoseconds apart, and in an order in which no list stays sorted.
            for offset in [4, 1, 7, 3, 0, 6, 2, 5] {
                let deadline = start + group * 10 * MILLI + Duration::from_nanos(offset);
                last.push(spawn_boxed(sleep_until(deadline)));
            }
        }
        for number in 0..2_000 {
            let far = Duration::from_nanos(scattered(number) % (1 << 42));
            drop(spawn_boxed(sleep(HOUR + far)));
        }
        for sleeper in last {
            sleeper.await;
        }
    });
    // A group may need two when the thread wakes up in the middle of it.
    let (parks, ticks) = (rt.stats().parks, rt.stats().ticks);
    assert_eq!(rt.stats().timers_fired, 8 * GROUPS);
    assert!(parks <= GROUPS * 3 / 2, "slept {parks} times for {GROUPS} groups of timers");
    assert!(ticks <= GROUPS * 3 / 2 + 64, "{ticks} turns for {GROUPS} groups of timers");
}
