//! Stages of fixed steps: how often they run, what they see, and when messages turn over.

mod common;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bevy_ecs::{
    message::{MessageRegistry, ShouldUpdateMessages},
    prelude::*,
    schedule::ScheduleLabel,
};
use common::{Bell, LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{
    ClockMode, Pacing, Runtime, RuntimeBuilder, Tick, TickTime, WorldCtx, event_time, sleep,
    spawn_boxed,
};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Slow;

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Slower;

#[derive(Message)]
struct Note(u32);

#[derive(Resource, Default)]
struct Read(Vec<u32>);

const MS: Duration = Duration::from_millis(1);

fn builder(world: &mut World, pacing: impl Into<Pacing>) -> RuntimeBuilder<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).pacing(pacing)
}

/// Without a pacing, so that the way to run says which.
fn builder_of_any_pacing(world: &mut World) -> RuntimeBuilder<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).progress_limit(10_000)
}

/// Logs each run of a stage, with its nominal time and delta in milliseconds of the virtual clock.
fn log_runs(rt: &mut Runtime<'_>, label: impl ScheduleLabel, name: &'static str) {
    let start = rt.world().resource::<TickTime>().nominal();
    rt.schedule(label).add_systems(move |time: Res<TickTime>| {
        let at = (time.nominal() - start).as_millis();
        log(format!("{name} {at}+{}", time.delta().as_millis()));
    });
}

async fn sleep_in(duration: Duration) {
    sleep(duration).await;
}

#[test]
fn a_stage_of_long_steps_runs_in_some_ticks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 25 * MS, 1).build();
    log_runs(&mut rt, Slow, "slow");
    log_runs(&mut rt, Tick, "tick");
    rt.block_on(sleep_in(55 * MS));
    let expected = [
        "tick 0+0",
        "tick 10+10",
        "tick 20+10",
        "slow 25+25",
        "tick 30+10",
        "tick 40+10",
        "slow 50+25",
        "tick 50+10",
    ];
    assert_eq!(logged(), expected);
    assert_eq!(rt.stats().steps_skipped, 0);
}

#[test]
fn a_stage_of_short_steps_runs_several_times_in_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 4 * MS, 9).build();
    log_runs(&mut rt, Slow, "slow");
    log_runs(&mut rt, Tick, "tick");
    rt.block_on(sleep_in(20 * MS));
    let expected = "tick 0+0,slow 4+4,slow 8+4,tick 10+10,slow 12+4,slow 16+4,slow 20+4,tick 20+10";
    assert_eq!(logged().join(","), expected);
}

#[test]
fn a_stage_that_falls_behind_skips_its_oldest_steps() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 2 * MS, 3).build();
    log_runs(&mut rt, Slow, "slow");
    rt.block_on(sleep_in(20 * MS));
    let expected = "slow 6+2,slow 8+2,slow 10+2,slow 16+2,slow 18+2,slow 20+2";
    assert_eq!(logged().join(","), expected);
    assert_eq!(rt.stats().steps_skipped, 4);
}

#[test]
fn a_stage_of_steps_keeps_the_place_that_stages_gives_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(MS))
        .fixed_step(Slow, MS, 1)
        .stages([Tick.intern(), Slow.intern()])
        .fixed_step(Slower, MS, 1)
        .build();
    for (label, name) in [(Slow.intern(), "slow"), (Slower.intern(), "slower")] {
        rt.schedule(label).add_systems(move || log(name));
    }
    rt.schedule(Tick).add_systems(|| log("tick"));
    rt.block_on(sleep_in(MS));
    assert_eq!(logged(), ["tick", "slower", "tick", "slow"]);
}

#[test]
fn a_due_step_starts_a_tick_of_an_on_event_loop() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
    log_runs(&mut rt, Slow, "slow");
    rt.block_on(sleep_in(35 * MS));
    assert_eq!(logged(), ["slow 10+10", "slow 20+10", "slow 30+10"]);
    assert_eq!((rt.stats().ticks, rt.stats().turns_between), (5, 0));
}

#[test]
fn a_due_step_waits_for_the_shortest_distance_of_a_hybrid() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let pacing = Pacing::Hybrid { at_most_every: 4 * MS, at_least_every: 1_000 * MS };
    let mut rt = builder(&mut world, pacing).fixed_step(Slow, 3 * MS, 5).build();
    let start = rt.world().resource::<TickTime>().nominal();
    rt.schedule(Slow).add_systems(move |time: Res<TickTime>| {
        let (nominal, frozen) = (time.nominal() - start, time.frozen() - start);
        log(format!("{} in {}", nominal.as_millis(), frozen.as_millis()));
    });
    rt.block_on(sleep_in(13 * MS));
    assert_eq!(logged(), ["3 in 4", "6 in 8", "9 in 12", "12 in 12"]);
}

#[test]
fn a_tick_by_hand_runs_the_steps_that_have_come() {
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 9).build();
    log_runs(&mut rt, Slow, "slow");
    rt.tick().unwrap();
    rt.virtual_clock().unwrap().skip(25 * MS);
    rt.tick().unwrap();
    assert_eq!(logged(), ["slow 10+10", "slow 20+10"]);
}

#[test]
fn virtual_time_passes_no_step_that_has_a_system_however_the_loop_is_driven() {
    let _guard = watchdog(LIMIT_SECONDS);
    for driven in ["on event", "busy", "by hand"] {
        let mut world = World::new();
        let mut rt = builder_of_any_pacing(&mut world).fixed_step(Slow, 10 * MS, 9).build();
        rt.schedule(Slow).add_systems(|time: Res<TickTime>| {
            assert_eq!(time.lateness(), Duration::ZERO);
            log("step");
        });
        let sleeper = async {
            drop(spawn_boxed(sleep(25 * MS)));
            sleep(35 * MS).await;
        };
        match driven {
            "on event" => rt.block_on(sleeper),
            "busy" => rt.block_on_busy(sleeper),
            _ => {
                rt.block_on(async { drop(spawn_boxed(sleeper)) });
                while rt.task_count() > 0 {
                    rt.tick().unwrap();
                }
            }
        }
        assert_eq!(logged(), ["step"; 3], "{driven}");
    }
}

#[test]
fn a_system_in_a_step_may_be_all_that_a_program_waits_for() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let (bell, mut world) = (Bell::default(), World::new());
        world.insert_resource(bell.clone());
        let mut rt = builder_of_any_pacing(&mut world).fixed_step(Slow, 10 * MS, 1).build();
        let start = rt.virtual_clock().unwrap().now();
        rt.schedule(Slow).add_systems(move |time: Res<TickTime>, bell: Res<Bell>| {
            if time.nominal() - start == 50 * MS {
                bell.ring();
            }
        });
        if busy {
            rt.block_on_busy(bell.rung());
        } else {
            rt.block_on(bell.rung());
        }
        assert_eq!(rt.virtual_clock().unwrap().now() - start, 50 * MS);
    }
}

#[test]
fn tasks_run_before_each_step() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 5 * MS, 2).build();
    rt.schedule(Slow).add_systems(|bell: Res<Bell>| {
        log("step");
        bell.ring();
    });
    rt.block_on(async {
        for _ in 0..2 {
            bell.rung().await;
            log("task");
        }
    });
    assert_eq!(logged(), ["step", "task", "step", "task"]);
}

#[test]
fn a_panic_in_a_step_leaves_the_next_one_due_and_the_times_right() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 5 * MS, 2).build();
    let mut runs = 0;
    rt.schedule(Slow).add_systems(move || {
        runs += 1;
        assert!(runs > 1, "out of cheese");
    });
    log_runs(&mut rt, Slow, "slow");
    log_runs(&mut rt, Tick, "tick");
    let message = panic_message(|| rt.block_on(sleep_in(10 * MS)));
    assert!(message.contains("out of cheese"), "{message}");
    logged();
    rt.block_on(sleep_in(10 * MS));
    assert_eq!(logged().join(","), "slow 10+5,tick 10+0,slow 15+5,slow 20+5,tick 20+10");
}

/// A world with `Note`s, a writer that writes a number in each tick, and a reader in `Slow`.
fn write_each_tick(rt: &mut Runtime<'_>) {
    MessageRegistry::register_message::<Note>(rt.world_mut());
    rt.world_mut().init_resource::<Read>();
    rt.schedule(Tick).add_systems(|time: Res<TickTime>, mut notes: MessageWriter<Note>| {
        notes.write(Note(u32::try_from(time.number()).unwrap()));
    });
    rt.schedule(Slow).add_systems(|mut read: ResMut<Read>, mut notes: MessageReader<Note>| {
        read.0.extend(notes.read().map(|note| note.0));
    });
}

#[test]
fn a_stage_at_10_hz_reads_each_of_1_000_messages_written_at_1_khz_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    for stages in [[Slow.intern(), Tick.intern()], [Tick.intern(), Slow.intern()]] {
        let mut world = World::new();
        let mut rt = builder(&mut world, Pacing::hertz(1_000))
            .stages(stages)
            .fixed_step(Slow, 100 * MS, 3)
            .build();
        write_each_tick(&mut rt);
        rt.block_on(sleep_in(1_100 * MS));
        let read = &rt.world().resource::<Read>().0;
        assert!(read.len() >= 1_000);
        assert!(read.iter().copied().eq(1..=u32::try_from(read.len()).unwrap()), "{read:?}");
        assert!(rt.world().resource::<Messages<Note>>().len() <= 201, "they turn over");
    }
}

#[test]
fn messages_wait_for_the_slowest_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(MS))
        .fixed_step(Slow, 7 * MS, 1)
        .fixed_step(Slower, 100 * MS, 1)
        .build();
    write_each_tick(&mut rt);
    rt.schedule(Slower).add_systems(|mut notes: MessageReader<Note>| {
        for note in notes.read() {
            log(note.0.to_string());
        }
    });
    rt.block_on(sleep_in(1_000 * MS));
    let by_slower = logged();
    let by_slow: Vec<_> = rt.world().resource::<Read>().0.iter().map(u32::to_string).collect();
    let expected: Vec<_> = (1..=1_000).map(|number| number.to_string()).collect();
    assert_eq!(by_slower, expected);
    assert_eq!(by_slow, expected[..by_slow.len()]);
    assert!(by_slow.len() >= 990);
}

#[test]
fn a_registry_that_says_wait_is_obeyed() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(MS)).fixed_step(Slow, MS, 1).build();
    write_each_tick(&mut rt);
    let set = |rt: &mut Runtime<'_>, should_update| {
        rt.world_mut().resource_mut::<MessageRegistry>().should_update = should_update;
    };
    let len = |rt: &Runtime<'_>| rt.world().resource::<Messages<Note>>().len();
    set(&mut rt, ShouldUpdateMessages::Waiting);
    rt.block_on(sleep_in(9 * MS));
    assert_eq!(len(&rt), 10);
    set(&mut rt, ShouldUpdateMessages::Ready);
    rt.block_on(sleep_in(4 * MS));
    assert_eq!(len(&rt), 15, "one turnover keeps what it found");
    set(&mut rt, ShouldUpdateMessages::Always);
    rt.block_on(sleep_in(4 * MS));
    assert_eq!(len(&rt), 1);
}

#[test]
fn a_task_may_still_sleep_between_steps() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 10 * MS, 1).build();
    rt.block_on(async {
        let start = event_time();
        sleep(3 * MS).await;
        assert_eq!(event_time() - start, 3 * MS);
        let number =
            WorldCtx::current().with_world_ref(|world| world.resource::<TickTime>().number());
        assert_eq!(number, 1);
    });
}

#[test]
fn steps_that_would_never_run_panic_by_name() {
    let mut world = World::new();
    let message = panic_message(|| {
        drop(Runtime::builder(&mut world).fixed_step(Slow, Duration::ZERO, 1));
    });
    assert!(message.contains("longer than zero"), "{message}");
    let message = panic_message(|| drop(Runtime::builder(&mut world).fixed_step(Slow, MS, 0)));
    assert!(message.contains("steps_max"), "{message}");
}

/// Milliseconds of the virtual clock since the first call.
fn now() -> u128 {
    let times = |world: &World| {
        let time = world.resource::<TickTime>();
        (event_time(), time.frozen())
    };
    let (now, frozen) = WorldCtx::current().with_world_ref(times);
    assert_eq!(now, frozen);
    let start = START.get().unwrap_or(now);
    START.set(Some(start));
    (now - start).as_millis()
}

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits for `Slow` in each way, twice, and logs when it resumes.
async fn wait_for_slow() {
    let ctx = WorldCtx::current();
    START.set(None);
    log(format!("{} ms", now()));
    for _ in 0..2 {
        ctx.at(Slow).await;
        log(format!("at {} ms", now()));
    }
    for _ in 0..2 {
        ctx.next(Slow).await;
        log(format!("next {} ms", now()));
    }
}

#[test]
fn a_wait_for_a_stage_of_steps_resumes_once_before_the_first_step_of_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::every(10 * MS)).fixed_step(Slow, 4 * MS, 9).build();
    rt.schedule(Slow).add_systems(|| log("step"));
    rt.block_on(async {
        now();
        WorldCtx::current().at(Slow).await;
        log(format!("at {} ms", now()));
        WorldCtx::current().next(Slow).await;
        log(format!("next {} ms", now()));
    });
    let expected = "at 10 ms,step,step,next 20 ms,step,step,step";
    assert_eq!(logged().join(","), expected);
}

#[test]
fn an_on_event_loop_sleeps_until_the_step_that_is_awaited() {
    let _guard = watchdog(LIMIT_SECONDS);
    for with_system in [false, true] {
        let mut world = World::new();
        let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
        if with_system {
            rt.schedule(Slow).add_systems(|| log("step"));
        }
        rt.block_on(wait_for_slow());
        let log = logged();
        let times: Vec<_> = log.iter().filter(|line| *line != "step").map(String::as_str).collect();
        assert_eq!(times, ["0 ms", "at 10 ms", "at 20 ms", "next 30 ms", "next 40 ms"]);
        assert_eq!(log.len() - times.len(), if with_system { 4 } else { 0 });
        assert_eq!(rt.stats().ticks, 5, "no tick but the first and those of the steps");
    }
}

#[test]
fn nothing_wakes_the_loop_for_a_step_without_systems_that_nobody_awaits() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
    rt.block_on(async {
        drop(WorldCtx::current().at(Slow));
        sleep(55 * MS).await;
        // It is looked at in every tick that happens, and asks for none.
        let asked = WorldCtx::current().until(Slow, |_| Some(()));
        drop(spawn_boxed(asked));
        sleep(55 * MS).await;
    });
    assert_eq!(rt.stats().ticks, 3);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_wait_that_is_given_up_asks_for_no_step() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
    rt.block_on(async {
        let waiting = spawn_boxed(async { WorldCtx::current().at(Slow).await });
        sleep(5 * MS).await;
        waiting.abort();
        sleep(50 * MS).await;
    });
    assert_eq!(rt.stats().ticks, 3);
}

#[test]
fn a_wait_for_a_stage_of_every_tick_starts_one_though_another_waits_for_a_step() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
    rt.block_on(async {
        now();
        let waiting = spawn_boxed(async {
            WorldCtx::current().at(Slow).await;
            now()
        });
        for _ in 0..5 {
            WorldCtx::current().next(Tick).await;
        }
        assert_eq!(now(), 0);
        assert_eq!(waiting.await, 10);
    });
    assert_eq!(rt.stats().ticks, 7);
}

#[test]
fn an_awaited_step_comes_under_every_pacing() {
    let _guard = watchdog(LIMIT_SECONDS);
    let hybrid = Pacing::Hybrid { at_most_every: 4 * MS, at_least_every: 1_000 * MS };
    let cases = [
        (Pacing::from(Pacing::every(4 * MS)), "0 ms,at 12 ms,at 20 ms,next 32 ms,next 40 ms"),
        (hybrid, "0 ms,at 10 ms,at 20 ms,next 30 ms,next 40 ms"),
        (Pacing::FreeRunning, "0 ms,at 10 ms,at 20 ms,next 30 ms,next 40 ms"),
    ];
    for (pacing, expected) in cases {
        let mut world = World::new();
        let mut rt = builder(&mut world, pacing).fixed_step(Slow, 10 * MS, 1).build();
        rt.block_on(wait_for_slow());
        assert_eq!(logged().join(","), expected, "{pacing:?}");
    }
}

#[test]
fn ticks_by_hand_come_to_an_awaited_step() {
    let mut world = World::new();
    let mut rt = builder(&mut world, Pacing::OnEvent).fixed_step(Slow, 10 * MS, 1).build();
    rt.block_on(async { drop(spawn_boxed(wait_for_slow())) });
    for _ in 0..10 {
        if rt.task_count() > 0 {
            rt.tick().unwrap();
        }
    }
    assert_eq!(rt.task_count(), 0);
    assert_eq!(logged().join(","), "0 ms,at 10 ms,at 20 ms,next 30 ms,next 40 ms");
}

#[test]
fn a_parked_loop_wakes_for_an_awaited_step_of_the_real_clock() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).fixed_step(Slow, 5 * MS, 1).build();
    let begun = Instant::now();
    rt.block_on(async {
        for _ in 0..3 {
            WorldCtx::current().next(Slow).await;
        }
    });
    assert!(begun.elapsed() >= 15 * MS);
    assert!(rt.stats().ticks <= 8, "{}", rt.stats().ticks);
}
