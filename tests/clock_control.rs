//! The virtual clock, moved, paused and paced from inside and from outside.

mod common;

use std::time::{Duration, Instant, SystemTime};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{
    ClockMode, ExternalWork, Handle, Idle, Pacing, Runtime, Tick, TickTime, VirtualClock,
    event_time, precise_now, sleep, spawn, utc_now, yield_now,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn runtime(world: &mut World) -> Runtime<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).build()
}

fn clock() -> VirtualClock {
    VirtualClock::current().unwrap()
}

/// Sleepers that log their own time and the one at which they wake, in milliseconds.
fn sleepers(start: Instant) {
    for millis in [30_u32, 10, 20, 10] {
        drop(spawn(async move {
            sleep(MS * millis).await;
            log(format!("{millis} at {}", (event_time() - start).as_millis()));
        }));
    }
}

#[test]
fn the_real_clock_is_nobodys_to_move() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    assert!(rt.virtual_clock().is_none());
    rt.block_on(async { assert!(VirtualClock::current().is_none()) });
}

#[test]
fn each_timer_on_the_way_fires_at_its_own_time() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        clock().pause();
        let start = event_time();
        sleepers(start);
        yield_now().await;
        clock().advance(MS * 25);
        sleep(MS * 25).await;
        assert_eq!(logged(), ["10 at 10", "10 at 10", "20 at 20"]);
        assert_eq!(event_time() - start, MS * 25, "and no further");
        assert_eq!(clock().remaining(), Duration::ZERO);
        clock().resume();
        sleep(SECOND).await;
        assert_eq!(logged(), ["30 at 30"]);
    });
}

#[test]
fn a_skip_is_one_step_and_what_was_due_fires_late_and_in_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let start = event_time();
        sleepers(start);
        yield_now().await;
        clock().skip(MS * 25);
        assert_eq!((event_time() - start, precise_now() - start), (Duration::ZERO, MS * 25));
        yield_now().await;
        yield_now().await;
        assert_eq!(logged(), ["10 at 25", "10 at 25", "20 at 25"]);
    });
}

#[test]
fn time_that_is_advanced_goes_on_while_tasks_are_ready_one_step_a_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let start = event_time();
        sleepers(start);
        yield_now().await;
        clock().advance(MS * 25);
        assert_eq!(event_time(), start, "not at the call");
        let mut seen = Vec::new();
        for _ in 0..4 {
            yield_now().await;
            seen.push((event_time() - start).as_millis());
        }
        assert_eq!(seen, [10, 20, 25, 25]);
    });
}

#[test]
fn several_advances_add_up() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        clock().pause();
        let start = event_time();
        clock().advance(MS);
        clock().advance(MS * 2);
        assert_eq!(clock().remaining(), MS * 3);
        sleep(MS * 3).await;
        assert_eq!(clock().now() - start, MS * 3);
    });
}

#[test]
fn beats_and_steps_are_deadlines_as_well() {
    #[derive(bevy_ecs::schedule::ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    struct Physics;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .pacing(Pacing::every(MS * 10))
        .fixed_step(Physics, MS * 5, 100)
        .build();
    let start = rt.virtual_clock().unwrap().now();
    rt.schedule(Tick).add_systems(move |time: Res<TickTime>| {
        log(format!("{} {}", time.number(), (event_time() - start).as_millis()));
    });
    rt.block_on(async {
        clock().pause();
        clock().advance(MS * 35);
        sleep(MS * 35).await;
        clock().resume();
    });
    // The root ends between two beats, and its tick is the next one.
    assert_eq!(logged()[..4], ["1 0", "2 10", "3 20", "4 30"]);
}

#[test]
fn ticks_by_hand_take_a_step_each_and_a_paused_clock_moves_by_nothing_else() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let clock = rt.virtual_clock().unwrap();
    clock.pause();
    let start = clock.now();
    rt.block_on(async move { sleepers(start) });
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(clock.now(), start);
    clock.advance(MS * 16);
    let mut seen = Vec::new();
    while !clock.remaining().is_zero() {
        rt.tick().unwrap();
        seen.push((clock.now() - start).as_millis());
    }
    assert_eq!(seen, [10, 16]);
    assert_eq!(logged(), ["10 at 10", "10 at 10"]);
    clock.resume();
    rt.tick().unwrap();
    assert_eq!(logged(), ["20 at 20"]);
}

#[test]
fn a_paused_program_with_nothing_else_to_do_is_stuck_and_goes_on_when_it_is_resumed() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let mut world = World::new();
        let mut rt = runtime(&mut world);
        let clock = rt.virtual_clock().unwrap();
        clock.pause();
        let message = panic_message(|| {
            let sleeper = async { onbeat::named("alarm").spawn(sleep(SECOND)).await };
            if busy { rt.block_on_busy(sleeper) } else { rt.block_on(sleeper) }
        });
        assert!(message.contains("the clock is paused"), "{message}");
        assert!(message.contains("alarm spawned at"), "{message}");
        clock.resume();
        rt.block_on(async { sleep(SECOND).await });
        assert_eq!(rt.timer_count(), 0, "the alarm has rung");
    }
}

#[test]
fn another_thread_may_move_a_paused_clock_through_a_handle() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        clock().pause();
        let (start, handle) = (event_time(), Handle::current());
        let operator = std::thread::spawn(move || {
            let moved = handle.run_with_world(|_| clock().advance(SECOND)).unwrap();
            moved.wait().unwrap();
        });
        sleep(SECOND).await;
        assert_eq!(event_time() - start, SECOND);
        operator.join().unwrap();
    });
}

#[test]
fn paced_time_takes_its_real_time_and_no_deadline_is_missed() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Park, Idle::Spin, Idle::ParkThenSpin] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).idle(idle).build();
        let clock = rt.virtual_clock().unwrap();
        clock.set_speed(10.0);
        let began = Instant::now();
        rt.block_on(async move {
            let start = event_time();
            sleepers(start);
            sleep(MS * 100).await;
            assert_eq!(event_time() - start, MS * 100, "exactly");
        });
        assert!(began.elapsed() >= MS * 10, "100 ms at 10 times the speed");
        assert_eq!(logged(), ["10 at 10", "10 at 10", "20 at 20", "30 at 30"]);
    }
}

#[test]
fn paced_time_goes_on_while_tasks_run_and_while_external_work_is_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let work = ExternalWork::current();
        clock().set_speed(1_000.0);
        let start = event_time();
        while event_time() - start < MS * 100 {
            yield_now().await;
        }
        sleep(MS * 100).await;
        drop(work);
        clock().set_speed(f64::INFINITY);
        sleep(SECOND * 86_400).await;
    });
}

#[test]
fn a_paced_program_that_can_never_go_on_is_stuck_as_well() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    rt.virtual_clock().unwrap().set_speed(1.0);
    let message = panic_message(|| rt.block_on(std::future::pending::<()>()));
    assert!(message.contains("nothing can ever happen again"), "{message}");
}

#[test]
fn a_paced_clock_that_was_paused_does_not_make_up_for_the_pause() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let clock = rt.virtual_clock().unwrap();
    clock.set_speed(1e-3);
    clock.pause();
    let start = clock.now();
    assert_eq!((clock.is_paused(), clock.speed()), (true, 1e-3));
    rt.tick().unwrap();
    assert_eq!(clock.now(), start);
    clock.advance(SECOND);
    clock.resume();
    rt.tick().unwrap();
    assert!(clock.now() - start >= SECOND, "what it was advanced by comes at once");
    assert!(clock.now() - start < SECOND + MS * 30, "and real time a thousand times slower");
}

#[test]
fn a_clock_may_outlive_its_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let clock = runtime(&mut world).virtual_clock().unwrap();
    let start = clock.now();
    clock.skip(SECOND);
    clock.advance(SECOND);
    assert_eq!((clock.now() - start, clock.remaining()), (SECOND, SECOND));
    assert!(panic_message(|| clock.set_speed(0.0)).contains("greater than zero"));
    assert!(panic_message(|| clock.set_speed(f64::NAN)).contains("greater than zero"));
}

#[test]
fn utc_begins_at_the_epoch_and_stands_still_within_a_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let epoch = SystemTime::UNIX_EPOCH + SECOND * 1_700_000_000;
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).utc_epoch(epoch).build();
    rt.block_on(async {
        assert_eq!(utc_now(), epoch);
        clock().skip(SECOND);
        assert_eq!(utc_now(), epoch, "the time of the turn");
        yield_now().await;
        assert_eq!(utc_now(), epoch + SECOND);
    });
}

#[test]
fn the_real_clocks_utc_is_the_machines() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        let first = utc_now();
        let machine = SystemTime::now();
        assert!(first <= machine + SECOND && machine <= first + SECOND * 20);
        assert_eq!(utc_now(), first);
        yield_now().await;
        while precise_now() == event_time() {}
        assert_ne!(utc_now(), first);
    });
}

#[test]
fn a_system_moves_the_clock_of_its_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    let mut rt = runtime(&mut world);
    let ringer = bell.clone();
    let start = rt.virtual_clock().unwrap().now();
    rt.schedule(Tick).add_systems(move || {
        if clock().now() - start < SECOND {
            clock().skip(SECOND);
        } else {
            ringer.ring();
        }
    });
    rt.block_on_busy(bell.rung());
    assert_eq!(rt.stats().ticks, 2);
}
