//! A bevy `App` on onbeat's loop: its schedules, messages, removals, time, tasks and end.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bevy_app::{AppLabel, MainScheduleOrder, SubApp, prelude::*};
use bevy_ecs::{
    error::{BevyError, ErrorContext},
    prelude::*,
    schedule::{FixedBitSet, ScheduleLabel, SystemExecutor, SystemSchedule},
};
use bevy_time::{Fixed, Real, Time, TimePlugin, TimeUpdateStrategy};
use common::{LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{ClockMode, OnbeatPlugin, Pacing, TickTime, WorldCtx, event_time, sleep, spawn_boxed};

/// The plugin under the virtual clock.
fn on_beat() -> OnbeatPlugin {
    OnbeatPlugin::default().options(|builder| builder.clock(ClockMode::Virtual))
}

/// Runs an `App` for `frames` under the virtual clock, and gives its log.
fn run(frames: u64, build: impl FnOnce(&mut App)) -> Vec<String> {
    run_with(on_beat(), frames, build)
}

fn run_with(plugin: OnbeatPlugin, frames: u64, build: impl FnOnce(&mut App)) -> Vec<String> {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut app = App::new();
    app.add_plugins(plugin);
    build(&mut app);
    app.add_systems(Last, end_after(frames));
    assert_eq!(app.run(), AppExit::Success);
    logged()
}

/// Ends the `App` in the frame of this number.
fn end_after(frames: u64) -> impl FnMut(Res<TickTime>, MessageWriter<AppExit>) {
    move |time, mut exit| {
        if time.number() == frames {
            exit.write(AppExit::Success);
        }
    }
}

fn numbered(what: &'static str) -> impl FnMut(Res<TickTime>) {
    move |time| log(format!("{what} {}", time.number()))
}

#[derive(Message, Clone)]
struct Said(u64);

fn say(time: Res<TickTime>, mut said: MessageWriter<Said>) {
    if time.number() <= 3 {
        said.write(Said(time.number()));
    }
}

fn hear(time: Res<TickTime>, mut said: MessageReader<Said>) {
    for Said(number) in said.read() {
        log(format!("{number} in {}", time.number()));
    }
}

#[test]
fn a_message_written_in_last_is_seen_once_by_pre_update() {
    let heard = run(8, |app| {
        app.add_message::<Said>().add_systems(PreUpdate, hear).add_systems(Last, say);
    });
    assert_eq!(heard, ["1 in 2", "2 in 3", "3 in 4"]);
}

#[test]
fn messages_are_kept_for_two_frames_as_in_bevy() {
    fn count(said: Res<Messages<Said>>) {
        log(said.len().to_string());
    }
    let build = |app: &mut App| {
        app.add_message::<Said>().add_systems(Last, (say, count).chain());
    };
    let on_the_loop = run(6, build);
    let mut app = App::new();
    app.insert_resource(Frame(0));
    app.add_message::<Said>().add_systems(Last, (say_by_frame, count).chain());
    for _ in 0..6 {
        app.update();
    }
    assert_eq!(on_the_loop, logged());
    assert_eq!(on_the_loop, ["1", "2", "2", "1", "0", "0"]);
}

#[derive(Resource)]
struct Frame(u64);

fn say_by_frame(mut frame: ResMut<Frame>, mut said: MessageWriter<Said>) {
    frame.0 += 1;
    if frame.0 <= 3 {
        said.write(Said(frame.0));
    }
}

#[test]
fn a_message_waits_for_the_fixed_step_that_reads_it() {
    // At 256 Hz a step of 64 Hz runs in every fourth frame.
    let plugin = on_beat().pacing(Pacing::hertz(256));
    let heard = run_with(plugin, 12, |app| {
        app.add_plugins(TimePlugin).add_message::<Said>().add_systems(First, say).add_systems(
            FixedUpdate,
            |mut said: MessageReader<Said>| {
                log(format!("step {:?}", said.read().map(|said| said.0).collect::<Vec<_>>()));
            },
        );
    });
    assert_eq!(heard, ["step [1, 2, 3]", "step []"]);
}

#[test]
fn a_message_from_a_task_between_frames_is_seen_once() {
    let plugin = on_beat().pacing(Pacing::hertz(10)).task(|| async {
        sleep(Duration::from_millis(30)).await;
        let ctx = WorldCtx::current();
        ctx.write_message(Said(7)).unwrap();
        assert_eq!(ctx.with_world_ref(|world| world.resource::<TickTime>().number()), 1);
    });
    let heard = run_with(plugin, 6, |app| {
        app.add_message::<Said>().add_systems(PreUpdate, hear).add_systems(Last, hear);
    });
    // Two readers, each once.
    assert_eq!(heard, ["7 in 2", "7 in 2"]);
}

#[derive(Component)]
struct Marked;

#[test]
fn a_removal_in_last_is_seen_once_by_pre_update() {
    fn remove(time: Res<TickTime>, marked: Query<Entity, With<Marked>>, mut commands: Commands) {
        if (2..=3).contains(&time.number())
            && let Some(entity) = marked.iter().next()
        {
            commands.entity(entity).remove::<Marked>();
        }
    }
    fn see(time: Res<TickTime>, mut removed: RemovedComponents<Marked>) {
        for _ in removed.read() {
            log(format!("in {}", time.number()));
        }
    }
    let seen = run(7, |app| {
        app.add_systems(Startup, |mut commands: Commands| {
            commands.spawn_batch([Marked, Marked]);
        });
        app.add_systems(PreUpdate, see).add_systems(Last, remove);
    });
    assert_eq!(seen, ["in 3", "in 4"]);
}

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Between;

#[test]
fn the_labels_run_in_the_order_of_the_app_and_startup_runs_once() {
    let ran = run(2, |app| {
        app.world_mut().resource_mut::<MainScheduleOrder>().insert_after(PreUpdate, Between);
        app.add_systems(PreStartup, numbered("pre-startup"))
            .add_systems(Startup, numbered("startup"))
            .add_systems(PostStartup, numbered("post-startup"))
            .add_systems(First, numbered("first"))
            .add_systems(PreUpdate, numbered("pre-update"))
            .add_systems(Between, numbered("between"))
            .add_systems(Update, numbered("update"))
            .add_systems(PostUpdate, numbered("post-update"))
            .add_systems(Last, numbered("last"));
    });
    let every = ["first", "pre-update", "between", "update", "post-update", "last"];
    let startup = ["pre-startup", "startup", "post-startup"];
    let first = startup.iter().chain(&every).map(|what| format!("{what} 1"));
    let second = every.iter().map(|what| format!("{what} 2"));
    assert_eq!(ran, first.chain(second).collect::<Vec<_>>());
}

#[test]
fn a_label_of_startup_and_of_every_frame_runs_in_both() {
    // As bevy's states have it.
    let plugin = on_beat().task(|| async {
        for _ in 0..2 {
            WorldCtx::current().next(Between).await;
            log("task");
        }
    });
    let ran = run_with(plugin, 3, |app| {
        let mut order = app.world_mut().resource_mut::<MainScheduleOrder>();
        order.insert_after(PreUpdate, Between);
        order.insert_startup_before(PreStartup, Between);
        app.add_systems(Between, numbered("between"))
            .add_systems(Startup, || log("startup"))
            .add_systems(Update, || log("update"));
    });
    let first = ["between 1", "startup", "between 1", "update"];
    let later = ["task", "between 2", "update", "task", "between 3", "update"];
    assert_eq!(ran, [&first[..], &later].concat());
}

#[test]
fn the_first_error_is_the_code_of_the_exit() {
    let _guard = watchdog(LIMIT_SECONDS);
    let exit = App::new()
        .add_plugins(on_beat())
        .add_systems(Update, |mut exit: MessageWriter<AppExit>| {
            exit.write(AppExit::Success);
            exit.write(AppExit::from_code(3));
            exit.write(AppExit::from_code(4));
        })
        .run();
    assert_eq!(exit, AppExit::from_code(3));
}

#[test]
fn an_exit_written_between_frames_ends_the_app_after_the_next_frame() {
    let _guard = watchdog(LIMIT_SECONDS);
    let plugin = on_beat().task(|| async {
        sleep(Duration::from_millis(5)).await;
        WorldCtx::current().write_message(AppExit::from_code(9)).unwrap();
    });
    let exit = App::new().add_plugins(plugin).add_systems(Last, numbered("last")).run();
    assert_eq!(exit, AppExit::from_code(9));
    assert_eq!(logged(), ["last 1", "last 2"]);
}

#[test]
fn fixed_update_runs_at_its_own_rate_under_the_virtual_clock() {
    // The first frame has no time before it: 60 periods have passed in frame 61, and 64 steps.
    let ran = run(61, |app| {
        app.add_plugins(TimePlugin)
            .add_systems(FixedUpdate, |time: Res<Time>| {
                assert_eq!(time.delta(), Duration::from_micros(15_625));
                log("step");
            })
            .add_systems(Last, |time: Res<Time>, steps: Res<Time<Fixed>>, tick: Res<TickTime>| {
                assert_eq!(time.elapsed(), steps.elapsed() + steps.overstep());
                if tick.number() == 61 {
                    assert_eq!(time.elapsed(), Duration::from_secs(1));
                }
            });
    });
    assert_eq!(ran.len(), 64);
}

#[test]
fn the_delta_is_the_period_and_the_times_are_those_of_the_grid() {
    let plugin = on_beat().pacing(Pacing::every(Duration::from_millis(20)));
    let deltas = run_with(plugin, 4, |app| {
        app.add_plugins(TimePlugin).add_systems(Update, |time: Res<Time<Real>>| {
            log(format!("{:?} {:?}", time.delta(), time.elapsed()));
        });
    });
    assert_eq!(deltas, ["0ns 0ns", "20ms 20ms", "20ms 40ms", "20ms 60ms"]);
}

#[test]
fn the_default_is_sixty_frames_a_second() {
    let times = run(3, |app| {
        app.add_systems(Update, |tick: Res<TickTime>| log(tick.delta().as_micros().to_string()));
    });
    assert_eq!(times, ["0", "16666", "16666"]);
}

#[test]
fn a_program_that_sets_the_time_keeps_it() {
    let deltas = run(3, |app| {
        let strategy = TimeUpdateStrategy::ManualDuration(Duration::from_secs(2));
        app.add_plugins(TimePlugin)
            .insert_resource(strategy)
            .add_systems(Update, |time: Res<Time<Real>>| log(format!("{:?}", time.delta())));
    });
    assert_eq!(deltas, ["0ns", "2s", "2s"]);
}

#[test]
fn on_event_pacing_runs_a_frame_when_something_happens() {
    let plugin = on_beat().pacing(Pacing::OnEvent).task(|| async {
        let start = event_time();
        sleep(Duration::from_secs(5)).await;
        log(format!("{:?}", event_time() - start));
    });
    let ran = run_with(plugin, 2, |app| {
        app.add_systems(Update, numbered("frame"));
    });
    assert_eq!(ran, ["frame 1", "5s", "frame 2"]);
}

#[derive(Resource)]
struct Inserted;

#[test]
fn the_plugins_tasks_begin_after_startup_and_before_the_first_stage() {
    let plugin = on_beat()
        .task(|| async {
            let there = WorldCtx::current().with_world_ref(World::contains_resource::<Inserted>);
            log(format!("one {there}"));
        })
        .task(|| async { log("two") });
    let ran = run_with(plugin, 1, |app| {
        app.add_systems(Startup, |mut commands: Commands| commands.insert_resource(Inserted))
            .add_systems(First, || log("first"));
    });
    assert_eq!(ran, ["one true", "two", "first"]);
}

#[test]
fn tasks_of_a_startup_system_wait_for_stages() {
    fn spawn_one() {
        drop(spawn_boxed(async {
            for _ in 0..2 {
                WorldCtx::current().next(Update).await;
                log("task");
            }
        }));
    }
    let ran = run(3, |app| {
        app.add_systems(Startup, spawn_one)
            .add_systems(PreUpdate, numbered("pre-update"))
            .add_systems(Update, numbered("update"));
    });
    let expected = ["pre-update 1", "update 1", "pre-update 2", "task", "update 2", "pre-update 3"];
    assert_eq!(ran[..6], expected);
    assert_eq!(ran[6..], ["task", "update 3"]);
}

#[test]
fn tasks_are_dropped_while_the_world_can_be_used() {
    struct Leaves;
    impl Drop for Leaves {
        fn drop(&mut self) {
            let there =
                WorldCtx::current().try_with_world(|world| world.contains_resource::<Inserted>());
            log(format!("{there:?}"));
        }
    }
    let plugin = on_beat().task(|| async {
        let _leaves = Leaves;
        std::future::pending::<()>().await;
    });
    let ran = run_with(plugin, 2, |app| {
        app.insert_resource(Inserted);
    });
    assert_eq!(ran, ["Ok(true)"]);
}

/// Becomes ready when it has been asked three times.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
}

impl Plugin for Slow {
    fn build(&self, _: &mut App) {}

    fn ready(&self, _: &App) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) == 2
    }

    fn finish(&self, app: &mut App) {
        log("finish");
        app.insert_resource(Inserted);
    }

    fn cleanup(&self, _: &mut App) {
        log("cleanup");
    }
}

#[test]
fn the_runner_waits_until_plugins_are_ready_and_finishes_them() {
    let slow = Slow::default();
    let ran = run(1, |app| {
        app.add_plugins(slow.clone()).add_systems(Startup, |_: Res<Inserted>| log("startup"));
    });
    assert_eq!(ran, ["finish", "cleanup", "startup"]);
    assert_eq!(slow.asked.load(Ordering::Relaxed), 3);
}

#[derive(AppLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Render;

#[test]
fn an_app_with_a_sub_app_is_refused() {
    let _guard = watchdog(LIMIT_SECONDS);
    let message = panic_message(|| {
        let mut app = App::new();
        app.add_plugins(on_beat()).insert_sub_app(Render, SubApp::new());
        app.run();
    });
    assert!(message.contains("runs no sub-apps"), "{message}");
}

#[test]
fn a_panic_of_a_system_leaves_the_app() {
    let _guard = watchdog(LIMIT_SECONDS);
    let message = panic_message(|| {
        App::new().add_plugins(on_beat()).add_systems(Update, || panic!("in update")).run();
    });
    assert_eq!(message, "in update");
    // The thread is free for another.
    let next = run(1, |app| {
        app.add_systems(Update, || log("next"));
    });
    assert_eq!(next, ["next"]);
}

#[test]
fn options_reach_the_runtime_and_stages_stay_those_of_the_app() {
    let plugin = on_beat()
        .options(|builder| builder.stages([]).fixed_step(Between, Duration::from_millis(1), 9))
        .options(|builder| builder.slab_bounded::<64>(1))
        .task(|| async { drop(onbeat::spawn_slab(async { log("slab") })) });
    let ran = run_with(plugin, 1, |app| {
        app.add_systems(Between, || log("not a stage")).add_systems(Update, || log("update"));
    });
    assert_eq!(ran, ["slab", "update"]);
}

/// What a schedule was given that is to be run by others.
struct Foreign;

impl SystemExecutor for Foreign {
    fn init(&mut self, _: &SystemSchedule) {}

    fn run(
        &mut self,
        _: &mut SystemSchedule,
        _: &mut World,
        _: Option<&FixedBitSet>,
        _: fn(BevyError, ErrorContext),
    ) {
        panic!("the executor that the schedule came with");
    }

    fn set_apply_final_deferred(&mut self, _: bool) {}
}

#[test]
fn every_schedule_is_run_by_this_thread_whatever_executor_it_came_with() {
    let ran = run(1, |app| {
        app.add_systems(Startup, || log("startup"))
            .add_systems(Between, || log("run by a system"))
            .add_systems(Update, |world: &mut World| world.run_schedule(Between));
        for label in [Startup.intern(), Update.intern(), Between.intern()] {
            app.edit_schedule(label, |schedule| _ = schedule.set_executor(Foreign));
        }
    });
    assert_eq!(ran, ["startup", "run by a system"]);
}
