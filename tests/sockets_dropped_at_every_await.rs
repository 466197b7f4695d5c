//! Dropping each future of a socket at each of its awaits: the socket goes on, whoever waits next gets what
//! comes, and with the socket its registration and the waker of its last wait are gone.

mod common;

use std::{
    cell::RefCell,
    env, fs,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    os::unix::net::{UnixDatagram as StdDatagram, UnixStream as StdUnix},
    path::PathBuf,
    process,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, watchdog};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::LocalBoxFuture};
use onbeat::{
    IoHandle, Runtime, WorldCtx,
    net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream},
    spawn_boxed,
};

type Waiting = LocalBoxFuture<'static, ()>;

async fn ticks(count: u64) {
    WorldCtx::current().ticks(count).await;
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Drops a victim before and after what it waits for has happened, after so many polls; then another one
/// waits for the same.
#[track_caller]
fn check<S: 'static>(setup: fn() -> S, wait: fn(Rc<S>) -> Waiting, happen: fn(&S)) {
    for polls in 0..4 {
        for happened in [false, true] {
            let _guard = watchdog(LIMIT_SECONDS);
            let mut world = World::new();
            let mut rt = Runtime::new(&mut world);
            let count = Count::new();
            rt.block_on(run(setup, wait, happen, polls, happened, &count));
            assert_eq!(rt.task_count(), 0);
        }
    }
}

async fn run<S: 'static>(
    setup: fn() -> S,
    wait: fn(Rc<S>) -> Waiting,
    happen: fn(&S),
    polls: usize,
    happened: bool,
    count: &Arc<Count>,
) {
    let way = format!("polls: {polls}, happened: {happened}");
    let before = IoHandle::current().source_count();
    let state = Rc::new(setup());
    let sources = IoHandle::current().source_count();
    let mut victim = Some(wait(state.clone()));
    for _ in 0..polls {
        if victim.as_mut().is_some_and(|victim| count.poll(victim).is_ready()) {
            victim = None;
        }
        ticks(1).await;
    }
    if happened {
        happen(&state);
        ticks(2).await;
    }
    drop(victim);
    assert_eq!(IoHandle::current().source_count(), sources, "{way}: a registration is left");
    assert!(count.kept() <= 1, "{way}: more than the waker of the last wait");
    let other = spawn_boxed(wait(state.clone()));
    if !happened {
        ticks(2).await;
        happen(&state);
    }
    other.await;
    drop(state);
    let left = (count.kept(), IoHandle::current().source_count());
    assert_eq!(left, (0, before), "{way}: left behind by the socket");
}

/// A path of its own for each test and call.
struct AtPath(PathBuf);

impl AtPath {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(env::temp_dir().join(format!("onbeat-dropped-{}-{number}", process::id())))
    }
}

impl Drop for AtPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "one waits at a time")]
fn accepting_and_connecting() {
    check(
        || {
            let listener = TcpListener::bind(loopback()).unwrap();
            let addr = listener.local_addr().unwrap();
            (RefCell::new(listener), addr)
        },
        |ends| async move { drop(ends.0.borrow_mut().accept().await.unwrap()) }.boxed_local(),
        // That it ends at once is not seen by who accepts it.
        |(_, addr)| drop(std::net::TcpStream::connect(addr).unwrap()),
    );
    check(
        || std::net::TcpListener::bind(loopback()).unwrap(),
        |listener| {
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            async move { drop(connecting.await.unwrap()) }.boxed_local()
        },
        |_| (),
    );
    check(
        || {
            let at = AtPath::new();
            (RefCell::new(UnixListener::bind(&at.0).unwrap()), at)
        },
        |ends| async move { drop(ends.0.borrow_mut().accept().await.unwrap()) }.boxed_local(),
        |(_, at)| drop(StdUnix::connect(&at.0).unwrap()),
    );
}

/// A stream, and the other end of it outside of the runtime.
type Ends = (RefCell<UnixStream>, RefCell<StdUnix>);

fn ends() -> Ends {
    let (one, other) = StdUnix::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    (RefCell::new(UnixStream::from_std(one).unwrap()), RefCell::new(other))
}

fn full() -> Ends {
    let ends = ends();
    while ends.0.borrow().try_write(&[7; 1 << 12]).is_ok() {}
    ends
}

fn drain(ends: &Ends) {
    let mut all = Vec::new();
    let result = ends.1.borrow_mut().read_to_end(&mut all);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "one waits at a time")]
fn reading_and_writing_a_stream() {
    let write = |ends: &Ends| ends.1.borrow_mut().write_all(b"four").unwrap();
    check(
        ends,
        |ends| {
            async move {
                let mut buf = [0; 8];
                assert_eq!(ends.0.borrow_mut().read(&mut buf).await.unwrap(), 4);
            }
            .boxed_local()
        },
        write,
    );
    check(
        ends,
        |ends| {
            let read = async move { ends.0.borrow_mut().read_exact(&mut [0; 4]).await.unwrap() };
            read.boxed_local()
        },
        write,
    );
    check(
        ends,
        |ends| async move { ends.0.borrow_mut().readable().await.unwrap() }.boxed_local(),
        write,
    );
    check(
        ends,
        |ends| {
            async move {
                let mut stream = ends.0.borrow_mut();
                AsyncReadExt::read_exact(&mut *stream, &mut [0; 4]).await.unwrap();
            }
            .boxed_local()
        },
        write,
    );
    check(
        full,
        |ends| {
            async move { assert!(ends.0.borrow_mut().write(b"more").await.unwrap() > 0) }
                .boxed_local()
        },
        drain,
    );
    check(
        full,
        |ends| async move { ends.0.borrow_mut().write_all(b"more").await.unwrap() }.boxed_local(),
        drain,
    );
    check(
        full,
        |ends| {
            async move {
                let mut stream = ends.0.borrow_mut();
                AsyncWriteExt::write_all(&mut *stream, b"more").await.unwrap();
            }
            .boxed_local()
        },
        drain,
    );
    check(
        full,
        |ends| async move { ends.0.borrow_mut().writable().await.unwrap() }.boxed_local(),
        drain,
    );
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "one waits at a time")]
fn halves_of_a_stream() {
    check(
        || {
            let listener = std::net::TcpListener::bind(loopback()).unwrap();
            let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (other, _) = listener.accept().unwrap();
            let (read, write) = TcpStream::from_std(one).unwrap().into_split();
            (RefCell::new(read), write, RefCell::new(other))
        },
        |ends| {
            let read = async move { ends.0.borrow_mut().read_exact(&mut [0; 4]).await.unwrap() };
            read.boxed_local()
        },
        |ends| ends.2.borrow_mut().write_all(b"four").unwrap(),
    );
}

#[test]
fn datagrams() {
    let sent = |socket: &UdpSocket| {
        let from = std::net::UdpSocket::bind(loopback()).unwrap();
        from.send_to(b"four", socket.local_addr().unwrap()).unwrap();
    };
    let bound = || UdpSocket::bind(loopback()).unwrap();
    check(
        bound,
        |socket| {
            async move { assert_eq!(socket.recv_from(&mut [0; 8]).await.unwrap().0, 4) }
                .boxed_local()
        },
        sent,
    );
    check(
        bound,
        |socket| {
            async move { assert_eq!(socket.peek_from(&mut [0; 8]).await.unwrap().0, 4) }
                .boxed_local()
        },
        sent,
    );
    check(bound, |socket| async move { socket.readable().await.unwrap() }.boxed_local(), sent);
    check(
        bound,
        |socket| {
            let to = socket.local_addr().unwrap();
            async move { assert_eq!(socket.send_to(b"four", to).await.unwrap(), 4) }.boxed_local()
        },
        |_| (),
    );
}

#[test]
fn unix_datagrams() {
    check(
        || UnixDatagram::pair().unwrap(),
        |ends| async move { assert_eq!(ends.0.recv(&mut [0; 8]).await.unwrap(), 4) }.boxed_local(),
        |ends| assert_eq!(ends.1.try_send(b"four").unwrap(), 4),
    );
    // Another filled the queue, so that it is waited for through a socket of its own.
    check(
        || {
            let at = AtPath::new();
            let receiver = StdDatagram::bind(&at.0).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let (other, sender) =
                (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
            while other.try_send_to(b"x", &at.0).is_ok() {}
            (sender, receiver, at)
        },
        |ends| {
            async move { assert_eq!(ends.0.send_to(b"four", &ends.2.0).await.unwrap(), 4) }
                .boxed_local()
        },
        |(_, receiver, _)| while receiver.recv(&mut [0; 8]).is_ok() {},
    );
}
