//! The game: what there is, and the systems that move it. Nothing here knows sockets or tasks.

use std::{sync::mpsc::Sender, time::Duration};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_time::{Fixed, Time};
use hdrhistogram::Histogram;
use onbeat::{TickStats, TickTime};

use crate::packet;

/// Metres a second.
const SPEED: f32 = 8.0;
/// Players stay within so many metres of the middle, along each axis.
const ARENA: f32 = 50.0;
/// What is later counts as so late.
const LATENESS_NS_MAX: u64 = 10_000_000_000;

/// Somebody who plays.
#[derive(Component)]
#[require(Position, Wish, Walked)]
pub(crate) struct Player {
    pub(crate) number: u16,
}

/// Where a player is, in metres. Only [`move_players`] writes it.
#[derive(Component, Default)]
pub(crate) struct Position(pub(crate) [f32; 2]);

/// Where a player wants to go, and the number of the input that said so.
#[derive(Component, Default)]
pub(crate) struct Wish {
    pub(crate) sequence: u32,
    pub(crate) direction: [f32; 2],
}

/// How far a player has come, in metres.
#[derive(Component, Default)]
pub(crate) struct Walked(f32);

/// The packet that tells everybody where everybody is, made anew in each frame.
#[derive(Resource, Default)]
pub(crate) struct Snapshot(pub(crate) Vec<u8>);

/// What went over the sockets.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) joined: u64,
    pub(crate) left: u64,
    pub(crate) inputs: u64,
    pub(crate) stale: u64,
    pub(crate) snapshots: u64,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
}

/// How much later than the beat each frame started.
#[derive(Resource)]
struct Lateness(Histogram<u64>);

/// What the server tells at the end.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) frames: u64,
    pub(crate) beats_skipped: u64,
    pub(crate) steps: u64,
    pub(crate) lateness_ns: Histogram<u64>,
    pub(crate) traffic: Traffic,
    /// By player: number, where, and how far that was.
    pub(crate) positions: Vec<(u16, [f32; 2], f32)>,
}

#[derive(Resource)]
struct Ending {
    after: Duration,
    report: Sender<Report>,
}

#[derive(Resource, Default)]
struct Steps(u64);

/// The game without its players: it ends by itself after some time.
pub(crate) struct GamePlugin {
    pub(crate) hertz: f64,
    pub(crate) lasts: Duration,
    pub(crate) report: Sender<Report>,
}

impl Plugin for GamePlugin {
    fn build(&self, app: &mut App) {
        let lateness = Histogram::new_with_max(LATENESS_NS_MAX, 3);
        let lateness = lateness.expect("three digits of ten seconds are within what it allows");
        app.insert_resource(Time::<Fixed>::from_hz(self.hertz))
            .insert_resource(Lateness(lateness))
            .insert_resource(Ending { after: self.lasts, report: self.report.clone() })
            .init_resource::<Snapshot>()
            .init_resource::<Traffic>()
            .init_resource::<Steps>()
            .add_systems(First, note_lateness)
            .add_systems(FixedUpdate, move_players)
            .add_systems(PostUpdate, make_snapshot)
            .add_systems(Last, end);
    }
}

fn note_lateness(tick: Res<TickTime>, mut lateness: ResMut<Lateness>) {
    lateness.0.saturating_record(tick.lateness().as_nanos() as u64);
}

/// The server's word: whatever a player wants, nobody is faster than [`SPEED`] or leaves the arena.
fn move_players(
    time: Res<Time>,
    mut steps: ResMut<Steps>,
    mut players: Query<(&Wish, &mut Position, &mut Walked)>,
) {
    steps.0 += 1;
    let furthest = SPEED * time.delta_secs();
    for (wish, mut position, mut walked) in &mut players {
        let [x, y] = wish.direction;
        let length = x.hypot(y);
        let scale = furthest / length.max(1.0);
        let [from_x, from_y] = position.0;
        let to = [from_x + x * scale, from_y + y * scale].map(|part| part.clamp(-ARENA, ARENA));
        walked.0 += (to[0] - from_x).hypot(to[1] - from_y);
        position.0 = to;
    }
}

fn make_snapshot(
    tick: Res<TickTime>,
    players: Query<(&Player, &Position)>,
    mut snapshot: ResMut<Snapshot>,
) {
    let players = players.iter().map(|(player, position)| (player.number, position.0));
    packet::encode_snapshot(&mut snapshot.0, tick.number(), players);
}

fn end(
    (time, tick, ending): (Res<Time>, Res<TickTime>, Res<Ending>),
    (lateness, stats): (Res<Lateness>, Res<TickStats>),
    (traffic, steps): (Res<Traffic>, Res<Steps>),
    players: Query<(&Player, &Position, &Walked)>,
    mut exit: MessageWriter<AppExit>,
) {
    if time.elapsed_secs_f64() < ending.after.as_secs_f64() {
        return;
    }
    let mut positions: Vec<_> = players
        .iter()
        .map(|(player, position, walked)| (player.number, position.0, walked.0))
        .collect();
    positions.sort_by_key(|(number, ..)| *number);
    let report = Report {
        frames: tick.number(),
        beats_skipped: stats.get().beats_skipped,
        steps: steps.0,
        lateness_ns: lateness.0.clone(),
        traffic: *traffic,
        positions,
    };
    // Nobody who waits for it: then nobody reads the exit code either.
    let _ = ending.report.send(report);
    exit.write(AppExit::Success);
}
