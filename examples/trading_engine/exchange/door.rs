//! A listener and the one client that it lets in.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::session::Session;

/// A port that the exchange cannot listen on.
#[derive(Debug)]
pub(crate) struct ListenError {
    /// What it was for.
    pub(crate) purpose: &'static str,
    /// The port.
    pub(crate) port: u16,
    /// Why not.
    pub(crate) error: io::Error,
}

/// A listener and the one client that it lets in.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    pub(super) session: Option<Session>,
}

impl Door {
    /// Listens on the loopback address; the system chooses the port where it is 0.
    pub(super) fn listen(
        purpose: &'static str,
        port: u16,
    ) -> Result<(Self, SocketAddr), ListenError> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((Self { listener, session: None }, address))
        });
        bound.map_err(|error| ListenError { purpose, port, error })
    }

    /// What to wait on for the next client.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Lets a client in. One that has not logged in makes room for the next when it leaves.
    pub(super) fn open(&mut self, now: Instant) -> io::Result<()> {
        if self.session.as_ref().is_some_and(Session::is_closed) {
            self.session = None;
        }
        if self.session.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => self.session = Some(Session::new(stream, now)?),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn is_live(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_live)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_closed)
    }

    pub(super) fn flush(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.flush(now);
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}
