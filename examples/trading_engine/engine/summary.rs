//! What a run of the engine leaves behind.

use std::time::Duration;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use onbeat_systems::book::{Bbo, OrderBook};
use onbeat_systems::feed::{BboLog, FeedStats, MarketClock};
use onbeat_systems::order::{OrderStats, OrderTable};
use onbeat_systems::position::Position;
use onbeat_systems::price::MarketTime;
use onbeat_systems::risk::{KillSwitch, RiskStats};
use onbeat_systems::telemetry::Telemetry;

use super::Ended;
use super::clock::FeedReads;
use super::progress::Beat;

/// The state of the World when the engine ended.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) ended: Ended,
    /// How long the engine ran.
    pub(crate) ran: Duration,
    /// From the first read of the feed to the booking of its last message.
    pub(crate) feed_elapsed: Duration,
    pub(crate) ticks: u64,
    /// The ticks at each beat of the progress.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests look at them"))]
    pub(crate) beats: Vec<Beat>,
    pub(crate) market_time: MarketTime,
    pub(crate) bbo: Bbo,
    pub(crate) book_orders: usize,
    pub(crate) feed: FeedStats,
    pub(crate) bbo_log: BboLog,
    pub(crate) orders: OrderStats,
    pub(crate) open_orders: usize,
    pub(crate) risk: RiskStats,
    pub(crate) kill_switch: KillSwitch,
    pub(crate) position: Position,
    pub(crate) telemetry: Telemetry,
}

impl Summary {
    pub(super) fn gather(
        world: &mut World,
        instrument: Entity,
        ended: Ended,
        ticks: u64,
        ran: Duration,
        beats: Vec<Beat>,
    ) -> Self {
        let bbo_log = world.remove_resource::<BboLog>().unwrap_or_default();
        let book = world.get::<OrderBook>(instrument);
        let table = world.resource::<OrderTable>();
        Self {
            ended,
            ran,
            feed_elapsed: world.resource::<FeedReads>().elapsed(),
            ticks,
            beats,
            market_time: world.resource::<MarketClock>().now,
            bbo: book.map(OrderBook::bbo).unwrap_or_default(),
            book_orders: book.map_or(0, OrderBook::order_count),
            feed: world.resource::<FeedStats>().clone(),
            bbo_log,
            orders: *table.stats(),
            open_orders: table.open_count(),
            risk: *world.resource::<RiskStats>(),
            kill_switch: *world.resource::<KillSwitch>(),
            position: world.get::<Position>(instrument).copied().unwrap_or_default(),
            telemetry: world.resource::<Telemetry>().clone(),
        }
    }
}
