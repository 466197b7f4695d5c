//! The options of the clock.

use std::time::SystemTime;

use super::RuntimeBuilder;
use crate::clock::ClockMode;

impl RuntimeBuilder<'_> {
    /// Which clock the runtime runs by; the real one by default.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// // A day, in no time.
    /// rt.block_on(async { sleep(Duration::from_secs(86_400)).await });
    /// ```
    pub fn clock(mut self, mode: ClockMode) -> Self {
        self.clock = mode;
        self
    }

    /// What the beginning of the virtual clock is in UTC, for [`utc_now`](crate::utc_now); 1 January 1970
    /// by default, so that two runs see the same. The real clock has the machine's.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, sleep, utc_now};
    /// use std::time::{Duration, SystemTime};
    ///
    /// let opens = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_186_000);
    /// let mut world = World::new();
    /// let builder = Runtime::builder(&mut world).clock(ClockMode::Virtual);
    /// builder.utc_epoch(opens).build().block_on(async {
    ///     sleep(Duration::from_secs(60)).await;
    ///     assert_eq!(utc_now(), opens + Duration::from_secs(60));
    /// });
    /// ```
    pub fn utc_epoch(mut self, epoch: SystemTime) -> Self {
        self.utc_epoch = epoch;
        self
    }

    /// How many turns may follow one another in one moment of the virtual clock, from 1; 1,000,000 by
    /// default. One more is [`TickError::NoProgress`](crate::TickError::NoProgress), which names the tasks
    /// of the last turn. `u64::MAX` is no limit.
    ///
    /// Turns are counted from the beginning of `block_on`, and while no external work is counted and time
    /// does not follow real time: whatever else may end the moment would have to be a task, a system or a
    /// poller that counts turns. Ticks that make up for beats of a fixed rate do not count. [`Runtime::tick`](crate::Runtime::tick) counts none.
    ///
    /// ```should_panic
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, yield_now};
    ///
    /// let mut world = World::new();
    /// let builder = Runtime::builder(&mut world).clock(ClockMode::Virtual);
    /// builder.progress_limit(1_000).build().block_on(async {
    ///     loop {
    ///         yield_now().await;
    ///     }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// When `turns` is 0.
    pub fn progress_limit(mut self, turns: u64) -> Self {
        assert!(turns > 0, "progress_limit must be at least 1, or no turn would ever begin");
        self.progress_limit = turns;
        self
    }

    /// Whether the runtime keeps a running hash of its polls, for
    /// [`Runtime::poll_hash`](crate::Runtime::poll_hash); not by default. It costs some nanoseconds for
    /// each poll.
    ///
    /// Two runs of one program under the virtual clock, on any machine, give the same hash, unless
    /// external work had a part in them. What differs first in two that do not is found by comparing it at
    /// more and more places.
    ///
    /// The hash begins as 0. Each poll of a task, the root future among them, folds four words into it:
    /// the number of its tick, the time of its turn in nanoseconds since the clock began, the number of
    /// the task (the first that the runtime spawns is 1; a root future takes a number as well), and 0 if
    /// the task goes on, 1 if it has ended, 2 if it panicked. A word enters as
    /// `hash = splitmix64(hash ^ word)`.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// fn run(micros: [u64; 2]) -> Option<u64> {
    ///     let mut world = World::new();
    ///     let builder = Runtime::builder(&mut world).clock(ClockMode::Virtual).poll_hash(true);
    ///     let mut rt = builder.build();
    ///     rt.block_on(async {
    ///         let [first, second] = micros.map(|us| spawn(sleep(Duration::from_micros(us))));
    ///         first.await;
    ///         second.await;
    ///     });
    ///     rt.poll_hash()
    /// }
    /// assert_eq!(run([3, 5]), run([3, 5]));
    /// assert_ne!(run([3, 5]), run([5, 3]));
    /// ```
    pub fn poll_hash(mut self, on: bool) -> Self {
        self.poll_hash = on;
        self
    }
}
