//! [`Interval`]: a beat for one task.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::{
    event_time, precise_now, precise_now_of,
    sleep::{Sleep, sleep_until_of},
};
use crate::clock::instant_after;

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
    Interval::new("interval()", precise_now_of("interval()"), period)
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
    Interval::new("interval_at()", start, period)
}

/// What an [`Interval`] does about a beat that was missed. The meanings are tokio's:
///
/// ```text
/// due      |     1     |     2     |     3     |     4     |     5     |     6     |
/// Burst    | work -----|          work         | work | work | work -| work -------|
/// Delay    | work -----|          work         | work -----| work -----| work -----|
/// Skip     | work -----|          work         | work -----| work -----| work -----|
///                                              ^ beat 2 is given here by all three; Delay then counts
///                                                from here, Skip goes on with beat 4 of the schedule
/// ```
///
/// A beat is missed if it was due before anybody awaited it, or is given a whole period late. tokio, whose
/// timers are a millisecond wide, forgives five milliseconds; timers here are exact, so nothing is
/// forgiven. A beat that was awaited in time, and is given a little late because the loop was busy, is
/// not missed: [`Delay`](Self::Delay) does not drift by the loop's lateness.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// Gives one a turn, until it has caught up. Every beat of the schedule is given.
    #[default]
    Burst,
    /// Gives one, and beats every period from then: two beats are never due less than a period apart.
    Delay,
    /// Gives one, and goes on with the next beat of the original schedule.
    Skip,
}

/// A beat every period. Made by [`interval`] and [`interval_at`].
///
/// It is a [`Stream`] of the instants that [`tick`](Self::tick) gives, and never ends.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Interval, MissedTickBehavior, Runtime, interval};
/// use std::{future::poll_fn, time::Duration};
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let mut beat: Interval = interval(Duration::from_millis(10));
///     beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
///     assert_eq!(beat.missed_tick_behavior(), MissedTickBehavior::Skip);
///     let first = beat.tick().await;
///     let second = poll_fn(|cx| beat.poll_tick(cx)).await;
///     assert_eq!(second - first, beat.period());
/// });
/// ```
#[derive(Debug)]
#[must_use = "an interval beats only while it is awaited"]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    behavior: MissedTickBehavior,
    awaited: Awaited,
}

/// Whether somebody awaits the beat that comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    /// Nobody does, as far as is known.
    No,
    InTime,
    /// It was due already.
    TooLate,
}

impl Interval {
    /// `what` names itself outside a runtime.
    #[track_caller]
    fn new(what: &str, start: Instant, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval's period must be longer than zero");
        Self {
            sleep: sleep_until_of(what, start),
            period,
            behavior: MissedTickBehavior::default(),
            awaited: Awaited::No,
        }
    }

    /// Waits for the next beat, and gives the instant for which it was due.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no beat. One that comes due while nobody awaits it is missed, also if
    /// somebody has before.
    pub async fn tick(&mut self) -> Instant {
        let awaits = Awaits(self);
        poll_fn(|cx| awaits.0.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for hand-written futures. The waker of the latest poll is woken. Who has
    /// polled awaits the beat until it comes.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            if self.awaited == Awaited::No {
                let late = self.sleep.is_elapsed();
                self.awaited = if late { Awaited::TooLate } else { Awaited::InTime };
            }
            return Poll::Pending;
        }
        let due = self.sleep.deadline();
        let next = self.after(due);
        self.awaited = Awaited::No;
        self.schedule("polling an Interval", next);
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
        self.behavior
    }

    /// Sets what is done about missed beats.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.behavior = behavior;
    }

    /// The next beat is one period from now, by [`precise_now`].
    ///
    /// This and the other resets drop whatever beats were missed, and whoever awaits a beat goes on
    /// waiting.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, event_time, interval, sleep};
    /// use std::time::Duration;
    ///
    /// let millis = Duration::from_millis;
    /// let mut world = World::new();
    /// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
    ///     let start = event_time();
    ///     let mut beat = interval(millis(100));
    ///     assert_eq!(beat.tick().await, start);
    ///     sleep(millis(50)).await;
    ///     beat.reset();
    ///     assert_eq!(beat.tick().await, start + millis(150));
    ///     beat.reset_immediately();
    ///     assert_eq!(beat.tick().await, start + millis(150));
    ///     beat.reset_after(millis(20));
    ///     assert_eq!(beat.tick().await, start + millis(170));
    ///     beat.reset_at(start + millis(300));
    ///     assert_eq!(beat.tick().await, start + millis(300));
    ///     assert_eq!(beat.tick().await, start + millis(400));
    /// });
    /// ```
    #[track_caller]
    pub fn reset(&mut self) {
        let what = "Interval::reset()";
        self.schedule(what, later(precise_now_of(what), self.period));
    }

    /// The next beat is now.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn reset_immediately(&mut self) {
        let what = "Interval::reset_immediately()";
        self.schedule(what, precise_now_of(what));
    }

    /// The next beat is `after` from now, by [`precise_now`]; those behind it follow by the period.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn reset_after(&mut self, after: Duration) {
        let what = "Interval::reset_after()";
        self.schedule(what, later(precise_now_of(what), after));
    }

    /// The next beat is at `deadline`; those behind it follow by the period. A deadline in the past is a
    /// missed beat.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn reset_at(&mut self, deadline: Instant) {
        self.schedule("Interval::reset_at()", deadline);
    }

    #[track_caller]
    fn schedule(&mut self, what: &str, beat: Instant) {
        self.sleep.reset_of(what, beat);
        self.awaited = match self.awaited {
            _ if self.sleep.is_elapsed() => Awaited::TooLate,
            Awaited::No => Awaited::No,
            Awaited::InTime | Awaited::TooLate => Awaited::InTime,
        };
    }

    /// The beat that follows one that was due at `due` and is given now.
    fn after(&self, due: Instant) -> Instant {
        let next = later(due, self.period);
        if self.awaited == Awaited::InTime && next > event_time() {
            return next;
        }
        match self.behavior {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => later(precise_now(), self.period),
            MissedTickBehavior::Skip => {
                let late = precise_now().saturating_duration_since(due);
                let beats = late.as_nanos() / self.period.as_nanos() + 1;
                let ahead = beats.saturating_mul(self.period.as_nanos());
                later(due, Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX)))
            }
        }
    }
}

/// Whoever awaits a beat by [`Interval::tick`], until it comes or he gives up.
struct Awaits<'a>(&'a mut Interval);

impl Drop for Awaits<'_> {
    fn drop(&mut self) {
        let Interval { sleep, awaited, .. } = &mut *self.0;
        // One that has come while it was awaited is given to whoever asks next, in time.
        if *awaited == Awaited::InTime && !sleep.is_elapsed() {
            *awaited = Awaited::No;
        }
    }
}

impl Stream for Interval {
    type Item = Instant;

    /// Always `Some`.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

/// The sum, or what no clock of ours reaches if an `Instant` does not reach so far.
fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or_else(|| instant_after(instant, u64::MAX))
}

#[cfg(test)]
mod tests {
    use bevy_ecs::world::World;

    use super::*;
    use crate::{Runtime, spawn_boxed, yield_now};

    #[test]
    fn delay_does_not_drift_by_the_lateness_of_the_loop() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let start = precise_now() + Duration::from_millis(2);
            // So long that no machine is ever a period late.
            let period = Duration::from_secs(3_600);
            let mut beat = interval_at(start, period);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let blocks_the_loop = spawn_boxed(async move {
                yield_now().await;
                while precise_now() < start + Duration::from_millis(1) {}
            });
            assert_eq!(beat.tick().await, start);
            assert_eq!(beat.sleep.deadline(), start + period, "it was awaited in time");
            blocks_the_loop.await;
        });
    }
}
