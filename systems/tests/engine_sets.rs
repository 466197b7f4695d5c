//! The order of the systems, and how a world is made ready for them.

mod engine_support;

use bevy_ecs::message::Messages;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::{IntoScheduleConfigs, Schedule};
use bevy_ecs::system::ResMut;
use bevy_ecs::world::World;
use engine_support::{Engine, cents, entered};
use onbeat_systems::order::{Fill, OrderId, OrderTable};
use onbeat_systems::price::Side;
use onbeat_systems::risk::RiskLimits;
use onbeat_systems::sets::{EngineSet, add_trading_systems, init_trading_world};
use onbeat_systems::strategy::StrategyConfig;
use onbeat_systems::telemetry::Telemetry;

#[derive(Resource, Default)]
struct Seen(Vec<EngineSet>);

#[test]
fn sets_run_in_the_order_of_their_list() {
    let mut world = World::new();
    init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
    world.init_resource::<Seen>();
    let mut schedule = Schedule::default();
    for set in EngineSet::ALL.into_iter().rev() {
        let see = move |mut seen: ResMut<Seen>| seen.0.push(set);
        schedule.add_systems(see.in_set(set));
    }
    add_trading_systems(&mut schedule);
    schedule.run(&mut world);
    assert_eq!(world.resource::<Seen>().0, EngineSet::ALL);
}

#[test]
fn a_second_initialisation_keeps_tables_and_message_buffers() {
    let mut world = World::new();
    world.insert_resource(OrderTable::with_capacity(4, OrderId::from_raw(40)));
    for _ in 0..2 {
        init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
    }
    let mut engine = Engine::by_hand(RiskLimits::default());
    init_trading_world(&mut engine.world, RiskLimits::default(), StrategyConfig::default());
    engine.market(cents(0), cents(10));
    engine.ask_for(engine.order(Side::Buy, cents(0), 100));
    let id = entered(&engine.tick()).unwrap();
    engine.execute(id, 100);
    engine.tick();
    assert_eq!(engine.fills().len(), 1, "the buffers are updated once a tick");
    assert_eq!(engine.position().fills(), (1, 0));
    assert!(world.contains_resource::<Messages<Fill>>());
}

#[test]
fn a_fill_reaches_the_position_in_the_tick_of_its_report() {
    let mut engine = Engine::by_hand(RiskLimits::default());
    engine.market(cents(0), cents(10));
    engine.ask_for(engine.order(Side::Buy, cents(0), 100));
    let id = entered(&engine.tick()).unwrap();
    engine.execute(id, 60);
    engine.tick();
    assert_eq!(engine.position().shares(), 60);
    assert_eq!(engine.position().open_pnl().ticks(), 60 * 500, "marked at the mid, 5 cents higher");
}

#[test]
fn durations_of_any_length_are_recorded() {
    let mut telemetry = Telemetry::default();
    telemetry.record_tick_duration(0);
    telemetry.record_tick_duration(u64::MAX);
    assert_eq!(telemetry.tick_duration_ns().len(), 2);
    assert!(telemetry.tick_duration_ns().max() >= 60_000_000_000);
}

#[test]
fn the_table_prints_microseconds() {
    let mut telemetry = Telemetry::default();
    telemetry.record_decode_to_book(1_500);
    let text = telemetry.to_string();
    let row = text.lines().find(|line| line.starts_with("decode to book")).unwrap();
    let cells: Vec<_> = row.split_whitespace().skip(3).collect();
    assert_eq!(cells, ["1", "1.500", "1.500", "1.500", "1.500"]);
}
