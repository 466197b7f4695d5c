//! What other threads ask of a runtime.

mod common;

use std::{
    cell::Cell,
    future::pending,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, block_on, log, logged, panic_message, poll_once, watchdog};
use onbeat::{
    CancelReason, ClockMode, ExternalWork, Handle, JoinError, OnTaskPanic, RemoteJoin, Runtime,
    ShutdownSignal, Tick, TickError, WorldCtx, precise_now, sleep, spawn_boxed, yield_now,
};

#[derive(Resource, Default)]
struct Total(usize);

#[test]
fn a_handle_may_go_anywhere() {
    fn anywhere<T: Send + Sync + Clone + 'static>() {}
    fn elsewhere<T: Send + 'static>() {}
    anywhere::<Handle>();
    elsewhere::<RemoteJoin<Cell<u32>>>();
}

#[test]
fn another_thread_starts_a_task_whose_future_is_not_send() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let thread = thread::spawn(move || {
        let task = handle.spawn_with(|| async {
            let shared = Rc::new(Cell::new(3));
            yield_now().await;
            sleep(Duration::from_micros(10)).await;
            shared.get() + 4
        });
        let sum = task.unwrap().wait().unwrap();
        handle.shutdown();
        sum
    });
    rt.block_on(async { ShutdownSignal::current().await });
    assert_eq!(thread.join().unwrap(), 7);
}

#[test]
fn closures_run_in_order_before_any_task_of_their_turn_is_polled() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("system"));
    let handle = rt.handle();
    rt.block_on(async {
        drop(spawn_boxed(async {
            loop {
                yield_now().await;
                log("task");
            }
        }));
        WorldCtx::current().next_tick().await;
        logged();
    });
    logged();
    drop(handle.run_with_world(|_| log("first")));
    drop(handle.spawn_with(|| {
        log("second");
        async { log("new task") }
    }));
    drop(handle.run_with_world(|_| log("third")));
    rt.tick().unwrap();
    let lines = logged();
    assert_eq!(lines[..3], ["first", "second", "third"], "{lines:?}");
    assert_eq!(lines.last().unwrap(), "system");
    assert!(lines.contains(&"task".to_owned()) && lines.contains(&"new task".to_owned()));
}

#[test]
fn what_a_closure_asks_for_waits_for_the_next_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let again = handle.clone();
    drop(handle.run_with_world(move |_| {
        log("one");
        drop(again.run_with_world(|_| log("two")));
    }));
    rt.tick().unwrap();
    assert_eq!(logged(), ["one"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["two"]);
}

#[test]
fn many_closures_are_spread_over_turns_and_none_is_lost() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Total>();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    for _ in 0..600 {
        drop(handle.run_with_world(|world| world.resource_mut::<Total>().0 += 1));
    }
    for total in [256, 512, 600, 600] {
        rt.tick().unwrap();
        assert_eq!(rt.world().resource::<Total>().0, total);
    }
    for _ in 0..600 {
        drop(handle.run_with_world(|world| world.resource_mut::<Total>().0 += 1));
    }
    let last = handle.run_with_world(|world| world.resource::<Total>().0).unwrap();
    assert_eq!(rt.block_on(last).unwrap(), 1_200, "also where the loop parks");
}

#[test]
fn threads_that_ask_at_once_are_all_heard() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Total>();
    let mut rt = Runtime::new(&mut world);
    let left = Arc::new(AtomicUsize::new(4));
    for _ in 0..4 {
        let (handle, left) = (rt.handle(), left.clone());
        thread::spawn(move || {
            for round in 0..500 {
                let asked = handle.run_with_world(|world| world.resource_mut::<Total>().0 += 1);
                if round % 10 == 0 {
                    asked.unwrap().wait().unwrap();
                }
                let spawned = handle.spawn_with(|| async {
                    WorldCtx::current().with_world(|world| world.resource_mut::<Total>().0 += 1);
                });
                if round % 10 == 5 || round == 499 {
                    spawned.unwrap().wait().unwrap();
                }
            }
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                handle.shutdown();
            }
        });
    }
    rt.block_on(async { ShutdownSignal::current().await });
    assert_eq!(rt.world().resource::<Total>().0, 4_000);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_wake_is_another_tick_of_a_parked_loop() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    world.init_resource::<Total>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|bell: Res<Bell>, mut ticks: ResMut<Total>| {
        ticks.0 += 1;
        if ticks.0 == 5 {
            bell.ring();
        }
    });
    let handle = rt.handle();
    let done = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(Ordering::Acquire) {
                handle.wake();
                thread::yield_now();
            }
        }
    });
    rt.block_on(async { bell.rung().await });
    done.store(true, Ordering::Release);
    thread.join().unwrap();
}

/// The panic of what `ask` asks for leaves `block_on`, or is contained and counted.
#[track_caller]
fn check_panic(policy: OnTaskPanic, leaves: bool, ask: fn(&Handle) -> RemoteJoin<()>) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Total>();
    let mut rt = Runtime::builder(&mut world).on_task_panic(policy).build();
    let handle = rt.handle();
    let failing = ask(&handle);
    let after = handle.run_with_world(|world| world.resource_mut::<Total>().0 += 1).unwrap();
    if leaves {
        assert_eq!(panic_message(|| drop(rt.tick())), "out of cheese");
    } else {
        rt.tick().unwrap();
    }
    let Err(error) = rt.block_on(failing) else { panic!("it panicked") };
    assert_eq!(error.panic_message(), Some("out of cheese"));
    rt.block_on(after).unwrap();
    assert_eq!(rt.world().resource::<Total>().0, 1, "the next one runs all the same");
    assert_eq!((rt.stats().task_panics, rt.task_count()), (1, 0));
}

#[test]
fn a_closure_that_panics_ends_itself_alone_unless_the_policy_says_otherwise() {
    let with_world: fn(&Handle) -> RemoteJoin<()> =
        |handle| handle.run_with_world(|_| panic!("out of cheese")).unwrap();
    check_panic(OnTaskPanic::Contain, true, with_world);
    check_panic(OnTaskPanic::ContainAlways, false, with_world);
    check_panic(OnTaskPanic::Propagate, true, with_world);

    fn fails() -> std::future::Ready<()> {
        panic!("out of cheese")
    }
    let making: fn(&Handle) -> RemoteJoin<()> = |handle| handle.spawn_with(fails).unwrap();
    check_panic(OnTaskPanic::Contain, false, making);
    check_panic(OnTaskPanic::Propagate, true, making);

    let torn: fn(&Handle) -> RemoteJoin<()> = |handle| {
        let make = || {
            WorldCtx::current().with_world(|_| panic!("out of cheese"));
            std::future::ready(())
        };
        handle.spawn_with(make).unwrap()
    };
    check_panic(OnTaskPanic::Contain, true, torn);
}

#[test]
fn a_task_of_another_thread_that_panics_is_contained_and_answered() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let failing = rt.handle().spawn_with(|| async {
        yield_now().await;
        panic!("out of {}", "cheese");
    });
    let failed: Result<(), JoinError> = rt.block_on(failing.unwrap());
    assert_eq!(failed.unwrap_err().panic_message(), Some("out of cheese"));
    assert_eq!(rt.stats().task_panics, 1);
}

#[test]
fn what_a_runtime_no_more_takes_comes_back() {
    let handle = block_on(async { Handle::current() });
    assert!(handle.is_closed());
    let refused = handle.run_with_world(|_| 7).unwrap_err();
    assert_eq!((refused.0)(&mut World::new()), 7);
    let refused = handle.spawn_with(|| std::future::ready(8)).unwrap_err();
    assert!(refused.to_string().contains("has gone"));
    assert_eq!(block_on((refused.0)()), 8);
    handle.wake();
    handle.shutdown();
    block_on(async {
        yield_now().await;
        assert!(poll_once(ShutdownSignal::current()).await.is_pending(), "of another runtime");
    });
}

/// Whether the World could be used when it was dropped.
struct Sees(Arc<AtomicUsize>);

impl Drop for Sees {
    fn drop(&mut self) {
        let seen = WorldCtx::current().with_world_ref(|world| world.resource::<Total>().0);
        self.0.fetch_add(seen, Ordering::Relaxed);
    }
}

#[test]
fn what_has_not_run_when_the_runtime_goes_is_dropped_where_the_world_may_be_used() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Total(1));
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let seen = Arc::new(AtomicUsize::new(0));
    let parked = handle.spawn_with({
        let sees = Sees(seen.clone());
        || async move {
            let _sees = sees;
            pending::<()>().await;
        }
    });
    rt.tick().unwrap();
    let (one, other) = (Sees(seen.clone()), Sees(seen.clone()));
    let unmade = handle.spawn_with(|| async move { drop(one) });
    let unrun = handle.run_with_world(|_| drop(other));
    drop(rt);
    assert_eq!(seen.load(Ordering::Relaxed), 3);
    for join in [parked.unwrap(), unmade.unwrap(), unrun.unwrap()] {
        assert!(join.is_finished());
        assert!(matches!(join.wait(), Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
    }
}

#[test]
fn a_closure_that_replaces_the_world_is_named_and_the_next_does_not_run() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    drop(handle.run_with_world(|world| *world = World::new()));
    let next = handle.run_with_world(|_| ()).unwrap();
    assert!(matches!(rt.tick(), Err(TickError::WorldReplaced(_))));
    assert!(!next.is_finished());
    drop(rt);
    assert!(next.wait().is_err());
}

#[test]
fn a_handle_holds_virtual_time_still_until_it_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let handle = rt.handle();
    let (go, gone) = mpsc::channel();
    let thread = thread::spawn(move || {
        gone.recv().unwrap();
        let times = (0..100).map(|_| {
            let asked = handle.run_with_world(|_| precise_now());
            asked.unwrap().wait().unwrap()
        });
        times.collect::<Vec<_>>()
    });
    let start = rt.block_on(async {
        let start = precise_now();
        go.send(()).unwrap();
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(precise_now() - start, Duration::from_secs(3_600));
        start
    });
    assert!(thread.join().unwrap().iter().all(|time| *time == start));
}

#[test]
fn external_work_that_ends_leaves_a_stuck_program_stuck() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let message = panic_message(|| {
        rt.block_on(async {
            let work = ExternalWork::current();
            thread::spawn(move || drop(work));
            pending::<()>().await;
        });
    });
    assert!(message.contains("nothing can ever happen again"), "{message}");
}

#[test]
fn a_remote_join_polled_again_after_its_result_panics() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let mut join = rt.handle().run_with_world(|_| 7).unwrap();
    assert_eq!(rt.block_on(&mut join).unwrap(), 7);
    assert!(join.is_finished());
    let message = panic_message(|| drop(join.wait()));
    assert!(message.contains("not polled again"), "{message}");
}

#[test]
fn waiting_where_it_would_be_for_ever_is_refused_by_name() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let ask = || handle.run_with_world(|_| 7).unwrap();
    let on_its_thread = "on the thread of the runtime that is to give the result";
    assert!(panic_message(|| _ = ask().wait()).contains(on_its_thread));
    rt.block_on(async {
        assert!(panic_message(|| _ = ask().wait()).contains(on_its_thread));
        let mut answered = ask();
        assert!(poll_once(&mut answered).await.is_pending());
        yield_now().await;
        assert_eq!(answered.wait().unwrap(), 7, "what is there is given");
    });
    let handle = handle.clone();
    thread::scope(|scope| {
        scope.spawn(|| {
            block_on(async {
                let message = panic_message(|| _ = handle.run_with_world(|_| ()).unwrap().wait());
                assert!(message.contains("would stop the onbeat runtime"), "{message}");
            });
        });
    });
}

/// Says so when it is dropped, and panics.
struct Bomb(mpsc::Sender<Result<u32, ()>>);

impl Drop for Bomb {
    fn drop(&mut self) {
        let lent = WorldCtx::try_current().map(|ctx| ctx.try_with_world(|_| 7));
        self.0.send(lent.map_err(drop).and_then(|lent| lent.map_err(drop))).unwrap();
        panic!("a result that panics when it is dropped");
    }
}

#[test]
fn a_result_that_nobody_waits_for_is_dropped_where_the_world_may_be_used_and_may_panic() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let (said, heard) = mpsc::channel();
    let bomb = || {
        let said = said.clone();
        move || Bomb(said)
    };
    let (closure, task) = (bomb(), bomb());
    drop(handle.run_with_world(move |_| closure()).unwrap());
    drop(handle.spawn_with(move || async move { task() }).unwrap());
    assert_eq!(rt.tick(), Ok(()));
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [Ok(7), Ok(7)]);
    let stats = rt.stats();
    assert_eq!((stats.task_panics, stats.forgotten_payloads, rt.task_count()), (0, 2, 0));
}

#[test]
fn a_closure_that_panics_when_it_is_dropped_does_not_leave_the_runtimes_drop() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a closure that has not run");
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let (first, second) = (Panics, Panics);
    let closure = handle.run_with_world(move |_| drop(first)).unwrap();
    let task = handle.spawn_with(move || async move { drop(second) }).unwrap();
    drop(rt);
    for gone in [closure.wait(), task.wait()] {
        assert!(matches!(gone, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
    }
}
