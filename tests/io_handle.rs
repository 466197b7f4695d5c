//! Handles and their runtime: who finds which, and what is left when it has gone.

mod common;

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, block_on, poll_once, watchdog};
use futures::future;
use onbeat::{
    CancelReason, CancellationToken, IoHandle, JoinError, Runtime, ShutdownSignal,
    net::{TcpListener, TcpStream},
    sleep, spawn_boxed,
};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind(loopback()).unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = future::join(connect, listener.accept()).await;
    (client.unwrap(), server.unwrap().0)
}

#[test]
fn there_is_a_handle_in_a_runtime_only() {
    assert_eq!(IoHandle::try_current(), None);
    let inside = block_on(async { IoHandle::try_current() == Some(IoHandle::current()) });
    assert!(inside);
    assert_eq!(IoHandle::try_current(), None);
}

#[test]
fn a_socket_counts_as_long_as_it_lives() {
    block_on(async {
        let io = IoHandle::current();
        let (client, server) = pair().await;
        assert_eq!(io.source_count(), 2);
        let (read, write) = client.into_split();
        drop(server);
        drop(read);
        assert_eq!(io.source_count(), 1);
        drop(write);
        assert_eq!(io.source_count(), 0);
    });
}

#[test]
fn handles_outlive_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let count = Count::new();
    let (io, mut listener, mut client, server, connect, sleeping, signal, task) =
        rt.block_on(async {
            let listener = TcpListener::bind(loopback()).unwrap();
            let connect = TcpStream::connect(listener.local_addr().unwrap());
            let (mut client, server) = pair().await;
            let mut buf = [0; 8];
            assert!(count.poll(&mut Box::pin(client.read(&mut buf))).is_pending());
            let mut sleeping = Box::pin(sleep(Duration::from_secs(3600)));
            assert!(poll_once(sleeping.as_mut()).await.is_pending());
            let mut signal = Box::pin(ShutdownSignal::current());
            assert!(poll_once(signal.as_mut()).await.is_pending());
            let task = spawn_boxed(future::pending::<()>());
            (IoHandle::current(), listener, client, server, connect, sleeping, signal, task)
        });
    let (mut read, mut write) = server.into_split();
    let shutdown = rt.shutdown_handle();
    drop(rt);

    assert!(!io.is_alive());
    assert_eq!(io.source_count(), 0);
    // Every use is an error at once: nothing hangs, and nothing panics.
    let mut buf = [0; 8];
    let errors = futures::executor::block_on(async {
        [
            client.read(&mut buf).await.unwrap_err(),
            client.write(b"x").await.unwrap_err(),
            client.readable().await.unwrap_err(),
            client.writable().await.unwrap_err(),
            client.try_read(&mut buf).unwrap_err(),
            client.try_write(b"x").unwrap_err(),
            read.read(&mut buf).await.unwrap_err(),
            write.write_all(b"x").await.unwrap_err(),
            listener.accept().await.unwrap_err(),
            connect.await.unwrap_err(),
        ]
    });
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(error.to_string().contains("gone"), "{error}");
    }
    assert!(task.is_finished());
    let joined = futures::executor::block_on(task.join());
    assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
    shutdown.shutdown();
    assert!(signal.is_shutdown());
    futures::executor::block_on(signal);
    assert_eq!(count.kept(), 0);
    drop((client, read, write, listener, sleeping));
}

#[test]
fn dropping_handles_after_the_runtime_is_clean() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let token = CancellationToken::new();
    let kept = rt.block_on(async {
        let (client, server) = pair().await;
        let mut sleeping = Box::pin(sleep(Duration::from_secs(3600)));
        assert!(poll_once(sleeping.as_mut()).await.is_pending());
        let mut signal = Box::pin(ShutdownSignal::current());
        assert!(poll_once(signal.as_mut()).await.is_pending());
        let mut cancelled = Box::pin(token.cancelled());
        assert!(poll_once(cancelled.as_mut()).await.is_pending());
        let task = spawn_boxed(async {});
        (client.into_split(), server, sleeping, signal, cancelled, task)
    });
    drop(rt);
    // Waking a task that is no more is nothing.
    token.cancel();
    drop(kept);
}

#[test]
fn a_sleep_goes_on_in_another_runtime() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut sleeping = None;
    block_on(async {
        let sleeping = sleeping.insert(Box::pin(sleep(Duration::from_millis(1))));
        assert!(poll_once(sleeping.as_mut()).await.is_pending());
    });
    block_on(sleeping.unwrap());
}

#[test]
fn a_stream_belongs_to_the_runtime_it_was_made_in() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut first_world, mut second_world) = (World::new(), World::new());
    let mut first = Runtime::new(&mut first_world);
    let mut second = Runtime::new(&mut second_world);
    let (mut client, mut server) = first.block_on(pair());
    let count = Count::new();
    second.block_on(async {
        assert_eq!(IoHandle::current().source_count(), 0);
        let mut buf = [0; 8];
        assert!(count.poll(&mut Box::pin(client.read(&mut buf))).is_pending());
        server.write_all(b"across").await.unwrap();
    });
    assert_eq!(count.wakes(), 0);
    // Its events come to the first runtime.
    first.block_on(async {
        while count.wakes() == 0 {
            onbeat::yield_now().await;
        }
    });
    second.block_on(async {
        let mut buf = [0; 8];
        assert_eq!(client.read(&mut buf).await.unwrap(), 6);
    });
    drop(first);
    second.block_on(async {
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
    });
}

#[test]
fn a_stream_dropped_in_another_runtime_leaves_its_own() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (io, streams) = rt.block_on(async { (IoHandle::current(), pair().await) });
    assert_eq!(io.source_count(), 2);
    block_on(async move { drop(streams) });
    assert_eq!(io.source_count(), 0);
}

#[test]
fn a_registration_that_takes_the_place_of_another_starts_afresh() {
    block_on(async {
        for _ in 0..100 {
            let (mut client, mut server) = pair().await;
            let mut byte = [0];
            assert!(poll_once(client.read(&mut byte)).await.is_pending());
            server.write_all(b"x").await.unwrap();
            assert_eq!(client.read(&mut byte).await.unwrap(), 1);
        }
        assert_eq!(IoHandle::current().source_count(), 0);
    });
}
