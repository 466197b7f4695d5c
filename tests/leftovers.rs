//! What tasks leave when they end: entries in the queues, which cost nothing that others would miss, and
//! futures, which the reaper drops in order.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, log, logged, tick_number, watchdog};
use onbeat::{ClockMode, JoinHandle, Runtime, Tick, WorldCtx, sleep, spawn_boxed, yield_now};

/// A task that was spawned, and so is ready, and will not be polled.
fn void() {
    spawn_boxed(async { unreachable!("it was aborted before its first poll") }).abort();
}

/// A task that logs its one poll.
fn live(number: usize) {
    drop(spawn_boxed(async move { log(number.to_string()) }));
}

#[test]
fn entries_of_ended_tasks_take_nothing_from_the_budget() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).stages([]).tasks_per_cycle(5).build();
    rt.block_on(async {
        WorldCtx::current().next_tick().await;
        for number in 1..=11 {
            for _ in 0..number * 100 {
                void();
            }
            live(number);
        }
    });
    // One budget for the turn, one for the round after the stages.
    assert_eq!(logged(), ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    let polls = rt.stats().polls;
    rt.tick().unwrap();
    assert_eq!(logged(), ["11"]);
    assert_eq!(rt.stats().polls, polls + 1);
}

#[test]
fn a_budget_counts_every_poll_between_entries_of_ended_tasks() {
    let _guard = watchdog(LIMIT_SECONDS);
    for budget in 1..=6 {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).stages([]).tasks_per_cycle(budget).build();
        let spinners: Rc<Cell<u64>> = Rc::default();
        rt.block_on(async {
            for _ in 0..20 {
                void();
                let polls = spinners.clone();
                drop(spawn_boxed(poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    cx.waker().wake_by_ref();
                    void();
                    Poll::<()>::Pending
                })));
            }
        });
        for _ in 0..50 {
            let before = spinners.get();
            rt.tick().unwrap();
            // One budget for the turn, one for the round after the stages.
            assert_eq!(spinners.get() - before, 2 * budget as u64);
        }
    }
}

/// Runs `leave`, then sleeps: in how many ticks more the sleep is over. Two are one for what was ready and
/// one for the timer.
#[track_caller]
fn ticks_until_woken(budget: usize, leave: impl AsyncFnOnce()) -> u64 {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt =
        Runtime::builder(&mut world).clock(ClockMode::Virtual).tasks_per_cycle(budget).build();
    rt.block_on(async {
        leave().await;
        let tick = tick_number();
        sleep(Duration::from_secs(1)).await;
        tick_number() - tick
    })
}

#[test]
fn a_sleep_after_nothing_is_over_in_the_next_tick() {
    assert_eq!(ticks_until_woken(100, async || {}), 1);
    assert_eq!(ticks_until_woken(100, async || drop(spawn_boxed(yield_now()))), 2);
}

#[test]
fn a_task_that_wakes_itself_and_ends_starts_no_tick() {
    let leave = async || {
        drop(spawn_boxed(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        })));
    };
    assert_eq!(ticks_until_woken(100, leave), 1);
}

#[test]
fn a_task_that_wakes_itself_and_panics_starts_no_tick() {
    let leave = async || {
        drop(spawn_boxed(poll_fn(|cx| -> Poll<()> {
            cx.waker().wake_by_ref();
            std::panic::resume_unwind(Box::new("ended"))
        })));
    };
    assert_eq!(ticks_until_woken(100, leave), 1);
}

#[test]
fn a_ready_task_that_is_aborted_starts_no_tick() {
    let leave = async || {
        let yielding: Vec<JoinHandle<()>> = (0..3)
            .map(|_| {
                spawn_boxed(async {
                    loop {
                        yield_now().await;
                    }
                })
            })
            .collect();
        yield_now().await;
        // They were polled in this turn, and stand behind the mark.
        drop(spawn_boxed(async move { yielding.into_iter().for_each(JoinHandle::abort) }));
    };
    assert_eq!(ticks_until_woken(100, leave), 1);
}

#[test]
fn entries_that_the_budget_cut_off_start_no_tick() {
    // One poll in the turn, one before the stage and one after it: the root and two more in this tick, three in
    // the next, and what is left behind them in none.
    let leave = async || {
        for number in 1..=5 {
            live(number);
        }
        void();
    };
    assert_eq!(ticks_until_woken(1, leave), 2);
    assert_eq!(logged(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_task_that_ends_ahead_of_its_place_and_wakes_itself_starts_no_tick() {
    let leave = async || {
        drop(spawn_boxed(yield_now()));
        drop(spawn_boxed(async {
            // Its place is behind the mark, it is polled for the stage, and wakes itself again as it ends.
            let mut stage = Box::pin(WorldCtx::current().at(Tick));
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                stage.as_mut().poll(cx)
            })
            .await;
        }));
    };
    assert_eq!(ticks_until_woken(100, leave), 2, "one for the task that yields");
}

#[test]
fn a_live_task_behind_an_ended_one_still_has_its_tick() {
    let leave = async || {
        let ran: Rc<Cell<bool>> = Rc::default();
        let seen = ran.clone();
        let first = spawn_boxed(yield_now());
        drop(spawn_boxed(async move {
            yield_now().await;
            ran.set(true);
        }));
        drop(spawn_boxed(async move { first.abort() }));
        let asked = tick_number();
        while !seen.get() {
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(tick_number() - asked, 2, "one tick for the task, one for the timer");
    };
    assert_eq!(ticks_until_woken(100, leave), 1);
}

#[test]
fn a_wake_of_an_ended_task_whose_handle_is_held_starts_no_tick() {
    #[derive(Resource, Default)]
    struct Waiting(Option<Waker>);
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Waiting>();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.schedule(Tick).add_systems(|mut waiting: ResMut<Waiting>| {
        waiting.0.take().into_iter().for_each(Waker::wake);
    });
    let handle = rt.block_on(async {
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let stale = kept.clone();
        let ended = spawn_boxed(poll_fn(move |cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(7)
        }));
        yield_now().await;
        assert!(ended.is_finished());
        for _ in 0..3 {
            // After the last stage, so that what is woken here waits for the next tick.
            let mut begun = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut begun, true) {
                    return Poll::Ready(());
                }
                WorldCtx::current().with_world(|world| {
                    world.resource_mut::<Waiting>().0 = Some(cx.waker().clone());
                });
                Poll::Pending
            })
            .await;
            let tick = tick_number();
            stale.borrow().as_ref().unwrap().wake_by_ref();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(tick_number() - tick, 1);
        }
        ended
    });
    assert_eq!(rt.block_on(handle), 7);
}

/// A future that logs its number when it is dropped, then calls `then`.
fn logs_its_drop(number: usize, then: impl FnOnce() + 'static) -> impl Future<Output = ()> {
    struct Logs<F: FnOnce()>(usize, Option<F>);
    impl<F: FnOnce()> Drop for Logs<F> {
        fn drop(&mut self) {
            log(self.0.to_string());
            if let Some(then) = self.1.take() {
                then();
            }
        }
    }
    let logs = Logs(number, Some(then));
    async move {
        let _logs = logs;
        pending::<()>().await;
    }
}

#[test]
fn aborted_tasks_are_dropped_in_the_order_in_which_they_were_aborted() {
    common::block_on(async {
        let tasks = (0..6).map(|number| Some(spawn_boxed(logs_its_drop(number, || {}))));
        let mut tasks: Vec<_> = tasks.collect();
        yield_now().await;
        for number in [3, 0, 5, 1, 4, 2] {
            tasks[number].take().unwrap().abort();
        }
        assert_eq!(logged(), [""; 0], "not inside a poll");
        yield_now().await;
    });
    assert_eq!(logged(), ["3", "0", "5", "1", "4", "2"]);
}

#[test]
fn a_task_that_a_destructor_aborts_is_dropped_behind_those_aborted_before() {
    common::block_on(async {
        let late = spawn_boxed(logs_its_drop(9, || {}));
        let late = RefCell::new(Some(late));
        let first = spawn_boxed(logs_its_drop(1, move || late.take().unwrap().abort()));
        let second = spawn_boxed(logs_its_drop(2, || {}));
        yield_now().await;
        first.abort();
        second.abort();
        yield_now().await;
    });
    assert_eq!(logged(), ["1", "2", "9"]);
}

#[test]
fn what_tasks_kept_is_dropped_behind_their_futures_in_the_order_of_their_ends() {
    /// A system's local: it says which task it was of.
    #[derive(Default)]
    struct Kept(usize);
    impl Drop for Kept {
        fn drop(&mut self) {
            log(format!("kept by {}", self.0));
        }
    }
    common::block_on(async {
        let [first, second, third] = [1, 2, 3].map(|number| {
            let dropped = logs_its_drop(number, || {});
            spawn_boxed(async move {
                WorldCtx::current().run(move |mut kept: Local<Kept>| kept.0 = number).unwrap();
                dropped.await;
            })
        });
        yield_now().await;
        for task in [second, third, first] {
            task.abort();
        }
        yield_now().await;
    });
    assert_eq!(logged(), ["2", "3", "1", "kept by 2", "kept by 3", "kept by 1"]);
}

#[test]
fn a_ready_task_that_is_aborted_is_dropped_before_the_next_poll() {
    common::block_on(async {
        let unpolled = spawn_boxed(logs_its_drop(1, || {}));
        let yielding = spawn_boxed(async {
            let dropped = logs_its_drop(2, || {});
            yield_now().await;
            dropped.await;
        });
        let aborts = spawn_boxed(async move {
            unpolled.abort();
            yielding.abort();
            log("aborted");
        });
        drop(spawn_boxed(async { log("polled") }));
        aborts.await;
    });
    assert_eq!(logged(), ["aborted", "1", "2", "polled"]);
}

#[test]
fn a_task_that_is_aborted_between_ticks_is_dropped_before_any_is_polled() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let parked = rt.block_on(async {
        drop(spawn_boxed(async {
            yield_now().await;
            log("polled");
        }));
        spawn_boxed(logs_its_drop(1, || {}))
    });
    parked.abort();
    assert_eq!(logged(), [""; 0], "not where the World cannot be used");
    rt.tick().unwrap();
    assert_eq!(logged(), ["1", "polled"]);
}

#[test]
fn a_task_that_a_condition_aborts_is_not_polled_in_that_look() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let ctx = WorldCtx::current();
        let waits = spawn_boxed(async move {
            log("waits");
            ctx.at(Tick).await;
            log("polled");
        });
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let waker = kept.clone();
        let woken = spawn_boxed(poll_fn(move |cx| {
            log("waits");
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let mut tasks = Some([waits, woken]);
        // The look for the stage wakes the first, and asks this, which wakes the second.
        ctx.until(Tick, move |_| {
            waker.borrow().as_ref().unwrap().wake_by_ref();
            tasks.take().unwrap().into_iter().for_each(JoinHandle::abort);
            Some(())
        })
        .await;
        yield_now().await;
    });
    assert_eq!((logged(), rt.task_count()), (vec!["waits".to_owned(); 2], 0));
}

thread_local! {
    static DOOMED: RefCell<Option<JoinHandle<()>>> = const { RefCell::new(None) };
}

/// Aborts a task when it is woken: between polls, and before the reaper comes.
struct Aborts;

impl Wake for Aborts {
    fn wake(self: Arc<Self>) {
        DOOMED.take().expect("it is woken once").abort();
    }
}

/// A task that waits for `next` is aborted by a waker as the next tick begins.
#[track_caller]
fn check_aborted_by_a_waker<F: Future + 'static>(next: impl FnOnce() -> F) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let wait = rt.block_on(async {
        let mut wait = Box::pin(WorldCtx::current().next_tick());
        let waker = Waker::from(Arc::new(Aborts));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let next = next();
        DOOMED.set(Some(spawn_boxed(async move {
            log("waits");
            next.await;
            log("polled");
        })));
        wait
    });
    rt.tick().unwrap();
    assert_eq!((logged(), rt.task_count()), (vec!["waits".to_owned()], 0));
    drop(wait);
}

#[test]
fn a_ready_task_that_a_waker_aborts_between_polls_is_not_polled() {
    check_aborted_by_a_waker(yield_now);
}

#[test]
fn a_waiter_of_the_tick_that_a_waker_aborts_between_polls_is_not_polled() {
    check_aborted_by_a_waker(|| async { WorldCtx::current().next_tick().await });
}

#[test]
fn commands_that_a_root_leaves_when_a_panic_of_a_stage_ends_it_are_applied() {
    #[derive(Resource, Default)]
    struct Applied(usize);
    struct QueuesInDrop;
    impl Drop for QueuesInDrop {
        fn drop(&mut self) {
            WorldCtx::current().with_world(|world| {
                world.commands().queue(|world: &mut World| world.resource_mut::<Applied>().0 += 1);
            });
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Applied>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| std::panic::resume_unwind(Box::new("the stage")));
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rt.block_on(async {
            let _queues = QueuesInDrop;
            pending::<()>().await;
        });
    }));
    assert!(left.is_err());
    assert_eq!(rt.world().resource::<Applied>().0, 1);
}
