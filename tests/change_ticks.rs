//! Change detection past the wrap of the World's change tick, in what slept meanwhile: a stage that did not
//! run, and parameters that a task keeps.

mod common;

use std::time::Duration;

use bevy_ecs::{change_detection::CHECK_TICK_THRESHOLD, prelude::*, schedule::ScheduleLabel};
use common::{Bell, log, logged, watchdog};
use onbeat::{ClockMode, Runtime, Tick, WorldCtx, spawn_boxed};

const DAY: Duration = Duration::from_secs(86_400);
/// Counting to two thousand million takes its time.
const LIMIT_SECONDS: u64 = 240;

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Daily;

#[derive(Resource)]
struct Value;
#[derive(Resource)]
struct Late;

fn is_changed(value: Res<Value>) {
    log(if value.is_changed() { "changed" } else { "old" });
}

/// What was never run counts as run so long ago that its tick wraps after twice the threshold. Bevy checks
/// once after each.
fn wrap(rt: &mut Runtime<'_>) {
    const STEP: u32 = 20;
    for _ in 0..2 {
        let world = rt.world_mut();
        let mut left = CHECK_TICK_THRESHOLD / STEP + 10;
        // As few instructions as there can be without optimization.
        while left != 0 {
            left -= 1;
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
            (world.increment_change_tick(), world.increment_change_tick());
        }
        rt.tick().unwrap();
    }
}

#[test]
fn what_slept_past_the_wrap_sees_a_change_as_one_and_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Value);
    let mut rt = Runtime::builder(&mut world)
        .stages([Daily.intern(), Tick.intern()])
        .fixed_step(Daily, DAY, 1)
        .clock(ClockMode::Virtual)
        .build();
    let clock = rt.virtual_clock().unwrap();
    clock.pause();
    rt.schedule(Tick).add_systems(|| ());
    rt.schedule(Daily).add_systems(is_changed);
    // It knows its systems, and has run none.
    let bell = Bell::default();
    let sleeper = rt.block_on(async {
        let bell = bell.clone();
        let task = spawn_boxed(async move {
            let mut params =
                WorldCtx::current().params::<(Res<Value>, Option<Res<Late>>, Res<Late>)>();
            assert!(params.with(|_| ()).is_err(), "the state is made, and was not used");
            bell.rung().await;
            for _ in 0..2 {
                let changed = params.with(|(value, ..)| value.is_changed()).unwrap();
                log(if changed { "the task: changed" } else { "the task: old" });
            }
        });
        WorldCtx::current().ticks(2).await;
        task
    });
    wrap(&mut rt);
    assert_eq!(logged(), [""; 0]);
    rt.world_mut().insert_resource(Late);
    bell.ring();
    rt.tick().unwrap();
    assert!(sleeper.is_finished());
    assert_eq!(logged(), ["the task: changed", "the task: old"]);
    for expected in ["changed", "old"] {
        clock.advance(DAY);
        rt.tick().unwrap();
        assert_eq!(logged(), [expected], "the stage");
    }
}
