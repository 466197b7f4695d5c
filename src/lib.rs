//! An async runtime whose main loop is a frame loop and whose shared state is a `bevy_ecs` World.
#![cfg(unix)]

pub mod cancel;
pub mod channel;
mod clock;
mod context;
mod executor;
pub mod net;
mod reactor;
mod runtime;
mod shutdown;
mod stats;
mod task;
mod timer;
mod world;

pub use cancel::{CancellationToken, Cancelled, DropGuard};
pub use clock::ClockMode;
pub use executor::OnTaskPanic;
pub use net::IoHandle;
pub use runtime::{Runtime, RuntimeBuilder, Tick, TickError, TickRequest};
pub use shutdown::{ShutdownHandle, ShutdownSignal};
pub use stats::{Phase, PhaseDuration, SAMPLE_INTERVAL, Stats, TickStats};
pub use task::{CancelReason, Join, JoinError, JoinHandle, YieldNow, spawn_boxed, yield_now};
pub use timer::{
    Elapsed, Interval, MissedTickBehavior, Sleep, Timeout, event_time, interval, interval_at,
    precise_now, sleep, sleep_until, timeout, timeout_at,
};
pub use world::{NextTick, WorldCtx, WorldError};
