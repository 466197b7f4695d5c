//! Breaks of a peer: tasks that starve, tear the loop down with them, outlive their abort, or give their
//! output twice.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    io::Write,
    net::SocketAddr,
    panic::panic_any,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::{
    resource::Resource,
    schedule::IntoScheduleConfigs,
    system::{NonSend, Res, ResMut},
    world::World,
};
use common::{
    Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, parked_and_busy, poll_once,
    tick_number, watchdog,
};
use futures::channel::oneshot;
use onbeat::{
    CancelReason, JoinError, JoinHandle, OnTaskPanic, Runtime, Tick, WorldCtx,
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

/// Panics when it is dropped, with itself as the payload so many times more.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            match self.0.checked_sub(1) {
                Some(left) => panic_any(Bomb(left)),
                None => panic!("a bomb went off"),
            }
        }
    }
}

#[test]
fn task_panic_is_contained() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let before = rt.block_on(async {
        let good = |task: u32| {
            spawn_boxed(async move {
                yield_now().await;
                task
            })
        };
        let mut bad = Vec::new();
        let mut before = Vec::new();
        for task in 0..100 {
            before.push(good(task));
            let witness = Drops::counted_by(&drops);
            bad.push(spawn_boxed(async move {
                let _witness = witness;
                if task % 2 == 0 {
                    yield_now().await;
                }
                panic!("task {task} fails");
            }));
        }
        for (task, bad) in bad.into_iter().enumerate() {
            let error: JoinError = bad.join().await.map(|never: ()| never).unwrap_err();
            assert_eq!(error.panic_message(), Some(&*format!("task {task} fails")));
        }
        before
    });
    assert_eq!(drops.get(), 100, "a task that panics is dropped, once");
    let sum = rt.block_on(async {
        let mut sum = 0;
        for task in before {
            sum += task.await;
        }
        sum + spawn_boxed(async { 1 }).await
    });
    assert_eq!(sum, 4_951);
    assert_eq!(rt.task_count(), 0);
    let stats = rt.stats();
    assert_eq!((stats.task_panics, stats.forgotten_payloads), (100, 0));
}

/// Runs `fail` between two tasks that must complete, then uses the runtime again. `ended` tasks end by
/// a panic, and `forgotten` panics are nobody's.
#[track_caller]
fn check_contained(what: &str, ended: u64, forgotten: u64, fail: impl FnOnce() + 'static) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let before = spawn_boxed(async { 1 });
        fail();
        let after = spawn_boxed(async { 2 });
        assert_eq!((before.await, after.await), (1, 2), "{what}");
        WorldCtx::current().next_tick().await;
        WorldCtx::current().next_tick().await;
    });
    assert_eq!(rt.task_count(), 0, "{what}");
    assert_eq!(rt.block_on(async { spawn_boxed(async { 3 }).await }), 3, "{what}");
    let stats = rt.stats();
    assert_eq!((stats.task_panics, stats.forgotten_payloads), (ended, forgotten), "{what}");
}

/// A future that is ready, or panics, in its first poll, and whose destructor panics.
struct Ends {
    panics: bool,
    _bomb: Bomb,
}

impl Future for Ends {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.panics, "the poll panics");
        Poll::Ready(())
    }
}

#[test]
fn a_panic_in_a_destructor_is_contained() {
    check_contained("of a future that completed", 1, 0, || {
        drop(spawn_boxed(Ends { panics: false, _bomb: Bomb(0) }));
    });
    check_contained("of a future that panicked", 1, 1, || {
        drop(spawn_boxed(Ends { panics: true, _bomb: Bomb(0) }));
    });
    check_contained("of an aborted task", 0, 1, || {
        let bomb = Bomb(0);
        spawn_boxed(async move { drop(bomb) }).abort();
    });
    check_contained("of an aborted task that waits", 0, 1, || {
        let waiting = spawn_boxed(async {
            let _bomb = Bomb(0);
            pending::<()>().await;
        });
        drop(spawn_boxed(async { waiting.abort() }));
    });
    check_contained("of an output that nobody takes", 0, 1, || {
        drop(spawn_boxed(async { Bomb(0) }));
    });
    check_contained("of an output whose handle is dropped later", 0, 1, || {
        let unread = spawn_boxed(async { Bomb(0) });
        drop(spawn_boxed(async move {
            yield_now().await;
            drop(unread);
        }));
    });
    check_contained("of an output that an abort finds", 0, 1, || {
        let unread = spawn_boxed(async { Bomb(0) });
        drop(spawn_boxed(async move {
            yield_now().await;
            unread.abort();
        }));
    });
}

#[test]
fn a_payload_that_panics_when_dropped_is_contained() {
    for bombs in 0..3 {
        check_contained("a payload that nobody takes", 1, 1, move || {
            drop(spawn_boxed(async move { panic_any(Bomb(bombs)) }));
        });
        check_contained("a payload whose handle is dropped later", 1, 1, move || {
            let unread = spawn_boxed(async move { panic_any(Bomb(bombs)) });
            drop(spawn_boxed(async move {
                yield_now().await;
                drop::<JoinHandle<()>>(unread);
            }));
        });
    }
}

struct WakePanics;

impl Wake for WakePanics {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("the waker panics");
    }
}

#[test]
fn a_waker_that_panics_is_contained() {
    check_contained("of who waits for a task", 0, 1, || {
        let mut waited = spawn_boxed(async {
            yield_now().await;
        });
        let waker = Waker::from(std::sync::Arc::new(WakePanics));
        assert!(Pin::new(&mut waited).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(spawn_boxed(async move {
            yield_now().await;
            yield_now().await;
            drop(waited);
        }));
    });
}

#[test]
fn a_panic_in_a_destructor_is_contained_when_the_runtime_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for bombs in 0..3 {
            let witness = Drops::counted_by(&drops);
            drop(spawn_boxed(async move {
                let _held = (Bomb(bombs), witness);
                pending::<()>().await;
            }));
        }
        yield_now().await;
    });
    drop(rt);
    assert_eq!(drops.get(), 3);
}

#[derive(Resource, Default)]
struct Half(u32);

/// A task panics inside a `with_world` closure, where it has done half of its work.
fn fail_in_the_world() -> JoinHandle<()> {
    spawn_boxed(async {
        WorldCtx::current().with_world(|world| {
            world.resource_mut::<Half>().0 += 1;
            panic!("half an update");
        });
    })
}

#[test]
fn a_panic_out_of_the_world_leaves_block_on_and_the_runtime_goes_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Half>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut half: ResMut<Half>| half.0 += 10);
    let mut handles = Vec::new();
    let message = panic_message(|| {
        rt.block_on(async {
            handles.push(fail_in_the_world());
            handles.push(spawn_boxed(async {}));
            pending::<()>().await;
        });
    });
    assert_eq!(message, "half an update");
    assert_eq!(rt.world().resource::<Half>().0, 1, "no stage ran over it");
    rt.block_on(async {
        let survivor = handles.pop().unwrap();
        survivor.await;
        let error = handles.pop().unwrap().join().await.unwrap_err();
        assert!(matches!(error, JoinError::Panicked(_)));
    });
    assert_eq!(rt.task_count(), 0);
    assert!(rt.world().resource::<Half>().0 > 10);
}

#[test]
fn what_a_panic_does_is_the_owners_choice() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Half>();
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::ContainAlways).build();
    rt.block_on(async { fail_in_the_world().join().await.unwrap_err() });
    drop(rt);
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::Propagate).build();
    let message = panic_message(|| {
        rt.block_on(async { spawn_boxed(async { panic!("any panic") }).await });
    });
    assert_eq!(message, "any panic");
    assert_eq!(rt.block_on(async { spawn_boxed(async { 1 }).await }), 1);
}

#[test]
fn the_roots_panic_leaves_its_tasks_and_its_runtime_whole() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (task, drops) = (Cell::new(None::<JoinHandle<i32>>), Rc::new(Cell::new(0)));
    let message = panic_message(|| {
        rt.block_on(async {
            let _witness = Drops::counted_by(&drops);
            task.set(Some(spawn_boxed(async {
                yield_now().await;
                yield_now().await;
                5
            })));
            yield_now().await;
            panic!("the root fails");
        });
    });
    assert_eq!((&*message, drops.get()), ("the root fails", 1));
    assert_eq!(rt.block_on(task.take().unwrap()), 5);
    assert_eq!((rt.task_count(), rt.stats().task_panics), (0, 0));
}

#[test]
fn a_stages_panic_leaves_its_systems_and_its_runtime_whole() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Half(0));
    let mut rt = Runtime::new(&mut world);
    let count = |mut half: ResMut<Half>| half.0 += 1;
    let fail = |half: Res<Half>| assert_ne!(half.0 % 10, 2, "the stage fails");
    rt.schedule(Tick).add_systems((count, fail).chain());
    rt.tick().unwrap();
    for _ in 0..3 {
        let before = rt.world().resource::<Half>().0;
        rt.world_mut().resource_mut::<Half>().0 = before - before % 10 + 1;
        let message = panic_message(|| rt.tick().unwrap());
        assert!(message.contains("the stage fails"), "{message}");
        let failed = rt.world().resource::<Half>().0;
        rt.tick().unwrap();
        assert_eq!(rt.world().resource::<Half>().0, failed + 1, "no system is skipped afterwards");
    }
    assert_eq!(rt.block_on(async { spawn_boxed(async { 1 }).await }), 1);
}

#[test]
fn join_handle_polled_again() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let witness = Drops::counted_by(&drops);
        let mut handle = spawn_boxed(async { witness });
        let output = (&mut handle).await;
        let again = poll_again(&mut handle);
        assert!(again.contains("JoinHandle is not polled again"), "{again}");
        assert_eq!(drops.get(), 0, "the output is still its owner's");
        assert!(handle.is_finished());
        drop(output);
        assert_eq!(drops.get(), 1);
        let third = poll_again(&mut handle);
        assert_eq!(again, third);
        // Others use the memory by now.
        let others: Vec<_> = (0..10).map(|task| spawn_boxed(async move { task })).collect();
        assert_eq!(poll_again(&mut handle), again);
        handle.abort();
        for (task, other) in others.into_iter().enumerate() {
            assert_eq!(other.await, task);
        }
    });
    assert_eq!(drops.get(), 1, "the output is dropped once");
}

/// Polls what has been ready, and gives the panic's message.
fn poll_again<F: Future + Unpin>(future: &mut F) -> String {
    panic_message(|| {
        let _ = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
    })
}

#[test]
fn join_handle_polled_again_after_a_panic_or_through_join() {
    let drops = Rc::new(Cell::new(0));
    block_on(async {
        let witness = Drops::counted_by(&drops);
        let mut join = spawn_boxed(async { witness }).join();
        drop((&mut join).await.unwrap());
        assert!(poll_again(&mut join).contains("not polled again"));

        let mut join = spawn_boxed(async { panic!("once") }).join();
        let error: Result<(), JoinError> = (&mut join).await;
        assert_eq!(error.unwrap_err().panic_message(), Some("once"));
        assert!(poll_again(&mut join).contains("not polled again"));

        let mut handle = spawn_boxed(async { panic!("twice") });
        yield_now().await;
        assert_eq!(poll_again::<JoinHandle<()>>(&mut handle), "twice", "the task's own panic");
        assert!(poll_again(&mut handle).contains("not polled again"));
    });
    assert_eq!(drops.get(), 1);
}

/// A parked task, what it holds, and a receiver that hears when it lets go.
fn parked(drops: &Rc<Cell<usize>>) -> (JoinHandle<()>, oneshot::Receiver<()>) {
    let (witness, (hold, heard)) = (Drops::counted_by(drops), oneshot::channel());
    let task = spawn_boxed(async move {
        let _held = (witness, hold);
        pending::<()>().await;
    });
    (task, heard)
}

#[test]
fn abort_of_parked_task_is_prompt() {
    parked_and_busy(|| async {
        let drops = Rc::new(Cell::new(0));
        let (task, heard) = parked(&drops);
        yield_now().await;
        let aborter = {
            let drops = drops.clone();
            spawn_boxed(async move {
                task.abort();
                assert_eq!(drops.get(), 0, "its destructor does not run inside this poll");
                tick_number()
            })
        };
        let looker = {
            let drops = drops.clone();
            spawn_boxed(async move { (drops.get(), tick_number()) })
        };
        let listener = spawn_boxed(async move {
            assert!(heard.await.is_err(), "what the task held is free");
            tick_number()
        });
        let tick = aborter.await;
        assert_eq!(looker.await, (1, tick), "the next poll of the same tick finds it dropped");
        assert_eq!(listener.await, tick, "and who waited for what it held acts in that tick");
    });
}

#[test]
fn abort_of_parked_task_closes_its_sockets() {
    parked_and_busy(|| async {
        let (outside, mut inside) = socket_pair().await;
        let task = spawn_boxed(async move {
            let _ = inside.read(&mut [0]).await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        // It blocks, if the socket is still open, and the watchdog barks.
        assert_eq!(std::io::Read::read(&mut &outside, &mut [0]).unwrap(), 0);
    });
}

#[test]
fn an_aborted_task_is_never_polled_again() {
    block_on(async {
        let woken = Rc::new(RefCell::new(None::<Waker>));
        let seen = woken.clone();
        let task = spawn_boxed(poll_fn(move |cx| {
            log("polled");
            *seen.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
        assert_eq!(logged(), ["polled"]);
        let wake = || woken.borrow().as_ref().unwrap().wake_by_ref();
        wake(); // Ready, and ahead of everything that this poll does later.
        task.abort();
        wake();
        yield_now().await;
        wake();
        yield_now().await;
        assert_eq!(logged(), [""; 0]);
    });
}

#[test]
fn a_task_may_abort_itself() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for ends in [false, true] {
            let own: Rc<Cell<Option<JoinHandle<()>>>> = Rc::default();
            let (witness, taken) = (Drops::counted_by(&drops), own.clone());
            own.set(Some(spawn_boxed(async move {
                let _witness = witness;
                taken.take().unwrap().abort();
                if !ends {
                    yield_now().await;
                    unreachable!("an aborted task is not polled again");
                }
            })));
            yield_now().await;
            yield_now().await;
        }
    });
    assert_eq!((drops.get(), rt.task_count()), (2, 0));
    assert_eq!((rt.stats().task_panics, rt.stats().forgotten_payloads), (0, 0));
}

#[test]
fn aborts_leave_nothing_behind() {
    let _guard = watchdog(LIMIT_SECONDS);
    let drops = Rc::new(Cell::new(0));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..1_000 {
            let (task, _heard) = parked(&drops);
            yield_now().await;
            task.abort();
        }
        yield_now().await;
    });
    assert_eq!((drops.get(), rt.task_count()), (1_000, 0));
    assert_eq!(rt.stats().forgotten_payloads, 0, "something panicked in the reaper");
    let parks = rt.stats().parks;
    rt.block_on(async { sleep(Duration::from_millis(2)).await });
    assert!(rt.stats().parks > parks, "a loop that has nothing to do sleeps");
}

/// Uses the World in its destructor.
struct LastWord;

impl Drop for LastWord {
    fn drop(&mut self) {
        WorldCtx::current().with_world(|world| world.resource_mut::<Half>().0 += 1);
    }
}

#[test]
fn an_abort_inside_the_world_drops_the_future_outside() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Half>();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let speaker = || {
            spawn_boxed(async {
                let _last = LastWord;
                pending::<()>().await;
            })
        };
        let (in_closure, in_system) = (speaker(), speaker());
        yield_now().await;
        WorldCtx::current().with_world(|world| {
            in_closure.abort();
            assert_eq!(world.resource::<Half>().0, 0);
            world.insert_non_send(Doomed(Cell::new(Some(in_system))));
        });
    });
    rt.schedule(Tick).add_systems(|doomed: NonSend<Doomed>| {
        if let Some(task) = doomed.0.take() {
            task.abort();
        }
    });
    assert_eq!(rt.world().resource::<Half>().0, 1);
    rt.tick().unwrap();
    assert_eq!(rt.world().resource::<Half>().0, 2);
    assert_eq!((rt.task_count(), rt.stats().forgotten_payloads), (0, 0));
}

/// A task that a system ends.
struct Doomed(Cell<Option<JoinHandle<()>>>);

#[test]
fn a_cancelled_task_says_so() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async { spawn_boxed(pending::<()>()) });
    drop(rt);
    let cancelled = futures::executor::block_on(task.join());
    assert!(matches!(cancelled, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
}
