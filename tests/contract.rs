//! The loop contract: what happens in one tick, and in which order.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{rc::Rc, time::Duration};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, log, logged, tick_number, watchdog};
use onbeat::{
    ClockMode, Runtime, Tick, WorldCtx, event_time, sleep, sleep_until, spawn_boxed, yield_now,
};

/// Runs tasks that `start` spawns up to the end of the tick in which it spawned them.
fn begin(rt: &mut Runtime<'_>, start: impl FnOnce()) {
    rt.block_on(async { start() });
}

/// Spawns a task that nobody waits for.
fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

#[test]
fn a_tick_runs_its_steps_in_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|bell: Res<Bell>| {
        log("stage");
        bell.ring();
    });
    begin(&mut rt, || {
        go(async {
            sleep(Duration::ZERO).await;
            log("timer");
        });
        go(async {
            yield_now().await;
            log("ready");
        });
        go(async {
            WorldCtx::current().next_tick().await;
            log("next tick");
        });
        go(async move {
            loop {
                bell.rung().await;
                log("woken by the stage");
            }
        });
    });
    assert_eq!(logged(), ["stage", "woken by the stage"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["next tick", "ready", "timer", "stage", "woken by the stage"]);
}

#[test]
fn waiters_of_the_next_tick_resume_in_order_of_call() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    begin(&mut rt, || {
        let bells: Vec<Bell> = (0..5).map(|_| Bell::default()).collect();
        for (name, bell) in bells.iter().cloned().enumerate() {
            go(async move {
                bell.rung().await;
                WorldCtx::current().next_tick().await;
                log(name.to_string());
            });
        }
        go(async move {
            for name in [3, 0, 4, 1, 2] {
                bells[name].ring();
            }
        });
    });
    rt.tick().unwrap();
    assert_eq!(logged(), ["3", "0", "4", "1", "2"]);
}

#[test]
fn ready_tasks_run_first_in_first_out() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    begin(&mut rt, || {
        let bells: Vec<Bell> = (0..4).map(|_| Bell::default()).collect();
        for (name, bell) in bells.iter().cloned().enumerate() {
            go(async move {
                bell.rung().await;
                log(name.to_string());
            });
        }
        go(async move {
            for name in [2, 0, 3, 1] {
                bells[name].ring();
            }
        });
    });
    assert_eq!(logged(), ["2", "0", "3", "1"]);
}

#[test]
fn a_wake_by_another_task_is_polled_in_the_same_turn_and_a_self_wake_is_not() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    begin(&mut rt, || {
        let bell = Bell::default();
        go({
            let bell = bell.clone();
            async move {
                bell.rung().await;
                log("woken");
            }
        });
        go(async move {
            yield_now().await;
            log("yielded");
            bell.ring();
        });
    });
    assert_eq!(logged(), ["stage"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["yielded", "woken", "stage"]);
}

#[test]
fn tasks_that_wake_themselves_are_polled_once_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| {});
    begin(&mut rt, || {
        for _ in 0..100 {
            go(async {
                loop {
                    yield_now().await;
                }
            });
        }
    });
    let polls = rt.stats().polls;
    for _ in 0..10 {
        rt.tick().unwrap();
    }
    assert_eq!(rt.stats().polls - polls, 1_000);
}

#[test]
fn a_chain_of_tasks_that_wake_each_other_finishes_within_the_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    begin(&mut rt, || {
        let bells: Vec<Bell> = (0..200).map(|_| Bell::default()).collect();
        for pair in bells.windows(2) {
            let (mine, next) = (pair[0].clone(), pair[1].clone());
            go(async move {
                mine.rung().await;
                next.ring();
            });
        }
        let (first, last) = (bells[0].clone(), bells[199].clone());
        go(async move {
            last.rung().await;
            log("end of the chain");
        });
        go(async move {
            yield_now().await;
            first.ring();
        });
    });
    assert_eq!(logged(), ["stage"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["end of the chain", "stage"]);
}

#[test]
fn two_tasks_that_wake_each_other_for_ever_leave_room_for_the_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(16).build();
    rt.schedule(Tick).add_systems(|| log("stage"));
    begin(&mut rt, || {
        let (ping, pong) = (Bell::default(), Bell::default());
        go({
            let (ping, pong) = (ping.clone(), pong.clone());
            async move {
                loop {
                    ping.rung().await;
                    pong.ring();
                }
            }
        });
        go(async move {
            loop {
                let rung = pong.rung();
                ping.ring();
                rung.await;
            }
        });
    });
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(logged().len(), 4);
}

#[test]
fn what_the_budget_cuts_off_keeps_its_place_at_the_head() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([]).tasks_per_cycle(3).build();
    begin(&mut rt, || {
        let bell = Bell::default();
        for name in 0..8 {
            let bell = bell.clone();
            go(async move {
                bell.rung().await;
                log(format!("{name} in tick {}", tick_number()));
            });
        }
        go(async move {
            WorldCtx::current().next_tick().await;
            while bell.waiting() < 8 {
                WorldCtx::current().next_tick().await;
            }
            bell.ring();
        });
    });
    while logged_count() < 8 {
        rt.tick().unwrap();
    }
    let lines = logged();
    let names: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7"], "{lines:?}");
    let ticks: Vec<_> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    // Three polls in the turn, three in the round after it; the rest is left to the next tick.
    assert_eq!(ticks[0], ticks[5], "{lines:?}");
    assert_ne!(ticks[5], ticks[6], "{lines:?}");
}

fn logged_count() -> usize {
    let lines = logged();
    let count = lines.len();
    for line in lines {
        log(line);
    }
    count
}

#[test]
fn waiters_of_the_next_tick_come_whatever_the_budget() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    begin(&mut rt, || {});
    rt.block_on(async {
        for _ in 0..6 {
            go(async {
                loop {
                    let before = tick_number();
                    WorldCtx::current().next_tick().await;
                    log((tick_number() - before).to_string());
                }
            });
        }
        for _ in 0..20 {
            yield_now().await;
        }
    });
    let lines = logged();
    assert!(lines.len() > 30, "{lines:?}");
    assert!(lines.iter().all(|line| line == "1"), "{lines:?}");
}

#[test]
fn timers_fire_in_order_of_deadline_and_then_of_registration() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        sleep(Duration::from_secs(3600)).await;
        let now = event_time();
        for (name, seconds) in [("d", 1), ("a", 5), ("b", 3), ("e", 1), ("c", 3), ("f", 1)] {
            go(async move {
                sleep_until(now - Duration::from_secs(seconds)).await;
                log(name);
            });
        }
    });
    rt.tick().unwrap();
    assert_eq!(logged(), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn a_timer_that_is_registered_in_a_turn_fires_in_a_later_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    begin(&mut rt, || {
        go(async {
            loop {
                sleep(Duration::ZERO).await;
                log(tick_number().to_string());
            }
        });
    });
    for _ in 0..4 {
        rt.tick().unwrap();
    }
    assert_eq!(logged(), ["2", "3", "4", "5"]);
}

#[test]
fn a_chain_of_tasks_behind_a_timer_finishes_before_the_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    begin(&mut rt, || {
        let (first, second) = (Bell::default(), Bell::default());
        go({
            let second = second.clone();
            async move {
                second.rung().await;
                log("second");
            }
        });
        go({
            let first = first.clone();
            async move {
                first.rung().await;
                second.ring();
            }
        });
        go(async move {
            sleep(Duration::ZERO).await;
            first.ring();
        });
    });
    assert_eq!(logged(), ["stage"]);
    rt.tick().unwrap();
    assert_eq!(logged(), ["second", "stage"]);
}

#[test]
fn tasks_that_are_left_go_on_in_the_next_call() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async {
        spawn_boxed(async {
            for _ in 0..5 {
                yield_now().await;
            }
            7
        })
    });
    assert_eq!(rt.block_on(task), 7);
}

#[test]
fn the_time_of_a_turn_stands_still_in_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let before = event_time();
        let task = spawn_boxed(async move { event_time() == before });
        assert!(task.await, "tasks of one turn see one time");
        assert_eq!(event_time(), before);
        WorldCtx::current().next_tick().await;
        assert!(event_time() > before);
    });
}

#[test]
fn a_future_of_the_root_may_borrow() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let text = Rc::new(String::from("borrowed"));
    let mut length = 0;
    rt.block_on(async {
        yield_now().await;
        length = text.len();
    });
    assert_eq!(length, 8);
}
