//! A backtest in small: an hour of a strategy that runs at 1 kHz, in seconds of real time, twice, and both
//! runs poll the same tasks at the same times in the same order.
//!
//! ```text
//! cargo run --release --example virtual_hour
//! cargo run --release --example virtual_hour -- --help
//! ```
//!
//! The market's messages come at irregular times, as they would from a socket; the code that trades does
//! not know that the clock is virtual.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use bevy_ecs::prelude::*;
use clap::Parser;
use onbeat::{
    ClockMode, Pacing, Runtime, Tick, TickTime, WorldCtx, event_time, sleep, sleep_until, spawn,
    utc_now,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// 2 January 2024, 09:30 in New York.
const OPENING: Duration = Duration::from_secs(1_704_205_800);

const EXAMPLES: &str = "\
Examples:
  virtual_hour             one hour, twice: some seconds
  virtual_hour --hours 6   a trading day

The two poll hashes are equal when both runs polled the same tasks at the same times in the same order.

Exit codes: 0 both runs were the same, 1 they were not, or there was nowhere to print to, 2 the command line
was not understood.";

/// Trades a market that is made up, by a clock that nobody waits for, twice, and compares the two runs.
///
/// A task is the market: it sleeps for up to 10 ms and moves the price. Two systems are the strategy: they
/// run 1,000 times a second of virtual time. Under the virtual clock nothing sleeps, so an hour takes as
/// long as its work, and the second run does the same as the first, poll by poll.
#[derive(Parser, Clone, Debug)]
#[command(name = "virtual_hour", version, after_help = EXAMPLES)]
struct Args {
    /// How many hours each run has, from 1 to 24.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=24))]
    hours: u8,
}

/// The price, in ticks of the instrument, and its average.
#[derive(Resource, Default)]
struct Market {
    price: f64,
    average: f64,
    updates: u64,
}

/// What the strategy holds.
#[derive(Resource, Default)]
struct Position {
    lots: i64,
    trades: u64,
}

/// What one run came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    ticks: u64,
    polls: u64,
    poll_hash: u64,
    updates: u64,
    trades: u64,
    closed: SystemTime,
}

/// Follows the average: a filter with a time constant of one second, by nominal time.
fn observe(time: Res<TickTime>, mut market: ResMut<Market>) {
    let weight = time.delta().as_secs_f64();
    market.average += (market.price - market.average) * weight;
}

/// Holds one lot against the deviation from the average.
fn trade(market: Res<Market>, mut position: ResMut<Position>) {
    let wanted = match market.price - market.average {
        above if above > 2.0 => -1,
        below if below < -2.0 => 1,
        _ => position.lots,
    };
    if wanted != position.lots {
        position.lots = wanted;
        position.trades += 1;
    }
}

/// A random walk with gaps of up to 10 ms between its steps: a xorshift generator's.
async fn feed() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sleep(Duration::from_nanos(state % 10_000_000)).await;
        WorldCtx::current().with_world(|world| {
            let mut market = world.resource_mut::<Market>();
            market.price += if state >> 63 == 0 { 0.25 } else { -0.25 };
            market.updates += 1;
        });
    }
}

/// For somebody who waits at a terminal.
fn show_progress(percent: u32) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Without a reader the run goes on.
        let line = if percent < 100 { format!("\r{percent:3} %") } else { "\r     \r".to_owned() };
        let _ = terminal.write_all(line.as_bytes());
    }
}

fn run(length: Duration) -> Outcome {
    let mut world = World::new();
    world.init_resource::<Market>();
    world.init_resource::<Position>();
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .utc_epoch(SystemTime::UNIX_EPOCH + OPENING)
        .pacing(Pacing::hertz(1_000))
        .poll_hash(true)
        .build();
    rt.schedule(Tick).add_systems((observe, trade).chain());
    let closed = rt.block_on(async {
        let opened = event_time();
        let feed = spawn(feed());
        for percent in (10..100).step_by(10) {
            sleep_until(opened + length * percent / 100).await;
            show_progress(percent);
        }
        // The tick of the last millisecond is the last; the next would begin another hour.
        sleep_until(opened + length - Duration::from_millis(1)).await;
        show_progress(100);
        feed.abort();
        utc_now()
    });
    let stats = rt.stats();
    let poll_hash = rt.poll_hash().expect("the builder asked for it");
    drop(rt);
    Outcome {
        ticks: stats.ticks,
        polls: stats.polls,
        poll_hash,
        updates: world.resource::<Market>().updates,
        trades: world.resource::<Position>().trades,
        closed,
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match compare(&args, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let _ = writeln!(io::stderr(), "virtual_hour: the two runs differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            // The exit code says it too, where nobody reads.
            let _ = writeln!(io::stderr(), "virtual_hour: nowhere to print to: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether two runs are the same.
fn compare(args: &Args, out: &mut impl Write) -> io::Result<bool> {
    let hours = u32::from(args.hours);
    let length = hours * HOUR;
    writeln!(out, "{hours} h of a strategy at 1 kHz, twice")?;
    let mut outcomes = Vec::new();
    for number in 1..=2 {
        let began = Instant::now();
        let outcome = run(length);
        let real = began.elapsed();
        writeln!(
            out,
            "run {number}: {} ticks, {} polls, {} market updates, {} trades, poll hash {:016x}",
            outcome.ticks, outcome.polls, outcome.updates, outcome.trades, outcome.poll_hash
        )?;
        writeln!(
            out,
            "       {hours} h in {:.2} s of real time, {:.0} times as fast",
            real.as_secs_f64(),
            length.as_secs_f64() / real.as_secs_f64()
        )?;
        outcomes.push(outcome);
    }
    assert_eq!(outcomes[0].ticks, 3_600_000 * u64::from(hours), "one tick in every millisecond");
    let same = outcomes[0] == outcomes[1];
    if same {
        writeln!(out, "both runs are the same")?;
    }
    Ok(same)
}
