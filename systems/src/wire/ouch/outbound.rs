//! Messages from the exchange.

use super::{
    Alpha, Appendage, CancelReason, ClientOrderId, EncodeError, Liquidity, MarketTime, MatchNumber,
    OrderMarks, OrderRef, OrderSide, OrderState, OuchError, Price, Qty, Symbol, TimeInForce,
    UserRefNum, append, fixed, optional_appendage, price_at, put_price8, put_qty, put_user_ref,
    qty_at, take, time_at, u16_at, u64_at, user_ref_at, with_appendage,
};

/// A message from the exchange.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, Canceled, Outbound, UserRefNum, CancelReason};
/// use onbeat_systems::price::{MarketTime, Qty};
///
/// let message = Outbound::Canceled(Canceled {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(1),
///     qty: Qty::new(100),
///     reason: CancelReason::User,
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outbound<'a> {
    /// `S`: the day of the exchange starts or ends.
    SystemEvent(SystemEvent<'a>),
    /// `A`: an order is accepted.
    Accepted(Accepted<'a>),
    /// `U`: an order has taken the place of another.
    Replaced(Replaced<'a>),
    /// `C`: an order, or a part of it, is cancelled.
    Canceled(Canceled<'a>),
    /// `E`: an order, or a part of it, is executed.
    Executed(Executed<'a>),
    /// `J`: an order is refused.
    Rejected(Rejected<'a>),
    /// `I`: a cancel is refused; the order lives on.
    CancelRejected(CancelNotice<'a>),
    /// `P`: a cancel waits until the order may be cancelled.
    CancelPending(CancelNotice<'a>),
    /// `Q`: the answer to an account query.
    NextUserRef(NextUserRef<'a>),
    /// Another known type, `D`, `B`, `T`, `M` or `R`, as raw bytes, its type byte the first.
    Other(&'a [u8]),
}

/// The day of the exchange starts or ends.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, SystemEvent, Outbound};
/// use onbeat_systems::price::MarketTime;
///
/// let message = Outbound::SystemEvent(SystemEvent {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     code: b'S',
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemEvent<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// `S` start of day, `E` end of day.
    pub code: u8,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// An order as the exchange took it.
///
/// ```
/// use onbeat_systems::price::{MarketTime, Price, Qty};
/// use onbeat_systems::wire::OrderRef;
/// use onbeat_systems::wire::ouch::{
///     Accepted, Appendage, OrderMarks, OrderSide, OrderState, Outbound, TimeInForce, UserRefNum,
/// };
///
/// let message = Outbound::Accepted(Accepted {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(2),
///     side: OrderSide::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     time_in_force: TimeInForce::Day,
///     order_ref: OrderRef(7),
///     marks: OrderMarks::default(),
///     state: OrderState::Live,
///     client_id: "quote 2".parse()?,
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// Buy, or a kind of sale.
    pub side: OrderSide,
    /// The shares of the order.
    pub qty: Qty,
    /// The instrument.
    pub symbol: Symbol,
    /// The price of the order, which the exchange may have moved.
    pub price: Price,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// The exchange's number of the order.
    pub order_ref: OrderRef,
    /// Its handling.
    pub marks: OrderMarks,
    /// Whether it lives.
    pub state: OrderState,
    /// The client's own text.
    pub client_id: ClientOrderId,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// An order that has taken the place of another.
///
/// ```
/// use onbeat_systems::price::{MarketTime, Price, Qty};
/// use onbeat_systems::wire::OrderRef;
/// use onbeat_systems::wire::ouch::{
///     Accepted, Appendage, OrderMarks, OrderSide, OrderState, Outbound, Replaced, TimeInForce, UserRefNum,
/// };
///
/// let order = Accepted {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(2),
///     side: OrderSide::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     time_in_force: TimeInForce::Day,
///     order_ref: OrderRef(7),
///     marks: OrderMarks::default(),
///     state: OrderState::Live,
///     client_id: "quote 2".parse()?,
///     appendage: Appendage::EMPTY,
/// };
/// let message = Outbound::Replaced(Replaced { original: UserRefNum(1), order });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced<'a> {
    /// The order that is gone.
    pub original: UserRefNum,
    /// The order in its place, as the exchange took it.
    pub order: Accepted<'a>,
}

/// An order, or a part of it, that is cancelled.
///
/// [`Outbound`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canceled<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// The shares by which the order is smaller.
    pub qty: Qty,
    /// Why.
    pub reason: CancelReason,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// An execution.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, Executed, Outbound, UserRefNum, Liquidity};
/// use onbeat_systems::price::{MarketTime, Price, Qty};
/// use onbeat_systems::wire::MatchNumber;
///
/// let message = Outbound::Executed(Executed {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(1),
///     qty: Qty::new(100),
///     price: Price::from_ticks(1_632_400),
///     liquidity: Liquidity::Added,
///     match_number: MatchNumber(1),
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Executed<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// The shares executed.
    pub qty: Qty,
    /// The price of the execution.
    pub price: Price,
    /// Whether the order rested or took.
    pub liquidity: Liquidity,
    /// The exchange's number of the execution.
    pub match_number: MatchNumber,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// An order that is refused.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, Rejected, Outbound, UserRefNum};
/// use onbeat_systems::price::MarketTime;
///
/// let message = Outbound::Rejected(Rejected {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(1),
///     reason: 8,
///     client_id: "quote 1".parse()?,
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// The exchange's number of the reason.
    pub reason: u16,
    /// The client's own text.
    pub client_id: ClientOrderId,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// What became of a cancel that did not cancel.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, CancelNotice, Outbound, UserRefNum};
/// use onbeat_systems::price::MarketTime;
///
/// let message = Outbound::CancelRejected(CancelNotice {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(1),
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CancelNotice<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// The answer to an account query.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, NextUserRef, Outbound, UserRefNum};
/// use onbeat_systems::price::MarketTime;
///
/// let message = Outbound::NextUserRef(NextUserRef {
///     timestamp: MarketTime::from_ns(34_200_000_000_000),
///     user_ref: UserRefNum(8),
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Outbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextUserRef<'a> {
    /// When.
    pub timestamp: MarketTime,
    /// The lowest user reference that the exchange takes next.
    pub user_ref: UserRefNum,
    /// Options.
    pub appendage: Appendage<'a>,
}

impl<'a> Outbound<'a> {
    /// The message that `bytes` are, all of them.
    ///
    /// # Errors
    ///
    /// When they are no outbound message; see [`OuchError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (&[kind], _) = fixed::<1>(bytes)?;
        match kind {
            b'S' => SystemEvent::decode(bytes).map(Self::SystemEvent),
            b'A' => Accepted::decode(bytes).map(Self::Accepted),
            b'U' => Replaced::decode(bytes).map(Self::Replaced),
            b'C' => Canceled::decode(bytes).map(Self::Canceled),
            b'E' => Executed::decode(bytes).map(Self::Executed),
            b'J' => Rejected::decode(bytes).map(Self::Rejected),
            b'I' => CancelNotice::decode(bytes).map(Self::CancelRejected),
            b'P' => CancelNotice::decode(bytes).map(Self::CancelPending),
            b'Q' => {
                let CancelNotice { timestamp, user_ref, appendage } = CancelNotice::decode(bytes)?;
                Ok(Self::NextUserRef(NextUserRef { timestamp, user_ref, appendage }))
            }
            b'D' | b'B' | b'T' | b'M' | b'R' => Ok(Self::Other(bytes)),
            _ => Err(OuchError::UnknownType { kind }),
        }
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    ///
    /// When a quantity is past 32 bits, a price is negative, or the appendage is past 65,535 bytes;
    /// `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        append(out, |out| match *self {
            Self::SystemEvent(event) => event.put(out),
            Self::Accepted(order) => order.put(out),
            Self::Replaced(replaced) => replaced.put(out),
            Self::Canceled(canceled) => canceled.put(out),
            Self::Executed(executed) => executed.put(out),
            Self::Rejected(rejected) => rejected.put(out),
            Self::CancelRejected(notice) => notice.put(b'I', out),
            Self::CancelPending(notice) => notice.put(b'P', out),
            Self::NextUserRef(NextUserRef { timestamp, user_ref, appendage }) => {
                CancelNotice { timestamp, user_ref, appendage }.put(b'Q', out)
            }
            Self::Other(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        })
    }
}

fn put_time(out: &mut Vec<u8>, timestamp: MarketTime) {
    out.extend_from_slice(&timestamp.ns().to_be_bytes());
}

impl<'a> SystemEvent<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = optional_appendage::<10>(bytes)?;
        Ok(Self { timestamp: time_at(body, 1), code: body[9], appendage })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'S');
        put_time(out, self.timestamp);
        out.push(self.code);
        self.appendage.put_optional(out)
    }
}

impl<'a> Accepted<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = with_appendage::<64>(bytes)?;
        Self::from_body(body, 13, appendage)
    }

    /// Reads the fields from the side, at `at`, to the client's text, which two types share.
    fn from_body<const N: usize>(
        body: &[u8; N],
        at: usize,
        appendage: Appendage<'a>,
    ) -> Result<Self, OuchError> {
        Ok(Self {
            timestamp: time_at(body, 1),
            user_ref: user_ref_at(body, at - 4),
            side: OrderSide::decode(body[0], body[at])?,
            qty: qty_at(body, at + 1),
            symbol: Symbol::from_wire(take(body, at + 5)),
            price: price_at(body, at + 13)?,
            time_in_force: TimeInForce::from_byte(body[at + 21]),
            order_ref: OrderRef(u64_at(body, at + 23)),
            marks: OrderMarks {
                display: body[at + 22],
                capacity: body[at + 31],
                sweep: body[at + 32],
                cross: body[at + 33],
            },
            state: OrderState::from_byte(body[at + 34]),
            client_id: Alpha::from_wire(take(body, at + 35)),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'A');
        put_time(out, self.timestamp);
        self.put_rest(out)
    }

    fn put_rest(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_user_ref(out, self.user_ref);
        out.push(self.side.byte());
        put_qty(out, self.qty)?;
        out.extend_from_slice(self.symbol.as_bytes());
        put_price8(out, self.price)?;
        out.extend_from_slice(&[self.time_in_force.byte(), self.marks.display]);
        out.extend_from_slice(&self.order_ref.0.to_be_bytes());
        let OrderMarks { capacity, sweep, cross, .. } = self.marks;
        out.extend_from_slice(&[capacity, sweep, cross, self.state.byte()]);
        out.extend_from_slice(self.client_id.as_bytes());
        self.appendage.put(out)
    }
}

impl<'a> Replaced<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = with_appendage::<68>(bytes)?;
        let order = Accepted::from_body(body, 17, appendage)?;
        Ok(Self { original: user_ref_at(body, 9), order })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'U');
        put_time(out, self.order.timestamp);
        put_user_ref(out, self.original);
        self.order.put_rest(out)
    }
}

impl<'a> Canceled<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = optional_appendage::<18>(bytes)?;
        Ok(Self {
            timestamp: time_at(body, 1),
            user_ref: user_ref_at(body, 9),
            qty: qty_at(body, 13),
            reason: CancelReason::from_byte(body[17]),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'C');
        put_time(out, self.timestamp);
        put_user_ref(out, self.user_ref);
        put_qty(out, self.qty)?;
        out.push(self.reason.byte());
        self.appendage.put_optional(out)
    }
}

impl<'a> Executed<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = with_appendage::<36>(bytes)?;
        Ok(Self {
            timestamp: time_at(body, 1),
            user_ref: user_ref_at(body, 9),
            qty: qty_at(body, 13),
            price: price_at(body, 17)?,
            liquidity: Liquidity::from_byte(body[25]),
            match_number: MatchNumber(u64_at(body, 26)),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'E');
        put_time(out, self.timestamp);
        put_user_ref(out, self.user_ref);
        put_qty(out, self.qty)?;
        put_price8(out, self.price)?;
        out.push(self.liquidity.byte());
        out.extend_from_slice(&self.match_number.0.to_be_bytes());
        self.appendage.put(out)
    }
}

impl<'a> Rejected<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = optional_appendage::<29>(bytes)?;
        Ok(Self {
            timestamp: time_at(body, 1),
            user_ref: user_ref_at(body, 9),
            reason: u16_at(body, 13),
            client_id: Alpha::from_wire(take(body, 15)),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'J');
        put_time(out, self.timestamp);
        put_user_ref(out, self.user_ref);
        out.extend_from_slice(&self.reason.to_be_bytes());
        out.extend_from_slice(self.client_id.as_bytes());
        self.appendage.put_optional(out)
    }
}

impl<'a> CancelNotice<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = optional_appendage::<13>(bytes)?;
        Ok(Self { timestamp: time_at(body, 1), user_ref: user_ref_at(body, 9), appendage })
    }

    fn put(&self, kind: u8, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(kind);
        put_time(out, self.timestamp);
        put_user_ref(out, self.user_ref);
        self.appendage.put_optional(out)
    }
}
