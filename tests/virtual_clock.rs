//! The virtual clock: nothing sleeps, and time goes from one timer to the next.

mod common;

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{
    ClockMode, MissedTickBehavior, Runtime, Tick, TickStats, WorldCtx, event_time, interval,
    net::TcpListener, precise_now, sleep, spawn_boxed, timeout, yield_now,
};

fn runtime(world: &mut World) -> Runtime<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).build()
}

#[test]
fn an_hour_passes_at_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let before = event_time();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(event_time() - before, Duration::from_secs(3600));
    });
}

#[test]
fn time_goes_straight_to_the_next_timer() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let start = rt.block_on(async { event_time() });
    rt.schedule(Tick).add_systems(move || log(format!("{:?}", event_time() - start)));
    rt.block_on(async {
        for seconds in [1, 70, 71, 3_000] {
            drop(spawn_boxed(sleep(Duration::from_secs(seconds))));
        }
        sleep(Duration::from_secs(3_600)).await;
    });
    assert_eq!(logged(), ["0ns", "1s", "70s", "71s", "3000s", "3600s"]);
}

#[test]
fn the_precise_time_is_the_time_of_the_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        for millis in [0, 1, 1_000] {
            sleep(Duration::from_millis(millis)).await;
            assert_eq!(precise_now(), event_time());
        }
    });
}

#[test]
fn time_stands_still_while_a_task_can_run() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let before = event_time();
        let slept = Rc::new(Cell::new(false));
        drop(spawn_boxed({
            let slept = slept.clone();
            async move {
                sleep(Duration::from_nanos(1)).await;
                slept.set(true);
            }
        }));
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert!(!slept.get());
        assert_eq!(event_time(), before);
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_each_at_its_own() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let start = event_time();
        let mut tasks = Vec::new();
        for nanos in [70_000_000_000_u64, 1, 65_536, 65_535, 3_000_000, 4_194_304, 17] {
            tasks.push(spawn_boxed(async move {
                sleep(Duration::from_nanos(nanos)).await;
                assert_eq!((event_time() - start).as_nanos(), u128::from(nanos));
                log(nanos.to_string());
            }));
        }
        for task in tasks {
            task.await;
        }
    });
    assert_eq!(logged(), ["1", "17", "65535", "65536", "3000000", "4194304", "70000000000"]);
}

#[test]
fn two_runs_see_the_same_times_and_the_same_order() {
    fn run() -> Vec<String> {
        let mut world = World::new();
        runtime(&mut world).block_on(async {
            let start = event_time();
            let mut tasks = Vec::new();
            for name in 0..20_u64 {
                tasks.push(spawn_boxed(async move {
                    for step in 0..20 {
                        sleep(Duration::from_micros((name * 37 + step * 11) % 50)).await;
                        log(format!("{name} at {:?}", event_time() - start));
                    }
                }));
            }
            for task in tasks {
                task.await;
            }
        });
        logged()
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let first = run();
    assert_eq!(first.len(), 400);
    assert_eq!(first, run());
}

#[test]
fn a_timeout_of_a_future_that_never_completes_elapses() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let before = event_time();
        let never = std::future::pending::<()>();
        assert!(timeout(Duration::from_secs(86_400), never).await.is_err());
        assert_eq!(event_time() - before, Duration::from_secs(86_400));
    });
}

#[test]
fn an_interval_beats_exactly() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let start = event_time();
        let mut beat = interval(Duration::from_millis(7));
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for count in 0..100 {
            assert_eq!(beat.tick().await - start, Duration::from_millis(7) * count);
            assert_eq!(event_time() - start, Duration::from_millis(7) * count);
        }
    });
}

#[test]
fn a_spinning_loop_jumps_as_well() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on_busy(async {
        let before = event_time();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(event_time() - before, Duration::from_secs(3600));
    });
}

#[test]
fn a_spinning_loop_goes_on_while_a_system_may_still_wake_somebody() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = runtime(&mut world);
    rt.schedule(Tick).add_systems(|stats: Res<TickStats>, bell: Res<Bell>| {
        if stats.get().ticks == 10 {
            bell.ring();
        }
    });
    rt.block_on_busy(bell.rung());
    assert_eq!(rt.stats().ticks, 11);
}

#[test]
fn a_program_that_can_never_go_on_is_named_as_stuck() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let line = line!() + 3;
    let message = panic_message(|| {
        rt.block_on(async {
            drop(spawn_boxed(std::future::pending::<()>()));
            std::future::pending::<()>().await;
        });
    });
    assert!(message.contains("nothing can ever happen again"), "{message}");
    assert!(message.contains(&format!("{}:{line}", file!())), "{message}");
    rt.block_on(sleep_in_task());
}

async fn sleep_in_task() {
    spawn_boxed(async { sleep(Duration::from_secs(1)).await }).await;
}

#[test]
fn a_registered_socket_holds_virtual_time_still() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    runtime(&mut world).block_on(async {
        let before = event_time();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let jumped = Arc::new(AtomicBool::new(false));
        let sees_jump = jumped.clone();
        let passed = spawn_boxed(async move {
            sleep(Duration::from_secs(1)).await;
            jumped.store(true, Ordering::Relaxed);
        });
        let world = WorldCtx::current();
        let stats = world.with_world_ref(|world| world.resource::<TickStats>().clone());
        let thread = std::thread::spawn(move || {
            // By then the loop sleeps for the socket, or time has not stood still.
            while stats.get().parks == 0 && !sees_jump.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            std::net::TcpStream::connect(address).unwrap()
        });
        drop(listener.accept().await.unwrap());
        assert_eq!(event_time(), before, "no time passed while the peer connected");
        drop(listener);
        passed.await;
        assert_eq!(event_time() - before, Duration::from_secs(1));
        drop(thread.join().unwrap());
    });
}
