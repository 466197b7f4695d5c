//! Panics of the root, of tasks and of systems: which leave the loop, and what goes on.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    rc::Rc,
};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::{Bell, Drops, LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{JoinError, JoinHandle, OnTaskPanic, Runtime, Tick, WorldCtx, spawn_boxed, yield_now};

/// A task's panic without the report on standard error, which would hide that of a failing test.
fn quietly(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}

fn runtime(world: &mut World, policy: OnTaskPanic) -> Runtime<'_> {
    Runtime::builder(world).on_task_panic(policy).build()
}

#[test]
fn a_panic_of_the_root_leaves_block_on_and_the_tasks_stay() {
    let _guard = watchdog(LIMIT_SECONDS);
    for policy in [OnTaskPanic::Contain, OnTaskPanic::ContainAlways, OnTaskPanic::Propagate] {
        let mut world = World::new();
        let mut rt = runtime(&mut world, policy);
        let task = rt.block_on(async {
            spawn_boxed(async {
                for _ in 0..5 {
                    yield_now().await;
                }
                7
            })
        });
        let message = panic_message(|| {
            rt.block_on(async {
                yield_now().await;
                quietly("root");
            });
        });
        assert_eq!(message, "root");
        assert_eq!(rt.task_count(), 1);
        assert_eq!(rt.block_on(task), 7);
        assert_eq!(rt.stats().task_panics, 0, "the root is not a task");
    }
}

#[test]
fn a_panic_of_the_root_loses_no_waiter_of_the_same_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let resumed = Rc::new(Cell::new(0));
    let message = panic_message(|| {
        rt.block_on(async {
            for _ in 0..3 {
                let resumed = resumed.clone();
                drop(spawn_boxed(async move {
                    WorldCtx::current().next_tick().await;
                    resumed.set(resumed.get() + 1);
                }));
            }
            WorldCtx::current().next_tick().await;
            quietly("root");
        });
    });
    assert_eq!(message, "root");
    rt.tick().unwrap();
    assert_eq!(resumed.get(), 3);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_panic_of_the_root_loses_no_ready_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let ended = Rc::new(Cell::new(0));
    let message = panic_message(|| {
        rt.block_on(async {
            for _ in 0..10 {
                let ended = ended.clone();
                drop(spawn_boxed(async move { ended.set(ended.get() + 1) }));
            }
            quietly("root");
        });
    });
    assert_eq!(message, "root");
    rt.tick().unwrap();
    assert_eq!(ended.get(), 10);
}

#[test]
fn what_the_root_owned_is_dropped_once_and_may_use_the_world() {
    struct UsesWorld(Rc<Cell<usize>>);
    impl Drop for UsesWorld {
        fn drop(&mut self) {
            WorldCtx::current().with_world(|_| self.0.set(self.0.get() + 1));
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| quietly("system"));
    let drops = Rc::new(Cell::new(0));
    let owned = UsesWorld(drops.clone());
    let message = panic_message(|| {
        rt.block_on(async {
            let _owned = owned;
            pending::<()>().await;
        });
    });
    assert_eq!((message.as_str(), drops.get()), ("system", 1));
}

#[test]
fn a_system_that_panics_leaves_block_on_and_all_systems_run_again() {
    #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    struct Later;

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([Tick.intern(), Later.intern()]).build();
    let mut fails = 2;
    rt.schedule(Tick).add_systems(
        (
            || log("gate"),
            move || {
                if fails > 0 {
                    fails -= 1;
                    quietly("system");
                }
                log("middle");
            },
            || log("last"),
        )
            .chain(),
    );
    rt.schedule(Later).add_systems(|| log("later"));
    for _ in 0..2 {
        assert_eq!(panic_message(|| rt.block_on(async {})), "system");
        assert_eq!(logged(), ["gate"]);
    }
    rt.block_on(async {});
    assert_eq!(logged(), ["gate", "middle", "last", "later"]);
}

#[test]
fn a_system_that_panics_leaves_tick_and_the_tasks_stay() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async { spawn_boxed(async { WorldCtx::current().next_tick().await }) });
    let mut fails = true;
    rt.schedule(Tick).add_systems(move || {
        if std::mem::take(&mut fails) {
            quietly("system");
        }
    });
    assert_eq!(panic_message(|| drop(rt.tick())), "system");
    assert!(task.is_finished());
    rt.block_on(task);
}

#[test]
fn task_panic_is_contained() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let drops = Rc::new(Cell::new(0));
    rt.block_on(async {
        let counted = Drops::counted_by(&drops);
        let failing = spawn_boxed(async move {
            let _counted = counted;
            yield_now().await;
            quietly("task");
        });
        let neighbours: Vec<_> = (0..10).map(|number| spawn_boxed(async move { number })).collect();
        let error: JoinError = failing.join().await.unwrap_err();
        assert_eq!(error.panic_message(), Some("task"));
        for (number, neighbour) in neighbours.into_iter().enumerate() {
            assert_eq!(neighbour.await, number);
        }
    });
    assert_eq!(drops.get(), 1);
    assert_eq!(rt.stats().task_panics, 1);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn awaiting_a_task_that_panicked_panics_with_its_payload() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(async { spawn_boxed(async { resume_unwind(Box::new(42_u8)) }).await });
    }));
    assert_eq!(payload.unwrap_err().downcast_ref::<u8>(), Some(&42));
}

/// A task that panics inside a `with_world` closure.
async fn torn() {
    WorldCtx::current().with_world(|_| quietly("torn"));
}

#[test]
fn a_panic_out_of_a_world_closure_leaves_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let kept = RefCell::new(None);
    let message = panic_message(|| {
        rt.block_on(async {
            *kept.borrow_mut() = Some(spawn_boxed(torn()));
            pending::<()>().await;
        });
    });
    assert_eq!(message, "torn");
    let joined = rt.block_on(kept.take().unwrap().join());
    assert!(matches!(joined, Err(JoinError::Panicked(_))), "the handle learns of it: {joined:?}");
}

#[test]
fn a_panic_that_was_caught_inside_the_task_leaves_nothing() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        spawn_boxed(async {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                WorldCtx::current().with_world(|_| quietly("caught"));
            }));
            assert!(caught.is_err());
        })
        .await;
    });
    assert_eq!(rt.stats().task_panics, 0);
}

#[test]
fn contain_always_contains_a_panic_out_of_a_world_closure() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, OnTaskPanic::ContainAlways);
    rt.block_on(async {
        let error = spawn_boxed(torn()).join().await.unwrap_err();
        assert_eq!(error.panic_message(), Some("torn"));
        WorldCtx::current().with_world(|_| ());
    });
}

#[test]
fn propagate_lets_every_panic_leave_and_the_handle_still_learns_of_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, OnTaskPanic::Propagate);
    let kept = RefCell::new(None);
    let message = panic_message(|| {
        rt.block_on(async {
            *kept.borrow_mut() = Some(spawn_boxed(async { quietly("task") }));
            pending::<()>().await;
        });
    });
    assert_eq!(message, "task");
    let handle: JoinHandle<()> = kept.take().unwrap();
    let joined = rt.block_on(handle.join());
    assert!(matches!(joined, Err(JoinError::Panicked(_))), "{joined:?}");
}

#[test]
fn several_panics_of_one_round_leave_one_after_another() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world, OnTaskPanic::Propagate);
    rt.block_on(async {
        for message in ["first", "second", "third"] {
            drop(spawn_boxed(async move {
                yield_now().await;
                quietly(message);
            }));
        }
    });
    for message in ["first", "second", "third"] {
        assert_eq!(panic_message(|| drop(rt.tick())), message);
    }
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_joiner_that_panics_is_a_task_like_any_other() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        let inner = spawn_boxed(async { quietly("inner") });
        let outer = spawn_boxed(inner);
        let error = outer.join().await.unwrap_err();
        assert_eq!(error.panic_message(), Some("inner"));
    });
}

#[test]
fn a_panic_in_the_middle_of_a_batch_leaves_the_rest_in_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let bell = Bell::default();
        for number in 0..9 {
            let bell = bell.clone();
            drop(spawn_boxed(async move {
                bell.rung().await;
                log(number.to_string());
                if number % 3 == 1 {
                    panic_any(Box::new(number));
                }
            }));
        }
        yield_now().await;
        bell.ring();
        yield_now().await;
    });
    assert_eq!(logged(), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(rt.stats().task_panics, 3);
}

#[test]
fn a_task_that_panicked_is_never_polled_again() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let polls = Rc::new(Cell::new(0));
    rt.block_on({
        let polls = polls.clone();
        async move {
            let task: JoinHandle<()> = spawn_boxed(poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                quietly("task")
            }));
            for _ in 0..3 {
                yield_now().await;
            }
            assert!(task.is_finished());
        }
    });
    assert_eq!(polls.get(), 1);
}
