//! UDP over loopback: datagrams whole or cut off, connected sockets, sharing, and the ways in which one
//! stops waiting.

mod common;

use std::{
    cell::Cell,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    panic::catch_unwind,
    rc::Rc,
    thread,
};

use bevy_ecs::world::World;
use common::{Count, Drops, block_on, parked_and_busy, poll_once, watchdog};
use futures::{FutureExt, future};
use onbeat::{IoHandle, Runtime, net::UdpSocket, spawn_boxed, yield_now};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn bound() -> UdpSocket {
    UdpSocket::bind(loopback()).unwrap()
}

/// Two sockets connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (bound(), bound());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

#[test]
fn an_echo_comes_back() {
    parked_and_busy(|| async {
        let server = bound();
        let addr = server.local_addr().unwrap();
        let echo = spawn_boxed(async move {
            let mut buf = [0; 64];
            for _ in 0..2 {
                let (len, from) = server.recv_from(&mut buf).await.unwrap();
                assert_eq!(server.send_to(&buf[..len], from).await.unwrap(), len);
            }
        });
        let client = bound();
        for text in ["one", "and another one"] {
            client.send_to(text.as_bytes(), addr).await.unwrap();
            let mut buf = [0; 64];
            let (len, from) = client.recv_from(&mut buf).await.unwrap();
            assert_eq!((&buf[..len], from), (text.as_bytes(), addr));
        }
        echo.await;
    });
}

#[test]
fn connected_sockets_hear_each_other_alone() {
    block_on(async {
        let (one, other) = pair();
        assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
        bound().send_to(b"stranger", one.local_addr().unwrap()).await.unwrap();
        other.send(b"friend").await.unwrap();
        let mut buf = [0; 64];
        let len = one.recv(&mut buf).await.unwrap();
        assert_eq!(&buf[..len], b"friend");
    });
}

#[test]
fn what_does_not_fit_is_cut_off_and_lost() {
    block_on(async {
        let (one, other) = pair();
        one.send(b"longer than four").await.unwrap();
        one.send(b"next").await.unwrap();
        let mut buf = [0; 4];
        assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"long");
        assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"next");
    });
}

#[test]
fn an_empty_datagram_is_one_too() {
    block_on(async {
        let (one, other) = pair();
        assert_eq!(one.send(&[]).await.unwrap(), 0);
        assert_eq!(other.recv(&mut [0; 4]).await.unwrap(), 0);
        assert!(poll_once(other.recv(&mut [0; 4])).await.is_pending());
    });
}

#[test]
fn a_datagram_that_is_too_long_is_an_error() {
    block_on(async {
        let (one, _other) = pair();
        assert!(one.send(&vec![0; 1 << 17]).await.is_err());
        assert_eq!(one.send(b"short").await.unwrap(), 5);
    });
}

#[test]
fn nobody_at_the_other_end_is_an_error_for_who_waits() {
    block_on(async {
        let one = bound();
        let gone = bound();
        one.connect(gone.local_addr().unwrap()).unwrap();
        drop(gone);
        let one = Rc::new(one);
        let reader = spawn_boxed({
            let one = one.clone();
            async move { one.recv(&mut [0; 4]).await }
        });
        yield_now().await;
        one.send(b"hello?").await.unwrap();
        assert_eq!(reader.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_reader_and_a_writer_share_a_socket() {
    parked_and_busy(|| async {
        let (one, other) = pair();
        let (one, other) = (Rc::new(one), Rc::new(other));
        let tasks = [one.clone(), other.clone()].map(|socket| {
            let reader = spawn_boxed({
                let socket = socket.clone();
                async move {
                    let mut buf = [0];
                    for number in 0..100 {
                        socket.recv(&mut buf).await.unwrap();
                        assert_eq!(buf[0], number);
                    }
                }
            });
            let writer = spawn_boxed(async move {
                for number in 0..100 {
                    socket.send(&[number]).await.unwrap();
                    yield_now().await;
                }
            });
            (reader, writer)
        });
        for (reader, writer) in tasks {
            reader.await;
            writer.await;
        }
    });
}

#[test]
fn two_who_wait_for_one_direction_both_get_on() {
    block_on(async {
        let (one, other) = pair();
        let other = Rc::new(other);
        let readers = [0; 2].map(|_| {
            let other = other.clone();
            spawn_boxed(async move { other.recv(&mut [0; 4]).await.unwrap() })
        });
        for _ in 0..3 {
            yield_now().await;
        }
        one.send(b"a").await.unwrap();
        one.send(b"b").await.unwrap();
        for reader in readers {
            assert_eq!(reader.await, 1);
        }
    });
}

#[test]
fn a_waker_that_makes_way_for_another_is_woken() {
    block_on(async {
        let (_one, other) = pair();
        let (first, second) = (Count::new(), Count::new());
        let (mut buf, mut further) = ([0; 4], [0; 4]);
        let mut early = other.recv(&mut buf).boxed_local();
        let mut late = other.recv(&mut further).boxed_local();
        assert!(first.poll(&mut early).is_pending());
        assert!(second.poll(&mut late).is_pending());
        assert_eq!((first.wakes(), first.kept()), (1, 0));
        // The same one again takes nobody's place.
        assert!(second.poll(&mut late).is_pending());
        assert_eq!((second.wakes(), second.kept()), (0, 1));
    });
}

#[test]
fn a_receive_that_is_dropped_loses_no_datagram() {
    block_on(async {
        let (one, other) = pair();
        assert!(poll_once(other.recv(&mut [0; 4])).await.is_pending());
        one.send(b"kept").await.unwrap();
        let mut buf = [0; 4];
        assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"kept");
    });
}

#[test]
fn a_socket_dropped_while_somebody_waits_leaves_nothing() {
    block_on(async {
        let (one, other) = pair();
        let io = IoHandle::current();
        let before = io.source_count();
        let count = Count::new();
        let mut buf = [0; 8];
        assert!(count.poll(&mut other.recv(&mut buf).boxed_local()).is_pending());
        assert_eq!(count.kept(), 1);
        drop(other);
        assert_eq!((count.kept(), io.source_count()), (0, before - 1));
        drop(one);
        yield_now().await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_reader_aborted_while_it_waits_closes_its_socket() {
    block_on(async {
        let dropped = Rc::new(Cell::new(0));
        let own = Drops::counted_by(&dropped);
        let socket = bound();
        let addr = socket.local_addr().unwrap();
        let reader = spawn_boxed(async move {
            let _own = own;
            socket.recv(&mut [0; 8]).await
        });
        yield_now().await;
        reader.abort();
        yield_now().await;
        assert_eq!(dropped.get(), 1);
        assert!(UdpSocket::bind(addr).is_ok(), "the port is free");
    });
}

#[test]
fn trying_would_block_and_readable_waits_for_more() {
    block_on(async {
        let (one, other) = pair();
        let mut buf = [0; 8];
        assert_eq!(other.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(other.readable()).await.is_pending());
        one.writable().await.unwrap();
        assert_eq!(one.try_send(b"now").unwrap(), 3);
        other.readable().await.unwrap();
        assert_eq!(other.try_recv_from(&mut buf).unwrap(), (3, one.local_addr().unwrap()));
        let stranger = bound();
        assert_eq!(stranger.try_send_to(b"x", loopback_of(&stranger)).unwrap(), 1);
        stranger.readable().await.unwrap();
        assert_eq!(stranger.try_recv(&mut buf).unwrap(), 1);
    });
}

fn loopback_of(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

#[test]
fn peeking_leaves_the_datagram() {
    block_on(async {
        let (one, other) = pair();
        one.send(b"look").await.unwrap();
        let mut buf = [0; 8];
        let from = one.local_addr().unwrap();
        assert_eq!(other.peek_from(&mut buf).await.unwrap(), (4, from));
        assert_eq!(other.peek(&mut buf).await.unwrap(), 4);
        assert_eq!(other.recv_from(&mut buf).await.unwrap(), (4, from));
        assert!(poll_once(other.peek(&mut buf)).await.is_pending());
    });
}

#[test]
fn a_burst_is_received_whole_and_in_order() {
    block_on(async {
        let (one, other) = pair();
        for number in 0..64 {
            one.send(&[number; 8]).await.unwrap();
        }
        let mut buf = [0; 8];
        for number in 0..64 {
            assert_eq!(other.recv(&mut buf).await.unwrap(), 8);
            assert_eq!(buf, [number; 8]);
        }
    });
}

#[test]
fn a_peer_on_another_thread_wakes_the_parked_runtime() {
    block_on(async {
        let socket = bound();
        let addr = socket.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let own = std::net::UdpSocket::bind(loopback()).unwrap();
            let mut byte = [0];
            for number in 0..100 {
                own.send_to(&[number], addr).unwrap();
                own.recv_from(&mut byte).unwrap();
                assert_eq!(byte[0], number + 1);
            }
        });
        let mut byte = [0];
        for _ in 0..100 {
            let (_, from) = socket.recv_from(&mut byte).await.unwrap();
            socket.send_to(&[byte[0] + 1], from).await.unwrap();
        }
        peer.join().unwrap();
    });
}

#[test]
fn sockets_move_to_the_standard_library_and_back() {
    block_on(async {
        let (one, other) = pair();
        let sources = IoHandle::current().source_count();
        let other = other.into_std().unwrap();
        assert_eq!(IoHandle::current().source_count(), sources - 1);
        let other = UdpSocket::from_std(other).unwrap();
        let (sent, received) = future::join(one.send(b"back"), other.recv(&mut [0; 8])).await;
        assert_eq!((sent.unwrap(), received.unwrap()), (4, 4));
    });
}

#[test]
fn a_socket_that_outlives_its_runtime_gives_errors() {
    let _guard = watchdog(common::LIMIT_SECONDS);
    let mut world = World::new();
    let (one, other) = Runtime::new(&mut world).block_on(async { pair() });
    assert_eq!(one.try_send(b"x").unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(other.try_recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::Other);
    block_on(async {
        assert_eq!(one.send(b"x").await.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(other.recv(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(other.readable().await.unwrap_err().kind(), ErrorKind::Other);
    });
    assert!(one.local_addr().is_ok());
    drop((one, other));
}

#[test]
fn options_are_what_was_set() {
    block_on(async {
        let socket = bound();
        socket.set_ttl(9).unwrap();
        assert_eq!(socket.ttl().unwrap(), 9);
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        socket.set_multicast_loop_v4(false).unwrap();
        assert!(!socket.multicast_loop_v4().unwrap());
        socket.set_multicast_ttl_v4(3).unwrap();
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 3);
        socket.set_recv_buffer_size(1 << 16).unwrap();
        assert!(socket.recv_buffer_size().unwrap() >= 1 << 16);
        socket.set_send_buffer_size(1 << 16).unwrap();
        assert!(socket.send_buffer_size().unwrap() >= 1 << 16);
        assert!(socket.take_error().unwrap().is_none());
    });
}

#[test]
fn who_has_joined_a_group_hears_it_until_it_leaves() {
    block_on(async {
        let (group, here) = (Ipv4Addr::new(239, 77, 3, 9), Ipv4Addr::LOCALHOST);
        let listener = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.join_multicast_v4(group, here).unwrap();
        let error = listener.join_multicast_v4(group, here).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let sender = bound();
        socket2::SockRef::from(&sender).set_multicast_if_v4(&here).unwrap();
        sender.send_to(b"all", SocketAddr::from((group, port))).await.unwrap();
        assert_eq!(listener.recv(&mut [0; 8]).await.unwrap(), 3);
        listener.leave_multicast_v4(group, here).unwrap();
        assert!(listener.leave_multicast_v4(group, here).is_err());
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    block_on(async {
        let socket = bound();
        let error = UdpSocket::bind(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn constructors_outside_a_runtime_panic_by_name() {
    #[track_caller]
    fn check<T>(name: &str, make: impl FnOnce() -> T + std::panic::UnwindSafe) {
        let Err(payload) = catch_unwind(make) else {
            panic!("{name} works outside a runtime");
        };
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains(name) && message.contains("block_on"), "{message}");
    }
    check("UdpSocket::bind()", || UdpSocket::bind(loopback()));
    check("UdpSocket::from_std()", || {
        UdpSocket::from_std(std::net::UdpSocket::bind(loopback()).unwrap())
    });
}
