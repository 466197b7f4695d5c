//! Dropping a runtime while something of every kind is in flight: every future is dropped once, where the
//! World may be used, and whoever waits elsewhere is told.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::Cell,
    future::{Future, pending, poll_fn},
    net::{SocketAddr, TcpStream as StdStream},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, Count, LIMIT_SECONDS, poll_once, watchdog};
use futures::{channel::oneshot, future::join};
use onbeat::{
    CancelReason, CancellationToken, ClockMode, Handle, JoinError, JoinHandle, Runtime,
    ShutdownSignal, Tick, WorldCtx,
    channel::{local, mpsc, mpsc_bytes, spsc, spsc_bytes},
    claim_slab, interval,
    net::{TcpListener, TcpStream},
    sleep, spawn, spawn_boxed, spawn_slab, timeout, yield_now,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// How many witnesses were dropped where the World could be used.
#[derive(Resource, Default)]
struct Seen(usize);

#[derive(Message, Event, Clone)]
struct Fill;

#[derive(EntityEvent, Clone)]
struct Hit(Entity);

#[derive(Component)]
struct Armor;

/// Makes tasks whose drops are counted.
#[derive(Clone, Default)]
struct Witnesses(Rc<Counts>);

#[derive(Default)]
struct Counts {
    made: Cell<usize>,
    dropped: Cell<usize>,
}

struct Witness(Rc<Counts>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
        let seen = |world: &mut World| world.resource_mut::<Seen>().0 += 1;
        WorldCtx::current().try_with_world(seen).expect("the World may be used");
    }
}

impl Witnesses {
    fn witness(&self) -> Witness {
        self.0.made.set(self.0.made.get() + 1);
        Witness(self.0.clone())
    }

    /// `future`, with a witness that goes when it goes.
    fn see<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let witness = self.witness();
        async move {
            let output = future.await;
            drop(witness);
            output
        }
    }

    /// A task that is never over.
    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        spawn_boxed(self.see(future))
    }
}

/// Runs `start` in a runtime, lets what it spawned begin, and drops the runtime. What `start` gives outlives
/// that. All witnesses were dropped, each once and in sight of the World, none before.
#[track_caller]
fn dropped<K>(start: impl AsyncFnOnce(Witnesses) -> K) -> K {
    dropped_with(|_| {}, start)
}

#[track_caller]
fn dropped_with<K>(prepare: impl FnOnce(&mut World), start: impl AsyncFnOnce(Witnesses) -> K) -> K {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Seen>();
    prepare(&mut world);
    let mut rt = Runtime::builder(&mut world).slab_unbounded::<256>(4).build();
    let witnesses = Witnesses::default();
    let kept = rt.block_on(async {
        let kept = start(witnesses.clone()).await;
        for _ in 0..3 {
            yield_now().await;
        }
        kept
    });
    let Counts { made, dropped } = &*witnesses.0;
    assert!(made.get() > 0, "a test without a witness");
    assert_eq!(dropped.get(), 0, "before the runtime");
    drop(rt);
    assert_eq!(dropped.get(), made.get());
    assert_eq!(world.resource::<Seen>().0, made.get(), "in sight of the World");
    kept
}

#[track_caller]
fn is_gone<T>(joined: Result<T, JoinError>) {
    assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
}

#[test]
fn tasks_in_every_place_of_their_lives() {
    let handles = dropped(async |witnesses| {
        let parked = witnesses.spawn(pending::<()>());
        let in_slab = spawn_slab(witnesses.see(pending::<()>()));
        let too_large = spawn(witnesses.see(async {
            let large = [0_u8; 1_000];
            pending::<()>().await;
            assert_eq!(large[0], 0);
        }));
        let restless = witnesses.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let claim = claim_slab();
        drop(witnesses.spawn(async move {
            let _claim = claim;
            pending::<()>().await;
        }));
        [parked, in_slab, too_large, restless]
    });
    for handle in handles {
        assert!(handle.is_finished());
        is_gone(futures::executor::block_on(handle.join()));
    }
}

#[test]
fn tasks_that_were_never_polled_and_outputs_that_nobody_took() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Seen>();
    let mut rt = Runtime::new(&mut world);
    let witnesses = Witnesses::default();
    // What goes to other threads is counted by its clones.
    let shared = Arc::new(());
    let (done, panicked) = rt.block_on(async {
        let output = witnesses.witness();
        let done = spawn_boxed(async move { output });
        let payload = Box::new(shared.clone());
        let panicked = spawn_boxed(async move { std::panic::resume_unwind(payload) });
        yield_now().await;
        assert!(done.is_finished() && panicked.is_finished());
        (done, panicked)
    });
    let made = shared.clone();
    let asked = rt.handle().spawn_with(move || async move { drop(made) }).unwrap();
    assert_eq!((Arc::strong_count(&shared), witnesses.0.dropped.get()), (3, 0));
    drop(rt);
    assert_eq!((Arc::strong_count(&shared), witnesses.0.dropped.get()), (1, 1));
    assert_eq!(world.resource::<Seen>().0, 1);
    is_gone(asked.wait());
    is_gone(futures::executor::block_on(done.join()).map(drop));
    is_gone::<()>(futures::executor::block_on(panicked.join()));
}

#[test]
fn timers_of_every_kind() {
    dropped(async |witnesses| {
        for level in 0..60 {
            let duration = HOUR + Duration::from_nanos(1 << level);
            drop(witnesses.spawn(sleep(duration)));
            drop(witnesses.spawn(timeout(duration, pending::<()>())));
        }
        let mut beat = interval(HOUR);
        drop(witnesses.spawn(async move {
            loop {
                beat.tick().await;
            }
        }));
    });
}

#[test]
fn sockets_in_the_middle_of_everything() {
    let peers = dropped(async |witnesses| {
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let peer = StdStream::connect(addr).unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        let (client, server) = join(TcpStream::connect(addr), listener.accept()).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
        drop(witnesses.spawn(async move { listener.accept().await.map(drop) }));
        drop(witnesses.spawn(async move { accepted.read(&mut [0; 16]).await }));
        drop(witnesses.spawn(async move {
            // Nobody reads, so this waits for room.
            loop {
                client.write_all(&[0; 1 << 16]).await.unwrap();
            }
        }));
        drop(witnesses.spawn(async move {
            let (mut read, mut write) = server.split();
            let reading = async {
                pending::<()>().await;
                read.read(&mut [0]).await
            };
            let _ = join(reading, write.write_all(&[0; 1 << 24])).await;
        }));
        peer
    });
    // The sockets are closed: the peer reads their end.
    peers.set_read_timeout(Some(Duration::from_secs(LIMIT_SECONDS))).unwrap();
    assert!(matches!(std::io::Read::read(&mut &peers, &mut [0]), Ok(0)));
}

#[test]
fn wakers_that_other_threads_hold() {
    let (threads, senders) = dropped(async |witnesses| {
        let mut threads = Vec::new();
        let mut senders = Vec::new();
        for _ in 0..4 {
            let (send, receive) = oneshot::channel::<()>();
            drop(witnesses.spawn(receive));
            senders.push(send);
            let (waker_out, waker_in) = std_mpsc::channel();
            drop(witnesses.spawn(poll_fn(move |cx| {
                let _ = waker_out.send(cx.waker().clone());
                Poll::<()>::Pending
            })));
            let bell = Bell::default();
            drop(witnesses.spawn(bell.rung()));
            threads.push((waker_in, bell));
        }
        (threads, senders)
    });
    // From here on wakes go to a runtime that is no more, or is another.
    let mut other = World::new();
    let mut elsewhere = Runtime::new(&mut other);
    elsewhere.tick().unwrap();
    for send in senders {
        assert!(send.is_canceled());
    }
    let threads: Vec<_> = threads
        .into_iter()
        .map(|(wakers, bell)| {
            thread::spawn(move || {
                for waker in wakers {
                    waker.wake();
                }
                bell.ring();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    elsewhere.tick().unwrap();
}

#[test]
fn wakers_that_other_threads_use_at_that_moment() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..20 {
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (wakers, stopped) = (wakers.clone(), stopped.clone());
                thread::spawn(move || {
                    while !stopped.load(Ordering::Relaxed) {
                        let wakers = wakers.lock().unwrap().clone();
                        wakers.iter().for_each(Waker::wake_by_ref);
                    }
                })
            })
            .collect();
        dropped(async |witnesses| {
            for _ in 0..100 {
                let wakers = wakers.clone();
                let mut is_known = false;
                drop(witnesses.spawn(poll_fn(move |cx| {
                    if !std::mem::replace(&mut is_known, true) {
                        wakers.lock().unwrap().push(cx.waker().clone());
                    }
                    Poll::<()>::Pending
                })));
            }
        });
        assert_eq!(wakers.lock().unwrap().len(), 100);
        stopped.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn handles_and_what_was_asked_through_them() {
    let (handle, joins) = dropped(async |witnesses| {
        drop(witnesses.spawn(pending::<()>()));
        let handle = Handle::current();
        let elsewhere = handle.clone();
        let joins = thread::spawn(move || {
            let parked = elsewhere.spawn_with(pending::<u32>).unwrap();
            let late = elsewhere.spawn_with(|| async {
                sleep(HOUR).await;
                7
            });
            [parked, late.unwrap()]
        });
        let joins = joins.join().unwrap();
        (handle, joins)
    });
    let threads = joins.map(|join| thread::spawn(move || is_gone(join.wait())));
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(handle.is_closed());
    handle.wake();
    handle.shutdown();
    assert!(handle.spawn_with(|| async {}).is_err());
    assert!(handle.run_with_world(|_| ()).is_err());
}

#[test]
fn a_thread_that_waits_for_an_answer_is_told() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let handle = rt.handle();
    let (asked, was_asked) = std_mpsc::channel();
    let thread = thread::spawn(move || {
        let unrun = handle.run_with_world(|_| 7).unwrap();
        let parked = handle.spawn_with(pending::<()>).unwrap();
        asked.send(()).unwrap();
        is_gone(parked.wait());
        drop(unrun);
    });
    was_asked.recv().unwrap();
    rt.tick().unwrap();
    drop(rt);
    thread.join().unwrap();
}

#[test]
fn ends_of_channels_that_other_threads_wait_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let threads = dropped(async |witnesses| {
        let mut threads = Vec::new();
        // The runtime has the receivers, the threads are stopped by a full channel.
        let (send, receive) = mpsc::channel::<Box<u32>>(2);
        for _ in 0..2 {
            let send = send.clone();
            threads.push(thread::spawn(move || while send.blocking_send(Box::new(1)).is_ok() {}));
        }
        drop(send);
        drop(witnesses.spawn(async move {
            let _receive = receive;
            pending::<()>().await;
        }));
        let (mut send, receive) = spsc::channel::<Box<u32>>(2);
        threads.push(thread::spawn(move || while send.blocking_send(Box::new(1)).is_ok() {}));
        drop(witnesses.spawn(async move {
            let _receive = receive;
            pending::<()>().await;
        }));
        let (mut send, receive) = spsc_bytes::channel(1 << 10);
        threads.push(thread::spawn(move || while send.blocking_send(&[1; 100]).is_ok() {}));
        drop(witnesses.spawn(async move {
            let _receive = receive;
            pending::<()>().await;
        }));
        let (mut send, receive) = mpsc_bytes::channel(1 << 10);
        threads.push(thread::spawn(move || while send.blocking_send(&[1; 100]).is_ok() {}));
        drop(witnesses.spawn(async move {
            let _receive = receive;
            pending::<()>().await;
        }));
        // The runtime has the senders, the threads wait for values.
        let (send, mut receive) = mpsc::channel::<Box<u32>>(2);
        threads.push(thread::spawn(move || while receive.blocking_recv().is_some() {}));
        drop(witnesses.spawn(async move {
            send.send(Box::new(1)).await.unwrap();
            pending::<()>().await;
            drop(send);
        }));
        let (mut send, mut receive) = spsc::channel::<Box<u32>>(2);
        threads.push(thread::spawn(move || while receive.blocking_recv().is_some() {}));
        drop(witnesses.spawn(async move {
            send.send(Box::new(1)).await.unwrap();
            pending::<()>().await;
            drop(send);
        }));
        threads
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn ends_of_channels_in_tasks_that_wait_for_each_other() {
    dropped(async |witnesses| {
        let (send, receive) = local::channel::<Box<u32>>(1);
        drop(witnesses.spawn(async move { while send.send(Box::new(1)).await.is_ok() {} }));
        drop(witnesses.spawn(async move {
            receive.recv().await.unwrap();
            pending::<()>().await;
            drop(receive);
        }));
        let (send, mut receive) = mpsc::channel::<Box<u32>>(1);
        let kept = send.clone();
        drop(witnesses.spawn(async move { while send.send(Box::new(1)).await.is_ok() {} }));
        drop(witnesses.spawn(async move {
            receive.recv().await.unwrap();
            pending::<()>().await;
            drop(receive);
        }));
        drop(witnesses.spawn(async move {
            let mut waits = std::pin::pin!(kept.send(Box::new(2)));
            assert!(poll_once(waits.as_mut()).await.is_pending());
            pending::<()>().await;
        }));
        let (mut send, mut receive) = spsc_bytes::channel(1 << 10);
        drop(witnesses.spawn(async move { while send.send(&[1; 300]).await.is_ok() {} }));
        drop(witnesses.spawn(async move {
            // A claim of the reader is open when it is dropped.
            let _claim = receive.recv().await.unwrap();
            pending::<()>().await;
        }));
        let (mut send, mut receive) = mpsc_bytes::channel(1 << 10);
        drop(witnesses.spawn(async move {
            let _claim = send.claim(8).await.unwrap();
            pending::<()>().await;
        }));
        drop(witnesses.spawn(async move { receive.recv().await.map(drop) }));
    });
}

#[test]
fn joiners_in_tasks_of_the_same_runtime_and_of_another() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut other = World::new();
    let mut elsewhere = Runtime::new(&mut other);
    let (awaited, joined) = dropped(async |witnesses| {
        let inner = witnesses.spawn(pending::<()>());
        let middle = witnesses.spawn(async move { inner.join().await.map(drop).is_ok() });
        // A task that holds the handle of one with a lower slot, and one of a higher.
        drop(witnesses.spawn(async move {
            let high = spawn_boxed(pending::<()>());
            let _ = join(middle.join(), high.join()).await;
        }));
        (witnesses.spawn(pending::<u32>()), witnesses.spawn(pending::<u32>()))
    });
    let task = elsewhere.block_on(async {
        is_gone(joined.join().await);
        spawn_boxed(awaited)
    });
    elsewhere.tick().unwrap();
    // Awaiting the task itself is a panic that names the reason.
    let joined = elsewhere.block_on(task.join());
    let error = joined.unwrap_err();
    assert!(error.panic_message().unwrap().contains("its runtime has gone"), "{error}");
}

#[test]
fn a_joiner_that_waits_in_another_runtime_is_told_by_the_drop() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut world, mut other) = (World::new(), World::new());
    let mut elsewhere = Runtime::new(&mut other);
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async { spawn_boxed(pending::<()>()) });
    let told = elsewhere.block_on(async {
        let told = spawn_boxed(task.join());
        yield_now().await;
        told
    });
    assert!(!told.is_finished());
    drop(rt);
    is_gone(elsewhere.block_on(told));
}

#[test]
fn everything_that_waits_for_the_world() {
    let prepare = |world: &mut World| {
        bevy_ecs::message::MessageRegistry::register_message::<Fill>(world);
    };
    dropped_with(prepare, async |witnesses| {
        let ctx = WorldCtx::current();
        let entity = ctx.with_world(|world| world.spawn(Armor).id());
        drop(witnesses.spawn(async move {
            loop {
                ctx.next_tick().await;
            }
        }));
        drop(witnesses.spawn(async move {
            loop {
                ctx.next(Tick).await;
            }
        }));
        drop(witnesses.spawn(ctx.ticks(1_000_000)));
        drop(witnesses.spawn(ctx.until(Tick, |_: &mut World| None::<()>)));
        let mut messages = ctx.messages::<Fill>();
        drop(witnesses.spawn(async move { messages.recv().await.map(drop) }));
        drop(witnesses.spawn(ctx.event::<Fill>()));
        drop(witnesses.spawn(ctx.res_changed::<Unchanged>()));
        drop(witnesses.spawn(ctx.entity(entity).event::<Hit>()));
        drop(witnesses.spawn(ctx.entity(entity).removed::<Armor>()));
        drop(witnesses.spawn(ctx.entity(entity).changed::<Armor>()));
        drop(witnesses.spawn(ctx.entity(entity).despawned()));
    });
}

#[derive(Resource)]
struct Unchanged;

#[test]
fn signals_and_tokens_inside_and_outside() {
    let token = CancellationToken::new();
    let count = Count::new();
    let inside = token.clone();
    let mut signal = dropped(async |witnesses| {
        drop(witnesses.spawn(ShutdownSignal::current()));
        drop(witnesses.spawn(inside.cancelled()));
        drop(witnesses.spawn(inside.run_until_cancelled(pending::<()>())));
        drop(witnesses.spawn(async move { inside.child().cancelled().await }));
        let mut signal = ShutdownSignal::current();
        assert!(count.poll(&mut signal).is_pending());
        signal
    });
    assert_eq!((count.wakes(), count.kept()), (1, 0), "told once that the runtime has gone");
    assert!(count.poll(&mut signal).is_ready());
    let shown = format!("{token:?}");
    assert!(shown.contains("children: 0, waiters: 0 "), "{shown}");
}

#[test]
fn tasks_that_were_aborted_in_the_last_moment() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Seen>();
    let mut rt = Runtime::new(&mut world);
    let witnesses = Witnesses::default();
    let task = rt.block_on(async { witnesses.spawn(pending::<()>()) });
    // Between turns nobody reaps.
    task.abort();
    assert_eq!(witnesses.0.dropped.get(), 0);
    drop(rt);
    assert_eq!((witnesses.0.dropped.get(), world.resource::<Seen>().0), (1, 1));
}

#[test]
fn a_runtime_that_owns_its_world_and_one_with_a_virtual_clock() {
    let _guard = watchdog(LIMIT_SECONDS);
    let count = Count::new();
    let mut world = World::new();
    world.init_resource::<Seen>();
    let mut rt = Runtime::owning(world);
    let witnesses = Witnesses::default();
    let mut kept = rt.block_on(async {
        drop(witnesses.spawn(sleep(HOUR)));
        sleep(HOUR)
    });
    drop(rt.block_on(async { spawn_boxed(async {}) }));
    drop(rt);
    assert_eq!(witnesses.0.dropped.get(), 1);
    let mut other = World::new();
    let mut simulated = Runtime::builder(&mut other).clock(ClockMode::Virtual).build();
    simulated.block_on(async { assert!(count.poll(&mut kept).is_pending()) });
    drop(simulated);
    assert_eq!(count.kept(), 0);
}
