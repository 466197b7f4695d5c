//! Change detection past the wrap of the World's change tick, in what slept meanwhile: a stage that did not
//! run, and parameters that a task keeps. Whoever observes bevy's checks of change ticks hears of them too.

#![expect(unsafe_code, reason = "an observer with a runner of its own is told its event by key")]
#![expect(clippy::async_yields_async, reason = "a handle is taken out of `block_on`")]

mod common;

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bevy_ecs::{
    change_detection::{CHECK_TICK_THRESHOLD, CheckChangeTicks},
    prelude::*,
    schedule::ScheduleLabel,
};
use common::{Bell, block_on, log, logged, watchdog};
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

thread_local! {
    static IS_OPEN: Cell<bool> = const { Cell::new(false) };
}

fn is_open() -> bool {
    log("is it open?");
    IS_OPEN.get()
}

fn is_changed(value: Res<Value>) {
    log(if value.is_changed() { "changed" } else { "old" });
}

/// How often the user's observers were called: one made before the runtime, one after it, and one with a
/// runner of its own.
static HEARD: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

fn hear(observer: usize) {
    HEARD[observer].fetch_add(1, Ordering::Relaxed);
}

fn observe_with_a_runner(world: &mut World) {
    let event = world.register_event_key::<CheckChangeTicks>();
    let observer = Observer::with_dynamic_runner(|_, _, _, _, _| hear(2));
    // SAFETY: the runner reads nothing of its event.
    world.spawn(unsafe { observer.with_event_key(event) });
    world.flush();
}

/// What was never run counts as run so long ago that its tick wraps after twice the threshold. Bevy checks
/// once after each.
fn wrap(rt: &mut Runtime<'_>) {
    const STEP: u32 = 10;
    for _ in 0..2 {
        let world = rt.world_mut();
        let mut left = CHECK_TICK_THRESHOLD / STEP + 10;
        // As few instructions as there can be without optimization.
        while left != 0 {
            left -= 1;
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
            world.increment_change_tick();
        }
        rt.tick().unwrap();
    }
}

#[test]
fn what_slept_past_the_wrap_sees_a_change_as_one_and_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Value);
    world.add_observer(|_: On<CheckChangeTicks>| hear(0));
    observe_with_a_runner(&mut world);
    let mut rt = Runtime::builder(&mut world)
        .stages([Daily.intern(), Tick.intern()])
        .fixed_step(Daily, DAY, 1)
        .clock(ClockMode::Virtual)
        .build();
    rt.world_mut().add_observer(|_: On<CheckChangeTicks>| hear(1));
    let clock = rt.virtual_clock().unwrap();
    clock.pause();
    rt.schedule(Tick).add_systems(|| ());
    rt.schedule(Daily).add_systems(is_changed.run_if(is_open));
    rt.tick().unwrap();
    clock.advance(DAY);
    rt.tick().unwrap();
    assert_eq!(logged(), ["is it open?"], "it knows its system from here on, and has not run it");
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
    assert_eq!(HEARD.each_ref().map(|heard| heard.load(Ordering::Relaxed)), [2; 3]);
    assert_eq!(logged(), [""; 0]);
    rt.world_mut().insert_resource(Late);
    bell.ring();
    rt.tick().unwrap();
    assert!(sleeper.is_finished());
    assert_eq!(logged(), ["the task: changed", "the task: old"]);
    IS_OPEN.set(true);
    for expected in ["changed", "old"] {
        clock.advance(DAY);
        rt.tick().unwrap();
        assert_eq!(logged(), ["is it open?", expected], "the stage");
    }
}

/// How many change ticks lie between what two accesses write.
fn between_two_accesses() -> u32 {
    let [first, second] =
        [(); 2].map(|()| WorldCtx::current().with_world(|world| world.change_tick().get()));
    second.wrapping_sub(first)
}

#[test]
fn each_access_has_a_change_tick_of_its_own_only_while_somebody_waits_for_a_change() {
    block_on(async {
        let ctx = WorldCtx::current();
        assert_eq!(between_two_accesses(), 0);
        let changed = ctx.res_changed::<Value>();
        assert_eq!(between_two_accesses(), 1);
        Runtime::new(&mut World::new()).block_on(async {});
        assert_eq!(
            between_two_accesses(),
            1,
            "another runtime watches nothing, and leaves this as it was"
        );
        let read = || ctx.with_world_ref(World::read_change_tick);
        assert_eq!(read(), read(), "who only reads writes nothing");
        drop(changed);
        ctx.ticks(2).await;
        assert_eq!(between_two_accesses(), 0);
    });
}
