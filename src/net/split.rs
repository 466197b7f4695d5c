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
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}};
/// use std::future::poll_fn;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     let (mut reads, _writes) = server.split();
///     client.write_all(b"bid ask").await?;
///
///     let mut buf = [0; 4];
///     reads.readable().await?;
///     poll_fn(|cx| reads.poll_read_ready(cx)).await?;
///     assert!(reads.peek(&mut buf).await? > 0);
///     assert!(reads.try_read(&mut buf[..1])? > 0);
///     reads.read_exact(&mut buf[1..]).await?;
///     assert_eq!(&buf, b"bid ");
///     assert!(reads.read(&mut buf).await? > 0);
///     assert_eq!(reads.peer_addr()?, client.local_addr()?);
///     assert_eq!(reads.local_addr()?, client.peer_addr()?);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The writing side of a borrowed stream; made by [`TcpStream::split`].
///
/// Dropping it changes nothing about the connection.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}};
/// use std::future::poll_fn;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     let (_reads, mut writes) = server.split();
///     assert_eq!(writes.peer_addr()?, client.local_addr()?);
///     assert_eq!(writes.local_addr()?, client.peer_addr()?);
///
///     writes.writable().await?;
///     poll_fn(|cx| writes.poll_write_ready(cx)).await?;
///     assert_eq!(writes.try_write(b"b")?, 1);
///     assert_eq!(writes.write(b"i").await?, 1);
///     writes.write_all(b"d").await?;
///     writes.flush().await?;
///     writes.shutdown()?;
///
///     let mut said = [0; 3];
///     client.read_exact(&mut said).await?;
///     assert_eq!(&said, b"bid");
///     assert_eq!(client.read(&mut said).await?, 0, "the writing side has ended");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
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
///
/// One task reads while another writes, with the methods of [`ReadHalf`]:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}, spawn};
/// use std::future::poll_fn;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let stream = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     let (mut reads, writes) = stream.into_split();
///     let reader = spawn(async move {
///         let mut buf = [0; 4];
///         reads.readable().await?;
///         poll_fn(|cx| reads.poll_read_ready(cx)).await?;
///         assert!(reads.peek(&mut buf).await? > 0);
///         assert!(reads.try_read(&mut buf[..1])? > 0);
///         reads.read_exact(&mut buf[1..]).await?;
///         assert_eq!(&buf, b"tick");
///         assert_eq!(reads.read(&mut buf).await?, 0, "the peer has ended its side");
///         std::io::Result::Ok(reads)
///     });
///     server.write_all(b"tick").await?;
///     drop(server);
///     let reads = reader.await?;
///     assert_eq!(reads.local_addr()?, writes.local_addr()?);
///     assert_eq!(reads.peer_addr()?, listener.local_addr()?);
///     assert!(reads.reunite(writes).is_ok());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
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
///
/// With the methods of [`WriteHalf`]:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{TcpListener, TcpStream}, spawn};
/// use std::future::poll_fn;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let stream = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     let (reads, mut writes) = stream.into_split();
///     assert_eq!(writes.local_addr()?, server.peer_addr()?);
///     assert_eq!(writes.peer_addr()?, server.local_addr()?);
///     let writer = spawn(async move {
///         writes.writable().await?;
///         poll_fn(|cx| writes.poll_write_ready(cx)).await?;
///         assert_eq!(writes.try_write(b"b")?, 1);
///         assert_eq!(writes.write(b"i").await?, 1);
///         writes.write_all(b"d").await?;
///         writes.flush().await?;
///         writes.shutdown()?;
///         std::io::Result::Ok(writes)
///     });
///     let mut said = [0; 3];
///     server.read_exact(&mut said).await?;
///     assert_eq!(&said, b"bid");
///     assert_eq!(server.read(&mut said).await?, 0);
///     let stream = writer.await?.reunite(reads).unwrap();
///     let (_reads, writes) = stream.into_split();
///     writes.forget();
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
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
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, net::{ReuniteError, TcpListener, TcpStream}};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let one = TcpStream::connect(listener.local_addr()?).await?.into_split();
///     let other = TcpStream::connect(listener.local_addr()?).await?.into_split();
///     let ReuniteError(reads, writes) = one.0.reunite(other.1).unwrap_err();
///     assert!(reads.reunite(one.1).is_ok());
///     assert!(other.0.reunite(writes).is_ok());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
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
