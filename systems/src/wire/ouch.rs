//! OUCH 5.0: order entry messages. Inbound ones travel to the exchange in unsequenced packets of
//! [`soup`](super::soup), outbound ones come back in sequenced packets.
//!
//! A message may end in an appendage, a list of tagged options. Where the field table counts its
//! length among the fixed bytes it is always there; elsewhere a message may end before it. Options
//! are kept as raw bytes, so unknown ones pass through.

use core::fmt;

use super::{
    Alpha, EncodeError, MatchNumber, OrderRef, append, codes, put_price8, put_qty, take, u16_at,
    u32_at, u64_at,
};
use crate::instrument::Symbol;
use crate::price::{MarketTime, Price, Qty, Side};

mod inbound;
mod outbound;

pub use inbound::{CancelOrder, EnterOrder, Inbound, ModifyOrder, ReplaceOrder};
pub use outbound::{
    Accepted, CancelNotice, Canceled, Executed, NextUserRef, Outbound, Rejected, Replaced,
    SystemEvent,
};

/// The client's number of an order: strictly increasing within a port, replacements included.
///
/// ```
/// use onbeat_systems::wire::ouch::UserRefNum;
///
/// assert!(UserRefNum(1) < UserRefNum(2));
/// assert_eq!(UserRefNum(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UserRefNum(pub u32);

impl fmt::Display for UserRefNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The client's own text for an order, returned as it was given.
///
/// ```
/// use onbeat_systems::wire::ouch::ClientOrderId;
///
/// let id: ClientOrderId = "quote 1".parse()?;
/// assert_eq!(id.trimmed(), b"quote 1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type ClientOrderId = Alpha<14>;

/// The side of an order, with the marks of short sales.
///
/// ```
/// use onbeat_systems::price::Side;
/// use onbeat_systems::wire::ouch::OrderSide;
///
/// assert_eq!(OrderSide::SellShort.side(), Side::Sell);
/// assert_eq!(OrderSide::from(Side::Buy), OrderSide::Buy);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OrderSide {
    /// `B`: buy.
    Buy,
    /// `S`: sell what is held.
    Sell,
    /// `T`: sell short.
    SellShort,
    /// `E`: sell short, exempt from the short-sale price test.
    SellShortExempt,
}

impl OrderSide {
    /// The side of the book.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Buy => Side::Buy,
            Self::Sell | Self::SellShort | Self::SellShortExempt => Side::Sell,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Buy => b'B',
            Self::Sell => b'S',
            Self::SellShort => b'T',
            Self::SellShortExempt => b'E',
        }
    }

    fn decode(kind: u8, byte: u8) -> Result<Self, OuchError> {
        match byte {
            b'B' => Ok(Self::Buy),
            b'S' => Ok(Self::Sell),
            b'T' => Ok(Self::SellShort),
            b'E' => Ok(Self::SellShortExempt),
            _ => Err(OuchError::BadSide { kind, byte }),
        }
    }
}

impl From<Side> for OrderSide {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

codes! {
    /// How long an order lives.
    ///
    /// ```
    /// use onbeat_systems::wire::ouch::TimeInForce;
    ///
    /// assert_eq!(TimeInForce::from_byte(b'3'), TimeInForce::ImmediateOrCancel);
    /// assert_eq!(TimeInForce::Day.byte(), b'0');
    /// ```
    TimeInForce {
        /// `0`: until the market closes.
        Day = b'0',
        /// `3`: what does not execute at once is cancelled.
        ImmediateOrCancel = b'3',
        /// `5`: until the end of extended hours.
        ExtendedDay = b'5',
        /// `6`: until a time that the appendage names.
        UntilTime = b'6',
        /// `E`: after hours.
        AfterHours = b'E',
    }
}

codes! {
    /// Why an order, or a part of it, is cancelled.
    ///
    /// ```
    /// use onbeat_systems::wire::ouch::CancelReason;
    ///
    /// assert_eq!(CancelReason::from_byte(b'U'), CancelReason::User);
    /// assert_eq!(CancelReason::SelfMatch.byte(), b'Q');
    /// ```
    CancelReason {
        /// `U`: the user asked.
        User = b'U',
        /// `I`: the rest of an immediate order.
        Immediate = b'I',
        /// `T`: its time is over.
        Timeout = b'T',
        /// `S`: a supervisor of the exchange.
        Supervisory = b'S',
        /// `D`: a regulatory restriction.
        Regulatory = b'D',
        /// `Q`: it would have traded with an order of the same owner.
        SelfMatch = b'Q',
        /// `Z`: the system.
        System = b'Z',
        /// `H`: the symbol is halted.
        Halted = b'H',
        /// `K`: the price is outside the collar.
        Collar = b'K',
        /// `E`: the market is closed.
        Closed = b'E',
        /// `F`: it adds liquidity only and would have crossed.
        PostOnly = b'F',
        /// `G`: as `F`, when it would have crossed an undisplayed order.
        PostOnlyContra = b'G',
        /// `X`: the protection of the open.
        OpenProtection = b'X',
        /// `C`: the cross.
        Cross = b'C',
    }
}

codes! {
    /// What an accepted order does.
    ///
    /// ```
    /// use onbeat_systems::wire::ouch::OrderState;
    ///
    /// assert_eq!(OrderState::from_byte(b'D'), OrderState::Dead);
    /// assert_eq!(OrderState::Live.byte(), b'L');
    /// ```
    OrderState {
        /// `L`: it lives.
        Live = b'L',
        /// `D`: it was accepted and cancelled at once.
        Dead = b'D',
    }
}

codes! {
    /// Which side of an execution an order was on.
    ///
    /// ```
    /// use onbeat_systems::wire::ouch::Liquidity;
    ///
    /// assert_eq!(Liquidity::from_byte(b'?'), Liquidity::Unlisted(b'?'));
    /// assert_eq!(Liquidity::Added.byte(), b'A');
    /// ```
    Liquidity {
        /// `A`: it rested in the book.
        Added = b'A',
        /// `R`: it took from the book.
        Removed = b'R',
    }
}

/// The handling marks of an order, each as its byte on the wire.
///
/// ```
/// use onbeat_systems::wire::ouch::OrderMarks;
///
/// let hidden = OrderMarks { display: b'N', ..OrderMarks::default() };
/// assert_eq!((hidden.capacity, hidden.sweep, hidden.cross), (b'A', b'N', b'N'));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrderMarks {
    /// `Y` shown, `N` hidden, `A` attributed.
    pub display: u8,
    /// `A` agency, `P` principal, `R` riskless, `O` other.
    pub capacity: u8,
    /// Whether it is an intermarket sweep: `Y` or `N`.
    pub sweep: u8,
    /// The cross that it takes part in; `N` for continuous trading.
    pub cross: u8,
}

impl Default for OrderMarks {
    /// A shown agency order in continuous trading.
    fn default() -> Self {
        Self { display: b'Y', capacity: b'A', sweep: b'N', cross: b'N' }
    }
}

/// The options at the end of a message, as raw bytes.
///
/// ```
/// use onbeat_systems::wire::ouch::Appendage;
///
/// let appendage = Appendage(b"\x03\x01ab\x01\x02");
/// let options: Vec<_> = appendage.options().collect();
/// assert_eq!(options, [(1, &b"ab"[..]), (2, b"")]);
/// assert_eq!(Appendage::EMPTY.options().count(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Appendage<'a>(pub &'a [u8]);

impl<'a> Appendage<'a> {
    /// No options.
    pub const EMPTY: Self = Self(&[]);

    /// The options, tag and value, in order. The list ends early at an option whose length is zero
    /// or reaches past the end.
    pub fn options(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let option = after.get(..usize::from(length))?;
            rest = &after[option.len()..];
            option.split_first().map(|(&tag, value)| (tag, value))
        })
    }

    /// Appends the length and the options.
    fn put(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = u16::try_from(self.0.len()).map_err(|_| EncodeError { field: "appendage" })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.0);
        Ok(())
    }

    /// As [`put`](Self::put), and nothing at all where there is no option.
    fn put_optional(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.0.is_empty() { Ok(()) } else { self.put(out) }
    }
}

/// What is wrong with a message.
///
/// ```
/// use onbeat_systems::wire::ouch::{Inbound, OuchError};
///
/// assert_eq!(Inbound::decode(b""), Err(OuchError::Empty));
/// assert_eq!(Inbound::decode(b"?"), Err(OuchError::UnknownType { kind: b'?' }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OuchError {
    /// There is no byte.
    Empty,
    /// The type is not one that travels in this direction.
    UnknownType {
        /// The type byte.
        kind: u8,
    },
    /// The message ends before its fixed fields do.
    TooShort {
        /// The type byte.
        kind: u8,
        /// Bytes that the fixed fields of this type take.
        expected: usize,
        /// Bytes that the message has.
        actual: usize,
    },
    /// The appendage does not fill the rest of the message.
    WrongAppendage {
        /// The type byte.
        kind: u8,
        /// Bytes that the appendage says it has.
        declared: usize,
        /// Bytes that follow.
        actual: usize,
    },
    /// The side is none of `B`, `S`, `T`, `E`.
    BadSide {
        /// The type byte.
        kind: u8,
        /// The side byte.
        byte: u8,
    },
    /// The price is past 63 bits.
    BadPrice {
        /// The type byte.
        kind: u8,
        /// The price on the wire.
        price: u64,
    },
}

impl fmt::Display for OuchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("message of no bytes has no type"),
            Self::UnknownType { kind } => {
                write!(f, "message type '{}' is unknown here", kind.escape_ascii())
            }
            Self::TooShort { kind, expected, actual } => write!(
                f,
                "message '{}' has {actual} bytes, its type has at least {expected}",
                kind.escape_ascii()
            ),
            Self::WrongAppendage { kind, declared, actual } => write!(
                f,
                "message '{}' declares an appendage of {declared} bytes, {actual} follow",
                kind.escape_ascii()
            ),
            Self::BadSide { kind, byte } => write!(
                f,
                "message '{}' has the unknown side '{}'",
                kind.escape_ascii(),
                byte.escape_ascii()
            ),
            Self::BadPrice { kind, price } => {
                write!(f, "message '{}' has the price {price}, past 63 bits", kind.escape_ascii())
            }
        }
    }
}

impl core::error::Error for OuchError {}

/// The `N` fixed bytes of a message and what follows.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), OuchError> {
    bytes.split_first_chunk().ok_or_else(|| match bytes.first() {
        Some(&kind) => OuchError::TooShort { kind, expected: N, actual: bytes.len() },
        None => OuchError::Empty,
    })
}

/// A message of `N` fixed bytes, the last two of which are the appendage's length.
fn with_appendage<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], Appendage<'_>), OuchError> {
    let (body, rest) = fixed::<N>(bytes)?;
    let declared = usize::from(u16_at(body, N - 2));
    if declared != rest.len() {
        return Err(OuchError::WrongAppendage { kind: body[0], declared, actual: rest.len() });
    }
    Ok((body, Appendage(rest)))
}

/// A message of `N` fixed bytes that ends there, or goes on with an appendage's length.
fn optional_appendage<const N: usize>(
    bytes: &[u8],
) -> Result<(&[u8; N], Appendage<'_>), OuchError> {
    let (body, rest) = fixed::<N>(bytes)?;
    if rest.is_empty() {
        return Ok((body, Appendage::EMPTY));
    }
    let Some((length, options)) = rest.split_first_chunk() else {
        return Err(OuchError::TooShort { kind: body[0], expected: N + 2, actual: bytes.len() });
    };
    let declared = usize::from(u16::from_be_bytes(*length));
    if declared != options.len() {
        return Err(OuchError::WrongAppendage { kind: body[0], declared, actual: options.len() });
    }
    Ok((body, Appendage(options)))
}

fn user_ref_at<const N: usize>(body: &[u8; N], at: usize) -> UserRefNum {
    UserRefNum(u32_at(body, at))
}

fn qty_at<const N: usize>(body: &[u8; N], at: usize) -> Qty {
    Qty::new(u64::from(u32_at(body, at)))
}

fn price_at<const N: usize>(body: &[u8; N], at: usize) -> Result<Price, OuchError> {
    let price = u64_at(body, at);
    let ticks = i64::try_from(price).map_err(|_| OuchError::BadPrice { kind: body[0], price })?;
    Ok(Price::from_ticks(ticks))
}

fn time_at<const N: usize>(body: &[u8; N], at: usize) -> MarketTime {
    MarketTime::from_ns(u64_at(body, at))
}

fn put_user_ref(out: &mut Vec<u8>, user_ref: UserRefNum) {
    out.extend_from_slice(&user_ref.0.to_be_bytes());
}
