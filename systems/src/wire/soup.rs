//! SoupBinTCP 3.00: the packets of a session over a byte stream.
//!
//! A packet is a two-byte big-endian length, a type byte and a payload; the length counts the type
//! byte. A stream may split and merge packets, so the decoders take whatever has arrived and say
//! how much of it the first packet used.
//!
//! Sequence numbers do not travel: a client counts sequenced packets from the number that the
//! accepted packet names.

use core::fmt;
use core::time::Duration;

use super::{Alpha, take};

/// A side that has sent nothing for this long sends a heartbeat.
///
/// ```
/// use onbeat_systems::wire::soup::{HEARTBEAT_AFTER, SILENCE_LIMIT};
///
/// assert!(SILENCE_LIMIT > 10 * HEARTBEAT_AFTER);
/// ```
pub const HEARTBEAT_AFTER: Duration = Duration::from_secs(1);
/// A side that has received nothing for this long takes the session for lost.
///
/// [`HEARTBEAT_AFTER`] has an example.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// The most bytes that a packet's payload can have.
///
/// ```
/// use onbeat_systems::wire::soup::PAYLOAD_MAX;
///
/// assert_eq!(PAYLOAD_MAX, 65_534);
/// ```
pub const PAYLOAD_MAX: usize = u16::MAX as usize - 1;

/// A packet from the client to the server.
///
/// ```
/// use onbeat_systems::wire::soup::{
///     ClientPacket, decode_client, encode_client_heartbeat, encode_logout, encode_unsequenced,
/// };
///
/// let mut bytes = Vec::new();
/// encode_unsequenced(&mut bytes, b"order");
/// encode_client_heartbeat(&mut bytes);
/// encode_logout(&mut bytes);
/// let mut rest = &bytes[..];
/// for expected in [ClientPacket::Unsequenced(b"order"), ClientPacket::Heartbeat, ClientPacket::Logout] {
///     let (packet, length) = decode_client(rest)?.unwrap();
///     assert_eq!(packet, expected);
///     rest = &rest[length..];
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientPacket<'a> {
    /// `L`: asks for a session.
    Login(Login),
    /// `U`: a message to the application, without a sequence number.
    Unsequenced(&'a [u8]),
    /// `R`: the client is alive.
    Heartbeat,
    /// `O`: the client leaves.
    Logout,
    /// `+`: free text that both sides ignore.
    Debug(&'a [u8]),
}

/// A packet from the server to the client.
///
/// ```
/// use onbeat_systems::wire::soup::{
///     RejectReason, ServerPacket, decode_server, encode_debug, encode_end_of_session, encode_rejected,
///     encode_sequenced, encode_server_heartbeat,
/// };
///
/// let mut bytes = Vec::new();
/// encode_rejected(&mut bytes, RejectReason::NotAuthorized);
/// encode_sequenced(&mut bytes, b"report");
/// encode_server_heartbeat(&mut bytes);
/// encode_debug(&mut bytes, b"text");
/// encode_end_of_session(&mut bytes);
/// let mut rest = &bytes[..];
/// for expected in [
///     ServerPacket::Rejected(RejectReason::NotAuthorized),
///     ServerPacket::Sequenced(b"report"),
///     ServerPacket::Heartbeat,
///     ServerPacket::Debug(b"text"),
///     ServerPacket::EndOfSession,
/// ] {
///     let (packet, length) = decode_server(rest)?.unwrap();
///     assert_eq!(packet, expected);
///     rest = &rest[length..];
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerPacket<'a> {
    /// `A`: the login holds.
    Accepted(Accepted),
    /// `J`: the login does not hold; the server closes the connection.
    Rejected(RejectReason),
    /// `S`: the next message of the sequence.
    Sequenced(&'a [u8]),
    /// `H`: the server is alive.
    Heartbeat,
    /// `Z`: the session has ended; no message follows.
    EndOfSession,
    /// `+`: free text that both sides ignore.
    Debug(&'a [u8]),
}

/// What a client asks for.
///
/// ```
/// use onbeat_systems::wire::soup::{ClientPacket, Login, decode_client, encode_login};
///
/// let login = Login {
///     username: "user".parse()?,
///     password: "secret".parse()?,
///     session: "".parse()?,
///     sequence: 1,
/// };
/// let mut bytes = Vec::new();
/// encode_login(&mut bytes, &login);
/// assert_eq!(decode_client(&bytes), Ok(Some((ClientPacket::Login(login), bytes.len()))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Login {
    /// Who asks.
    pub username: Alpha<6>,
    /// The password of the user.
    pub password: Alpha<10>,
    /// The session wanted; blank for the current one.
    pub session: Alpha<10>,
    /// The first sequence number wanted; 1 is the start of the session, 0 asks for the next
    /// message that is made.
    pub sequence: u64,
}

/// What a server grants.
///
/// ```
/// use onbeat_systems::wire::soup::{Accepted, ServerPacket, decode_server, encode_accepted};
///
/// let accepted = Accepted { session: "day 1".parse()?, sequence: 1 };
/// let mut bytes = Vec::new();
/// encode_accepted(&mut bytes, &accepted);
/// let Some((ServerPacket::Accepted(decoded), _)) = decode_server(&bytes)? else { panic!("it is one") };
/// assert_eq!(decoded.sequence, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The session that the client is in.
    pub session: Alpha<10>,
    /// The sequence number of the next sequenced packet.
    pub sequence: u64,
}

/// Why a login does not hold.
///
/// [`ServerPacket`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RejectReason {
    /// `A`: the user or the password is wrong.
    NotAuthorized,
    /// `S`: there is no such session.
    SessionUnavailable,
}

impl RejectReason {
    const fn byte(self) -> u8 {
        match self {
            Self::NotAuthorized => b'A',
            Self::SessionUnavailable => b'S',
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthorized => "not authorized",
            Self::SessionUnavailable => "session unavailable",
        })
    }
}

/// What is wrong with a packet. The stream cannot be read past it.
///
/// ```
/// use onbeat_systems::wire::soup::{SoupError, decode_server};
///
/// assert_eq!(decode_server(b"\x00\x00"), Err(SoupError::NoType));
/// assert_eq!(decode_server(b"\x00\x01?"), Err(SoupError::UnknownType { kind: b'?' }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SoupError {
    /// The length is zero, so that there is no type byte.
    NoType,
    /// The type is not one that this side receives.
    UnknownType {
        /// The type byte.
        kind: u8,
    },
    /// The payload does not have the length of the type.
    WrongLength {
        /// The type byte.
        kind: u8,
        /// Bytes that the payload of this type has.
        expected: usize,
        /// Bytes that the payload has.
        actual: usize,
    },
    /// The sequence number is not a right-justified number, or is past 64 bits.
    BadSequence {
        /// The type byte.
        kind: u8,
    },
    /// The reason of a rejection is neither `A` nor `S`.
    UnknownReject {
        /// The reason byte.
        reason: u8,
    },
}

impl fmt::Display for SoupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoType => f.write_str("packet of length zero has no type"),
            Self::UnknownType { kind } => {
                write!(f, "packet type '{}' is unknown here", kind.escape_ascii())
            }
            Self::WrongLength { kind, expected, actual } => write!(
                f,
                "packet '{}' has a payload of {actual} bytes, its type has {expected}",
                kind.escape_ascii()
            ),
            Self::BadSequence { kind } => write!(
                f,
                "packet '{}' has a sequence that is no right-justified number",
                kind.escape_ascii()
            ),
            Self::UnknownReject { reason } => {
                write!(f, "login rejected for the unknown reason '{}'", reason.escape_ascii())
            }
        }
    }
}

impl core::error::Error for SoupError {}

/// The first packet of what a server has received, and the bytes that it takes; `None` while it is
/// not complete.
///
/// ```
/// use onbeat_systems::wire::soup::{ClientPacket, decode_client};
///
/// assert_eq!(decode_client(b"\x00"), Ok(None));
/// assert_eq!(decode_client(b"\x00\x01R\x00"), Ok(Some((ClientPacket::Heartbeat, 3))));
/// ```
///
/// # Errors
///
/// When the packet is no client packet; see [`SoupError`].
pub fn decode_client(bytes: &[u8]) -> Result<Option<(ClientPacket<'_>, usize)>, SoupError> {
    let Some((kind, payload)) = split(bytes)? else { return Ok(None) };
    let packet = match kind {
        b'U' => ClientPacket::Unsequenced(payload),
        b'R' => exact::<0>(kind, payload).map(|_| ClientPacket::Heartbeat)?,
        b'L' => {
            let body = exact::<46>(kind, payload)?;
            ClientPacket::Login(Login {
                username: Alpha::from_wire(take(body, 0)),
                password: Alpha::from_wire(take(body, 6)),
                session: Alpha::from_wire(take(body, 16)),
                sequence: number(kind, take(body, 26))?,
            })
        }
        b'O' => exact::<0>(kind, payload).map(|_| ClientPacket::Logout)?,
        b'+' => ClientPacket::Debug(payload),
        _ => return Err(SoupError::UnknownType { kind }),
    };
    Ok(Some((packet, 3 + payload.len())))
}

/// The first packet of what a client has received, and the bytes that it takes; `None` while it is
/// not complete.
///
/// # Errors
///
/// When the packet is no server packet; see [`SoupError`].
///
/// [`ServerPacket`] has an example.
pub fn decode_server(bytes: &[u8]) -> Result<Option<(ServerPacket<'_>, usize)>, SoupError> {
    let Some((kind, payload)) = split(bytes)? else { return Ok(None) };
    let packet = match kind {
        b'S' => ServerPacket::Sequenced(payload),
        b'H' => exact::<0>(kind, payload).map(|_| ServerPacket::Heartbeat)?,
        b'A' => {
            let body = exact::<30>(kind, payload)?;
            ServerPacket::Accepted(Accepted {
                session: Alpha::from_wire(take(body, 0)),
                sequence: number(kind, take(body, 10))?,
            })
        }
        b'J' => match exact::<1>(kind, payload)? {
            [b'A'] => ServerPacket::Rejected(RejectReason::NotAuthorized),
            [b'S'] => ServerPacket::Rejected(RejectReason::SessionUnavailable),
            &[reason] => return Err(SoupError::UnknownReject { reason }),
        },
        b'Z' => exact::<0>(kind, payload).map(|_| ServerPacket::EndOfSession)?,
        b'+' => ServerPacket::Debug(payload),
        _ => return Err(SoupError::UnknownType { kind }),
    };
    Ok(Some((packet, 3 + payload.len())))
}

/// Appends a login packet.
///
/// [`Login`] has an example.
pub fn encode_login(out: &mut Vec<u8>, login: &Login) {
    begin(out, b'L', 46);
    out.extend_from_slice(login.username.as_bytes());
    out.extend_from_slice(login.password.as_bytes());
    out.extend_from_slice(login.session.as_bytes());
    put_number(out, login.sequence);
}

/// Appends an unsequenced packet.
///
/// # Panics
///
/// When the payload is longer than [`PAYLOAD_MAX`].
///
/// [`ClientPacket`] has an example.
pub fn encode_unsequenced(out: &mut Vec<u8>, payload: &[u8]) {
    begin(out, b'U', payload.len());
    out.extend_from_slice(payload);
}

/// Appends a client's heartbeat.
///
/// [`ClientPacket`] has an example.
pub fn encode_client_heartbeat(out: &mut Vec<u8>) {
    begin(out, b'R', 0);
}

/// Appends a logout packet.
///
/// [`ClientPacket`] has an example.
pub fn encode_logout(out: &mut Vec<u8>) {
    begin(out, b'O', 0);
}

/// Appends an accepted packet.
///
/// [`Accepted`] has an example.
pub fn encode_accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    begin(out, b'A', 30);
    out.extend_from_slice(accepted.session.as_bytes());
    put_number(out, accepted.sequence);
}

/// Appends a rejected packet.
///
/// [`ServerPacket`] has an example.
pub fn encode_rejected(out: &mut Vec<u8>, reason: RejectReason) {
    begin(out, b'J', 1);
    out.push(reason.byte());
}

/// Appends a sequenced packet.
///
/// # Panics
///
/// When the payload is longer than [`PAYLOAD_MAX`].
///
/// [`ServerPacket`] has an example.
pub fn encode_sequenced(out: &mut Vec<u8>, payload: &[u8]) {
    begin(out, b'S', payload.len());
    out.extend_from_slice(payload);
}

/// Appends a server's heartbeat.
///
/// [`ServerPacket`] has an example.
pub fn encode_server_heartbeat(out: &mut Vec<u8>) {
    begin(out, b'H', 0);
}

/// Appends an end-of-session packet.
///
/// [`ServerPacket`] has an example.
pub fn encode_end_of_session(out: &mut Vec<u8>) {
    begin(out, b'Z', 0);
}

/// Appends a debug packet, which either side may send.
///
/// # Panics
///
/// When the text is longer than [`PAYLOAD_MAX`].
///
/// [`ServerPacket`] has an example.
pub fn encode_debug(out: &mut Vec<u8>, text: &[u8]) {
    begin(out, b'+', text.len());
    out.extend_from_slice(text);
}

/// The type and the payload of the first packet, once all of it is there.
#[inline]
fn split(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, SoupError> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 {
        return Err(SoupError::NoType);
    }
    Ok(rest.get(..length).and_then(|packet| packet.split_first()).map(|(&kind, rest)| (kind, rest)))
}

fn exact<const N: usize>(kind: u8, payload: &[u8]) -> Result<&[u8; N], SoupError> {
    payload.try_into().map_err(|_| SoupError::WrongLength {
        kind,
        expected: N,
        actual: payload.len(),
    })
}

/// Reads spaces, then digits to the end of the field.
fn number(kind: u8, field: [u8; 20]) -> Result<u64, SoupError> {
    let bad = SoupError::BadSequence { kind };
    let digits = field.trim_ascii_start();
    if digits.is_empty() {
        return Err(bad);
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0')).ok_or(bad)?;
        value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(bad)
    })
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut field = [b' '; 20];
    for place in field.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&field);
}

/// Appends the length and the type of a packet whose payload follows.
fn begin(out: &mut Vec<u8>, kind: u8, payload: usize) {
    assert!(payload <= PAYLOAD_MAX, "a packet holds {PAYLOAD_MAX} bytes of payload, not {payload}");
    let length = u16::try_from(payload + 1).expect("the payload is within its limit");
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind);
}
