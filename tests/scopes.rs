//! `scope`: its children end with it, whichever way it ends.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn, ready},
    mem::forget,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, Count, Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{
    CancelReason, ClockMode, JoinError, Runtime, Stats, WorldCtx, channel, event_time, join, race,
    scope,
    scope::{Child, Scope},
    sleep, timeout, yield_now,
};

/// Logs its drop.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        log(format!("drop {}", self.0));
    }
}

/// Logs each poll; is never ready, and nobody wakes it.
async fn parked(name: &'static str) {
    let _named = Named(name);
    poll_fn(|_| {
        log(format!("poll {name}"));
        Poll::<()>::Pending
    })
    .await;
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The message of the panic with which a poll ends.
#[track_caller]
fn panic_of<F: Future + ?Sized>(future: Pin<&mut F>) -> String {
    panic_message(|| {
        let _ = poll(future);
    })
}

fn virtual_block_on<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(future)
}

#[test]
fn a_scope_gives_the_output_of_its_body() {
    assert_eq!(poll(pin!(scope(async |_| 7))), Poll::Ready(7));
    assert_eq!(poll(pin!(scope(|_| ready(8)))), Poll::Ready(8));
    let outside = String::from("borrowed");
    let borrowed: Poll<&str> = poll(pin!(scope(async |_| outside.as_str())));
    assert_eq!(borrowed, Poll::Ready("borrowed"));
}

#[test]
fn a_scope_waits_for_its_spawned_children() {
    let done = Cell::new(0);
    virtual_block_on(async {
        scope(async |s| {
            for seconds in [3, 1, 2] {
                let done = &done;
                drop(s.spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    done.set(done.get() + 1);
                }));
            }
        })
        .await;
    });
    assert_eq!(done.get(), 3);
}

#[test]
fn children_that_are_ready_at_once_need_one_poll_of_the_scope() {
    let sum = pin!(scope(async |s| {
        let [one, two] = [1, 2].map(|n| s.spawn(ready(n)));
        one.await + two.await
    }));
    assert_eq!(poll(sum), Poll::Ready(3));
}

#[test]
fn branches_are_dropped_in_order_when_the_body_and_the_spawned_have_ended() {
    let bell = Bell::default();
    let ring = bell.clone();
    let mut future = Box::pin(scope(async move |s| {
        s.branch(parked("a"));
        drop(s.spawn(async move { bell.rung().await }));
        s.branch(parked("b"));
        log("body ends");
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(logged(), ["body ends", "poll a", "poll b"]);
    ring.ring();
    assert!(poll(future.as_mut()).is_ready());
    assert_eq!(logged(), ["drop a", "drop b"], "at the end, before the future is dropped");
}

#[test]
fn a_branch_that_has_completed_is_dropped_at_once() {
    let drops = Rc::new(Cell::new(0));
    let held = Drops::counted_by(&drops);
    let mut future = Box::pin(scope(async move |s| {
        s.branch(async move { drop(held) });
        pending::<()>().await;
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_dropped_scope_drops_its_body_and_then_its_children_in_order() {
    let mut future = Box::pin(scope(async |s| {
        let _body = Named("body");
        s.branch(parked("a"));
        drop(s.spawn(parked("b")));
        pending::<()>().await;
    }));
    assert!(poll(future.as_mut()).is_pending());
    logged();
    drop(future);
    assert_eq!(logged(), ["drop body", "drop a", "drop b"]);
}

#[test]
fn each_future_is_dropped_once_wherever_the_scope_is_dropped() {
    for polls in 0..6 {
        let drops = Rc::new(Cell::new(0));
        let made = Rc::new(Cell::new(0));
        let held = || {
            made.set(made.get() + 1);
            Drops::counted_by(&drops)
        };
        {
            let mut future = Box::pin(scope(async |s: Scope<'_>| {
                let _body = held();
                for round in 0..4 {
                    let (one, other) = (held(), held());
                    let step = s.spawn(async move {
                        yield_now().await;
                        one
                    });
                    s.branch(async move {
                        pending::<()>().await;
                        drop(other);
                    });
                    s.rush((ready(held()), ready(held()))).await;
                    step.await;
                    if round == 2 {
                        drop(s.spawn(ready(held())));
                    }
                }
            }));
            let mut left = polls;
            while left > 0 && poll(future.as_mut()).is_pending() {
                left -= 1;
            }
        }
        assert_eq!(drops.get(), made.get(), "after {polls} polls");
        assert_eq!((Rc::strong_count(&drops), Rc::strong_count(&made)), (1, 1));
    }
}

#[test]
fn only_those_that_were_woken_are_polled_top_to_bottom() {
    let bells = [Bell::default(), Bell::default(), Bell::default()];
    let names = ["a", "b", "c"];
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        for (bell, name) in bells.iter().zip(names) {
            s.branch(async move {
                loop {
                    log(name);
                    bell.rung().await;
                }
            });
        }
        log("body");
        pending::<()>().await;
    }));
    assert!(count.poll(&mut future).is_pending());
    assert_eq!(logged(), ["body", "a", "b", "c"]);
    bells[2].ring();
    bells[0].ring();
    assert_eq!(count.wakes(), 1, "two wakes of children are one of the task");
    assert!(count.poll(&mut future).is_pending());
    assert_eq!(logged(), ["a", "c"]);
    assert!(count.poll(&mut future).is_pending());
    assert_eq!(logged(), [""; 0], "a poll for nothing polls nobody");
}

#[test]
fn children_that_wake_each_other_go_on_in_one_poll() {
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        let (ping, pings) = channel::local::channel(1);
        let (pong, pongs) = channel::local::channel(1);
        s.branch(async move {
            while let Some(number) = pings.recv().await {
                pong.send(number + 1).await.unwrap();
            }
        });
        let mut number = 0;
        for _ in 0..10 {
            ping.send(number).await.unwrap();
            number = pongs.recv().await.unwrap();
        }
        number
    }));
    assert_eq!(count.poll(&mut future), Poll::Ready(10));
    assert_eq!(count.wakes(), 0, "the task is not woken for what its own poll does");
}

#[test]
fn a_child_that_wakes_itself_is_polled_once_in_a_poll_of_the_scope() {
    let polls = Cell::new(0);
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        s.branch(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        pending::<()>().await;
    }));
    for polled in 1..4 {
        assert!(count.poll(&mut future).is_pending());
        assert_eq!((polls.get(), count.wakes()), (polled, polled));
    }
}

#[test]
fn a_body_that_wakes_itself_is_polled_once_in_a_poll_of_the_scope() {
    let polls = Cell::new(0);
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        s.branch(pending::<()>());
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    }));
    for polled in 1..4 {
        assert!(count.poll(&mut future).is_pending());
        assert_eq!((polls.get(), count.wakes()), (polled, polled));
    }
}

#[test]
fn two_that_wake_each_other_for_ever_do_not_hold_the_task() {
    let wakers = [const { RefCell::new(None::<Waker>) }; 2];
    let polls = Cell::new(0);
    let wakers = &wakers;
    let child = |own: usize| {
        let polls = &polls;
        poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            *wakers[own].borrow_mut() = Some(cx.waker().clone());
            if let Some(other) = &*wakers[1 - own].borrow() {
                other.wake_by_ref();
            }
            Poll::<()>::Pending
        })
    };
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        s.branch(child(0));
        s.branch(child(1));
        pending::<()>().await;
    }));
    assert!(count.poll(&mut future).is_pending());
    let in_one = polls.get();
    assert!((32..=64).contains(&in_one), "{in_one} polls");
    assert_eq!(count.wakes(), 1);
}

#[test]
fn a_child_that_starts_a_child_for_ever_does_not_hold_the_task() {
    fn again(s: Scope<'static>, started: Rc<Cell<usize>>) {
        s.clone().branch(async move {
            started.set(started.get() + 1);
            again(s, started);
        });
    }
    let started = Rc::new(Cell::new(0));
    let count = Count::new();
    let counted = started.clone();
    let mut future = Box::pin(scope(async move |s| {
        again(s, counted);
        pending::<()>().await;
    }));
    assert!(count.poll(&mut future).is_pending());
    assert_eq!((started.get(), count.wakes()), (32, 1));
    drop(future);
    assert_eq!(Rc::strong_count(&started), 1);
}

#[test]
fn a_panic_of_a_child_leaves_when_the_others_are_dropped() {
    let mut future = Box::pin(scope(async |s| {
        let _body = Named("body");
        s.branch(parked("a"));
        s.branch(parked("b"));
        drop(s.spawn(async { panic!("out of cheese") }));
        pending::<()>().await;
    }));
    assert_eq!(panic_of(future.as_mut()), "out of cheese");
    assert_eq!(logged(), ["poll a", "poll b", "drop body", "drop a", "drop b"]);
    let again = panic_of(future.as_mut());
    assert_eq!(again, "scope() is polled again after it has ended");
}

#[test]
fn a_panic_of_the_body_leaves_when_the_children_are_dropped() {
    let mut future = Box::pin(scope(async |s| {
        s.branch(parked("a"));
        yield_now().await;
        panic!("body");
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(panic_of(future.as_mut()), "body");
    assert_eq!(logged(), ["poll a", "drop a"]);
}

#[test]
fn destructors_that_panic_do_not_keep_others_from_being_dropped() {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            log(format!("drop {}", self.0));
            panic!("{}", self.0);
        }
    }
    let hold = async |name| {
        let _bomb = Bomb(name);
        pending::<()>().await;
    };
    let made = |ends: bool| {
        Box::pin(scope(async move |s: Scope<'_>| {
            s.branch(hold("one"));
            s.branch(hold("two"));
            s.branch(parked("three"));
            yield_now().await;
            if !ends {
                pending::<()>().await;
            }
        }))
    };
    let mut future = made(true);
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(panic_of(future.as_mut()), "one");
    assert_eq!(logged(), ["poll three", "drop one", "drop two", "drop three"]);
    let mut future = made(false);
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(panic_message(|| drop(future)), "one");
    assert_eq!(logged(), ["poll three", "drop one", "drop two", "drop three"]);
}

#[test]
fn polling_after_the_end_panics_by_name() {
    let mut future = Box::pin(scope(async |_| 7));
    assert_eq!(poll(future.as_mut()), Poll::Ready(7));
    let again = panic_of(future.as_mut());
    assert_eq!(again, "scope() is polled again after it has ended");
}

#[test]
fn children_borrow_locals_and_change_them() {
    let mut count = 0;
    let words = [String::from("one"), String::from("two")];
    let seen = RefCell::new(Vec::new());
    block_on(async {
        scope(async |s| {
            s.spawn(async {
                yield_now().await;
                count += 1;
            })
            .await;
            for word in &words {
                let seen = &seen;
                drop(s.spawn(async move { seen.borrow_mut().push(word.as_str()) }));
            }
        })
        .await;
    });
    assert_eq!((count, seen.into_inner()), (1, vec!["one", "two"]));
}

#[test]
fn children_start_children() {
    let total = Cell::new(0);
    virtual_block_on(async {
        scope(async |s: Scope<'_>| {
            let inner = s.clone();
            let total = &total;
            drop(s.spawn(async move {
                for n in [1, 2, 3] {
                    drop(inner.spawn(async move {
                        sleep(Duration::from_secs(n)).await;
                        total.set(total.get() + n);
                    }));
                }
            }));
        })
        .await;
    });
    assert_eq!(total.get(), 6);
}

#[test]
fn scopes_lie_in_scopes() {
    let order = virtual_block_on(async {
        scope(async |outer: Scope<'_>| {
            let inner = outer.spawn(scope(async |s: Scope<'_>| {
                s.branch(parked("inner branch"));
                sleep(Duration::from_secs(1)).await;
                log("inner ends");
            }));
            outer.branch(parked("outer branch"));
            inner.await;
            log("outer ends");
        })
        .await;
        logged()
    });
    let expected = ["inner ends", "drop inner branch", "outer ends", "drop outer branch"];
    let found: Vec<_> = order.into_iter().filter(|line| !line.starts_with("poll")).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_losers_of_a_rush_go_on_to_the_end_of_the_scope() {
    let log = RefCell::new(Vec::new());
    virtual_block_on(async {
        let child = async |seconds| {
            sleep(Duration::from_secs(seconds)).await;
            log.borrow_mut().push(seconds);
            seconds
        };
        let first = scope(async |s| {
            let first = s.rush((child(3), child(1), child(2))).await;
            assert_eq!(*log.borrow(), [1]);
            sleep(Duration::from_millis(1_500)).await;
            first
        });
        assert_eq!(first.await, 1);
        sleep(Duration::from_secs(9)).await;
    });
    assert_eq!(log.into_inner(), [1, 2]);
}

#[test]
fn a_rush_that_is_dropped_lets_its_children_go_on() {
    let done = Cell::new(0);
    virtual_block_on(async {
        scope(async |s| {
            let child = async || {
                sleep(Duration::from_secs(1)).await;
                done.set(done.get() + 1);
            };
            drop(s.rush([child(), child()]));
            drop(s.rush(vec![child()]));
            sleep(Duration::from_secs(2)).await;
        })
        .await;
    });
    assert_eq!(done.get(), 3);
}

#[test]
fn of_two_that_rush_the_upper_one_counts_and_both_outputs_are_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    let child = |n: u32| {
        let held = Drops::counted_by(&drops);
        async move { (n, held) }
    };
    let first = pin!(scope(async |s| s.rush((child(1), child(2))).await.0));
    assert_eq!(poll(first), Poll::Ready(1));
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_rush_of_nobody_is_refused() {
    let mut future = Box::pin(scope(async |s| s.rush(Vec::<std::future::Ready<()>>::new()).await));
    let message = panic_of(future.as_mut());
    assert!(message.starts_with("rush() needs at least one future"), "{message}");
}

#[test]
fn a_handle_that_left_its_scope_starts_nothing_and_awaits_nothing() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let (s, parked): (Scope<'_>, Child<()>) = {
            let slot = Rc::new(RefCell::new(None));
            let inner = slot.clone();
            scope(async move |s: Scope<'static>| {
                let child = s.spawn(pending::<()>());
                child.abort();
                *inner.borrow_mut() = Some((s, child));
            })
            .await;
            slot.take().expect("the body put it there")
        };
        assert!(parked.is_finished());
        let held = Drops::counted_by(&drops);
        let late = s.spawn(async move { drop(held) });
        assert_eq!(drops.get(), 1, "dropped at once");
        assert!(late.is_finished());
        let ended = late.join().await;
        assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Scope))));
        let ended = parked.join().await;
        assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Aborted))));
    });
}

#[test]
fn who_awaits_a_child_from_outside_hears_of_the_end_of_its_scope() {
    let count = Count::new();
    let slot = Rc::new(RefCell::new(None));
    let inner = slot.clone();
    let mut future = Box::pin(scope(async move |s: Scope<'static>| {
        *inner.borrow_mut() = Some(s.spawn(pending::<u8>()));
    }));
    assert!(poll(future.as_mut()).is_pending());
    let mut child = slot.take().unwrap();
    assert!(count.poll(&mut child).is_pending());
    drop(future);
    assert_eq!(count.wakes(), 1);
    let message = panic_of(Pin::new(&mut child));
    assert!(message.starts_with("awaited a child that was dropped"), "{message}");
}

#[test]
fn a_child_that_is_aborted_ends_in_its_scope_and_one_that_has_ended_is_left() {
    let drops = Rc::new(Cell::new(0));
    let held = Drops::counted_by(&drops);
    let value = block_on(scope(async |s| {
        let child = s.spawn(async move {
            pending::<()>().await;
            drop(held);
        });
        yield_now().await;
        child.abort();
        let ended = child.join().await;
        assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Aborted))));
        assert_eq!(drops.get(), 1);
        let done = s.spawn(ready(7));
        yield_now().await;
        done.abort();
        done.join().await.unwrap()
    }));
    assert_eq!(value, 7);
}

#[test]
fn a_child_may_abort_itself() {
    let drops = Rc::new(Cell::new(0));
    let held = Drops::counted_by(&drops);
    let slot = Rc::new(RefCell::new(None::<Child<()>>));
    let mut future = Box::pin(scope(async |s: Scope<'_>| {
        let own = slot.clone();
        let child = s.spawn(async move {
            let _held = held;
            own.borrow().as_ref().unwrap().abort();
            pending::<()>().await;
        });
        *slot.borrow_mut() = Some(child);
    }));
    assert!(poll(future.as_mut()).is_ready());
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_child_started_from_another_task_wakes_the_scope() {
    let done = Rc::new(Cell::new(false));
    block_on(async {
        let slot = Rc::new(RefCell::new(None));
        let inner = slot.clone();
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        let owner = onbeat::spawn(scope(async move |s: Scope<'static>| {
            *inner.borrow_mut() = Some(s);
            stopped.await.unwrap();
        }));
        yield_now().await;
        let s: Scope<'static> = slot.take().unwrap();
        let flag = done.clone();
        s.branch(async move {
            flag.set(true);
            stop.send(()).unwrap();
        });
        owner.await;
    });
    assert!(done.get());
}

#[test]
fn a_leaked_scope_keeps_its_children_and_wakes_nobody_to_harm() {
    let bell = Bell::default();
    let drops = Rc::new(Cell::new(0));
    let count = Count::new();
    let held = Drops::counted_by(&drops);
    let rung = bell.clone();
    let mut future = Box::pin(scope(async move |s: Scope<'static>| {
        s.branch(async move {
            let _held = held;
            rung.rung().await;
        });
        pending::<()>().await;
    }));
    assert!(count.poll(&mut future).is_pending());
    forget(future);
    bell.ring();
    bell.ring();
    assert_eq!((count.wakes(), drops.get()), (1, 0));
}

#[test]
fn a_scope_that_is_leaked_midway_leaves_its_task_and_its_timers_in_order() {
    let ended = virtual_block_on(async {
        let mut leaked = Box::pin(scope(async |s: Scope<'static>| {
            s.branch(async {
                loop {
                    sleep(Duration::from_secs(1)).await;
                }
            });
            pending::<()>().await;
        }));
        assert!(common::poll_once(leaked.as_mut()).await.is_pending());
        forget(leaked);
        let start = event_time();
        sleep(Duration::from_secs(5)).await;
        event_time() - start
    });
    assert_eq!(ended, Duration::from_secs(5));
}

#[test]
fn wakers_of_children_may_outlive_the_scope() {
    let slot = RefCell::new(None);
    let count = Count::new();
    let mut future = Box::pin(scope(async |s| {
        s.branch(poll_fn(|cx| {
            *slot.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        pending::<()>().await;
    }));
    assert!(count.poll(&mut future).is_pending());
    drop(future);
    assert_eq!(count.kept(), 0, "the waker of the task is not kept");
    slot.take().unwrap().wake();
    assert_eq!(count.wakes(), 0);
}

#[test]
fn the_waker_of_the_latest_poll_is_woken() {
    let bell = Bell::default();
    let [first, second] = [Count::new(), Count::new()];
    let mut future = Box::pin(scope(async |s| s.spawn(bell.rung()).await));
    assert!(first.poll(&mut future).is_pending());
    assert!(second.poll(&mut future).is_pending());
    assert_eq!(first.kept(), 0);
    bell.ring();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert!(first.poll(&mut future).is_ready());
}

#[test]
fn children_are_woken_from_other_threads_under_any_executor() {
    let talk = || {
        scope(async |s: Scope<'_>| {
            let mut sums = Vec::new();
            let mut threads = Vec::new();
            for _ in 0..4 {
                let (sender, mut receiver) = channel::mpsc::channel(1);
                threads.push(thread::spawn(move || {
                    for number in 0..500 {
                        futures::executor::block_on(sender.send(number)).unwrap();
                    }
                }));
                sums.push(s.spawn(async move {
                    let mut sum = 0_u64;
                    while let Some(number) = receiver.recv().await {
                        sum += number;
                    }
                    sum
                }));
            }
            assert_eq!(join(sums).await, [124_750; 4]);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        })
    };
    let _guard = watchdog(LIMIT_SECONDS);
    futures::executor::block_on(talk());
    block_on(talk());
}

#[test]
fn a_scope_in_a_race_under_a_timeout_leaves_no_timer() {
    virtual_block_on(async {
        let start = event_time();
        let session = scope(async |s| {
            s.branch(sleep(Duration::from_secs(900)));
            drop(s.spawn(sleep(Duration::from_secs(600))));
        });
        let limit = async {
            sleep(Duration::from_secs(2)).await;
        };
        assert!(timeout(Duration::from_secs(9), race((session, limit))).await.is_ok());
        assert_eq!(event_time() - start, Duration::from_secs(2));
    });
}

#[test]
fn children_use_the_world_also_when_they_are_dropped() {
    #[derive(Resource, Default)]
    struct Log(Vec<&'static str>);
    fn note(word: &'static str) {
        WorldCtx::current().with_world(|world| world.resource_mut::<Log>().0.push(word));
    }
    struct Notes(&'static str);
    impl Drop for Notes {
        fn drop(&mut self) {
            note(self.0);
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Log>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(scope(async |s| {
        s.branch(async {
            let _notes = Notes("dropped");
            note("polled");
            pending::<()>().await;
        });
        yield_now().await;
        note("body");
    }));
    assert_eq!(rt.world().resource::<Log>().0, ["polled", "body", "dropped"]);
}

#[test]
fn a_scope_in_a_task_that_is_aborted_drops_its_children() {
    let drops = Rc::new(Cell::new(0));
    let held = Drops::counted_by(&drops);
    block_on(async {
        let task = onbeat::spawn(scope(async move |s: Scope<'static>| {
            s.branch(async move {
                pending::<()>().await;
                drop(held);
            });
            pending::<()>().await;
        }));
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_scope_without_work_lets_the_loop_sleep() {
    let polls = virtual_block_on(async {
        let polls = Cell::new(0);
        scope(async |s| {
            for _ in 0..10 {
                s.branch(poll_fn(|_| {
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                }));
            }
            sleep(Duration::from_secs(3_600)).await;
        })
        .await;
        polls.get()
    });
    assert_eq!(polls, 10, "once each");
}

#[test]
fn stats_are_those_of_one_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(scope(async |s| {
        for _ in 0..100 {
            drop(s.spawn(ready(())));
        }
    }));
    let stats: Stats = rt.stats();
    assert_eq!(stats.polls, 1);
}
