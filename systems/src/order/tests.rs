use std::collections::BTreeMap;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use proptest::prelude::*;

use super::*;

const PRICE: Price = Price::from_ticks(1_632_400);

fn new_order(instrument: Entity, side: Side) -> NewOrder {
    NewOrder { instrument, side, price: PRICE, qty: Qty::new(100), tif: TimeInForce::Day }
}

/// A table with one order of 100 shares to buy, as it is right after it was sent.
fn sent() -> (OrderTable, OrderId) {
    let mut table = OrderTable::default();
    let instrument = World::new().spawn_empty().id();
    let id = table.insert(new_order(instrument, Side::Buy)).unwrap();
    (table, id)
}

/// The same after the venue accepted it.
fn live() -> (OrderTable, OrderId) {
    let (mut table, id) = sent();
    table.apply(accepted(id));
    (table, id)
}

const fn accepted(id: OrderId) -> VenueReport {
    VenueReport::Accepted { id, qty: Qty::new(100), price: PRICE }
}

const fn executed(id: OrderId, shares: u64, number: u64) -> VenueReport {
    VenueReport::Executed {
        id,
        qty: Qty::new(shares),
        price: PRICE,
        liquidity: Liquidity::Added,
        match_number: MatchNumber(number),
    }
}

const fn cancelled(id: OrderId, shares: u64) -> VenueReport {
    VenueReport::Cancelled { id, qty: Qty::new(shares), reason: CancelReason::User }
}

const fn rejected(id: OrderId) -> VenueReport {
    VenueReport::Rejected { id, reason: RejectReason::from_code(1) }
}

#[track_caller]
fn check(table: &OrderTable, id: OrderId, state: OrderState, leaves: u64) {
    let order = table.get(id).expect("the table holds the order");
    assert_eq!(order.state(), state);
    assert_eq!(order.leaves(), Qty::new(leaves));
    assert_eq!(table.open().any(|open| open.id() == id), state.is_open());
}

#[test]
fn an_order_waits_for_the_venue() {
    let (table, id) = sent();
    check(&table, id, OrderState::PendingNew, 100);
}

#[test]
fn an_accepted_order_is_live_with_what_the_venue_accepted() {
    let (mut table, id) = sent();
    let price = Price::from_ticks(1_632_300);
    table.apply(VenueReport::Accepted { id, qty: Qty::new(80), price });
    check(&table, id, OrderState::Live, 80);
    assert_eq!(table.get(id).unwrap().price(), price);
}

#[test]
fn a_rejected_order_is_done() {
    let (mut table, id) = sent();
    table.apply(rejected(id));
    check(&table, id, OrderState::Rejected(RejectReason::from_code(1)), 0);
    assert_eq!(table.stats().rejected, 1);
}

#[test]
fn an_order_fills_in_parts() {
    let (mut table, id) = live();
    let fill = table.apply(executed(id, 30, 1)).unwrap();
    assert_eq!((fill.qty, fill.price, fill.side), (Qty::new(30), PRICE, Side::Buy));
    check(&table, id, OrderState::Live, 70);
    table.apply(executed(id, 70, 2));
    check(&table, id, OrderState::Filled, 0);
    assert_eq!((table.stats().fills, table.stats().filled), (2, 1));
}

#[test]
fn an_execution_before_the_acceptance_counts_as_the_acceptance() {
    let (mut table, id) = sent();
    assert!(table.apply(executed(id, 30, 1)).is_some());
    check(&table, id, OrderState::Live, 70);
    table.apply(accepted(id));
    check(&table, id, OrderState::Live, 70);
    assert_eq!((table.stats().accepted, table.stats().repeats), (1, 1));
}

#[test]
fn a_cancelled_order_is_done_when_no_share_is_left() {
    let (mut table, id) = live();
    table.apply(cancelled(id, 40));
    check(&table, id, OrderState::Live, 60);
    table.apply(cancelled(id, 60));
    check(&table, id, OrderState::Cancelled(CancelReason::User), 0);
}

#[test]
fn a_cancel_may_be_sent_before_the_acceptance() {
    let (mut table, id) = sent();
    assert!(table.request_cancel(id));
    table.apply(accepted(id));
    check(&table, id, OrderState::PendingCancel, 100);
    table.apply(cancelled(id, 100));
    check(&table, id, OrderState::Cancelled(CancelReason::User), 0);
}

#[test]
fn a_fill_after_a_cancel_request_is_a_fill() {
    let (mut table, id) = live();
    table.request_cancel(id);
    assert!(table.apply(executed(id, 40, 1)).is_some());
    check(&table, id, OrderState::PendingCancel, 60);
    assert!(table.apply(executed(id, 60, 2)).is_some());
    check(&table, id, OrderState::Filled, 0);
    assert_eq!(table.stats().fills_after_cancel_request, 2);
}

#[test]
fn a_refused_cancel_leaves_the_order_where_it_was() {
    let (mut table, id) = sent();
    table.request_cancel(id);
    table.apply(VenueReport::CancelRejected { id });
    check(&table, id, OrderState::PendingNew, 100);
    table.apply(accepted(id));
    table.request_cancel(id);
    table.apply(VenueReport::CancelRejected { id });
    check(&table, id, OrderState::Live, 100);
    assert_eq!(table.stats().cancels_rejected, 2);
}

#[test]
fn a_second_cancel_is_not_sent() {
    let (mut table, id) = live();
    assert!(table.request_cancel(id));
    assert!(!table.request_cancel(id));
    table.apply(cancelled(id, 100));
    assert!(!table.request_cancel(id));
    assert_eq!(table.stats().cancels_sent, 1);
}

#[test]
fn a_fill_of_a_done_order_is_ours_and_counted() {
    let (mut table, id) = live();
    table.apply(cancelled(id, 100));
    assert!(table.apply(executed(id, 10, 1)).is_some());
    check(&table, id, OrderState::Cancelled(CancelReason::User), 0);
    assert_eq!((table.stats().fills_after_done, table.stats().overfills), (1, 1));
}

#[test]
fn an_execution_past_the_size_is_an_overfill() {
    let (mut table, id) = live();
    let fill = table.apply(executed(id, 130, 1)).unwrap();
    assert_eq!(fill.qty, Qty::new(130));
    check(&table, id, OrderState::Filled, 0);
    assert_eq!(table.stats().overfills, 1);
}

#[test]
fn a_report_about_an_unknown_order_is_counted() {
    let (mut table, id) = live();
    let unknown = OrderId::from_raw(77);
    assert!(table.apply(executed(unknown, 10, 1)).is_none());
    table.apply(cancelled(unknown, 10));
    check(&table, id, OrderState::Live, 100);
    assert_eq!((table.stats().unknown_ids, table.stats().unknown_executions), (2, 1));
}

#[test]
fn a_repeated_report_changes_nothing() {
    let (mut table, id) = live();
    table.apply(accepted(id));
    assert!(table.apply(executed(id, 30, 1)).is_some());
    assert!(table.apply(executed(id, 30, 1)).is_none());
    table.apply(rejected(id));
    table.apply(VenueReport::CancelRejected { id });
    check(&table, id, OrderState::Live, 70);
    table.apply(cancelled(id, 70));
    table.apply(cancelled(id, 70));
    check(&table, id, OrderState::Cancelled(CancelReason::User), 0);
    assert_eq!(table.stats().repeats, 5);
}

#[test]
fn ids_only_go_up_and_pass_over_a_slot_with_an_open_order() {
    let instrument = World::new().spawn_empty().id();
    let mut table = OrderTable::with_capacity(2, OrderId::from_raw(10));
    let first = table.insert(new_order(instrument, Side::Buy)).unwrap();
    let second = table.insert(new_order(instrument, Side::Buy)).unwrap();
    assert_eq!((first.raw(), second.raw()), (10, 11));
    assert_eq!(table.insert(new_order(instrument, Side::Buy)), None, "each slot is in use");
    table.apply(rejected(second));
    let third = table.insert(new_order(instrument, Side::Buy)).unwrap();
    assert_eq!(third.raw(), 13, "12 stands in the slot of 10, which is open");
    check(&table, first, OrderState::PendingNew, 100);
    assert!(table.get(second).is_none(), "its slot was taken");
}

#[test]
fn used_up_ids_send_no_order() {
    let instrument = World::new().spawn_empty().id();
    let mut table = OrderTable::with_capacity(4, OrderId::from_raw(u32::MAX));
    assert!(table.insert(new_order(instrument, Side::Buy)).is_some());
    assert_eq!(table.insert(new_order(instrument, Side::Buy)), None);
}

#[test]
fn open_shares_are_counted_by_instrument_and_side() {
    let mut world = World::new();
    let (one, other) = (world.spawn_empty().id(), world.spawn_empty().id());
    let mut table = OrderTable::default();
    let id = table.insert(new_order(one, Side::Buy)).unwrap();
    table.insert(new_order(one, Side::Sell)).unwrap();
    table.insert(new_order(other, Side::Buy)).unwrap();
    table.apply(executed(id, 40, 1));
    assert_eq!(table.open_qty(one, Side::Buy), Qty::new(60));
    assert_eq!(table.open_qty(one, Side::Sell), Qty::new(100));
    assert_eq!(table.open_count(), 3);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert,
    Cancel(usize),
    Accept(usize),
    Execute(usize, u64),
    Cancelled(usize, u64),
    Reject(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..12_usize;
    prop_oneof![
        3 => Just(Step::Insert),
        1 => at.clone().prop_map(Step::Cancel),
        2 => at.clone().prop_map(Step::Accept),
        3 => (at.clone(), 1..80_u64).prop_map(|(at, shares)| Step::Execute(at, shares)),
        2 => (at.clone(), 1..120_u64).prop_map(|(at, shares)| Step::Cancelled(at, shares)),
        1 => at.prop_map(Step::Reject),
    ]
}

proptest! {
    /// Whatever the venue says, each new execution becomes one fill, the open orders are those whose
    /// state is open, and no open order has more left than its size less its fills.
    #[test]
    fn fills_and_open_orders_agree_with_a_plain_count(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let instrument = World::new().spawn_empty().id();
        let mut table = OrderTable::with_capacity(16, OrderId::from_raw(1));
        let mut ids = Vec::new();
        let mut executions: BTreeMap<OrderId, u64> = BTreeMap::new();
        for (number, step) in (0_u64..).zip(steps) {
            let pick = |at: usize| ids.get(at % ids.len().max(1)).copied();
            let report = match step {
                Step::Insert => {
                    ids.extend(table.insert(new_order(instrument, Side::Buy)));
                    None
                }
                Step::Cancel(at) => {
                    pick(at).map(|id| table.request_cancel(id));
                    None
                }
                Step::Accept(at) => pick(at).map(accepted),
                Step::Execute(at, shares) => pick(at).map(|id| executed(id, shares, number)),
                Step::Cancelled(at, shares) => pick(at).map(|id| cancelled(id, shares)),
                Step::Reject(at) => pick(at).map(rejected),
            };
            let Some(report) = report else { continue };
            let known = table.get(report.id()).is_some();
            let fill = table.apply(report);
            if let VenueReport::Executed { id, qty, .. } = report {
                prop_assert_eq!(fill.is_some(), known);
                *executions.entry(id).or_default() += if known { qty.shares() } else { 0 };
            }
        }
        let mut open = 0;
        for id in ids {
            let Some(order) = table.get(id) else { continue };
            open += usize::from(order.state().is_open());
            let filled = executions.get(&id).copied().unwrap_or(0);
            prop_assert_eq!(order.filled(), Qty::new(filled));
            prop_assert!(order.leaves() <= Qty::new(100).saturating_sub(order.filled()));
        }
        prop_assert_eq!(table.open_count(), open);
        prop_assert_eq!(table.open().filter(|order| order.state().is_open()).count(), open);
    }
}
