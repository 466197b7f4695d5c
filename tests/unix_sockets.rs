//! Unix sockets: connecting at a path, reading and writing, and the ways in which one stops waiting.

mod common;

use std::{env, fs, io::ErrorKind, net::Shutdown, path::PathBuf, process};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, block_on, panic_message, parked_and_busy, poll_once, watchdog};
use futures::FutureExt;
use onbeat::{
    IoHandle, Runtime,
    net::{UnixListener, UnixStream},
    spawn_boxed, yield_now,
};

/// A path of its own for each test, whose file goes with it.
struct AtPath(PathBuf);

impl AtPath {
    fn new(test: &str) -> Self {
        Self(env::temp_dir().join(format!("onbeat-{test}-{}", process::id())))
    }
}

impl Drop for AtPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn an_echo_comes_back() {
    let at = AtPath::new("echo");
    parked_and_busy(|| async {
        let _ = fs::remove_file(&at.0);
        let mut listener = UnixListener::bind(&at.0).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*at.0));
        let server = spawn_boxed(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buf = [0; 16];
            loop {
                match stream.read(&mut buf).await.unwrap() {
                    0 => break,
                    read => stream.write_all(&buf[..read]).await.unwrap(),
                }
            }
        });
        let mut stream = UnixStream::connect(&at.0).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*at.0));
        for text in ["one", "and another one"] {
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut echo = vec![0; text.len()];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, text.as_bytes());
        }
        drop(stream);
        server.await;
    });
}

#[test]
fn nobody_at_the_path_is_an_error() {
    let at = AtPath::new("nobody");
    block_on(async {
        let error = UnixStream::connect(&at.0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        drop(UnixListener::bind(&at.0).unwrap());
        let error = UnixStream::connect(&at.0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(UnixListener::bind(&at.0).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(IoHandle::current().source_count(), 0);
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    let at = AtPath::new("accept");
    block_on(async {
        let mut listener = UnixListener::bind(&at.0).unwrap();
        assert!(poll_once(listener.accept()).await.is_pending());
        let _client = UnixStream::connect(&at.0).await.unwrap();
        assert!(listener.accept().await.is_ok());
    });
}

#[test]
fn a_megabyte_crosses_while_the_writer_waits() {
    block_on(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let writer = spawn_boxed(async move { one.write_all(&[7; 1 << 20]).await.unwrap() });
        yield_now().await;
        assert!(!writer.is_finished());
        let mut all = vec![0; 1 << 20];
        other.read_exact(&mut all).await.unwrap();
        writer.await;
        assert!(all.iter().all(|byte| *byte == 7));
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_half_closed_stream_still_reads() {
    block_on(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
        other.write_all(b"answer").await.unwrap();
        one.read_exact(&mut [0; 6]).await.unwrap();
        drop(one);
        assert_eq!(other.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_stream_dropped_while_its_reader_waits_leaves_nothing() {
    block_on(async {
        let (mut one, other) = UnixStream::pair().unwrap();
        let count = Count::new();
        let mut buf = [0; 8];
        assert!(count.poll(&mut one.read(&mut buf).boxed_local()).is_pending());
        assert_eq!(count.kept(), 1);
        drop(one);
        assert_eq!((count.kept(), IoHandle::current().source_count()), (0, 1));
        drop(other);
        yield_now().await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn trying_would_block_and_readable_waits_for_more() {
    block_on(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let mut buf = [0; 8];
        assert_eq!(one.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(one.readable()).await.is_pending());
        other.write_all(b"now").await.unwrap();
        one.readable().await.unwrap();
        assert_eq!(one.try_read(&mut buf).unwrap(), 3);
    });
}

#[test]
fn streams_move_to_the_standard_library_and_back() {
    block_on(async {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut one = UnixStream::from_std(one.into_std().unwrap()).unwrap();
        other.write_all(b"back").await.unwrap();
        one.read_exact(&mut [0; 4]).await.unwrap();
        assert!(one.take_error().unwrap().is_none());
    });
}

#[test]
fn a_stream_that_outlives_its_runtime_gives_errors() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let (mut one, _other) =
        Runtime::new(&mut world).block_on(async { UnixStream::pair().unwrap() });
    assert_eq!(one.try_read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::Other);
    block_on(async {
        assert_eq!(one.read(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::Other);
    });
}

#[test]
fn constructors_outside_a_runtime_panic_by_name() {
    #[track_caller]
    fn check<T>(name: &str, make: impl FnOnce() -> T) {
        let message = panic_message(|| drop(make()));
        assert!(message.contains(name) && message.contains("block_on"), "{message}");
    }
    check("UnixStream::pair()", UnixStream::pair);
    check("UnixStream::connect()", || UnixStream::connect("nowhere"));
    check("UnixListener::bind()", || UnixListener::bind("nowhere"));
}
