//! The reasons of a refusal, and how often each was given.

use core::fmt;

use bevy_ecs::message::Message;
use bevy_ecs::resource::Resource;

use crate::order::NewOrder;

/// Why the gate refused an order. The first reason that applies, in this order, is given.
///
/// ```
/// use onbeat_systems::risk::Refusal;
///
/// assert_eq!(Refusal::SelfTrade.name(), "self trade");
/// assert_eq!(Refusal::ALL[0], Refusal::Halted);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// The engine is halted.
    Halted,
    /// The engine only reduces, and the order does not.
    NotReducing,
    /// The entity is no instrument with a book and a position.
    UnknownInstrument,
    /// The price is not positive or not on a tick.
    InvalidPrice,
    /// The quantity is zero or not in whole lots.
    InvalidQty,
    /// The order is too large.
    OrderQty,
    /// The order is worth too much.
    OrderNotional,
    /// The feed is silent for too long.
    StaleMarket,
    /// The book has no bid or no ask.
    OneSidedMarket,
    /// The best bid is at or above the best ask.
    CrossedMarket,
    /// The price is too far from the mid.
    PriceCollar,
    /// The order could trade with an open order of ours.
    SelfTrade,
    /// The position could become too large.
    Position,
    /// Too many orders are open.
    OpenOrders,
    /// Too many orders were sent lately.
    OrderRate,
    /// No order id or no slot in the order table is free.
    NoOrderId,
}

impl Refusal {
    /// All reasons, in the order of the checks.
    pub const ALL: [Self; 16] = [
        Self::Halted,
        Self::NotReducing,
        Self::UnknownInstrument,
        Self::InvalidPrice,
        Self::InvalidQty,
        Self::OrderQty,
        Self::OrderNotional,
        Self::StaleMarket,
        Self::OneSidedMarket,
        Self::CrossedMarket,
        Self::PriceCollar,
        Self::SelfTrade,
        Self::Position,
        Self::OpenOrders,
        Self::OrderRate,
        Self::NoOrderId,
    ];

    /// The reason in a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::NotReducing => "not reducing",
            Self::UnknownInstrument => "unknown instrument",
            Self::InvalidPrice => "invalid price",
            Self::InvalidQty => "invalid quantity",
            Self::OrderQty => "order quantity",
            Self::OrderNotional => "order notional",
            Self::StaleMarket => "stale market",
            Self::OneSidedMarket => "one-sided market",
            Self::CrossedMarket => "crossed market",
            Self::PriceCollar => "price collar",
            Self::SelfTrade => "self trade",
            Self::Position => "position",
            Self::OpenOrders => "open orders",
            Self::OrderRate => "order rate",
            Self::NoOrderId => "no order id",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An order that the gate refused.
///
/// [`risk_gate`](crate::risk::risk_gate) has an example.
#[derive(Message, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The order.
    pub order: NewOrder,
    /// Why.
    pub reason: Refusal,
}

/// How often the gate let orders pass, and how often it refused them for which reason.
///
/// ```
/// use onbeat_systems::risk::{Refusal, RiskStats};
///
/// let stats = RiskStats::default();
/// assert_eq!((stats.approved(), stats.cancels(), stats.refused_total()), (0, 0, 0));
/// assert_eq!(stats.refused(Refusal::Position), 0);
/// assert_eq!(stats.iter().count(), Refusal::ALL.len());
/// ```
#[derive(Resource, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RiskStats {
    approved: u64,
    cancels: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl RiskStats {
    /// Orders that passed.
    #[must_use]
    pub const fn approved(&self) -> u64 {
        self.approved
    }

    /// Cancels that passed.
    #[must_use]
    pub const fn cancels(&self) -> u64 {
        self.cancels
    }

    /// Orders refused for `reason`.
    #[must_use]
    pub const fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }

    /// Orders refused for any reason.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Each reason with its count, the zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.refused)
    }

    pub(super) const fn count_approved(&mut self) {
        self.approved += 1;
    }

    pub(super) const fn count_cancel(&mut self) {
        self.cancels += 1;
    }

    pub(super) const fn count_refused(&mut self, reason: Refusal) {
        self.refused[reason as usize] += 1;
    }
}
