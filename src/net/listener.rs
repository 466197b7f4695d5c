//! [`TcpListener`]: accepts connections.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    task::{Context, Poll},
};

use super::{IoHandle, TcpStream, io_source::IoSource};
use crate::reactor::Direction;

/// Accepts TCP connections. [`TcpStream`] has an example.
///
/// Dropping it closes the port.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}};
/// use std::future::poll_fn;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     listener.set_ttl(32)?;
///     assert_eq!(listener.ttl()?, 32);
///
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, from) = listener.accept().await?;
///     assert_eq!(from, client.local_addr()?);
///     assert_eq!(server.peer_addr()?, from);
///
///     TcpStream::connect(listener.local_addr()?).await?;
///     poll_fn(|cx| listener.poll_accept(cx)).await?;
///     assert!(listener.take_error()?.is_none());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    io: IoSource<mio::net::TcpListener>,
}

impl TcpListener {
    /// Listens at `addr`; port 0 lets the system choose one. `SO_REUSEADDR` is set.
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
        let handle = IoHandle::needed_by("TcpListener::bind()");
        Self::register(handle, mio::net::TcpListener::bind(addr)?)
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
    /// use onbeat::{Runtime, net::TcpListener};
    ///
    /// let bound_early = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let addr = bound_early.local_addr()?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let listener = TcpListener::from_std(bound_early)?;
    ///     assert_eq!(listener.local_addr()?, addr);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        let handle = IoHandle::needed_by("TcpListener::from_std()");
        listener.set_nonblocking(true)?;
        Self::register(handle, mio::net::TcpListener::from_std(listener))
    }

    /// Waits for a connection, and registers it in the listener's runtime.
    ///
    /// A connection that was reset before it could be accepted is passed over.
    ///
    /// # Errors
    ///
    /// Those of the system, such as a process without a descriptor left, and
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no connection: one that was not given out stays in the queue.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
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
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = self.io.poll_io(cx, Direction::Read, |listener| {
            loop {
                match listener.accept() {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    result => return result,
                }
            }
        });
        accepted.map(|result| {
            let (stream, addr) = result?;
            Ok((TcpStream::register(self.io.handle(), stream)?, addr))
        })
    }

    /// The address at which it listens, with the port that the system chose.
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

    pub(super) fn register(handle: IoHandle, listener: mio::net::TcpListener) -> io::Result<Self> {
        Ok(Self { io: IoSource::new(handle, listener)? })
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.io.source().as_raw_fd()
    }
}
