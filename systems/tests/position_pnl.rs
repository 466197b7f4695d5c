//! Position, profit and loss against a plain count of shares and cash.

use onbeat_systems::position::{Money, Position};
use onbeat_systems::price::{Price, Qty, Side};
use proptest::prelude::*;

const fn dollars(dollars: i64) -> Price {
    Price::from_ticks(dollars * Price::TICKS_PER_DOLLAR)
}

#[track_caller]
fn check(trades: &[(Side, i64, u64)], shares: i64, average: Option<i64>, realised: i64) {
    let mut position = Position::default();
    for &(side, price, qty) in trades {
        position.apply(side, dollars(price), Qty::new(qty));
    }
    assert_eq!(position.shares(), shares);
    assert_eq!(position.average_price(), average.map(dollars));
    assert_eq!(position.realised(), Money::from_dollars(realised));
}

#[test]
fn buying_more_averages_the_cost() {
    check(&[(Side::Buy, 100, 10), (Side::Buy, 110, 10)], 20, Some(105), 0);
}

#[test]
fn selling_a_part_realises_against_the_average() {
    let trades = [(Side::Buy, 100, 10), (Side::Buy, 110, 10), (Side::Sell, 115, 5)];
    check(&trades, 15, Some(105), 50);
}

#[test]
fn a_short_position_earns_when_the_price_falls() {
    check(&[(Side::Sell, 100, 10), (Side::Buy, 97, 4)], -6, Some(100), 12);
}

#[test]
fn an_execution_larger_than_the_position_turns_it() {
    check(&[(Side::Buy, 100, 10), (Side::Sell, 103, 25)], -15, Some(103), 30);
}

#[test]
fn a_flat_position_has_no_average_and_no_open_profit() {
    let mut position = Position::default();
    position.apply(Side::Buy, dollars(10), Qty::new(3));
    position.apply(Side::Sell, dollars(9), Qty::new(3));
    position.mark(dollars(50), dollars(60));
    assert_eq!(position.average_price(), None);
    assert_eq!(position.open_pnl(), Money::ZERO);
    assert_eq!(position.pnl(), Money::from_dollars(-3));
}

#[test]
fn open_profit_is_zero_before_the_first_mark() {
    let mut position = Position::default();
    position.apply(Side::Buy, dollars(10), Qty::new(3));
    assert_eq!(position.open_pnl(), Money::ZERO);
}

#[test]
fn the_mid_may_lie_between_two_ticks() {
    let mut position = Position::default();
    position.apply(Side::Sell, Price::from_ticks(1_000), Qty::new(10));
    position.mark(Price::from_ticks(990), Price::from_ticks(993));
    assert_eq!(position.open_pnl(), Money::from_ticks(85));
}

#[test]
fn fills_are_counted_by_side() {
    let mut position = Position::default();
    position.apply(Side::Buy, dollars(10), Qty::new(3));
    position.apply(Side::Sell, dollars(10), Qty::new(5));
    position.apply(Side::Sell, dollars(10), Qty::new(6));
    assert_eq!(position.fills(), (1, 2));
    assert_eq!(position.traded(), (Qty::new(3), Qty::new(11)));
}

#[test]
fn absurd_executions_saturate() {
    let mut position = Position::default();
    for _ in 0..3 {
        position.apply(Side::Buy, Price::from_ticks(i64::MAX), Qty::new(u64::MAX));
    }
    assert_eq!(position.shares(), i64::MAX);
    position.apply(Side::Sell, Price::from_ticks(i64::MAX), Qty::new(u64::MAX));
    assert_eq!(position.shares(), 0);
}

#[test]
fn money_prints_as_dollars() {
    assert_eq!(Money::from_ticks(12_345_678).to_string(), "1234.56");
    assert_eq!(Money::from_ticks(-5_000).to_string(), "-0.50");
    assert_eq!(Money::from_ticks(-99).to_string(), "0.00");
    assert_eq!(format!("{:>8}", Money::from_dollars(3)), "    3.00");
}

proptest! {
    /// Profit and loss is cash and the value of the shares, to the last tick, in whatever order the
    /// executions come.
    #[test]
    fn profit_and_loss_equals_cash_and_shares_at_mid(
        trades in proptest::collection::vec((any::<bool>(), 1..2_000_000_i64, 1..1_000_u64), 0..60),
        bid in 1..2_000_000_i64,
        spread in 0..1_000_i64,
    ) {
        let mut position = Position::default();
        let (mut cash, mut shares) = (0_i128, 0_i64);
        for (buys, price, qty) in trades {
            let side = if buys { Side::Buy } else { Side::Sell };
            position.apply(side, Price::from_ticks(price), Qty::new(qty));
            let signed = side.sign() * i64::try_from(qty).unwrap();
            cash -= i128::from(price) * i128::from(signed);
            shares += signed;
            prop_assert_eq!(position.shares(), shares);
        }
        let ask = bid + spread;
        position.mark(Price::from_ticks(bid), Price::from_ticks(ask));
        let value = i128::from(shares) * i128::from(bid + ask) / 2;
        prop_assert_eq!(position.pnl(), Money::from_ticks(cash + value));
        if shares == 0 {
            prop_assert_eq!(position.realised(), Money::from_ticks(cash));
        }
    }
}
