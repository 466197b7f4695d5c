//! TCP, UDP and Unix sockets of a runtime.
//!
//! Every socket belongs to the runtime in which it was made, and to its thread. It may outlive that
//! runtime: an operation on it is then an error, never a panic or a wait without end, and dropping it
//! closes it as always. Awaited while another runtime runs on the thread, it waits until its own runs
//! again.
//!
//! Operations are speculative: they make the system call at once unless the last one would have blocked
//! and nothing was heard of the socket since. So a task that reads in a loop, and always finds data,
//! does not give way to others by itself; [`yield_now`](crate::yield_now) does.
//!
//! Reading and writing are independent. The two halves of a stream may be used by two tasks, and each
//! is woken for its own direction. Within one direction the methods of a stream take `&mut self`, so that
//! no two tasks wait where one would be woken.
//!
//! - [`TcpListener`] accepts, [`TcpStream`] reads and writes, [`TcpSocket`] sets options first;
//! - [`ReadHalf`], [`WriteHalf`], [`OwnedReadHalf`], [`OwnedWriteHalf`] are a stream in two parts;
//! - [`UdpSocket`] sends and receives datagrams, through `&self`;
//! - [`UnixListener`] and [`UnixStream`] do for processes of one machine what the two of TCP do, and
//!   [`UnixDatagram`] what that of UDP does;
//! - [`AsyncFd`] waits for any other descriptor: a pipe, an eventfd, a netlink socket;
//! - [`IoHandle`] names the runtime that sockets are made in.
#![forbid(unsafe_code)]

mod async_fd;
mod io_source;
mod listener;
mod methods;
mod socket;
mod split;
mod tcp;
mod udp;
mod unix;
mod unix_datagram;

use std::{fmt, marker::PhantomData};

pub use self::{
    async_fd::AsyncFd,
    listener::TcpListener,
    socket::TcpSocket,
    split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf},
    tcp::{Connect, TcpStream},
    udp::UdpSocket,
    unix::{UnixListener, UnixStream},
    unix_datagram::UnixDatagram,
};

use crate::context;

/// Names the runtime in which sockets are registered.
///
/// It is a number, not a reference: it may outlive its runtime, and says so.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{IoHandle, Runtime};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// let io = rt.block_on(async { IoHandle::current() });
/// assert!(io.is_alive());
/// drop(rt);
/// assert!(!io.is_alive());
/// ```
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn handle_is_not_send(handle: onbeat::IoHandle) {
///     send(handle);
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IoHandle {
    runtime: u64,
    _not_send: PhantomData<*const ()>,
}

impl IoHandle {
    /// The handle of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    #[must_use]
    pub fn current() -> Self {
        Self::needed_by("IoHandle::current()")
    }

    /// The handle of the runtime that this thread is in, if it is in one.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{IoHandle, Runtime, net::UdpSocket};
    ///
    /// assert_eq!(IoHandle::try_current(), None);
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let io = IoHandle::try_current().unwrap();
    ///     let before = io.source_count();
    ///     let _socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    ///     assert_eq!(io.source_count(), before + 1);
    /// });
    /// ```
    #[must_use]
    pub fn try_current() -> Option<Self> {
        context::try_current(|core| Self::of(core.serial()))
    }

    /// Whether its runtime still exists.
    #[must_use]
    pub fn is_alive(self) -> bool {
        context::find(self.runtime, |_| ()).is_some()
    }

    /// How many sources its runtime listens to; 0 when it has gone.
    ///
    /// The sockets of this module count, each as one, and so does what the runtime itself listens to.
    #[must_use]
    pub fn source_count(self) -> usize {
        context::find(self.runtime, |core| core.reactor.len()).unwrap_or(0)
    }

    /// As [`current`](Self::current), with a message that names the constructor `what`.
    #[track_caller]
    fn needed_by(what: &str) -> Self {
        Self::of(context::current(what, context::Core::serial))
    }

    fn of(runtime: u64) -> Self {
        Self { runtime, _not_send: PhantomData }
    }
}

impl fmt::Debug for IoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoHandle").field("is_alive", &self.is_alive()).finish()
    }
}
