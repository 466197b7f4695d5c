//! The engine: one onbeat runtime, two connections, and the systems between them.
//!
//! ```text
//!   feed socket ─▶ feed task ─▶ FeedInbox ─┐                          ┌─▶ Outbox ─▶ channel ─▶ order task ─▶ order socket
//!                                          ├─▶ systems, once a tick ──┤
//! order socket ─▶ report task ▶ VenueInbox ┘                          └─▶ positions, telemetry
//! ```
//!
//! - [`link`]: a SoupBinTCP session from the client's side;
//! - [`feed_task`]: the feed into the World;
//! - [`order_task`]: orders out, reports in;
//! - [`systems`]: the systems that read the clock or touch a channel;
//! - [`clock`]: the engine's time;
//! - [`progress`]: the line every 250 ms;
//! - [`summary`]: what a run leaves behind.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use futures::{FutureExt, select_biased};
use onbeat::channel::local::{self, Receiver};
use onbeat::{
    Interval, JoinError, Runtime, ShutdownSignal, Tick, WorldCtx, interval, spawn_boxed, timeout,
};
use onbeat_systems::book::OrderBook;
use onbeat_systems::feed::{BboLog, InstrumentIndex};
use onbeat_systems::instrument::{Instrument, Locate, Symbol};
use onbeat_systems::position::Position;
use onbeat_systems::price::{Price, Qty};
use onbeat_systems::risk::{KillSwitch, RiskLimits, TradingState, TripReason};
use onbeat_systems::sets::init_trading_world;
use onbeat_systems::strategy::{MarketMaker, StrategyConfig};
use onbeat_systems::wire::itch::ItchError;

use clock::{EngineClock, FeedReads};
use feed_task::{FeedEnd, read_feed};
use link::{Link, LinkError, log_in};
use order_task::{read_reports, write_orders};
use progress::{PROGRESS_PERIOD, Progress};
use systems::{Commands, FlatNotice, add_systems};

mod clock;
mod feed_task;
mod link;
mod order_task;
mod progress;
mod summary;
mod systems;

pub(crate) use summary::Summary;

/// Commands between the systems and the order task.
const COMMANDS_MAX: usize = 1_024;
/// How long the rest of the feed may take after the order connection is lost.
const LOST_GRACE: Duration = Duration::from_secs(2);
/// How long the exchange has to confirm that no order of ours is open.
const FLAT_GRACE: Duration = Duration::from_secs(2);
/// How long the order connection has to close.
const LOGOUT_GRACE: Duration = Duration::from_secs(1);

/// What the engine does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineConfig {
    /// Where the feed is.
    pub(crate) feed: SocketAddr,
    /// Where orders go.
    pub(crate) orders: SocketAddr,
    /// What it trades.
    pub(crate) symbol: Symbol,
    /// The feed's code of that.
    pub(crate) locate: Locate,
    /// Whether it spins instead of sleeping.
    pub(crate) spin: bool,
    /// Whether it keeps the best bid and ask after each order message.
    pub(crate) log_bbo: bool,
    /// Whether SIGINT and SIGTERM end it in order, instead of at once.
    pub(crate) handle_signals: bool,
}

/// How a run of the engine ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With the feed.
    WithFeed,
    /// Because somebody asked for it.
    OnRequest,
    /// The signals cannot be handled.
    NoSignals(std::io::Error),
    /// A session never began.
    NotConnected(&'static str, LinkError),
    /// A session broke.
    Lost(&'static str, LinkError),
    /// The feed brought something that is no message.
    Damaged { index: u64, error: ItchError },
    /// A task of the engine failed.
    Failed(JoinError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithFeed => f.write_str("the feed ended"),
            Self::OnRequest => f.write_str("stopped on request"),
            Self::NoSignals(error) => write!(f, "the signals cannot be handled: {error}"),
            Self::NotConnected(what, error) => write!(f, "no {what} session: {error}"),
            Self::Lost(what, error) => write!(f, "the {what} session is lost: {error}"),
            Self::Damaged { index, error } => write!(f, "message {index} of the feed: {error}"),
            Self::Failed(error) => write!(f, "a task of the engine failed: {error}"),
        }
    }
}

/// Small quotes a cent off the fair price: near enough to trade on both sides of a fast market, and
/// quick to lean against a position.
fn strategy() -> StrategyConfig {
    StrategyConfig {
        quote_qty: Qty::new(50),
        half_spread: Price::from_ticks(100),
        skew_per_100_shares: Price::from_ticks(200),
        requote_min: Price::from_ticks(200),
        inventory_max: Qty::new(300),
        inventory_take: Qty::new(300),
    }
}

/// A position limit below what the strategy would hold, so that the gate has work: a fourth quote on
/// one side of a market that runs is refused.
fn limits() -> RiskLimits {
    RiskLimits { position_max: Qty::new(175), ..RiskLimits::default() }
}

/// Trades until the feed ends, and says how it went. Progress goes to `out`.
pub(crate) fn trade(config: &EngineConfig, out: &mut dyn Write) -> Summary {
    let mut world = World::new();
    let began = Instant::now();
    let clock = EngineClock::starting_at(began);
    let instrument = set_up(&mut world, config, clock);
    let mut rt = Runtime::new(&mut world);
    add_systems(rt.schedule(Tick));
    let mut progress = Progress::new(began, instrument);
    let ended = if config.handle_signals
        && let Err(error) = rt.install_signal_handlers()
    {
        Ended::NoSignals(error)
    } else if config.spin {
        rt.block_on_busy(conduct(config, clock, instrument, &mut progress, out))
    } else {
        rt.block_on(conduct(config, clock, instrument, &mut progress, out))
    };
    let ticks = rt.stats().ticks;
    drop(rt);
    let beats = progress.into_beats();
    Summary::gather(&mut world, instrument, ended, ticks, began.elapsed(), beats)
}

/// Fills the World: the domain's resources, the example's, and the one instrument.
fn set_up(world: &mut World, config: &EngineConfig, clock: EngineClock) -> Entity {
    init_trading_world(world, limits(), strategy());
    world.insert_resource(clock);
    world.init_resource::<FeedReads>();
    if config.log_bbo {
        world.insert_resource(BboLog::enabled(config.locate));
    }
    let instrument = world
        .spawn((
            Instrument::equity(config.symbol, config.locate),
            OrderBook::default(),
            Position::default(),
            MarketMaker::default(),
        ))
        .id();
    world.resource_mut::<InstrumentIndex>().insert(config.locate, instrument);
    instrument
}

/// The root of the engine: connects, starts the tasks, and waits for the first of them to end.
async fn conduct(
    config: &EngineConfig,
    clock: EngineClock,
    instrument: Entity,
    progress: &mut Progress,
    out: &mut dyn Write,
) -> Ended {
    let feed = match log_in(config.feed).await {
        Ok(link) => link,
        Err(error) => return Ended::NotConnected("feed", error),
    };
    let Link { packets, writer, .. } = match log_in(config.orders).await {
        Ok(link) => link,
        Err(error) => return Ended::NotConnected("order", error),
    };
    let (sender, commands) = local::channel(COMMANDS_MAX);
    let (flat_sender, flat) = local::channel(1);
    let world = WorldCtx::current();
    world.with_world(|world| {
        world.insert_non_send(Commands::new(sender));
        world.insert_non_send(FlatNotice(flat_sender));
    });
    let mut feed = spawn_boxed(read_feed(feed, clock)).join().fuse();
    let mut writing = spawn_boxed(write_orders(writer, commands)).join().fuse();
    let mut reading = spawn_boxed(read_reports(packets)).join().fuse();
    let mut stop = ShutdownSignal::current().fuse();
    let mut beat: Interval = interval(PROGRESS_PERIOD);
    let ended = loop {
        select_biased! {
            end = feed => break feed_ended(end),
            end = reading => break orders_lost(end),
            end = writing => break orders_lost(end),
            () = stop => break Ended::OnRequest,
            _ = beat.tick().fuse() => progress.beat(world, out),
        }
    };
    world.with_world(|world| halt(world, instrument));
    match ended {
        Ended::WithFeed | Ended::OnRequest => {
            leave(world, &flat).await;
            let log_out = async { (writing.await, reading.await) };
            // A connection that does not close in time is dropped with the runtime.
            let _ = timeout(LOGOUT_GRACE, log_out).await;
            ended
        }
        // What the exchange sent before it went is still in the feed's socket.
        Ended::Lost("order", _) => match timeout(LOST_GRACE, feed).await {
            Ok(Ok(FeedEnd::Damaged { index, error })) => Ended::Damaged { index, error },
            _ => ended,
        },
        ended => ended,
    }
}

fn feed_ended(end: Result<FeedEnd, JoinError>) -> Ended {
    match end {
        Ok(FeedEnd::EndOfSession) => Ended::WithFeed,
        Ok(FeedEnd::Lost(error)) => Ended::Lost("feed", error),
        Ok(FeedEnd::Damaged { index, error }) => Ended::Damaged { index, error },
        Err(error) => Ended::Failed(error),
    }
}

fn orders_lost(end: Result<Result<(), LinkError>, JoinError>) -> Ended {
    match end {
        Ok(Ok(())) => Ended::Lost("order", LinkError::Closed),
        Ok(Err(error)) => Ended::Lost("order", error),
        Err(error) => Ended::Failed(error),
    }
}

/// Ends quoting, and has the risk gate cancel what is open.
fn halt(world: &mut World, instrument: Entity) {
    if let Ok(mut instrument) = world.get_entity_mut(instrument) {
        instrument.remove::<MarketMaker>();
    }
    world.resource_mut::<KillSwitch>().trip(TradingState::Halted, TripReason::Operator);
}

/// Waits until no order is open, then hangs up the channel to the order task, which logs out.
async fn leave(world: WorldCtx, flat: &Receiver<()>) {
    // Orders that are not confirmed in time stand in the report as open.
    let _ = timeout(FLAT_GRACE, flat.recv()).await;
    world.with_world(|world| {
        world.remove_non_send::<FlatNotice>();
        world.remove_non_send::<Commands>();
    });
}
