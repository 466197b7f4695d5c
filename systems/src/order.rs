//! The state of our orders: what a strategy asks for, what the venue reports, and what goes out.
//!
//! A strategy writes [`OrderIntent`]s. The risk gate ([`crate::risk::risk_gate`]) turns each into a
//! command in the [`Outbox`] or refuses it; nothing else can put an order there, because the
//! command carries an [`Approved`], which only the gate makes. The venue's answers arrive in the
//! [`VenueInbox`]; [`apply_venue_reports`] moves the orders of the [`OrderTable`] through their
//! states and writes a [`Fill`] for each execution.
//!
//! ```text
//!                    1                  2
//!   (gate) ──▶ PendingNew ──────▶ Live ─────────▶ PendingCancel
//!                 │   │ 2          │ ◀──────────────── │
//!                 │   └────────────│──── 3 ───────────▶│
//!                 │ 6              │ 4, 5              │ 4, 5
//!                 ▼                ▼                   ▼
//!              Rejected     Filled (4), Cancelled (5)
//!
//!   1 Accepted          2 a cancel is sent           3 the venue refuses the cancel (right to left)
//!   4 Executed to the last share                     5 Cancelled to the last share
//!   6 Rejected
//! ```
//!
//! An execution before the acceptance counts as the acceptance. A fill after a cancel was sent is
//! taken as a fill; a fill of an order that is done is taken too, since the shares are ours whatever
//! we believed, and counted.
//!
//! ```
//! use bevy_ecs::prelude::*;
//! use onbeat_systems::book::OrderBook;
//! use onbeat_systems::instrument::{Instrument, Locate};
//! use onbeat_systems::order::{
//!     Fill, NewOrder, OrderCommand, OrderIntent, OrderState, OrderTable, Outbox, TimeInForce, VenueInbox,
//!     VenueReport,
//! };
//! use onbeat_systems::position::Position;
//! use onbeat_systems::price::{Price, Qty, Side};
//! use onbeat_systems::risk::RiskLimits;
//! use onbeat_systems::sets::{add_trading_systems, init_trading_world};
//! use onbeat_systems::strategy::StrategyConfig;
//! use onbeat_systems::wire::{MatchNumber, OrderRef, ouch::Liquidity};
//!
//! let mut world = World::new();
//! init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
//! let mut tick = Schedule::default();
//! add_trading_systems(&mut tick);
//! let mut book = OrderBook::default();
//! book.add(OrderRef(1), Side::Buy, Price::from_ticks(1_624_900), Qty::new(100));
//! book.add(OrderRef(2), Side::Sell, Price::from_ticks(1_625_100), Qty::new(100));
//! let apple = Instrument::equity("AAPL".parse()?, Locate::new(14));
//! let instrument = world.spawn((apple, book, Position::default())).id();
//!
//! let (price, qty) = (Price::from_ticks(1_625_000), Qty::new(100));
//! let wanted = NewOrder { instrument, side: Side::Buy, price, qty, tif: TimeInForce::Day };
//! world.write_message(OrderIntent::New(wanted));
//! tick.run(&mut world);
//! let Some(OrderCommand::Enter(approved)) = world.resource_mut::<Outbox>().pop() else {
//!     panic!("the gate lets it pass");
//! };
//! let sent = *approved.order();
//! assert_eq!((sent.symbol, sent.price, sent.qty), (apple.symbol, price, qty));
//! let id = sent.id;
//! assert_eq!(world.resource::<OrderTable>().get(id).unwrap().state(), OrderState::PendingNew);
//!
//! let mut inbox = world.resource_mut::<VenueInbox>();
//! inbox.push(VenueReport::Accepted { id, qty, price });
//! let (liquidity, match_number) = (Liquidity::Added, MatchNumber(1));
//! inbox.push(VenueReport::Executed { id, qty: Qty::new(40), price, liquidity, match_number });
//! tick.run(&mut world);
//! let order = *world.resource::<OrderTable>().get(id).unwrap();
//! assert_eq!((order.id(), order.instrument(), order.side()), (id, instrument, Side::Buy));
//! assert_eq!((order.price(), order.qty(), order.tif()), (price, qty, TimeInForce::Day));
//! assert_eq!((order.state(), order.filled(), order.leaves()), (OrderState::Live, Qty::new(40), Qty::new(60)));
//! let fills: Vec<Fill> = world.resource_mut::<Messages<Fill>>().drain().collect();
//! assert_eq!((fills[0].id, fills[0].qty), (id, Qty::new(40)));
//! assert_eq!(world.get::<Position>(instrument).unwrap().shares(), 40);
//! # Ok::<(), onbeat_systems::instrument::SymbolError>(())
//! ```

mod inbox;
mod table;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::VecDeque;

use bevy_ecs::entity::Entity;
use bevy_ecs::message::Message;
use bevy_ecs::resource::Resource;

pub use crate::order::inbox::{RejectReason, VenueInbox, VenueReport, apply_venue_reports};
pub use crate::order::table::{OrderStats, OrderTable};

use crate::instrument::Symbol;
use crate::price::{Price, Qty, Side};
use crate::risk::Approved;
use crate::wire::MatchNumber;
use crate::wire::ouch::{self, CancelReason, Liquidity, UserRefNum};

/// The number of an order on its port: strictly increasing, as OUCH requires of its UserRefNum.
///
/// ```
/// use onbeat_systems::order::OrderId;
/// use onbeat_systems::wire::ouch::UserRefNum;
///
/// let id = OrderId::from_raw(7);
/// assert_eq!((id.raw(), UserRefNum::from(id)), (7, UserRefNum(7)));
/// assert_eq!(id.to_string(), "#7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderId(u32);

impl OrderId {
    /// The id with this number on the wire.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

impl From<OrderId> for UserRefNum {
    fn from(id: OrderId) -> Self {
        Self(id.0)
    }
}

impl From<UserRefNum> for OrderId {
    fn from(user_ref: UserRefNum) -> Self {
        Self(user_ref.0)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// How long an order works.
///
/// ```
/// use onbeat_systems::order::TimeInForce;
/// use onbeat_systems::wire::ouch;
///
/// assert_eq!(ouch::TimeInForce::from(TimeInForce::Ioc), ouch::TimeInForce::ImmediateOrCancel);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeInForce {
    /// Until the end of the day.
    Day,
    /// Immediate or cancel: what does not execute on arrival is cancelled.
    Ioc,
}

impl From<TimeInForce> for ouch::TimeInForce {
    fn from(tif: TimeInForce) -> Self {
        match tif {
            TimeInForce::Day => Self::Day,
            TimeInForce::Ioc => Self::ImmediateOrCancel,
        }
    }
}

/// An order that a strategy wants to send.
///
/// The [module](self) has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOrder {
    /// The entity that carries the instrument.
    pub instrument: Entity,
    /// To buy or to sell.
    pub side: Side,
    /// The limit.
    pub price: Price,
    /// How many shares.
    pub qty: Qty,
    /// How long.
    pub tif: TimeInForce,
}

/// What a strategy asks for. It becomes a command only through the risk gate.
///
/// The [module](self) has an example.
#[derive(Message, Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderIntent {
    /// Send an order.
    New(NewOrder),
    /// Cancel an order. A cancel of an order that is done, or whose cancel is on its way, does nothing.
    Cancel(OrderId),
}

/// Where an order is in its life; the drawing is at the top of this module.
///
/// ```
/// use onbeat_systems::order::OrderState;
///
/// assert!(OrderState::PendingCancel.is_open());
/// assert!(!OrderState::Filled.is_open());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderState {
    /// Sent; the venue has not answered.
    PendingNew,
    /// Working at the venue.
    Live,
    /// A cancel is sent; the order may still fill.
    PendingCancel,
    /// Executed to the last share.
    Filled,
    /// Done with shares left.
    Cancelled(CancelReason),
    /// Never worked.
    Rejected(RejectReason),
}

impl OrderState {
    /// Whether the order may still fill.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::PendingNew | Self::Live | Self::PendingCancel)
    }
}

/// One of our orders.
///
/// The [module](self) has an example.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub(crate) id: OrderId,
    pub(crate) instrument: Entity,
    pub(crate) side: Side,
    pub(crate) price: Price,
    pub(crate) qty: Qty,
    pub(crate) filled: Qty,
    pub(crate) cancelled: Qty,
    pub(crate) tif: TimeInForce,
    pub(crate) state: OrderState,
    pub(crate) accepted: bool,
}

impl Order {
    /// Its number on the port.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        self.id
    }

    /// The entity that carries its instrument.
    #[must_use]
    pub const fn instrument(&self) -> Entity {
        self.instrument
    }

    /// To buy or to sell.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Its limit, as the venue accepted it once it has.
    #[must_use]
    pub const fn price(&self) -> Price {
        self.price
    }

    /// Its size, as the venue accepted it once it has.
    #[must_use]
    pub const fn qty(&self) -> Qty {
        self.qty
    }

    /// Shares executed so far.
    #[must_use]
    pub const fn filled(&self) -> Qty {
        self.filled
    }

    /// How long it works.
    #[must_use]
    pub const fn tif(&self) -> TimeInForce {
        self.tif
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn state(&self) -> OrderState {
        self.state
    }

    /// Shares that may still execute; none once the order is done.
    #[must_use]
    pub const fn leaves(&self) -> Qty {
        if self.state.is_open() {
            self.qty.saturating_sub(self.filled).saturating_sub(self.cancelled)
        } else {
            Qty::ZERO
        }
    }
}

/// An execution of one of our orders.
///
/// The [module](self) has an example.
#[derive(Message, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// The order.
    pub id: OrderId,
    /// The entity that carries its instrument.
    pub instrument: Entity,
    /// Bought or sold.
    pub side: Side,
    /// At this price.
    pub price: Price,
    /// This many shares.
    pub qty: Qty,
    /// Whether we rested or crossed.
    pub liquidity: Liquidity,
    /// The venue's number of the execution.
    pub match_number: MatchNumber,
}

/// An order as it goes to the venue.
///
/// The [module](self) has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnterOrder {
    /// Its number on the port.
    pub id: OrderId,
    /// To buy or to sell.
    pub side: Side,
    /// How many shares.
    pub qty: Qty,
    /// What.
    pub symbol: Symbol,
    /// The limit.
    pub price: Price,
    /// How long.
    pub tif: TimeInForce,
}

/// A command for the venue, in the order in which it must be sent.
///
/// The [module](self) has an example.
#[derive(Debug, PartialEq, Eq)]
pub enum OrderCommand {
    /// Enter the order inside, which passed the risk gate.
    Enter(Approved),
    /// Cancel what is left of an order.
    Cancel(OrderId),
}

/// The commands that wait to be sent, first in, first out.
///
/// Orders get in through the risk gate alone: there is no public way to push, and no public way to
/// make the [`Approved`] that an order command carries.
///
/// ```compile_fail,E0599
/// use onbeat_systems::order::{OrderCommand, OrderId, Outbox};
/// Outbox::default().push(OrderCommand::Cancel(OrderId::from_raw(1)));
/// ```
///
/// A new one is empty:
///
/// ```
/// use onbeat_systems::order::Outbox;
///
/// let mut outbox = Outbox::default();
/// assert!(outbox.is_empty() && outbox.pop().is_none());
/// assert_eq!((outbox.len(), outbox.drain().count()), (0, 0));
/// ```
#[derive(Resource, Debug, Default)]
pub struct Outbox {
    commands: VecDeque<OrderCommand>,
}

impl Outbox {
    /// Takes the oldest command.
    pub fn pop(&mut self) -> Option<OrderCommand> {
        self.commands.pop_front()
    }

    /// Takes all commands, oldest first; the storage stays for the next ones.
    pub fn drain(&mut self) -> impl Iterator<Item = OrderCommand> + '_ {
        self.commands.drain(..)
    }

    /// How many commands wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether no command waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(crate) fn enter(&mut self, order: Approved) {
        self.commands.push_back(OrderCommand::Enter(order));
    }

    pub(crate) fn cancel(&mut self, id: OrderId) {
        self.commands.push_back(OrderCommand::Cancel(id));
    }
}
