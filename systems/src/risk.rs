//! The gate that every order passes.
//!
//! [`risk_gate`] reads the strategies' intents, and for each order either puts a command into the
//! [`Outbox`] or refuses it with one typed [`Refusal`], counted in [`RiskStats`] and written as a
//! [`Refused`] message. No other code can put an order into the outbox: an order command carries an
//! [`Approved`], which has no public constructor. Cancels always pass.
//!
//! Positions are judged in the worst case: every open order of the same side fills, and none of the
//! other side does. An order whose cancel is on its way counts as open.

mod gate;
mod refusal;

use bevy_ecs::resource::Resource;

pub use crate::risk::gate::{RiskGate, risk_gate};
pub use crate::risk::refusal::{Refusal, Refused, RiskStats};

use crate::order::EnterOrder;
#[cfg(doc)]
use crate::order::Outbox;
use crate::position::Money;
use crate::price::Qty;

/// The proof that an order passed the risk gate. It is made nowhere else, and cannot be copied.
///
/// ```compile_fail,E0451
/// fn forge(order: onbeat_systems::order::EnterOrder) -> onbeat_systems::risk::Approved {
///     onbeat_systems::risk::Approved { order }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn again(approved: onbeat_systems::risk::Approved) -> [onbeat_systems::risk::Approved; 2] {
///     [approved.clone(), approved]
/// }
/// ```
///
/// The module [`order`](crate::order) has an example.
#[derive(Debug, PartialEq, Eq)]
pub struct Approved {
    order: EnterOrder,
}

impl Approved {
    /// The order as it goes to the venue.
    #[must_use]
    pub const fn order(&self) -> &EnterOrder {
        &self.order
    }
}

/// What the gate allows.
///
/// ```
/// use onbeat_systems::price::Qty;
/// use onbeat_systems::risk::RiskLimits;
///
/// let limits = RiskLimits { position_max: Qty::new(100), ..RiskLimits::default() };
/// assert!(limits.open_orders_max > 0);
/// ```
#[derive(Resource, Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiskLimits {
    /// The largest order.
    pub order_qty_max: Qty,
    /// The largest value of one order.
    pub order_notional_max: Money,
    /// The largest position, long or short, that open orders may lead to.
    pub position_max: Qty,
    /// How many orders may be open at once.
    pub open_orders_max: usize,
    /// How far an order's price may be from the mid, in 1/10,000 of the mid.
    pub collar_bps_max: u32,
    /// How many orders a second may be sent for long; zero lets only the burst out.
    pub orders_per_second_max: u32,
    /// How many orders may be sent at once after a pause.
    pub order_burst_max: u32,
    /// How old the last feed message may be, in nanoseconds of engine time.
    pub feed_age_ns_max: u64,
    /// The loss over all positions, realised and open, from which on the engine only reduces.
    pub loss_max: Money,
}

impl Default for RiskLimits {
    fn default() -> Self {
        Self {
            order_qty_max: Qty::new(500),
            order_notional_max: Money::from_dollars(100_000),
            position_max: Qty::new(350),
            open_orders_max: 8,
            collar_bps_max: 50,
            orders_per_second_max: 500,
            order_burst_max: 20,
            feed_age_ns_max: 2_000_000_000,
            loss_max: Money::from_dollars(5_000),
        }
    }
}

/// What the engine may do. States are ordered from free to stopped.
///
/// ```
/// use onbeat_systems::risk::TradingState;
///
/// assert_eq!(TradingState::default(), TradingState::Active);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TradingState {
    /// Trade within the limits.
    #[default]
    Active,
    /// Send only orders that bring a position nearer to zero, without passing it.
    Reducing,
    /// Send no orders, and cancel the open ones.
    Halted,
}

/// Why the kill switch was thrown.
///
/// [`KillSwitch`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TripReason {
    /// Somebody asked for it.
    Operator,
    /// The loss reached [`RiskLimits::loss_max`].
    Loss,
    /// The venue reported shares that no order of ours explains, so the position is not known.
    UnexplainedFill,
}

/// The kill switch: it moves toward stopped by itself, and back only by [`reset`](Self::reset).
///
/// ```
/// use onbeat_systems::risk::{KillSwitch, TradingState, TripReason};
///
/// let mut switch = KillSwitch::default();
/// switch.trip(TradingState::Halted, TripReason::Operator);
/// assert_eq!((switch.state(), switch.reason()), (TradingState::Halted, Some(TripReason::Operator)));
/// switch.reset();
/// assert_eq!(switch.state(), TradingState::Active);
/// ```
#[derive(Resource, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KillSwitch {
    state: TradingState,
    reason: Option<TripReason>,
}

impl KillSwitch {
    /// What the engine may do.
    #[must_use]
    pub const fn state(&self) -> TradingState {
        self.state
    }

    /// Why it may not trade freely; nothing while it may.
    #[must_use]
    pub const fn reason(&self) -> Option<TripReason> {
        self.reason
    }

    /// Moves to `state` because of `reason`, unless the engine is as restricted already.
    pub fn trip(&mut self, state: TradingState, reason: TripReason) {
        if state > self.state {
            self.state = state;
            self.reason = Some(reason);
        }
    }

    /// Lets the engine trade freely again: an operator's decision.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
