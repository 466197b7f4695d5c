//! Each limit of the risk gate: what it lets pass, what it refuses, and that refusals are counted.

mod engine_support;

use bevy_ecs::entity::Entity;
use engine_support::{Engine, cancels, cents, entered};
use onbeat_systems::order::{NewOrder, OrderId, OrderIntent, OrderTable, TimeInForce};
use onbeat_systems::position::Money;
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::risk::{KillSwitch, Refusal, RiskLimits, TradingState, TripReason};
use proptest::prelude::*;

/// An engine with a market of 163.00 to 163.10 dollars.
fn engine(limits: RiskLimits) -> Engine {
    let mut engine = Engine::by_hand(limits);
    engine.market(cents(0), cents(10));
    engine.tick();
    engine
}

/// Limits that nothing in these tests reaches, so that each test tightens one.
fn loose() -> RiskLimits {
    RiskLimits {
        order_qty_max: Qty::new(1_000_000),
        order_notional_max: Money::from_dollars(1_000_000_000),
        position_max: Qty::new(1_000_000),
        open_orders_max: 1_000,
        collar_bps_max: 10_000,
        orders_per_second_max: 1_000_000,
        order_burst_max: 1_000_000,
        feed_age_ns_max: u64::MAX,
        loss_max: Money::from_dollars(1_000_000_000),
    }
}

/// Asks for an order and says what came of it; checks that a refusal is counted and written once.
#[track_caller]
fn ask(engine: &mut Engine, order: NewOrder) -> Result<OrderId, Refusal> {
    let (approved, refused) = (engine.stats().approved(), engine.stats().refused_total());
    let written = engine.refusals().len();
    engine.ask_for(order);
    let id = entered(&engine.tick());
    let refusals = engine.refusals();
    match id {
        Some(id) => {
            assert_eq!(engine.stats().approved(), approved + 1);
            assert_eq!(engine.stats().refused_total(), refused);
            Ok(id)
        }
        None => {
            let reason = *refusals.last().expect("an order that is not sent is refused");
            assert!(refusals.len() <= written + 1);
            assert_eq!(engine.stats().approved(), approved);
            assert_eq!(engine.stats().refused_total(), refused + 1);
            assert!(engine.stats().refused(reason) >= 1);
            Err(reason)
        }
    }
}

#[track_caller]
fn check(limits: RiskLimits, side: Side, price: Price, shares: u64, refusal: Option<Refusal>) {
    let mut engine = engine(limits);
    let order = engine.order(side, price, shares);
    assert_eq!(ask(&mut engine, order).err(), refusal);
}

#[test]
fn an_order_within_all_limits_goes_out_as_it_was_asked_for() {
    let mut engine = engine(loose());
    let order = NewOrder { tif: TimeInForce::Ioc, ..engine.order(Side::Buy, cents(10), 300) };
    let id = ask(&mut engine, order).unwrap();
    let sent = engine.order_of(id);
    assert_eq!((sent.side(), sent.price(), sent.qty()), (Side::Buy, cents(10), Qty::new(300)));
    assert_eq!((id.raw(), sent.tif()), (1, TimeInForce::Ioc));
}

#[test]
fn the_largest_order_passes_and_one_share_more_does_not() {
    let limits = RiskLimits { order_qty_max: Qty::new(500), ..loose() };
    check(limits, Side::Buy, cents(0), 500, None);
    check(limits, Side::Buy, cents(0), 501, Some(Refusal::OrderQty));
}

#[test]
fn the_most_valuable_order_passes_and_a_cent_more_does_not() {
    let limits = RiskLimits { order_notional_max: Money::from_dollars(16_300), ..loose() };
    check(limits, Side::Sell, cents(0), 100, None);
    check(limits, Side::Sell, cents(1), 100, Some(Refusal::OrderNotional));
}

#[test]
fn an_order_of_no_shares_is_refused() {
    check(loose(), Side::Buy, cents(0), 0, Some(Refusal::InvalidQty));
}

#[test]
fn a_price_between_ticks_or_below_zero_is_refused() {
    check(loose(), Side::Buy, Price::from_ticks(1_630_050), 100, Some(Refusal::InvalidPrice));
    check(loose(), Side::Sell, Price::from_ticks(-100), 100, Some(Refusal::InvalidPrice));
    check(loose(), Side::Buy, Price::from_ticks(i64::MIN), 100, Some(Refusal::InvalidPrice));
}

#[test]
fn absurd_numbers_are_refused_and_do_not_overflow() {
    let price = Price::from_ticks(i64::MAX / 100 * 100);
    check(loose(), Side::Buy, price, u64::MAX, Some(Refusal::OrderQty));
    let limits = RiskLimits { order_qty_max: Qty::new(u64::MAX), ..loose() };
    check(limits, Side::Buy, price, u64::MAX, Some(Refusal::OrderNotional));
}

#[test]
fn an_entity_that_is_no_instrument_is_refused() {
    let mut engine = engine(loose());
    let stranger = engine.world.spawn_empty().id();
    let nobody = Entity::PLACEHOLDER;
    for instrument in [stranger, nobody] {
        let order = NewOrder { instrument, ..engine.order(Side::Buy, cents(0), 100) };
        assert_eq!(ask(&mut engine, order), Err(Refusal::UnknownInstrument));
    }
}

#[test]
fn the_collar_is_around_the_mid_and_closed() {
    // The mid is 163.05 dollars; 20 basis points of it are 0.3261 dollars.
    let limits = RiskLimits { collar_bps_max: 20, ..loose() };
    check(limits, Side::Buy, cents(37), 100, None);
    check(limits, Side::Buy, cents(38), 100, Some(Refusal::PriceCollar));
    check(limits, Side::Sell, cents(-27), 100, None);
    check(limits, Side::Sell, cents(-28), 100, Some(Refusal::PriceCollar));
    check(limits, Side::Buy, cents(-28), 100, Some(Refusal::PriceCollar));
}

#[test]
fn a_book_without_both_sides_blocks() {
    let mut engine = Engine::by_hand(loose());
    engine.add(Side::Buy, cents(0), 100);
    let order = engine.order(Side::Buy, cents(0), 100);
    assert_eq!(ask(&mut engine, order), Err(Refusal::OneSidedMarket));
}

#[test]
fn a_locked_or_crossed_book_blocks_until_it_is_neither() {
    let mut engine = Engine::by_hand(loose());
    engine.market(cents(0), cents(10));
    let locking = engine.add(Side::Buy, cents(10), 100);
    let order = engine.order(Side::Sell, cents(20), 100);
    assert_eq!(ask(&mut engine, order), Err(Refusal::CrossedMarket));
    engine.delete(locking);
    assert!(ask(&mut engine, order).is_ok());
}

#[test]
fn a_silent_feed_blocks_until_it_speaks_again() {
    let mut engine = engine(RiskLimits { feed_age_ns_max: 1_000, ..loose() });
    let order = engine.order(Side::Buy, cents(0), 100);
    engine.set_time_ns(1_000);
    assert!(ask(&mut engine, order).is_ok());
    engine.set_time_ns(1_001);
    assert_eq!(ask(&mut engine, order), Err(Refusal::StaleMarket));
    engine.add(Side::Buy, cents(1), 100);
    assert!(ask(&mut engine, order).is_ok());
}

#[test]
fn an_order_that_would_trade_with_our_own_is_refused() {
    let mut engine = engine(loose());
    let sell = engine.order(Side::Sell, cents(5), 100);
    ask(&mut engine, sell).unwrap();
    let buy = engine.order(Side::Buy, cents(5), 100);
    assert_eq!(ask(&mut engine, buy), Err(Refusal::SelfTrade));
    let below = engine.order(Side::Buy, cents(4), 100);
    assert!(ask(&mut engine, below).is_ok());
}

#[test]
fn an_order_whose_cancel_is_on_its_way_still_blocks_a_self_trade() {
    let mut engine = engine(loose());
    let sell = engine.order(Side::Sell, cents(5), 100);
    let id = ask(&mut engine, sell).unwrap();
    engine.world.write_message(OrderIntent::Cancel(id));
    engine.tick();
    let buy = engine.order(Side::Buy, cents(5), 100);
    assert_eq!(ask(&mut engine, buy), Err(Refusal::SelfTrade));
}

#[test]
fn open_orders_count_toward_the_position_and_the_other_side_does_not() {
    let mut engine = engine(RiskLimits { position_max: Qty::new(300), ..loose() });
    engine.trade(Side::Buy, cents(0), 100);
    let buy = engine.order(Side::Buy, cents(0), 100);
    let sell = engine.order(Side::Sell, cents(10), 400);
    assert!(ask(&mut engine, sell).is_ok(), "100 long and 400 to sell is 300 short at worst");
    assert!(ask(&mut engine, buy).is_ok());
    assert!(ask(&mut engine, buy).is_ok());
    assert_eq!(
        ask(&mut engine, buy),
        Err(Refusal::Position),
        "100 long and 200 to buy are the limit"
    );
}

#[test]
fn the_position_limit_holds_for_shorts() {
    let mut engine = engine(RiskLimits { position_max: Qty::new(300), ..loose() });
    engine.trade(Side::Sell, cents(10), 300);
    assert_eq!(engine.position().shares(), -300);
    let sell = engine.order(Side::Sell, cents(10), 1);
    assert_eq!(ask(&mut engine, sell), Err(Refusal::Position));
    let buy = engine.order(Side::Buy, cents(0), 600);
    assert!(ask(&mut engine, buy).is_ok());
}

#[test]
fn too_many_open_orders_are_refused_until_one_is_done() {
    let mut engine = engine(RiskLimits { open_orders_max: 2, ..loose() });
    let order = engine.order(Side::Buy, cents(0), 100);
    let first = ask(&mut engine, order).unwrap();
    ask(&mut engine, order).unwrap();
    assert_eq!(ask(&mut engine, order), Err(Refusal::OpenOrders));
    engine.execute(first, 100);
    assert!(ask(&mut engine, order).is_ok());
}

#[test]
fn the_order_rate_lets_a_burst_pass_and_then_the_rate() {
    let limits = RiskLimits { orders_per_second_max: 10, order_burst_max: 3, ..loose() };
    let mut engine = engine(limits);
    engine.set_time_ns(1);
    let order = engine.order(Side::Buy, cents(0), 1);
    for _ in 0..3 {
        assert!(ask(&mut engine, order).is_ok());
    }
    assert_eq!(ask(&mut engine, order), Err(Refusal::OrderRate));
    engine.set_time_ns(100_000_000);
    assert_eq!(ask(&mut engine, order), Err(Refusal::OrderRate), "one nanosecond too early");
    engine.set_time_ns(100_000_001);
    assert!(ask(&mut engine, order).is_ok());
    assert_eq!(ask(&mut engine, order), Err(Refusal::OrderRate));
}

#[test]
fn a_pause_earns_no_more_than_the_burst() {
    let limits = RiskLimits { orders_per_second_max: 10, order_burst_max: 2, ..loose() };
    let mut engine = engine(limits);
    let order = engine.order(Side::Buy, cents(0), 1);
    ask(&mut engine, order).unwrap();
    engine.set_time_ns(3_600_000_000_000);
    assert!(ask(&mut engine, order).is_ok());
    assert!(ask(&mut engine, order).is_ok());
    assert_eq!(ask(&mut engine, order), Err(Refusal::OrderRate));
}

#[test]
fn a_refused_order_uses_up_no_rate() {
    let limits = RiskLimits {
        order_burst_max: 1,
        orders_per_second_max: 1,
        order_qty_max: Qty::new(100),
        ..loose()
    };
    let mut engine = engine(limits);
    let large = engine.order(Side::Buy, cents(0), 101);
    assert_eq!(ask(&mut engine, large), Err(Refusal::OrderQty));
    let order = engine.order(Side::Buy, cents(0), 100);
    assert!(ask(&mut engine, order).is_ok());
}

#[test]
fn a_full_order_table_refuses() {
    let mut engine = engine(loose());
    engine.world.insert_resource(OrderTable::with_capacity(2, OrderId::from_raw(7)));
    let order = engine.order(Side::Buy, cents(0), 1);
    assert_eq!(ask(&mut engine, order).unwrap().raw(), 7);
    ask(&mut engine, order).unwrap();
    assert_eq!(ask(&mut engine, order), Err(Refusal::NoOrderId));
}

#[test]
fn a_halted_engine_sends_nothing_and_cancels_what_is_open() {
    let mut engine = engine(loose());
    let order = engine.order(Side::Buy, cents(0), 100);
    let ids = [ask(&mut engine, order).unwrap(), ask(&mut engine, order).unwrap()];
    engine.world.resource_mut::<KillSwitch>().trip(TradingState::Halted, TripReason::Operator);
    assert_eq!(cancels(&engine.tick()), ids);
    assert_eq!(cancels(&engine.tick()), [], "a cancel is sent once");
    assert_eq!(ask(&mut engine, order), Err(Refusal::Halted));
    engine.world.resource_mut::<KillSwitch>().reset();
    assert!(ask(&mut engine, order).is_ok());
}

#[test]
fn a_reducing_engine_sends_only_what_reduces() {
    let mut engine = engine(loose());
    engine.trade(Side::Buy, cents(0), 200);
    engine.world.resource_mut::<KillSwitch>().trip(TradingState::Reducing, TripReason::Operator);
    let buy = engine.order(Side::Buy, cents(0), 1);
    assert_eq!(ask(&mut engine, buy), Err(Refusal::NotReducing));
    let too_much = engine.order(Side::Sell, cents(10), 201);
    assert_eq!(ask(&mut engine, too_much), Err(Refusal::NotReducing));
    let half = engine.order(Side::Sell, cents(10), 100);
    assert!(ask(&mut engine, half).is_ok());
    assert!(ask(&mut engine, half).is_ok());
    assert_eq!(ask(&mut engine, half), Err(Refusal::NotReducing), "200 shares are to be sold");
}

#[test]
fn a_flat_reducing_engine_sends_nothing() {
    let mut engine = engine(loose());
    engine.world.resource_mut::<KillSwitch>().trip(TradingState::Reducing, TripReason::Operator);
    let sell = engine.order(Side::Sell, cents(10), 1);
    assert_eq!(ask(&mut engine, sell), Err(Refusal::NotReducing));
}

#[test]
fn a_loss_throws_the_kill_switch_to_reducing() {
    let mut engine = engine(RiskLimits { loss_max: Money::from_dollars(50), ..loose() });
    engine.trade(Side::Buy, cents(10), 999);
    engine.tick();
    let switch = *engine.world.resource::<KillSwitch>();
    assert_eq!(switch.state(), TradingState::Active, "999 shares lose 5 cents each, 49.95 dollars");
    engine.trade(Side::Buy, cents(10), 1);
    engine.tick();
    let switch = *engine.world.resource::<KillSwitch>();
    assert_eq!((switch.state(), switch.reason()), (TradingState::Reducing, Some(TripReason::Loss)));
}

#[test]
fn shares_that_no_order_explains_halt_the_engine() {
    let mut engine = engine(loose());
    engine.execute(OrderId::from_raw(99), 100);
    engine.tick();
    let switch = *engine.world.resource::<KillSwitch>();
    assert_eq!(switch.state(), TradingState::Halted);
    assert_eq!(switch.reason(), Some(TripReason::UnexplainedFill));
    engine.world.resource_mut::<KillSwitch>().reset();
    engine.tick();
    let state = engine.world.resource::<KillSwitch>().state();
    assert_eq!(state, TradingState::Active, "what an operator has seen does not halt again");
}

#[test]
fn the_kill_switch_only_moves_toward_stopped() {
    let mut switch = KillSwitch::default();
    switch.trip(TradingState::Halted, TripReason::Operator);
    switch.trip(TradingState::Reducing, TripReason::Loss);
    assert_eq!(switch.state(), TradingState::Halted);
    assert_eq!(switch.reason(), Some(TripReason::Operator));
}

#[test]
fn cancels_pass_whatever_the_limits_say() {
    let mut engine = engine(RiskLimits { order_burst_max: 1, ..loose() });
    let order = engine.order(Side::Buy, cents(0), 100);
    let id = ask(&mut engine, order).unwrap();
    engine.world.insert_resource(RiskLimits {
        order_burst_max: 0,
        open_orders_max: 0,
        feed_age_ns_max: 0,
        ..loose()
    });
    engine.set_time_ns(u64::MAX);
    engine.world.write_message(OrderIntent::Cancel(id));
    assert_eq!(cancels(&engine.tick()), [id]);
    assert_eq!(engine.stats().cancels(), 1);
}

#[test]
fn each_reason_has_its_own_name_and_counter() {
    let engine = engine(loose());
    let mut names: Vec<_> = engine.stats().iter().map(|(reason, _)| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Refusal::ALL.len());
    for (index, reason) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However orders are asked for and filled, the position stays within the limit.
    #[test]
    fn no_sequence_of_orders_and_fills_passes_the_position_limit(
        steps in proptest::collection::vec((any::<bool>(), 1..400_u64, any::<bool>()), 1..60)
    ) {
        let mut engine = engine(RiskLimits { position_max: Qty::new(1_000), ..loose() });
        for (buys, shares, fills) in steps {
            let (side, price) =
                if buys { (Side::Buy, cents(0)) } else { (Side::Sell, cents(10)) };
            engine.ask_for(engine.order(side, price, shares));
            engine.tick();
            if fills {
                let table = engine.world.resource::<OrderTable>();
                let open: Vec<_> = table.open().map(|order| (order.id(), order.leaves())).collect();
                for (id, leaves) in open {
                    engine.execute(id, leaves.shares());
                    engine.tick();
                    prop_assert!(engine.position().shares().abs() <= 1_000);
                }
            }
        }
    }
}
