//! [`TcpSocket`]: options first, then a connection or a listener.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Connect, IoHandle, TcpListener, TcpStream};

/// A TCP socket that is neither connected nor listening yet.
///
/// Buffer sizes set here are in force when the connection is negotiated.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::TcpSocket};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuseaddr(true)?;
///     socket.bind("127.0.0.1:0".parse()?)?;
///     let mut listener = socket.listen(128)?;
///
///     let socket = TcpSocket::new_v4()?;
///     socket.set_nodelay(true)?;
///     socket.set_recv_buffer_size(1 << 20)?;
///     let stream = socket.connect(listener.local_addr()?).await?;
///     assert!(stream.nodelay()?);
///     listener.accept().await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Each option can be asked for as well:
///
/// ```
/// use onbeat::net::TcpSocket;
/// use std::time::Duration;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.set_nodelay(true)?;
/// socket.set_keepalive(true)?;
/// assert!(socket.reuseaddr()? && socket.nodelay()? && socket.keepalive()?);
/// socket.set_linger(Some(Duration::ZERO))?;
/// assert_eq!(socket.linger()?, Some(Duration::ZERO));
/// socket.set_send_buffer_size(64 << 10)?;
/// socket.set_recv_buffer_size(64 << 10)?;
/// assert!(socket.send_buffer_size()? >= 64 << 10);
/// assert!(socket.recv_buffer_size()? >= 64 << 10);
/// socket.set_ttl(3)?;
/// assert_eq!(socket.ttl()?, 3);
/// socket.set_reuseport(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// assert_ne!(socket.local_addr()?.port(), 0);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    socket: Socket,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::IPV4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left, or the system has no IPv6.
    ///
    /// ```
    /// use onbeat::net::TcpSocket;
    ///
    /// // A machine may be without IPv6.
    /// if let Ok(socket) = TcpSocket::new_v6() {
    ///     assert!(socket.local_addr()?.is_ipv6());
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::IPV6)
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Whether an address may be bound while old connections of it linger (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        self.socket.reuse_address()
    }

    /// Sets whether an address may be bound while old connections of it linger (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        self.socket.set_reuse_address(reuseaddr)
    }

    /// Whether several sockets may be bound to one address (`SO_REUSEPORT`), of which the system chooses one
    /// for each connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn reuseport(&self) -> io::Result<bool> {
        self.socket.reuse_port()
    }

    /// Sets whether several sockets may be bound to one address (`SO_REUSEPORT`), of which the system
    /// chooses one for each connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        self.socket.set_reuse_port(reuseport)
    }

    /// After how many routers a packet is dropped (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system; a socket of IPv6 has no such option on some.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.ttl_v4()
    }

    /// Sets after how many routers a packet is dropped (`IP_TTL`), 1 to 255.
    ///
    /// # Errors
    ///
    /// Those of the system; a socket of IPv6 has no such option on some.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_ttl_v4(ttl)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.tcp_nodelay()
    }

    /// Sends small writes at once instead of collecting them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_tcp_nodelay(nodelay)
    }

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn keepalive(&self) -> io::Result<bool> {
        self.socket.keepalive()
    }

    /// Sets whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.socket.set_keepalive(keepalive)
    }

    /// How long closing waits for unsent data (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
    }

    /// Sets how long closing waits for unsent data (`SO_LINGER`). Zero resets the connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_linger(&self, duration: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(duration)
    }

    /// The size of the system's send buffer in bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket.send_buffer_size()
    }

    /// Asks for a send buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_send_buffer_size(&self, size: usize) -> io::Result<()> {
        self.socket.set_send_buffer_size(size)
    }

    /// The size of the system's receive buffer in bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    /// Asks for a receive buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, size: usize) -> io::Result<()> {
        self.socket.set_recv_buffer_size(size)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.socket.local_addr()?;
        addr.as_socket().ok_or_else(|| io::Error::other("the socket has no internet address"))
    }

    /// Binds this end to `addr`; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// Those of the system, such as [`AddrInUse`](io::ErrorKind::AddrInUse).
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.bind(&addr.into())
    }

    /// Starts to connect to `addr`; the future completes when the connection stands.
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::connect`].
    ///
    /// # Panics
    ///
    /// Outside a runtime, at the call.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the attempt up and closes the socket.
    #[track_caller]
    pub fn connect(self, addr: SocketAddr) -> Connect {
        let handle = IoHandle::needed_by("TcpSocket::connect()");
        let started = match self.socket.connect(&addr.into()) {
            // The connection is under way, and its outcome comes as an event.
            Err(error) if under_way(&error) => Ok(()),
            result => result,
        };
        let stream = std::net::TcpStream::from(self.socket);
        Connect::new(
            started
                .and_then(|()| TcpStream::register(handle, mio::net::TcpStream::from_std(stream))),
        )
    }

    /// Listens, with room for `backlog` connections that are not accepted yet.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn listen(self, backlog: i32) -> io::Result<TcpListener> {
        let handle = IoHandle::needed_by("TcpSocket::listen()");
        self.socket.listen(backlog)?;
        let listener = std::net::TcpListener::from(self.socket);
        TcpListener::register(handle, mio::net::TcpListener::from_std(listener))
    }
}

fn under_way(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::INPROGRESS.raw_os_error()) || code == Some(Errno::INTR.raw_os_error())
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
