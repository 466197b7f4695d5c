//! Running until nothing is left to run, with a limit in time.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    rc::Rc,
    task::Poll,
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Drops, LIMIT_SECONDS, panic_message, watchdog};
use onbeat::{
    CancelReason, ClockMode, JoinError, OnTaskPanic, Pacing, Runtime, ShutdownSignal, Tick, named,
    precise_now, sleep, spawn, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

fn simulated(world: &mut World) -> Runtime<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).task_details(true).build()
}

/// The time by the runtime's clock.
fn now(rt: &mut Runtime<'_>) -> std::time::Instant {
    rt.block_on(async { precise_now() })
}

#[test]
fn tasks_that_wait_for_the_shutdown_end_and_are_counted() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    rt.block_on(async {
        for late in 1..=10 {
            drop(spawn(async move {
                ShutdownSignal::current().await;
                sleep(Duration::from_millis(late)).await;
            }));
        }
        drop(spawn(async {
            ShutdownSignal::current().await;
            // What a task starts on its way out is waited for as well.
            drop(spawn(sleep(Duration::from_millis(20))));
        }));
        drop(spawn(async {
            ShutdownSignal::current().await;
            panic!("on the way out");
        }));
        let endless = spawn(pending::<()>());
        drop(spawn(async {
            ShutdownSignal::current().await;
            endless.abort();
        }));
        yield_now().await;
    });
    let (before, ticks) = (now(&mut rt), rt.stats().ticks);
    let stats = rt.shutdown_quiesce(SECOND).unwrap();
    assert_eq!((stats.completed, stats.panicked, stats.aborted), (13, 1, 1));
    assert_eq!(stats.duration, Duration::from_millis(20));
    assert_eq!(stats.ticks, rt.stats().ticks - ticks);
    assert!(stats.ticks >= 11, "each of the sleeps ends in a tick of its own: {stats:?}");
    assert_eq!((rt.task_count(), rt.timer_count()), (0, 0), "the limit's timer has gone too");
    assert_eq!(now(&mut rt) - before, Duration::from_millis(20), "no later than the last task");
}

#[test]
fn a_limit_that_passes_names_what_still_runs() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    let task = rt.block_on(async {
        drop(spawn(async { ShutdownSignal::current().await }));
        drop(named("feed").spawn(async { sleep(SECOND * 3_600).await }));
        let task = named("gateway").spawn(sleep(2 * SECOND));
        yield_now().await;
        task
    });
    let before = now(&mut rt);
    let error = rt.shutdown_quiesce(SECOND).unwrap_err();
    assert_eq!(now(&mut rt) - before, SECOND, "neither less nor more");
    assert_eq!(error.stats.duration, SECOND);
    assert_eq!((error.stats.completed, error.closures), (1, 0));
    let names: Vec<_> = error.running.iter().map(|task| &*task.name).collect();
    assert_eq!(names, ["feed", "gateway"]);
    let message = error.to_string();
    let place = error.running[0].spawned_at;
    let start = format!("2 tasks still run after 1s: feed, spawned at {place}, waits for a time; ");
    assert!(message.starts_with(&start), "{message}");
    // They go on, and may end.
    assert!(!task.is_finished());
    let stats = rt.shutdown_quiesce(2 * SECOND).unwrap_err().stats;
    assert_eq!((stats.completed, stats.duration), (1, 2 * SECOND));
    assert!(task.is_finished());
}

#[test]
fn a_message_names_the_first_tasks_and_counts_the_others() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    rt.block_on(async {
        for task in 0..20 {
            drop(named(format!("task {task}")).spawn(pending::<()>()));
        }
    });
    let error = rt.shutdown_quiesce(SECOND).unwrap_err();
    assert_eq!(error.running.len(), 20);
    let message = error.to_string();
    assert!(message.contains("task 15") && !message.contains("task 16"), "{message}");
    assert!(message.ends_with("; and 4 more"), "{message}");
}

#[test]
fn a_limit_that_no_clock_reaches_is_one_all_the_same_in_virtual_time() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    rt.block_on(async { drop(named("endless").spawn(pending::<()>())) });
    let error = rt.shutdown_quiesce(Duration::MAX).unwrap_err();
    assert_eq!(error.running[0].name, "endless");
}

#[test]
fn a_limit_of_nothing_runs_what_is_ready_and_waits_for_nothing() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    assert_eq!(rt.shutdown_quiesce(Duration::ZERO).unwrap().completed, 0);
    rt.block_on(async { drop(spawn(async { yield_now().await })) });
    let before = now(&mut rt);
    rt.block_on(async { drop(spawn(async {})) });
    rt.shutdown_quiesce(Duration::ZERO).unwrap();
    rt.block_on(async { drop(spawn(pending::<()>())) });
    rt.shutdown_quiesce(Duration::ZERO).unwrap_err();
    assert_eq!(now(&mut rt), before);
}

#[test]
fn the_longest_limit_is_no_limit() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    rt.block_on(async { drop(spawn(sleep(SECOND * 1_000_000))) });
    let stats = rt.shutdown_quiesce(Duration::MAX).unwrap();
    assert_eq!((stats.completed, stats.duration), (1, SECOND * 1_000_000));
}

#[test]
fn tasks_that_never_rest_do_not_hold_the_limit_up() {
    let _guard = watchdog(LIMIT_SECONDS);
    for pacing in [Pacing::OnEvent, Pacing::FreeRunning, Pacing::hertz(1_000).into()] {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).pacing(pacing).build();
        rt.block_on(async {
            for _ in 0..100 {
                drop(spawn(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                })));
            }
        });
        let limit = Duration::from_millis(5);
        let error = rt.shutdown_quiesce(limit).unwrap_err();
        assert_eq!(error.running.len(), 100, "{pacing:?}");
        assert!(error.stats.duration >= limit, "{pacing:?}");
    }
}

#[test]
fn closures_of_other_threads_that_were_sent_before_have_run() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let joins: Vec<_> = thread::spawn(move || {
        (0..1_000).map(|number| handle.spawn_with(move || async move { number }).unwrap()).collect()
    })
    .join()
    .unwrap();
    let stats = rt.shutdown_quiesce(Duration::from_secs(LIMIT_SECONDS)).unwrap();
    assert_eq!(stats.completed, 1_000);
    for (number, join) in joins.into_iter().enumerate() {
        assert_eq!(join.wait().unwrap(), number);
    }
}

#[test]
fn a_parked_loop_hears_of_the_last_task_that_another_thread_ends() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (send, receive) = futures::channel::oneshot::channel::<()>();
    let signal = rt.shutdown_handle().signal();
    rt.block_on(async { drop(spawn(async { receive.await.unwrap() })) });
    let thread = thread::spawn(move || {
        futures::executor::block_on(signal);
        send.send(()).unwrap();
    });
    let stats = rt.shutdown_quiesce(Duration::MAX).unwrap();
    assert_eq!(stats.completed, 1);
    thread.join().unwrap();
}

#[test]
fn what_is_left_is_dropped_with_the_runtime_where_the_world_may_be_used() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = simulated(&mut world);
    let witness = Drops::counted_by(&drops);
    let task = rt.block_on(async {
        spawn(async move {
            let _witness = witness;
            pending::<()>().await;
        })
    });
    rt.shutdown_quiesce(SECOND).unwrap_err();
    assert_eq!(drops.get(), 0, "the limit ends nothing");
    drop(rt);
    assert_eq!(drops.get(), 1);
    let joined = futures::executor::block_on(task.join());
    assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
}

#[derive(Resource, Default)]
struct Runs(u32);

#[test]
fn stages_run_meanwhile() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Runs>();
    let mut rt =
        Runtime::builder(&mut world).clock(ClockMode::Virtual).pacing(Pacing::hertz(100)).build();
    rt.schedule(Tick).add_systems(|mut runs: ResMut<Runs>| runs.0 += 1);
    rt.block_on(async { drop(spawn(sleep(Duration::from_millis(95)))) });
    let before = rt.world().resource::<Runs>().0;
    let stats = rt.shutdown_quiesce(SECOND).unwrap();
    let runs = rt.world().resource::<Runs>().0 - before;
    assert_eq!(u64::from(runs), stats.ticks);
    assert!((9..=11).contains(&runs), "{runs} beats in 95 ms");
}

#[test]
fn a_panic_that_leaves_the_loop_leaves_this_too_and_the_rest_goes_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .on_task_panic(OnTaskPanic::Propagate)
        .build();
    rt.block_on(async {
        drop(spawn(async {
            ShutdownSignal::current().await;
            panic!("while it ends");
        }));
        drop(spawn(sleep(SECOND)));
        yield_now().await;
    });
    assert_eq!(panic_message(|| drop(rt.shutdown_quiesce(2 * SECOND))), "while it ends");
    assert_eq!(rt.shutdown_quiesce(2 * SECOND).unwrap().completed, 1);
    assert_eq!(rt.timer_count(), 0);
}
