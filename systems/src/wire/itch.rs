//! ITCH 5.0: the messages of the feed that touch a book, and the framing of its files.
//!
//! [`decode`] gives a [`Message`] by value. Types that touch no book are known by their length and
//! come out as [`Message::Other`]; an order or trade whose side is neither `B` nor `S` comes out as
//! [`Message::BadSide`], since the next message is where it should be all the same. [`Frames`] walks a
//! file.

use core::fmt;

use super::{Alpha, take, u16_at, u32_at, u64_at};
use crate::instrument::{Locate, Symbol};
use crate::price::{MarketTime, Price, Qty, Side};

mod encode;
mod file;
mod message;

pub use super::{MatchNumber, OrderRef};
pub use file::{FileError, FileErrorKind, Frame, Frames, encode_frame};
pub use message::{
    AddOrder, BadSide, EventCode, Header, Message, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, Other, StockDirectory, SystemEvent, Trade, TradingAction,
    TradingState,
};

/// What is wrong with a message.
///
/// ```
/// use onbeat_systems::wire::itch::{ItchError, decode};
///
/// assert_eq!(decode(b""), Err(ItchError::Empty));
/// assert_eq!(decode(b"D12"), Err(ItchError::WrongLength { kind: b'D', expected: 19, actual: 3 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItchError {
    /// There is no byte.
    Empty,
    /// The type is none of ITCH 5.0.
    UnknownType {
        /// The type byte.
        kind: u8,
    },
    /// The message does not have the length of its type.
    WrongLength {
        /// The type byte.
        kind: u8,
        /// Bytes that a message of this type has.
        expected: usize,
        /// Bytes that the message has.
        actual: usize,
    },
}

impl fmt::Display for ItchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("message of no bytes has no type"),
            Self::UnknownType { kind } => {
                write!(f, "message type '{}' is not in ITCH 5.0", kind.escape_ascii())
            }
            Self::WrongLength { kind, expected, actual } => write!(
                f,
                "message '{}' has {actual} bytes, its type has {expected}",
                kind.escape_ascii()
            ),
        }
    }
}

impl core::error::Error for ItchError {}

/// The message that `bytes` are, all of them.
///
/// ```
/// use onbeat_systems::wire::itch::{Message, decode};
///
/// let bytes = b"D\x00\x0e\x00\x00\x1f\x1a\xce\xdd\xaa\xac\x00\x00\x00\x00\x00\x00\x70\x3c";
/// let Message::OrderDelete(delete) = decode(bytes)? else { panic!("D is a delete") };
/// assert_eq!(delete.header.locate.get(), 14);
/// assert_eq!(delete.reference.0, 0x703c);
/// # Ok::<(), onbeat_systems::wire::itch::ItchError>(())
/// ```
///
/// # Errors
///
/// When they are no message; see [`ItchError`].
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Message, ItchError> {
    let Some(&kind) = bytes.first() else { return Err(ItchError::Empty) };
    match kind {
        b'A' => exact::<36>(bytes).map(|body| add(body, None)),
        b'D' => exact(bytes).map(delete),
        b'U' => exact(bytes).map(replace),
        b'E' => exact(bytes).map(executed),
        b'X' => exact(bytes).map(cancel),
        b'F' => exact::<40>(bytes).map(|body| add(body, Some(Alpha::from_wire(take(body, 36))))),
        b'C' => exact(bytes).map(executed_with_price),
        b'P' => exact(bytes).map(trade),
        b'S' => exact(bytes).map(system_event),
        b'R' => exact(bytes).map(directory),
        b'H' => exact(bytes).map(trading_action),
        _ => other(kind, bytes),
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], ItchError> {
    bytes.try_into().map_err(|_| match bytes.first() {
        Some(&kind) => ItchError::WrongLength { kind, expected: N, actual: bytes.len() },
        None => ItchError::Empty,
    })
}

/// The tracking number and the time stand side by side in eight bytes.
#[inline(always)]
fn header<const N: usize>(body: &[u8; N]) -> Header {
    let timestamp = u64_at(body, 3) & 0x0000_ffff_ffff_ffff;
    Header {
        locate: Locate::new(u16_at(body, 1)),
        tracking: u16_at(body, 3),
        timestamp: MarketTime::from_ns(timestamp),
    }
}

#[inline(always)]
fn reference_at<const N: usize>(body: &[u8; N], at: usize) -> OrderRef {
    OrderRef(u64_at(body, at))
}

#[inline(always)]
fn qty_at<const N: usize>(body: &[u8; N], at: usize) -> Qty {
    Qty::new(u64::from(u32_at(body, at)))
}

#[inline(always)]
fn price_at<const N: usize>(body: &[u8; N], at: usize) -> Price {
    Price::from_ticks(i64::from(u32_at(body, at)))
}

/// The side stands at the same place in `A`, `F` and `P`.
#[inline(always)]
fn side<const N: usize>(body: &[u8; N]) -> Option<Side> {
    match body[19] {
        b'B' => Some(Side::Buy),
        b'S' => Some(Side::Sell),
        _ => None,
    }
}

#[cold]
fn bad_side<const N: usize>(body: &[u8; N]) -> Message {
    Message::BadSide(BadSide {
        header: header(body),
        kind: body[0],
        reference: reference_at(body, 11),
        byte: body[19],
    })
}

#[inline(always)]
fn add<const N: usize>(body: &[u8; N], attribution: Option<Alpha<4>>) -> Message {
    let Some(side) = side(body) else { return bad_side(body) };
    Message::AddOrder(AddOrder {
        header: header(body),
        reference: reference_at(body, 11),
        side,
        qty: qty_at(body, 20),
        symbol: Symbol::from_wire(take(body, 24)),
        price: price_at(body, 32),
        attribution,
    })
}

#[inline(always)]
fn executed(body: &[u8; 31]) -> Message {
    Message::OrderExecuted(OrderExecuted {
        header: header(body),
        reference: reference_at(body, 11),
        qty: qty_at(body, 19),
        match_number: MatchNumber(u64_at(body, 23)),
    })
}

#[inline(always)]
fn executed_with_price(body: &[u8; 36]) -> Message {
    Message::OrderExecutedWithPrice(OrderExecutedWithPrice {
        header: header(body),
        reference: reference_at(body, 11),
        qty: qty_at(body, 19),
        match_number: MatchNumber(u64_at(body, 23)),
        printable: body[31],
        price: price_at(body, 32),
    })
}

#[inline(always)]
fn cancel(body: &[u8; 23]) -> Message {
    Message::OrderCancel(OrderCancel {
        header: header(body),
        reference: reference_at(body, 11),
        qty: qty_at(body, 19),
    })
}

#[inline(always)]
fn delete(body: &[u8; 19]) -> Message {
    Message::OrderDelete(OrderDelete { header: header(body), reference: reference_at(body, 11) })
}

#[inline(always)]
fn replace(body: &[u8; 35]) -> Message {
    Message::OrderReplace(OrderReplace {
        header: header(body),
        original: reference_at(body, 11),
        reference: reference_at(body, 19),
        qty: qty_at(body, 27),
        price: price_at(body, 31),
    })
}

fn trade(body: &[u8; 44]) -> Message {
    let Some(side) = side(body) else { return bad_side(body) };
    Message::Trade(Trade {
        header: header(body),
        reference: reference_at(body, 11),
        side,
        qty: qty_at(body, 20),
        symbol: Symbol::from_wire(take(body, 24)),
        price: price_at(body, 32),
        match_number: MatchNumber(u64_at(body, 36)),
    })
}

fn system_event(body: &[u8; 12]) -> Message {
    Message::SystemEvent(SystemEvent { header: header(body), code: EventCode::from_byte(body[11]) })
}

fn directory(body: &[u8; 39]) -> Message {
    Message::StockDirectory(StockDirectory {
        header: header(body),
        symbol: Symbol::from_wire(take(body, 11)),
        market: body[19],
        financial_status: body[20],
        round_lot: qty_at(body, 21),
        attributes: take(body, 25),
    })
}

fn trading_action(body: &[u8; 25]) -> Message {
    Message::TradingAction(TradingAction {
        header: header(body),
        symbol: Symbol::from_wire(take(body, 11)),
        state: TradingState::from_byte(body[19]),
        reserved: body[20],
        reason: Alpha::from_wire(take(body, 21)),
    })
}

fn other(kind: u8, bytes: &[u8]) -> Result<Message, ItchError> {
    let expected = match kind {
        b'Y' | b'N' => 20,
        b'L' => 26,
        b'V' | b'J' => 35,
        b'W' => 12,
        b'K' => 28,
        b'h' => 21,
        b'Q' => 40,
        b'B' => 19,
        b'I' => 50,
        b'O' => 48,
        _ => return Err(ItchError::UnknownType { kind }),
    };
    match bytes.first_chunk::<11>() {
        Some(body) if bytes.len() == expected => {
            Ok(Message::Other(Other { header: header(body), kind }))
        }
        _ => Err(ItchError::WrongLength { kind, expected, actual: bytes.len() }),
    }
}
