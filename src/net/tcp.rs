//! [`TcpStream`]: one connection.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;

use super::{
    IoHandle,
    io_source::IoSource,
    methods::{peeking, reading, writing},
    split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
};
use crate::reactor::Direction;

/// One TCP connection, registered in the runtime in which it was made.
///
/// It reads and writes by its own methods, and by the `AsyncRead` and `AsyncWrite` of `futures-io`.
/// Dropping it closes the connection.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}, spawn_boxed};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
///     let addr = listener.local_addr()?;
///     let server = spawn_boxed(async move {
///         let (mut stream, _) = listener.accept().await?;
///         stream.write_all(b"on the beat").await
///     });
///     let mut stream = TcpStream::connect(addr).await?;
///     let mut said = [0; 11];
///     stream.read_exact(&mut said).await?;
///     assert_eq!(&said, b"on the beat");
///     server.await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn stream_is_not_send(stream: onbeat::net::TcpStream) {
///     send(stream);
/// }
/// ```
///
/// What is read and written without waiting, or by hand:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}};
/// use std::{future::poll_fn, io::ErrorKind};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     assert_eq!(server.peer_addr()?, client.local_addr()?);
///
///     let mut buf = [0; 8];
///     assert_eq!(server.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
///     client.writable().await?;
///     poll_fn(|cx| client.poll_write_ready(cx)).await?;
///     assert_eq!(client.try_write(b"tick")?, 4);
///     assert_eq!(client.write(b"s").await?, 1);
///     client.flush().await?;
///
///     server.readable().await?;
///     poll_fn(|cx| server.poll_read_ready(cx)).await?;
///     assert!(server.peek(&mut buf).await? > 0);
///     server.read_exact(&mut buf[..5]).await?;
///     assert_eq!(&buf[..5], b"ticks");
///
///     client.shutdown(std::net::Shutdown::Write)?;
///     assert_eq!(server.read(&mut buf).await?, 0);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    io: IoSource<mio::net::TcpStream>,
}

reading!(TcpStream);
peeking!(TcpStream);
writing!(TcpStream);

impl TcpStream {
    /// Starts to connect to `addr`; the future completes when the connection stands.
    ///
    /// # Errors
    ///
    /// Those of the system, such as
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), when the future is awaited.
    ///
    /// # Panics
    ///
    /// Outside a runtime, at the call.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the attempt up and closes the socket.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Connect {
        let handle = IoHandle::needed_by("TcpStream::connect()");
        Connect::new(mio::net::TcpStream::connect(addr).and_then(|s| Self::register(handle, s)))
    }

    /// Takes over a connection of the standard library, and makes it non-blocking.
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
    /// use onbeat::{Runtime, net::TcpStream};
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let stream = TcpStream::from_std(stream)?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     let stream: std::net::TcpStream = stream.into_std()?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        let handle = IoHandle::needed_by("TcpStream::from_std()");
        stream.set_nonblocking(true)?;
        Self::register(handle, mio::net::TcpStream::from_std(stream))
    }

    /// Gives the connection to the standard library. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// [`from_std`](Self::from_std) has an example.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.as_fd().try_clone_to_owned()?.into())
    }

    /// Two halves that borrow the stream, for two futures of one task.
    ///
    /// Where `futures::AsyncReadExt` is in scope, `stream.split()` is that trait's, which takes the
    /// stream; `TcpStream::split(&mut stream)` is this one.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, join, net::{TcpListener, TcpStream}};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    ///     let mut stream = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (mut server, _) = listener.accept().await?;
    ///     let (mut reads, mut writes) = stream.split();
    ///     let (mut asked, mut said) = ([0; 3], [0; 3]);
    ///     let (written, read, echoed) = join((
    ///         writes.write_all(b"bid"),
    ///         reads.read_exact(&mut said),
    ///         async {
    ///             server.read_exact(&mut asked).await?;
    ///             server.write_all(&asked).await
    ///         },
    ///     ))
    ///     .await;
    ///     written.and(read).and(echoed)?;
    ///     assert_eq!(&said, b"bid");
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::borrowed(self)
    }

    /// Two halves that own the stream together, for two tasks.
    ///
    /// Dropping the write half ends the writing side; the connection is closed with the second half.
    ///
    /// [`OwnedReadHalf`] and [`OwnedWriteHalf`] have examples.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::owned(self)
    }

    /// Ends the reading side, the writing side or both.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) after a reset, on some systems.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    /// Takes the error that the system keeps for this socket, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be asked for.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.source().take_error()
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::{TcpListener, TcpStream}};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    ///     let stream = TcpStream::connect(listener.local_addr()?).await?;
    ///     stream.set_nodelay(true)?;
    ///     stream.set_keepalive(true)?;
    ///     assert!(stream.nodelay()? && stream.keepalive()?);
    ///     stream.set_ttl(32)?;
    ///     assert_eq!(stream.ttl()?, 32);
    ///     stream.set_linger(Some(Duration::ZERO))?;
    ///     assert_eq!(stream.linger()?, Some(Duration::ZERO));
    ///     stream.set_send_buffer_size(64 << 10)?;
    ///     stream.set_recv_buffer_size(64 << 10)?;
    ///     assert!(stream.send_buffer_size()? >= 64 << 10);
    ///     assert!(stream.recv_buffer_size()? >= 64 << 10);
    ///     assert!(stream.take_error()?.is_none());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.source().nodelay()
    }

    /// Sends small writes at once instead of collecting them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.source().set_nodelay(nodelay)
    }

    /// How many hops a packet may take (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.source().ttl()
    }

    /// Sets how many hops a packet may take (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_ttl(ttl)
    }

    /// How long closing waits for unsent data (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self).linger()
    }

    /// Sets how long closing waits for unsent data (`SO_LINGER`). Zero resets the connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_linger(&self, duration: Option<Duration>) -> io::Result<()> {
        SockRef::from(self).set_linger(duration)
    }

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn keepalive(&self) -> io::Result<bool> {
        SockRef::from(self).keepalive()
    }

    /// Sets whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        SockRef::from(self).set_keepalive(keepalive)
    }

    /// The size of the system's send buffer in bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self).send_buffer_size()
    }

    /// Asks for a send buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_send_buffer_size(&self, size: usize) -> io::Result<()> {
        SockRef::from(self).set_send_buffer_size(size)
    }

    /// The size of the system's receive buffer in bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self).recv_buffer_size()
    }

    /// Asks for a receive buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, size: usize) -> io::Result<()> {
        SockRef::from(self).set_recv_buffer_size(size)
    }

    pub(super) fn register(handle: IoHandle, stream: mio::net::TcpStream) -> io::Result<Self> {
        Ok(Self { io: IoSource::new(handle, stream)? })
    }

    pub(super) fn io(&self) -> &IoSource<mio::net::TcpStream> {
        &self.io
    }

    /// Whether the connection stands, or why it will not. The error comes first: a refused connection
    /// has no peer either.
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_io(cx, Direction::Write, |stream| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                result => result.map(drop),
            }
        })
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}

/// The future of [`TcpStream::connect`] and [`TcpSocket::connect`](super::TcpSocket::connect).
///
/// # Cancellation
///
/// Dropping it gives the attempt up and closes the socket.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{Connect, TcpStream}};
/// use std::io::ErrorKind;
///
/// let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let connect: Connect = TcpStream::connect(free);
///     assert_eq!(connect.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
/// });
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Connect {
    /// The socket that connects, or why there is none. `None` once that has been given out.
    attempt: Option<io::Result<TcpStream>>,
}

impl Connect {
    pub(super) fn new(attempt: io::Result<TcpStream>) -> Self {
        Self { attempt: Some(attempt) }
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    /// # Panics
    ///
    /// After it has been ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Ok(stream)) = &self.attempt {
            match stream.poll_connected(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.attempt = Some(Err(error)),
            }
        }
        Poll::Ready(self.attempt.take().expect("a Connect is not polled again after it was ready"))
    }
}
