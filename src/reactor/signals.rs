//! SIGINT and SIGTERM as an event of the reactor: the handler writes a byte into a socket pair.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
};

use signal_hook::{SigId, consts::signal, low_level};

use super::{Direction, IoId, Reactor};

/// The reading end, and the handlers that write to it. Dropping it takes the handlers away.
#[derive(Debug)]
pub(crate) struct SignalPipe {
    read: mio::net::UnixStream,
    id: IoId,
    handlers: Vec<SigId>,
}

impl SignalPipe {
    pub(crate) fn new(reactor: &Reactor) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let mut read = mio::net::UnixStream::from_std(read);
        let id = reactor.register(&mut read)?;
        reactor.not_ready(id, Direction::Read);
        let mut pipe = Self { read, id, handlers: Vec::new() };
        for signal in [signal::SIGINT, signal::SIGTERM] {
            pipe.handlers.push(low_level::pipe::register(signal, write.try_clone()?)?);
        }
        Ok(pipe)
    }

    /// Whether a signal came since the last call.
    pub(crate) fn take(&self, reactor: &Reactor) -> bool {
        if !reactor.is_ready(self.id, Direction::Read) {
            return false;
        }
        let mut came = false;
        let mut bytes = [0; 64];
        loop {
            match (&self.read).read(&mut bytes) {
                Ok(read) if read > 0 => came = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        reactor.not_ready(self.id, Direction::Read);
        came
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}
