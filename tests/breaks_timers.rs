//! Breaks of a peer: timers that hang, cost time while they wait, or stay when nobody waits.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::pending,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use bevy_ecs::{resource::Resource, world::World};
use common::{Count, Drops, LIMIT_SECONDS, panic_message, parked_and_busy, poll_once, watchdog};
use onbeat::{
    ClockMode, JoinHandle, Runtime, Sleep, WorldCtx, event_time, interval, sleep, spawn_boxed,
    timeout, yield_now,
};

const HOUR: Duration = Duration::from_secs(3_600);

async fn sleep_is_not_early(duration: Duration) {
    let before = Instant::now();
    sleep(duration).await;
    let slept = before.elapsed();
    assert!(slept >= duration, "a sleep of {duration:?} took {slept:?}");
}

#[test]
fn short_sleeps_complete() {
    parked_and_busy(|| async {
        for micros in (100..=1_500).step_by(100) {
            for _ in 0..3 {
                sleep_is_not_early(Duration::from_micros(micros)).await;
            }
        }
        sleep_is_not_early(Duration::from_millis(5)).await;
        sleep_is_not_early(Duration::from_nanos(1)).await;
        sleep_is_not_early(Duration::ZERO).await;
        let mut beat = interval(Duration::from_millis(1));
        let start = beat.tick().await;
        for beats in 1..=10 {
            let due = beat.tick().await;
            assert_eq!(due, start + beats * Duration::from_millis(1));
            assert!(Instant::now() >= due, "beat {beats} came early");
        }
    });
}

#[test]
fn short_sleeps_of_many_tasks_complete() {
    parked_and_busy(|| async {
        let sleepers: Vec<JoinHandle<()>> = (1..=100)
            .map(|task| {
                spawn_boxed(async move {
                    for round in 1..=5 {
                        sleep_is_not_early(Duration::from_micros(task * 13 * round)).await;
                    }
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.await;
        }
    });
}

/// The time of so many ticks.
fn time_of(ticks: u32, rt: &mut Runtime<'_>) -> Duration {
    let before = Instant::now();
    for _ in 0..ticks {
        rt.tick().unwrap();
    }
    before.elapsed()
}

#[test]
fn idle_turn_does_not_walk_timers() {
    const SLEEPERS: u64 = 50_000;
    let _guard = watchdog(4 * LIMIT_SECONDS);
    let (mut first, mut second) = (World::new(), World::new());
    let (mut empty, mut full) = (Runtime::new(&mut first), Runtime::new(&mut second));
    full.block_on(async {
        for millis in 0..SLEEPERS {
            drop(spawn_boxed(sleep(HOUR + Duration::from_millis(millis))));
        }
    });
    while full.stats().polls <= SLEEPERS {
        full.tick().unwrap();
    }
    let before = full.stats();

    // To look at each sleeper takes a thousand times as long as not to. The least of many short rounds is
    // one that nothing else disturbed.
    let (mut empty_min, mut full_min) = (Duration::MAX, Duration::MAX);
    for _ in 0..100 {
        empty_min = empty_min.min(time_of(100, &mut empty));
        full_min = full_min.min(time_of(100, &mut full));
    }
    assert!(full_min < 20 * empty_min, "{full_min:?} with sleepers, {empty_min:?} without");
    let after = full.stats();
    assert_eq!((after.polls, after.timers_fired), (before.polls, 0), "nobody was due");
    assert_eq!(full.task_count() as u64, SLEEPERS);
}

/// Under the virtual clock a runtime that waits for nothing but a timer jumps to it, and one with an
/// empty wheel says that it is stuck, where it is. So this says whether the wheel is empty.
#[track_caller]
fn assert_no_timer_is_left(rt: &mut Runtime<'_>) {
    let before = rt.block_on(async { event_time() });
    let stuck = panic_message(|| rt.block_on(pending::<()>()));
    assert!(stuck.contains("nothing can ever happen again"), "{stuck}");
    assert_eq!(rt.block_on(async { event_time() }), before, "time has moved");
    assert_eq!(rt.stats().timers_fired, 0);
}

#[track_caller]
fn check_finished_timeouts(limit: Duration) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        for _ in 0..20_000 {
            // Pending once, so that the timer is set.
            assert_eq!(timeout(limit, yield_now()).await, Ok(()));
        }
    });
    assert_no_timer_is_left(&mut rt);
}

#[test]
fn finished_timeouts_leave_nothing() {
    check_finished_timeouts(Duration::from_secs(30));
}

#[test]
fn finished_timeouts_of_every_length_leave_nothing() {
    for exponent in 0..63 {
        let _guard = watchdog(LIMIT_SECONDS);
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
        rt.block_on(async {
            for offset in 0..100 {
                let limit = Duration::from_nanos((1 << exponent) + offset);
                assert_eq!(timeout(limit, yield_now()).await, Ok(()));
            }
        });
        assert_no_timer_is_left(&mut rt);
    }
}

#[test]
fn a_dropped_sleep_lets_its_waker_go_at_once() {
    let count = Count::new();
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        for _ in 0..1_000 {
            let mut limited = Box::pin(timeout(Duration::from_secs(30), pending::<()>()));
            assert!(count.poll(&mut limited).is_pending());
            assert_eq!(count.kept(), 1);
            drop(limited);
            assert_eq!(count.kept(), 0);
        }
    });
}

#[test]
fn a_finished_timeout_makes_no_tick_when_its_time_comes() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let others: Vec<_> = (1..=100)
            .map(|millis| {
                spawn_boxed(async move {
                    timeout(Duration::from_millis(millis), yield_now()).await.unwrap();
                })
            })
            .collect();
        for other in others {
            other.await;
        }
    });
    let before = rt.stats().ticks;
    rt.block_on(async { sleep(HOUR).await });
    let ticks = rt.stats().ticks - before;
    assert!(ticks <= 2, "one to set the timer and one to fire it, not {ticks}");
}

#[test]
fn drop_with_sleepers_is_clean() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (drops, count) = (Rc::new(Cell::new(0)), Count::new());
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let mut kept: Vec<Pin<Box<Sleep>>> = Vec::new();
    rt.block_on(async {
        for task in 0..1_000_u64 {
            let witness = Drops::counted_by(&drops);
            // Deadlines in every level of the wheel; the nearest come due before the drop.
            let duration = Duration::from_nanos(1 << (task % 60));
            drop(spawn_boxed(async move {
                let _witness = witness;
                let _ = timeout(duration, pending::<()>()).await;
                timeout(HOUR, interval(HOUR).tick()).await.unwrap();
                sleep(HOUR).await;
            }));
            // Never polled, so never in the wheel.
            drop(spawn_boxed(sleep(duration + HOUR)));
        }
        yield_now().await;
        kept.push(Box::pin(sleep(HOUR)));
        assert!(count.poll(&mut kept[0]).is_pending());
        assert_eq!(count.kept(), 1);
    });
    assert_eq!(drops.get(), 0);
    drop(rt);
    assert_eq!(drops.get(), 1_000);
    assert_eq!(count.kept(), 0, "the wheel let the waker of a sleep go that outlives it");
    drop((kept, world));
}

/// Says whether a panic unwound past it.
struct Calm(Rc<Cell<bool>>);

impl Drop for Calm {
    fn drop(&mut self) {
        self.0.set(self.0.get() && !thread::panicking());
    }
}

#[test]
fn drop_with_sleepers_that_hold_handles_of_sleepers_is_clean() {
    let _guard = watchdog(LIMIT_SECONDS);
    let calm = Rc::new(Cell::new(true));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        // Slots are given out in order: of two tasks one holds a handle of a lower slot than its own,
        // and one of a higher.
        let low = spawn_boxed(async { sleep(HOUR).await });
        let seen = calm.clone();
        drop(spawn_boxed(async move {
            let high = spawn_boxed(async { sleep(HOUR).await });
            let _held = (low, high, Calm(seen));
            sleep(HOUR).await;
        }));
        yield_now().await;
    });
    assert_eq!(rt.task_count(), 3);
    drop(rt);
    assert!(calm.get(), "dropping a handle in a destructor panicked");
}

#[test]
fn drop_with_sleepers_is_clean_while_a_panic_unwinds() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let message = panic_message(|| {
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        rt.block_on(async {
            for _ in 0..100 {
                let witness = Drops::counted_by(&drops);
                drop(spawn_boxed(async move {
                    let _witness = witness;
                    sleep(HOUR).await;
                }));
            }
            yield_now().await;
            panic!("the root fails");
        });
    });
    assert_eq!(message, "the root fails");
    assert_eq!(drops.get(), 100);
}

#[derive(Resource, Default)]
struct Said(u32);

/// Does in its destructor all that a destructor may do to timers and tasks.
struct Last {
    peer: Rc<RefCell<Option<Pin<Box<Sleep>>>>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Last {
    fn drop(&mut self) {
        drop(self.peer.take());
        self.task.take().unwrap().abort();
        let count = Count::new();
        let mut late = Box::pin(sleep(HOUR));
        assert_eq!(count.poll(&mut late), Poll::Pending);
        *self.peer.borrow_mut() = Some(late);
        WorldCtx::current().with_world(|world| world.resource_mut::<Said>().0 += 1);
    }
}

#[test]
fn drop_with_sleepers_is_clean_when_destructors_use_timers() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Said>();
    let mut rt = Runtime::new(&mut world);
    let peer = Rc::new(RefCell::new(None));
    rt.block_on(async {
        let mut shared = Box::pin(sleep(HOUR));
        assert!(poll_once(shared.as_mut()).await.is_pending());
        *peer.borrow_mut() = Some(shared);
        for _ in 0..10 {
            let task = Some(spawn_boxed(sleep(HOUR)));
            let last = Last { peer: peer.clone(), task };
            drop(spawn_boxed(async move {
                let _last = last;
                pin!(sleep(HOUR)).await;
            }));
        }
        yield_now().await;
    });
    drop(rt);
    assert_eq!(world.resource::<Said>().0, 10, "every destructor ran to its end");
    assert!(peer.borrow().is_some(), "the last one's sleep outlives the runtime");
}
