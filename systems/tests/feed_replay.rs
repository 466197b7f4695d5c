//! The feed system over the bundled file, against the book of its source, and over bad content.

use bevy_ecs::entity::Entity;
use bevy_ecs::message::Messages;
use bevy_ecs::schedule::{Schedule, SingleThreadedExecutor};
use bevy_ecs::world::World;
use onbeat_systems::book::{BookError, OrderBook};
use onbeat_systems::feed::{
    BboChanged, BboLog, BookEvent, ContentError, ErrorCounts, FeedError, FeedEvent, FeedInbox,
    FeedStats, InstrumentIndex, MarketClock, apply_feed, install,
};
use onbeat_systems::instrument::Locate;
use onbeat_systems::price::{MarketTime, Price, Qty, Side};
use onbeat_systems::wire::itch::{
    AddOrder, BadSide, Frames, Header, MatchNumber, Message, OrderDelete, OrderExecuted, OrderRef,
    Trade,
};

const FEED: &[u8] = include_bytes!("../../examples/data/aapl-20190130.itch");
const REFERENCE: &str = include_str!("../../examples/data/aapl-20190130-bbo.csv");
const AAPL: Locate = Locate::new(14);

struct Rig {
    world: World,
    schedule: Schedule,
    instrument: Entity,
}

impl Rig {
    fn new() -> Self {
        let mut world = World::new();
        install(&mut world);
        let instrument = world.spawn(OrderBook::default()).id();
        world.resource_mut::<InstrumentIndex>().insert(AAPL, instrument);
        world.insert_resource(BboLog::enabled(AAPL));
        let mut schedule = Schedule::default();
        schedule.set_executor(SingleThreadedExecutor::new());
        schedule.add_systems(apply_feed);
        Self { world, schedule, instrument }
    }

    fn push(&mut self, index: u64, message: Message) {
        let event = FeedEvent { index, message, stamp_ns: 1_000 + index };
        self.world.resource_mut::<FeedInbox>().push(event);
    }

    /// Pushes the messages with indices from 0 and runs the system once.
    fn feed(messages: impl IntoIterator<Item = Message>) -> Self {
        let mut rig = Self::new();
        for (index, message) in messages.into_iter().enumerate() {
            rig.push(index as u64, message);
        }
        rig.schedule.run(&mut rig.world);
        rig
    }

    fn stats(&self) -> &FeedStats {
        self.world.resource::<FeedStats>()
    }

    fn written<M: bevy_ecs::message::Message + Copy>(&mut self) -> Vec<M> {
        self.world.resource_mut::<Messages<M>>().drain().collect()
    }

    fn csv(&self) -> String {
        let mut out = Vec::new();
        self.world.resource::<BboLog>().write_csv(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

fn header(ns: u64) -> Header {
    Header { locate: AAPL, tracking: 0, timestamp: MarketTime::from_ns(ns) }
}

fn add(reference: u64, side: Side, ticks: i64, shares: u64) -> Message {
    Message::AddOrder(AddOrder {
        header: header(reference),
        reference: OrderRef(reference),
        side,
        qty: Qty::new(shares),
        symbol: "AAPL".parse().unwrap(),
        price: Price::from_ticks(ticks),
        attribution: None,
    })
}

fn execute(reference: u64, shares: u64) -> Message {
    Message::OrderExecuted(OrderExecuted {
        header: header(50),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
        match_number: MatchNumber(1),
    })
}

fn delete(reference: u64) -> Message {
    Message::OrderDelete(OrderDelete { header: header(60), reference: OrderRef(reference) })
}

fn trade() -> Message {
    Message::Trade(Trade {
        header: header(70),
        reference: OrderRef(0),
        side: Side::Buy,
        qty: Qty::new(5),
        symbol: "AAPL".parse().unwrap(),
        price: Price::from_ticks(1),
        match_number: MatchNumber(2),
    })
}

#[test]
fn the_bundled_file_gives_the_best_prices_of_its_source() {
    let mut rig = Rig::new();
    for frame in Frames::new(FEED) {
        let frame = frame.unwrap();
        rig.push(frame.index, frame.decode().unwrap());
        if frame.index % 7 == 0 {
            rig.schedule.run(&mut rig.world);
        }
    }
    rig.schedule.run(&mut rig.world);
    let csv = rig.csv();
    let index = |line: &str| line.split(',').next().unwrap().parse::<u64>().unwrap_or(u64::MAX);
    assert_eq!(csv.lines().count() - 1, 10_055);
    assert_eq!(REFERENCE.lines().count() - 1, 10_000);
    let rows = csv.lines().filter(|line| index(line) >= 60);
    for (ours, theirs) in rows.zip(REFERENCE.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(csv.lines().filter(|line| index(line) >= 60).count(), 10_001);
    let stats = rig.stats();
    assert_eq!((stats.messages, stats.applied), (10_060, 10_055));
    assert_eq!(stats.errors, ErrorCounts::default());
}

#[test]
fn an_execution_is_a_book_event_with_its_price_and_stamp() {
    let mut rig = Rig::feed([add(1, Side::Buy, 100, 30), execute(1, 10)]);
    let events = rig.written::<BookEvent>();
    let executions: Vec<_> = events.iter().filter_map(|e| e.execution()).collect();
    assert_eq!(executions, [(Price::from_ticks(100), Qty::new(10))]);
    let last = events.last().unwrap();
    assert_eq!((last.instrument, last.index, last.stamp_ns), (rig.instrument, 1, 1_001));
    assert_eq!(last.timestamp, MarketTime::from_ns(50));
}

#[test]
fn a_change_behind_the_best_price_is_no_change_of_the_best() {
    let mut rig = Rig::feed([add(1, Side::Buy, 100, 30), add(2, Side::Buy, 99, 30), delete(2)]);
    assert_eq!(rig.written::<BookEvent>().len(), 3);
    let changed = rig.written::<BboChanged>();
    assert_eq!(changed.len(), 1);
    assert_eq!((changed[0].index, changed[0].before.bid), (0, None));
    assert_eq!(changed[0].bbo.bid.unwrap().qty, Qty::new(30));
}

#[test]
fn a_hidden_trade_writes_a_row_and_changes_nothing() {
    let mut rig = Rig::feed([add(1, Side::Sell, 100, 30), trade()]);
    assert_eq!(rig.written::<BookEvent>().len(), 1);
    assert_eq!(
        rig.csv(),
        "message_index,timestamp_ns,bid_price,bid_size,ask_price,ask_size\n\
         0,1,0,0,100,30\n\
         1,70,0,0,100,30\n"
    );
}

#[test]
fn content_errors_are_counted_and_the_row_is_still_written() {
    let rig = Rig::feed([
        add(1, Side::Buy, 100, 30),
        add(1, Side::Buy, 101, 30),
        delete(9),
        execute(1, 31),
        add(2, Side::Buy, 100, 0),
    ]);
    let stats = rig.stats();
    let expected = ErrorCounts {
        unknown_order: 1,
        duplicate_reference: 1,
        over_execution: 1,
        over_cancel: 0,
        no_shares: 1,
        bad_side: 0,
        time_beyond_day: 0,
    };
    assert_eq!((stats.errors, stats.errors.total()), (expected, 4));
    assert_eq!(rig.world.resource::<BboLog>().rows().len(), 5);
    assert_eq!(rig.world.get::<OrderBook>(rig.instrument).unwrap().order_count(), 0);
}

#[test]
fn the_first_five_content_errors_are_kept_with_their_index() {
    let rig = Rig::feed((0..7).map(|n| delete(100 + n)));
    let first: Vec<_> = rig.stats().first_errors().collect();
    let expected: Vec<_> = (0..5)
        .map(|index| ContentError {
            index,
            error: FeedError::Book(BookError::UnknownOrder { reference: OrderRef(100 + index) }),
        })
        .collect();
    assert_eq!(first, expected);
    assert_eq!(rig.stats().errors.total(), 7);
}

#[test]
fn an_order_without_a_side_is_a_content_error_and_has_its_row() {
    let bad = BadSide { header: header(40), kind: b'A', reference: OrderRef(2), byte: b'?' };
    let rig = Rig::feed([add(1, Side::Buy, 100, 30), Message::BadSide(bad)]);
    let stats = rig.stats();
    assert_eq!((stats.messages, stats.applied, stats.errors.bad_side), (2, 1, 1));
    let error = FeedError::Book(BookError::BadSide { reference: OrderRef(2), byte: b'?' });
    assert_eq!(stats.first_errors().collect::<Vec<_>>(), [ContentError { index: 1, error }]);
    assert_eq!(rig.world.resource::<BboLog>().rows().len(), 2);
}

#[test]
fn messages_of_other_instruments_are_skipped() {
    let Message::AddOrder(mut order) = add(1, Side::Buy, 100, 30) else {
        panic!("`add` makes an add message")
    };
    order.header.locate = Locate::new(15);
    let mut rig = Rig::feed([Message::AddOrder(order)]);
    assert_eq!((rig.stats().messages, rig.stats().applied), (1, 0));
    assert!(rig.written::<BookEvent>().is_empty());
    assert!(rig.world.resource::<BboLog>().rows().is_empty());
}

#[test]
fn the_market_clock_never_goes_back() {
    let rig = Rig::feed([trade(), delete(1)]);
    assert_eq!(rig.world.resource::<MarketClock>().now, MarketTime::from_ns(70));
}

#[test]
fn a_time_beyond_the_day_is_a_content_error_that_is_booked_and_moves_no_clock() {
    const DAY_NS: u64 = 86_400_000_000_000;
    let rig =
        Rig::feed([trade(), add(DAY_NS, Side::Buy, 100, 30), add(DAY_NS - 1, Side::Buy, 100, 30)]);
    assert_eq!((rig.stats().applied, rig.stats().errors.time_beyond_day), (2, 1));
    let error = FeedError::TimeBeyondDay { timestamp: MarketTime::from_ns(DAY_NS) };
    assert_eq!(rig.stats().first_errors().collect::<Vec<_>>(), [ContentError { index: 1, error }]);
    assert_eq!(rig.world.resource::<MarketClock>().now, MarketTime::from_ns(DAY_NS - 1));
    assert_eq!(rig.world.resource::<BboLog>().rows().len(), 3);
}

#[test]
fn a_message_with_two_faults_counts_once() {
    let rig = Rig::feed([Message::OrderDelete(OrderDelete {
        header: header(u64::MAX >> 16),
        reference: OrderRef(9),
    })]);
    assert_eq!((rig.stats().errors.total(), rig.stats().errors.unknown_order), (1, 1));
}

#[test]
fn a_disabled_log_takes_no_row() {
    let mut rig = Rig::new();
    rig.world.insert_resource(BboLog::disabled());
    rig.push(0, add(1, Side::Buy, 100, 30));
    rig.schedule.run(&mut rig.world);
    assert!(rig.world.resource::<BboLog>().rows().is_empty());
}

#[test]
fn the_inbox_is_empty_after_a_run() {
    let rig = Rig::feed([add(1, Side::Buy, 100, 30)]);
    assert!(rig.world.resource::<FeedInbox>().is_empty());
}
