//! Time for tasks.
//!
//! In reading order:
//!
//! - [`wheel`]: the timing wheel, a pure data structure;
//! - [`sleep`](mod@sleep): the future that every other one here rests on;
//! - [`timeout`](mod@timeout), [`after`](mod@after), [`interval`](mod@interval), [`backoff`]: built on it;
//! - [`virtual_clock`]: what moves virtual time.
#![forbid(unsafe_code)]

pub(crate) mod after;
pub(crate) mod backoff;
pub(crate) mod interval;
pub(crate) mod sleep;
pub(crate) mod timeout;
pub(crate) mod virtual_clock;
pub(crate) mod wheel;

use std::time::{Instant, SystemTime};

pub use after::{After, after, after_delay};
pub use backoff::{Backoff, BackoffBuilder, Exhausted, Jitter};
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use virtual_clock::VirtualClock;

use crate::context;

/// The time of the turn: one timestamp, taken when the turn began, the same for everything in it.
///
/// A program in which nobody has asked yet, and that has neither timers nor sockets, reads no clock: in the
/// turn of its first question the timestamp is the time of that question.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, event_time, yield_now};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let now = event_time();
///     assert_eq!(event_time(), now, "the time stands still in a turn");
///     yield_now().await;
///     assert!(event_time() > now);
/// });
/// ```
#[track_caller]
#[must_use]
pub fn event_time() -> Instant {
    context::current("event_time()", |core| core.clock.instant(core.clock.now_ns()))
}

/// The time of the call. A read of the clock costs 20 to 30 ns; [`event_time`] costs next to nothing.
///
/// Under the virtual clock it equals [`event_time`].
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, event_time, precise_now};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let turn = event_time();
///     assert!(precise_now() >= turn);
/// });
/// ```
#[track_caller]
#[must_use]
pub fn precise_now() -> Instant {
    precise_now_of("precise_now()")
}

/// As [`precise_now`], for `what`, which names itself outside a runtime.
#[track_caller]
fn precise_now_of(what: &str) -> Instant {
    context::current(what, |core| core.clock.instant(core.clock.precise_ns()))
}

/// The time of the turn in UTC: that of [`event_time`], the same for everything in the turn.
///
/// Under the real clock it is what the machine holds for UTC, which may be set, and so go back from one
/// turn to the next: to measure time there is [`event_time`]. The machine is asked at the first question of
/// a turn. Under the virtual clock it is [`utc_epoch`](crate::RuntimeBuilder::utc_epoch) and the time that
/// has passed since the runtime was made.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, sleep, utc_now};
/// use std::time::{Duration, SystemTime};
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     sleep(Duration::from_secs(90)).await;
///     let since = utc_now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
///     assert_eq!(since, Duration::from_secs(90));
/// });
/// ```
#[track_caller]
#[must_use]
pub fn utc_now() -> SystemTime {
    context::current("utc_now()", |core| core.clock.utc())
}
