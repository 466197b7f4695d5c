//! The options of the builder: what each changes.

mod common;

use std::{
    cell::Cell,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream as StdStream},
    rc::Rc,
    time::{Duration, Instant},
};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::{Bell, LIMIT_SECONDS, log, logged, panic_message, poll_once, until_parked, watchdog};
use onbeat::{
    ClockMode, Idle, OnTaskPanic, Pacing, Polled, Runtime, ShutdownSignal, Tick, event_time,
    net::TcpStream, sleep, spawn_boxed, yield_now,
};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Extra;

/// A stream of the runtime that this is called in, with nothing to read, and its peer.
async fn quiet_stream() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().unwrap();
    assert!(poll_once(stream.read(&mut [0])).await.is_pending());
    (stream, peer)
}

/// How many of 100 tasks that become ready together run before the stage of that tick.
fn polls_before_the_stage(tasks_per_cycle: usize) -> usize {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(tasks_per_cycle).build();
    rt.schedule(Tick).add_systems(|| log("stage"));
    let start = Rc::new(Cell::new(false));
    rt.block_on(async {
        let bell = Bell::default();
        for _ in 0..100 {
            let rung = bell.rung();
            drop(spawn_boxed(async {
                rung.await;
                log("task");
            }));
        }
        while bell.waiting() < 100 {
            yield_now().await;
        }
        let start = start.clone();
        drop(spawn_boxed(async move {
            while !start.get() {
                yield_now().await;
            }
            bell.ring();
        }));
        yield_now().await;
        yield_now().await;
    });
    logged();
    start.set(true);
    rt.tick().unwrap();
    logged().iter().take_while(|line| *line == "task").count()
}

#[test]
fn tasks_per_cycle_limits_the_polls_before_a_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    // One poll is of the task that wakes the others; a round of the same size comes before the stage.
    assert_eq!(polls_before_the_stage(10), 19);
    assert_eq!(polls_before_the_stage(20), 39);
    assert_eq!(polls_before_the_stage(1_000), 100);
}

/// In how many turns a busy task sees what another reads from a socket. The virtual clock stands still,
/// so that only the number of turns counts.
fn turns_until_read(event_interval: u32) -> u32 {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .event_interval(event_interval)
        .build();
    rt.block_on(async {
        let (mut stream, mut peer) = quiet_stream().await;
        // Begins right behind a look, whenever that was.
        let first = spawn_boxed(async move {
            stream.read_exact(&mut [0]).await.unwrap();
            stream
        });
        peer.write_all(b"x").unwrap();
        while !first.is_finished() {
            yield_now().await;
        }
        let mut stream = first.await;
        let second = spawn_boxed(async move { stream.read_exact(&mut [0]).await.unwrap() });
        yield_now().await;
        peer.write_all(b"x").unwrap();
        let mut turns = 0;
        while !second.is_finished() {
            yield_now().await;
            turns += 1;
        }
        turns
    })
}

#[test]
fn event_interval_is_the_number_of_turns_between_two_looks_for_events() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (every, seldom) = (turns_until_read(1), turns_until_read(40));
    assert!(every <= 3, "{every} turns");
    assert!((30..=42).contains(&seldom), "{seldom} turns");
}

#[test]
fn events_are_looked_for_in_time_however_long_their_interval_is() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).event_interval(u32::MAX).build();
    rt.block_on(async {
        let (mut stream, mut peer) = quiet_stream().await;
        let read = spawn_boxed(async move { stream.read_exact(&mut [0]).await.unwrap() });
        yield_now().await;
        peer.write_all(b"x").unwrap();
        // A turn with something ready does not look by itself: without a limit in time this never ends.
        while !read.is_finished() {
            yield_now().await;
        }
    });
}

#[test]
fn event_capacity_limits_the_events_that_are_taken_at_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    for (capacity, most) in [(1, 1), (3, 3), (64, 8)] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).event_capacity(capacity).build();
        let mut streams = rt.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..8 {
                streams.push(quiet_stream().await);
            }
            streams
        });
        for _ in 0..100 {
            rt.tick().unwrap();
        }
        for (_, peer) in &mut streams {
            peer.write_all(b"x").unwrap();
        }
        let mut taken = Vec::new();
        while taken.iter().sum::<u64>() < 8 {
            let before = rt.stats().events;
            rt.tick().unwrap();
            taken.push(rt.stats().events - before);
        }
        assert_eq!(taken.iter().max(), Some(&most), "capacity {capacity}: {taken:?}");
    }
}

#[test]
fn signal_handlers_complete_the_shutdown_signal() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).signal_handlers(true).build();
    rt.block_on(async {
        let waiter = spawn_boxed(async { ShutdownSignal::current().await });
        yield_now().await;
        assert!(!ShutdownSignal::current().is_shutdown());
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
        waiter.await;
    });
    assert!(rt.shutdown_handle().is_shutdown());
}

#[test]
fn on_task_panic_decides_whether_a_panic_leaves() {
    fn run(policy: OnTaskPanic) -> bool {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).on_task_panic(policy).build();
        let run = std::panic::AssertUnwindSafe(|| {
            rt.block_on(async {
                drop(spawn_boxed(async { std::panic::resume_unwind(Box::new("task")) }));
                yield_now().await;
            });
        });
        std::panic::catch_unwind(run).is_err()
    }
    let _guard = watchdog(LIMIT_SECONDS);
    assert!(!run(OnTaskPanic::default()));
    assert!(!run(OnTaskPanic::Contain));
    assert!(!run(OnTaskPanic::ContainAlways));
    assert!(run(OnTaskPanic::Propagate));
}

#[test]
fn clock_decides_whose_time_passes() {
    let _guard = watchdog(LIMIT_SECONDS);
    let passed = |mode, duration| {
        let mut world = World::new();
        let began = Instant::now();
        let inside = Runtime::builder(&mut world).clock(mode).build().block_on(async {
            let before = event_time();
            sleep(duration).await;
            event_time() - before
        });
        (inside, began.elapsed())
    };
    let (inside, outside) = passed(ClockMode::Real, Duration::from_millis(5));
    assert!(inside >= Duration::from_millis(5) && outside >= inside);
    let (inside, outside) = passed(ClockMode::Virtual, Duration::from_secs(3_600));
    assert_eq!(inside, Duration::from_secs(3_600));
    assert!(outside < inside);
}

#[test]
fn stages_take_the_place_of_the_one_stage() {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([Extra.intern()]).build();
    rt.schedule(Extra).add_systems(|| log("extra"));
    rt.tick().unwrap();
    assert_eq!(logged(), ["extra"]);
    let message = panic_message(|| {
        rt.schedule(Tick);
    });
    assert!(message.contains("Tick is not a stage of this runtime"), "{message}");
    assert!(message.contains("RuntimeBuilder::stages"), "{message}");
}

#[test]
fn pacing_decides_how_many_ticks_there_are() {
    fn ticks(pacing: impl Into<Pacing>) -> u64 {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).pacing(pacing).build();
        rt.block_on(async { sleep(Duration::from_secs(1)).await });
        rt.stats().ticks
    }
    let _guard = watchdog(LIMIT_SECONDS);
    assert_eq!(ticks(Pacing::OnEvent), 2);
    assert_eq!(ticks(Pacing::hertz(10)), 11);
    assert_eq!(ticks(Pacing::every(Duration::from_millis(10))), 101);
}

#[test]
fn fixed_step_gives_a_stage_a_period_of_its_own() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .fixed_step(Extra, Duration::from_secs(1), 1)
        .build();
    rt.schedule(Extra).add_systems(|| log("extra"));
    rt.block_on(async { sleep(Duration::from_secs(3)).await });
    assert_eq!(logged(), ["extra", "extra", "extra"]);
}

#[test]
fn idle_decides_whether_the_thread_parks() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Spin, Idle::Yield] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).idle(idle).build();
        rt.block_on(async { sleep(Duration::from_millis(5)).await });
        assert_eq!(rt.stats().parks, 0, "{idle:?}");
    }
    for idle in [Idle::Park, Idle::ParkThenSpin] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).idle(idle).build();
        rt.block_on(async {
            drop(spawn_boxed(sleep(Duration::from_secs(3_600))));
            until_parked().await;
        });
        assert_eq!(rt.stats().parks, 1, "{idle:?}");
    }
}

#[test]
fn poller_is_called_in_every_turn() {
    let mut world = World::new();
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let mut rt = Runtime::builder(&mut world)
        .poller(move || {
            counted.set(counted.get() + 1);
            Polled::from(0).may_park()
        })
        .build();
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(calls.get(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn pin_to_core_leaves_the_thread_one_core_until_the_runtime_goes() {
    use rustix::thread::sched_getaffinity;

    let before = sched_getaffinity(None).unwrap();
    let core = (0..).find(|core| before.is_set(*core)).unwrap();
    let mut world = World::new();
    let rt = Runtime::builder(&mut world).pin_to_core(core).build();
    assert!(rt.refusals().is_empty());
    let cores = sched_getaffinity(None).unwrap();
    assert!(cores.is_set(core) && cores.count() == 1);
    drop(rt);
    assert_eq!(sched_getaffinity(None).unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn real_time_priority_is_had_or_the_reason_why_not() {
    /// The real-time priority of this thread: field 40 of its line, 38 behind the name.
    fn priority() -> Option<u32> {
        let line = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        line.rsplit(')').next()?.split_whitespace().nth(37)?.parse().ok()
    }

    let mut world = World::new();
    let rt = Runtime::builder(&mut world).real_time_priority(3).build();
    match rt.refusals() {
        [] => assert!(matches!(priority(), None | Some(3))),
        refusals => {
            assert_eq!(refusals.len(), 1);
            assert_eq!(refusals[0].option(), "real_time_priority");
            assert!(!refusals[0].reason().to_string().is_empty());
        }
    }
    drop(rt);
    assert!(matches!(priority(), None | Some(0)));
}

#[cfg(target_os = "linux")]
#[test]
fn lock_memory_locks_all_or_says_why_not() {
    let mut world = World::new();
    assert!(Runtime::builder(&mut world).lock_memory(false).build().refusals().is_empty());
    let rt = Runtime::builder(&mut world).lock_memory(true).build();
    if let [refusal] = rt.refusals() {
        assert_eq!(refusal.option(), "lock_memory");
    } else {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        assert!(locked.is_none_or(|locked| locked.trim() != "0 kB"), "{locked:?}");
    }
}

#[test]
fn a_runtime_without_stages_runs_its_tasks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([]).build();
    let ended = Rc::new(Cell::new(false));
    rt.block_on(async {
        let ended = ended.clone();
        spawn_boxed(async move {
            yield_now().await;
            ended.set(true);
        })
        .await;
    });
    assert!(ended.get());
}

#[test]
fn a_queue_capacity_beyond_the_limit_is_an_error() {
    let mut world = World::new();
    let Err(error) = Runtime::builder(&mut world).queue_capacity(1 << 24).try_build() else {
        panic!("2^24 tasks are one too many");
    };
    assert!(error.to_string().contains("queue_capacity"), "{error}");
}

#[test]
fn a_queue_capacity_of_zero_runs_tasks_all_the_same() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).queue_capacity(0).token_capacity(0).build();
    rt.block_on(async {
        let tasks: Vec<_> = (0..1_000).map(|number| spawn_boxed(async move { number })).collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, number);
        }
        quiet_stream().await;
    });
}

#[test]
fn zero_where_nothing_would_ever_happen_panics_by_name() {
    let mut world = World::new();
    let message = panic_message(|| drop(Runtime::builder(&mut world).tasks_per_cycle(0)));
    assert!(message.contains("tasks_per_cycle must be at least 1"), "{message}");
    let message = panic_message(|| drop(Runtime::builder(&mut world).event_interval(0)));
    assert!(message.contains("event_interval must be at least 1"), "{message}");
    for priority in [0, 100] {
        let message =
            panic_message(|| drop(Runtime::builder(&mut world).real_time_priority(priority)));
        assert!(message.contains("between 1 and 99"), "{message}");
    }
    let message = panic_message(|| drop(Runtime::builder(&mut world).event_capacity(0)));
    assert!(message.contains("event_capacity must be at least 1"), "{message}");
}

#[test]
fn a_builder_names_its_options() {
    let mut world = World::new();
    let text = format!("{:?}", Runtime::builder(&mut world).tasks_per_cycle(77).event_interval(3));
    assert!(text.contains("tasks_per_cycle: 77") && text.contains("event_interval: 3"), "{text}");
}
