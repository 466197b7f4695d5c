//! [`UdpSocket`]: datagrams. Its options are in [`options`].

mod options;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    task::{Context, Poll},
};

use super::{IoHandle, io_source::IoSource};
use crate::reactor::Direction;

/// A UDP socket, registered in the runtime in which it was made.
///
/// Its methods take `&self`: tasks share it in an `Rc`. One that receives and one that sends do not
/// disturb each other. Two that wait in the same direction both get on, but wake each other in turn and
/// keep the loop awake; give each direction one task. Dropping the socket closes it.
///
/// A datagram is sent and received whole. What does not fit into the receiver's buffer is lost.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::UdpSocket, spawn_boxed};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let server = UdpSocket::bind("127.0.0.1:0".parse()?)?;
///     let addr = server.local_addr()?;
///     let echo = spawn_boxed(async move {
///         let mut buf = [0; 1_500];
///         let (len, from) = server.recv_from(&mut buf).await?;
///         server.send_to(&buf[..len], from).await
///     });
///     let client = UdpSocket::bind("127.0.0.1:0".parse()?)?;
///     client.connect(addr)?;
///     client.send(b"on the beat").await?;
///     let mut said = [0; 1_500];
///     let len = client.recv(&mut said).await?;
///     assert_eq!(&said[..len], b"on the beat");
///     echo.await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn socket_is_not_send(socket: onbeat::net::UdpSocket) {
///     send(socket);
/// }
/// ```
///
/// Without waiting, and by hand:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::UdpSocket};
/// use std::{future::poll_fn, io::ErrorKind};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let feed = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
///     let book = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
///     let (feed_addr, book_addr) = (feed.local_addr()?, book.local_addr()?);
///     let mut buf = [0; 8];
///     assert_eq!(book.try_recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
///
///     feed.writable().await?;
///     poll_fn(|cx| feed.poll_send_ready(cx)).await?;
///     feed.try_send_to(b"bid", book_addr)?;
///     poll_fn(|cx| feed.poll_send_to(cx, b"ask", book_addr)).await?;
///     book.readable().await?;
///     poll_fn(|cx| book.poll_recv_ready(cx)).await?;
///     assert_eq!(book.peek_from(&mut buf).await?, (3, feed_addr));
///     assert_eq!(poll_fn(|cx| book.poll_recv_from(cx, &mut buf)).await?, (3, feed_addr));
///     assert_eq!(book.recv_from(&mut buf).await?, (3, feed_addr));
///     assert_eq!(&buf[..3], b"ask");
///
///     feed.connect(book_addr)?;
///     book.connect(feed_addr)?;
///     assert_eq!(feed.peer_addr()?, book_addr);
///     feed.try_send(b"bid")?;
///     poll_fn(|cx| feed.poll_send(cx, b"ask")).await?;
///     assert_eq!(book.peek(&mut buf).await?, 3);
///     assert_eq!(poll_fn(|cx| book.poll_recv(cx, &mut buf)).await?, 3);
///     book.readable().await?;
///     assert_eq!(book.try_recv(&mut buf)?, 3);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    io: IoSource<mio::net::UdpSocket>,
}

/// Making one, and what it is connected to.
impl UdpSocket {
    /// A socket bound to `addr`; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// Those of the system, such as [`AddrInUse`](io::ErrorKind::AddrInUse).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UdpSocket::bind()");
        Self::register(handle, mio::net::UdpSocket::bind(addr)?)
    }

    /// Takes over a socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UdpSocket};
    ///
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let addr = socket.local_addr()?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let socket = UdpSocket::from_std(socket)?;
    ///     assert_eq!(socket.local_addr()?, addr);
    ///     let socket: std::net::UdpSocket = socket.into_std()?;
    ///     assert_eq!(socket.local_addr()?, addr);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UdpSocket::from_std()");
        socket.set_nonblocking(true)?;
        Self::register(handle, mio::net::UdpSocket::from_std(socket))
    }

    /// Gives the socket to the standard library. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// [`from_std`](Self::from_std) has an example.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        Ok(self.as_fd().try_clone_to_owned()?.into())
    }

    /// Sets the peer of [`send`](Self::send), and receives from it alone.
    ///
    /// Nothing is sent. That nobody is there is an error of a later call:
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), once.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.io.source().connect(addr)
    }

    /// The address of this end, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().peer_addr()
    }

    fn register(handle: IoHandle, socket: mio::net::UdpSocket) -> io::Result<Self> {
        Ok(Self { io: IoSource::shared(handle, socket)? })
    }
}

/// Receiving and sending.
impl UdpSocket {
    /// Waits for a datagram and its sender. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of the system call, and [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no datagram: one that was not given out stays in the socket.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buf)).await
    }

    /// The poll of [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.io.poll_io(cx, Direction::Read, |socket| socket.recv_from(buf))
    }

    /// Takes a datagram that is there, without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none is there, and those of
    /// [`recv_from`](Self::recv_from).
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Direction::Read, |socket| socket.recv_from(buf))
    }

    /// As [`recv_from`](Self::recv_from), but leaves the datagram in the socket.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.io.poll_io(cx, Direction::Read, |socket| socket.peek_from(buf))).await
    }

    /// Waits for a datagram. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of the system call, [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when the peer
    /// of [`connect`](Self::connect) did not listen, and [`Other`](io::ErrorKind::Other) when the runtime
    /// has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no datagram: one that was not given out stays in the socket.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buf)).await
    }

    /// The poll of [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_io(cx, Direction::Read, |socket| socket.recv(buf))
    }

    /// Takes a datagram that is there, without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none is there, and those of
    /// [`recv`](Self::recv).
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Direction::Read, |socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), but leaves the datagram in the socket.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.io.poll_io(cx, Direction::Read, |socket| socket.peek(buf))).await
    }

    /// Sends a datagram to `addr`, and waits while the socket takes none.
    ///
    /// # Errors
    ///
    /// Those of the system call, such as one for a datagram that is too long, and
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping a future that was not ready has sent nothing.
    pub async fn send_to(&self, buf: &[u8], addr: SocketAddr) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_to(cx, buf, addr)).await
    }

    /// The poll of [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        addr: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_io(cx, Direction::Write, |socket| socket.send_to(buf, addr))
    }

    /// Sends a datagram to `addr`, without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the socket takes none, and those of
    /// [`send_to`](Self::send_to).
    pub fn try_send_to(&self, buf: &[u8], addr: SocketAddr) -> io::Result<usize> {
        self.io.try_io(Direction::Write, |socket| socket.send_to(buf, addr))
    }

    /// Sends a datagram to the peer of [`connect`](Self::connect), and waits while the socket takes none.
    ///
    /// # Errors
    ///
    /// Those of the system call, [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when the peer
    /// did not listen for one before, and [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping a future that was not ready has sent nothing.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, buf)).await
    }

    /// The poll of [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_io(cx, Direction::Write, |socket| socket.send(buf))
    }

    /// Sends a datagram to the peer of [`connect`](Self::connect), without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the socket takes none, and those of
    /// [`send`](Self::send).
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_io(Direction::Write, |socket| socket.send(buf))
    }

    /// Waits until [`try_recv`](Self::try_recv) is worth a call. It may still find nothing, and then this
    /// waits for an event.
    ///
    /// # Errors
    ///
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_recv_ready(cx)).await
    }

    /// The poll of [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// Those of [`readable`](Self::readable).
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Direction::Read)
    }

    /// Waits until [`try_send`](Self::try_send) is worth a call. It may still send nothing, and then this
    /// waits for an event.
    ///
    /// # Errors
    ///
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send_ready(cx)).await
    }

    /// The poll of [`writable`](Self::writable).
    ///
    /// # Errors
    ///
    /// Those of [`writable`](Self::writable).
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Direction::Write)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}
