//! Wakes from other threads: none is lost, and none needs the runtime to be there.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{Bell, LIMIT_SECONDS, block_on, log, logged, rounds, watchdog};
use futures::{
    channel::{mpsc as async_mpsc, oneshot},
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use onbeat::{Runtime, ShutdownSignal, sleep, spawn_boxed, yield_now};

/// The waker of the task that runs.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

#[test]
fn another_thread_wakes_a_parked_runtime() {
    block_on(async {
        for round in 0..rounds(500) {
            let (sender, receiver) = oneshot::channel();
            let thread = thread::spawn(move || sender.send(round));
            assert_eq!(receiver.await, Ok(round));
            thread.join().unwrap().unwrap();
        }
    });
}

#[test]
fn another_thread_wakes_a_spinning_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on_busy(async {
        for round in 0..rounds(200) {
            let (sender, receiver) = oneshot::channel();
            let thread = thread::spawn(move || sender.send(round));
            assert_eq!(receiver.await, Ok(round));
            thread.join().unwrap().unwrap();
        }
    });
}

#[test]
fn many_threads_wake_many_tasks() {
    block_on(async {
        let mut receivers = Vec::new();
        let mut threads = Vec::new();
        for thread in 0..4 {
            let mut senders = Vec::new();
            for task in 0..500 {
                let (sender, receiver) = oneshot::channel();
                senders.push(sender);
                receivers.push(spawn_boxed(async move {
                    assert_eq!(receiver.await, Ok((thread, task)));
                }));
            }
            threads.push((thread, senders));
        }
        yield_now().await;
        let threads: Vec<_> = threads
            .into_iter()
            .map(|(thread, senders)| {
                thread::spawn(move || {
                    for (task, sender) in senders.into_iter().enumerate() {
                        sender.send((thread, task)).unwrap();
                    }
                })
            })
            .collect();
        for receiver in receivers {
            receiver.await;
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_stream_from_another_thread_arrives_whole_and_in_order() {
    block_on(async {
        let (sender, mut receiver) = async_mpsc::unbounded();
        let thread = thread::spawn(move || {
            for number in 0..20_000 {
                sender.unbounded_send(number).unwrap();
            }
        });
        for number in 0..20_000 {
            assert_eq!(receiver.next().await, Some(number));
        }
        assert_eq!(receiver.next().await, None);
        thread.join().unwrap();
    });
}

#[test]
fn combinators_hear_of_wakes_from_other_threads() {
    block_on(async {
        let bells: Vec<Bell> = (0..64).map(|_| Bell::default()).collect();
        let all = join_all(bells.iter().map(Bell::rung));
        let mut each: FuturesUnordered<_> = bells.iter().map(Bell::rung).collect();
        let all = spawn_boxed(async move { all.await.len() });
        let each = spawn_boxed(async move {
            let mut count = 0;
            while each.next().await.is_some() {
                count += 1;
            }
            count
        });
        let thread = thread::spawn(move || bells.iter().for_each(Bell::ring));
        assert_eq!((all.await, each.await), (64, 64));
        thread.join().unwrap();
    });
}

#[test]
fn two_threads_that_wake_one_task_lose_nothing() {
    let wakes = rounds(2_000);
    block_on(async {
        let (sent, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waker = own_waker().await;
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (waker, sent, heard) = (waker.clone(), sent.clone(), heard.clone());
                thread::spawn(move || {
                    for _ in 0..wakes {
                        let mine = sent.fetch_add(1, Ordering::SeqCst) + 1;
                        waker.wake_by_ref();
                        while heard.load(Ordering::SeqCst) < mine {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        poll_fn(|_| {
            heard.store(sent.load(Ordering::SeqCst), Ordering::SeqCst);
            if heard.load(Ordering::SeqCst) == 2 * wakes { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn wakes_of_one_task_between_two_looks_are_one_poll() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (sender, receiver) = mpsc::channel();
    rt.block_on(async {
        drop(spawn_boxed(poll_fn(move |cx| {
            sender.send(cx.waker().clone()).unwrap();
            Poll::<()>::Pending
        })));
        yield_now().await;
    });
    let waker = receiver.recv().unwrap();
    let polls = rt.stats().polls;
    thread::spawn(move || (0..1_000).for_each(|_| waker.wake_by_ref())).join().unwrap();
    rt.tick().unwrap();
    assert_eq!(rt.stats().polls - polls, 1);
    assert_eq!(rt.stats().wakes_foreign, 1);
}

#[test]
fn a_wake_on_the_own_thread_outside_a_turn_is_not_lost() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    let task = rt.block_on(async { spawn_boxed(bell.rung()) });
    bell.ring();
    rt.block_on(task);
}

#[test]
fn tasks_woken_together_are_polled_in_one_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    rt.block_on(async {
        for _ in 0..3_000 {
            drop(spawn_boxed(bell.rung()));
        }
    });
    assert_eq!(rt.task_count(), 3_000);
    thread::scope(|scope| {
        scope.spawn(|| bell.ring());
    });
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn tasks_woken_together_are_polled_in_the_order_of_their_slots_behind_those_already_ready() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    let bells: [Bell; 3] = std::array::from_fn(|_| Bell::default());
    rt.block_on(async {
        for (task, bell) in bells.iter().enumerate() {
            let rung = bell.rung();
            drop(spawn_boxed(async move {
                rung.await;
                log(format!("woken {task}"));
            }));
        }
        while bells.iter().any(|bell| bell.waiting() == 0) {
            yield_now().await;
        }
        // A turn polls three of these at most, so the others are ready when the wakes are drained.
        for task in 0..6 {
            drop(spawn_boxed(async move { log(format!("ready {task}")) }));
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| [2, 0, 1].map(|bell: usize| bells[bell].ring()));
    });
    while rt.task_count() > 0 {
        rt.tick().unwrap();
    }
    let ready = (0..6).map(|task| format!("ready {task}"));
    let woken = (0..3).map(|task| format!("woken {task}"));
    assert_eq!(logged(), ready.chain(woken).collect::<Vec<_>>());
}

#[test]
fn more_wakes_than_one_turn_takes_arrive_in_the_turns_after_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    rt.block_on(async {
        for _ in 0..20_000 {
            drop(spawn_boxed(bell.rung()));
        }
        while bell.waiting() < 20_000 {
            yield_now().await;
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| bell.ring());
    });
    let taken: Vec<u64> = (0..8)
        .map(|_| {
            let before = rt.stats().wakes_foreign;
            rt.tick().unwrap();
            rt.stats().wakes_foreign - before
        })
        .collect();
    assert_eq!((rt.task_count(), taken.iter().sum()), (0, 20_000), "{taken:?}");
    // 4,096 in a turn, and what is left of the word of 64 bits in which that number is reached.
    assert!(taken[..4].iter().all(|taken| (4_096..4_096 + 64).contains(taken)), "{taken:?}");
}

#[test]
fn a_loop_does_not_park_on_wakes_that_one_turn_left() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    rt.block_on(async {
        let tasks: Vec<_> = (0..10_000).map(|_| spawn_boxed(bell.rung())).collect();
        while bell.waiting() < tasks.len() {
            yield_now().await;
        }
        // All wakes are there before the loop looks, and more than it takes at once.
        thread::scope(|scope| {
            scope.spawn(|| bell.ring());
        });
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn what_came_for_a_runtime_that_has_gone_is_not_handed_to_the_next() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..50 {
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        let waker = rt.block_on(own_waker());
        drop(rt);
        waker.wake();
        // It takes over the number and the inbox, unless another test is quicker.
        let mut next = Runtime::new(&mut world);
        next.block_on(async { spawn_boxed(yield_now()).await });
        assert_eq!(next.stats().wakes_foreign, 0);
    }
}

#[test]
fn what_a_runtime_that_has_gone_had_begun_to_take_is_not_handed_to_the_next() {
    /// A runtime with many tasks that wait for ever, and the wakers of all of them.
    fn waiting(world: &mut World) -> (Runtime<'_>, Vec<Waker>) {
        let mut rt = Runtime::new(world);
        let wakers = Rc::new(RefCell::new(Vec::new()));
        rt.block_on(async {
            for _ in 0..10_000 {
                let wakers = wakers.clone();
                drop(spawn_boxed(poll_fn(move |cx| {
                    wakers.borrow_mut().push(cx.waker().clone());
                    Poll::<()>::Pending
                })));
            }
            while wakers.borrow().len() < 10_000 {
                yield_now().await;
            }
        });
        let wakers = wakers.take();
        (rt, wakers)
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let (mut rt, wakers) = waiting(&mut world);
    let wake = |wakers: &[Waker], apart| {
        thread::scope(|scope| {
            scope.spawn(|| wakers.iter().step_by(apart).for_each(Waker::wake_by_ref));
        });
    };
    wake(&wakers, 1);
    rt.tick().unwrap();
    drop(rt);
    // It takes over the number and the inbox, unless another test is quicker.
    let (mut next, wakers) = waiting(&mut world);
    wake(&wakers, 100);
    next.tick().unwrap();
    assert_eq!(next.stats().wakes_foreign, 100);
}

#[test]
fn wakers_work_while_and_after_their_runtime_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    for round in 0..120 {
        let barrier = Arc::new(Barrier::new(2));
        let stop = Arc::new(AtomicBool::new(false));
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        let wakers: Vec<Waker> = rt.block_on(async {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..=round % 100 {
                let sender = sender.clone();
                drop(spawn_boxed(async move {
                    sender.send(own_waker().await).unwrap();
                    sleep(Duration::from_secs(3600)).await;
                }));
            }
            yield_now().await;
            receiver.try_iter().collect()
        });
        let thread = thread::spawn({
            let (barrier, stop) = (barrier.clone(), stop.clone());
            move || {
                barrier.wait();
                while !stop.load(Ordering::Relaxed) {
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
                wakers.into_iter().for_each(Waker::wake);
            }
        });
        barrier.wait();
        if round % 3 == 0 {
            rt.tick().unwrap();
        }
        drop(rt);
        // The next runtime may take over the id, and the inbox, of the one that went.
        let mut next = Runtime::new(&mut world);
        next.block_on(async {
            let sum: u32 = spawn_boxed(async { 7 }).await;
            assert_eq!(sum, 7);
            sleep(Duration::from_micros(20)).await;
        });
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        next.tick().unwrap();
    }
}

#[test]
fn a_shutdown_handle_works_while_and_after_its_runtime_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..200 {
        let mut world = World::new();
        let rt = Runtime::new(&mut world);
        let handle = rt.shutdown_handle();
        let thread = thread::spawn({
            let handle = handle.clone();
            move || handle.shutdown()
        });
        drop(rt);
        thread.join().unwrap();
        assert!(handle.is_shutdown());
        Runtime::new(&mut world).block_on(async {
            assert!(!ShutdownSignal::current().is_shutdown(), "that was asked of another runtime");
        });
    }
}

#[test]
fn a_waker_is_compared_and_dropped_on_any_thread() {
    block_on(async {
        let waker = own_waker().await;
        let other = spawn_boxed(own_waker()).await;
        assert!(waker.will_wake(&waker.clone()));
        assert!(!waker.will_wake(&other));
        thread::spawn(move || drop((waker.clone(), waker, other))).join().unwrap();
    });
}
