//! Breaks of a peer: whatever is left of a runtime that has gone reaches for it.

mod common;

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, block_on, panic_message, poll_once, watchdog};
use onbeat::{
    CancelReason, CancellationToken, Cancelled, IoHandle, Join, JoinError, JoinHandle, NextTick,
    Runtime, ShutdownHandle, ShutdownSignal, Sleep, Timeout, WorldCtx, WorldError,
    net::{TcpListener, TcpStream},
    sleep, spawn_boxed, timeout, yield_now,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// One of everything that a user may keep, each in use when its runtime is dropped.
struct Kept {
    io: IoHandle,
    listener: TcpListener,
    stream: TcpStream,
    ctx: WorldCtx,
    next_tick: NextTick,
    sleep: Sleep,
    timeout: Pin<Box<Timeout<std::future::Pending<()>>>>,
    signal: ShutdownSignal,
    shutdown: ShutdownHandle,
    token: CancellationToken,
    cancelled: Cancelled,
    waiting: JoinHandle<()>,
    joining: Join<()>,
    finished: JoinHandle<u32>,
    panicked: JoinHandle<()>,
    waker: Waker,
    count: std::sync::Arc<Count>,
}

async fn keep(shutdown: ShutdownHandle) -> Kept {
    let count = Count::new();
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    drop(listener.accept().await.unwrap());
    let (waiting, joining) = (spawn_boxed(pending()), spawn_boxed(pending()));
    let finished = spawn_boxed(async { 5 });
    let panicked = spawn_boxed(async { panic!("before the end") });
    let token = CancellationToken::new();
    let ctx = WorldCtx::current();
    // Those that end have ended, and the rest is made in the runtime's last tick.
    yield_now().await;
    let mut kept = Kept {
        io: IoHandle::current(),
        ctx,
        next_tick: ctx.next_tick(),
        sleep: sleep(HOUR),
        timeout: Box::pin(timeout(HOUR, pending())),
        signal: ShutdownSignal::current(),
        shutdown,
        cancelled: token.cancelled(),
        token,
        waiting,
        joining: joining.join(),
        finished,
        panicked,
        waker: poll_fn(|cx| Poll::Ready(cx.waker().clone())).await,
        count: count.clone(),
        listener,
        stream,
    };
    assert!(kept.finished.is_finished() && kept.panicked.is_finished());
    assert!(count.poll(&mut Box::pin(kept.listener.accept())).is_pending());
    assert!(count.poll(&mut kept.next_tick).is_pending());
    assert!(count.poll(&mut kept.sleep).is_pending());
    assert!(count.poll(&mut kept.timeout).is_pending());
    assert!(count.poll(&mut kept.signal).is_pending());
    assert!(count.poll(&mut kept.cancelled).is_pending());
    assert!(count.poll(&mut kept.waiting).is_pending());
    assert!(count.poll(&mut kept.joining).is_pending());
    kept
}

/// Keeps one of everything, and drops the runtime in the tick in which all of it waits.
fn outlived() -> Kept {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let shutdown = rt.shutdown_handle();
    rt.block_on(keep(shutdown))
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().contains("gone")
}

#[test]
fn handles_outlive_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut kept = outlived();
    assert!(!kept.io.is_alive());
    assert_eq!(kept.io.source_count(), 0);
    assert_eq!(kept.ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    assert!(is_gone(&kept.stream.try_read(&mut [0]).unwrap_err()));
    assert!(is_gone(&kept.stream.try_write(b"x").unwrap_err()));
    assert!(kept.stream.peer_addr().is_ok(), "the socket itself is still open");

    // Wakes of tasks that are no more ask for nothing, from any thread.
    kept.waker.wake_by_ref();
    kept.token.cancel();
    kept.shutdown.shutdown();
    let (waker, shutdown) = (kept.waker.clone(), kept.shutdown.clone());
    thread::spawn(move || {
        waker.wake();
        shutdown.shutdown();
    })
    .join()
    .unwrap();
    assert!(kept.shutdown.is_shutdown() && kept.signal.is_shutdown());

    futures::executor::block_on(async {
        assert!(is_gone(&kept.listener.accept().await.unwrap_err()));
        assert!(is_gone(&kept.stream.read(&mut [0]).await.unwrap_err()));
        assert!(is_gone(&kept.stream.write(b"x").await.unwrap_err()));
        kept.signal.await;
        kept.cancelled.await;
        let joined = [kept.joining.await, kept.panicked.join().await];
        for joined in joined {
            let reason = joined.unwrap_err();
            assert!(matches!(reason, JoinError::Cancelled(CancelReason::RuntimeGone)));
        }
    });
    assert!(kept.waiting.is_finished() && kept.finished.is_finished());
    let awaited = panic_message(|| _ = futures::executor::block_on(kept.finished));
    assert!(awaited.contains("its runtime has gone"), "{awaited}");
    kept.waiting.abort();
}

#[test]
fn the_runtime_lets_go_of_the_wakers_of_handles_that_outlive_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let kept = outlived();
    // The token's waiter is the token's, which no runtime owns.
    drop(kept.cancelled);
    assert_eq!(kept.count.kept(), 0);
}

#[test]
fn timers_that_outlive_their_runtime_need_another_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut kept = outlived();
    let mut cx = Context::from_waker(Waker::noop());
    let message = panic_message(|| _ = Pin::new(&mut kept.sleep).poll(&mut cx));
    assert!(message.contains("needs a running onbeat runtime"), "{message}");
    let message = panic_message(|| _ = kept.timeout.as_mut().poll(&mut cx));
    assert!(message.contains("needs a running onbeat runtime"), "{message}");
    let message = panic_message(|| _ = Pin::new(&mut kept.next_tick).poll(&mut cx));
    assert!(message.contains("has gone"), "{message}");
    block_on(async {
        assert!(poll_once(&mut kept.sleep).await.is_pending(), "it goes on in this one");
        kept.sleep.reset(onbeat::precise_now() + Duration::from_micros(50));
        kept.sleep.await;
        assert_eq!(kept.ctx.try_with_world(|_| ()), Err(WorldError::OtherWorld));
    });
}

#[test]
fn handles_of_a_runtime_mean_nothing_to_the_next_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    let stale: Vec<Kept> = (0..4).map(|_| outlived()).collect();
    // The next runtime has the id of the last, and its tasks have the slots of that one's tasks.
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let polls: Rc<[Cell<u32>]> = (0..10).map(|_| Cell::new(0)).collect();
    rt.block_on(async {
        let tasks: Vec<_> = (0..10_usize)
            .map(|task| {
                let polls = polls.clone();
                spawn_boxed(poll_fn(move |_| {
                    polls[task].set(polls[task].get() + 1);
                    Poll::<()>::Pending
                }))
            })
            .collect();
        let signal = ShutdownSignal::current();
        yield_now().await;
        for kept in stale {
            kept.shutdown.shutdown();
            kept.token.cancel();
            kept.waker.wake_by_ref();
            let waker = kept.waker.clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            kept.waiting.abort();
            drop((kept.listener, kept.stream, kept.sleep, kept.timeout, kept.next_tick));
            drop((kept.joining, kept.finished, kept.panicked, kept.signal, kept.cancelled));
        }
        yield_now().await;
        yield_now().await;
        assert!(!signal.is_shutdown(), "the shutdown was another runtime's");
        assert!(tasks.iter().all(|task| !task.is_finished()), "the abort was another task's");
    });
    assert_eq!(rt.task_count(), 10);
    assert!(polls.iter().all(|polls| polls.get() >= 1));
}

#[test]
fn handles_may_be_used_and_dropped_by_the_destructors_of_tasks() {
    struct Uses(Option<Kept>);
    impl Drop for Uses {
        fn drop(&mut self) {
            let kept = self.0.take().unwrap();
            assert_eq!(kept.ctx.try_with_world(|_| 1), Ok(1), "the World is lent to destructors");
            assert!(kept.io.source_count() >= 2);
            kept.token.cancel();
            kept.waker.wake_by_ref();
            kept.shutdown.shutdown();
            kept.waiting.abort();
            assert_eq!(common::logged(), [""; 0]);
            common::log("to its end");
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let shutdown = rt.shutdown_handle();
    rt.block_on(async {
        let uses = Uses(Some(keep(shutdown).await));
        drop(spawn_boxed(async move {
            let _uses = uses;
            pending::<()>().await;
        }));
        yield_now().await;
    });
    drop(rt);
    assert_eq!(common::logged(), ["to its end"]);
}

#[test]
fn a_leaked_runtime_is_as_good_as_one_that_nobody_runs() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let shutdown = rt.shutdown_handle();
    let kept = rt.block_on(keep(shutdown));
    std::mem::forget(rt);
    drop(world);
    assert!(kept.io.is_alive());
    assert_eq!(kept.ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    kept.waker.wake_by_ref();
    kept.token.cancel();
    kept.shutdown.shutdown();
    kept.waiting.abort();
    assert_eq!(futures::executor::block_on(kept.finished), 5);
}
