//! The systems that only the example has: those that read the clock, and the one that hands orders to
//! a task.

use bevy_ecs::message::MessageReader;
use bevy_ecs::schedule::{IntoScheduleConfigs, Schedule};
use bevy_ecs::system::{NonSendMut, Res, ResMut};
use onbeat::channel::local::Sender;
use onbeat::{event_time, precise_now};
use onbeat_systems::feed::BookEvent;
use onbeat_systems::order::{OrderTable, Outbox};
use onbeat_systems::risk::{KillSwitch, TradingState};
use onbeat_systems::sets::{EngineSet, add_trading_systems};
use onbeat_systems::telemetry::{EngineTime, Telemetry};

use super::clock::{EngineClock, FeedReads, nanoseconds};
use super::order_task::Outgoing;

/// The systems' end of the channel to the order task. Held as non-send data: the channel belongs to the
/// runtime's thread.
#[derive(Debug)]
pub(super) struct Commands {
    sender: Sender<Outgoing>,
    /// What the channel had no room for.
    waiting: Option<Outgoing>,
}

impl Commands {
    pub(super) fn new(sender: Sender<Outgoing>) -> Self {
        Self { sender, waiting: None }
    }
}

/// Told once, when trading is halted and no order of ours is open.
#[derive(Debug)]
pub(super) struct FlatNotice(pub(super) Sender<()>);

/// Adds the crate's systems and the example's to the schedule of a tick.
pub(super) fn add_systems(schedule: &mut Schedule) {
    add_trading_systems(schedule);
    schedule.add_systems((
        set_engine_time.before(EngineSet::Venue),
        stamp_books.after(EngineSet::Book).before(EngineSet::Position),
        send_commands.in_set(EngineSet::Execution),
        (notice_flat, measure_tick).chain().in_set(EngineSet::Telemetry),
    ));
}

/// The systems see one time in a tick: the frozen one.
fn set_engine_time(clock: Res<EngineClock>, mut time: ResMut<EngineTime>) {
    time.ns = clock.ns(event_time());
}

/// Measures from the decoding of each message to a book that shows it.
fn stamp_books(
    clock: Res<EngineClock>,
    mut changes: MessageReader<BookEvent>,
    mut reads: ResMut<FeedReads>,
    mut telemetry: ResMut<Telemetry>,
) {
    if reads.current().is_none() {
        return;
    }
    let now = precise_now();
    reads.booked(now);
    let now_ns = clock.ns(now);
    for change in changes.read() {
        telemetry.record_decode_to_book(now_ns.saturating_sub(change.stamp_ns));
    }
}

/// Moves the outbox into the channel, from which the order task writes in this same tick.
fn send_commands(
    commands: Option<NonSendMut<Commands>>,
    mut outbox: ResMut<Outbox>,
    reads: Res<FeedReads>,
) {
    let Some(mut commands) = commands else { return };
    loop {
        let next = commands.waiting.take().or_else(|| {
            let command = outbox.pop()?;
            Some(Outgoing { command, feed_read: reads.current() })
        });
        let Some(next) = next else { return };
        if let Err(full) = commands.sender.try_send(next) {
            commands.waiting = Some(full.into_inner());
            return;
        }
    }
}

fn notice_flat(
    kill_switch: Res<KillSwitch>,
    orders: Res<OrderTable>,
    notice: Option<NonSendMut<FlatNotice>>,
) {
    if let Some(notice) = notice
        && kill_switch.state() == TradingState::Halted
        && orders.open_count() == 0
    {
        // A full channel holds the notice already; a closed one has nobody to tell.
        let _ = notice.0.try_send(());
    }
}

/// Measures from the moment at which the tick's clock was frozen to the end of its systems.
fn measure_tick(mut reads: ResMut<FeedReads>, mut telemetry: ResMut<Telemetry>) {
    let duration = precise_now().saturating_duration_since(event_time());
    telemetry.record_tick_duration(nanoseconds(duration));
    reads.forget_current();
}
