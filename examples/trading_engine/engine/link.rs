//! The client's side of one SoupBinTCP session, over onbeat's sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use onbeat::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use onbeat::timeout;
use onbeat_systems::wire::soup::{self, Login, RejectReason, ServerPacket, SoupError};
use onbeat_systems::wire::{Alpha, EncodeError};

use crate::exchange::{PASSWORD, SESSION, USERNAME};

/// How long the exchange has to answer a connection and a login.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// The most bytes read at once: so many that a read is worth its call, so few that they are booked
/// before more is read.
const READ_SIZE: usize = 32 * 1024;
/// Room for the largest packet and a read behind it.
const BUFFER_SIZE: usize = soup::PAYLOAD_MAX + 3 + READ_SIZE;

/// Why a session ended before its time.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// There was no connection.
    Connect(io::Error),
    /// The exchange did not take the login.
    Rejected(RejectReason),
    /// The exchange let the connection or the login wait for too long.
    NoAnswer,
    /// The exchange closed the connection.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// The exchange was silent for longer than its heartbeats allow.
    Silent,
    /// What came is no packet, or one that does not belong there.
    Protocol(SoupError),
    /// Something else than an answer followed the login.
    Unexpected,
    /// An order does not fit its message.
    Unsendable(EncodeError),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "there was no connection: {error}"),
            Self::Rejected(reason) => write!(f, "the login was rejected: {reason}"),
            Self::NoAnswer => {
                write!(f, "there was no answer within {} s", LOGIN_LIMIT.as_secs())
            }
            Self::Closed => f.write_str("the exchange closed the connection"),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Silent => {
                write!(f, "the exchange was silent for {} s", soup::SILENCE_LIMIT.as_secs())
            }
            Self::Protocol(error) => write!(f, "the session cannot be read on: {error}"),
            Self::Unexpected => f.write_str("what followed the login was no answer to it"),
            Self::Unsendable(error) => write!(f, "an order cannot be sent: {error}"),
        }
    }
}

impl std::error::Error for LinkError {}

/// A session that the exchange has accepted.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) packets: PacketReader,
    pub(super) writer: OwnedWriteHalf,
    /// The number of the first sequenced packet.
    pub(super) sequence: u64,
}

/// Connects and logs in, from the start of the session.
///
/// # Errors
///
/// When the exchange cannot be reached, does not answer in time, or says no.
pub(super) async fn log_in(address: SocketAddr) -> Result<Link, LinkError> {
    timeout(LOGIN_LIMIT, log_in_at_leisure(address)).await.unwrap_or(Err(LinkError::NoAnswer))
}

async fn log_in_at_leisure(address: SocketAddr) -> Result<Link, LinkError> {
    let stream = TcpStream::connect(address).await.map_err(LinkError::Connect)?;
    stream.set_nodelay(true).map_err(LinkError::Connect)?;
    let (reader, mut writer) = stream.into_split();
    let mut packets = PacketReader::new(reader);
    let login = Login {
        username: field(USERNAME),
        password: field(PASSWORD),
        session: field(SESSION),
        sequence: 1,
    };
    let mut request = Vec::new();
    soup::encode_login(&mut request, &login);
    writer.write_all(&request).await.map_err(LinkError::Io)?;
    loop {
        match packets.next_packet()? {
            Some(ServerPacket::Accepted(accepted)) => {
                return Ok(Link { packets, writer, sequence: accepted.sequence });
            }
            Some(ServerPacket::Rejected(reason)) => return Err(LinkError::Rejected(reason)),
            Some(ServerPacket::Debug(_) | ServerPacket::Heartbeat) => {}
            Some(_) => return Err(LinkError::Unexpected),
            None => packets.fill().await?,
        }
    }
}

fn field<const N: usize>(text: &'static str) -> Alpha<N> {
    text.parse().expect("the constants of the login fit their fields")
}

/// Packets out of the bytes of a connection.
#[derive(Debug)]
pub(super) struct PacketReader {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
    /// The bytes that are not used yet.
    start: usize,
    end: usize,
}

impl PacketReader {
    fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, buffer: vec![0; BUFFER_SIZE], start: 0, end: 0 }
    }

    /// Reads once. Silence that is longer than heartbeats allow is an error.
    ///
    /// # Cancellation
    ///
    /// Dropping it loses nothing that has arrived.
    pub(super) async fn fill(&mut self) -> Result<(), LinkError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < READ_SIZE {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.buffer[self.end..][..READ_SIZE];
        match timeout(soup::SILENCE_LIMIT, self.reader.read(room)).await {
            Ok(Ok(0)) => Err(LinkError::Closed),
            Ok(Ok(count)) => {
                self.end += count;
                Ok(())
            }
            Ok(Err(error)) => Err(LinkError::Io(error)),
            Err(_) => Err(LinkError::Silent),
        }
    }

    /// The next packet that has arrived in full.
    pub(super) fn next_packet(&mut self) -> Result<Option<ServerPacket<'_>>, LinkError> {
        match soup::decode_server(&self.buffer[self.start..self.end]) {
            Ok(Some((packet, length))) => {
                self.start += length;
                Ok(Some(packet))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(LinkError::Protocol(error)),
        }
    }
}
