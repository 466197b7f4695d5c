//! An engine without sockets: a world with one instrument, run by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]

use bevy_ecs::entity::Entity;
use bevy_ecs::message::{Message, MessageCursor, Messages, message_update_system};
use bevy_ecs::schedule::{Schedule, SingleThreadedExecutor};
use bevy_ecs::world::World;
use onbeat_systems::book::OrderBook;
use onbeat_systems::feed::{FeedEvent, FeedInbox, InstrumentIndex};
use onbeat_systems::instrument::{Instrument, Locate, Symbol};
use onbeat_systems::order::{
    Fill, NewOrder, Order, OrderCommand, OrderId, OrderIntent, OrderTable, Outbox, TimeInForce,
    VenueInbox, VenueReport,
};
use onbeat_systems::position::Position;
use onbeat_systems::price::{MarketTime, Price, Qty, Side};
use onbeat_systems::risk::{Refusal, Refused, RiskLimits, RiskStats};
use onbeat_systems::sets::{add_trading_systems, init_trading_world};
use onbeat_systems::strategy::{MarketMaker, StrategyConfig};
use onbeat_systems::telemetry::EngineTime;
use onbeat_systems::wire::itch::{self, AddOrder, Header, OrderDelete};
use onbeat_systems::wire::ouch::Liquidity;
use onbeat_systems::wire::{MatchNumber, OrderRef};

pub(crate) mod venue;

pub(crate) const LOCATE: Locate = Locate::new(1);

/// 163.xx dollars.
pub(crate) const fn cents(cents: i64) -> Price {
    Price::from_ticks(1_630_000 + cents * 100)
}

pub(crate) struct Engine {
    pub(crate) world: World,
    pub(crate) instrument: Entity,
    schedule: Schedule,
    end_of_tick: Schedule,
    next_reference: u64,
    next_match: u64,
}

impl Engine {
    /// An engine without a strategy: the test writes the intents.
    pub(crate) fn by_hand(limits: RiskLimits) -> Self {
        let mut world = World::new();
        init_trading_world(&mut world, limits, StrategyConfig::default());
        let symbol: Symbol = "AAPL".parse().unwrap();
        let instrument = Instrument::equity(symbol, LOCATE);
        let instrument = world.spawn((instrument, OrderBook::default(), Position::default())).id();
        world.resource_mut::<InstrumentIndex>().insert(LOCATE, instrument);
        let mut schedule = Schedule::default();
        schedule.set_executor(SingleThreadedExecutor::new());
        add_trading_systems(&mut schedule);
        let mut end_of_tick = Schedule::default();
        end_of_tick.set_executor(SingleThreadedExecutor::new());
        end_of_tick.add_systems(message_update_system);
        Self { world, instrument, schedule, end_of_tick, next_reference: 1 << 60, next_match: 1 }
    }

    /// An engine whose strategy quotes.
    pub(crate) fn quoting(limits: RiskLimits, strategy: StrategyConfig) -> Self {
        let mut engine = Self::by_hand(limits);
        engine.world.insert_resource(strategy);
        engine.world.entity_mut(engine.instrument).insert(MarketMaker::default());
        engine
    }

    /// Runs the systems once and takes the commands that come out.
    pub(crate) fn tick(&mut self) -> Vec<OrderCommand> {
        let mut commands = Vec::new();
        self.tick_into(&mut commands);
        commands
    }

    /// Runs the systems once and adds the commands that come out to `commands`.
    pub(crate) fn tick_into(&mut self, commands: &mut Vec<OrderCommand>) {
        self.schedule.run(&mut self.world);
        commands.extend(self.world.resource_mut::<Outbox>().drain());
        self.end_of_tick.run(&mut self.world);
        self.world.clear_trackers();
    }

    pub(crate) fn set_time_ns(&mut self, ns: u64) {
        self.world.resource_mut::<EngineTime>().ns = ns;
    }

    /// Feeds a message; the next tick books it.
    pub(crate) fn feed(&mut self, message: itch::Message) {
        let event = FeedEvent { index: 0, message, stamp_ns: 0 };
        self.world.resource_mut::<FeedInbox>().push(event);
    }

    /// Feeds a new order of somebody else and returns its number.
    pub(crate) fn add(&mut self, side: Side, price: Price, shares: u64) -> OrderRef {
        let reference = OrderRef(self.next_reference);
        self.next_reference += 1;
        let (qty, attribution) = (Qty::new(shares), None);
        let symbol = Symbol::default();
        let header = header();
        self.feed(itch::Message::AddOrder(AddOrder {
            header,
            reference,
            side,
            qty,
            symbol,
            price,
            attribution,
        }));
        reference
    }

    /// Feeds the deletion of an order of somebody else.
    pub(crate) fn delete(&mut self, reference: OrderRef) {
        self.feed(itch::Message::OrderDelete(OrderDelete { header: header(), reference }));
    }

    /// Feeds one bid and one ask of 1,000 shares each.
    pub(crate) fn market(&mut self, bid: Price, ask: Price) {
        self.add(Side::Buy, bid, 1_000);
        self.add(Side::Sell, ask, 1_000);
    }

    pub(crate) fn order(&self, side: Side, price: Price, shares: u64) -> NewOrder {
        let instrument = self.instrument;
        NewOrder { instrument, side, price, qty: Qty::new(shares), tif: TimeInForce::Day }
    }

    pub(crate) fn ask_for(&mut self, order: NewOrder) {
        self.world.write_message(OrderIntent::New(order));
    }

    pub(crate) fn report(&mut self, report: VenueReport) {
        self.world.resource_mut::<VenueInbox>().push(report);
    }

    /// Reports that an order was accepted as it was sent.
    pub(crate) fn accept(&mut self, id: OrderId) {
        let order = *self.order_of(id);
        self.report(VenueReport::Accepted { id, qty: order.qty(), price: order.price() });
    }

    /// Reports that shares of an order traded at its price.
    pub(crate) fn execute(&mut self, id: OrderId, shares: u64) {
        let price = self.world.resource::<OrderTable>().get(id).map_or(cents(0), Order::price);
        let match_number = MatchNumber(self.next_match);
        self.next_match += 1;
        let (qty, liquidity) = (Qty::new(shares), Liquidity::Added);
        self.report(VenueReport::Executed { id, qty, price, liquidity, match_number });
    }

    /// Sends an order through the gate and fills it, so that the position moves by it.
    pub(crate) fn trade(&mut self, side: Side, price: Price, shares: u64) {
        let order = self.order(side, price, shares);
        self.ask_for(order);
        let commands = self.tick();
        let id = entered(&commands).expect("the order passes the gate");
        self.execute(id, shares);
        self.tick();
    }

    pub(crate) fn order_of(&self, id: OrderId) -> &Order {
        self.world.resource::<OrderTable>().get(id).expect("the table holds the order")
    }

    pub(crate) fn position(&self) -> Position {
        *self.world.get::<Position>(self.instrument).expect("the instrument has a position")
    }

    pub(crate) fn stats(&self) -> &RiskStats {
        self.world.resource::<RiskStats>()
    }

    /// The messages of one type that the last two ticks wrote.
    pub(crate) fn messages<M: Message + Copy>(&self) -> Vec<M> {
        MessageCursor::default().read(self.world.resource::<Messages<M>>()).copied().collect()
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.messages::<Refused>().into_iter().map(|refused| refused.reason).collect()
    }

    pub(crate) fn fills(&self) -> Vec<Fill> {
        self.messages()
    }
}

/// The id of the first order among the commands.
pub(crate) fn entered(commands: &[OrderCommand]) -> Option<OrderId> {
    commands.iter().find_map(|command| match command {
        OrderCommand::Enter(approved) => Some(approved.order().id),
        OrderCommand::Cancel(_) => None,
    })
}

/// The ids of the cancels among the commands.
pub(crate) fn cancels(commands: &[OrderCommand]) -> Vec<OrderId> {
    let ids = commands.iter().filter_map(|command| match command {
        OrderCommand::Enter(_) => None,
        OrderCommand::Cancel(id) => Some(*id),
    });
    ids.collect()
}

const fn header() -> Header {
    Header { locate: LOCATE, tracking: 0, timestamp: MarketTime::from_ns(0) }
}
