//! The halves of a stream: borrowed for one task, owned for two.

use std::{
    error, fmt, io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
};

use super::{
    TcpStream,
    io_source::IoSource,
    methods::{peeking, reading, writing},
};

pub(super) fn borrowed(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Rc::new(stream);
    let read = OwnedReadHalf { stream: stream.clone() };
    (read, OwnedWriteHalf { stream, shuts_down: true })
}

/// The reading side of a borrowed stream; made by [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The writing side of a borrowed stream; made by [`TcpStream::split`].
///
/// Dropping it changes nothing about the connection.
#[derive(Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

/// The reading side of a shared stream; made by [`TcpStream::into_split`].
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn half_is_not_send(half: onbeat::net::OwnedReadHalf) {
///     send(half);
/// }
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Rc<TcpStream>,
}

/// The writing side of a shared stream; made by [`TcpStream::into_split`].
///
/// Dropping it ends the writing side, so the peer reads to the end; [`forget`](Self::forget) does not.
///
/// It stays on its runtime's thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn half_is_not_send(half: onbeat::net::OwnedWriteHalf) {
///     send(half);
/// }
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
    shuts_down: bool,
}

reading!(ReadHalf<'_>, OwnedReadHalf);
peeking!(ReadHalf<'_>, OwnedReadHalf);
writing!(WriteHalf<'_>, OwnedWriteHalf);

/// What all halves tell about the connection.
macro_rules! addresses {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// The address of the other end.
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::peer_addr`].
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream.peer_addr()
            }

            /// The address of this end.
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::local_addr`].
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream.local_addr()
            }

            fn io(&self) -> &IoSource<mio::net::TcpStream> {
                self.stream.io()
            }
        }
    )*};
}

addresses!(ReadHalf<'_>, WriteHalf<'_>, OwnedReadHalf, OwnedWriteHalf);

impl WriteHalf<'_> {
    /// Ends the writing side: the peer reads to the end. Reading goes on.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl OwnedReadHalf {
    /// The stream that both halves came from.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`], with both halves, when they came from two streams.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.stream, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        Ok(Rc::try_unwrap(self.stream).expect("a stream has two halves, and the other one is gone"))
    }
}

impl OwnedWriteHalf {
    /// The stream that both halves came from.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`], with both halves, when they came from two streams.
    pub fn reunite(self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        read.reunite(self)
    }

    /// Drops the half without ending the writing side.
    pub fn forget(mut self) {
        self.shuts_down = false;
    }

    /// Ends the writing side: the peer reads to the end. Reading goes on.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shuts_down {
            // It fails only when the connection has ended already.
            let _ = self.shutdown();
        }
    }
}

/// Two halves of different streams, which do not make one. They are given back.
pub struct ReuniteError(
    /// The half that reads.
    pub OwnedReadHalf,
    /// The half that writes.
    pub OwnedWriteHalf,
);

impl fmt::Debug for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these halves come from two streams; reunite each with its own other half")
    }
}

impl error::Error for ReuniteError {}
