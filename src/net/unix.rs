//! [`UnixStream`] and [`UnixListener`]: connections within one machine, at a path.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::net::SocketAddr,
    },
    path::Path,
    task::{Context, Poll},
};

use super::{
    IoHandle,
    io_source::IoSource,
    methods::{reading, writing},
};
use crate::reactor::Direction;

/// One connection within the machine, registered in the runtime in which it was made.
///
/// It reads and writes by its own methods, and by the `AsyncRead` and `AsyncWrite` of `futures-io`.
/// Dropping it closes the connection.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::UnixStream};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let (mut one, mut other) = UnixStream::pair()?;
///     one.write_all(b"on the beat").await?;
///     let mut said = [0; 11];
///     other.read_exact(&mut said).await?;
///     assert_eq!(&said, b"on the beat");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn stream_is_not_send(stream: onbeat::net::UnixStream) {
///     send(stream);
/// }
/// ```
///
/// What is read and written without waiting, or by hand:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::UnixStream};
/// use std::{future::poll_fn, io::ErrorKind};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let (mut one, mut other) = UnixStream::pair()?;
///     assert!(one.local_addr()?.is_unnamed() && one.peer_addr()?.is_unnamed());
///     let mut buf = [0; 8];
///     assert_eq!(other.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
///
///     one.writable().await?;
///     poll_fn(|cx| one.poll_write_ready(cx)).await?;
///     assert_eq!(one.try_write(b"tick")?, 4);
///     assert_eq!(one.write(b"s").await?, 1);
///     one.flush().await?;
///     one.shutdown(std::net::Shutdown::Write)?;
///
///     other.readable().await?;
///     poll_fn(|cx| other.poll_read_ready(cx)).await?;
///     other.read_exact(&mut buf[..5]).await?;
///     assert_eq!(&buf[..5], b"ticks");
///     assert_eq!(other.read(&mut buf).await?, 0);
///     assert!(other.take_error()?.is_none());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    io: IoSource<mio::net::UnixStream>,
}

reading!(UnixStream);
writing!(UnixStream);

impl UnixStream {
    /// Starts to connect to the listener at `path`; the future completes when the connection stands.
    ///
    /// # Errors
    ///
    /// When the future is awaited, those of the system: [`NotFound`](io::ErrorKind::NotFound) where nothing
    /// is, [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody listens, and on Linux
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where too many wait to be accepted.
    ///
    /// # Panics
    ///
    /// Outside a runtime, at the call.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the attempt up and closes the socket.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UnixStream};
    /// use std::io::ErrorKind;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let error = UnixStream::connect("/nowhere/onbeat").await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::NotFound);
    /// });
    /// ```
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> impl Future<Output = io::Result<Self>> + use<P> {
        let handle = IoHandle::needed_by("UnixStream::connect()");
        let started =
            mio::net::UnixStream::connect(path).and_then(|stream| Self::register(handle, stream));
        async {
            let stream = started?;
            poll_fn(|cx| stream.poll_connected(cx)).await?;
            Ok(stream)
        }
    }

    /// Two streams, connected to each other.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let handle = IoHandle::needed_by("UnixStream::pair()");
        let (one, other) = mio::net::UnixStream::pair()?;
        Ok((Self::register(handle, one)?, Self::register(handle, other)?))
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
    /// use onbeat::{Runtime, net::UnixStream};
    ///
    /// let (one, _other) = std::os::unix::net::UnixStream::pair()?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let stream = UnixStream::from_std(one)?;
    ///     let stream: std::os::unix::net::UnixStream = stream.into_std()?;
    ///     assert!(stream.peer_addr()?.is_unnamed());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UnixStream::from_std()");
        stream.set_nonblocking(true)?;
        Self::register(handle, mio::net::UnixStream::from_std(stream))
    }

    /// Gives the connection to the standard library. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// [`from_std`](Self::from_std) has an example.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixStream> {
        Ok(self.as_fd().try_clone_to_owned()?.into())
    }

    /// Ends the reading side, the writing side or both.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    /// The address of the other end. It has a path if the other end is the listener's.
    ///
    /// # Errors
    ///
    /// Those of the system.
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

    fn register(handle: IoHandle, stream: mio::net::UnixStream) -> io::Result<Self> {
        Ok(Self { io: IoSource::new(handle, stream)? })
    }

    fn io(&self) -> &IoSource<mio::net::UnixStream> {
        &self.io
    }

    /// Whether the connection stands, or why it will not.
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

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}

/// Accepts connections at a path.
///
/// Dropping it stops listening, and leaves the file at the path: remove it before another listens there.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{UnixListener, UnixStream}};
///
/// let path = std::env::temp_dir().join(format!("onbeat-doc-{}", std::process::id()));
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = UnixListener::bind(&path)?;
///     let mut client = UnixStream::connect(&path).await?;
///     let (mut server, _) = listener.accept().await?;
///     server.write_all(b"welcome").await?;
///     client.read_exact(&mut [0; 7]).await
/// })?;
/// std::fs::remove_file(&path)?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    io: IoSource<mio::net::UnixListener>,
}

impl UnixListener {
    /// Listens at `path`, and makes the file there.
    ///
    /// # Errors
    ///
    /// Those of the system, such as [`AddrInUse`](io::ErrorKind::AddrInUse) when there is a file at `path`.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UnixListener::bind()");
        Self::register(handle, mio::net::UnixListener::bind(path)?)
    }

    /// Takes over a listener of the standard library, and makes it non-blocking.
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
    /// use onbeat::{Runtime, net::{UnixListener, UnixStream}};
    /// use std::future::poll_fn;
    ///
    /// let path = std::env::temp_dir().join(format!("onbeat-doc-std-{}", std::process::id()));
    /// let listener = std::os::unix::net::UnixListener::bind(&path)?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let mut listener = UnixListener::from_std(listener)?;
    ///     assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    ///     let client = UnixStream::connect(&path).await?;
    ///     let (server, _) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    ///     assert_eq!(server.local_addr()?.as_pathname(), client.peer_addr()?.as_pathname());
    ///     std::io::Result::Ok(())
    /// })?;
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UnixListener::from_std()");
        listener.set_nonblocking(true)?;
        Self::register(handle, mio::net::UnixListener::from_std(listener))
    }

    /// Waits for a connection, and registers it in the listener's runtime.
    ///
    /// # Errors
    ///
    /// Those of the system, such as a process without a descriptor left, and
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no connection: one that was not given out stays in the queue.
    pub async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll of [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        let accepted = self.io.poll_io(cx, Direction::Read, mio::net::UnixListener::accept);
        accepted.map(|result| {
            let (stream, addr) = result?;
            Ok((UnixStream::register(self.io.handle(), stream)?, addr))
        })
    }

    /// The address at which it listens.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    fn register(handle: IoHandle, listener: mio::net::UnixListener) -> io::Result<Self> {
        Ok(Self { io: IoSource::new(handle, listener)? })
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}
