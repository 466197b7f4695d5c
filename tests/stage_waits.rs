//! Waiting for a tick, for a stage, and for a condition before a stage.

mod common;

use std::{cell::Cell, rc::Rc, time::Duration};

use bevy_ecs::{
    prelude::*,
    schedule::{InternedScheduleLabel, ScheduleLabel},
};
use common::{
    Bell, Count, Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, poll_once,
    tick_number, watchdog,
};
use futures::{
    future::{join_all, select},
    stream::{FuturesUnordered, StreamExt},
};
use onbeat::{OnTaskPanic, Runtime, Tick, WorldCtx, sleep, spawn_boxed, yield_now};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Decide;
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Act;
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Nowhere;

#[derive(Resource, Default)]
struct Value(u32);

fn labels() -> [InternedScheduleLabel; 2] {
    [Decide.intern(), Act.intern()]
}

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

/// A runtime with the stages `Decide` and `Act`, each of which logs its name and the tick.
fn staged(world: &mut World) -> Runtime<'_> {
    world.init_resource::<Value>();
    let mut rt = Runtime::builder(world).stages(labels()).build();
    rt.schedule(Decide).add_systems(log_stage("Decide"));
    rt.schedule(Act).add_systems(log_stage("Act"));
    rt
}

fn log_stage(name: &'static str) -> impl FnMut(Local<u64>) {
    move |mut tick: Local<u64>| {
        *tick += 1;
        log(format!("{name} {}", *tick));
    }
}

#[test]
fn ticks_resumes_so_many_ticks_later() {
    block_on(async {
        let called_in = tick_number();
        for n in [0, 1, 2, 5] {
            let before = tick_number();
            ctx().ticks(n).await;
            assert_eq!(tick_number(), before + n);
        }
        assert_eq!(tick_number(), called_in + 8);
    });
}

#[test]
fn those_who_wait_for_a_tick_resume_in_order_of_call() {
    block_on(async {
        for (name, n) in [("c", 3), ("d", 3)] {
            go(async move {
                ctx().ticks(n).await;
                log(name);
            });
        }
        ctx().next_tick().await;
        for (name, n) in [("e", 2), ("a", 1)] {
            go(async move {
                ctx().ticks(n).await;
                log(name);
            });
        }
        ctx().next_tick().await;
        go(async {
            ctx().next_tick().await;
            log("f");
        });
        sleep(Duration::ZERO).await;
        ctx().ticks(2).await;
        assert_eq!(logged(), ["a", "c", "d", "e", "f"]);
    });
}

#[test]
fn a_wait_for_many_ticks_keeps_a_parked_loop_awake() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async { ctx().ticks(1_000).await });
    assert_eq!((rt.stats().ticks, rt.stats().parks), (1_001, 0));
    assert_eq!(rt.stats().polls, 2);
}

#[test]
fn a_wait_for_a_stage_keeps_a_parked_loop_awake() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..100 {
            ctx().next(Tick).await;
        }
    });
    assert_eq!((rt.stats().ticks, rt.stats().parks), (101, 0));
}

#[test]
fn waits_given_up_let_the_loop_park() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let (mut ticks, mut next) = (ctx().ticks(9), ctx().next(Tick));
        assert!(poll_once(&mut ticks).await.is_pending());
        assert!(poll_once(&mut next).await.is_pending());
        drop((ticks, next));
        sleep(Duration::from_millis(100)).await;
    });
    assert_eq!(rt.stats().ticks, 2);
    assert!(rt.stats().parks > 0);
}

#[test]
fn at_resumes_before_the_stage_in_the_same_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = staged(&mut world);
    rt.block_on(async {
        ctx().at(Decide).await;
        log("at Decide");
        ctx().at(Act).await;
        log("at Act");
    });
    assert_eq!(logged(), ["at Decide", "Decide 1", "at Act", "Act 1"]);
    assert_eq!(rt.stats().ticks, 1);
}

#[test]
fn at_called_by_those_who_run_before_the_stage_is_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = staged(&mut world);
    rt.block_on(async {
        ctx().at(Act).await;
        log("first");
        ctx().at(Act).await;
        log("second");
        ctx().at(Decide).await;
        log("third");
    });
    let expected =
        ["Decide 1", "first", "Act 1", "Decide 2", "second", "Act 2", "third", "Decide 3", "Act 3"];
    assert_eq!(logged(), expected);
}

#[test]
fn next_resumes_before_the_stage_in_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = staged(&mut world);
    rt.block_on(async {
        ctx().next(Act).await;
        log("next Act");
    });
    assert_eq!(logged(), ["Decide 1", "Act 1", "Decide 2", "next Act", "Act 2"]);
}

#[test]
fn a_task_woken_by_the_last_stage_finds_every_look_begun() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = staged(&mut world);
    rt.schedule(Act).add_systems(|bell: Res<Bell>| bell.ring());
    rt.block_on(async {
        bell.rung().await;
        assert_eq!(tick_number(), 1);
        ctx().at(Decide).await;
        assert_eq!(tick_number(), 2);
    });
}

#[test]
fn those_who_wait_for_a_stage_resume_in_order_of_call() {
    block_on(async {
        for name in ["a", "b"] {
            go(async move {
                ctx().next(Tick).await;
                log(name);
            });
        }
        ctx().next_tick().await;
        for name in ["c", "d"] {
            go(async move {
                ctx().at(Tick).await;
                log(name);
            });
        }
        ctx().next_tick().await;
        assert_eq!(logged(), ["a", "b", "c", "d"]);
    });
}

#[test]
fn those_who_wait_for_a_stage_come_whatever_the_budget() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    let count = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..20 {
            let count = count.clone();
            go(async move {
                loop {
                    ctx().next(Tick).await;
                    count.set(count.get() + 1);
                }
            });
        }
        ctx().ticks(30).await;
        let before = count.get();
        ctx().next_tick().await;
        assert_eq!(count.get(), before + 20);
    });
}

#[test]
fn a_wait_through_somebody_elses_waker_comes_whatever_the_budget() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    let late = Rc::new(Cell::new(0));
    rt.schedule(Tick).add_systems(|| log("stage"));
    rt.block_on(async {
        for _ in 0..8 {
            let late = late.clone();
            go(async move {
                loop {
                    let called_in = tick_number();
                    let mut both: FuturesUnordered<_> =
                        [ctx().next(Tick), ctx().next(Tick)].into_iter().collect();
                    while both.next().await.is_some() {}
                    late.set(late.get().max(tick_number() - called_in));
                    // Ready in the ring when its stage comes.
                    yield_now().await;
                }
            });
        }
        ctx().ticks(60).await;
        // One tick for the stage, and up to eight for its turn behind the mark.
        assert_eq!(late.get(), 1);
    });
}

#[test]
fn a_stage_without_systems_wakes_those_who_wait() {
    block_on(async {
        ctx().at(Tick).await;
        assert_eq!(tick_number(), 1);
        join_all((0..10).map(|_| ctx().next(Tick))).await;
        assert_eq!(tick_number(), 2);
    });
}

#[test]
fn an_unknown_stage_is_a_panic_that_names_the_stages() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = staged(&mut world);
    for wait in [
        (|| drop(ctx().at(Nowhere))) as fn(),
        || drop(ctx().next(Nowhere)),
        || drop(ctx().until(Nowhere, |_| None::<()>)),
    ] {
        let message = panic_message(|| rt.block_on(async { wait() }));
        for word in ["Nowhere", "Decide", "Act", "RuntimeBuilder::stages"] {
            assert!(message.contains(word), "{message}");
        }
    }
}

#[test]
fn a_dropped_wait_gives_up_its_place() {
    block_on(async {
        let count = Count::new();
        let mut waits = (ctx().next(Tick), ctx().ticks(2), ctx().until(Tick, |_| Some(())));
        assert!(count.poll(&mut waits.0).is_pending());
        assert!(count.poll(&mut waits.1).is_pending());
        assert!(count.poll(&mut waits.2).is_pending());
        assert_eq!(count.kept(), 3);
        drop(waits);
        assert_eq!(count.kept(), 0);
        ctx().ticks(3).await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_finished_wait_is_ready_again() {
    block_on(async {
        let (mut at, mut ticks) = (ctx().at(Tick), ctx().ticks(2));
        (&mut at).await;
        (&mut ticks).await;
        assert!(poll_once(at).await.is_ready());
        assert!(poll_once(ticks).await.is_ready());
    });
}

#[test]
fn waits_outlive_their_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let count = Count::new();
    let mut waits = rt.block_on(async { (ctx().next(Tick), ctx().ticks(7)) });
    assert!(count.poll(&mut waits.0).is_pending());
    assert!(count.poll(&mut waits.1).is_pending());
    drop(rt);
    assert_eq!(count.kept(), 0);
    assert!(panic_message(|| assert!(count.poll(&mut waits.0).is_ready())).contains("has gone"));
    assert!(panic_message(|| assert!(count.poll(&mut waits.1).is_ready())).contains("has gone"));
}

#[test]
fn until_is_asked_once_a_tick_before_its_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = staged(&mut world);
    rt.schedule(Decide).add_systems(|mut value: ResMut<Value>| value.0 += 1);
    let value = rt.block_on_busy(async {
        let asked = |world: &mut World| {
            let value = world.resource::<Value>().0;
            log(format!("asked {value}"));
            (value >= 2).then_some(value)
        };
        let value = ctx().until(Act, asked).await;
        log("resumed");
        value
    });
    assert_eq!(value, 2);
    let expected = ["Decide 1", "asked 1", "Act 1", "Decide 2", "asked 2", "resumed", "Act 2"];
    assert_eq!(logged(), expected);
}

#[test]
fn until_polls_its_task_twice_only_and_lets_the_loop_park() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Value>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        go(async {
            for _ in 0..3 {
                sleep(Duration::from_millis(5)).await;
                ctx().with_world(|world| world.resource_mut::<Value>().0 += 1);
            }
        });
        let three = |world: &mut World| (world.resource::<Value>().0 == 3).then_some(());
        ctx().until(Tick, three).await;
    });
    assert_eq!(rt.stats().polls, 6, "two of the root, four of the other task");
    // Where all is slow a timer may be due before the thread parks, so the ticks say that it did not spin.
    assert!(rt.stats().ticks <= 10, "{} ticks for three timers", rt.stats().ticks);
}

#[test]
fn until_made_while_those_before_the_stage_run_is_asked_in_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on_busy(async {
        ctx().at(Tick).await;
        ctx().until(Tick, |_| Some(())).await;
        assert_eq!(tick_number(), 2);
    });
}

#[test]
fn a_condition_may_make_and_drop_waits() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let other = Rc::new(Cell::new(Some(ctx().next(Tick))));
        let taken = other.clone();
        let condition = move |_: &mut World| {
            taken.set(None);
            Some(ctx().at(Tick))
        };
        let made = ctx().until(Tick, condition).await;
        assert!(other.take().is_none());
        made.await;
        assert_eq!(tick_number(), 2);
    });
}

#[test]
fn a_panic_of_a_condition_is_a_panic_of_its_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let policy = OnTaskPanic::ContainAlways;
    let mut rt = Runtime::builder(&mut world).on_task_panic(policy).build();
    let panicked = rt.block_on(async {
        let waiting = spawn_boxed(async {
            ctx().until(Tick, |_| -> Option<()> { panic!("no such thing") }).await;
        });
        let other = spawn_boxed(ctx().at(Tick));
        other.await;
        waiting.join().await
    });
    assert!(panicked.is_err());
}

#[test]
fn a_panic_of_a_condition_may_leave_half_an_update() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            go(async { ctx().until(Tick, |_| -> Option<()> { panic!("half done") }).await });
            ctx().ticks(9).await;
        });
    });
    assert_eq!(message, "half done");
}

#[test]
fn an_access_inside_a_condition_names_the_place_of_the_wait() {
    block_on(async {
        let nested = |_: &mut World| Some(ctx().try_with_world(|_| ()).unwrap_err().to_string());
        let place = line!() + 1;
        let error = ctx().until(Tick, nested).await;
        assert!(error.contains(&format!("stage_waits.rs:{place}")), "{error}");
    });
}

#[test]
fn a_condition_that_replaces_the_world_is_an_error_that_names_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            let swap = |world: &mut World| {
                *world = World::new();
                Some(())
            };
            ctx().until(Tick, swap).await;
        });
    });
    assert!(message.contains("stage_waits.rs"), "{message}");
}

#[test]
fn a_dropped_until_drops_its_condition() {
    block_on(async {
        let drops = Rc::new(Cell::new(0));
        let held = Drops::counted_by(&drops);
        let mut waiting = ctx().until(Tick, move |_| {
            let _ = &held;
            None::<()>
        });
        assert!(poll_once(&mut waiting).await.is_pending());
        ctx().ticks(3).await;
        assert_eq!(drops.get(), 0);
        drop(waiting);
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_stage_raced_with_a_timer_leaves_no_wake_behind() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..10 {
            select(ctx().next(Tick), sleep(Duration::from_secs(3600))).await;
        }
    });
    assert_eq!((rt.stats().ticks, rt.stats().polls), (11, 11));
}
