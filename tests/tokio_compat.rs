//! Futures that need tokio, on this thread and on tokio's. Its time is real: what is awaited is an event.

mod common;

use std::{
    cell::Cell,
    error::Error,
    rc::Rc,
    sync::mpsc,
    task::Poll,
    thread::{self, ThreadId},
    time::Duration,
};

use bevy_ecs::{resource::Resource, world::World};
use common::{LIMIT_SECONDS, block_on, parked_and_busy, poll_once, watchdog};
use onbeat::{
    ClockMode, Runtime, WorldCtx, event_time, sleep, spawn_boxed,
    tokio_compat::{spawn_on_tokio, with_tokio},
    yield_now,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

fn here() -> ThreadId {
    thread::current().id()
}

#[test]
fn tokios_sockets_work_on_this_thread() {
    parked_and_busy(|| async {
        let thread = here();
        let (send_address, address) = oneshot::channel();
        let server = spawn_boxed(with_tokio(|| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send_address.send(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(here(), thread);
            text
        }));
        let client = spawn_boxed(with_tokio(|| async move {
            let mut stream = TcpStream::connect(address.await.unwrap()).await.unwrap();
            stream.write_all(b"new order").await.unwrap();
            stream.shutdown().await.unwrap();
        }));
        client.await;
        assert_eq!(server.await, "new order");
    });
}

#[test]
fn what_tokio_gives_is_made_inside_its_runtime() {
    block_on(async {
        // It panics outside of one.
        with_tokio(|| tokio::time::sleep(Duration::from_millis(1))).await;
    });
}

#[derive(Resource)]
struct Fills(u32);

#[test]
fn a_future_with_tokio_reaches_the_world() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Fills(0));
    Runtime::new(&mut world).block_on(with_tokio(|| async {
        tokio::task::yield_now().await;
        WorldCtx::current().with_world(|world| world.resource_mut::<Fills>().0 += 1);
    }));
    assert_eq!(world.resource::<Fills>().0, 1);
}

#[test]
fn its_destructor_runs_inside_tokio_also_when_it_is_dropped_early() {
    struct Spawns(Rc<Cell<u32>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            // It panics outside of tokio's runtime.
            drop(tokio::spawn(async {}));
            self.0.set(self.0.get() + 1);
        }
    }
    block_on(async {
        let dropped = Rc::new(Cell::new(0));
        let (early, ended) = (Spawns(dropped.clone()), Spawns(dropped.clone()));
        let mut waits = Box::pin(with_tokio(|| async move {
            let _early = early;
            std::future::pending::<()>().await;
        }));
        assert!(poll_once(waits.as_mut()).await.is_pending());
        drop(waits);
        assert_eq!(dropped.get(), 1);
        let mut ends = Box::pin(with_tokio(|| {
            let mut ended = Some(ended);
            std::future::poll_fn(move |_| {
                let _kept = &mut ended;
                Poll::Ready(())
            })
        }));
        ends.as_mut().await;
        assert_eq!(dropped.get(), 2, "the future goes with its output, not with what awaited it");
    });
}

#[test]
#[should_panic(expected = "`TokioCompat` is polled after its end")]
fn polled_after_its_end_it_panics() {
    block_on(async {
        let mut ends = Box::pin(with_tokio(|| async {}));
        ends.as_mut().await;
        ends.await;
    });
}

#[test]
fn a_future_on_tokio_runs_elsewhere_and_answers_here() {
    parked_and_busy(|| async {
        let there = spawn_on_tokio(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            here()
        });
        assert_ne!(there.await.unwrap(), here());
    });
}

#[test]
fn it_runs_without_being_awaited_and_detached_to_its_end() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (send, receive) = mpsc::channel();
    let (go, gone) = oneshot::channel();
    spawn_on_tokio(async move {
        gone.await.unwrap();
        send.send(7).unwrap();
    })
    .detach();
    go.send(()).unwrap();
    assert_eq!(receive.recv(), Ok(7));
}

#[test]
fn dropping_the_handle_aborts_the_future() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (send, receive) = mpsc::channel::<()>();
    drop(spawn_on_tokio(async move {
        let _kept = send;
        std::future::pending::<()>().await;
    }));
    assert!(receive.recv().is_err(), "the future was dropped");
}

#[test]
fn a_panic_on_tokio_is_an_error_here() {
    block_on(async {
        let task = spawn_on_tokio(async { std::panic::panic_any("no route") });
        let error = task.await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert!(error.to_string().contains("no route"), "{error}");
        assert!(error.source().is_some());
        assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&"no route"));
    });
}

#[test]
fn an_aborted_future_is_an_error_that_is_no_panic() {
    block_on(async {
        let task = spawn_on_tokio(std::future::pending::<()>());
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert!(error.try_into_panic().is_err());
    });
}

#[test]
fn the_tokio_runtime_of_the_thread_is_used_where_there_is_one() {
    let _guard = watchdog(LIMIT_SECONDS);
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("own")
        .build()
        .unwrap();
    let _inside = own.enter();
    let mut world = World::new();
    let name = Runtime::new(&mut world)
        .block_on(spawn_on_tokio(async { thread::current().name().map(str::to_owned) }));
    assert_eq!(name.unwrap().as_deref(), Some("own"));
}

/// Virtual time would be an hour on before tokio has slept a millisecond.
fn virtual_time_after<F: Future>(what: impl FnOnce() -> F) -> Duration {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let began = event_time();
        drop(spawn_boxed(sleep(Duration::from_secs(3_600))));
        yield_now().await;
        what().await;
        event_time() - began
    })
}

#[test]
fn what_is_under_way_on_tokio_holds_virtual_time_still() {
    async fn millisecond() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(virtual_time_after(|| with_tokio(millisecond)), Duration::ZERO);
    assert_eq!(virtual_time_after(|| spawn_on_tokio(millisecond())), Duration::ZERO);
}

#[test]
fn what_has_ended_on_tokio_lets_virtual_time_go_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let mut ended = Box::pin(with_tokio(|| async {}));
        ended.as_mut().await;
        let mut joined = spawn_on_tokio(async {});
        (&mut joined).await.unwrap();
        sleep(Duration::from_secs(3_600)).await;
        drop((ended, joined));
    });
}
