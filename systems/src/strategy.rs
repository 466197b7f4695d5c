//! A market maker: one bid and one ask around the microprice, moved against the inventory.
//!
//! The microprice weighs the best bid with the size at the ask and the best ask with the size at
//! the bid, so it leans to the side that is about to give way. Inventory shifts both quotes: long
//! moves them down, which sells sooner and buys later. Above a bound the maker takes liquidity to
//! get back. It checks none of the risk limits: that is the risk gate's work, and a strategy that
//! repeats the limits hides mistakes in either place.
//!
//! All arithmetic is in integers.

use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::message::{MessageReader, MessageWriter};
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res};

use crate::book::{BookLevel, OrderBook};
use crate::instrument::Instrument;
use crate::order::{NewOrder, Order, OrderIntent, OrderState, OrderTable, TimeInForce};
use crate::position::Position;
use crate::price::{Price, Qty, Side};
use crate::risk::Refused;

/// How the market maker quotes.
///
/// ```
/// use onbeat_systems::price::Qty;
/// use onbeat_systems::strategy::StrategyConfig;
///
/// let careful = StrategyConfig { quote_qty: Qty::new(10), ..StrategyConfig::default() };
/// assert!(careful.quote_qty < careful.inventory_max);
/// ```
#[derive(Resource, Clone, Copy, PartialEq, Eq, Debug)]
pub struct StrategyConfig {
    /// The size of a quote.
    pub quote_qty: Qty,
    /// How far from the shifted microprice a quote stands.
    pub half_spread: Price,
    /// How far a position of 100 shares shifts the quotes.
    pub skew_per_100_shares: Price,
    /// A quote is moved when it would move at least this far.
    pub requote_min: Price,
    /// From this many shares on, the side that adds to the position is not quoted.
    pub inventory_max: Qty,
    /// Shares above this many are taken out of the book at once. The side that adds to the position
    /// must not be quoted then, so this is at least `inventory_max`.
    pub inventory_take: Qty,
}

impl Default for StrategyConfig {
    fn default() -> Self {
        Self {
            quote_qty: Qty::new(100),
            half_spread: Price::from_ticks(100),
            skew_per_100_shares: Price::from_ticks(100),
            requote_min: Price::from_ticks(200),
            inventory_max: Qty::new(300),
            inventory_take: Qty::new(300),
        }
    }
}

impl StrategyConfig {
    /// Whether a quote should follow from `from` to `to`.
    const fn is_move(&self, from: Price, to: Price) -> bool {
        from.ticks().abs_diff(to.ticks()) >= self.requote_min.ticks().unsigned_abs()
    }
}

/// Has [`quote`] make a market in the instrument of its entity.
///
/// [`quote`] has an example.
#[derive(Component, Clone, Copy, Debug, Default)]
#[require(Position)]
pub struct MarketMaker {
    /// What the risk gate refused: the quotes by side, and the order against the inventory.
    refused: [Option<RefusedAsk>; 3],
}

/// A refused order, and the position at that time.
#[derive(Clone, Copy, Debug)]
struct RefusedAsk {
    side: Side,
    price: Price,
    shares: i64,
}

impl MarketMaker {
    fn note(&mut self, order: &NewOrder, shares: i64) {
        let ask = RefusedAsk { side: order.side, price: order.price, shares };
        self.refused[place(order.side, order.tif)] = Some(ask);
    }

    /// Whether `order` is worth asking for: it was not refused, or the position is another since, or
    /// the price has moved as far as a quote must move. Forgets the refusal if so.
    fn may_ask(&mut self, config: &StrategyConfig, order: &NewOrder, shares: i64) -> bool {
        let refused = &mut self.refused[place(order.side, order.tif)];
        let again = refused.is_some_and(|ask| {
            ask.side == order.side
                && ask.shares == shares
                && !config.is_move(ask.price, order.price)
        });
        if !again {
            *refused = None;
        }
        !again
    }
}

/// Where in [`MarketMaker::refused`] an order has its place.
const fn place(side: Side, tif: TimeInForce) -> usize {
    match (tif, side) {
        (TimeInForce::Day, Side::Buy) => 0,
        (TimeInForce::Day, Side::Sell) => 1,
        (TimeInForce::Ioc, _) => 2,
    }
}

/// The price between bid and ask, nearer to the side with the smaller size.
///
/// Exact to 1/10,000 dollar, rounded toward the bid. With no size on either side it is the mid.
///
/// ```
/// use onbeat_systems::book::BookLevel;
/// use onbeat_systems::price::{Price, Qty};
/// use onbeat_systems::strategy::microprice;
///
/// let level = |ticks, shares| BookLevel { price: Price::from_ticks(ticks), qty: Qty::new(shares), orders: 1 };
/// assert_eq!(microprice(level(1_000, 300), level(1_004, 100)), Price::from_ticks(1_003));
/// ```
#[must_use]
pub fn microprice(bid: BookLevel, ask: BookLevel) -> Price {
    let (low, high) = (bid.price.ticks(), ask.price.ticks());
    let (bid_qty, ask_qty) = (u128::from(bid.qty.shares()), u128::from(ask.qty.shares()));
    let Some(part) = (u128::from(low.abs_diff(high)) * bid_qty).checked_div(bid_qty + ask_qty)
    else {
        return Price::from_ticks(i64::midpoint(low, high));
    };
    let part = u64::try_from(part).expect("a part of the spread is no larger than the spread");
    let ticks =
        if low <= high { low.checked_add_unsigned(part) } else { low.checked_sub_unsigned(part) };
    Price::from_ticks(ticks.expect("a price between two prices is a price"))
}

/// Asks for the orders and cancels that bring the open orders of each [`MarketMaker`] to its quotes.
///
/// A side has at most one quote: the next one is asked for when the venue has confirmed the end of
/// the last. Without both sides of the book, or with a crossed one, quotes are pulled. An order
/// that the risk gate refused is not asked for again until price or position has moved.
///
/// ```
/// use bevy_ecs::{prelude::*, system::RunSystemOnce};
/// use onbeat_systems::book::OrderBook;
/// use onbeat_systems::instrument::{Instrument, Locate};
/// use onbeat_systems::order::OrderIntent;
/// use onbeat_systems::position::Position;
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::risk::RiskLimits;
/// use onbeat_systems::sets::init_trading_world;
/// use onbeat_systems::strategy::{MarketMaker, StrategyConfig, quote};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut world = World::new();
/// init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
/// let mut book = OrderBook::default();
/// book.add(OrderRef(1), Side::Buy, Price::from_ticks(1_624_900), Qty::new(100));
/// book.add(OrderRef(2), Side::Sell, Price::from_ticks(1_625_100), Qty::new(100));
/// let apple = Instrument::equity("AAPL".parse()?, Locate::new(14));
/// world.spawn((apple, book, Position::default(), MarketMaker::default()));
/// world.run_system_once(quote).unwrap();
///
/// let intents: Vec<OrderIntent> = world.resource_mut::<Messages<OrderIntent>>().drain().collect();
/// assert!(matches!(intents[..], [OrderIntent::New(bid), OrderIntent::New(ask)] if bid.price < ask.price));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn quote(
    config: Res<StrategyConfig>,
    table: Res<OrderTable>,
    mut refused: MessageReader<Refused>,
    mut makers: Query<(Entity, &Instrument, &OrderBook, &Position, &mut MarketMaker)>,
    mut intents: MessageWriter<OrderIntent>,
) {
    for Refused { order, .. } in refused.read() {
        if let Ok((.., position, mut maker)) = makers.get_mut(order.instrument) {
            maker.note(order, position.shares());
        }
    }
    for (entity, instrument, book, position, mut maker) in &mut makers {
        let shares = position.shares();
        let market = match (book.best_bid(), book.best_ask()) {
            (Some(bid), Some(ask)) if bid.price < ask.price => Some((bid, ask)),
            _ => None,
        };
        for side in [Side::Buy, Side::Sell] {
            let tif = TimeInForce::Day;
            let target = market
                .and_then(|(bid, ask)| quote_price(&config, instrument, shares, side, bid, ask));
            match (table.open_on(entity, side).find(|order| order.tif() == tif), target) {
                (None, Some(price)) => {
                    let qty = config.quote_qty;
                    let order = NewOrder { instrument: entity, side, price, qty, tif };
                    if maker.may_ask(&config, &order, shares) {
                        intents.write(OrderIntent::New(order));
                    }
                }
                (Some(order), target) if is_misplaced(&config, order, target) => {
                    intents.write(OrderIntent::Cancel(order.id()));
                }
                _ => {}
            }
        }
        let excess =
            market.and_then(|(bid, ask)| excess(&config, &table, entity, shares, bid, ask));
        if let Some(order) = excess
            && maker.may_ask(&config, &order, shares)
        {
            intents.write(OrderIntent::New(order));
        }
    }
}

/// Where the quote on `side` belongs; nowhere when it would add to a full inventory.
///
/// The quote never crosses: it stays a tick of the instrument behind the other side's best.
fn quote_price(
    config: &StrategyConfig,
    instrument: &Instrument,
    shares: i64,
    side: Side,
    bid: BookLevel,
    ask: BookLevel,
) -> Option<Price> {
    let inventory_max = i64::try_from(config.inventory_max.shares()).unwrap_or(i64::MAX);
    if shares.saturating_mul(side.sign()) >= inventory_max {
        return None;
    }
    let skew = config.skew_per_100_shares.ticks().saturating_mul(shares) / 100;
    let fair = microprice(bid, ask).ticks().saturating_sub(skew);
    let tick = instrument.tick.ticks().max(1);
    let ticks = match side {
        Side::Buy => {
            let ticks = fair.saturating_sub(config.half_spread.ticks()).div_euclid(tick) * tick;
            ticks.min(ask.price.ticks() - tick)
        }
        Side::Sell => {
            let ticks = fair.saturating_add(config.half_spread.ticks());
            let ticks = ticks.saturating_add(tick - 1).div_euclid(tick) * tick;
            ticks.max(bid.price.ticks() + tick)
        }
    };
    Some(Price::from_ticks(ticks))
}

/// Whether a live order should be cancelled, to be replaced at `target` or not at all.
fn is_misplaced(config: &StrategyConfig, order: &Order, target: Option<Price>) -> bool {
    order.state() == OrderState::Live
        && target.is_none_or(|price| config.is_move(order.price(), price))
}

/// An order that takes the inventory above the bound out of the book.
///
/// One at a time, and only when no order of ours rests where it would trade with it.
fn excess(
    config: &StrategyConfig,
    table: &OrderTable,
    instrument: Entity,
    shares: i64,
    bid: BookLevel,
    ask: BookLevel,
) -> Option<NewOrder> {
    let over = shares.unsigned_abs().saturating_sub(config.inventory_take.shares());
    let (side, best) = if shares > 0 { (Side::Sell, bid) } else { (Side::Buy, ask) };
    let qty = Qty::new(over).min(best.qty).min(config.quote_qty);
    let tif = TimeInForce::Ioc;
    let taking = table.open_on(instrument, side).any(|order| order.tif() == tif);
    let in_the_way = table.open_on(instrument, side.opposite()).next().is_some();
    if qty.is_zero() || taking || in_the_way {
        return None;
    }
    Some(NewOrder { instrument, side, price: best.price, qty, tif })
}
