//! [`VirtualClock`]: what moves, paces and stops the virtual clock.

use std::{
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    clock::{VirtualTime, duration_ns, instant_after, real_ns_since},
    context::{self, Core},
};

/// The virtual clock of a runtime: it moves time, sets its pace, stops it. From outside it is
/// [`Runtime::virtual_clock`](crate::Runtime::virtual_clock), inside [`VirtualClock::current`].
///
/// Left alone, virtual time stands still while a task can run, and jumps to the next timer, fixed step or
/// beat when none can. It never goes back. It stays on its runtime's thread, and may outlive the runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, VirtualClock, event_time, sleep, spawn};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
/// rt.block_on(async {
///     let clock = VirtualClock::current().unwrap();
///     clock.pause();
///     let start = clock.now();
///     let alarm = spawn(async move {
///         sleep(Duration::from_secs(10)).await;
///         event_time() - start
///     });
///     clock.advance(Duration::from_secs(15));
///     assert_eq!(alarm.await, Duration::from_secs(10), "not one nanosecond later");
/// });
/// ```
#[derive(Clone)]
pub struct VirtualClock {
    time: Rc<VirtualTime>,
    /// The clock's beginning, and what the machine's clock said then.
    origin: Instant,
    origin_ns: u64,
}

impl VirtualClock {
    /// The virtual clock of the runtime that this thread is in. `None`: that one runs by the real clock.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    #[track_caller]
    pub fn current() -> Option<Self> {
        context::current("VirtualClock::current()", Self::of)
    }

    pub(crate) fn of(core: &Core) -> Option<Self> {
        let time = core.clock.virtual_time()?.clone();
        Some(Self { time, origin: core.clock.origin(), origin_ns: core.clock.origin_ns() })
    }

    /// Where time stands: what [`precise_now`](crate::precise_now) says inside.
    #[must_use]
    pub fn now(&self) -> Instant {
        instant_after(self.origin, self.time.now_ns())
    }

    /// Has time go on by `duration`, also while it is paused, while tasks are ready, and while external
    /// work holds it still.
    ///
    /// Nothing moves at the call. Each turn that follows begins with a step, to the next timer, step of a
    /// stage or beat, or to the end of the way; so each timer fires at its own time, in order, and nothing
    /// sees a time past a deadline that is still to come. What is timed from the call on counts from where
    /// time stands: a `sleep` of the same duration, made at once, ends where the way ends. Several calls
    /// add up. A runtime that is driven by hand takes as many ticks as there are steps:
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, event_time, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// let clock = rt.virtual_clock().unwrap();
    /// clock.pause();
    /// rt.block_on(async { drop(spawn(sleep(Duration::from_millis(7)))) });
    /// rt.tick().unwrap();
    /// clock.advance(Duration::from_millis(16));
    /// let mut steps = Vec::new();
    /// while !clock.remaining().is_zero() {
    ///     rt.tick().unwrap();
    ///     steps.push(clock.remaining().as_millis());
    /// }
    /// assert_eq!(steps, [9, 0]);
    /// ```
    pub fn advance(&self, duration: Duration) {
        self.time.advance(duration_ns(duration));
    }

    /// How far [`advance`](Self::advance) has still to bring time.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.time.left_ns())
    }

    /// Moves time by `duration` in one step, at once: the turn that goes on keeps its
    /// [`event_time`](crate::event_time), and in the next ones all timers that are due by then fire in the
    /// order of their deadlines, late, as after a thread was held up. Beats that were missed are an
    /// overrun.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, VirtualClock, event_time, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
    ///     let clock = VirtualClock::current().unwrap();
    ///     let (start, alarm) = (event_time(), sleep(Duration::from_secs(1)));
    ///     clock.skip(Duration::from_secs(3));
    ///     assert_eq!(event_time(), start);
    ///     alarm.await;
    ///     assert_eq!(event_time() - start, Duration::from_secs(3));
    /// });
    /// ```
    pub fn skip(&self, duration: Duration) {
        self.time.skip(duration_ns(duration));
    }

    /// Stops time: until [`resume`](Self::resume), only [`advance`](Self::advance) and
    /// [`skip`](Self::skip) move it. A `block_on` in which nothing is left to do but to wait for time is
    /// then stuck, and ends with [`TickError::Stuck`](crate::TickError::Stuck), unless external work is
    /// counted.
    pub fn pause(&self) {
        self.time.pause();
    }

    /// Time goes on by itself again, from where it stands.
    pub fn resume(&self) {
        self.time.resume(real_ns_since(self.origin_ns));
    }

    /// Whether time is paused.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// let clock = rt.virtual_clock().unwrap();
    /// assert_eq!((clock.is_paused(), clock.speed()), (false, f64::INFINITY));
    /// clock.pause();
    /// assert!(clock.is_paused());
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(clock.remaining(), Duration::from_secs(1));
    /// rt.tick().unwrap();
    /// assert_eq!(clock.remaining(), Duration::ZERO);
    /// clock.resume();
    /// assert!(!clock.is_paused());
    /// ```
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.time.is_paused()
    }

    /// Has time follow real time from now on, `factor` virtual seconds in a real one: 1.0 is as fast, 10.0
    /// ten times faster. `f64::INFINITY`, with which every virtual clock begins, is as fast as it goes:
    /// time jumps.
    ///
    /// A clock that follows real time does so while tasks run and while external work is counted, too. It
    /// does not skip deadlines: when tasks take longer than there is time, time lags behind, and makes up
    /// for it deadline by deadline. The thread waits as its [`Idle`](crate::Idle) strategy says.
    ///
    /// # Panics
    ///
    /// When `factor` is not greater than zero.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, event_time, sleep};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// let clock = rt.virtual_clock().unwrap();
    /// clock.set_speed(100_000.0);
    /// let began = Instant::now();
    /// rt.block_on(async {
    ///     let start = event_time();
    ///     sleep(Duration::from_secs(60)).await;
    ///     assert_eq!(event_time() - start, Duration::from_secs(60));
    /// });
    /// assert!(began.elapsed() >= Duration::from_micros(600));
    /// ```
    #[track_caller]
    pub fn set_speed(&self, factor: f64) {
        assert!(factor > 0.0, "a clock's speed is greater than zero; `pause` stops it");
        self.time.follow(real_ns_since(self.origin_ns), factor);
    }

    /// So many virtual seconds in a real one; infinite when time jumps.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.time.speed()
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock")
            .field("is_paused", &self.is_paused())
            .field("speed", &self.speed())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
