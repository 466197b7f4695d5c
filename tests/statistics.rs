//! The counters count what they say.

mod common;

use std::{
    future::pending,
    io::{Read, Write},
    net::SocketAddr,
    panic::resume_unwind,
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, log, logged, poll_once, watchdog};
use onbeat::{
    ClockMode, Phase, Runtime, SAMPLE_INTERVAL, Stats, Tick, TickStats, net::TcpStream, sleep,
    spawn_boxed, timeout, yield_now,
};

#[test]
fn a_new_runtime_has_counted_nothing() {
    let mut world = World::new();
    assert_eq!(Runtime::new(&mut world).stats(), Stats::default());
}

#[test]
fn ticks_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    for ticks in 1..=10 {
        rt.tick().unwrap();
        assert_eq!(rt.stats().ticks, ticks);
    }
    rt.block_on(async { yield_now().await });
    assert_eq!(rt.stats().ticks, 12);
}

#[test]
fn a_tick_that_a_panic_left_is_counted() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| resume_unwind(Box::new("system")));
    for _ in 0..3 {
        let ticked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rt.tick()));
        assert!(ticked.is_err());
    }
    assert_eq!(rt.stats().ticks, 3);
}

#[test]
fn polls_and_local_wakes_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..10 {
            drop(spawn_boxed(async {
                for _ in 0..5 {
                    yield_now().await;
                }
            }));
        }
        for _ in 0..9 {
            yield_now().await;
        }
    });
    assert_eq!(rt.stats().polls, 10 * 6 + 10);
    assert_eq!(rt.stats().wakes_local, 10 * 5 + 9);
    assert_eq!(rt.stats().wakes_foreign, 0);
}

#[test]
fn foreign_wakes_are_counted_once_a_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    rt.block_on(async {
        for _ in 0..10 {
            drop(spawn_boxed(bell.rung()));
        }
    });
    let local = rt.stats().wakes_local;
    thread::scope(|scope| {
        scope.spawn(|| bell.ring());
    });
    rt.tick().unwrap();
    // A waker of a task that has gone may knock at an id that is used again: at least these came.
    assert!(rt.stats().wakes_foreign >= 10);
    assert_eq!(rt.stats().wakes_local, local);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn timers_that_fire_are_counted_and_those_that_are_cancelled_are_not() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            timeout(Duration::from_secs(9), yield_now()).await.unwrap();
        }
    });
    assert_eq!(rt.stats().timers_fired, 20);
}

#[test]
fn events_of_the_operating_system_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (mut stream, mut peer) = rt.block_on(async {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(poll_once(stream.read(&mut [0])).await.is_pending());
        (stream, listener.accept().unwrap().0)
    });
    for _ in 0..10 {
        rt.tick().unwrap();
    }
    let before = rt.stats().events;
    assert!(before > 0, "the connection was one");
    rt.tick().unwrap();
    assert_eq!(rt.stats().events, before);
    for count in 1..=5 {
        peer.write_all(b"x").unwrap();
        rt.block_on(async { stream.read_exact(&mut [0]).await.unwrap() });
        assert!(poll_once_in(&mut rt, &mut stream));
        assert!(rt.stats().events >= before + count, "{:?}", rt.stats());
    }
}

/// Notes that there is nothing to read.
fn poll_once_in(rt: &mut Runtime<'_>, stream: &mut TcpStream) -> bool {
    rt.block_on(async { poll_once(stream.read(&mut [0])).await.is_pending() })
}

#[test]
fn parks_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async { yield_now().await });
    assert_eq!(rt.stats().parks, 0);
    rt.block_on(async { sleep(Duration::from_millis(200)).await });
    assert!(rt.stats().parks > 0);
    let parks = rt.stats().parks;
    rt.block_on_busy(async { sleep(Duration::from_millis(2)).await });
    assert_eq!(rt.stats().parks, parks, "a spinning loop never sleeps");
}

#[test]
fn a_turn_does_not_repeat_the_look_that_ended_the_wait() {
    const ROUNDS: u64 = 50;
    let _guard = watchdog(LIMIT_SECONDS);
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..ROUNDS {
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        }
    });
    let stats = rt.stats();
    assert!(stats.parks + 5 >= stats.event_looks, "{stats:?}");
    echo.join().unwrap();
}

#[test]
fn task_panics_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..7 {
            drop(spawn_boxed(async { resume_unwind(Box::new("task")) }));
        }
        yield_now().await;
    });
    assert_eq!(rt.stats().task_panics, 7);
    assert_eq!(rt.stats().forgotten_payloads, 0, "payloads that drop quietly are not counted");
}

#[test]
fn phases_are_measured_in_one_tick_of_the_interval() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| {
        std::hint::black_box((0..1_000).sum::<u64>());
    });
    for _ in 0..SAMPLE_INTERVAL - 1 {
        rt.tick().unwrap();
    }
    assert_eq!(rt.stats().ticks_sampled, 0);
    assert_eq!(rt.stats().phase(Phase::Stages).total, Duration::ZERO);
    for _ in 0..9 * SAMPLE_INTERVAL + 1 {
        rt.tick().unwrap();
    }
    let stats = rt.stats();
    assert_eq!((stats.ticks, stats.ticks_sampled), (10 * SAMPLE_INTERVAL, 10));
    let stages = stats.phase(Phase::Stages);
    assert!(stages.longest > Duration::ZERO && stages.total >= stages.longest, "{stats:?}");
    assert!(stages.total <= stages.longest * 10);
}

#[test]
fn each_phase_has_its_own_duration() {
    let _guard = watchdog(LIMIT_SECONDS);
    let spin = |duration: Duration| {
        let began = std::time::Instant::now();
        while began.elapsed() < duration {
            std::hint::spin_loop();
        }
    };
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(move || spin(Duration::from_micros(200)));
    rt.block_on(async move {
        drop(spawn_boxed(async move {
            loop {
                yield_now().await;
                spin(Duration::from_micros(400));
            }
        }));
    });
    for _ in 0..2 * SAMPLE_INTERVAL {
        rt.tick().unwrap();
    }
    let stats = rt.stats();
    assert!(stats.phase(Phase::Tasks).longest >= Duration::from_micros(400), "{stats:?}");
    assert!(stats.phase(Phase::Stages).longest >= Duration::from_micros(200), "{stats:?}");
    let all: Duration = Phase::ALL.iter().map(|phase| stats.phase(*phase).total).sum();
    assert!(all >= Duration::from_micros(1_200), "{stats:?}");
}

#[test]
fn systems_read_the_counts_of_the_last_tick() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|stats: Res<TickStats>| log(stats.get().ticks.to_string()));
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(logged(), ["0", "1", "2"]);
    assert_eq!(rt.world().resource::<TickStats>().get(), rt.stats());
}

#[test]
fn the_counts_outlive_the_runtime_in_the_resource() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.tick().unwrap();
    drop(rt);
    assert_eq!(world.resource::<TickStats>().get().ticks, 1);
}

#[test]
fn task_count_is_the_number_of_tasks_that_have_not_ended() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (ended, pending) = rt.block_on(async {
        let tasks: Vec<_> = (0..3).map(|_| spawn_boxed(pending::<()>())).collect();
        (spawn_boxed(async {}), tasks)
    });
    assert!(ended.is_finished());
    assert_eq!(rt.task_count(), 3, "an output that waits for its handle is no task");
    let mut pending = pending.into_iter();
    pending.next().unwrap().abort();
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 2);
    drop(pending);
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 2, "a task goes on without its handle");
}
