//! [`Sleep`]: a future that completes when its deadline has passed.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::wheel::TimerId;
use crate::{
    clock::duration_ns,
    context::{self, Core},
};

/// Completes `duration` after this call, never earlier.
///
/// The deadline is counted from [`precise_now`](crate::precise_now) when this is called, not from when
/// it is first awaited. A sleep of zero completes in the next turn at the earliest.
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
    context::current("sleep()", |core| {
        let deadline_ns = core.clock.precise_ns().saturating_add(duration_ns(duration));
        Sleep::new(core, deadline_ns)
    })
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
    context::current("sleep_until()", |core| Sleep::new(core, core.clock.ns(deadline)))
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It belongs to the runtime it was made or last polled in. Polled in another one, it leaves the old
/// runtime's wheel and enters the new one's.
///
/// # Cancellation
///
/// Dropping it takes its timer out of the wheel at once.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    runtime: u64,
    deadline_ns: u64,
    deadline: Instant,
    timer: Option<Armed>,
    _not_send: PhantomData<*const ()>,
}

/// A place in the wheel.
#[derive(Clone, Copy, Debug)]
struct Armed {
    id: TimerId,
    /// The turn of the registration: the timer fires in a later one.
    turn: u64,
}

impl Sleep {
    fn new(core: &Core, deadline_ns: u64) -> Self {
        Self {
            runtime: core.serial(),
            deadline_ns,
            deadline: core.clock.instant(deadline_ns),
            timer: None,
            _not_send: PhantomData,
        }
    }

    /// When it completes.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline, also of a sleep that has completed: it can then be awaited again.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn reset(&mut self, deadline: Instant) {
        let armed = context::current("Sleep::reset()", |core| {
            let armed = self.timer.filter(|_| self.runtime == core.serial())?;
            let id = core.timers.borrow_mut().reset(armed.id, core.clock.ns(deadline))?;
            Some(Armed { id, turn: core.turn.get() })
        });
        // Whoever waits goes along, also into another runtime's wheel.
        let waker = if armed.is_none() { self.disarm() } else { None };
        context::current("Sleep::reset()", |core| {
            *self = Self { timer: armed, ..Self::new(core, core.clock.ns(deadline)) };
            if let Some(waker) = waker {
                let id = core.timers.borrow_mut().insert(self.deadline_ns, waker);
                self.timer = Some(Armed { id, turn: core.turn.get() });
            }
        });
        self.deadline = deadline;
    }

    /// Leaves the wheel. The waker is dropped by the caller, where the wheel is not borrowed.
    fn disarm(&mut self) -> Option<Waker> {
        let armed = self.timer.take()?;
        context::find(self.runtime, |core| core.timers.borrow_mut().cancel(armed.id))?
    }

    /// Ready, or armed with `waker`. Second: a waker to drop.
    fn poll_in(&mut self, core: &Core, waker: &mut Option<Waker>) -> (Poll<()>, Option<Waker>) {
        if let Some(armed) = self.timer {
            let mut timers = core.timers.borrow_mut();
            if core.turn.get() > armed.turn && core.clock.now_ns() >= self.deadline_ns {
                self.timer = None;
                return (Poll::Ready(()), timers.cancel(armed.id));
            }
            if let Some(stored) = timers.payload_mut(armed.id) {
                return (Poll::Pending, waker.take().map(|new| std::mem::replace(stored, new)));
            }
        }
        let Some(waker) = waker.take() else {
            return (Poll::Pending, None);
        };
        let id = core.timers.borrow_mut().insert(self.deadline_ns, waker);
        // A timer that fired early, or was taken by a foreign poll, keeps the turn it was made in.
        let turn = self.timer.map_or(core.turn.get(), |armed| armed.turn);
        self.timer = Some(Armed { id, turn });
        (Poll::Pending, None)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let moved = context::current("polling a Sleep", |core| {
            (core.serial() != this.runtime).then(|| core.clock.ns(this.deadline))
        });
        if let Some(deadline_ns) = moved {
            drop(this.disarm());
            this.deadline_ns = deadline_ns;
            this.runtime = context::current("polling a Sleep", Core::serial);
        }
        // Cloned and dropped outside, because a waker's clone and drop may be anybody's code.
        let mut waker = Some(cx.waker().clone());
        let (polled, old) =
            context::current("polling a Sleep", |core| this.poll_in(core, &mut waker));
        drop((old, waker));
        polled
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        drop(self.disarm());
    }
}
