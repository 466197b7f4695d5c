//! [`Interval`]: a beat for one task.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    event_time, precise_now,
    sleep::{Sleep, sleep_until},
};

/// Beats every `period`, the first time in the next turn.
///
/// # Panics
///
/// Outside a runtime, or when `period` is zero.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, interval, precise_now};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let start = precise_now();
///     let mut beat = interval(Duration::from_micros(500));
///     for _ in 0..3 {
///         beat.tick().await;
///     }
///     assert!(precise_now() - start >= Duration::from_millis(1));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(precise_now(), period)
}

/// Beats at `start`, and every `period` from there.
///
/// # Panics
///
/// Outside a runtime, or when `period` is zero.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, MissedTickBehavior, Runtime, event_time, interval_at, sleep};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let start = event_time();
///     let mut beat = interval_at(start + second, second);
///     beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
///     assert_eq!(beat.tick().await, start + second);
///     sleep(5 * second / 2).await;
///     assert_eq!(beat.tick().await, start + 2 * second, "the one that was due is given");
///     assert_eq!(beat.tick().await, start + 4 * second, "the next of the schedule follows");
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval's period must be longer than zero");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::default() }
}

/// What an [`Interval`] does about beats that passed while nobody awaited them. The meanings are
/// tokio's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// Gives one a turn, until it has caught up.
    #[default]
    Burst,
    /// Gives one, and beats every period from then.
    Delay,
    /// Gives one, and goes on with the next beat of the original schedule.
    Skip,
}

/// A beat every period. Made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next beat, and gives the instant for which it was due.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no beat.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for hand-written futures.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let due = self.sleep.deadline();
        let next = self.after(due, event_time());
        self.sleep.reset(next);
        Poll::Ready(due)
    }

    /// The time between two beats.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed beats.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what is done about missed beats.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The next beat is one period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(later(precise_now(), self.period));
    }

    fn after(&self, due: Instant, now: Instant) -> Instant {
        let next = later(due, self.period);
        if next > now {
            return next;
        }
        match self.missed {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => later(now, self.period),
            MissedTickBehavior::Skip => {
                let late = (now - due).as_nanos();
                let beats = late / self.period.as_nanos() + 1;
                let ahead = beats.saturating_mul(self.period.as_nanos());
                later(due, Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX)))
            }
        }
    }
}

/// The sum, or what is as good as never if an `Instant` does not reach so far.
fn later(instant: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
    instant.checked_add(duration).or_else(|| instant.checked_add(CENTURY)).unwrap_or(instant)
}
