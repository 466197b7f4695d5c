//! The options that say when the thread of a runtime runs what: the beat, the steps, the wait, the core.

use std::time::Duration;

use bevy_ecs::schedule::ScheduleLabel;

use super::RuntimeBuilder;
use crate::runtime::{fixed_step::FixedStep, idle::Idle, pacing::Pacing, poller::Polled};

impl RuntimeBuilder<'_> {
    /// When the next tick starts, for `block_on` and `block_on_busy` alike. By default the first runs a
    /// tick on every event, and the second one after the other.
    ///
    /// ```
    /// use bevy_ecs::{prelude::*, world::World};
    /// use onbeat::{CatchUp, Pacing, Runtime, Tick, TickTime, WorldCtx};
    ///
    /// let mut world = World::new();
    /// let pacing = Pacing::hertz(2_000).catch_up(CatchUp::AtMost(4));
    /// let mut rt = Runtime::builder(&mut world).pacing(pacing).build();
    /// rt.schedule(Tick).add_systems(|time: Res<TickTime>| assert!(time.nominal() <= time.frozen()));
    /// rt.block_on(async {
    ///     for _ in 0..3 {
    ///         WorldCtx::current().next_tick().await;
    ///     }
    /// });
    /// assert!(rt.stats().ticks >= 4);
    /// ```
    ///
    /// # Panics
    ///
    /// When the longest time of [`Pacing::Hybrid`] is zero or shorter than the shortest.
    pub fn pacing(mut self, pacing: impl Into<Pacing>) -> Self {
        let pacing = pacing.into();
        if let Pacing::Hybrid { at_most_every, at_least_every } = pacing {
            assert!(
                at_least_every >= at_most_every && !at_least_every.is_zero(),
                "hybrid pacing needs at_least_every to be longer than zero, and not shorter than \
                 at_most_every"
            );
        }
        self.pacing = Some(pacing);
        self
    }

    /// How the thread waits until there is something to do, for `block_on` and `block_on_busy` alike. By
    /// default the first parks, and the second spins.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Idle, Runtime, sleep};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).idle(Idle::Yield).build();
    /// rt.block_on(async { sleep(Duration::from_micros(100)).await });
    /// assert_eq!(rt.stats().parks, 0);
    /// ```
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Adds a closure that every turn calls in its step 2, and that is called again and again while the
    /// loop waits: for network cards that bypass the kernel, rings in shared memory, and agents that
    /// want a duty cycle. It returns how much it did, as a number or a [`Polled`]; more than 0 is
    /// something to do, and begins a turn, or a tick as the pacing says.
    ///
    /// A loop with a poller does not park, whatever its [`Idle`] strategy, unless every poller said in
    /// its last call that it may. The closure may use the World, spawn tasks and wake them. A panic leaves
    /// `block_on`, as a system's does. It is dropped with the runtime's tasks, where the World may
    /// be used.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Polled, Runtime, WorldCtx};
    /// use std::sync::mpsc;
    ///
    /// #[derive(Resource, Default)]
    /// struct Last(u32);
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let mut world = World::new();
    /// world.init_resource::<Last>();
    /// let mut rt = Runtime::builder(&mut world)
    ///     .poller(move || {
    ///         let mut did = 0;
    ///         for price in receiver.try_iter() {
    ///             WorldCtx::current().with_world(|world| world.resource_mut::<Last>().0 = price);
    ///             did += 1;
    ///         }
    ///         did
    ///     })
    ///     .build();
    /// sender.send(101).unwrap();
    /// rt.tick().unwrap();
    /// assert_eq!(rt.world().resource::<Last>().0, 101);
    /// ```
    pub fn poller<P: Into<Polled>>(mut self, mut poll: impl FnMut() -> P + 'static) -> Self {
        self.pollers.add(Box::new(move || poll().into()));
        self
    }

    /// Keeps the thread on this core, numbered from 0, from the building of the runtime to its drop.
    /// When the operating system refuses, [`Runtime::refusals`](crate::Runtime::refusals) says why, and
    /// the thread goes where it likes. Linux only. Threads that are started from this one meanwhile
    /// begin on the same core. What a drop gives back is what the building found: of several runtimes of a
    /// thread, drop the last one first.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).pin_to_core(0).build();
    /// let refused = rt.refusals().iter().map(ToString::to_string).collect::<Vec<_>>();
    /// rt.block_on(async { assert!(refused.len() <= 1) });
    /// ```
    pub fn pin_to_core(mut self, core: usize) -> Self {
        self.wishes.core = Some(core);
        self
    }

    /// Runs the thread under `SCHED_FIFO` with this priority, 1 to 99, from the building of the runtime
    /// to its drop: nothing of a lower priority runs on its core while it does not sleep. A spinning
    /// loop of such a thread starves whatever else belongs on that core, so pin it. When the operating
    /// system refuses, [`Runtime::refusals`](crate::Runtime::refusals) says why. Linux only. Threads
    /// that are started from this one meanwhile begin with the same priority.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::builder(&mut world).real_time_priority(10).build();
    /// for refusal in rt.refusals() {
    ///     assert_eq!(refusal.option(), "real_time_priority");
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When `priority` is not between 1 and 99.
    pub fn real_time_priority(mut self, priority: u8) -> Self {
        assert!((1..=99).contains(&priority), "a real-time priority lies between 1 and 99");
        self.wishes.priority = Some(priority);
        self
    }

    /// Whether all memory of the process, now and in the future, is kept from being swapped out; not by
    /// default. It stays so after the runtime. When the operating system refuses, or limits how much may
    /// be locked, nothing is, and [`Runtime::refusals`](crate::Runtime::refusals) says why. Linux only.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let rt = Runtime::builder(&mut world).lock_memory(false).build();
    /// assert!(rt.refusals().is_empty());
    /// ```
    pub fn lock_memory(mut self, lock: bool) -> Self {
        self.wishes.lock_memory = lock;
        self
    }

    /// Lets the stage `label` run in steps of `period`: in each tick as often as periods have passed, zero
    /// to `steps_max` times. A label that [`stages`](Self::stages) does not name comes before those that
    /// it names.
    ///
    /// Steps are due at whole periods after the nominal time of the first tick; that tick has none. What
    /// is due beyond `steps_max` is skipped, the oldest first, and counted in
    /// [`Stats::steps_skipped`](crate::Stats::steps_skipped). In a step, [`TickTime`](crate::TickTime) has the step's
    /// nominal time, and the period as its delta. A due step starts a tick, except under a fixed rate:
    /// there it waits for the next beat.
    ///
    /// Messages turn over at the end of a tick only if every such stage has run since they last did, so
    /// its systems read each message once. `RemovedComponents` is kept for one tick only, and is not
    /// reliable in such a stage: await [`EntityCtx::removed`](crate::EntityCtx::removed) in a task instead.
    ///
    /// ```
    /// use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
    /// use onbeat::{ClockMode, Pacing, Runtime, TickTime, sleep};
    /// use std::time::Duration;
    ///
    /// #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    /// struct Physics;
    /// #[derive(Resource, Default)]
    /// struct Steps(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Steps>();
    /// let mut rt = Runtime::builder(&mut world)
    ///     .clock(ClockMode::Virtual)
    ///     .pacing(Pacing::hertz(60))
    ///     .fixed_step(Physics, Duration::from_millis(10), 4)
    ///     .build();
    /// rt.schedule(Physics).add_systems(|time: Res<TickTime>, mut steps: ResMut<Steps>| {
    ///     assert_eq!(time.delta(), Duration::from_millis(10));
    ///     steps.0 += 1;
    /// });
    /// rt.block_on(async { sleep(Duration::from_secs(1)).await });
    /// assert_eq!(rt.world().resource::<Steps>().0, 100);
    /// ```
    ///
    /// # Panics
    ///
    /// When `period` or `steps_max` is zero.
    pub fn fixed_step(
        mut self,
        label: impl ScheduleLabel,
        period: Duration,
        steps_max: u32,
    ) -> Self {
        assert!(!period.is_zero(), "a fixed step's period must be longer than zero");
        assert!(steps_max > 0, "steps_max must be at least 1, or the stage would never run");
        let label = label.intern();
        self.fixed_steps.retain(|(other, _)| *other != label);
        self.fixed_steps.push((label, FixedStep::new(period, steps_max)));
        self
    }
}
