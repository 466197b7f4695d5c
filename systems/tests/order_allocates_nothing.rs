//! Orders, reports, fills, refusals and quotes do not touch the heap once the first ones are done.

mod counting;
mod engine_support;

use counting::allocations;
use engine_support::{Engine, cents};
use onbeat_systems::order::{OrderCommand, OrderTable, VenueReport};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::risk::RiskLimits;
use onbeat_systems::strategy::StrategyConfig;
use onbeat_systems::wire::ouch::CancelReason;

/// The market moves; the venue answers each command, and fills an order where `fills` says so.
fn turn(engine: &mut Engine, commands: &mut Vec<OrderCommand>, number: i64) {
    engine.set_time_ns(number.unsigned_abs() * 1_000_000);
    let shift = number % 8 * 3;
    let bid = engine.add(Side::Buy, cents(shift), 500);
    let ask = engine.add(Side::Sell, cents(shift + 10), 500);
    engine.tick_into(commands);
    for command in commands.drain(..) {
        match command {
            OrderCommand::Enter(approved) => {
                let id = approved.order().id;
                engine.accept(id);
                if id.raw() % 3 == 0 {
                    engine.execute(id, 50);
                }
            }
            OrderCommand::Cancel(id) => {
                let reason = CancelReason::User;
                let qty = engine.order_of(id).leaves();
                engine.report(VenueReport::Cancelled { id, qty, reason });
            }
        }
    }
    engine.delete(bid);
    engine.delete(ask);
    engine.tick_into(commands);
}

#[test]
fn a_running_engine_allocates_nothing() {
    let limits = RiskLimits { position_max: Qty::new(150), ..RiskLimits::default() };
    let strategy =
        StrategyConfig { requote_min: Price::from_ticks(100), ..StrategyConfig::default() };
    let mut engine = Engine::quoting(limits, strategy);
    let mut commands = Vec::new();
    (0..2_000).for_each(|number| turn(&mut engine, &mut commands, number));
    let sent = engine.world.resource::<OrderTable>().stats().sent;
    let refused = engine.stats().refused_total();
    let count = allocations(|| {
        (2_000..6_000).for_each(|number| turn(&mut engine, &mut commands, number));
    });
    assert_eq!(count, 0);
    let orders = engine.world.resource::<OrderTable>().stats();
    assert!(orders.sent > sent + 1_000, "more orders are sent than the table has slots");
    assert!(engine.stats().refused_total() > refused, "refusals are part of the run");
}
