//! A descriptor registered with the reactor of its runtime: [`IoSource`].
//!
//! ```text
//!             (1) would block                    (3) polled again
//!   ready ---------------------> waker stored  <-----------------+
//!     ^                               |                          |
//!     |        (2) event, wake        |        not ready --------+
//!     +-------------------------------+
//! ```
//!
//! (1) [`IoSource::poll_io`], (2) the reactor's `collect`, (3) [`IoSource::poll_ready`].
//!
//! Registrations are edge-triggered, and nothing is lost between the call that would block and (1): the
//! thread that drains events is this one, so an edge that comes in between is reported by the next
//! drain.

use std::{
    fmt,
    io::{self, Read, Write},
    marker::PhantomData,
    task::{Context, Poll},
};

use mio::{event::Source, net::TcpStream};

use super::IoHandle;
use crate::{
    context,
    executor::{agenda::Items, details::Wait},
    reactor::{Direction, IoId},
};

/// Owns a source and its registration. Dropping it ends both, also when the runtime has gone.
pub(super) struct IoSource<S: Source> {
    source: S,
    runtime: u64,
    id: IoId,
    /// Several tasks may wait in one direction, where one waker is stored.
    shared: bool,
    _not_send: PhantomData<*const ()>,
}

/// What a look at a registration found.
enum Readiness {
    Ready,
    /// Not ready, and the waker that was asked about is stored.
    Waiting,
    /// Not ready, and another waker or none is stored.
    Unattended,
}

impl<S: Source> IoSource<S> {
    pub(super) fn new(handle: IoHandle, mut source: S) -> io::Result<Self> {
        let runtime = handle.runtime;
        let id = context::find(runtime, |core| {
            core.executor.agenda().add(Items::SOCKETS);
            core.reactor.register(&mut source)
        })
        .unwrap_or_else(|| Err(runtime_gone()))?;
        Ok(Self { source, runtime, id, shared: false, _not_send: PhantomData })
    }

    /// A source that several tasks use through `&self`. One waker is stored for each direction: who has to
    /// make way for another is woken, and tries again, so that nobody waits without being stored.
    pub(super) fn shared(handle: IoHandle, source: S) -> io::Result<Self> {
        let mut source = Self::new(handle, source)?;
        source.shared = true;
        Ok(source)
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// The handle of the runtime that it is registered in.
    pub(super) fn handle(&self) -> IoHandle {
        IoHandle::of(self.runtime)
    }

    /// Whether an attempt in this direction is worth making; stores the waker if it is not.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        let found = context::find(self.runtime, |core| {
            if core.reactor.is_ready(self.id, direction) {
                Readiness::Ready
            } else if core.reactor.will_wake(self.id, direction, cx.waker()) {
                core.executor.note_wait(Wait::Other("a socket"));
                Readiness::Waiting
            } else {
                Readiness::Unattended
            }
        });
        match found {
            None => Poll::Ready(Err(runtime_gone())),
            Some(Readiness::Ready) => Poll::Ready(Ok(())),
            Some(Readiness::Waiting) => Poll::Pending,
            Some(Readiness::Unattended) => self.wait(cx, direction).map(Err),
        }
    }

    /// Makes an attempt if it is worth making, and waits for an event if it would block.
    pub(super) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        attempt: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match self.poll_ready(cx, direction) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        match self.uninterrupted(attempt) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wait(cx, direction).map(Err)
            }
            result => Poll::Ready(result),
        }
    }

    /// Makes an attempt at once. One that would block is noted, so that waiting waits for an event.
    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        attempt: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        if !self.handle().is_alive() {
            return Err(runtime_gone());
        }
        let result = self.uninterrupted(attempt);
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            context::find(self.runtime, |core| core.reactor.not_ready(self.id, direction));
        }
        result
    }

    fn uninterrupted<R>(&self, mut attempt: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        loop {
            match attempt(&self.source) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Pending until the next event of this direction, or why that will not come.
    ///
    /// The waker is cloned before and dropped after the reactor is used: either may be anybody's code.
    fn wait(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Error> {
        let waker = cx.waker().clone();
        let shared = self.shared;
        let found = context::find(self.runtime, |core| {
            core.executor.note_wait(Wait::Other("a socket"));
            core.reactor.wait_for(self.id, direction, waker)
        });
        match found {
            Some(before) => {
                if let Some(displaced) =
                    before.filter(|before| shared && !before.will_wake(cx.waker()))
                {
                    displaced.wake();
                }
                Poll::Pending
            }
            None => Poll::Ready(runtime_gone()),
        }
    }
}

impl<S: Source> IoSource<S>
where
    for<'a> &'a S: Read + Write,
{
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Read, |mut stream| stream.read(buf))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Write, |mut stream| stream.write(buf))
    }
}

impl IoSource<TcpStream> {
    pub(super) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Read, |stream| stream.peek(buf))
    }
}

impl<S: Source> Drop for IoSource<S> {
    fn drop(&mut self) {
        let wakers =
            context::find(self.runtime, |core| core.reactor.deregister(self.id, &mut self.source));
        drop(wakers);
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for IoSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

fn runtime_gone() -> io::Error {
    io::Error::other("the runtime of this socket has gone")
}
