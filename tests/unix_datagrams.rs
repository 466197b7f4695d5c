//! Unix datagrams: whole or cut off, connected or not, full queues, and the ways in which one stops waiting.

mod common;

use std::{
    cell::Cell, env, fs, future::poll_fn, io::ErrorKind, net::Shutdown, path::PathBuf, pin::pin,
    process, rc::Rc,
};

use bevy_ecs::world::World;
use common::{Count, LIMIT_SECONDS, block_on, panic_message, parked_and_busy, poll_once, watchdog};
use futures::FutureExt;
use onbeat::{IoHandle, JoinHandle, Runtime, WorldCtx, net::UnixDatagram, spawn_boxed, yield_now};

/// A path of its own for each test, whose file goes with it.
struct AtPath(PathBuf);

impl AtPath {
    fn new(test: &str) -> Self {
        Self(env::temp_dir().join(format!("onbeat-datagram-{test}-{}", process::id())))
    }

    fn bound(&self) -> UnixDatagram {
        let _ = fs::remove_file(&self.0);
        UnixDatagram::bind(&self.0).unwrap()
    }
}

impl Drop for AtPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Sends to `at` until its queue is full. How many that were.
fn fill(at: &AtPath, sender: &UnixDatagram) -> usize {
    (0..).find(|_| sender.try_send_to(b"x", &at.0).is_err()).unwrap()
}

#[test]
fn an_echo_comes_back() {
    let (at, from) = (AtPath::new("echo"), AtPath::new("echoed"));
    parked_and_busy(|| async {
        let server = at.bound();
        let echo = spawn_boxed(async move {
            let mut buf = [0; 64];
            for _ in 0..2 {
                let (len, from) = server.recv_from(&mut buf).await.unwrap();
                let path = from.as_pathname().unwrap();
                assert_eq!(server.send_to(&buf[..len], path).await.unwrap(), len);
            }
        });
        let client = from.bound();
        assert_eq!(client.local_addr().unwrap().as_pathname(), Some(&*from.0));
        for text in ["one", "and another one"] {
            client.send_to(text.as_bytes(), &at.0).await.unwrap();
            let mut buf = [0; 64];
            let (len, answered) = client.recv_from(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], text.as_bytes());
            assert_eq!(answered.as_pathname(), Some(&*at.0));
        }
        echo.await;
    });
}

#[test]
fn connected_sockets_send_without_an_address() {
    let at = AtPath::new("connected");
    block_on(async {
        let server = at.bound();
        let client = UnixDatagram::unbound().unwrap();
        assert_eq!(client.send(b"x").await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(client.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        client.connect(&at.0).unwrap();
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*at.0));
        client.send(b"friend").await.unwrap();
        assert_eq!(server.recv(&mut [0; 64]).await.unwrap(), 6);
    });
}

#[test]
fn what_does_not_fit_is_cut_off_and_lost() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.send(b"longer than four").await.unwrap();
        one.send(&[]).await.unwrap();
        one.send(b"next").await.unwrap();
        let mut buf = [0; 4];
        assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"long");
        assert_eq!(other.recv(&mut buf).await.unwrap(), 0);
        assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"next");
        assert!(poll_once(other.recv(&mut buf)).await.is_pending());
    });
}

#[test]
fn nobody_at_the_path_is_an_error() {
    let at = AtPath::new("nobody");
    block_on(async {
        let one = UnixDatagram::unbound().unwrap();
        let error = one.send_to(b"x", &at.0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(one.connect(&at.0).unwrap_err().kind(), ErrorKind::NotFound);
        drop(at.bound());
        let error = one.send_to(b"x", &at.0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(UnixDatagram::bind(&at.0).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(IoHandle::current().source_count(), 1);
    });
}

#[test]
fn everything_that_is_sent_arrives_in_order_while_senders_wait() {
    let at = AtPath::new("order");
    parked_and_busy(|| async {
        const SENT: u32 = 500;
        let receiver = at.bound();
        let senders: Vec<_> = (0..3_u8)
            .map(|sender| {
                let path = at.0.clone();
                spawn_boxed(async move {
                    let socket = UnixDatagram::unbound().unwrap();
                    // The third is connected.
                    if sender == 2 {
                        socket.connect(&path).unwrap();
                    }
                    for number in 0..SENT {
                        let [a, b, ..] = number.to_le_bytes();
                        let datagram = [sender, a, b];
                        match sender {
                            2 => socket.send(&datagram).await.unwrap(),
                            _ => socket.send_to(&datagram, &path).await.unwrap(),
                        };
                    }
                })
            })
            .collect();
        let mut next = [0_u32; 3];
        for _ in 0..3 * SENT {
            let mut buf = [0; 4];
            assert_eq!(receiver.recv(&mut buf).await.unwrap(), 3);
            let sender = usize::from(buf[0]);
            assert_eq!(u32::from_le_bytes([buf[1], buf[2], 0, 0]), next[sender]);
            next[sender] += 1;
        }
        for sender in senders {
            sender.await;
        }
        assert_eq!(next, [SENT; 3]);
    });
}

/// Sends in a task of its own, and counts how often that is polled.
fn sending(
    socket: UnixDatagram,
    datagram: Vec<u8>,
    at: &AtPath,
) -> (JoinHandle<usize>, Rc<Cell<u32>>) {
    let (path, polls) = (at.0.clone(), Rc::new(Cell::new(0)));
    let counted = polls.clone();
    let task = spawn_boxed(async move {
        let mut send = pin!(socket.send_to(&datagram, &path));
        poll_fn(|cx| {
            counted.set(counted.get() + 1);
            send.as_mut().poll(cx)
        })
        .await
        .unwrap()
    });
    (task, polls)
}

#[test]
fn who_waits_for_a_queue_that_another_filled_sleeps_until_there_is_room() {
    let at = AtPath::new("full");
    block_on(async {
        let receiver = at.bound();
        let (other, waits) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        let filled = fill(&at, &other);
        assert_eq!(waits.try_send_to(b"x", &at.0).unwrap_err().kind(), ErrorKind::WouldBlock);
        let (sender, polls) = sending(waits, b"last".to_vec(), &at);
        WorldCtx::current().ticks(20).await;
        assert_eq!(polls.get(), 1, "it waits for an event");
        // Taken by somebody of whom the runtime hears nothing.
        receiver.try_recv(&mut [0; 8]).unwrap();
        assert_eq!(sender.await, 4);
        for _ in 1..filled {
            assert_eq!(receiver.recv(&mut [0; 8]).await.unwrap(), 1);
        }
        assert_eq!(receiver.recv(&mut [0; 8]).await.unwrap(), 4);
        assert_eq!(IoHandle::current().source_count(), 2, "what waited has gone");
    });
}

#[test]
fn who_waits_for_a_receiver_that_goes_is_told() {
    let at = AtPath::new("gone");
    block_on(async {
        let receiver = at.bound();
        let (other, waits) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        fill(&at, &other);
        let path = at.0.clone();
        let sender = spawn_boxed(async move { waits.send_to(b"last", &path).await });
        WorldCtx::current().ticks(3).await;
        assert!(!sender.is_finished());
        drop(receiver);
        assert_eq!(sender.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_sender_whose_own_buffer_is_full_lets_the_loop_sleep_until_it_is_not() {
    let at = AtPath::new("buffer");
    block_on(async {
        let receiver = at.bound();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_send_buffer_size(1 << 13).unwrap();
        assert!(sender.send_buffer_size().unwrap() >= 1 << 13);
        // Two of them fill the buffer, and the queue has room for more.
        let large = [7; 6 << 10];
        let sent = (0..).find(|_| sender.try_send_to(&large, &at.0).is_err()).unwrap();
        assert!(sent < 5, "{sent}");
        let (waiting, polls) = sending(sender, large.to_vec(), &at);
        WorldCtx::current().ticks(20).await;
        assert_eq!(polls.get(), 1, "it waits for an event");
        assert!(!waiting.is_finished());
        for _ in 0..sent {
            receiver.recv(&mut [0; 8 << 10]).await.unwrap();
        }
        assert_eq!(waiting.await, 6 << 10);
    });
}

#[test]
fn waits_that_are_dropped_leave_nothing_and_lose_nothing() {
    let at = AtPath::new("dropped");
    block_on(async {
        let receiver = at.bound();
        let (other, waits) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        let count = Count::new();
        let mut buf = [0; 8];
        assert!(count.poll(&mut receiver.recv(&mut buf).boxed_local()).is_pending());
        let filled = fill(&at, &other);
        assert!(count.poll(&mut waits.send_to(b"never", &at.0).boxed_local()).is_pending());
        assert_eq!(IoHandle::current().source_count(), 3, "the queue is not watched any more");
        for _ in 0..filled {
            assert_eq!(receiver.recv(&mut buf).await.unwrap(), 1);
        }
        assert_eq!(receiver.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop((receiver, other, waits));
        assert_eq!((count.kept(), IoHandle::current().source_count()), (0, 0));
    });
}

#[test]
fn trying_would_block_and_readable_waits_for_more() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let mut buf = [0; 8];
        assert_eq!(one.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.try_recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(one.readable()).await.is_pending());
        other.writable().await.unwrap();
        assert_eq!(other.try_send(b"now").unwrap(), 3);
        one.readable().await.unwrap();
        assert_eq!(one.try_recv(&mut buf).unwrap(), 3);
    });
}

#[test]
fn a_pair_whose_buffer_is_full_goes_on_when_it_is_read() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let sent = (0..).find(|_| one.try_send(&[0; 1 << 12]).is_err()).unwrap();
        let sender = spawn_boxed(async move { one.send(b"last").await.unwrap() });
        yield_now().await;
        assert!(!sender.is_finished());
        for _ in 0..sent {
            other.recv(&mut [0; 1 << 12]).await.unwrap();
        }
        assert_eq!(other.recv(&mut [0; 8]).await.unwrap(), 4);
        assert_eq!(sender.await, 4);
    });
}

#[test]
fn two_that_receive_from_one_socket_both_get_on() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let one = Rc::new(one);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let one = one.clone();
                spawn_boxed(async move { one.recv(&mut [0; 8]).await.unwrap() })
            })
            .collect();
        yield_now().await;
        other.send(b"a").await.unwrap();
        other.send(b"b").await.unwrap();
        for reader in readers {
            assert_eq!(reader.await, 1);
        }
    });
}

#[test]
fn an_end_that_was_shut_down_says_so() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.shutdown(Shutdown::Both).unwrap();
        assert_eq!(one.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(other.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(other.take_error().unwrap().is_none());
    });
}

#[test]
fn sockets_move_to_the_standard_library_and_back() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let one = UnixDatagram::from_std(one.into_std().unwrap()).unwrap();
        other.send(b"back").await.unwrap();
        assert_eq!(one.recv(&mut [0; 8]).await.unwrap(), 4);
    });
}

#[test]
fn a_socket_that_outlives_its_runtime_gives_errors() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let (one, _other) = Runtime::new(&mut world).block_on(async { UnixDatagram::pair().unwrap() });
    assert_eq!(one.try_recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::Other);
    block_on(async {
        assert_eq!(one.recv(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(one.send_to(b"x", "nowhere").await.unwrap_err().kind(), ErrorKind::Other);
    });
}

#[test]
fn constructors_outside_a_runtime_panic_by_name() {
    #[track_caller]
    fn check<T>(name: &str, make: impl FnOnce() -> T) {
        let message = panic_message(|| drop(make()));
        assert!(message.contains(name) && message.contains("block_on"), "{message}");
    }
    check("UnixDatagram::pair()", UnixDatagram::pair);
    check("UnixDatagram::unbound()", UnixDatagram::unbound);
    check("UnixDatagram::bind()", || UnixDatagram::bind("nowhere"));
}
