//! The whole engine against the recorded feed: it trades on both sides, and the gate refuses.

mod engine_support;

use std::collections::VecDeque;
use std::sync::OnceLock;

use engine_support::Engine;
use engine_support::venue::Venue;
use onbeat_systems::book::OrderBook;
use onbeat_systems::feed::InstrumentIndex;
use onbeat_systems::order::{OrderCommand, OrderStats, OrderTable, VenueReport};
use onbeat_systems::position::{Money, Position};
use onbeat_systems::risk::{KillSwitch, Refusal, RiskLimits, RiskStats, TradingState};
use onbeat_systems::strategy::StrategyConfig;
use onbeat_systems::wire::itch::{Frames, Message};

const FEED: &[u8] = include_bytes!("../../examples/data/aapl-20190130.itch");

/// How much faster than the market the engine's clock runs.
const SPEED: u64 = 10;

/// What is left when the feed ends.
struct Outcome {
    position: Position,
    orders: OrderStats,
    risk: RiskStats,
    state: TradingState,
    ticks: u64,
    /// The largest position, long or short, at any time.
    shares_max: u64,
    /// Cash and the value of the shares at mid, as the venue counted it.
    worth: Money,
}

/// Things on their way between engine and venue, which arrive a fixed time later, in order.
struct Line<T> {
    latency_ns: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Line<T> {
    const fn new(latency_ns: u64) -> Self {
        Self { latency_ns, waiting: VecDeque::new() }
    }

    fn send(&mut self, now_ns: u64, thing: T) {
        self.waiting.push_back((now_ns + self.latency_ns, thing));
    }

    fn due(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |waiting| waiting.0)
    }

    fn receive(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|waiting| waiting.1)
    }
}

struct Replay {
    engine: Engine,
    venue: Venue,
    commands: Line<OrderCommand>,
    reports: Line<VenueReport>,
    ticks: u64,
    shares_max: u64,
    cash: Money,
}

impl Replay {
    /// Lets everything happen that is on its way and due by `until_ns`.
    fn catch_up(&mut self, until_ns: u64) {
        loop {
            let now_ns = self.commands.due().min(self.reports.due());
            if now_ns > until_ns || now_ns == u64::MAX {
                return;
            }
            if self.commands.due() == now_ns {
                let command = self.commands.receive().expect("a command is due");
                self.venue.handle(&command);
                self.send_reports(now_ns);
            } else {
                let report = self.reports.receive().expect("a report is due");
                self.engine.report(report);
                self.tick(now_ns);
            }
        }
    }

    fn tick(&mut self, now_ns: u64) {
        self.ticks += 1;
        self.engine.set_time_ns(now_ns / SPEED);
        for command in self.engine.tick() {
            self.commands.send(now_ns, command);
        }
        self.shares_max = self.shares_max.max(self.engine.position().shares().unsigned_abs());
    }

    fn send_reports(&mut self, now_ns: u64) {
        for report in std::mem::take(&mut self.venue.reports) {
            if let VenueReport::Executed { id, qty, price, .. } = report {
                let sign = self.engine.order_of(id).side().sign();
                let value = Money::of(price, qty).ticks() * i128::from(sign);
                self.cash = self.cash - Money::from_ticks(value);
            }
            self.reports.send(now_ns, report);
        }
    }
}

/// Runs the recorded feed with `latency_ns` of market time each way.
fn run(latency_ns: u64, limits: RiskLimits, strategy: StrategyConfig) -> Outcome {
    let mut replay = Replay {
        engine: Engine::quoting(limits, strategy),
        venue: Venue::default(),
        commands: Line::new(latency_ns),
        reports: Line::new(latency_ns),
        ticks: 0,
        shares_max: 0,
        cash: Money::ZERO,
    };
    for frame in Frames::new(FEED) {
        let message = frame.unwrap().decode().unwrap();
        if let Message::StockDirectory(directory) = &message {
            let entity = replay.engine.instrument;
            let mut index = replay.engine.world.resource_mut::<InstrumentIndex>();
            index.insert(directory.header.locate, entity);
        }
        let now_ns = message.timestamp().ns();
        replay.catch_up(now_ns);
        replay.venue.replay(&message);
        replay.send_reports(now_ns);
        replay.engine.feed(message);
        replay.tick(now_ns);
    }
    replay.catch_up(u64::MAX - 1);
    let world = &replay.engine.world;
    let position = replay.engine.position();
    let bbo = world.get::<OrderBook>(replay.engine.instrument).unwrap().bbo();
    let twice_mid = bbo.bid.unwrap().price.ticks() + bbo.ask.unwrap().price.ticks();
    let value = i128::from(position.shares()) * i128::from(twice_mid) / 2;
    Outcome {
        position,
        orders: *world.resource::<OrderTable>().stats(),
        risk: *world.resource::<RiskStats>(),
        state: world.resource::<KillSwitch>().state(),
        ticks: replay.ticks,
        shares_max: replay.shares_max,
        worth: replay.cash + Money::from_ticks(value),
    }
}

fn run_default(latency_ns: u64) -> Outcome {
    run(latency_ns, RiskLimits::default(), StrategyConfig::default())
}

/// One run that several tests look at.
fn usual_run() -> &'static Outcome {
    static RUN: OnceLock<Outcome> = OnceLock::new();
    RUN.get_or_init(|| run_default(1_000_000))
}

#[track_caller]
fn check_trades(latency_ns: u64) {
    let outcome = run_default(latency_ns);
    let (buys, sells) = outcome.position.fills();
    assert!(buys >= 30 && sells >= 30, "{buys} buys and {sells} sells at {latency_ns} ns");
    assert!(outcome.risk.refused_total() >= 1, "the gate refuses something");
    assert_eq!(outcome.state, TradingState::Active);
}

#[test]
fn engine_trades_both_sides() {
    check_trades(200_000);
}

#[test]
fn engine_trades_both_sides_without_latency() {
    check_trades(0);
}

#[test]
fn engine_trades_both_sides_with_a_slow_line() {
    check_trades(10_000_000);
}

#[test]
fn the_position_never_passes_the_limit() {
    let outcome = usual_run();
    assert!(outcome.shares_max <= RiskLimits::default().position_max.shares());
    assert!(outcome.shares_max >= 200, "the run comes near enough to the limit to mean something");
}

#[test]
fn profit_and_loss_is_what_the_venue_counts() {
    let outcome = usual_run();
    assert_eq!(outcome.position.pnl(), outcome.worth);
}

#[test]
fn every_order_that_is_sent_was_approved_and_ends_or_is_open() {
    let outcome = usual_run();
    let OrderStats { sent, accepted, filled, cancelled, rejected, .. } = outcome.orders;
    assert_eq!(outcome.risk.approved(), sent);
    assert_eq!(accepted, sent);
    let open = sent - filled - cancelled - rejected;
    assert!(open <= 2, "at most one quote a side is left, not {open}");
}

#[test]
fn the_venue_and_the_table_never_disagree() {
    let outcome = usual_run();
    let OrderStats { overfills, unknown_ids, fills_after_done, repeats, .. } = outcome.orders;
    assert_eq!([overfills, unknown_ids, fills_after_done, repeats], [0; 4]);
    assert!(outcome.orders.fills_after_cancel_request > 0, "the race is part of the run");
}

#[test]
fn the_same_feed_gives_the_same_run() {
    let (one, other) = (usual_run(), run_default(1_000_000));
    assert_eq!(one.position, other.position);
    assert_eq!((one.orders, one.risk, one.ticks), (other.orders, other.risk, other.ticks));
}

#[test]
fn a_tight_order_rate_refuses_and_slows_the_engine_down() {
    let limits =
        RiskLimits { orders_per_second_max: 20, order_burst_max: 5, ..RiskLimits::default() };
    let outcome = run(200_000, limits, StrategyConfig::default());
    assert!(outcome.risk.refused(Refusal::OrderRate) > 0);
    assert!(outcome.orders.sent <= 5 + 20 * 3, "the run lasts less than three seconds");
}
