//! Each rule of the fill model, one test a sentence.

use onbeat_systems::wire::itch::{
    AddOrder, Header, MatchNumber, OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice,
    OrderRef, OrderReplace, Trade,
};

use super::*;

const OURS: u32 = 1;

fn cents(cents: i64) -> Price {
    Price::from_ticks(cents * 100)
}

fn add(reference: u64, side: Side, shares: u64, price: i64) -> Message {
    Message::AddOrder(AddOrder {
        header: Header::default(),
        reference: OrderRef(reference),
        side,
        qty: Qty::new(shares),
        symbol: "AAPL".parse().unwrap(),
        price: cents(price),
        attribution: None,
    })
}

fn execute(reference: u64, shares: u64) -> Message {
    Message::OrderExecuted(OrderExecuted {
        header: Header::default(),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
        match_number: MatchNumber(0),
    })
}

fn execute_at(reference: u64, shares: u64, price: i64) -> Message {
    Message::OrderExecutedWithPrice(OrderExecutedWithPrice {
        header: Header::default(),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
        match_number: MatchNumber(0),
        printable: b'Y',
        price: cents(price),
    })
}

fn reduce(reference: u64, shares: u64) -> Message {
    Message::OrderCancel(OrderCancel {
        header: Header::default(),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
    })
}

fn delete(reference: u64) -> Message {
    Message::OrderDelete(OrderDelete { header: Header::default(), reference: OrderRef(reference) })
}

fn replace(original: u64, reference: u64, shares: u64, price: i64) -> Message {
    Message::OrderReplace(OrderReplace {
        header: Header::default(),
        original: OrderRef(original),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
        price: cents(price),
    })
}

fn hidden_trade(side: Side, shares: u64, price: i64) -> Message {
    Message::Trade(Trade {
        header: Header::default(),
        reference: OrderRef(0),
        side,
        qty: Qty::new(shares),
        symbol: "AAPL".parse().unwrap(),
        price: cents(price),
        match_number: MatchNumber(0),
    })
}

fn entry(side: Side, shares: u64, price: i64, time_in_force: TimeInForce) -> Entry {
    Entry { user_reference: OURS, side, qty: Qty::new(shares), price: cents(price), time_in_force }
}

/// A market after `messages`; none of them may fill anything.
fn market(messages: &[Message]) -> Matching {
    let mut matching = Matching::default();
    assert_eq!(fills(&mut matching, messages), []);
    matching
}

/// The fills that the messages bring, as (shares, price in cents).
fn fills(matching: &mut Matching, messages: &[Message]) -> Vec<(u64, i64)> {
    let mut fills = Vec::new();
    for message in messages {
        matching.apply(message, &mut fills);
    }
    short(&fills)
}

/// What an order of ours does on arrival.
fn enter(matching: &mut Matching, entry: Entry) -> (Vec<(u64, i64)>, Remainder) {
    let mut fills = Vec::new();
    let remainder = matching.enter(entry, &mut fills);
    (short(&fills), remainder)
}

fn short(fills: &[Fill]) -> Vec<(u64, i64)> {
    fills.iter().map(|fill| (fill.qty.shares(), fill.price.ticks() / 100)).collect()
}

/// A market with a bid for 100 at 50.00 (order 1) and an offer of 100 at 50.10 (order 2), and our order
/// to buy 60 at 50.00 behind the bid.
fn with_our_bid() -> Matching {
    let mut matching = market(&[add(1, Side::Buy, 100, 5_000), add(2, Side::Sell, 100, 5_010)]);
    let (filled, remainder) = enter(&mut matching, entry(Side::Buy, 60, 5_000, TimeInForce::Day));
    assert_eq!((filled, remainder), (vec![], Remainder::Rests));
    matching
}

#[test]
fn a_crossing_order_fills_level_by_level_at_displayed_prices() {
    let mut matching = market(&[
        add(1, Side::Sell, 100, 5_010),
        add(2, Side::Sell, 50, 5_011),
        add(3, Side::Sell, 100, 5_013),
    ]);
    let (filled, remainder) = enter(&mut matching, entry(Side::Buy, 200, 5_012, TimeInForce::Day));
    assert_eq!(filled, [(100, 5_010), (50, 5_011)]);
    assert_eq!(remainder, Remainder::Rests);
}

#[test]
fn a_crossing_sell_fills_from_the_highest_bid_down() {
    let mut matching = market(&[add(1, Side::Buy, 100, 5_000), add(2, Side::Buy, 50, 4_999)]);
    let order = entry(Side::Sell, 120, 4_999, TimeInForce::Day);
    assert_eq!(enter(&mut matching, order), (vec![(100, 5_000), (20, 4_999)], Remainder::Nothing));
}

#[test]
fn the_rest_of_an_immediate_order_is_cancelled() {
    let mut matching = market(&[add(1, Side::Sell, 100, 5_010)]);
    let order = entry(Side::Buy, 130, 5_010, TimeInForce::ImmediateOrCancel);
    let (filled, remainder) = enter(&mut matching, order);
    assert_eq!((filled, remainder), (vec![(100, 5_010)], Remainder::Cancelled(Qty::new(30))));
    assert_eq!(fills(&mut matching, &[add(2, Side::Sell, 100, 5_010)]), [], "nothing rests");
}

#[test]
fn what_we_took_of_a_level_is_not_there_again_until_the_level_changes() {
    let mut matching = market(&[add(1, Side::Sell, 100, 5_010)]);
    let take = |shares| entry(Side::Buy, shares, 5_010, TimeInForce::ImmediateOrCancel);
    assert_eq!(enter(&mut matching, take(70)).0, [(70, 5_010)]);
    assert_eq!(enter(&mut matching, take(70)).0, [(30, 5_010)]);
    assert_eq!(enter(&mut matching, take(70)).0, []);
    assert_eq!(fills(&mut matching, &[add(2, Side::Sell, 100, 5_011)]), []);
    assert_eq!(enter(&mut matching, take(70)).0, [], "another level changed");
    assert_eq!(fills(&mut matching, &[reduce(1, 10)]), []);
    assert_eq!(enter(&mut matching, take(100)).0, [(90, 5_010)]);
}

#[test]
fn an_execution_uses_up_what_is_ahead_and_then_fills_us() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[execute(1, 80)]), []);
    assert_eq!(fills(&mut matching, &[add(3, Side::Buy, 100, 5_000), execute(1, 20)]), []);
    assert_eq!(fills(&mut matching, &[execute(3, 40)]), [(40, 5_000)]);
    assert_eq!(fills(&mut matching, &[execute(3, 40)]), [(20, 5_000)]);
    assert_eq!(fills(&mut matching, &[execute(3, 20)]), [], "all of it has filled");
}

#[test]
fn one_execution_can_use_up_what_is_ahead_and_fill_us() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[reduce(1, 70), add(3, Side::Buy, 50, 5_000)]), []);
    assert_eq!(fills(&mut matching, &[execute(3, 45)]), [(15, 5_000)], "30 were ahead");
}

#[test]
fn an_order_of_ours_with_nothing_ahead_fills_at_the_first_execution() {
    let mut matching = market(&[add(1, Side::Buy, 100, 5_000), add(2, Side::Sell, 100, 5_010)]);
    enter(&mut matching, entry(Side::Buy, 60, 5_001, TimeInForce::Day));
    assert_eq!(fills(&mut matching, &[add(3, Side::Buy, 10, 5_001)]), []);
    assert_eq!(fills(&mut matching, &[execute(3, 10)]), [(10, 5_001)]);
}

#[test]
fn older_orders_that_are_cut_deleted_or_replaced_shorten_what_is_ahead() {
    for leave in [reduce(1, 100), delete(1), replace(1, 9, 100, 4_999), replace(1, 9, 100, 5_000)] {
        let mut matching = with_our_bid();
        assert_eq!(fills(&mut matching, &[leave, add(3, Side::Buy, 25, 5_000)]), []);
        assert_eq!(fills(&mut matching, &[execute(3, 25)]), [(25, 5_000)], "{leave:?}");
    }
}

#[test]
fn younger_orders_that_leave_do_not_shorten_what_is_ahead() {
    let young = add(3, Side::Buy, 100, 5_000);
    for leave in [reduce(3, 100), delete(3), replace(3, 9, 100, 4_999)] {
        let mut matching = with_our_bid();
        assert_eq!(fills(&mut matching, &[young, leave, execute(1, 100)]), [], "{leave:?}");
    }
}

#[test]
fn an_execution_at_another_price_fills_nobody_and_takes_its_shares_off_the_queue() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[execute_at(1, 100, 4_990)]), []);
    let behind = [add(3, Side::Buy, 25, 5_000), execute(3, 25)];
    assert_eq!(fills(&mut matching, &behind), [(25, 5_000)]);
}

#[test]
fn a_trade_against_hidden_interest_fills_nobody() {
    let mut matching = with_our_bid();
    let trades = [hidden_trade(Side::Buy, 500, 5_000), hidden_trade(Side::Buy, 500, 4_990)];
    assert_eq!(fills(&mut matching, &trades), []);
}

#[test]
fn the_rest_fills_when_the_opposite_best_reaches_our_price() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[add(3, Side::Sell, 5, 5_001)]), []);
    assert_eq!(fills(&mut matching, &[add(4, Side::Sell, 5, 5_000)]), [(60, 5_000)]);
    assert_eq!(fills(&mut matching, &[add(5, Side::Sell, 5, 5_000)]), [], "once");
}

#[test]
fn a_replacement_can_be_what_reaches_our_price() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[replace(2, 3, 100, 4_995)]), [(60, 5_000)]);
}

#[test]
fn the_rest_fills_at_our_price_when_our_side_trades_at_a_worse_one() {
    let mut matching = with_our_bid();
    let through = [add(3, Side::Buy, 10, 4_999), execute(3, 1)];
    assert_eq!(fills(&mut matching, &through), [(60, 5_000)]);
}

#[test]
fn an_execution_at_a_better_price_of_our_side_leaves_us_waiting() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[add(3, Side::Buy, 10, 5_001), execute(3, 10)]), []);
}

#[test]
fn executions_of_the_other_side_leave_us_waiting() {
    let mut matching = with_our_bid();
    assert_eq!(fills(&mut matching, &[execute(2, 100)]), []);
}

#[test]
fn our_sell_orders_mirror_our_buy_orders() {
    let mut matching = market(&[add(1, Side::Buy, 100, 5_000), add(2, Side::Sell, 100, 5_010)]);
    enter(&mut matching, entry(Side::Sell, 60, 5_010, TimeInForce::Day));
    assert_eq!(fills(&mut matching, &[add(3, Side::Sell, 50, 5_010), execute(2, 100)]), []);
    assert_eq!(fills(&mut matching, &[execute(3, 10)]), [(10, 5_010)]);
    assert_eq!(fills(&mut matching, &[add(4, Side::Buy, 1, 5_010)]), [(50, 5_010)]);
}

#[test]
fn two_orders_of_ours_share_an_execution_oldest_first() {
    let mut matching = with_our_bid();
    let second = Entry { user_reference: 2, ..entry(Side::Buy, 60, 5_000, TimeInForce::Day) };
    enter(&mut matching, second);
    let mut fills = Vec::new();
    for message in [delete(1), add(3, Side::Buy, 100, 5_000), execute(3, 80)] {
        matching.apply(&message, &mut fills);
    }
    let who: Vec<_> = fills.iter().map(|fill| (fill.user_reference, fill.qty.shares())).collect();
    assert_eq!(who, [(1, 60), (2, 20)]);
}

#[test]
fn a_level_that_we_emptied_reaches_our_price_only_when_more_arrives_there() {
    let mut matching = market(&[add(1, Side::Sell, 100, 5_010)]);
    let (filled, remainder) = enter(&mut matching, entry(Side::Buy, 150, 5_010, TimeInForce::Day));
    assert_eq!((filled, remainder), (vec![(100, 5_010)], Remainder::Rests));
    assert_eq!(fills(&mut matching, &[add(2, Side::Sell, 10, 5_020), reduce(1, 50)]), []);
    assert_eq!(fills(&mut matching, &[add(3, Side::Sell, 10, 5_010)]), [(50, 5_010)]);
}

#[test]
fn our_orders_do_not_change_the_replayed_book() {
    let mut matching = with_our_bid();
    let take = entry(Side::Buy, 100, 5_010, TimeInForce::ImmediateOrCancel);
    enter(&mut matching, take);
    assert_eq!(matching.book.level_qty(Side::Buy, cents(5_000)), Qty::new(100));
    assert_eq!(matching.book.level_qty(Side::Sell, cents(5_010)), Qty::new(100));
}

#[test]
fn a_cancel_leaves_the_intended_size_filled_shares_included() {
    let mut matching = with_our_bid();
    let partly = [delete(1), add(3, Side::Buy, 100, 5_000), execute(3, 20)];
    assert_eq!(fills(&mut matching, &partly), [(20, 5_000)]);
    assert_eq!(matching.cancel(OURS, Qty::new(50)), Qty::new(10));
    assert_eq!(matching.cancel(OURS, Qty::new(50)), Qty::ZERO, "it is no larger");
    assert_eq!(matching.cancel(OURS, Qty::ZERO), Qty::new(30));
    assert_eq!(matching.cancel(OURS, Qty::ZERO), Qty::ZERO, "nothing of it rests");
    assert_eq!(fills(&mut matching, &[execute(3, 80)]), []);
}

#[test]
fn messages_that_the_book_cannot_apply_change_nothing() {
    let mut matching = with_our_bid();
    let unknown = [execute(77, 10), delete(77), reduce(77, 10), replace(77, 78, 10, 5_000)];
    assert_eq!(fills(&mut matching, &unknown), []);
    assert_eq!(fills(&mut matching, &[execute(1, 500)]), [], "only 100 were there, and ahead");
}
