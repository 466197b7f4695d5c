//! The server's side of one SoupBinTCP session, over a socket that never blocks.
//!
//! ```text
//!           1          2
//!   (peer) ──▶ Login ────▶ Live ──┐
//!                │ 3         │ 3  │ 4
//!                └──────▶ Closed ◀┘
//!
//!   1 new     2 a login that holds     3 refused, lost, silent, broken     4 logout, or shut
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use onbeat_systems::wire::Alpha;
use onbeat_systems::wire::soup::{self, Accepted, ClientPacket, Login, RejectReason};

/// The user that the exchange knows.
pub(crate) const USERNAME: &str = "TRADER";
/// The user's password.
pub(crate) const PASSWORD: &str = "onbeat";
/// The one session of a run.
pub(crate) const SESSION: &str = "ONBEAT0001";

/// Bytes read from the socket at once.
const READ_SIZE: usize = 16 * 1024;

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Login,
    Live,
    Closed,
}

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    state: State,
    input: Vec<u8>,
    /// How much of `input` holds bytes that are not decoded yet.
    received: usize,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    sent_at: Instant,
    received_at: Instant,
}

impl Session {
    /// Takes a connection whose client has yet to log in.
    pub(super) fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            state: State::Login,
            input: vec![0; READ_SIZE],
            received: 0,
            output: Vec::with_capacity(READ_SIZE),
            written: 0,
            sent_at: now,
            received_at: now,
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.state == State::Live
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether bytes wait for the socket to take them.
    pub(super) fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// How many bytes wait for the socket to take them.
    pub(super) fn output_len(&self) -> usize {
        self.output.len() - self.written
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Reads what has arrived and hands the payload of each unsequenced packet to `take`.
    pub(super) fn receive(&mut self, now: Instant, mut take: impl FnMut(&[u8])) {
        while self.state != State::Closed {
            if self.received == self.input.len() {
                self.input.resize(self.received + READ_SIZE, 0);
            }
            let read = self.stream.read(&mut self.input[self.received..]);
            match read {
                Ok(0) => self.state = State::Closed,
                Ok(count) => {
                    self.received_at = now;
                    let full = self.received + count == self.input.len();
                    self.received += count;
                    self.decode(&mut take);
                    if !full {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.state = State::Closed,
            }
        }
    }

    /// Queues a sequenced packet.
    pub(super) fn send(&mut self, payload: &[u8]) {
        soup::encode_sequenced(&mut self.output, payload);
    }

    /// Queues packets that are encoded already.
    pub(super) fn send_packets(&mut self, packets: &[u8]) {
        self.output.extend_from_slice(packets);
    }

    /// Queues the packet that ends the session.
    pub(super) fn send_end(&mut self) {
        soup::encode_end_of_session(&mut self.output);
    }

    /// Hands queued bytes to the socket, as many as it takes.
    pub(super) fn flush(&mut self, now: Instant) {
        while self.has_output() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.sent_at = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.state = State::Closed;
                    break;
                }
            }
        }
        self.output.clear();
        self.written = 0;
    }

    /// Sends a heartbeat when nothing was sent for a while, and gives up a client that is silent for
    /// too long. Returns when it must be called again.
    pub(super) fn keep_alive(&mut self, now: Instant) -> Instant {
        if self.state == State::Live && now >= self.sent_at + soup::HEARTBEAT_AFTER {
            soup::encode_server_heartbeat(&mut self.output);
            self.sent_at = now;
            self.flush(now);
        }
        if now >= self.received_at + soup::SILENCE_LIMIT {
            self.state = State::Closed;
        }
        let silent = self.received_at + soup::SILENCE_LIMIT;
        silent.min(self.sent_at + soup::HEARTBEAT_AFTER).max(now + Duration::from_millis(1))
    }

    fn decode(&mut self, take: &mut impl FnMut(&[u8])) {
        let mut used = 0;
        while self.state != State::Closed {
            let (packet, length) = match soup::decode_client(&self.input[used..self.received]) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(_) => {
                    self.state = State::Closed;
                    break;
                }
            };
            match (self.state, packet) {
                (State::Login, ClientPacket::Login(login)) => match judge(&login) {
                    Ok(accepted) => {
                        soup::encode_accepted(&mut self.output, &accepted);
                        self.state = State::Live;
                    }
                    Err(reason) => {
                        soup::encode_rejected(&mut self.output, reason);
                        self.flush(self.received_at);
                        self.state = State::Closed;
                    }
                },
                (State::Live, ClientPacket::Unsequenced(payload)) => take(payload),
                (State::Live, ClientPacket::Heartbeat | ClientPacket::Debug(_)) => {}
                _ => self.state = State::Closed,
            }
            used += length;
        }
        self.input.copy_within(used..self.received, 0);
        self.received -= used;
    }
}

/// Decides over a login: the one user, the one session, from its start.
fn judge(login: &Login) -> Result<Accepted, RejectReason> {
    let session: Alpha<10> = SESSION.parse().expect("ten printable characters are a session");
    if login.username.trimmed() != USERNAME.as_bytes()
        || login.password.trimmed() != PASSWORD.as_bytes()
    {
        return Err(RejectReason::NotAuthorized);
    }
    let known = login.session.is_blank() || login.session == session;
    if !known || login.sequence > 1 {
        return Err(RejectReason::SessionUnavailable);
    }
    Ok(Accepted { session, sequence: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: &str, sequence: u64) -> Login {
        Login {
            username: USERNAME.parse().unwrap(),
            password: password.parse().unwrap(),
            session: Alpha::BLANK,
            sequence,
        }
    }

    #[test]
    fn a_login_to_the_current_session_is_accepted_from_its_first_message() {
        for sequence in [0, 1] {
            assert_eq!(judge(&login(PASSWORD, sequence)).map(|accepted| accepted.sequence), Ok(1));
        }
    }

    #[test]
    fn a_login_with_a_wrong_password_is_not_authorized() {
        assert_eq!(judge(&login("guess", 1)), Err(RejectReason::NotAuthorized));
    }

    #[test]
    fn a_login_past_the_start_of_the_session_finds_none() {
        assert_eq!(judge(&login(PASSWORD, 2)), Err(RejectReason::SessionUnavailable));
    }
}
