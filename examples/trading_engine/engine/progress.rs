//! The line of progress.

use std::io::Write;
use std::time::{Duration, Instant};

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use onbeat::{TickStats, WorldCtx, precise_now};
use onbeat_systems::book::{BookLevel, OrderBook};
use onbeat_systems::feed::MarketClock;
use onbeat_systems::order::OrderTable;
use onbeat_systems::position::Position;

/// How often a line is printed, in real time.
pub(super) const PROGRESS_PERIOD: Duration = Duration::from_millis(250);

/// How far the loop was at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    /// Since the engine began.
    pub(crate) at: Duration,
    /// Ticks so far.
    pub(crate) ticks: u64,
}

/// What the lines so far have shown.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    instrument: Entity,
    beats: Vec<Beat>,
}

impl Progress {
    pub(super) fn new(began: Instant, instrument: Entity) -> Self {
        Self { began, instrument, beats: Vec::new() }
    }

    /// Prints a line about the time since the last one. The first call has nothing to compare with and
    /// prints none.
    pub(super) fn beat(&mut self, world: WorldCtx, out: &mut dyn Write) {
        let at = precise_now().saturating_duration_since(self.began);
        let line = world.with_world_ref(|world| {
            let ticks = world.resource::<TickStats>().get().ticks;
            let last = self.beats.last().copied();
            self.beats.push(Beat { at, ticks });
            last.map(|last| self.line(world, last, Beat { at, ticks }))
        });
        if let Some(line) = line {
            // Nobody watches any more; the report will say so if that matters.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }

    pub(super) fn into_beats(self) -> Vec<Beat> {
        self.beats
    }

    fn line(&self, world: &World, last: Beat, now: Beat) -> String {
        let bbo = world.get::<OrderBook>(self.instrument).map(OrderBook::bbo).unwrap_or_default();
        let position = world.get::<Position>(self.instrument).copied().unwrap_or_default();
        let orders = world.resource::<OrderTable>().stats();
        let seconds = (now.at.saturating_sub(last.at)).as_secs_f64();
        let rate = (now.ticks - last.ticks) as f64 / seconds.max(f64::EPSILON);
        format!(
            "{}  bid {}  ask {}  position {:>5}  p&l {:>9}  orders {:>5}  fills {:>4}  {rate:>9.0} ticks/s",
            world.resource::<MarketClock>().now,
            level(bbo.bid),
            level(bbo.ask),
            position.shares(),
            position.pnl(),
            orders.sent,
            orders.fills,
        )
    }
}

/// A price with its size, in a column's width.
fn level(level: Option<BookLevel>) -> String {
    level.map_or_else(
        || format!("{:>16}", "-"),
        |level| format!("{:>9} x {:<4}", level.price.to_string(), level.qty.shares()),
    )
}
