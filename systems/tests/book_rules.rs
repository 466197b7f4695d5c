//! What each message does to the book, and what becomes of the ones that cannot be applied.

use onbeat_systems::book::{Applied, Arrival, BookError, BookLevel, Change, Order, OrderBook};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::wire::OrderRef;

fn price(ticks: i64) -> Price {
    Price::from_ticks(ticks)
}

fn qty(shares: u64) -> Qty {
    Qty::new(shares)
}

fn level(ticks: i64, shares: u64, orders: u32) -> BookLevel {
    BookLevel { price: price(ticks), qty: qty(shares), orders }
}

/// Bids 1 (300 at 100), 2 (100 at 100), 3 (50 at 90); ask 4 (200 at 110).
fn book() -> OrderBook {
    let mut book = OrderBook::with_capacity(8, 8);
    for (reference, side, ticks, shares) in [
        (1, Side::Buy, 100, 300),
        (2, Side::Buy, 100, 100),
        (3, Side::Buy, 90, 50),
        (4, Side::Sell, 110, 200),
    ] {
        let applied = book.add(OrderRef(reference), side, price(ticks), qty(shares));
        assert_eq!(applied.error, None);
    }
    book
}

fn bid(ticks: i64, shares: u64, arrival: u64) -> Order {
    Order { side: Side::Buy, price: price(ticks), qty: qty(shares), arrival: Arrival(arrival) }
}

#[test]
fn levels_come_best_first_with_sizes_and_counts() {
    let mut book = book();
    let _ = book.add(OrderRef(5), Side::Sell, price(105), qty(10));
    assert!(book.levels(Side::Buy).eq([level(100, 400, 2), level(90, 50, 1)]));
    assert!(book.levels(Side::Sell).eq([level(105, 10, 1), level(110, 200, 1)]));
    assert_eq!(book.level_qty(Side::Buy, price(90)), qty(50));
    assert_eq!(book.level_qty(Side::Buy, price(95)), Qty::ZERO);
}

#[test]
fn the_spread_and_the_mid_need_both_sides() {
    let mut book = book();
    assert_eq!(book.bbo().spread(), Some(price(10)));
    assert_eq!(book.bbo().mid(), Some(price(105)));
    let _ = book.delete(OrderRef(4));
    assert_eq!(book.bbo().mid(), None);
    assert!(!book.is_crossed());
}

#[test]
fn a_bid_at_the_best_ask_crosses_the_book() {
    let mut book = book();
    assert!(!book.is_crossed());
    let _ = book.add(OrderRef(5), Side::Buy, price(110), qty(1));
    assert!(book.is_crossed());
}

#[test]
fn an_execution_takes_shares_at_the_orders_price() {
    let mut book = book();
    let applied = book.execute(OrderRef(1), qty(120));
    let (reference, order) = (OrderRef(1), bid(100, 300, 0));
    let change = Change::Executed { reference, order, qty: qty(120), price: price(100) };
    assert_eq!(applied, Applied { change, error: None });
    assert_eq!(book.best_bid(), Some(level(100, 280, 2)));
}

#[test]
fn an_execution_with_price_reports_its_own_price() {
    let mut book = book();
    let applied = book.execute_with_price(OrderRef(2), qty(100), price(99));
    let (reference, order) = (OrderRef(2), bid(100, 100, 1));
    let change = Change::Executed { reference, order, qty: qty(100), price: price(99) };
    assert_eq!(applied, Applied { change, error: None });
    assert_eq!(book.best_bid(), Some(level(100, 300, 1)));
    assert_eq!(book.order(OrderRef(2)), None);
}

#[test]
fn a_cancel_keeps_the_place_in_the_queue() {
    let mut book = book();
    let _ = book.cancel(OrderRef(1), qty(299));
    assert_eq!(book.order(OrderRef(1)), Some(bid(100, 1, 0)));
}

#[test]
fn a_replacement_inherits_the_side_and_queues_last() {
    let mut book = book();
    let applied = book.replace(OrderRef(1), OrderRef(9), price(100), qty(30));
    let change = Change::Replaced {
        original: OrderRef(1),
        before: bid(100, 300, 0),
        reference: OrderRef(9),
        after: bid(100, 30, 4),
    };
    assert_eq!(applied, Applied { change, error: None });
    assert_eq!(book.best_bid(), Some(level(100, 130, 2)));
}

#[test]
fn a_replacement_may_keep_its_number() {
    let mut book = book();
    let applied = book.replace(OrderRef(1), OrderRef(1), price(95), qty(30));
    assert_eq!(applied.error, None);
    assert_eq!(book.order(OrderRef(1)), Some(bid(95, 30, 4)));
}

#[test]
fn the_last_order_of_a_level_takes_the_level_with_it() {
    let mut book = book();
    let _ = book.delete(OrderRef(3));
    assert!(book.levels(Side::Buy).eq([level(100, 400, 2)]));
    assert_eq!(book.order_count(), 3);
}

#[test]
fn an_unknown_order_changes_nothing() {
    let mut book = book();
    let reference = OrderRef(77);
    for applied in [
        book.execute(reference, qty(1)),
        book.cancel(reference, qty(1)),
        book.delete(reference),
        book.replace(reference, OrderRef(78), price(1), qty(1)),
    ] {
        let error = Some(BookError::UnknownOrder { reference });
        assert_eq!(applied, Applied { change: Change::None, error });
    }
    assert_eq!(book.order_count(), 4);
}

#[test]
fn executing_more_than_is_left_takes_what_is_left() {
    let mut book = book();
    let applied = book.execute(OrderRef(2), qty(101));
    let (reference, order) = (OrderRef(2), bid(100, 100, 1));
    let change = Change::Executed { reference, order, qty: qty(100), price: price(100) };
    let error = Some(BookError::OverExecution { reference, left: qty(100), asked: qty(101) });
    assert_eq!(applied, Applied { change, error });
    assert_eq!(book.best_bid(), Some(level(100, 300, 1)));
}

#[test]
fn cancelling_more_than_is_left_takes_what_is_left() {
    let mut book = book();
    let applied = book.cancel(OrderRef(3), qty(51));
    let (reference, order) = (OrderRef(3), bid(90, 50, 2));
    let error = Some(BookError::OverCancel { reference, left: qty(50), asked: qty(51) });
    assert_eq!(
        applied,
        Applied { change: Change::Reduced { reference, order, qty: qty(50) }, error }
    );
    assert_eq!(book.order(reference), None);
}

#[test]
fn a_number_that_lives_is_not_taken_again() {
    let mut book = book();
    let applied = book.add(OrderRef(1), Side::Sell, price(120), qty(1));
    let error = Some(BookError::DuplicateReference { reference: OrderRef(1) });
    assert_eq!(applied, Applied { change: Change::None, error });
    assert_eq!(book.order(OrderRef(1)), Some(bid(100, 300, 0)));
}

#[test]
fn a_replacement_with_a_number_that_lives_still_removes_the_original() {
    let mut book = book();
    let applied = book.replace(OrderRef(1), OrderRef(3), price(95), qty(1));
    let change = Change::Deleted { reference: OrderRef(1), order: bid(100, 300, 0) };
    let error = Some(BookError::DuplicateReference { reference: OrderRef(3) });
    assert_eq!(applied, Applied { change, error });
    assert_eq!(book.order(OrderRef(3)), Some(bid(90, 50, 2)));
}

#[test]
fn an_order_of_no_shares_is_not_taken() {
    let mut book = book();
    let applied = book.add(OrderRef(5), Side::Buy, price(105), Qty::ZERO);
    let error = Some(BookError::NoShares { reference: OrderRef(5) });
    assert_eq!(applied, Applied { change: Change::None, error });
    assert_eq!(book.best_bid(), Some(level(100, 400, 2)));
}

#[test]
fn the_extreme_prices_keep_their_places() {
    let mut book = OrderBook::with_capacity(0, 0);
    for (reference, side) in [(1, Side::Buy), (2, Side::Sell)] {
        let _ = book.add(OrderRef(reference), side, price(i64::MIN), qty(1));
        let _ = book.add(OrderRef(reference + 2), side, price(i64::MAX), qty(1));
    }
    assert_eq!(book.best_bid(), Some(level(i64::MAX, 1, 1)));
    assert_eq!(book.best_ask(), Some(level(i64::MIN, 1, 1)));
}

#[test]
fn a_cleared_book_is_empty_and_keeps_its_room() {
    let mut book = book();
    let room = book.capacity();
    book.clear();
    assert_eq!((book.order_count(), book.bbo().bid, book.bbo().ask), (0, None, None));
    assert_eq!(book.capacity(), room);
}
