//! The gate itself: one check after the other, cheap and structural ones first, the order rate last,
//! so that a refused order uses up none of it.

use bevy_ecs::change_detection::DetectChanges;
use bevy_ecs::message::{MessageReader, MessageWriter};
use bevy_ecs::system::{Local, Query, Res, ResMut, SystemParam};

use crate::book::OrderBook;
use crate::feed::MarketClock;
use crate::instrument::Instrument;
use crate::order::{EnterOrder, NewOrder, OrderId, OrderIntent, OrderTable, Outbox};
use crate::position::{Money, Position};
use crate::price::{Price, Side};
use crate::risk::{
    Approved, KillSwitch, Refusal, Refused, RiskLimits, RiskStats, TradingState, TripReason,
};
use crate::telemetry::EngineTime;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// What the gate remembers between its runs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bucket: Option<TokenBucket>,
    feed_seen_ns: Option<u64>,
    unexplained_fills: u64,
}

/// An order rate with a burst, in integers: an order costs the time in which the rate earns one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TokenBucket {
    credit_ns: u64,
    filled_at_ns: u64,
}

impl TokenBucket {
    pub(super) const fn full(limits: &RiskLimits, now_ns: u64) -> Self {
        Self { credit_ns: Self::capacity_ns(limits), filled_at_ns: now_ns }
    }

    /// Takes one order's cost, if the credit covers it.
    pub(super) fn take(&mut self, limits: &RiskLimits, now_ns: u64) -> bool {
        let earned = if limits.orders_per_second_max == 0 {
            0
        } else {
            now_ns.saturating_sub(self.filled_at_ns)
        };
        self.filled_at_ns = self.filled_at_ns.max(now_ns);
        self.credit_ns = self.credit_ns.saturating_add(earned).min(Self::capacity_ns(limits));
        let Some(credit_ns) = self.credit_ns.checked_sub(Self::cost_ns(limits)) else {
            return false;
        };
        self.credit_ns = credit_ns;
        true
    }

    const fn cost_ns(limits: &RiskLimits) -> u64 {
        let rate = limits.orders_per_second_max as u64;
        if rate == 0 { NS_PER_SECOND } else { NS_PER_SECOND.div_ceil(rate) }
    }

    const fn capacity_ns(limits: &RiskLimits) -> u64 {
        Self::cost_ns(limits).saturating_mul(limits.order_burst_max as u64)
    }
}

/// Everything the gate looks at and writes to.
///
/// [`risk_gate`] has an example.
#[derive(SystemParam, Debug)]
pub struct RiskGate<'w, 's> {
    limits: Res<'w, RiskLimits>,
    time: Res<'w, EngineTime>,
    clock: Res<'w, MarketClock>,
    kill_switch: ResMut<'w, KillSwitch>,
    stats: ResMut<'w, RiskStats>,
    table: ResMut<'w, OrderTable>,
    outbox: ResMut<'w, Outbox>,
    instruments: Query<'w, 's, (&'static Instrument, &'static OrderBook, &'static Position)>,
    positions: Query<'w, 's, &'static Position>,
    memory: Local<'s, Memory>,
}

/// Turns the intents of the strategies into commands, or refuses them.
///
/// While the engine is halted, the open orders are cancelled.
///
/// ```
/// use bevy_ecs::{prelude::*, system::RunSystemOnce};
/// use onbeat_systems::order::{NewOrder, OrderIntent, Outbox, TimeInForce};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::risk::{Refusal, Refused, RiskLimits, RiskStats, risk_gate};
/// use onbeat_systems::sets::init_trading_world;
/// use onbeat_systems::strategy::StrategyConfig;
///
/// let mut world = World::new();
/// init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
/// let instrument = world.spawn_empty().id();
/// let (price, qty) = (Price::from_ticks(1_632_400), Qty::new(100));
/// let order = NewOrder { instrument, side: Side::Buy, price, qty, tif: TimeInForce::Day };
/// world.write_message(OrderIntent::New(order));
/// world.run_system_once(risk_gate).unwrap();
///
/// assert!(world.resource::<Outbox>().is_empty());
/// let refused: Vec<Refused> = world.resource_mut::<Messages<Refused>>().drain().collect();
/// assert_eq!(refused, [Refused { order, reason: Refusal::UnknownInstrument }]);
/// assert_eq!(world.resource::<RiskStats>().refused_total(), 1);
/// ```
pub fn risk_gate(
    mut intents: MessageReader<OrderIntent>,
    mut gate: RiskGate,
    mut refused: MessageWriter<Refused>,
) {
    gate.observe();
    for intent in intents.read() {
        match *intent {
            OrderIntent::Cancel(id) => gate.cancel(id),
            OrderIntent::New(order) => {
                if let Err(reason) = gate.admit(&order) {
                    gate.stats.count_refused(reason);
                    refused.write(Refused { order, reason });
                }
            }
        }
    }
    if gate.kill_switch.state() == TradingState::Halted {
        while let Some(id) = gate.table.first_cancellable() {
            gate.cancel(id);
        }
    }
}

impl RiskGate<'_, '_> {
    /// Notes when the feed last moved, and throws the kill switch when something is wrong.
    fn observe(&mut self) {
        if self.clock.is_changed() {
            self.memory.feed_seen_ns = Some(self.time.ns);
        }
        let orders = self.table.stats();
        let unexplained = orders.unknown_executions + orders.overfills;
        if unexplained > self.memory.unexplained_fills {
            self.memory.unexplained_fills = unexplained;
            self.kill_switch.trip(TradingState::Halted, TripReason::UnexplainedFill);
        }
        let pnl = self.positions.iter().fold(Money::ZERO, |sum, position| sum + position.pnl());
        if -pnl >= self.limits.loss_max {
            self.kill_switch.trip(TradingState::Reducing, TripReason::Loss);
        }
    }

    fn cancel(&mut self, id: OrderId) {
        if self.table.request_cancel(id) {
            self.outbox.cancel(id);
            self.stats.count_cancel();
        }
    }

    fn admit(&mut self, new: &NewOrder) -> Result<(), Refusal> {
        if self.kill_switch.state() == TradingState::Halted {
            return Err(Refusal::Halted);
        }
        let (instrument, book, position) =
            self.instruments.get(new.instrument).map_err(|_| Refusal::UnknownInstrument)?;
        if self.kill_switch.state() == TradingState::Reducing {
            self.check_reducing(new, position)?;
        }
        self.check_shape(new, instrument)?;
        self.check_market(new, book)?;
        self.check_own_orders(new, position)?;
        let symbol = instrument.symbol;
        let now_ns = self.time.ns;
        let bucket =
            self.memory.bucket.get_or_insert_with(|| TokenBucket::full(&self.limits, now_ns));
        if !bucket.take(&self.limits, now_ns) {
            return Err(Refusal::OrderRate);
        }
        let id = self.table.insert(*new).ok_or(Refusal::NoOrderId)?;
        let NewOrder { side, qty, price, tif, .. } = *new;
        self.outbox.enter(Approved { order: EnterOrder { id, side, qty, symbol, price, tif } });
        self.stats.count_approved();
        Ok(())
    }

    /// The order brings the position nearer to zero, even when all open orders like it fill.
    fn check_reducing(&self, new: &NewOrder, position: &Position) -> Result<(), Refusal> {
        let opposes = position.shares().signum() == -new.side.sign();
        let open = self.table.open_qty(new.instrument, new.side).saturating_add(new.qty);
        if !opposes || open.shares() > position.shares().unsigned_abs() {
            return Err(Refusal::NotReducing);
        }
        Ok(())
    }

    fn check_shape(&self, new: &NewOrder, instrument: &Instrument) -> Result<(), Refusal> {
        if !instrument.is_valid_price(new.price) {
            Err(Refusal::InvalidPrice)
        } else if !instrument.is_valid_qty(new.qty) {
            Err(Refusal::InvalidQty)
        } else if new.qty > self.limits.order_qty_max {
            Err(Refusal::OrderQty)
        } else if Money::of(new.price, new.qty) > self.limits.order_notional_max {
            Err(Refusal::OrderNotional)
        } else {
            Ok(())
        }
    }

    fn check_market(&self, new: &NewOrder, book: &OrderBook) -> Result<(), Refusal> {
        let seen_ns = self.memory.feed_seen_ns.ok_or(Refusal::StaleMarket)?;
        if self.time.ns.saturating_sub(seen_ns) > self.limits.feed_age_ns_max {
            return Err(Refusal::StaleMarket);
        }
        let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) else {
            return Err(Refusal::OneSidedMarket);
        };
        if bid.price >= ask.price {
            return Err(Refusal::CrossedMarket);
        }
        if is_outside_collar(new.price, bid.price, ask.price, self.limits.collar_bps_max) {
            return Err(Refusal::PriceCollar);
        }
        Ok(())
    }

    fn check_own_orders(&self, new: &NewOrder, position: &Position) -> Result<(), Refusal> {
        let crosses = |price: Price| match new.side {
            Side::Buy => new.price >= price,
            Side::Sell => new.price <= price,
        };
        let mut others = self.table.open_on(new.instrument, new.side.opposite());
        if others.any(|order| crosses(order.price())) {
            return Err(Refusal::SelfTrade);
        }
        let open = self.table.open_qty(new.instrument, new.side).saturating_add(new.qty);
        let signed = i128::from(position.shares()) * i128::from(new.side.sign());
        let worst = signed + i128::from(open.shares());
        if worst > i128::from(self.limits.position_max.shares()) {
            return Err(Refusal::Position);
        }
        if self.table.open_count() >= self.limits.open_orders_max {
            return Err(Refusal::OpenOrders);
        }
        Ok(())
    }
}

/// Whether `price` is further from the mid of `bid` and `ask` than `bps` 1/10,000 of the mid.
///
/// Both sides of the comparison are multiplied by 20,000, which keeps it exact.
fn is_outside_collar(price: Price, bid: Price, ask: Price, bps: u32) -> bool {
    let twice_mid = i128::from(bid.ticks()) + i128::from(ask.ticks());
    let twice_distance = (2 * i128::from(price.ticks()) - twice_mid).abs();
    twice_distance * 10_000 > twice_mid * i128::from(bps)
}
