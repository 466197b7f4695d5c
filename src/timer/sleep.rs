//! [`Sleep`]: a future that completes when its deadline has passed.

use std::{
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::wheel::TimerId;
use crate::{
    clock::{duration_ns, instant_after},
    context::{self, Core},
    executor::{agenda::Items, details::Wait},
};

/// Completes `duration` after this call, never earlier.
///
/// The deadline is counted from [`precise_now`](crate::precise_now) when this is called, not from when
/// it is first awaited. A sleep of zero completes in the next turn at the earliest. One that ends more than
/// 584 years after the clock began, such as one of `Duration::MAX`, never completes.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, precise_now, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let before = precise_now();
///     sleep(Duration::from_micros(200)).await;
///     assert!(precise_now() - before >= Duration::from_micros(200));
/// });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_of("sleep()", duration)
}

/// As [`sleep`], for `what`, which names itself outside a runtime.
#[inline]
#[track_caller]
pub(super) fn sleep_of(what: &str, duration: Duration) -> Sleep {
    context::current(what, |core| Sleep::relative(core, duration))
}

/// Completes when the clock has reached `deadline`, in the next turn at the earliest.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, event_time, sleep_until};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let noon = event_time() + Duration::from_secs(3_600);
///     let mut sleep = sleep_until(noon);
///     sleep.reset(noon + Duration::from_secs(60));
///     sleep.await;
///     assert_eq!(event_time(), noon + Duration::from_secs(60));
/// });
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    sleep_until_of("sleep_until()", deadline)
}

/// As [`sleep_until`], for `what`, which names itself outside a runtime.
#[inline]
#[track_caller]
pub(super) fn sleep_until_of(what: &str, deadline: Instant) -> Sleep {
    context::current(what, |core| Sleep::absolute(core, deadline))
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It belongs to the runtime it was made or last polled in. Polled in another one, it leaves the old
/// runtime's wheel and enters the new one's.
///
/// Polled again after it has completed, it completes once more in a later turn.
///
/// # Cancellation
///
/// Dropping it takes its timer out of the wheel at once.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, Sleep, event_time, sleep};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let start = event_time();
///     let mut alarm: Sleep = sleep(60 * second);
///     assert_eq!(alarm.deadline(), start + 60 * second);
///     alarm.reset(start + second);
///     (&mut alarm).await;
///     assert_eq!(event_time(), start + second);
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    runtime: u64,
    deadline_ns: u64,
    since: Since,
    timer: Option<Armed>,
    _not_send: PhantomData<*const ()>,
}

/// What the deadline was given as. An `Instant` is made of the first kind only when somebody asks: few
/// do, and the arithmetic is a part of the cost of a sleep.
#[derive(Clone, Copy, Debug)]
enum Since {
    /// `deadline_ns` after this beginning of the clock.
    Origin(Instant),
    /// The deadline itself, which `deadline_ns` may not reach.
    Given(Instant),
}

/// A place in the wheel.
#[derive(Clone, Copy, Debug)]
struct Armed {
    id: TimerId,
    /// The turn of the registration: the timer fires in a later one.
    turn: u64,
}

impl Sleep {
    fn relative(core: &Core, duration: Duration) -> Self {
        Self {
            runtime: core.serial(),
            deadline_ns: core.clock.precise_ns().saturating_add(duration_ns(duration)),
            since: Since::Origin(core.clock.origin()),
            timer: None,
            _not_send: PhantomData,
        }
    }

    fn absolute(core: &Core, deadline: Instant) -> Self {
        Self {
            runtime: core.serial(),
            deadline_ns: core.clock.ns(deadline),
            since: Since::Given(deadline),
            timer: None,
            _not_send: PhantomData,
        }
    }

    /// When it completes.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self.since {
            Since::Origin(origin) => instant_after(origin, self.deadline_ns),
            Since::Given(deadline) => deadline,
        }
    }

    /// Whether the time of the turn has reached the deadline, by the clock of the runtime it belongs to.
    /// False when that runtime has gone.
    ///
    /// True does not say that a poll is ready: a timer registered in a turn fires in a later one.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
    ///     let long = sleep(Duration::from_secs(60));
    ///     sleep(Duration::from_secs(59)).await;
    ///     assert!(!long.is_elapsed());
    ///     sleep(Duration::from_secs(1)).await;
    ///     assert!(long.is_elapsed());
    /// });
    /// ```
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        context::find(self.runtime, |core| core.clock.now_ns() >= self.deadline_ns).unwrap_or(false)
    }

    /// Moves the deadline, also of a sleep that has completed: it can then be awaited again.
    ///
    /// This is a new registration: it fires behind those that already have the same deadline, and in a
    /// later turn than this one. Whoever waits goes on waiting, without another poll.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn reset(&mut self, deadline: Instant) {
        self.reset_of("Sleep::reset()", deadline);
    }

    /// As [`reset`](Self::reset), for `what`, which names itself outside a runtime.
    #[track_caller]
    pub(super) fn reset_of(&mut self, what: &str, deadline: Instant) {
        self.move_to(sleep_until_of(what, deadline));
    }

    /// As [`reset`](Self::reset), with the deadline `duration` after this call, by
    /// [`precise_now`](crate::precise_now).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, event_time, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
    ///     let start = event_time();
    ///     let mut quiet = sleep(Duration::from_secs(30));
    ///     sleep(Duration::from_secs(20)).await;
    ///     quiet.reset_after(Duration::from_secs(30));
    ///     quiet.await;
    ///     assert_eq!(event_time() - start, Duration::from_secs(50));
    /// });
    /// ```
    #[track_caller]
    pub fn reset_after(&mut self, duration: Duration) {
        self.move_to(sleep_of("Sleep::reset_after()", duration));
    }

    /// Takes over the deadline and the runtime of `to`, which is of the current runtime and not armed.
    fn move_to(&mut self, mut to: Self) {
        if let Some(armed) = self.timer {
            to.timer = context::find(to.runtime, |core| {
                if self.runtime != to.runtime {
                    return None;
                }
                let id = core.timers.borrow_mut().reset(armed.id, to.deadline_ns)?;
                Some(Armed { id, turn: core.turn.get() })
            })
            .flatten();
            if to.timer.is_some() {
                // The old identity is dead: there is nothing to take out.
                self.timer = None;
            } else if let Some(waker) = self.disarm() {
                // Who waits goes along, also into another runtime's wheel.
                to.timer = context::find(to.runtime, |core| Self::arm(core, to.deadline_ns, waker));
            }
        }
        *self = to;
    }

    fn arm(core: &Core, deadline_ns: u64, waker: Waker) -> Armed {
        core.executor.agenda().add(Items::TIMERS);
        Armed { id: core.timers.borrow_mut().insert(deadline_ns, waker), turn: core.turn.get() }
    }

    /// Leaves the wheel. The waker is dropped by the caller, where the wheel is not borrowed.
    fn disarm(&mut self) -> Option<Waker> {
        let armed = self.timer.take()?;
        context::find(self.runtime, |core| core.timers.borrow_mut().cancel(armed.id))?
    }

    /// Ready, or armed with the waker of `cx`. That waker's `clone` and `drop` may be anybody's code: no
    /// borrow of the wheel is alive while they run.
    fn poll_in(&mut self, core: &Core, cx: &Context<'_>) -> Poll<()> {
        let Some(armed) = self.timer else {
            self.timer = Some(Self::arm(core, self.deadline_ns, cx.waker().clone()));
            return Poll::Pending;
        };
        if core.turn.get() > armed.turn && core.clock.now_ns() >= self.deadline_ns {
            self.timer = None;
            let waker = core.timers.borrow_mut().cancel(armed.id);
            drop(waker);
            return Poll::Ready(());
        }
        let stored_wakes = |stored: &mut Waker| stored.will_wake(cx.waker());
        if core.timers.borrow_mut().payload_mut(armed.id).is_some_and(stored_wakes) {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut timers = core.timers.borrow_mut();
        let old = match timers.payload_mut(armed.id) {
            Some(stored) => Some(mem::replace(stored, waker)),
            None => {
                // A timer that fired for somebody who did not poll keeps the turn it was made in.
                core.executor.agenda().add(Items::TIMERS);
                let id = timers.insert(self.deadline_ns, waker);
                self.timer = Some(Armed { id, ..armed });
                None
            }
        };
        drop(timers);
        drop(old);
        Poll::Pending
    }

    /// Leaves the wheel of another runtime for this one's.
    #[cold]
    fn migrate(&mut self, core: &Core) {
        drop(self.disarm());
        *self = Self::absolute(core, self.deadline());
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        context::current("polling a Sleep", |core| {
            if core.serial() != self.runtime {
                self.migrate(core);
            }
            let polled = self.poll_in(core, cx);
            if polled.is_pending() {
                core.executor.note_wait(Wait::Until(self.deadline_ns));
            }
            polled
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.timer.is_some() {
            drop(self.disarm());
        }
    }
}
