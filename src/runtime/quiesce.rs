//! Running until nothing is left to run: [`Runtime::shutdown_quiesce`].

use std::{fmt, panic::Location, time::Duration};

use super::{Idle, Pacing, Runtime};
use crate::{
    clock::duration_ns, context::Core, executor::Endings, task::TaskInfo, timer::sleep_until,
};

/// How many tasks an error names.
const NAMED: usize = 16;

/// Whether every task has ended and every closure of other threads has run.
fn is_quiet(core: &Core) -> bool {
    core.executor.task_count() == 0 && core.remote.len() == 0
}

impl Runtime<'_> {
    /// Asks for shutdown, then runs until every task has ended and every closure that other threads asked
    /// for has run, at most for `timeout`: what a program does before it drops its runtime.
    ///
    /// Every [`ShutdownSignal`](crate::ShutdownSignal) completes, as with
    /// [`ShutdownHandle::shutdown`](crate::ShutdownHandle::shutdown), and the tasks do what they do then.
    /// There is no root future; ticks, stages and timers go on as in [`block_on`](Self::block_on), and the
    /// thread sleeps while there is nothing to do. At least one turn runs, so what was asked for before
    /// the call has happened.
    ///
    /// `timeout` is counted by the runtime's clock, from the call; a poll that does not return cannot be
    /// cut short. Under the virtual clock nothing is waited for: time goes on to the next timer, at last
    /// to the limit. What holds virtual time still ([`ExternalWork`](crate::ExternalWork)) holds the limit
    /// as well.
    ///
    /// # Errors
    ///
    /// [`QuiesceTimeout`] with what still runs when the time has passed. It was not ended: it goes on in
    /// the next call of this or of [`block_on`](Self::block_on), and dropping the runtime drops it.
    ///
    /// # Panics
    ///
    /// As [`block_on`](Self::block_on), with the panics of systems and tasks.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, ShutdownSignal, named, sleep, spawn};
    /// use std::{future::pending, time::Duration};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    /// rt.block_on(async {
    ///     drop(spawn(async {
    ///         ShutdownSignal::current().await;
    ///         sleep(Duration::from_millis(30)).await;
    ///     }));
    /// });
    /// let stats = rt.shutdown_quiesce(Duration::from_secs(1)).unwrap();
    /// assert_eq!((stats.completed, stats.duration), (1, Duration::from_millis(30)));
    ///
    /// rt.block_on(async { drop(named("feed").spawn(pending::<()>())) });
    /// let error = rt.shutdown_quiesce(Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(error.running[0].name, "feed");
    /// assert!(error.to_string().starts_with("1 task still runs after 1s: feed, spawned at "));
    /// ```
    #[track_caller]
    pub fn shutdown_quiesce(&mut self, timeout: Duration) -> Result<ShutdownStats, QuiesceTimeout> {
        let called_at = Location::caller();
        let core = self.core.get();
        core.shutdown.handle().shutdown();
        let before = (core.executor.endings(), core.counters.ticks.get());
        let start_ns = core.clock.precise_ns();
        // The end of time would be no limit, and virtual time would not go there.
        let limit_ns = start_ns.saturating_add(duration_ns(timeout)).min(u64::MAX - 1);
        let limit = core.clock.instant(limit_ns);
        // A `Sleep` is made inside the runtime.
        let limit = async move { sleep_until(limit).await };
        self.drive(limit, Pacing::OnEvent, Idle::Park, called_at, |core, _| is_quiet(core));
        let core = self.core.get();
        let stats = ShutdownStats::since(before, start_ns, core);
        if is_quiet(core) {
            return Ok(stats);
        }
        Err(QuiesceTimeout { running: self.tasks(), closures: core.remote.len(), stats })
    }
}

/// What happened in a [`Runtime::shutdown_quiesce`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, ShutdownSignal, spawn};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     for _ in 0..3 {
///         drop(spawn(async { ShutdownSignal::current().await }));
///     }
/// });
/// let stats = rt.shutdown_quiesce(Duration::from_secs(10)).unwrap();
/// assert_eq!((stats.completed, stats.aborted, stats.panicked), (3, 0, 0));
/// assert!(stats.ticks >= 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownStats {
    /// Tasks that gave their output.
    pub completed: u64,
    /// Tasks that were ended before: aborted, and their futures dropped.
    pub aborted: u64,
    /// Tasks that ended by a panic.
    pub panicked: u64,
    /// Ticks that began.
    pub ticks: u64,
    /// How long it took, by the runtime's clock.
    pub duration: Duration,
}

impl ShutdownStats {
    fn since((before, ticks): (Endings, u64), start_ns: u64, core: &Core) -> Self {
        let now = core.executor.endings();
        let (aborted, panicked) = (now.aborted - before.aborted, now.panicked - before.panicked);
        Self {
            completed: now.ended - before.ended - aborted - panicked,
            aborted,
            panicked,
            ticks: core.counters.ticks.get() - ticks,
            duration: Duration::from_nanos(core.clock.precise_ns().saturating_sub(start_ns)),
        }
    }
}

/// The time of a [`Runtime::shutdown_quiesce`] has passed, and something still runs. Its message names the
/// first of the tasks.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, named};
/// use std::{future::pending, time::Duration};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async { drop(named("gateway").spawn(pending::<()>())) });
/// let timeout = rt.shutdown_quiesce(Duration::ZERO).unwrap_err();
/// assert_eq!(timeout.running[0].name, "gateway");
/// assert_eq!((timeout.closures, timeout.stats.completed), (0, 0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuiesceTimeout {
    /// The tasks that have not ended. What they wait for is known with
    /// [`task_details`](crate::RuntimeBuilder::task_details).
    pub running: Vec<TaskInfo>,
    /// Closures of other threads that have not run. More than none means that a thread goes on to send
    /// them.
    pub closures: usize,
    /// What happened until then.
    pub stats: ShutdownStats,
}

impl fmt::Display for QuiesceTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, closures, stats } = self;
        match running.len() {
            1 => write!(f, "1 task still runs after {:?}", stats.duration)?,
            tasks => write!(f, "{tasks} tasks still run after {:?}", stats.duration)?,
        }
        if *closures > 0 {
            write!(f, ", and {closures} closures of other threads have not run")?;
        }
        for (index, task) in running.iter().take(NAMED).enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}{}, spawned at {}", task.name, task.spawned_at)?;
            if let Some(waits_for) = task.waits_for {
                write!(f, ", waits for {waits_for}")?;
            }
        }
        if running.len() > NAMED {
            write!(f, "; and {} more", running.len() - NAMED)?;
        }
        Ok(())
    }
}

impl std::error::Error for QuiesceTimeout {}
