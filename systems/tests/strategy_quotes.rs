//! What the market maker asks for.

mod engine_support;

use engine_support::{Engine, cancels, cents, entered};
use onbeat_systems::book::BookLevel;
use onbeat_systems::order::{Order, OrderId, OrderTable, TimeInForce, VenueReport};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::risk::{Refusal, RiskLimits};
use onbeat_systems::strategy::{StrategyConfig, microprice};
use onbeat_systems::wire::ouch::CancelReason;
use proptest::prelude::*;

const fn level(price: i64, shares: u64) -> BookLevel {
    BookLevel { price: Price::from_ticks(price), qty: Qty::new(shares), orders: 1 }
}

fn config() -> StrategyConfig {
    StrategyConfig {
        quote_qty: Qty::new(100),
        half_spread: Price::from_ticks(200),
        skew_per_100_shares: Price::from_ticks(100),
        requote_min: Price::from_ticks(200),
        inventory_max: Qty::new(200),
        inventory_take: Qty::new(300),
    }
}

fn limits() -> RiskLimits {
    RiskLimits { position_max: Qty::new(10_000), ..RiskLimits::default() }
}

/// An engine that quotes a market of 163.00 to 163.10 dollars, after its first tick.
fn quoting() -> Engine {
    let mut engine = Engine::quoting(limits(), config());
    engine.market(cents(0), cents(10));
    engine.tick();
    engine
}

fn quotes(engine: &Engine, side: Side) -> Vec<Order> {
    engine.world.resource::<OrderTable>().open_on(engine.instrument, side).copied().collect()
}

#[track_caller]
fn check_quotes(engine: &Engine, bid: Option<Price>, ask: Option<Price>) {
    for (side, price) in [(Side::Buy, bid), (Side::Sell, ask)] {
        let prices: Vec<_> = quotes(engine, side).iter().map(Order::price).collect();
        assert_eq!(prices, Vec::from_iter(price), "{side:?}");
    }
}

fn accept_all(engine: &mut Engine) {
    let open: Vec<_> = engine.world.resource::<OrderTable>().open().map(Order::id).collect();
    for id in open {
        engine.accept(id);
    }
    engine.tick();
}

fn confirm_cancel(engine: &mut Engine, id: OrderId) {
    let qty = engine.order_of(id).leaves();
    engine.report(VenueReport::Cancelled { id, qty, reason: CancelReason::User });
}

#[test]
fn the_microprice_leans_to_the_thinner_side() {
    assert_eq!(microprice(level(100, 300), level(200, 100)), Price::from_ticks(175));
    assert_eq!(microprice(level(100, 100), level(200, 300)), Price::from_ticks(125));
    assert_eq!(microprice(level(100, 5), level(201, 5)), Price::from_ticks(150));
    assert_eq!(microprice(level(100, 0), level(200, 0)), Price::from_ticks(150));
}

proptest! {
    #[test]
    fn the_microprice_lies_between_bid_and_ask(
        bid in any::<i64>(), ask in any::<i64>(), bid_qty in any::<u64>(), ask_qty in any::<u64>()
    ) {
        let (bid, ask) = (bid.min(ask), bid.max(ask));
        let price = microprice(level(bid, bid_qty), level(ask, ask_qty)).ticks();
        prop_assert!(bid <= price && price <= ask);
    }
}

#[test]
fn a_flat_maker_quotes_both_sides_of_the_microprice() {
    check_quotes(&quoting(), Some(cents(3)), Some(cents(7)));
}

#[test]
fn quotes_do_not_cross_the_market() {
    let mut engine = Engine::quoting(limits(), config());
    engine.add(Side::Buy, cents(0), 100_000);
    engine.add(Side::Sell, cents(1), 1);
    engine.tick();
    check_quotes(&engine, Some(cents(-2)), Some(cents(3)));
    let narrow = StrategyConfig { half_spread: Price::from_ticks(-500), ..config() };
    let mut engine = Engine::quoting(limits(), narrow);
    engine.market(cents(0), cents(10));
    engine.tick();
    check_quotes(&engine, Some(cents(9)), None);
    assert_eq!(engine.refusals(), [Refusal::SelfTrade], "the gate sees what the strategy does not");
}

#[test]
fn a_side_has_one_quote_whatever_the_number_of_ticks() {
    let mut engine = quoting();
    for _ in 0..3 {
        assert_eq!(engine.tick(), []);
    }
    accept_all(&mut engine);
    assert_eq!(engine.tick(), []);
}

#[test]
fn a_long_position_moves_both_quotes_down() {
    let mut engine = quoting();
    let bid = quotes(&engine, Side::Buy)[0].id();
    accept_all(&mut engine);
    engine.execute(bid, 100);
    engine.tick();
    check_quotes(&engine, Some(cents(2)), Some(cents(7)));
}

#[test]
fn a_small_move_leaves_the_quotes_and_a_large_one_replaces_them() {
    let mut engine = quoting();
    accept_all(&mut engine);
    engine.add(Side::Buy, cents(2), 1_000);
    assert_eq!(engine.tick(), [], "the microprice moved by one cent");
    engine.add(Side::Buy, cents(4), 1_000);
    let cancelled = cancels(&engine.tick());
    assert_eq!(cancelled.len(), 2, "the microprice moved by two cents");
    assert_eq!(engine.tick(), [], "the new quotes wait for the end of the old ones");
    for id in cancelled {
        confirm_cancel(&mut engine, id);
    }
    engine.tick();
    check_quotes(&engine, Some(cents(5)), Some(cents(9)));
}

#[test]
fn a_full_inventory_is_quoted_on_the_other_side_only() {
    let mut engine = quoting();
    for _ in 0..2 {
        let bid = quotes(&engine, Side::Buy)[0].id();
        engine.execute(bid, 100);
        engine.tick();
    }
    assert_eq!(engine.position().shares(), 200);
    assert_eq!(quotes(&engine, Side::Buy).len(), 0);
    assert_eq!(quotes(&engine, Side::Sell).len(), 1);
}

#[test]
fn an_inventory_above_the_bound_is_taken_out_of_the_book() {
    let engine_config = StrategyConfig { quote_qty: Qty::new(500), ..config() };
    let mut engine = Engine::quoting(limits(), engine_config);
    engine.market(cents(0), cents(10));
    engine.tick();
    let bid = quotes(&engine, Side::Buy)[0].id();
    engine.execute(bid, 500);
    let commands = engine.tick();
    let order = *engine.order_of(entered(&commands).unwrap());
    assert_eq!((order.side(), order.tif()), (Side::Sell, TimeInForce::Ioc));
    assert_eq!((order.price(), order.qty()), (cents(0), Qty::new(200)), "500 shares less 300");
    assert_eq!(engine.tick(), [], "one such order at a time");
}

#[test]
fn quotes_are_pulled_when_a_side_of_the_book_is_gone() {
    let mut engine = Engine::quoting(limits(), config());
    engine.add(Side::Buy, cents(0), 1_000);
    let ask = engine.add(Side::Sell, cents(10), 1_000);
    engine.tick();
    accept_all(&mut engine);
    engine.delete(ask);
    assert_eq!(cancels(&engine.tick()).len(), 2);
}

#[test]
fn a_refused_quote_is_asked_for_again_when_the_market_has_moved() {
    let closed = RiskLimits { position_max: Qty::ZERO, ..limits() };
    let mut engine = Engine::quoting(closed, config());
    engine.market(cents(0), cents(10));
    for _ in 0..5 {
        engine.tick();
    }
    assert_eq!(engine.stats().refused(Refusal::Position), 2, "one a side");
    engine.add(Side::Buy, cents(4), 1_000);
    engine.tick();
    assert_eq!(engine.stats().refused(Refusal::Position), 4);
}
