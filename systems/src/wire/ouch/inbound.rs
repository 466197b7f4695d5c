//! Messages to the exchange.

use super::{
    Alpha, Appendage, ClientOrderId, EncodeError, OrderMarks, OrderSide, OuchError, Price, Qty,
    Symbol, TimeInForce, UserRefNum, append, fixed, optional_appendage, price_at, put_price8,
    put_qty, put_user_ref, qty_at, take, user_ref_at, with_appendage,
};

/// A message to the exchange.
///
/// ```
/// use onbeat_systems::price::{Price, Qty};
/// use onbeat_systems::wire::ouch::{EnterOrder, Inbound, OrderSide, TimeInForce, UserRefNum};
///
/// let order = Inbound::Enter(EnterOrder {
///     user_ref: UserRefNum(1),
///     side: OrderSide::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     time_in_force: TimeInForce::Day,
///     marks: Default::default(),
///     client_id: "quote 1".parse()?,
///     appendage: Default::default(),
/// });
/// let mut wire = Vec::new();
/// order.encode(&mut wire)?;
/// assert_eq!(Inbound::decode(&wire), Ok(order));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    /// `O`: a new order.
    Enter(EnterOrder<'a>),
    /// `U`: a new order in the place of one that lives.
    Replace(ReplaceOrder<'a>),
    /// `X`: less of an order, or none.
    Cancel(CancelOrder<'a>),
    /// `M`: another side mark and size of an order that keeps its place.
    Modify(ModifyOrder<'a>),
    /// `Q`: asks for the next user reference.
    AccountQuery(Appendage<'a>),
}

/// A new order.
///
/// [`Inbound`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnterOrder<'a> {
    /// The client's number of the order.
    pub user_ref: UserRefNum,
    /// Buy, or a kind of sale.
    pub side: OrderSide,
    /// The shares wanted.
    pub qty: Qty,
    /// The instrument.
    pub symbol: Symbol,
    /// The worst price.
    pub price: Price,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Its handling.
    pub marks: OrderMarks,
    /// The client's own text.
    pub client_id: ClientOrderId,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// A new order in the place of one that lives; the side and the symbol stay.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, ReplaceOrder, Inbound, UserRefNum, TimeInForce};
/// use onbeat_systems::price::{Price, Qty};
///
/// let message = Inbound::Replace(ReplaceOrder {
///     original: UserRefNum(1),
///     user_ref: UserRefNum(2),
///     qty: Qty::new(100),
///     price: Price::from_ticks(1_632_400),
///     time_in_force: TimeInForce::Day,
///     display: b'Y',
///     sweep: b'N',
///     client_id: "quote 2".parse()?,
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Inbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplaceOrder<'a> {
    /// The order that lives.
    pub original: UserRefNum,
    /// The client's number of the new order.
    pub user_ref: UserRefNum,
    /// The shares wanted, those already executed under the original included.
    pub qty: Qty,
    /// The worst price.
    pub price: Price,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// `Y` shown, `N` hidden, `A` attributed.
    pub display: u8,
    /// Whether it is an intermarket sweep: `Y` or `N`.
    pub sweep: u8,
    /// The client's own text.
    pub client_id: ClientOrderId,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// Less of an order, or none.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, CancelOrder, Inbound, UserRefNum};
/// use onbeat_systems::price::Qty;
///
/// let message = Inbound::Cancel(CancelOrder {
///     user_ref: UserRefNum(1),
///     qty: Qty::ZERO,
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Inbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CancelOrder<'a> {
    /// The order.
    pub user_ref: UserRefNum,
    /// The size that the order is to have, executed shares included; zero cancels all that is open.
    pub qty: Qty,
    /// Options.
    pub appendage: Appendage<'a>,
}

/// Another side mark and size of an order that keeps its place.
///
/// ```
/// use onbeat_systems::wire::ouch::{Appendage, ModifyOrder, Inbound, UserRefNum, OrderSide};
/// use onbeat_systems::price::Qty;
///
/// let message = Inbound::Modify(ModifyOrder {
///     user_ref: UserRefNum(1),
///     side: OrderSide::SellShort,
///     qty: Qty::new(50),
///     appendage: Appendage::EMPTY,
/// });
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(Inbound::decode(&bytes), Ok(message));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModifyOrder<'a> {
    /// The order.
    pub user_ref: UserRefNum,
    /// The side with its new mark.
    pub side: OrderSide,
    /// The size that the order is to have, executed shares included.
    pub qty: Qty,
    /// Options.
    pub appendage: Appendage<'a>,
}

impl<'a> Inbound<'a> {
    /// The message that `bytes` are, all of them.
    ///
    /// # Errors
    ///
    /// When they are no inbound message; see [`OuchError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (&[kind], _) = fixed::<1>(bytes)?;
        match kind {
            b'O' => EnterOrder::decode(bytes).map(Self::Enter),
            b'U' => ReplaceOrder::decode(bytes).map(Self::Replace),
            b'X' => {
                let (body, appendage) = optional_appendage::<9>(bytes)?;
                let (user_ref, qty) = (user_ref_at(body, 1), qty_at(body, 5));
                Ok(Self::Cancel(CancelOrder { user_ref, qty, appendage }))
            }
            b'M' => {
                let (body, appendage) = optional_appendage::<10>(bytes)?;
                Ok(Self::Modify(ModifyOrder {
                    user_ref: user_ref_at(body, 1),
                    side: OrderSide::decode(kind, body[5])?,
                    qty: qty_at(body, 6),
                    appendage,
                }))
            }
            b'Q' => {
                let (_, appendage) = optional_appendage::<1>(bytes)?;
                Ok(Self::AccountQuery(appendage))
            }
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
        append(out, |out| match self {
            Self::Enter(order) => order.put(out),
            Self::Replace(order) => order.put(out),
            Self::Cancel(cancel) => {
                out.push(b'X');
                put_user_ref(out, cancel.user_ref);
                put_qty(out, cancel.qty)?;
                cancel.appendage.put_optional(out)
            }
            Self::Modify(modify) => {
                out.push(b'M');
                put_user_ref(out, modify.user_ref);
                out.push(modify.side.byte());
                put_qty(out, modify.qty)?;
                modify.appendage.put_optional(out)
            }
            Self::AccountQuery(appendage) => {
                out.push(b'Q');
                appendage.put_optional(out)
            }
        })
    }
}

impl<'a> EnterOrder<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = with_appendage::<47>(bytes)?;
        Ok(Self {
            user_ref: user_ref_at(body, 1),
            side: OrderSide::decode(body[0], body[5])?,
            qty: qty_at(body, 6),
            symbol: Symbol::from_wire(take(body, 10)),
            price: price_at(body, 18)?,
            time_in_force: TimeInForce::from_byte(body[26]),
            marks: OrderMarks {
                display: body[27],
                capacity: body[28],
                sweep: body[29],
                cross: body[30],
            },
            client_id: Alpha::from_wire(take(body, 31)),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'O');
        put_user_ref(out, self.user_ref);
        out.push(self.side.byte());
        put_qty(out, self.qty)?;
        out.extend_from_slice(self.symbol.as_bytes());
        put_price8(out, self.price)?;
        let OrderMarks { display, capacity, sweep, cross } = self.marks;
        out.extend_from_slice(&[self.time_in_force.byte(), display, capacity, sweep, cross]);
        out.extend_from_slice(self.client_id.as_bytes());
        self.appendage.put(out)
    }
}

impl<'a> ReplaceOrder<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let (body, appendage) = with_appendage::<40>(bytes)?;
        Ok(Self {
            original: user_ref_at(body, 1),
            user_ref: user_ref_at(body, 5),
            qty: qty_at(body, 9),
            price: price_at(body, 13)?,
            time_in_force: TimeInForce::from_byte(body[21]),
            display: body[22],
            sweep: body[23],
            client_id: Alpha::from_wire(take(body, 24)),
            appendage,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'U');
        put_user_ref(out, self.original);
        put_user_ref(out, self.user_ref);
        put_qty(out, self.qty)?;
        put_price8(out, self.price)?;
        out.extend_from_slice(&[self.time_in_force.byte(), self.display, self.sweep]);
        out.extend_from_slice(self.client_id.as_bytes());
        self.appendage.put(out)
    }
}
