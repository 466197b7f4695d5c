//! Stages, the end of a run, and what makes a loop tick.

mod common;

use std::time::Duration;

use bevy_ecs::{
    prelude::*,
    schedule::{InternedScheduleLabel, ScheduleLabel},
};
use common::{Bell, LIMIT_SECONDS, log, logged, tick_number, watchdog};
use onbeat::{
    ClockMode, Pacing, Runtime, Tick, TickRequest, TickStats, WorldCtx, sleep, spawn_boxed,
    yield_now,
};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct First;

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Second;

fn labels() -> [InternedScheduleLabel; 2] {
    [First.intern(), Second.intern()]
}

/// Runs tasks that `start` spawns up to the end of the tick in which it spawned them.
fn begin(rt: &mut Runtime<'_>, start: impl FnOnce()) {
    rt.block_on(async { start() });
}

/// Spawns a task that nobody waits for.
fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

#[test]
fn stages_run_in_the_order_in_which_they_were_named() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.schedule(Second).add_systems(|| log("second"));
    rt.schedule(First).add_systems(|| log("first"));
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(logged(), ["first", "second", "first", "second"]);
}

#[test]
fn a_stage_that_is_named_twice_runs_in_both_places_and_is_awaited_before_each() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let stages = [First.intern(), Second.intern(), First.intern()];
    let mut rt = Runtime::builder(&mut world).stages(stages).build();
    rt.schedule(First).add_systems(|| log("first"));
    rt.schedule(Second).add_systems(|| log("second"));
    rt.block_on(async {
        for _ in 0..2 {
            WorldCtx::current().at(First).await;
            log("task");
        }
    });
    assert_eq!(logged(), ["task", "first", "second", "task", "first"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["first", "second", "first"]);
}

#[test]
fn a_stage_of_fixed_steps_that_is_named_twice_runs_in_the_first_place() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .stages([First.intern(), Second.intern(), First.intern()])
        .fixed_step(First, Duration::from_millis(10), 8)
        .clock(ClockMode::Virtual)
        .pacing(Pacing::every(Duration::from_millis(20)))
        .build();
    rt.schedule(First).add_systems(|| log("step"));
    rt.schedule(Second).add_systems(|| log("second"));
    rt.block_on(async { WorldCtx::current().next_tick().await });
    assert_eq!(logged(), ["second", "step", "step", "second"]);
}

#[test]
fn a_system_added_after_ticks_without_any_runs_in_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.tick().unwrap();
    rt.tick().unwrap();
    rt.schedule(Second).add_systems(|| log("second"));
    rt.tick().unwrap();
    assert_eq!(logged(), ["second"]);
}

#[test]
fn what_the_budget_cuts_off_gets_a_poll_before_each_stage_though_none_has_a_system() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    begin(&mut rt, || {
        for name in ["one", "two", "three", "four"] {
            go(async move { log(name) });
        }
    });
    // The root had the turn's poll. There is one more before the stage, and one after it.
    assert_eq!(logged(), ["one", "two"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["three", "four"]);
}

#[test]
fn a_task_woken_by_a_stage_runs_before_the_next_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.schedule(First).add_systems(|bell: Res<Bell>| {
        log("first");
        bell.ring();
    });
    rt.schedule(Second).add_systems(|| log("second"));
    begin(&mut rt, || {
        go(async move {
            bell.rung().await;
            log("task");
        });
    });
    assert_eq!(logged(), ["first", "task", "second"]);
}

#[test]
fn what_a_task_writes_after_the_last_stage_stands_at_the_end_of_the_tick() {
    #[derive(Resource, Default)]
    struct Written(u64);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    world.init_resource::<Written>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|bell: Res<Bell>| bell.ring());
    begin(&mut rt, || {
        go(async move {
            bell.rung().await;
            let tick = tick_number();
            WorldCtx::current().with_world(|world| world.resource_mut::<Written>().0 = tick);
        });
    });
    assert_eq!(rt.world().resource::<Written>().0, rt.stats().ticks);
}

#[test]
fn a_task_that_yields_is_not_polled_again_by_a_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.schedule(First).add_systems(|| log("first"));
    rt.schedule(Second).add_systems(|| log("second"));
    begin(&mut rt, || {
        go(async {
            loop {
                log("task");
                yield_now().await;
            }
        });
    });
    rt.tick().unwrap();
    assert_eq!(logged(), ["task", "first", "second", "task", "first", "second"]);
}

#[test]
fn a_schedule_of_the_world_is_taken_over_by_its_label() {
    let mut world = World::new();
    let mut schedule = Schedule::new(First);
    schedule.add_systems(|| log("first"));
    world.add_schedule(schedule);
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.schedule(Second).add_systems(|| log("second"));
    rt.tick().unwrap();
    assert_eq!(logged(), ["first", "second"]);
    assert!(!rt.world().resource::<Schedules>().contains(First));
}

#[test]
fn the_tick_in_which_the_root_completes_is_finished() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::builder(&mut world).stages(labels()).build();
    rt.schedule(First).add_systems(|| log("first"));
    rt.schedule(Second).add_systems(|bell: Res<Bell>| {
        log("second");
        bell.ring();
    });
    rt.block_on(async {
        go(async move {
            bell.rung().await;
            log("task");
        });
        log("root");
    });
    assert_eq!(logged(), ["root", "first", "second", "task"]);
}

#[test]
fn a_root_that_completes_before_a_stage_still_runs_that_stage_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    for _ in 0..3 {
        rt.block_on(async {});
    }
    assert_eq!(logged(), ["stage"; 3]);
    assert_eq!(rt.stats().ticks, 3);
}

#[test]
fn a_request_keeps_a_parked_loop_ticking() {
    #[derive(Resource, Default)]
    struct Runs(u32);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    world.init_resource::<Runs>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(
        |mut runs: ResMut<Runs>, bell: Res<Bell>, mut more: ResMut<TickRequest>| {
            runs.0 += 1;
            if runs.0 < 10 {
                more.request();
            } else {
                bell.ring();
            }
        },
    );
    rt.block_on(async { bell.rung().await });
    assert_eq!(rt.world().resource::<Runs>().0, 10);
    assert_eq!(rt.stats().ticks, 10);
    assert_eq!(rt.stats().parks, 0);
}

#[test]
fn a_request_asks_for_one_tick() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.world_mut().resource_mut::<TickRequest>().request();
    assert!(rt.world().resource::<TickRequest>().is_requested());
    rt.tick().unwrap();
    assert!(!rt.world().resource::<TickRequest>().is_requested());
}

#[test]
fn a_parked_loop_ticks_only_when_something_happened() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| {});
    rt.block_on(async { sleep(Duration::from_millis(30)).await });
    assert_eq!(rt.stats().ticks, 2, "one to begin to wait, and one at the deadline");
}

#[test]
fn a_waiter_of_the_next_tick_keeps_a_parked_loop_awake() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..10 {
            WorldCtx::current().next_tick().await;
        }
    });
    assert_eq!(rt.stats().ticks, 11);
    assert_eq!(rt.stats().parks, 0);
}

#[test]
fn a_spinning_loop_ticks_without_being_asked() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|stats: Res<TickStats>, bell: Res<Bell>| {
        if stats.get().ticks == 100 {
            bell.ring();
        }
    });
    rt.block_on_busy(bell.rung());
    assert_eq!(rt.stats().ticks, 101);
    assert_eq!(rt.stats().parks, 0);
}
