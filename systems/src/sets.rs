//! The order in which the systems run, and the resources and messages that they need.

use bevy_ecs::message::{Message, MessageRegistry, Messages};
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::{IntoScheduleConfigs, Schedule, SystemSet};
use bevy_ecs::world::World;

use crate::feed::{self, FeedInbox, apply_feed};
use crate::order::{Fill, OrderIntent, OrderTable, Outbox, VenueInbox, apply_venue_reports};
use crate::position::{mark_positions, update_positions};
use crate::risk::{KillSwitch, Refused, RiskLimits, RiskStats, risk_gate};
use crate::strategy::{StrategyConfig, quote};
use crate::telemetry::{EngineTime, Telemetry};

/// The parts of one run, in the order in which they run.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat_systems::order::Outbox;
/// use onbeat_systems::sets::{EngineSet, add_trading_systems};
///
/// let mut schedule = Schedule::default();
/// add_trading_systems(&mut schedule);
/// // Whoever writes to the venue takes its place.
/// schedule.add_systems((|mut outbox: ResMut<Outbox>| outbox.drain().for_each(drop)).in_set(EngineSet::Execution));
/// assert_eq!(EngineSet::ALL[5], EngineSet::Execution);
/// ```
#[derive(SystemSet, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EngineSet {
    /// The venue's reports change our orders.
    Venue,
    /// Feed events change the books.
    Book,
    /// Fills change positions, and books mark them.
    Position,
    /// Strategies ask for orders.
    Strategy,
    /// The gate lets orders pass or refuses them.
    Risk,
    /// Commands leave the outbox; the crate has no system here, since it has no sockets.
    Execution,
    /// Measurements; the crate has no system here, since it has no clocks.
    Telemetry,
}

impl EngineSet {
    /// All sets, in the order in which they run.
    pub const ALL: [Self; 7] = [
        Self::Venue,
        Self::Book,
        Self::Position,
        Self::Strategy,
        Self::Risk,
        Self::Execution,
        Self::Telemetry,
    ];
}

/// Adds the crate's systems to `schedule`, in their sets, and chains the sets.
///
/// The world needs [`init_trading_world`] first, and a [`FeedInbox`] that whoever reads the feed
/// fills. Whoever drives the schedule sets [`EngineTime`] before each run, drains the [`Outbox`] in
/// [`EngineSet::Execution`] or after the run, and after each run updates the message buffers, as
/// `bevy_ecs::message::message_update_system` does, and clears the world's trackers, which grow
/// otherwise.
///
/// The module [`order`](crate::order) has an example.
pub fn add_trading_systems(schedule: &mut Schedule) {
    let [venue, book, position, strategy, risk, execution, telemetry] = EngineSet::ALL;
    schedule.configure_sets((venue, book, position, strategy, risk, execution, telemetry).chain());
    schedule.add_systems((
        apply_venue_reports.in_set(venue),
        apply_feed.in_set(book),
        (update_positions, mark_positions).chain().in_set(position),
        quote.in_set(strategy),
        risk_gate.in_set(risk),
    ));
}

/// Puts into `world` what the systems need: `limits` and `strategy`, and, where absent, empty
/// tables, boxes, counters and message buffers. [`feed::install`] need not be called before, and must
/// not be called after.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat_systems::risk::RiskLimits;
/// use onbeat_systems::sets::init_trading_world;
/// use onbeat_systems::strategy::StrategyConfig;
///
/// let mut world = World::new();
/// init_trading_world(&mut world, RiskLimits::default(), StrategyConfig::default());
/// assert!(world.contains_resource::<RiskLimits>());
/// ```
pub fn init_trading_world(world: &mut World, limits: RiskLimits, strategy: StrategyConfig) {
    if !world.contains_resource::<FeedInbox>() {
        feed::install(world);
    }
    world.insert_resource(limits);
    world.insert_resource(strategy);
    init::<EngineTime>(world);
    init::<VenueInbox>(world);
    init::<OrderTable>(world);
    init::<Outbox>(world);
    init::<KillSwitch>(world);
    init::<RiskStats>(world);
    init::<Telemetry>(world);
    register::<OrderIntent>(world);
    register::<Refused>(world);
    register::<Fill>(world);
}

fn init<R: Resource + Default>(world: &mut World) {
    if !world.contains_resource::<R>() {
        world.insert_resource(R::default());
    }
}

/// Registers a message unless it is: a second registration would update its buffers twice a tick.
fn register<M: Message>(world: &mut World) {
    if !world.contains_resource::<Messages<M>>() {
        MessageRegistry::register_message::<M>(world);
    }
}
