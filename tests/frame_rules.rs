//! When a task that awaits the next tick resumes, whatever woke it before.

mod common;

use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    io::Write,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, Count, LIMIT_SECONDS, block_on, log, logged, poll_once, tick_number, watchdog};
use futures::{
    future::{join_all, select},
    stream::{FuturesUnordered, StreamExt},
};
use onbeat::{NextTick, Runtime, Tick, WorldCtx, net::TcpStream, sleep, spawn_boxed, yield_now};
use proptest::prelude::*;

fn go(future: impl Future<Output = ()> + 'static) {
    drop(spawn_boxed(future));
}

fn next_tick() -> NextTick {
    WorldCtx::current().next_tick()
}

/// Waits for `woken`, then for the next tick, while another task is ready in every turn. The next tick
/// comes right after the one of the wake, and the waiter is ahead of the other task in it.
async fn check(woken: impl Future<Output = ()>) {
    let spinner = spawn_boxed(async {
        loop {
            log(format!("other in {}", tick_number()));
            yield_now().await;
        }
    });
    woken.await;
    let woken_in = tick_number();
    next_tick().await;
    let resumed_in = tick_number();
    log("resumed");
    yield_now().await;
    spinner.abort();
    assert_eq!(resumed_in, woken_in + 1);
    let log = logged();
    let resumed = log.iter().position(|line| line == "resumed").unwrap();
    let other = log.iter().position(|line| *line == format!("other in {resumed_in}"));
    assert!(other.is_some_and(|other| resumed < other), "{log:?}");
}

#[test]
fn next_tick_after_a_wake_by_a_task() {
    block_on(async {
        let bell = Bell::default();
        let rung = bell.rung();
        go(async move {
            for _ in 0..3 {
                yield_now().await;
            }
            bell.ring();
        });
        check(rung).await;
    });
}

#[test]
fn next_tick_after_a_wake_by_itself() {
    block_on(check(yield_now()));
}

#[test]
fn next_tick_after_a_timer() {
    block_on(async { check(sleep(Duration::from_micros(50))).await });
}

#[test]
fn next_tick_after_an_input_event() {
    block_on(async {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let mut stream = connect.await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut byte = [0];
        assert!(poll_once(stream.read(&mut byte)).await.is_pending());
        go(async move {
            yield_now().await;
            peer.write_all(b"x").unwrap();
            next_tick().await;
        });
        check(async { stream.read_exact(&mut byte).await.unwrap() }).await;
    });
}

#[test]
fn next_tick_after_a_wake_by_a_system() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|bell: Res<Bell>| bell.ring());
    rt.block_on(async { check(bell.rung()).await });
}

#[test]
fn next_tick_after_a_wake_by_an_observer() {
    #[derive(Event)]
    struct Rang;

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let bell = Bell::default();
    world.insert_resource(bell.clone());
    world.add_observer(|_: On<Rang>, bell: Res<Bell>| bell.ring());
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let rung = bell.rung();
        go(async {
            yield_now().await;
            WorldCtx::current().with_world(|world| world.trigger(Rang));
        });
        check(rung).await;
    });
}

#[test]
fn next_tick_after_a_wake_by_another_thread() {
    block_on(async {
        let bell = Bell::default();
        let rung = bell.rung();
        let thread = thread::spawn(move || bell.ring());
        check(rung).await;
        thread.join().unwrap();
    });
}

#[test]
fn a_next_tick_that_was_called_in_an_earlier_tick_is_ready() {
    block_on(async {
        let early = next_tick();
        yield_now().await;
        assert!(poll_once(early).await.is_ready());
    });
}

#[test]
fn a_next_tick_stays_pending_when_it_is_polled_again_in_its_tick() {
    block_on(async {
        let mut waiting = next_tick();
        for _ in 0..3 {
            assert!(poll_once(&mut waiting).await.is_pending());
        }
        let called_in = tick_number();
        waiting.await;
        assert_eq!(tick_number(), called_in + 1);
    });
}

#[test]
fn a_next_tick_through_futures_unordered_resumes_in_the_next_tick() {
    block_on(async {
        for _ in 0..10 {
            let called_in = tick_number();
            let mut all: FuturesUnordered<_> = (0..40).map(|_| next_tick()).collect();
            while all.next().await.is_some() {
                assert_eq!(tick_number(), called_in + 1);
            }
        }
    });
}

#[test]
fn a_next_tick_through_join_all_resumes_in_the_next_tick() {
    block_on(async {
        for count in [2, 100] {
            let called_in = tick_number();
            join_all((0..count).map(|_| next_tick())).await;
            assert_eq!(tick_number(), called_in + 1);
        }
    });
}

/// A waker of a combinator, which wakes the task it belongs to.
struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

#[test]
fn a_next_tick_through_somebody_elses_waker_is_ahead_of_other_ready_tasks() {
    block_on(async {
        let resumed = spawn_boxed(async {
            let mut waiting = pin!(next_tick());
            poll_fn(|cx| {
                let waker = Waker::from(Arc::new(Forward(cx.waker().clone())));
                waiting.as_mut().poll(&mut Context::from_waker(&waker))
            })
            .await;
            log("resumed");
        });
        for _ in 0..2 {
            log(format!("other in {}", tick_number()));
            yield_now().await;
        }
        resumed.await;
        assert_eq!(logged(), ["other in 1", "resumed", "other in 2"]);
    });
}

#[test]
fn a_dropped_next_tick_gives_up_its_place() {
    block_on(async {
        let count = Count::new();
        let mut waiting = next_tick();
        assert!(count.poll(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!(count.kept(), 0);
        sleep(Duration::ZERO).await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_dropped_next_tick_lets_the_loop_park() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let mut waiting = next_tick();
        assert!(poll_once(&mut waiting).await.is_pending());
        drop(waiting);
        sleep(Duration::from_millis(200)).await;
    });
    assert_eq!(rt.stats().ticks, 2);
    assert!(rt.stats().parks > 0);
}

#[test]
fn the_others_keep_their_order_when_one_is_dropped() {
    block_on(async {
        let mut waiting: Vec<_> = Vec::new();
        for name in 0..5 {
            let mut future = Box::pin(async move {
                next_tick().await;
                log(name.to_string());
            });
            assert!(poll_once(&mut future).await.is_pending());
            waiting.push(future);
        }
        drop(waiting.remove(1));
        drop(waiting.remove(2));
        let tasks: Vec<_> = waiting.into_iter().map(spawn_boxed).collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(logged(), ["0", "2", "4"]);
    });
}

#[test]
fn a_next_tick_moved_to_another_task_wakes_that_task() {
    block_on(async {
        let mut waiting = next_tick();
        assert!(poll_once(&mut waiting).await.is_pending());
        let called_in = tick_number();
        let task = spawn_boxed(async move {
            waiting.await;
            tick_number()
        });
        assert_eq!(task.await, called_in + 1);
    });
}

#[test]
fn a_next_tick_raced_with_a_timer_leaves_no_wake_behind() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..10 {
            let slow = sleep(Duration::from_secs(3600));
            select(next_tick(), slow).await;
        }
    });
    assert_eq!(rt.stats().ticks, 11);
    assert_eq!(rt.stats().polls, 11, "each tick polled the root once");
}

#[test]
fn two_waits_of_one_task_cost_one_poll() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        futures::future::join(next_tick(), next_tick()).await;
    });
    assert_eq!((rt.stats().ticks, rt.stats().polls), (2, 2));
}

#[test]
fn a_task_that_is_ready_and_waits_for_the_tick_is_polled_once_in_that_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let polls = Rc::new(Cell::new(0));
    rt.block_on({
        let polls = polls.clone();
        async move {
            go(async move {
                let mut waiting = pin!(next_tick());
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    cx.waker().wake_by_ref();
                    waiting.as_mut().poll(cx)
                })
                .await;
                poll_fn(|_| {
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                })
                .await;
            });
        }
    });
    assert_eq!(polls.get(), 1, "in the first tick");
    rt.tick().unwrap();
    // The poll that completed the wait goes on to the next future, and asks for one poll more.
    assert_eq!(polls.get(), 3);
    rt.tick().unwrap();
    assert_eq!(polls.get(), 4, "the wake by itself in the second tick");
    rt.tick().unwrap();
    assert_eq!(polls.get(), 4);
}

/// What a task does in one of its polls.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Wakes itself.
    SelfWake,
    /// Waits for the next tick.
    NextTick,
    /// Wakes another task.
    Wake(usize),
    /// Waits for the next turn's timer.
    Sleep,
}

fn step(tasks: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::SelfWake),
        Just(Step::NextTick),
        (0..tasks).prop_map(Step::Wake),
        Just(Step::Sleep),
    ]
}

/// Does two steps a poll and so may be queued, deferred, and waiting at once; counts what it was owed.
async fn act(me: usize, steps: Vec<Step>, bells: Rc<Vec<Bell>>, left: Rc<Vec<Cell<usize>>>) {
    let mut steps: VecDeque<Step> = steps.into();
    let mut waits: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![Box::pin(bells[me].rung())];
    poll_fn(move |cx| {
        waits.retain_mut(|wait| wait.as_mut().poll(cx).is_pending());
        for _ in 0..2 {
            match steps.pop_front() {
                None => {
                    left[me].set(0);
                    return Poll::Ready(());
                }
                Some(Step::SelfWake) => cx.waker().wake_by_ref(),
                Some(Step::NextTick) => waits.push(Box::pin(next_tick())),
                Some(Step::Wake(other)) => {
                    bells[other].ring();
                    cx.waker().wake_by_ref();
                }
                Some(Step::Sleep) => waits.push(Box::pin(sleep(Duration::ZERO))),
            }
            left[me].set(steps.len());
        }
        for wait in &mut waits {
            if wait.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        waits.retain_mut(|_| true);
        Poll::Pending
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every step of every task leaves a wake behind, so every tick brings each task that is left two
    /// steps further at least, unless the budget cuts it off.
    #[test]
    fn no_mix_of_wakes_loses_a_task(
        steps in proptest::collection::vec(proptest::collection::vec(step(6), 1..12), 6),
        budget in 1..40_usize,
    ) {
        let _guard = watchdog(LIMIT_SECONDS);
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).tasks_per_cycle(budget).build();
        let bells: Rc<Vec<Bell>> = Rc::new((0..6).map(|_| Bell::default()).collect());
        let left: Rc<Vec<Cell<usize>>> =
            Rc::new(steps.iter().map(|steps| Cell::new(steps.len())).collect());
        let total: usize = steps.iter().map(Vec::len).sum();
        rt.block_on(async {
            for (me, steps) in steps.into_iter().enumerate() {
                go(act(me, steps, bells.clone(), left.clone()));
            }
        });
        for _ in 0..=total {
            rt.tick().unwrap();
        }
        let left: Vec<usize> = left.iter().map(Cell::get).collect();
        prop_assert_eq!(rt.task_count(), 0, "steps left: {:?}", left);
    }
}
