//! The messages, as values.

use crate::instrument::{Locate, Symbol};
use crate::price::{MarketTime, Price, Qty, Side};
use crate::wire::{Alpha, MatchNumber, OrderRef, codes};

/// What every message begins with.
///
/// ```
/// use onbeat_systems::instrument::Locate;
/// use onbeat_systems::price::MarketTime;
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete};
/// use onbeat_systems::wire::OrderRef;
///
/// let (locate, timestamp) = (Locate::new(14), MarketTime::from_ns(34_200_000_000_000));
/// let header = Header { locate, tracking: 0, timestamp };
/// let message = Message::OrderDelete(OrderDelete { header, reference: OrderRef(7) });
/// assert_eq!(message.header(), header);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// The instrument; zero for the whole market.
    pub locate: Locate,
    /// The exchange's own number.
    pub tracking: u16,
    /// When.
    pub timestamp: MarketTime,
}

/// A message of the feed.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete, decode};
/// use onbeat_systems::wire::OrderRef;
///
/// let header = Header::default();
/// let message = Message::OrderDelete(OrderDelete { header, reference: OrderRef(7) });
/// assert_eq!((message.header(), message.locate(), message.timestamp()), (header, header.locate, header.timestamp));
/// assert_eq!((message.kind(), message.is_order_flow()), (b'D', true));
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// `S`: a part of the day starts or ends.
    SystemEvent(SystemEvent),
    /// `R`: an instrument of the day.
    StockDirectory(StockDirectory),
    /// `H`: an instrument is halted, or trades.
    TradingAction(TradingAction),
    /// `A`, or `F` with attribution: a new order.
    AddOrder(AddOrder),
    /// `E`: an order is executed at its price.
    OrderExecuted(OrderExecuted),
    /// `C`: an order is executed at another price.
    OrderExecutedWithPrice(OrderExecutedWithPrice),
    /// `X`: a part of an order is cancelled.
    OrderCancel(OrderCancel),
    /// `D`: an order is gone.
    OrderDelete(OrderDelete),
    /// `U`: a new order in the place of another, without its priority.
    OrderReplace(OrderReplace),
    /// `P`: an execution against an order that the book does not show.
    Trade(Trade),
    /// `A`, `F` or `P` with a side that is neither `B` nor `S`: nothing can be done with it.
    BadSide(BadSide),
    /// A known type that touches no book.
    Other(Other),
}

/// A part of the day starts or ends.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, SystemEvent, EventCode, decode};
///
/// let message = Message::SystemEvent(SystemEvent {
///     header: Header::default(),
///     code: EventCode::StartOfMarket,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemEvent {
    /// The header.
    pub header: Header,
    /// Which part.
    pub code: EventCode,
}

codes! {
    /// A turn of the day.
    ///
    /// ```
    /// use onbeat_systems::wire::itch::EventCode;
    ///
    /// assert_eq!(EventCode::from_byte(b'Q'), EventCode::StartOfMarket);
    /// assert_eq!(EventCode::EndOfMarket.byte(), b'M');
    /// ```
    EventCode {
        /// `O`: the first message.
        StartOfMessages = b'O',
        /// `S`: the system takes orders.
        StartOfSystem = b'S',
        /// `Q`: market hours start.
        StartOfMarket = b'Q',
        /// `M`: market hours end.
        EndOfMarket = b'M',
        /// `E`: the system takes no more orders.
        EndOfSystem = b'E',
        /// `C`: the last message.
        EndOfMessages = b'C',
    }
}

/// An instrument of the day.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, StockDirectory, decode};
/// use onbeat_systems::price::Qty;
///
/// let message = Message::StockDirectory(StockDirectory {
///     header: Header::default(),
///     symbol: "AAPL".parse()?,
///     market: b'Q',
///     financial_status: b'N',
///     round_lot: Qty::new(100),
///     attributes: [b' '; 14],
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StockDirectory {
    /// The header, whose locate code stands for the symbol from here on.
    pub header: Header,
    /// The name of the instrument.
    pub symbol: Symbol,
    /// The market of its listing.
    pub market: u8,
    /// Whether the issuer keeps the rules of its listing.
    pub financial_status: u8,
    /// The shares of one round lot.
    pub round_lot: Qty,
    /// The fields from offset 25 to the end, as they stand on the wire.
    pub attributes: [u8; 14],
}

/// An instrument is halted, or trades.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, TradingAction, TradingState, decode};
///
/// let message = Message::TradingAction(TradingAction {
///     header: Header::default(),
///     symbol: "AAPL".parse()?,
///     state: TradingState::Trading,
///     reserved: b' ',
///     reason: "IPO".parse()?,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TradingAction {
    /// The header.
    pub header: Header,
    /// The name of the instrument.
    pub symbol: Symbol,
    /// What it does from here on.
    pub state: TradingState,
    /// The reserved byte, as it stands on the wire.
    pub reserved: u8,
    /// Why.
    pub reason: Alpha<4>,
}

codes! {
    /// Whether an instrument trades.
    ///
    /// ```
    /// use onbeat_systems::wire::itch::TradingState;
    ///
    /// assert_eq!(TradingState::from_byte(b'T'), TradingState::Trading);
    /// assert_eq!(TradingState::Halted.byte(), b'H');
    /// ```
    TradingState {
        /// `H`: halted on all markets.
        Halted = b'H',
        /// `P`: paused on all markets.
        Paused = b'P',
        /// `Q`: quotes are taken, nothing trades.
        QuotationOnly = b'Q',
        /// `T`: it trades.
        Trading = b'T',
    }
}

/// A new order.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, AddOrder, decode};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::AddOrder(AddOrder {
///     header: Header::default(),
///     reference: OrderRef(7),
///     side: Side::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     attribution: None,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddOrder {
    /// The header.
    pub header: Header,
    /// The order.
    pub reference: OrderRef,
    /// Its side.
    pub side: Side,
    /// Its shares.
    pub qty: Qty,
    /// The name of the instrument.
    pub symbol: Symbol,
    /// Its price.
    pub price: Price,
    /// Whose it is, if it says so: then the type is `F`.
    pub attribution: Option<Alpha<4>>,
}

/// An order is executed at its price.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderExecuted, MatchNumber, decode};
/// use onbeat_systems::price::Qty;
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderExecuted(OrderExecuted {
///     header: Header::default(),
///     reference: OrderRef(7),
///     qty: Qty::new(100),
///     match_number: MatchNumber(1),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderExecuted {
    /// The header.
    pub header: Header,
    /// The order.
    pub reference: OrderRef,
    /// The shares executed.
    pub qty: Qty,
    /// The execution.
    pub match_number: MatchNumber,
}

/// An order is executed at another price.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderExecutedWithPrice, MatchNumber, decode};
/// use onbeat_systems::price::{Price, Qty};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderExecutedWithPrice(OrderExecutedWithPrice {
///     header: Header::default(),
///     reference: OrderRef(7),
///     qty: Qty::new(100),
///     match_number: MatchNumber(1),
///     printable: b'Y',
///     price: Price::from_ticks(1_632_400),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderExecutedWithPrice {
    /// The header.
    pub header: Header,
    /// The order.
    pub reference: OrderRef,
    /// The shares executed.
    pub qty: Qty,
    /// The execution.
    pub match_number: MatchNumber,
    /// `Y` where the execution counts for volume, `N` where another message reports it.
    pub printable: u8,
    /// The price of the execution.
    pub price: Price,
}

/// A part of an order is cancelled.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderCancel, decode};
/// use onbeat_systems::price::Qty;
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderCancel(OrderCancel {
///     header: Header::default(),
///     reference: OrderRef(7),
///     qty: Qty::new(100),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderCancel {
    /// The header.
    pub header: Header,
    /// The order.
    pub reference: OrderRef,
    /// The shares by which it is smaller.
    pub qty: Qty,
}

/// An order is gone.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete, decode};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderDelete(OrderDelete {
///     header: Header::default(),
///     reference: OrderRef(7),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderDelete {
    /// The header.
    pub header: Header,
    /// The order.
    pub reference: OrderRef,
}

/// A new order in the place of another, of the same side and instrument.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, OrderReplace, decode};
/// use onbeat_systems::price::{Price, Qty};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderReplace(OrderReplace {
///     header: Header::default(),
///     original: OrderRef(7),
///     reference: OrderRef(8),
///     qty: Qty::new(100),
///     price: Price::from_ticks(1_632_400),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderReplace {
    /// The header.
    pub header: Header,
    /// The order that is gone.
    pub original: OrderRef,
    /// The new order.
    pub reference: OrderRef,
    /// Its shares.
    pub qty: Qty,
    /// Its price.
    pub price: Price,
}

/// An execution against an order that the book does not show.
///
/// ```
/// use onbeat_systems::wire::itch::{Header, Message, Trade, MatchNumber, decode};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::Trade(Trade {
///     header: Header::default(),
///     reference: OrderRef(0),
///     side: Side::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     match_number: MatchNumber(1),
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trade {
    /// The header.
    pub header: Header,
    /// The number of the hidden order, or zero.
    pub reference: OrderRef,
    /// The side of the hidden order.
    pub side: Side,
    /// The shares executed.
    pub qty: Qty,
    /// The name of the instrument.
    pub symbol: Symbol,
    /// The price of the execution.
    pub price: Price,
    /// The execution.
    pub match_number: MatchNumber,
}

/// An order or a trade whose side is neither `B` nor `S`.
///
/// ```
/// use onbeat_systems::wire::itch::{AddOrder, Header, Message, decode};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut bytes = Vec::new();
/// Message::AddOrder(AddOrder {
///     header: Header::default(),
///     reference: OrderRef(7),
///     side: Side::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     attribution: None,
/// })
/// .encode(&mut bytes)?;
/// let side = bytes.iter().position(|byte| *byte == b'B').unwrap();
/// bytes[side] = b'X';
/// let Message::BadSide(bad) = decode(&bytes)? else { panic!("X is no side") };
/// assert_eq!((bad.kind, bad.reference, bad.byte), (b'A', OrderRef(7), b'X'));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSide {
    /// The header.
    pub header: Header,
    /// The type byte.
    pub kind: u8,
    /// The order.
    pub reference: OrderRef,
    /// What stands in the place of the side.
    pub byte: u8,
}

/// A known type that touches no book; its body is not kept.
///
/// ```
/// use onbeat_systems::wire::itch::{Message, decode};
///
/// let mut bytes = [0; 20];
/// bytes[0] = b'Y';
/// let Message::Other(other) = decode(&bytes)? else { panic!("no book needs it") };
/// assert_eq!(other.kind, b'Y');
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other {
    /// The header.
    pub header: Header,
    /// The type byte.
    pub kind: u8,
}

impl Message {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> Header {
        match self {
            Self::SystemEvent(message) => message.header,
            Self::StockDirectory(message) => message.header,
            Self::TradingAction(message) => message.header,
            Self::AddOrder(message) => message.header,
            Self::OrderExecuted(message) => message.header,
            Self::OrderExecutedWithPrice(message) => message.header,
            Self::OrderCancel(message) => message.header,
            Self::OrderDelete(message) => message.header,
            Self::OrderReplace(message) => message.header,
            Self::Trade(message) => message.header,
            Self::BadSide(message) => message.header,
            Self::Other(message) => message.header,
        }
    }

    /// The instrument; zero for the whole market.
    #[must_use]
    pub const fn locate(&self) -> Locate {
        self.header().locate
    }

    /// When.
    #[must_use]
    pub const fn timestamp(&self) -> MarketTime {
        self.header().timestamp
    }

    /// The type byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::SystemEvent(_) => b'S',
            Self::StockDirectory(_) => b'R',
            Self::TradingAction(_) => b'H',
            Self::AddOrder(AddOrder { attribution: None, .. }) => b'A',
            Self::AddOrder(AddOrder { attribution: Some(_), .. }) => b'F',
            Self::OrderExecuted(_) => b'E',
            Self::OrderExecutedWithPrice(_) => b'C',
            Self::OrderCancel(_) => b'X',
            Self::OrderDelete(_) => b'D',
            Self::OrderReplace(_) => b'U',
            Self::Trade(_) => b'P',
            Self::BadSide(message) => message.kind,
            Self::Other(message) => message.kind,
        }
    }

    /// Whether this is an order or an execution: `A`, `F`, `E`, `C`, `X`, `D`, `U` or `P`.
    #[must_use]
    pub const fn is_order_flow(&self) -> bool {
        !matches!(
            self,
            Self::SystemEvent(_)
                | Self::StockDirectory(_)
                | Self::TradingAction(_)
                | Self::Other(_)
        )
    }
}
