//! Several runtimes on one thread: beside, after and inside one another.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::time::Duration;

use bevy_ecs::world::World;
use common::{Bell, Count, LIMIT_SECONDS, block_on, panic_message, poll_once, watchdog};
use onbeat::{JoinHandle, Runtime, WorldCtx, sleep, spawn_boxed, yield_now};

/// Runs `f` on a runtime that is gone when this returns.
fn in_a_runtime<R>(f: impl AsyncFnOnce() -> R) -> R {
    let mut world = World::new();
    Runtime::new(&mut world).block_on(f())
}

#[test]
fn a_handle_is_joined_in_another_runtime_of_the_thread() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut first, mut second) = (World::new(), World::new());
    let mut first = Runtime::new(&mut first);
    let mut second = Runtime::new(&mut second);
    let task = first.block_on(async {
        spawn_boxed(async {
            yield_now().await;
            7
        })
    });
    first.tick().unwrap();
    assert_eq!(second.block_on(task), 7);
}

#[test]
fn a_joiner_in_another_runtime_is_woken() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut first, mut second) = (World::new(), World::new());
    let mut first = Runtime::new(&mut first);
    let mut second = Runtime::new(&mut second);
    let bell = Bell::default();
    let task = first.block_on(async { spawn_boxed(bell.rung()) });
    let joined = second.block_on(async {
        let joined = spawn_boxed(task);
        yield_now().await;
        joined
    });
    assert!(!joined.is_finished());
    bell.ring();
    first.tick().unwrap();
    second.tick().unwrap();
    assert!(joined.is_finished());
}

#[test]
fn a_hundred_runtimes_live_on_one_thread() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut runtimes: Vec<Runtime<'static>> =
        (0..100).map(|_| Runtime::owning(World::new())).collect();
    let bells: Vec<Bell> = (0..100).map(|_| Bell::default()).collect();
    let tasks: Vec<JoinHandle<()>> = runtimes
        .iter_mut()
        .zip(&bells)
        .map(|(rt, bell)| rt.block_on(async { spawn_boxed(bell.rung()) }))
        .collect();
    for bell in bells.iter().rev() {
        bell.ring();
    }
    for (number, (rt, task)) in runtimes.iter_mut().zip(tasks).enumerate() {
        rt.block_on(task);
        assert!(rt.stats().wakes_foreign > 0, "runtime {number}");
    }
}

#[test]
fn runtimes_are_dropped_in_any_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut runtimes: Vec<Runtime<'static>> =
        (0..9).map(|_| Runtime::owning(World::new())).collect();
    for at in [4, 0, 6, 2, 0] {
        drop(runtimes.remove(at));
        for rt in &mut runtimes {
            assert_eq!(rt.block_on(async { spawn_boxed(async { 7 }).await }), 7);
        }
    }
}

#[test]
fn wakes_of_the_outer_runtime_wait_for_the_end_of_a_nested_one() {
    block_on(async {
        let bell = Bell::default();
        let rung = spawn_boxed(bell.rung());
        yield_now().await;
        let mut world = World::new();
        let mut inner = Runtime::new(&mut world);
        inner.block_on(async {
            bell.ring();
            sleep(Duration::from_micros(10)).await;
            assert!(!rung.is_finished());
        });
        drop(inner);
        rung.await;
    });
}

#[test]
fn a_nested_runtime_leaves_the_outer_one_as_it_was() {
    block_on(async {
        let outer = WorldCtx::current();
        let mut world = World::new();
        let mut inner = Runtime::new(&mut world);
        inner.block_on(async {
            assert_ne!(WorldCtx::current(), outer);
            assert!(outer.try_with_world(|_| ()).is_err());
        });
        drop(inner);
        assert_eq!(WorldCtx::current(), outer);
        outer.with_world(|_| ());
        assert_eq!(spawn_boxed(async { 7 }).await, 7);
    });
}

#[test]
fn a_nested_runtime_that_panics_leaves_the_outer_one_as_it_was() {
    block_on(async {
        let message = panic_message(|| {
            in_a_runtime(async || panic!("inner"));
        });
        assert_eq!(message, "inner");
        WorldCtx::current().with_world(|_| ());
        sleep(Duration::from_micros(10)).await;
    });
}

#[test]
fn a_sleep_moves_to_the_runtime_that_polls_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut sleeping = in_a_runtime(async || {
        let mut sleeping = sleep(Duration::from_millis(2));
        assert!(poll_once(&mut sleeping).await.is_pending());
        sleeping
    });
    in_a_runtime(async || {
        assert!(poll_once(&mut sleeping).await.is_pending());
        sleeping.await;
    });
}

#[test]
fn a_sleep_leaves_the_wheel_of_a_runtime_that_is_still_alive() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut first, mut second) = (World::new(), World::new());
    let mut first = Runtime::new(&mut first);
    let mut second = Runtime::new(&mut second);
    let count = Count::new();
    let mut sleeping = first.block_on(async {
        let mut sleeping = sleep(Duration::from_millis(1));
        assert!(count.poll(&mut sleeping).is_pending());
        sleeping
    });
    second.block_on(async { assert!(poll_once(&mut sleeping).await.is_pending()) });
    assert_eq!(count.kept(), 0);
    second.block_on(sleeping);
}
