//! `shield`: what was begun goes on when its shield is dropped.

mod common;

use std::{
    cell::Cell,
    future::{pending, poll_fn, ready},
    mem::forget,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, Drops, LIMIT_SECONDS, block_on, panic_message, poll_once, watchdog};
use onbeat::{
    ClockMode, OnTaskPanic, Runtime, WorldCtx, race, scope, shield, sleep, spawn, timeout,
    yield_now,
};

/// What a shielded future does: takes `turns` turns, then counts itself as done.
async fn work(turns: usize, done: Rc<Cell<usize>>) -> usize {
    for _ in 0..turns {
        yield_now().await;
    }
    done.set(done.get() + 1);
    done.get()
}

async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

#[test]
fn a_shield_that_lives_gives_the_output() {
    let done = Rc::default();
    assert_eq!(block_on(async { shield(ready(7)).await }), 7);
    assert_eq!(block_on(async { shield(work(3, done)).await }), 1);
}

#[test]
fn what_was_begun_goes_on_from_each_poll() {
    for polls in 1..=4 {
        let done = Rc::new(Cell::new(0));
        block_on(async {
            let mut shielded = shield(work(4, done.clone()));
            for _ in 0..polls {
                assert!(poll_once(&mut shielded).await.is_pending());
                yield_now().await;
            }
            drop(shielded);
            turns(6).await;
        });
        assert_eq!(done.get(), 1, "dropped after {polls} polls");
        assert_eq!(Rc::strong_count(&done), 1);
    }
}

#[test]
fn what_was_never_polled_is_dropped() {
    let done = Rc::new(Cell::new(0));
    block_on(async {
        drop(shield(work(0, done.clone())));
        turns(3).await;
    });
    assert_eq!((done.get(), Rc::strong_count(&done)), (0, 1));
}

#[test]
fn a_loser_of_a_race_goes_on_behind_its_shield() {
    let done = Rc::new(Cell::new(0));
    block_on(async {
        let shielded = async { shield(work(3, done.clone())).await };
        let quick = async {
            yield_now().await;
            0
        };
        assert_eq!(race((shielded, quick)).await, 0);
        assert_eq!(done.get(), 0);
        turns(5).await;
        assert_eq!(done.get(), 1);
    });
}

#[test]
fn a_branch_goes_on_behind_its_shield_when_its_scope_ends() {
    let done = Rc::new(Cell::new(0));
    block_on(async {
        scope(async |s| {
            let done = done.clone();
            s.branch(async move { shield(work(3, done)).await });
            yield_now().await;
        })
        .await;
        assert_eq!(done.get(), 0);
        turns(5).await;
    });
    assert_eq!(done.get(), 1);
}

#[test]
fn a_task_that_is_aborted_leaves_its_shielded_work_as_a_task() {
    let done = Rc::new(Cell::new(0));
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let task = spawn(shield(work(5, done.clone())));
        turns(2).await;
        task.abort();
        turns(8).await;
    });
    assert_eq!((done.get(), rt.task_count()), (1, 0));
}

#[test]
fn a_timer_of_a_shielded_future_wakes_its_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let done = Rc::new(Cell::new(false));
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
        let flag = done.clone();
        let slow = shield(async move {
            sleep(Duration::from_secs(3)).await;
            flag.set(true);
        });
        assert!(timeout(Duration::from_secs(1), slow).await.is_err());
        sleep(Duration::from_millis(1_999)).await;
        assert!(!done.get());
        sleep(Duration::from_millis(2)).await;
        assert!(done.get());
    });
}

#[test]
fn the_output_of_a_shielded_future_that_nobody_awaits_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let held = Drops::counted_by(&drops);
        let mut shielded = shield(async move {
            yield_now().await;
            held
        });
        assert!(poll_once(&mut shielded).await.is_pending());
        drop(shielded);
        turns(3).await;
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_panic_behind_a_dropped_shield_is_that_of_a_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::ContainAlways).build();
    rt.block_on(async {
        let mut shielded = shield(async {
            yield_now().await;
            panic!("out of cheese");
        });
        assert!(poll_once(&mut shielded).await.is_pending());
        drop(shielded);
        turns(3).await;
    });
    assert_eq!(rt.stats().task_panics, 1);
}

#[test]
fn a_panic_in_a_shield_drops_the_future_and_leaves_no_task() {
    let drops = Rc::new(Cell::new(0));
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let held = Drops::counted_by(&drops);
        let mut shielded = Box::pin(shield(async move {
            let _held = held;
            panic!("out of cheese")
        }));
        let polled = poll_fn(|cx| {
            let polled = AssertUnwindSafe(|| shielded.as_mut().poll(cx));
            let result: Result<Poll<()>, _> = catch_unwind(polled);
            Poll::Ready(result.is_err())
        });
        assert!(polled.await);
        assert_eq!(drops.get(), 1);
        drop(shielded);
    });
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_shield_that_is_dropped_between_two_runs_goes_on_in_the_next() {
    let done = Rc::new(Cell::new(0));
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let shielded = rt.block_on(async {
        let mut shielded = shield(work(2, done.clone()));
        assert!(poll_once(&mut shielded).await.is_pending());
        [shielded]
    });
    drop(shielded);
    assert_eq!(rt.task_count(), 1);
    rt.block_on(turns(4));
    assert_eq!(done.get(), 1);
}

#[test]
fn where_the_runtime_has_gone_the_future_is_dropped() {
    let drops = Rc::new(Cell::new(0));
    let shielded = block_on(async {
        let held = Drops::counted_by(&drops);
        let mut shielded = shield(async move {
            pending::<()>().await;
            drop(held);
        });
        assert!(poll_once(&mut shielded).await.is_pending());
        [shielded]
    });
    assert_eq!(drops.get(), 0);
    drop(shielded);
    assert_eq!(drops.get(), 1);
}

#[test]
fn shields_of_tasks_that_the_runtime_drops_are_dropped_with_it() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let held = Drops::counted_by(&drops);
        drop(spawn(shield(async move {
            pending::<()>().await;
            drop(held);
        })));
        turns(2).await;
    });
    assert_eq!((drops.get(), Rc::strong_count(&drops)), (1, 1));
}

#[test]
fn a_detached_future_uses_the_world() {
    #[derive(Resource, Default)]
    struct Orders(u32);
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Orders>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let mut shielded = shield(async {
            yield_now().await;
            WorldCtx::current().with_world(|world| world.resource_mut::<Orders>().0 += 1);
        });
        assert!(poll_once(&mut shielded).await.is_pending());
        drop(shielded);
        turns(3).await;
    });
    assert_eq!(rt.world().resource::<Orders>().0, 1);
}

#[test]
fn a_leaked_shield_keeps_its_future() {
    let bell = Bell::default();
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let (rung, held) = (bell.rung(), Drops::counted_by(&drops));
        let mut shielded = shield(async move {
            rung.await;
            drop(held);
        });
        assert!(poll_once(&mut shielded).await.is_pending());
        forget(shielded);
        bell.ring();
        turns(2).await;
    });
    assert_eq!(drops.get(), 0);
}

#[test]
fn polling_after_the_end_panics_by_name() {
    let message = panic_message(|| {
        block_on(async {
            let mut shielded = shield(ready(7));
            assert_eq!(poll_once(&mut shielded).await, Poll::Ready(7));
            let _ = poll_once(&mut shielded).await;
        });
    });
    assert_eq!(message, "shield() is polled again after it has ended");
}

#[test]
fn a_shield_needs_a_runtime() {
    let message = panic_message(|| drop(shield(ready(()))));
    assert!(message.starts_with("shield() needs a running onbeat runtime"), "{message}");
}
