//! What a whole stream and its halves have in common: the methods and traits of each direction.
//!
//! A type that takes them has a private `fn io(&self) -> &IoSource<S>`, where `S` is a stream of mio's.

/// Gives each type the reading side.
macro_rules! reading {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// Reads what is there, at most `buf.len()` bytes, and waits while nothing is. 0 says that
            /// the peer has ended its side, or that `buf` is empty.
            ///
            /// # Errors
            ///
            /// Those of the system call, and [`Other`](std::io::ErrorKind::Other) when the runtime has
            /// gone.
            ///
            /// # Cancellation
            ///
            /// Dropping the future loses nothing: what was not given out stays in the socket.
            pub async fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|cx| self.io().poll_read(cx, buf)).await
            }

            /// Reads until `buf` is full.
            ///
            /// # Errors
            ///
            /// [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) when the peer ends its side before,
            /// and those of [`read`](Self::read).
            ///
            /// # Cancellation
            ///
            /// Dropping the future loses the bytes that it has read so far: they are in `buf`, but how
            /// many they are is not said. Where that matters, call [`read`](Self::read) in a loop.
            pub async fn read_exact(&mut self, mut buf: &mut [u8]) -> std::io::Result<()> {
                while !buf.is_empty() {
                    let read = self.read(buf).await?;
                    if read == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    buf = &mut buf[read..];
                }
                Ok(())
            }

            /// Reads what is there, without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when nothing is there, and those of
            /// [`read`](Self::read).
            pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.io().try_io($crate::reactor::Direction::Read, |mut stream| {
                    std::io::Read::read(&mut stream, buf)
                })
            }

            /// Waits until [`try_read`](Self::try_read) is worth a call. It may still find nothing, and
            /// then this waits for an event.
            ///
            /// # Errors
            ///
            /// [`Other`](std::io::ErrorKind::Other) when the runtime has gone.
            ///
            /// # Cancellation
            ///
            /// Dropping the future loses nothing.
            pub async fn readable(&mut self) -> std::io::Result<()> {
                std::future::poll_fn(|cx| self.poll_read_ready(cx)).await
            }

            /// The poll of [`readable`](Self::readable).
            ///
            /// # Errors
            ///
            /// Those of [`readable`](Self::readable).
            pub fn poll_read_ready(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.io().poll_ready(cx, $crate::reactor::Direction::Read)
            }
        }

        impl futures_io::AsyncRead for $kind {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io().poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io().poll_io(cx, $crate::reactor::Direction::Read, |mut stream| {
                    std::io::Read::read_vectored(&mut stream, bufs)
                })
            }
        }
    )*};
}

/// Gives each type a look at what it will read.
macro_rules! peeking {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// As [`read`](Self::read), but leaves the bytes in the socket.
            ///
            /// # Errors
            ///
            /// Those of [`read`](Self::read).
            ///
            /// # Cancellation
            ///
            /// Dropping the future loses nothing.
            pub async fn peek(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|cx| self.io().poll_peek(cx, buf)).await
            }
        }
    )*};
}

/// Gives each type the writing side.
macro_rules! writing {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// Writes as much of `buf` as the socket takes, and waits while it takes nothing.
            ///
            /// # Errors
            ///
            /// Those of the system call, and [`Other`](std::io::ErrorKind::Other) when the runtime has
            /// gone.
            ///
            /// # Cancellation
            ///
            /// Dropping a future that was not ready has written nothing.
            pub async fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|cx| self.io().poll_write(cx, buf)).await
            }

            /// Writes all of `buf`.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write). How much was written before is not said.
            ///
            /// # Cancellation
            ///
            /// Dropping the future leaves a part of `buf` written, and which is not said. Where that
            /// matters, call [`write`](Self::write) in a loop.
            pub async fn write_all(&mut self, mut buf: &[u8]) -> std::io::Result<()> {
                while !buf.is_empty() {
                    let written = self.write(buf).await?;
                    if written == 0 {
                        return Err(std::io::ErrorKind::WriteZero.into());
                    }
                    buf = &buf[written..];
                }
                Ok(())
            }

            /// Completes at once: a written byte is the system's, and nothing is kept here.
            ///
            /// # Errors
            ///
            /// None.
            ///
            /// # Cancellation
            ///
            /// Dropping the future does nothing.
            pub async fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }

            /// Writes what the socket takes, without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when it takes nothing, and those of
            /// [`write`](Self::write).
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.io().try_io($crate::reactor::Direction::Write, |mut stream| {
                    std::io::Write::write(&mut stream, buf)
                })
            }

            /// Waits until [`try_write`](Self::try_write) is worth a call. It may still write nothing,
            /// and then this waits for an event.
            ///
            /// # Errors
            ///
            /// [`Other`](std::io::ErrorKind::Other) when the runtime has gone.
            ///
            /// # Cancellation
            ///
            /// Dropping the future loses nothing.
            pub async fn writable(&mut self) -> std::io::Result<()> {
                std::future::poll_fn(|cx| self.poll_write_ready(cx)).await
            }

            /// The poll of [`writable`](Self::writable).
            ///
            /// # Errors
            ///
            /// Those of [`writable`](Self::writable).
            pub fn poll_write_ready(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.io().poll_ready(cx, $crate::reactor::Direction::Write)
            }
        }

        impl futures_io::AsyncWrite for $kind {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io().poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io().poll_io(cx, $crate::reactor::Direction::Write, |mut stream| {
                    std::io::Write::write_vectored(&mut stream, bufs)
                })
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            /// Ends the writing side. A connection that is not there any more counts as ended.
            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(
                    match self.io().source().shutdown(std::net::Shutdown::Write) {
                        Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
                        result => result,
                    },
                )
            }
        }
    )*};
}

pub(super) use {peeking, reading, writing};
