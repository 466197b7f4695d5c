//! [`UnixDatagram`]: datagrams within one machine.

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

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::{IoHandle, io_source::IoSource};
use crate::reactor::Direction;

/// A socket for datagrams within the machine, registered in the runtime in which it was made.
///
/// Its methods take `&self`: tasks share it in an `Rc`. One that receives and one that sends do not
/// disturb each other. Two that wait in the same direction both get on, but wake each other in turn and
/// keep the loop awake; give each direction one task. Dropping the socket closes it, and leaves the file
/// at its path: remove it before another is bound there.
///
/// A datagram is sent and received whole. What does not fit into the receiver's buffer is lost. Nothing
/// else is: a sender waits while the receiver's queue is full. They come in the order in which they were
/// sent.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::UnixDatagram};
///
/// let path = std::env::temp_dir().join(format!("onbeat-doc-datagram-{}", std::process::id()));
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let log = UnixDatagram::bind(&path)?;
///     let client = UnixDatagram::unbound()?;
///     client.send_to(b"on the beat", &path).await?;
///     let mut said = [0; 64];
///     let (len, from) = log.recv_from(&mut said).await?;
///     assert_eq!(&said[..len], b"on the beat");
///     assert!(from.is_unnamed());
///     Ok::<_, std::io::Error>(())
/// })?;
/// std::fs::remove_file(&path)?;
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn socket_is_not_send(socket: onbeat::net::UnixDatagram) {
///     send(socket);
/// }
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    io: IoSource<mio::net::UnixDatagram>,
}

/// Making one, and what it is connected to.
impl UnixDatagram {
    /// A socket bound to `path`, where it makes a file.
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
        let handle = IoHandle::needed_by("UnixDatagram::bind()");
        Self::register(handle, mio::net::UnixDatagram::bind(path)?)
    }

    /// A socket without an address: it sends, and nobody can answer it.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UnixDatagram};
    ///
    /// let mut world = World::new();
    /// let addr = Runtime::new(&mut world).block_on(async { UnixDatagram::unbound()?.local_addr() })?;
    /// assert!(addr.is_unnamed());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        let handle = IoHandle::needed_by("UnixDatagram::unbound()");
        Self::register(handle, mio::net::UnixDatagram::unbound()?)
    }

    /// Two sockets without addresses, connected to each other.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UnixDatagram};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let (one, other) = UnixDatagram::pair()?;
    ///     one.send(b"on the beat").await?;
    ///     assert_eq!(other.recv(&mut [0; 64]).await?, 11);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let handle = IoHandle::needed_by("UnixDatagram::pair()");
        let (one, other) = mio::net::UnixDatagram::pair()?;
        Ok((Self::register(handle, one)?, Self::register(handle, other)?))
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
    #[track_caller]
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        let handle = IoHandle::needed_by("UnixDatagram::from_std()");
        socket.set_nonblocking(true)?;
        Self::register(handle, mio::net::UnixDatagram::from_std(socket))
    }

    /// Gives the socket to the standard library. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixDatagram> {
        Ok(self.as_fd().try_clone_to_owned()?.into())
    }

    /// Sets the peer of [`send`](Self::send), and receives from it alone.
    ///
    /// # Errors
    ///
    /// Those of the system: [`NotFound`](io::ErrorKind::NotFound) where nothing is, and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody is bound any more.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.io.source().connect(path)
    }

    /// The address of this end.
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

    fn register(handle: IoHandle, socket: mio::net::UnixDatagram) -> io::Result<Self> {
        Ok(Self { io: IoSource::shared(handle, socket)? })
    }
}

/// Receiving and sending.
impl UnixDatagram {
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

    /// Waits for a datagram. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
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

    /// Sends a datagram to the socket at `path`, and waits while its queue is full or this socket takes
    /// none.
    ///
    /// # Errors
    ///
    /// Those of the system call: [`NotFound`](io::ErrorKind::NotFound) where nothing is,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody is bound any more, one for a
    /// datagram that is too long; [`Other`](io::ErrorKind::Other) when the runtime has gone. Where it has
    /// to wait, also when the process has no descriptor left.
    ///
    /// # Cancellation
    ///
    /// Dropping a future that was not ready has sent nothing.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        loop {
            if let Some(result) = waited_for(self.try_send_to(buf, path)) {
                return result;
            }
            let queue = FullQueue::at(self.io.handle(), path)?;
            // There may be room since: what is waited for below comes after this attempt.
            if let Some(result) = waited_for(self.try_send_to(buf, path)) {
                return result;
            }
            // For one of the two, although it may take both: Linux tells this socket of room in itself at
            // each attempt that fails for want of room elsewhere.
            poll_fn(|cx| match &queue {
                Some(queue) => queue.poll_room(cx),
                None => self.io.poll_ready(cx, Direction::Write),
            })
            .await?;
        }
    }

    /// Sends a datagram to the socket at `path`, without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when its queue is full or this socket takes none, and
    /// those of [`send_to`](Self::send_to).
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.io.try_io(Direction::Write, |socket| socket.send_to(buf, path.as_ref()))
    }

    /// Sends a datagram to the peer of [`connect`](Self::connect), and waits while its queue is full or
    /// this socket takes none.
    ///
    /// # Errors
    ///
    /// Those of the system call, such as [`NotConnected`](io::ErrorKind::NotConnected) and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when the peer has gone, and
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
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
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when its queue is full or this socket takes none, and
    /// those of [`send`](Self::send).
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
    /// waits for an event. It tells nothing about the queues of others than the peer:
    /// [`send_to`](Self::send_to) waits for those.
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

/// Options.
impl UnixDatagram {
    /// Ends the receiving side, the sending side or both. Whoever waits to receive is not told on Linux.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    /// Takes the error that the system keeps for this socket, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be asked for.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.source().take_error()
    }

    /// The size of the system's send buffer in bytes: what was sent by this socket and not received yet
    /// has to fit.
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
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}

/// What an attempt gave, unless it has to be waited for.
fn waited_for<T>(attempt: io::Result<T>) -> Option<io::Result<T>> {
    let waits = matches!(&attempt, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    (!waits).then_some(attempt)
}

/// A receiver's queue that was full.
///
/// Linux tells a sender of room in the queue of its peer, and of nobody else. So this is a socket of its
/// own whose peer the receiver is, and that sends nothing.
struct FullQueue(IoSource<mio::net::UnixDatagram>);

impl FullQueue {
    /// The queue of the socket at `path`, or `None` when it has room: then the sender itself is what takes
    /// no more.
    fn at(handle: IoHandle, path: &Path) -> io::Result<Option<Self>> {
        let socket = mio::net::UnixDatagram::unbound()?;
        socket.connect(path)?;
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&now))? > 0 {
            return Ok(None);
        }
        let io = IoSource::new(handle, socket)?;
        // Registered sockets are taken for ready until they would block. Room that came before this is
        // told by an event, because registering asks for it.
        let _ = io.try_io(Direction::Write, |_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        Ok(Some(Self(io)))
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx, Direction::Write)
    }
}
