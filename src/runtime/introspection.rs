//! What can be seen of a runtime from outside, between two calls that run it.
#![forbid(unsafe_code)]

use super::Runtime;
use crate::{machine::Refusal, stats::Stats, task::TaskInfo, timer::virtual_clock::VirtualClock};

impl Runtime<'_> {
    /// Tasks that have been spawned and have not ended.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.core.get().executor.task_count()
    }

    /// The tasks that have not ended, for a look from outside; the root future is not among them. It
    /// walks every slot, and allocates.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// let task = rt.block_on(async { spawn(std::future::pending::<()>()) });
    /// let tasks = rt.tasks();
    /// assert_eq!(tasks.len(), 1);
    /// assert_eq!(tasks[0].key, task.id());
    /// println!("{} was spawned at {}", tasks[0].name, tasks[0].spawned_at);
    /// ```
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        TaskInfo::all(self.core.get())
    }

    /// Timers that are set: sleeps, timeouts and intervals that somebody awaits.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     drop(spawn(sleep(Duration::from_secs(60))));
    ///     yield_now().await;
    /// });
    /// assert_eq!((rt.timer_count(), rt.task_count()), (1, 1));
    /// ```
    #[must_use]
    pub fn timer_count(&self) -> usize {
        self.core.get().timers.borrow().len()
    }

    /// The virtual clock, to be moved, paced and stopped. `None`: the runtime runs by the real one.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// let clock = rt.virtual_clock().unwrap();
    /// let start = clock.now();
    /// clock.advance(Duration::from_secs(5));
    /// rt.tick().unwrap();
    /// assert_eq!(clock.now() - start, Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn virtual_clock(&self) -> Option<VirtualClock> {
        VirtualClock::of(self.core.get())
    }

    /// The running hash of all polls, if [`poll_hash`](crate::RuntimeBuilder::poll_hash) asked for it.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).poll_hash(true).build();
    /// assert_eq!(rt.poll_hash(), Some(0));
    /// rt.block_on(async {});
    /// assert_ne!(rt.poll_hash(), Some(0));
    /// drop(rt);
    /// assert_eq!(Runtime::new(&mut world).poll_hash(), None);
    /// ```
    #[must_use]
    pub fn poll_hash(&self) -> Option<u64> {
        self.core.get().executor.poll_hash()
    }

    /// A copy of the loop's counters.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, yield_now};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async { yield_now().await });
    /// let stats = rt.stats();
    /// assert_eq!((stats.ticks, stats.polls, stats.parks), (2, 2, 0));
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.get().counters.snapshot()
    }

    /// Which of [`pin_to_core`](crate::RuntimeBuilder::pin_to_core),
    /// [`real_time_priority`](crate::RuntimeBuilder::real_time_priority) and
    /// [`lock_memory`](crate::RuntimeBuilder::lock_memory) the operating system refused, and why.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::builder(&mut world).pin_to_core(1_000_000).build();
    /// let [refusal] = rt.refusals() else { panic!("there is no such core") };
    /// assert_eq!(refusal.option(), "pin_to_core");
    /// ```
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        self.machine.refusals()
    }
}
