//! Breaks of a peer: of those who wait for shutdown, one is woken, or none.
//!
//! Signals are the process's, so the tests that send one take turns, and every runtime in the process
//! that listens hears it.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::Cell,
    env,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::{self, Command, Stdio},
    rc::Rc,
    sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
    thread,
};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, poll_once, watchdog};
use futures::future::join_all;
use onbeat::{JoinHandle, Runtime, ShutdownSignal, spawn_boxed, yield_now};

static TURN: Mutex<()> = Mutex::new(());

fn take_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to this process.
fn raise(signal: &str) {
    let id = process::id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Tasks that wait for the shutdown, and count that they heard of it.
fn waiters(count: usize, heard: &Rc<Cell<usize>>) -> Vec<JoinHandle<()>> {
    let waiter = |_| {
        let heard = heard.clone();
        spawn_boxed(async move {
            ShutdownSignal::current().await;
            heard.set(heard.get() + 1);
        })
    };
    (0..count).map(waiter).collect()
}

/// Every way to wait at once; `ask` is called when all of them wait.
async fn everybody_hears(ask: impl FnOnce()) {
    let heard = Rc::new(Cell::new(0));
    let tasks = waiters(100, &heard);
    // Several in one task, which is woken through the wakers of a combinator.
    let combined = spawn_boxed(async {
        let signals: Vec<_> = (0..50).map(|_| ShutdownSignal::current()).collect();
        join_all(signals).await.len()
    });
    // One that gave up before, and one whose waker changed.
    let mut gave_up = ShutdownSignal::current();
    assert!(poll_once(&mut gave_up).await.is_pending());
    let (mut moved, before) = (ShutdownSignal::current(), Count::new());
    assert!(before.poll(&mut moved).is_pending());
    let moved = spawn_boxed(moved);
    yield_now().await;
    drop(gave_up);
    ask();
    ShutdownSignal::current().await;
    for task in tasks {
        task.await;
    }
    moved.await;
    assert_eq!((combined.await, heard.get(), before.wakes()), (50, 100, 0));
    // It stays so.
    ShutdownSignal::current().await;
    assert!(ShutdownSignal::current().is_shutdown());
}

#[test]
fn signal_wakes_every_waiter() {
    for signal in ["-TERM", "-INT"] {
        for busy in [false, true] {
            let _turn = take_turn();
            let _guard = watchdog(LIMIT_SECONDS);
            let mut world = World::new();
            let mut rt = Runtime::builder(&mut world).signal_handlers(true).build();
            let ask = || drop(thread::spawn(move || raise(signal)));
            if busy {
                rt.block_on_busy(everybody_hears(ask));
            } else {
                rt.block_on(everybody_hears(ask));
            }
        }
    }
}

#[test]
fn signal_wakes_every_waiter_of_every_runtime() {
    let _turn = take_turn();
    let _guard = watchdog(LIMIT_SECONDS);
    let ready = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let ready = ready.clone();
            thread::spawn(move || {
                let mut world = World::new();
                let mut rt = Runtime::new(&mut world);
                rt.install_signal_handlers().unwrap();
                rt.install_signal_handlers().unwrap();
                rt.block_on(everybody_hears(|| _ = ready.wait()));
            })
        })
        .collect();
    ready.wait();
    raise("-TERM");
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_signal_that_came_while_nothing_ran_is_heard() {
    let _turn = take_turn();
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).signal_handlers(true).build();
    raise("-TERM");
    rt.block_on(async { ShutdownSignal::current().await });
    assert!(rt.shutdown_handle().is_shutdown());
}

#[test]
fn a_shutdown_handle_wakes_every_waiter() {
    for busy in [false, true] {
        let _guard = watchdog(LIMIT_SECONDS);
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        let handle = rt.shutdown_handle();
        let ask = move || drop(thread::spawn(move || handle.shutdown()));
        if busy {
            rt.block_on_busy(everybody_hears(ask));
        } else {
            rt.block_on(everybody_hears(ask));
        }
    }
}

#[test]
fn a_task_that_holds_the_handle_wakes_every_waiter() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.shutdown_handle();
    rt.block_on(everybody_hears(|| handle.shutdown()));
}

struct WakePanics;

impl Wake for WakePanics {
    fn wake(self: Arc<Self>) {
        panic!("the waker panics");
    }
}

#[test]
fn a_waiter_whose_waker_panics_does_not_keep_it_from_the_others() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.shutdown_handle();
    rt.block_on(async {
        let heard = Rc::new(Cell::new(0));
        let mut tasks = waiters(10, &heard);
        yield_now().await;
        let mut bad = ShutdownSignal::current();
        let waker = Waker::from(Arc::new(WakePanics));
        assert!(Pin::new(&mut bad).poll(&mut Context::from_waker(&waker)).is_pending());
        tasks.extend(waiters(10, &heard));
        yield_now().await;
        handle.shutdown();
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(heard.get(), 20);
        drop(tasks);
    });
    assert_eq!(rt.stats().forgotten_payloads, 1);
}

#[test]
fn a_waiter_that_leaves_takes_nobodys_place() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.shutdown_handle();
    rt.block_on(async {
        let counts: Vec<_> = (0..100).map(|_| Count::new()).collect();
        let mut signals: Vec<_> = counts.iter().map(|_| Some(ShutdownSignal::current())).collect();
        for (count, signal) in counts.iter().zip(&mut signals) {
            assert!(count.poll(signal.as_mut().unwrap()).is_pending());
        }
        for (count, signal) in counts.iter().zip(&mut signals).step_by(2) {
            *signal = None;
            assert_eq!(count.kept(), 0);
        }
        let late = Count::new();
        let mut last = ShutdownSignal::current();
        assert!(late.poll(&mut last).is_pending());
        handle.shutdown();
        last.await;
        yield_now().await;
        for (place, count) in counts.iter().enumerate() {
            assert_eq!((count.wakes(), count.kept()), (place % 2, 0), "waiter {place}");
        }
    });
}

#[test]
fn a_signal_goes_to_any_thread_and_needs_no_runtime_there() {
    fn anywhere<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let rt = Runtime::new(&mut world);
    let handle = rt.shutdown_handle();
    let waiting = Arc::new(Barrier::new(11));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (mut signal, waiting) = (handle.signal(), waiting.clone());
            anywhere(&signal);
            thread::spawn(move || {
                assert!(Count::new().poll(&mut signal).is_pending());
                waiting.wait();
                futures::executor::block_on(signal);
            })
        })
        .collect();
    waiting.wait();
    // Nobody runs the runtime.
    handle.trigger();
    for thread in threads {
        thread.join().unwrap();
    }
    futures::executor::block_on(handle.signal());
}

#[test]
fn a_runtime_that_goes_completes_the_signals_of_other_threads() {
    let _guard = watchdog(LIMIT_SECONDS);
    for asked in [false, true] {
        let mut world = World::new();
        let mut other = World::new();
        let mut elsewhere = Runtime::new(&mut other);
        let rt = Runtime::new(&mut world);
        let handle = rt.shutdown_handle();
        let count = Count::new();
        let mut signals: Vec<_> = (0..10).map(|_| handle.signal()).collect();
        for signal in &mut signals {
            assert!(count.poll(signal).is_pending());
        }
        let signal = handle.signal();
        let thread = thread::spawn(move || futures::executor::block_on(signal));
        // In a task of another runtime of this thread.
        let signal = handle.signal();
        let task = elsewhere.block_on(async {
            let task = spawn_boxed(signal);
            yield_now().await;
            task
        });
        if asked {
            handle.shutdown();
        }
        drop(rt);
        thread.join().unwrap();
        elsewhere.block_on(task);
        assert_eq!((count.wakes(), count.kept()), (10, 0));
        assert_eq!(handle.is_shutdown(), asked, "nobody asked for what came by itself");
        futures::executor::block_on(handle.signal());
    }
}

#[test]
fn those_who_join_and_leave_while_shutdown_is_asked_for_are_all_heard() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..200 {
        let mut world = World::new();
        let rt = Runtime::new(&mut world);
        let handle = rt.shutdown_handle();
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..20 {
                        let mut leaves = handle.signal();
                        let _ = Count::new().poll(&mut leaves);
                    }
                    futures::executor::block_on(handle.signal());
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    handle.shutdown();
                });
            }
        });
    }
}

/// Set in the process that a test starts from its own program.
const CHILD: &str = "ONBEAT_BREAKS_SHUTDOWN_CHILD";

#[test]
fn a_signal_after_the_runtime_has_gone_ends_the_process() {
    if env::var_os(CHILD).is_some() {
        let mut world = World::new();
        drop(Runtime::builder(&mut world).signal_handlers(true).build());
        raise("-TERM");
        return;
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_signal_after_the_runtime_has_gone_ends_the_process"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(15), "the child should have been ended by SIGTERM: {status}");
}
