//! Pacing: when ticks start, and what runs between them.

mod common;

use std::{
    cell::{Cell, RefCell},
    io::Write,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::{Duration, Instant},
};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, log, logged, panic_message, until_parked, watchdog};
use onbeat::{
    CatchUp, ClockMode, Idle, Pacing, Runtime, Tick, TickRequest, TickTime, WorldCtx, event_time,
    net::TcpStream, precise_now, sleep, spawn_boxed, yield_now,
};

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);

fn runtime(world: &mut World, pacing: impl Into<Pacing>) -> Runtime<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).pacing(pacing).build()
}

fn hybrid(at_most_every: Duration, at_least_every: Duration) -> Pacing {
    Pacing::Hybrid { at_most_every, at_least_every }
}

/// The start of the clock that the runtime runs by.
fn origin(rt: &mut Runtime<'_>) -> Instant {
    rt.world().resource::<TickTime>().nominal()
}

/// Logs when each tick starts, in milliseconds of the virtual clock.
fn log_ticks(rt: &mut Runtime<'_>) {
    let start = origin(rt);
    rt.schedule(Tick).add_systems(move |time: Res<TickTime>| {
        assert_eq!(time.frozen(), event_time());
        log(format!("{}", (time.nominal() - start).as_millis()));
    });
}

fn number() -> u64 {
    WorldCtx::current().with_world_ref(|world| world.resource::<TickTime>().number())
}

async fn next_ticks(count: usize) {
    for _ in 0..count {
        WorldCtx::current().next_tick().await;
    }
}

#[test]
fn a_fixed_rate_ticks_at_every_beat_and_at_no_other_time() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    log_ticks(&mut rt);
    rt.block_on(sleep_in(45 * MS));
    assert_eq!(logged(), ["0", "10", "20", "30", "40"]);
    assert_eq!(rt.stats().turns_between, 1, "the one in which the root completed");
    assert_eq!((rt.stats().overruns, rt.stats().beats_skipped), (0, 0));
}

/// Sleeps from the time at which it is polled first.
async fn sleep_in(duration: Duration) {
    sleep(duration).await;
}

#[test]
fn a_timer_due_at_a_beat_fires_in_the_tick_of_that_beat() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::hertz(1_000));
    rt.block_on(async {
        sleep(100 * MS).await;
        assert_eq!(number(), 101);
    });
    assert_eq!((rt.stats().ticks, rt.stats().turns_between), (101, 0));
}

#[test]
fn nominal_times_do_not_drift_in_a_hundred_thousand_ticks() {
    const TICKS: u64 = 100_000;

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::hertz(60));
    let start = origin(&mut rt);
    rt.schedule(Tick).add_systems(move |time: Res<TickTime>| {
        let beat = u128::from(time.number() - 1) * 1_000_000_000 / 60;
        assert_eq!((time.nominal() - start).as_nanos(), beat);
        assert_eq!(time.frozen(), time.nominal());
    });
    rt.block_on(next_ticks(TICKS as usize));
    assert_eq!(rt.stats().ticks, TICKS + 1);
}

#[test]
fn the_grid_begins_anew_with_each_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    log_ticks(&mut rt);
    rt.block_on(sleep_in(25 * MS));
    rt.block_on(sleep_in(15 * MS));
    assert_eq!(logged(), ["0", "10", "20", "25", "35"]);
}

#[test]
fn delta_is_the_distance_between_nominal_times() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    rt.schedule(Tick).add_systems(|time: Res<TickTime>| {
        log(format!("{:?} {:?}", time.delta(), time.lateness()));
    });
    rt.block_on(next_ticks(2));
    rt.block_on(sleep_in(3 * MS));
    rt.block_on(async {});
    assert_eq!(logged(), ["0ns 0ns", "10ms 0ns", "10ms 0ns", "0ns 0ns", "3ms 0ns"]);
}

#[test]
fn a_free_running_tick_has_a_time_for_who_asks() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|time: Res<TickTime>| {
        assert_eq!((time.frozen(), time.nominal()), (event_time(), event_time()));
        assert_eq!(time.lateness(), Duration::ZERO);
        log(format!("{} {}", time.number(), time.delta().is_zero()));
    });
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(logged(), ["1 true", "2 false", "3 false"]);
}

#[test]
fn the_number_of_a_tick_is_known_between_ticks() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    assert_eq!(rt.world().resource::<TickTime>().number(), 0);
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(rt.world().resource::<TickTime>().number(), 2);
    drop(rt);
    assert_eq!(world.resource::<TickTime>().number(), 2, "also when the runtime has gone");
}

#[test]
fn timers_fire_in_turns_between_ticks_that_run_no_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    log_ticks(&mut rt);
    rt.block_on(async {
        let start = event_time();
        for millis in [1, 2, 3] {
            sleep(MS).await;
            assert_eq!(event_time() - start, millis * MS);
            assert_eq!(number(), 1);
        }
        WorldCtx::current().next_tick().await;
        assert_eq!(event_time() - start, 10 * MS);
        assert_eq!(number(), 2);
    });
    assert_eq!(logged(), ["0", "10"]);
    assert_eq!(rt.stats().turns_between, 3);
}

#[test]
fn a_socket_is_read_before_the_beat() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    log_ticks(&mut rt);
    rt.block_on(async {
        let start = event_time();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        for _ in 0..100 {
            let reader = spawn_boxed(async move {
                stream.read_exact(&mut [0]).await.unwrap();
                stream
            });
            yield_now().await;
            peer.write_all(b"x").unwrap();
            stream = reader.await;
        }
        assert_eq!((number(), event_time()), (1, start), "a socket holds virtual time still");
        drop(stream);
        WorldCtx::current().next_tick().await;
        assert_eq!(event_time() - start, 10 * MS);
    });
    assert_eq!(logged(), ["0", "10"]);
    assert!(rt.stats().turns_between >= 100);
}

#[test]
fn a_wake_from_another_thread_is_handled_before_the_beat() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Park, Idle::ParkThenSpin, Idle::Spin, Idle::Yield] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world)
            .pacing(Pacing::every(Duration::from_secs(3_600)))
            .idle(idle)
            .build();
        let bell = Bell::default();
        rt.block_on(async {
            for _ in 0..20 {
                let (rung, ringer) = (bell.rung(), bell.clone());
                let thread = std::thread::spawn(move || ringer.ring());
                rung.await;
                thread.join().unwrap();
            }
            assert_eq!(number(), 1);
        });
        assert_eq!(rt.stats().ticks, 1, "{idle:?}");
    }
}

#[test]
fn a_task_that_yields_goes_on_between_ticks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(MS));
    rt.block_on(async {
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert_eq!(number(), 1);
    });
    assert_eq!((rt.stats().ticks, rt.stats().turns_between), (1, 1_000));
}

#[test]
fn a_request_for_a_tick_waits_for_the_beat() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(10 * MS));
    log_ticks(&mut rt);
    rt.schedule(Tick).add_systems(|mut more: ResMut<TickRequest>| more.request());
    rt.block_on(sleep_in(25 * MS));
    assert_eq!(logged(), ["0", "10", "20"]);
    assert_eq!(rt.stats().turns_between, 1);
}

#[test]
fn a_hybrid_ticks_without_events_at_the_longest_distance_and_on_an_event_at_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, hybrid(MS, 10 * MS));
    log_ticks(&mut rt);
    rt.block_on(sleep_in(25 * MS));
    assert_eq!(logged(), ["0", "10", "20", "25"]);
    assert_eq!(rt.stats().turns_between, 0);
}

#[test]
fn a_hybrid_does_not_tick_sooner_than_the_shortest_distance() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, hybrid(10 * MS, 1_000 * MS));
    log_ticks(&mut rt);
    rt.block_on(async {
        let start = event_time();
        for step in 1..=12 {
            sleep(2 * MS).await;
            assert_eq!(event_time() - start, 2 * step * MS, "no event waits");
        }
        sleep(100 * MS).await;
    });
    assert_eq!(logged(), ["0", "10", "20", "30", "124"]);
    assert_eq!(rt.stats().turns_between, 10);
}

#[test]
fn a_hybrid_runs_a_requested_tick_at_the_shortest_distance() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, hybrid(10 * MS, 1_000 * MS));
    log_ticks(&mut rt);
    rt.schedule(Tick).add_systems(|time: Res<TickTime>, mut more: ResMut<TickRequest>| {
        if time.number() < 3 {
            more.request();
        }
    });
    rt.block_on(sleep_in(100 * MS));
    assert_eq!(logged(), ["0", "10", "20", "100"]);
}

#[test]
fn a_program_that_only_beats_is_stuck_unless_a_system_may_act() {
    let _guard = watchdog(LIMIT_SECONDS);
    for pacing in [Pacing::every(MS).into(), hybrid(MS, MS)] {
        let mut world = World::new();
        let bell = Bell::default();
        world.insert_resource(bell.clone());
        let mut rt = runtime(&mut world, pacing);
        let message = panic_message(|| rt.block_on(bell.rung()));
        assert!(message.contains("nothing can ever happen again"), "{message}");
        rt.schedule(Tick).add_systems(|time: Res<TickTime>, bell: Res<Bell>| {
            if time.number() > 100 {
                bell.ring();
            }
        });
        rt.block_on(bell.rung());
    }
}

#[test]
fn a_program_that_no_beat_and_no_event_can_reach_is_stuck() {
    let _guard = watchdog(LIMIT_SECONDS);
    for pacing in [Pacing::every(Duration::MAX).into(), hybrid(MS, Duration::MAX)] {
        let mut world = World::new();
        let mut rt = runtime(&mut world, pacing);
        rt.schedule(Tick).add_systems(|| ());
        let message = panic_message(|| rt.block_on(std::future::pending::<()>()));
        assert!(message.contains("nothing can ever happen again"), "{message}");
        assert_eq!(rt.stats().ticks, 1);
    }
}

/// The nominal times, in periods, of ticks of which the third takes as long as four and a half.
fn periods_of_an_overrun(catch_up: CatchUp) -> (Vec<u64>, onbeat::Stats) {
    const PERIOD: Duration = Duration::from_millis(4);

    let mut world = World::new();
    let mut rt =
        Runtime::builder(&mut world).pacing(Pacing::every(PERIOD).catch_up(catch_up)).build();
    let first = Rc::new(Cell::new(None));
    let periods = Rc::new(RefCell::new(Vec::new()));
    rt.block_on(async {
        for _ in 0..10 {
            let (nominal, frozen) = WorldCtx::current().with_world_ref(|world| {
                let time = world.resource::<TickTime>();
                (time.nominal(), time.frozen())
            });
            assert!(nominal <= frozen);
            let start = first.get().unwrap_or(nominal);
            first.set(Some(start));
            let passed = (nominal - start).as_nanos();
            assert_eq!(passed % PERIOD.as_nanos(), 0, "on the grid");
            let passed = u64::try_from(passed / PERIOD.as_nanos()).unwrap();
            periods.borrow_mut().push(passed);
            if periods.borrow().len() == 3 {
                while precise_now() < nominal + 9 * PERIOD / 2 {}
            }
            WorldCtx::current().next_tick().await;
        }
    });
    (periods.take(), rt.stats())
}

#[test]
fn an_overrun_that_is_caught_up_with_leaves_no_beat_out() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (periods, stats) = periods_of_an_overrun(CatchUp::AtMost(u32::MAX));
    assert_eq!(periods, (0..10).collect::<Vec<_>>());
    assert_eq!(stats.beats_skipped, 0);
    assert!(stats.overruns >= 4, "{stats:?}");
}

#[test]
fn an_overrun_that_is_skipped_leaves_its_beats_out_and_counts_them() {
    let _guard = watchdog(LIMIT_SECONDS);
    for (catch_up, left_out) in [(CatchUp::Skip, 3), (CatchUp::AtMost(2), 1)] {
        let (periods, stats) = periods_of_an_overrun(catch_up);
        assert!(periods.is_sorted_by(|before, after| before < after), "{periods:?}");
        assert!(periods[3] >= periods[2] + 1 + left_out, "{periods:?}");
        assert!(stats.beats_skipped >= left_out && stats.overruns >= 1, "{stats:?}");
        assert!(stats.beats_skipped >= periods[9] - 9, "{periods:?} {stats:?}");
    }
}

#[test]
fn nothing_starts_early_however_the_thread_waits() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Spin, Idle::Yield, Idle::Park, Idle::ParkThenSpin] {
        let mut world = World::new();
        let mut rt =
            Runtime::builder(&mut world).pacing(Pacing::every(500 * US)).idle(idle).build();
        rt.schedule(Tick).add_systems(|time: Res<TickTime>| {
            assert!(time.frozen() >= time.nominal());
        });
        rt.block_on(async {
            for micros in [0, 1, 50, 300, 999, 2_000] {
                let before = precise_now();
                sleep(micros * US).await;
                assert!(precise_now() - before >= micros * US, "{idle:?}");
            }
        });
        let parks = rt.stats().parks;
        assert!(parks == 0 || matches!(idle, Idle::Park | Idle::ParkThenSpin), "{idle:?}: {parks}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_threads_timer_slack_is_the_same_after_block_on() {
    use rustix::thread::current_timer_slack;

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let before = current_timer_slack().unwrap();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        // A wait without a limit leaves the slack as it is.
        drop(spawn_boxed(sleep(Duration::from_secs(3_600))));
        until_parked().await;
        assert_eq!(current_timer_slack().unwrap(), 1);
    });
    assert_eq!(current_timer_slack().unwrap(), before);
    panic_message(|| {
        rt.block_on(async {
            until_parked().await;
            assert_eq!(current_timer_slack().unwrap(), 1);
            panic!("out of cheese");
        });
    });
    assert_eq!(current_timer_slack().unwrap(), before);
}

#[test]
fn a_parked_loop_with_nothing_due_does_not_wake_up() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Park, Idle::ParkThenSpin] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).idle(idle).build();
        let bell = Bell::default();
        rt.block_on(async {
            drop(spawn_boxed(sleep(Duration::from_secs(86_400))));
            let ringer = bell.clone();
            let rung = bell.rung();
            let parked = rt_parked();
            let thread = std::thread::spawn(move || {
                parked();
                ringer.ring();
            });
            rung.await;
            thread.join().unwrap();
        });
        assert_eq!((rt.stats().parks, rt.stats().ticks), (1, 2), "{idle:?}");
    }
}

/// Returns, on another thread, a while after this runtime's thread went to sleep.
fn rt_parked() -> impl FnOnce() + Send {
    let stats =
        WorldCtx::current().with_world_ref(|world| world.resource::<onbeat::TickStats>().clone());
    move || {
        while stats.get().parks == 0 {
            std::thread::yield_now();
        }
        let parked = Instant::now();
        while parked.elapsed() < 20 * MS {
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_the_builder_says_wins_over_the_two_ways_to_run() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).pacing(Pacing::OnEvent).idle(Idle::Park).build();
    rt.schedule(Tick).add_systems(|| ());
    rt.block_on_busy(until_parked());
    assert_eq!((rt.stats().ticks, rt.stats().parks), (2, 1));

    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::builder(&mut world).pacing(Pacing::FreeRunning).build();
    rt.schedule(Tick).add_systems(|time: Res<TickTime>, bell: Res<Bell>| {
        if time.number() == 100 {
            bell.ring();
        }
    });
    rt.block_on(bell.rung());
    assert_eq!((rt.stats().ticks, rt.stats().parks), (100, 0));
}

#[test]
fn a_tick_by_hand_waits_for_no_beat() {
    let mut world = World::new();
    let mut rt = runtime(&mut world, Pacing::every(Duration::from_secs(3_600)));
    log_ticks(&mut rt);
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(logged(), ["0", "0", "0"]);
}

#[test]
fn a_pacing_that_makes_no_sense_panics_by_name() {
    let mut world = World::new();
    let message = panic_message(|| _ = Pacing::every(Duration::ZERO));
    assert!(message.contains("longer than zero"), "{message}");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
        let message = panic_message(|| _ = Pacing::hertz(rate));
        assert!(message.contains("hertz"), "{message}");
    }
    for (most, least) in [(MS, Duration::ZERO), (Duration::ZERO, Duration::ZERO), (2 * MS, MS)] {
        let message =
            panic_message(|| drop(Runtime::builder(&mut world).pacing(hybrid(most, least))));
        assert!(message.contains("at_least_every"), "{message}");
    }
}
