//! Programs that are wrong under the virtual clock: what is said of them.

mod common;

use std::{future::poll_fn, task::Poll, thread, time::Duration};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, panic_message, watchdog};
use onbeat::{
    CatchUp, ClockMode, ExternalWork, Handle, Pacing, Polled, Runtime, RuntimeBuilder,
    ShutdownSignal, Tick, TickError, TickRequest, VirtualClock, WorldCtx, named, net::TcpListener,
    sleep, spawn, spawn_boxed, yield_now,
};

const MS: Duration = Duration::from_millis(1);
const STILL: &str = "virtual time has stood still for";
const FOREIGN: &str = "another thread woke a task under the virtual clock";

fn builder(world: &mut World) -> RuntimeBuilder<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).progress_limit(1_000)
}

async fn spin() {
    loop {
        yield_now().await;
    }
}

#[test]
fn a_task_that_spins_for_ever_is_named_and_those_that_wait_are_not() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let mut world = World::new();
        let mut rt = builder(&mut world).build();
        let place = line!() + 3;
        let message = panic_message(|| {
            let root = async {
                drop(named("spinner").spawn(spin()));
                drop(named("sleeper").spawn(sleep(MS)));
                std::future::pending::<()>().await;
            };
            if busy { rt.block_on_busy(root) } else { rt.block_on(root) }
        });
        assert!(message.contains(&format!("{STILL} 1001 turns")), "{message}");
        assert!(message.contains(&format!("spinner spawned at {}:{place}", file!())), "{message}");
        assert!(!message.contains("sleeper") && !message.contains("root"), "{message}");
    }
}

#[test]
fn a_root_future_that_spins_is_named_by_its_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    let line = line!() + 1;
    let message = panic_message(|| rt.block_on(spin()));
    let root = format!("the root future of the block_on at {}:{line}", file!());
    assert!(message.contains(&root), "{message}");
}

#[test]
fn every_way_to_stand_still_is_found() {
    let _guard = watchdog(LIMIT_SECONDS);
    let check = |what: &str, message: String| assert!(message.contains(STILL), "{what}: {message}");
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    check(
        "sleeps of nothing",
        panic_message(|| {
            rt.block_on(async {
                loop {
                    sleep(Duration::ZERO).await;
                }
            });
        }),
    );
    check(
        "ticks without end",
        panic_message(|| {
            rt.block_on(async {
                loop {
                    WorldCtx::current().next_tick().await;
                }
            });
        }),
    );
    check(
        "tasks that follow one another",
        panic_message(|| {
            fn follow() {
                drop(spawn_boxed(async {
                    yield_now().await;
                    follow();
                }));
            }
            rt.block_on(async {
                follow();
                std::future::pending::<()>().await;
            });
        }),
    );
    drop(rt);
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    rt.schedule(Tick).add_systems(|mut more: ResMut<TickRequest>| more.request());
    let message = panic_message(|| rt.block_on(std::future::pending::<()>()));
    assert!(message.contains("a system or a poller asks for more"), "{message}");
    for polled in [Polled::from(1), Polled::from(0)] {
        let mut world = World::new();
        let mut rt = builder(&mut world).poller(move || polled).build();
        check("a poller", panic_message(|| rt.block_on(std::future::pending::<()>())));
    }
}

#[test]
fn a_program_that_spins_for_less_than_the_limit_goes_on_and_each_moment_counts_anew() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    for _ in 0..3 {
        rt.block_on(async {
            for _ in 0..3 {
                for _ in 0..990 {
                    yield_now().await;
                }
                sleep(MS).await;
            }
            for _ in 0..990 {
                yield_now().await;
            }
        });
    }
    for _ in 0..3_000 {
        rt.tick().unwrap();
    }
}

#[test]
fn beats_that_are_made_up_for_are_progress_and_turns_between_them_are_not() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let pacing = Pacing::every(MS).catch_up(CatchUp::AtMost(u32::MAX));
    let mut rt = builder(&mut world).pacing(pacing).build();
    rt.block_on(async {
        VirtualClock::current().unwrap().skip(10_000 * MS);
        sleep(MS).await;
    });
    assert_eq!((rt.stats().ticks, rt.stats().beats_skipped), (10_002, 0));
    let message = panic_message(|| rt.block_on(spin()));
    assert!(message.contains(STILL), "{message}");
}

#[test]
fn a_program_that_spins_for_external_work_is_left_alone() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    builder(&mut world).build().block_on(async {
        let work = ExternalWork::current();
        for _ in 0..3_000 {
            yield_now().await;
        }
        drop(work);
    });
}

#[test]
fn a_runtime_goes_on_after_the_error_and_names_nobody_twice() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    assert!(panic_message(|| rt.block_on(spin())).contains("clock_errors.rs"));
    rt.block_on(async { sleep(MS).await });
    assert!(panic_message(|| rt.block_on(std::future::pending::<()>())).contains("root future"));
}

/// A bell's waiter, whose waker another thread has.
fn ring_elsewhere(bell: &Bell) {
    let ringer = bell.clone();
    thread::spawn(move || ringer.ring()).join().unwrap();
}

#[test]
fn a_foreign_wake_without_external_work_is_an_error_that_names_the_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (bell, mut world) = (Bell::default(), World::new());
    let mut rt = builder(&mut world).build();
    let waiter = bell.clone();
    let line = line!() + 2;
    rt.block_on(async move {
        drop(named("listener").spawn(async move { waiter.rung().await }));
        yield_now().await;
    });
    ring_elsewhere(&bell);
    let Err(TickError::ForeignWake(task)) = rt.tick() else { panic!("it is an error") };
    assert!(task.contains(&format!("listener spawned at {}:{line}", file!())), "{task}");
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 0, "the wake is not lost");
}

#[test]
fn a_foreign_wake_ends_block_on_with_the_name_of_the_root() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (bell, mut world) = (Bell::default(), World::new());
    let mut rt = builder(&mut world).build();
    let message = panic_message(|| {
        let mut is_rung = false;
        rt.block_on(poll_fn(|cx| {
            if std::mem::replace(&mut is_rung, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        }));
    });
    assert!(message.contains(FOREIGN) && message.contains("the root future"), "{message}");
    drop(bell);
}

#[test]
fn a_foreign_wake_during_external_work_of_any_kind_is_right() {
    let _guard = watchdog(LIMIT_SECONDS);
    for kind in 0..4 {
        let mut world = World::new();
        builder(&mut world).build().block_on(async move {
            let bell = Bell::default();
            let rung = spawn(bell.rung());
            yield_now().await;
            let held: Option<Box<dyn std::any::Any>> = match kind {
                0 => Some(Box::new(ExternalWork::current())),
                1 => Some(Box::new(Handle::current())),
                2 => {
                    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
                    Some(Box::new(TcpListener::bind(any).unwrap()))
                }
                _ => {
                    // The thread ends it, after the wake.
                    let (work, ringer) = (ExternalWork::current(), bell.clone());
                    drop(thread::spawn(move || {
                        ringer.ring();
                        drop(work);
                    }));
                    None
                }
            };
            if held.is_some() {
                ring_elsewhere(&bell);
            }
            // It need not be held until the wake is seen.
            drop(held);
            rung.await;
        });
    }
}

#[test]
fn wakes_by_threads_that_race_with_the_end_of_their_work_are_right() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    builder(&mut world).build().block_on(async {
        for round in 0..500 {
            let bell = Bell::default();
            let rung = bell.rung();
            let (ours, theirs) = (ExternalWork::current(), ExternalWork::current());
            let ringer = bell.clone();
            let thread = thread::spawn(move || {
                ringer.ring();
                drop(theirs);
            });
            let ours = (round % 2 == 0).then_some(ours);
            rung.await;
            drop(ours);
            sleep(MS).await;
            drop(thread.join());
        }
    });
}

#[test]
fn wakes_on_the_loops_own_thread_are_never_foreign() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (bell, mut world) = (Bell::default(), World::new());
    let mut rt = builder(&mut world).build();
    let waiting = bell.clone();
    rt.block_on(async move {
        drop(spawn(waiting.rung()));
        yield_now().await;
    });
    bell.ring();
    rt.tick().unwrap();
    let waiting = bell.clone();
    rt.block_on(async move {
        let rung = spawn(waiting.rung());
        yield_now().await;
        let mut inner = World::new();
        Runtime::new(&mut inner).block_on(async move { bell.ring() });
        rung.await;
    });
}

#[test]
fn a_request_to_stop_may_come_from_any_thread() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    let handle = rt.shutdown_handle();
    rt.block_on(async move {
        let signal = spawn(ShutdownSignal::current());
        yield_now().await;
        thread::spawn(move || handle.shutdown()).join().unwrap();
        signal.await;
    });
}

#[test]
fn a_late_wake_of_a_runtime_that_has_gone_is_no_wake_of_the_next() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..200 {
        let bell = Bell::default();
        let mut world = World::new();
        let mut rt = builder(&mut world).build();
        rt.block_on(async {
            drop(spawn(bell.rung()));
            yield_now().await;
        });
        drop(rt);
        let mut rt = builder(&mut world).build();
        let other = Bell::default();
        rt.block_on(async {
            drop(spawn(other.rung()));
            yield_now().await;
        });
        ring_elsewhere(&bell);
        rt.tick().unwrap();
    }
}
