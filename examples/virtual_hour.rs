//! A backtest in small: an hour of a strategy that runs at 1 kHz, in seconds of real time, twice, and both
//! runs poll the same tasks at the same times in the same order.
//!
//! The market's messages come at irregular times, as they would from a socket; the code that trades does
//! not know that the clock is virtual.

use std::{
    io::{self, Write},
    time::{Duration, Instant, SystemTime},
};

use bevy_ecs::prelude::*;
use onbeat::{
    ClockMode, Pacing, Runtime, Tick, TickTime, WorldCtx, event_time, sleep, sleep_until, spawn,
    utc_now,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// 2 January 2024, 09:30 in New York.
const OPENING: Duration = Duration::from_secs(1_704_205_800);

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

fn run() -> Outcome {
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
        // The tick of the last millisecond is the last; the next would begin another hour.
        sleep_until(opened + HOUR - Duration::from_millis(1)).await;
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

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let mut outcomes = Vec::new();
    for number in 1..=2 {
        let began = Instant::now();
        let outcome = run();
        let real = began.elapsed();
        writeln!(
            out,
            "run {number}: {} ticks, {} polls, {} market updates, {} trades, poll hash {:016x}",
            outcome.ticks, outcome.polls, outcome.updates, outcome.trades, outcome.poll_hash
        )?;
        writeln!(
            out,
            "       one hour in {:.2} s of real time, {:.0} times as fast",
            real.as_secs_f64(),
            HOUR.as_secs_f64() / real.as_secs_f64()
        )?;
        outcomes.push(outcome);
    }
    assert_eq!(outcomes[0].ticks, 3_600_000, "one tick in every millisecond");
    assert_eq!(
        outcomes[0], outcomes[1],
        "the same inputs, the same order of polls, the same results"
    );
    writeln!(out, "both runs are the same")
}
