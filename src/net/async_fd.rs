//! A descriptor of any kind, waited for: [`AsyncFd`].

use std::{
    fmt,
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    task::{Context, Poll},
};

use mio::{Interest, Registry, Token, event::Source, unix::SourceFd};

use super::{IoHandle, io_source::IoSource};
use crate::reactor::Direction;

/// Waits for a descriptor that is no socket of this module: a pipe, an eventfd, a timerfd, an inotify or
/// netlink socket, the completion queue of a network card.
///
/// It owns `T`, and what it does with the descriptor is done by the closures that are given to
/// [`read_with`](Self::read_with) and its like. A closure is called at once unless the last one would have
/// blocked and nothing was heard of the descriptor since. Its
/// [`WouldBlock`](io::ErrorKind::WouldBlock) is what starts the wait: a closure must try until it sees
/// that, or it is not told of the next event. Several tasks may share one through `&self`.
///
/// What is registered is a duplicate of the descriptor, so that whatever `T` does with its own, no other
/// registration suffers. Dropping it ends the registration and closes the duplicate, then drops `T`.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::AsyncFd, spawn_boxed};
/// use std::io::{Read, Write};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let (reader, writer) = std::io::pipe()?;
///     let (reader, writer) = (AsyncFd::new(reader)?, AsyncFd::new(writer)?);
///     let read = spawn_boxed(async move {
///         let mut buf = [0; 8];
///         let count = reader.read_with(|mut pipe| pipe.read(&mut buf)).await?;
///         std::io::Result::Ok(buf[..count].to_vec())
///     });
///     writer.write_with(|mut pipe| pipe.write(b"fill")).await?;
///     assert_eq!(read.await?, b"fill");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// The other way to write it, as with the sockets: wait, then try.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::AsyncFd};
/// use std::{future::poll_fn, io::{ErrorKind, Read, Write}};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let (reader, writer) = std::io::pipe()?;
///     let (reader, writer) = (AsyncFd::new(reader)?, AsyncFd::new(writer)?);
///     let mut buf = [0; 8];
///     let nothing = reader.try_read_with(|mut pipe| pipe.read(&mut buf));
///     assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
///
///     writer.writable().await?;
///     poll_fn(|cx| writer.poll_write_ready(cx)).await?;
///     writer.try_write_with(|mut pipe| pipe.write(b"bid"))?;
///     poll_fn(|cx| writer.poll_write_with(cx, |mut pipe| pipe.write(b"ask"))).await?;
///
///     reader.readable().await?;
///     poll_fn(|cx| reader.poll_read_ready(cx)).await?;
///     let count = poll_fn(|cx| reader.poll_read_with(cx, |mut pipe| pipe.read(&mut buf))).await?;
///     assert_eq!(&buf[..count], b"bidask");
///
///     let mut pipe: std::io::PipeWriter = writer.into_inner();
///     pipe.write_all(b"end")?;
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct AsyncFd<T: AsFd> {
    io: IoSource<Duplicate>,
    inner: T,
}

impl<T: AsFd> AsyncFd<T> {
    /// Registers the descriptor, and makes it non-blocking: a call that blocks would hold the whole loop.
    ///
    /// It stays non-blocking, and so does every other descriptor of the same open file: that of a terminal
    /// is shared with the shell that started the program.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a regular file or a directory, which are
    /// always ready and cannot be waited for; otherwise those of the system. `inner` is dropped.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn new(inner: T) -> io::Result<Self> {
        let handle = IoHandle::needed_by("AsyncFd::new()");
        rustix::io::ioctl_fionbio(inner.as_fd(), true)?;
        let duplicate = Duplicate(inner.as_fd().try_clone_to_owned()?);
        Ok(Self { io: IoSource::shared(handle, duplicate)?, inner })
    }

    /// What owns the descriptor.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::AsyncFd};
    ///
    /// let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let fd = AsyncFd::new(here)?;
    ///     assert!(fd.get_ref().peer_addr()?.is_unnamed());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # drop(there);
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Ends the registration and gives back what owns the descriptor. Tasks that wait are not woken.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Calls `op` when it is worth a call, for what arrives, until it gives something else than
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of `op`, and [`Other`](io::ErrorKind::Other) when the runtime has gone.
    /// [`Interrupted`](io::ErrorKind::Interrupted) is tried again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing that `op` did not take.
    pub async fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_read_with(cx, &mut op)).await
    }

    /// As [`read_with`](Self::read_with), for what is sent.
    ///
    /// # Errors
    ///
    /// Those of [`read_with`](Self::read_with).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing that `op` did not send.
    pub async fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_write_with(cx, &mut op)).await
    }

    /// The poll of [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// Those of [`read_with`](Self::read_with).
    pub fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_io(cx, Direction::Read, |_| op(&self.inner))
    }

    /// The poll of [`write_with`](Self::write_with).
    ///
    /// # Errors
    ///
    /// Those of [`read_with`](Self::read_with).
    pub fn poll_write_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_io(cx, Direction::Write, |_| op(&self.inner))
    }

    /// Calls `op` at once, for what has arrived. Where that would block, waiting waits for an event.
    ///
    /// # Errors
    ///
    /// Those of `op`, [`WouldBlock`](io::ErrorKind::WouldBlock) among them, and
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    pub fn try_read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(Direction::Read, |_| op(&self.inner))
    }

    /// As [`try_read_with`](Self::try_read_with), for what is sent.
    ///
    /// # Errors
    ///
    /// Those of [`try_read_with`](Self::try_read_with).
    pub fn try_write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(Direction::Write, |_| op(&self.inner))
    }

    /// Waits until [`try_read_with`](Self::try_read_with) is worth a call. It may still find nothing, and
    /// then this waits for an event.
    ///
    /// # Errors
    ///
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    /// The poll of [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// Those of [`readable`](Self::readable).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Direction::Read)
    }

    /// Waits until [`try_write_with`](Self::try_write_with) is worth a call.
    ///
    /// # Errors
    ///
    /// [`Other`](io::ErrorKind::Other) when the runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    /// The poll of [`writable`](Self::writable).
    ///
    /// # Errors
    ///
    /// Those of [`writable`](Self::writable).
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Direction::Write)
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFd").field(self.get_ref()).finish()
    }
}

/// What is registered.
struct Duplicate(OwnedFd);

impl Source for Duplicate {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let registered = SourceFd(&self.0.as_raw_fd()).register(registry, token, interest);
        registered.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => io::Error::new(
                error.kind(),
                "a regular file or a directory is always ready and cannot be waited for: read it \
                 at once, or on another thread",
            ),
            _ => error,
        })
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}
