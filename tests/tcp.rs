//! TCP over loopback: connecting, reading and writing, halves, and the ways in which a connection ends.

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    panic::catch_unwind,
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{Count, block_on, poll_once, watchdog};
use futures::{
    AsyncReadExt, AsyncWriteExt, future,
    stream::{FuturesUnordered, StreamExt},
};
use onbeat::{
    IoHandle,
    net::{TcpListener, TcpSocket, TcpStream},
    spawn_boxed, yield_now,
};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Two ends of one connection.
async fn pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind(loopback()).unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = future::join(connect, listener.accept()).await;
    (client.unwrap(), server.unwrap().0)
}

#[test]
fn an_echo_comes_back() {
    block_on(async {
        let mut listener = TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = spawn_boxed(async move {
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, stream.peer_addr().unwrap());
            let mut buf = [0; 16];
            loop {
                let read = stream.read(&mut buf).await.unwrap();
                if read == 0 {
                    break;
                }
                stream.write_all(&buf[..read]).await.unwrap();
            }
        });
        let mut stream = TcpStream::connect(addr).await.unwrap();
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
fn a_half_closed_stream_still_reads() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    });
}

#[test]
fn a_waiting_reader_hears_of_the_end() {
    block_on(async {
        let (mut client, server) = pair().await;
        let reader = spawn_boxed(async move { client.read(&mut [0; 8]).await.unwrap() });
        yield_now().await;
        drop(server);
        assert_eq!(reader.await, 0);
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    let closed = std::net::TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    block_on(async {
        let error = TcpStream::connect(closed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpSocket::new_v4().unwrap().connect(closed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(IoHandle::current().source_count(), 0);
    });
}

#[test]
fn a_reset_by_the_peer_is_an_error_for_the_waiting_reader() {
    block_on(async {
        let (mut client, server) = pair().await;
        let reader = spawn_boxed(async move { client.read(&mut [0; 8]).await });
        yield_now().await;
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(reader.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn writing_to_a_closed_peer_becomes_an_error() {
    block_on(async {
        let (mut client, server) = pair().await;
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let error = loop {
            if let Err(error) = client.write(b"anybody there?").await {
                break error;
            }
            yield_now().await;
        };
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    });
}

#[test]
fn a_stream_dropped_while_its_reader_waits_leaves_nothing() {
    block_on(async {
        let (mut client, server) = pair().await;
        let io = IoHandle::current();
        let before = io.source_count();
        let count = Count::new();
        let mut buf = [0; 8];
        assert!(count.poll(&mut Box::pin(client.read(&mut buf))).is_pending());
        assert_eq!(count.kept(), 1);
        drop(client);
        assert_eq!(count.kept(), 0);
        assert_eq!(io.source_count(), before - 1);
        drop(server);
        yield_now().await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_reader_aborted_while_it_waits_closes_its_stream() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let reader = spawn_boxed(async move { client.read(&mut [0; 8]).await });
        yield_now().await;
        reader.abort();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

/// Writes until the system takes no more, and says how much that was.
fn fill(stream: &TcpStream) -> usize {
    let mut filled = 0;
    while let Ok(written) = stream.try_write(&[7; 1 << 16]) {
        filled += written;
    }
    filled
}

#[test]
fn split_halves_in_two_tasks() {
    block_on(async {
        let (client, mut server) = pair().await;
        let filled = fill(&client);
        let (mut read, mut write) = client.into_split();
        let reader = spawn_boxed(async move {
            let mut buf = [0; 1];
            read.read_exact(&mut buf).await.unwrap();
            buf[0]
        });
        yield_now().await;
        let writer = spawn_boxed(async move { write.write_all(b"w").await.unwrap() });
        yield_now().await;
        assert!(!reader.is_finished() && !writer.is_finished());

        // The writer was the last to wait, and the reader is woken all the same.
        server.write_all(b"r").await.unwrap();
        assert_eq!(reader.await, b'r');
        assert!(!writer.is_finished());

        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        writer.await;
        assert_eq!((all.len(), all.last()), (filled + 1, Some(&b'w')));
    });
}

#[test]
fn borrowed_halves_work_in_one_task() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let echo = spawn_boxed(async move {
            let mut buf = [0; 5];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
        });
        let (mut read, mut write) = TcpStream::split(&mut client);
        let mut buf = [0; 5];
        let (read, written) =
            future::join(read.read_exact(&mut buf), write.write_all(b"again")).await;
        read.unwrap();
        written.unwrap();
        assert_eq!(&buf, b"again");
        echo.await;
    });
}

/// A megabyte in which each byte tells its place.
fn megabyte(seed: usize) -> Vec<u8> {
    (0..1 << 20).map(|place| ((place + seed) % 251) as u8).collect()
}

#[test]
fn a_megabyte_crosses_in_both_directions_at_once() {
    block_on(async {
        let (client, server) = pair().await;
        let tasks = [(client, 1, 2), (server, 2, 1)].map(|(stream, sends, expects)| {
            let (mut read, mut write) = stream.into_split();
            let writer =
                spawn_boxed(async move { write.write_all(&megabyte(sends)).await.unwrap() });
            let reader = spawn_boxed(async move {
                let mut all = Vec::new();
                read.read_to_end(&mut all).await.unwrap();
                assert!(all == megabyte(expects));
            });
            (writer, reader)
        });
        for (writer, reader) in tasks {
            writer.await;
            reader.await;
        }
    });
}

#[test]
fn dropping_the_owned_write_half_ends_the_writing_side_only() {
    block_on(async {
        let (client, mut server) = pair().await;
        let (mut read, write) = client.into_split();
        drop(write);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        server.write_all(b"still here").await.unwrap();
        let mut buf = [0; 10];
        read.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"still here");
    });
}

#[test]
fn a_forgotten_write_half_leaves_the_writing_side_open() {
    block_on(async {
        let (client, mut server) = pair().await;
        let (_read, write) = client.into_split();
        write.forget();
        assert!(poll_once(server.read(&mut [0; 8])).await.is_pending());
    });
}

#[test]
fn reunited_halves_are_the_stream_again() {
    block_on(async {
        let (client, mut server) = pair().await;
        let (read, write) = client.into_split();
        let mut client = read.reunite(write).unwrap();
        client.write_all(b"one").await.unwrap();
        let mut buf = [0; 3];
        server.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"one");
    });
}

#[test]
fn halves_of_two_streams_are_given_back() {
    block_on(async {
        let (client, server) = pair().await;
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let error = client_read.reunite(server_write).unwrap_err();
        let (client_read, server_write) = (error.0, error.1);
        assert!(client_write.reunite(client_read).is_ok());
        assert!(server_read.reunite(server_write).is_ok());
    });
}

#[test]
fn trying_to_read_nothing_would_block_and_readable_waits_for_more() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let mut buf = [0; 8];
        assert_eq!(client.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(client.readable()).await.is_pending());
        server.write_all(b"now").await.unwrap();
        client.readable().await.unwrap();
        assert_eq!(client.try_read(&mut buf).unwrap(), 3);
    });
}

#[test]
fn writable_waits_until_the_peer_has_read() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let filled = fill(&client);
        assert!(poll_once(client.writable()).await.is_pending());
        let reader = spawn_boxed(async move {
            let mut left = filled;
            let mut buf = vec![0; 1 << 16];
            while left > 0 {
                left -= server.read(&mut buf).await.unwrap();
            }
            server
        });
        client.writable().await.unwrap();
        assert!(client.try_write(b"x").is_ok());
        drop(reader.await);
    });
}

#[test]
fn peeking_leaves_the_bytes() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        server.write_all(b"look").await.unwrap();
        let mut buf = [0; 4];
        assert_eq!(client.peek(&mut buf).await.unwrap(), 4);
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"look");
    });
}

#[test]
fn an_end_within_read_exact_is_an_error() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        server.write_all(b"abc").await.unwrap();
        drop(server);
        let error = client.read_exact(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    block_on(async {
        let mut listener = TcpListener::bind(loopback()).unwrap();
        assert!(poll_once(listener.accept()).await.is_pending());
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let client = connect.await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn connections_that_arrive_together_are_all_accepted() {
    block_on(async {
        let mut listener = TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = spawn_boxed(async move {
            for _ in 0..50 {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(spawn_boxed(async move {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    stream.write_all(&[byte[0] + 1]).await.unwrap();
                }));
            }
        });
        // FuturesUnordered polls with wakers of its own.
        let mut clients: FuturesUnordered<_> = (0..50)
            .map(|number| async move {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(&[number]).await.unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], number + 1);
            })
            .collect();
        let mut served = 0;
        while clients.next().await.is_some() {
            served += 1;
        }
        assert_eq!(served, 50);
        server.await;
    });
}

#[test]
fn a_peer_on_another_thread_wakes_the_parked_runtime() {
    block_on(async {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            for _ in 0..100 {
                stream.read_exact(&mut byte).unwrap();
                stream.write_all(&byte).unwrap();
            }
        });
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for number in 0..100 {
            stream.write_all(&[number]).await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte[0], number);
        }
        peer.join().unwrap();
    });
}

#[test]
fn the_traits_of_futures_io_carry_whole_buffers() {
    block_on(async {
        let (client, server) = pair().await;
        let (read, mut write) = client.split();
        let bufs = [std::io::IoSlice::new(b"two "), std::io::IoSlice::new(b"parts")];
        assert_eq!(write.write_vectored(&bufs).await.unwrap(), 9);
        write.close().await.unwrap();
        let mut said = String::new();
        let mut server = server;
        server.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "two parts");
        drop((read, write));
    });
}

#[test]
fn streams_move_to_the_standard_library_and_back() {
    block_on(async {
        let (client, mut server) = pair().await;
        let sources = IoHandle::current().source_count();
        let std_client = client.into_std().unwrap();
        assert_eq!(IoHandle::current().source_count(), sources - 1);
        let mut client = TcpStream::from_std(std_client).unwrap();
        server.write_all(b"back").await.unwrap();
        let mut buf = [0; 4];
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"back");
    });
}

#[test]
fn one_address_has_several_listeners_where_each_allows_it() {
    block_on(async {
        let listen = |addr, shared| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(shared).unwrap();
            assert_eq!(socket.reuseport().unwrap(), shared);
            socket.bind(addr).map(|()| socket.listen(16).unwrap())
        };
        let first = listen(loopback(), true).unwrap();
        let addr = first.local_addr().unwrap();
        let second = listen(addr, true).unwrap();
        assert_eq!(second.local_addr().unwrap(), addr);
        assert_eq!(listen(addr, false).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn options_are_what_was_set() {
    block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        assert!(socket.reuseaddr().unwrap());
        socket.bind(loopback()).unwrap();
        let bound = socket.local_addr().unwrap();
        let mut listener = socket.listen(16).unwrap();
        assert_eq!(listener.local_addr().unwrap(), bound);

        let socket = TcpSocket::new_v4().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_keepalive(true).unwrap();
        socket.set_recv_buffer_size(1 << 16).unwrap();
        socket.set_ttl(9).unwrap();
        assert_eq!(socket.ttl().unwrap(), 9);
        let stream = socket.connect(bound).await.unwrap();
        listener.accept().await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(stream.keepalive().unwrap());
        assert!(stream.recv_buffer_size().unwrap() >= 1 << 16);
        stream.set_linger(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(stream.ttl().unwrap(), 9, "what the socket was given");
        stream.set_ttl(8).unwrap();
        assert_eq!(stream.ttl().unwrap(), 8);
        assert!(stream.take_error().unwrap().is_none());
    });
}

#[test]
fn a_port_in_use_is_an_error() {
    block_on(async {
        let listener = TcpListener::bind(loopback()).unwrap();
        let error = TcpListener::bind(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn an_empty_buffer_reads_nothing_at_once() {
    block_on(async {
        let (mut client, _server) = pair().await;
        client.write_all(&[]).await.unwrap();
        client.read_exact(&mut []).await.unwrap();
    });
}

#[test]
fn a_reader_polled_with_another_waker_wakes_that_one() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let (first, second) = (Count::new(), Count::new());
        let mut read = |count: &std::sync::Arc<Count>| {
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);
            futures::AsyncRead::poll_read(Pin::new(&mut client), &mut cx, &mut [0; 8])
        };
        assert!(read(&first).is_pending());
        assert!(read(&second).is_pending());
        assert_eq!((first.kept(), second.kept()), (0, 1));
        server.write_all(b"x").await.unwrap();
        while second.wakes() == 0 {
            yield_now().await;
        }
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
        assert!(matches!(read(&second), Poll::Ready(Ok(1))));
    });
}

#[test]
fn constructors_outside_a_runtime_panic_by_name() {
    let _guard = watchdog(common::LIMIT_SECONDS);
    #[track_caller]
    fn check<T>(name: &str, make: impl FnOnce() -> T + std::panic::UnwindSafe) {
        let Err(payload) = catch_unwind(make) else {
            panic!("{name} works outside a runtime");
        };
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains(name) && message.contains("block_on"), "{message}");
    }
    check("IoHandle::current()", IoHandle::current);
    check("TcpListener::bind()", || TcpListener::bind(loopback()));
    check("TcpStream::connect()", || TcpStream::connect(loopback()));
    check("TcpStream::from_std()", || {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        TcpStream::from_std(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    });
    check("TcpSocket::listen()", || TcpSocket::new_v4().unwrap().listen(1));
}
