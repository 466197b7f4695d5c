//! Breaks of a peer: tasks that are ready and are never polled.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::Write,
    net::SocketAddr,
    rc::Rc,
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{LIMIT_SECONDS, parked_and_busy, poll_once, watchdog};
use futures::channel::oneshot;
use onbeat::{
    JoinHandle, Runtime, WorldCtx,
    net::{TcpListener, TcpStream},
    sleep, spawn_boxed, yield_now,
};

type Counts = Rc<[Cell<u64>]>;

/// A task that wakes itself in every poll, and counts them.
fn spinner(polls: &Counts, task: usize) -> impl Future<Output = ()> + 'static {
    let polls = polls.clone();
    poll_fn(move |cx| {
        polls[task].set(polls[task].get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Self-waking tasks, under a budget, are polled in turn: none is ever two polls ahead of another.
#[track_caller]
fn check_fairness(tasks: usize, tasks_per_cycle: usize) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(tasks_per_cycle).build();
    let polls: Counts = (0..tasks).map(|_| Cell::new(0)).collect();
    rt.block_on(async {
        for task in 0..tasks {
            drop(spawn_boxed(spinner(&polls, task)));
        }
    });
    let least = |polls: &Counts| polls.iter().map(Cell::get).min().unwrap();
    let most = |polls: &Counts| polls.iter().map(Cell::get).max().unwrap();
    let mut ticks = 0;
    while least(&polls) < 20 {
        rt.tick().unwrap();
        ticks += 1;
        assert!(most(&polls) <= least(&polls) + 1, "{tasks} tasks, {tasks_per_cycle} a turn");
        let enough = 20 * tasks.div_ceil(tasks_per_cycle);
        assert!(ticks <= enough, "{tasks} tasks, {tasks_per_cycle} a turn, {ticks} ticks");
    }
}

#[test]
fn self_waking_tasks_do_not_starve() {
    for tasks in [1, 64, 65, 200, 5_000] {
        check_fairness(tasks, 4_096);
    }
    for tasks_per_cycle in [1, 2, 63, 64, 65, 99, 100] {
        check_fairness(100, tasks_per_cycle);
    }
}

#[test]
fn a_task_that_wakes_itself_is_polled_once_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let polls: Counts = (0..100).map(|_| Cell::new(0)).collect();
    rt.block_on(async {
        for task in 0..polls.len() {
            drop(spawn_boxed(spinner(&polls, task)));
        }
    });
    for tick in 2..=50 {
        rt.tick().unwrap();
        assert!(polls.iter().all(|polls| polls.get() == tick), "tick {tick}");
    }
}

async fn socket_pair() -> (std::net::TcpStream, TcpStream) {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let outside = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (outside, listener.accept().await.unwrap().0)
}

#[test]
fn self_waking_tasks_do_not_starve_timers_sockets_or_threads() {
    parked_and_busy(|| async {
        let polls: Counts = (0..5_000).map(|_| Cell::new(0)).collect();
        let spinners: Vec<JoinHandle<()>> =
            (0..polls.len()).map(|task| spawn_boxed(spinner(&polls, task))).collect();
        sleep(Duration::from_millis(1)).await;
        let (mut outside, mut inside) = socket_pair().await;
        let mut byte = [0];
        assert!(poll_once(inside.read(&mut byte)).await.is_pending());
        outside.write_all(b"x").unwrap();
        assert_eq!(inside.read(&mut byte).await.unwrap(), 1);
        let (send, receive) = oneshot::channel();
        thread::spawn(move || send.send(7));
        assert_eq!(receive.await, Ok(7));
        WorldCtx::current().next_tick().await;
        assert!(polls.iter().all(|polls| polls.get() > 0));
        spinners.into_iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn two_tasks_that_wake_each_other_for_ever_do_not_starve_the_rest() {
    parked_and_busy(|| async {
        let wakers: Rc<RefCell<[Option<Waker>; 2]>> = Rc::default();
        let players = [0, 1].map(|player: usize| {
            let wakers = wakers.clone();
            spawn_boxed(poll_fn(move |cx| {
                wakers.borrow_mut()[player] = Some(cx.waker().clone());
                if let Some(other) = &wakers.borrow()[1 - player] {
                    other.wake_by_ref();
                }
                Poll::<()>::Pending
            }))
        });
        for _ in 0..3 {
            yield_now().await;
            sleep(Duration::from_micros(200)).await;
            spawn_boxed(async { WorldCtx::current().next_tick().await }).await;
        }
        players.into_iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn tasks_that_are_spawned_late_and_many_are_all_polled() {
    // The queues grow in the middle of a round, after they have turned over many times.
    for rounds in [0, 1, 255, 1_000, 10_000] {
        parked_and_busy(|| async move {
            for _ in 0..rounds {
                yield_now().await;
            }
            let before = spawn_boxed(yield_now());
            let tasks: Vec<_> = (0..1_000).map(|task| spawn_boxed(async move { task })).collect();
            for (task, handle) in tasks.into_iter().enumerate() {
                assert_eq!(handle.await, task);
            }
            before.await;
            // And the loop goes on as before.
            for _ in 0..10 {
                yield_now().await;
                spawn_boxed(async {}).await;
            }
        });
    }
}
