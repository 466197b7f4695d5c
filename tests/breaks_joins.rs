//! Breaks of a peer: an output that is given out twice, and an abort that nobody carries out.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bevy_ecs::{resource::Resource, system::NonSend, world::World};
use common::{
    Count, Drops, LIMIT_SECONDS, block_on, log, logged, panic_message, parked_and_busy,
    tick_number, watchdog,
};
use futures::channel::oneshot;
use onbeat::{
    CancelReason, JoinError, JoinHandle, Runtime, Tasks, Tick, WorldCtx,
    net::{TcpListener, TcpStream},
    sleep, spawn_boxed, yield_now,
};

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

async fn socket_pair() -> (std::net::TcpStream, TcpStream) {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let outside = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (outside, listener.accept().await.unwrap().0)
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
fn who_joins_an_aborted_task_finds_what_it_held_free() {
    parked_and_busy(|| async {
        let drops = Rc::new(Cell::new(0));
        for started in [false, true] {
            let (task, mut heard) = parked(&drops);
            if started {
                yield_now().await;
            }
            let (key, before) = (task.id(), (drops.get(), tick_number()));
            assert_eq!(WorldCtx::current().run(|tasks: Tasks| tasks.abort(key)), Ok(true));
            assert_eq!((drops.get(), task.is_finished()), (before.0, false));
            let joined = task.join().await;
            assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::Aborted))));
            assert_eq!((drops.get(), tick_number()), (before.0 + 1, before.1), "in the same tick");
            assert!(heard.try_recv().is_err());
        }
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
    rt.block_on(async { sleep(Duration::from_millis(200)).await });
    assert!(rt.stats().parks > parks, "a loop that has nothing to do sleeps");
}

#[derive(Resource, Default)]
struct Heard(u32);

/// Uses the World in its destructor.
struct LastWord;

impl Drop for LastWord {
    fn drop(&mut self) {
        WorldCtx::current().with_world(|world| world.resource_mut::<Heard>().0 += 1);
    }
}

#[test]
fn an_abort_inside_the_world_drops_the_future_outside() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Heard>();
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
            assert_eq!(world.resource::<Heard>().0, 0);
            world.insert_non_send(Doomed(Cell::new(Some(in_system))));
        });
    });
    rt.schedule(Tick).add_systems(|doomed: NonSend<Doomed>| {
        if let Some(task) = doomed.0.take() {
            task.abort();
        }
    });
    assert_eq!(rt.world().resource::<Heard>().0, 1);
    rt.tick().unwrap();
    assert_eq!(rt.world().resource::<Heard>().0, 2);
    assert_eq!((rt.task_count(), rt.stats().forgotten_payloads), (0, 0));
}

/// A task that a system ends.
struct Doomed(Cell<Option<JoinHandle<()>>>);

#[test]
fn a_handle_polled_with_another_waker_wakes_that_one() {
    block_on(async {
        let mut task = spawn_boxed(yield_now());
        let mut joined = spawn_boxed(yield_now()).join();
        let (first, second) = (Count::new(), Count::new());
        for count in [&first, &second, &second] {
            assert!(count.poll(&mut task).is_pending() && count.poll(&mut joined).is_pending());
        }
        assert_eq!((first.kept(), second.kept()), (0, 2));
        yield_now().await;
        yield_now().await;
        assert_eq!((first.wakes(), second.wakes()), (0, 2));
        assert!(second.poll(&mut task).is_ready() && second.poll(&mut joined).is_ready());
        assert_eq!(second.kept(), 0);
    });
}
