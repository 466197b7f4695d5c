//! Breaks of a peer: wakes that are lost, that never end, or that cost a call to the system.

mod common;

use std::{
    cell::{Cell, RefCell},
    fs,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, parked_and_busy, poll_once, watchdog};
use futures::{
    SinkExt, StreamExt,
    channel::{mpsc as channel, oneshot},
};
use onbeat::{
    JoinHandle, Runtime, Tick, TickStats, WorldCtx, channel::local, sleep, spawn_boxed, yield_now,
};

/// The loop's counters, as a task sees them.
fn stats() -> onbeat::Stats {
    WorldCtx::current().with_world_ref(|world| world.resource::<TickStats>().get())
}

/// Sends 0 to `items`, each from another thread, into a channel that soon is full.
fn source(items: u64, start: &Arc<Barrier>) -> channel::Receiver<u64> {
    let (mut send, receive) = channel::channel(8);
    let start = start.clone();
    thread::spawn(move || {
        start.wait();
        futures::executor::block_on(async {
            for item in 0..items {
                send.send(item).await.expect("the receiver lives until the end");
            }
        });
    });
    receive
}

#[test]
fn two_foreign_sources_one_task() {
    const ITEMS: u64 = 10_000;
    parked_and_busy(|| async {
        let start = Arc::new(Barrier::new(2));
        let (mut first, mut second) = (source(ITEMS, &start), source(ITEMS, &start));
        let task = spawn_boxed(async move {
            let mut next = [0; 2];
            loop {
                let (source, item) = futures::select! {
                    item = first.next() => (0, item),
                    item = second.next() => (1, item),
                    complete => return next,
                };
                if let Some(item) = item {
                    assert_eq!(item, next[source], "an item is lost or out of order");
                    next[source] += 1;
                }
            }
        });
        assert_eq!(task.await, [ITEMS; 2]);
        WorldCtx::current().next_tick().await;
        // A wake is asked for by a send or a close, and a wake is a poll: more would be a live-lock.
        let polls = stats().polls;
        assert!(polls <= 4 * ITEMS + 100, "{polls} polls for {} items", 2 * ITEMS);
    });
}

#[test]
fn two_quiet_foreign_sources_let_the_loop_sleep() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let (hold, held) = mpsc::channel::<()>();
        let (first, second) = (Bell::default(), Bell::default());
        let (mut left, mut right) = (pin!(first.rung()), pin!(second.rung()));
        assert!(poll_once(left.as_mut()).await.is_pending());
        assert!(poll_once(right.as_mut()).await.is_pending());
        let ringer = {
            let (first, second) = (first.clone(), second.clone());
            thread::spawn(move || {
                // Both at once, and each more than once, before the task has seen one.
                for bell in [&first, &second, &first, &second] {
                    bell.ring();
                }
                hold.send(()).unwrap();
            })
        };
        held.recv().unwrap();
        ringer.join().unwrap();
        left.await;
        right.await;
        let before = stats().ticks;
        let (send, receive) = oneshot::channel();
        let sender = thread::spawn(move || {
            for _ in 0..1_000 {
                thread::yield_now();
            }
            send.send(()).unwrap();
        });
        receive.await.unwrap();
        sender.join().unwrap();
        let ticks = stats().ticks - before;
        assert!(ticks <= 3, "{ticks} ticks while nothing happened");
        sleep(Duration::from_millis(200)).await;
    });
    assert!(rt.stats().parks > 0);
}

/// A thread that completes the senders it is given, some at once and some after a while.
fn completer() -> mpsc::Sender<oneshot::Sender<u64>> {
    let (give, take) = mpsc::channel::<oneshot::Sender<u64>>();
    thread::spawn(move || {
        for (round, sender) in take.into_iter().enumerate() {
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            if round % 7 == 0 {
                thread::yield_now();
            }
            sender.send(round as u64).expect("the task waits");
        }
    });
    give
}

#[test]
fn foreign_thread_wakes_any_future() {
    parked_and_busy(|| async {
        let threads = [completer(), completer()];
        for round in 0..10_000 {
            let (send, receive) = oneshot::channel();
            threads[0].send(send).unwrap();
            assert_eq!(receive.await, Ok(round));
        }
        let tasks: Vec<JoinHandle<()>> = (0..50)
            .map(|task: usize| {
                let thread = threads[task % 2].clone();
                spawn_boxed(async move {
                    for _ in 0..100 {
                        let (send, receive) = oneshot::channel();
                        thread.send(send).unwrap();
                        receive.await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn foreign_thread_wakes_any_number_of_tasks_at_once() {
    parked_and_busy(|| async {
        // More than one turn takes in, and more than the first page of an inbox has bits for.
        let bell = Bell::default();
        let tasks: Vec<JoinHandle<()>> = (0..10_000)
            .map(|_| {
                let bell = bell.clone();
                spawn_boxed(async move { bell.rung().await })
            })
            .collect();
        while bell.waiting() < tasks.len() {
            yield_now().await;
        }
        let ringer = thread::spawn(move || bell.ring());
        for task in tasks {
            task.await;
        }
        ringer.join().unwrap();
    });
}

#[test]
fn foreign_thread_wakes_in_the_middle_of_a_poll() {
    parked_and_busy(|| async {
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            if polls == 1_000 {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            // The wake is over before this poll is, and nothing else wakes.
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        })
        .await;
    });
}

#[test]
fn foreign_thread_wakes_from_its_own_runtime_and_from_its_end() {
    thread_local! {
        static AT_THE_END: RefCell<Option<WakeOnDrop>> = const { RefCell::new(None) };
    }
    struct WakeOnDrop(Arc<AtomicBool>, Waker);
    impl Drop for WakeOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            self.1.wake_by_ref();
        }
    }
    parked_and_busy(|| async {
        for inside in [true, false] {
            let done = Arc::new(AtomicBool::new(false));
            let mut handed = false;
            poll_fn(|cx| {
                if done.load(Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if !handed {
                    handed = true;
                    let wakes = WakeOnDrop(done.clone(), cx.waker().clone());
                    thread::spawn(move || {
                        if inside {
                            common::block_on(async { drop(wakes) });
                        } else {
                            AT_THE_END.set(Some(wakes));
                        }
                    });
                }
                Poll::Pending
            })
            .await;
        }
    });
}

#[test]
fn the_loops_own_thread_wakes_between_ticks_and_from_another_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
    rt.block_on(async {
        let (polls, waker) = (polls.clone(), waker.clone());
        drop(spawn_boxed(poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            *waker.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
    });
    let wake = || waker.borrow().as_ref().unwrap().wake_by_ref();
    assert_eq!(polls.get(), 1);
    rt.tick().unwrap();
    assert_eq!(polls.get(), 1, "a tick polls nobody who was not woken");
    wake();
    rt.tick().unwrap();
    assert_eq!(polls.get(), 2);
    common::block_on(async { wake() });
    rt.tick().unwrap();
    assert_eq!(polls.get(), 3);
}

/// How often this thread has called `write`, where the system tells.
fn writes_of_this_thread() -> Option<u64> {
    let io = fs::read_to_string("/proc/thread-self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("syscw: "))?.parse().ok()
}

#[test]
fn root_wake_is_not_a_syscall() {
    const WAKES: u64 = 10_000;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let before = writes_of_this_thread();
    rt.block_on(async {
        for _ in 0..WAKES {
            yield_now().await;
        }
    });
    let stats = rt.stats();
    assert!(stats.ticks >= WAKES, "a root that wakes itself gets a turn for each wake");
    assert_eq!((stats.parks, stats.events, stats.wakes_foreign), (0, 0, 0));
    assert_eq!(writes_of_this_thread(), before);
}

#[test]
fn root_wake_by_a_task_is_not_a_syscall() {
    const WAKES: u64 = 10_000;
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let before = writes_of_this_thread();
    rt.block_on(async {
        let root: Rc<RefCell<Option<Waker>>> = Rc::default();
        let waker = root.clone();
        let task = spawn_boxed(async move {
            loop {
                yield_now().await;
                waker.borrow().as_ref().unwrap().wake_by_ref();
            }
        });
        let mut left = WAKES;
        poll_fn(|cx| {
            *root.borrow_mut() = Some(cx.waker().clone());
            left -= 1;
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        JoinHandle::<()>::abort(task);
    });
    let stats = rt.stats();
    assert!(stats.polls >= 2 * (WAKES - 1) && stats.polls <= 2 * WAKES + 10, "{stats:?}");
    assert_eq!((stats.parks, stats.events, stats.wakes_foreign), (0, 0, 0));
    assert_eq!(writes_of_this_thread(), before);
}

/// The waker of a task, for whoever is not a task.
#[derive(Resource, Default)]
struct Woken(Option<Waker>);

#[test]
fn no_wake_on_the_loops_own_thread_is_a_syscall() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Woken>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|woken: Res<Woken>| {
        woken.0.iter().for_each(Waker::wake_by_ref);
    });
    let polls = Rc::new(Cell::new(0));
    let before = writes_of_this_thread();
    rt.block_on(async {
        let (sender, receiver) = local::channel(1);
        let received = spawn_boxed(async move {
            let mut received = 0;
            while receiver.recv().await.is_some() {
                received += 1;
            }
            received
        });
        let counted = polls.clone();
        drop(spawn_boxed(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            WorldCtx::current().with_world(|world| {
                world.resource_mut::<Woken>().0 = Some(cx.waker().clone());
            });
            Poll::<()>::Pending
        })));
        for value in 0..100 {
            sender.send(value).await.unwrap();
            // The loop parks, so that it has been ready to be woken by a write.
            sleep(Duration::from_micros(50)).await;
        }
        drop(sender);
        assert_eq!(received.await, 100);
        // A wake of this runtime's task by a runtime inside.
        let outer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut inner = World::new();
        Runtime::new(&mut inner).block_on(async { outer.wake() });
    });
    let polls_before = polls.get();
    assert!(polls_before >= 100 && rt.stats().parks > 0, "{:?}", rt.stats());
    for _ in 0..100 {
        rt.world().resource::<Woken>().0.iter().for_each(Waker::wake_by_ref);
        rt.tick().unwrap();
    }
    assert!(polls.get() >= polls_before + 100);
    assert_eq!(writes_of_this_thread(), before);
}
