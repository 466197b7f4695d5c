//! The work itself, written once and run by every contender.
//!
//! The driver (the code that spawns and joins) is a spawned task in every contender. nexus-async-rt
//! and tokio write an eventfd for each wake of their root future; a driver in the root would charge
//! them for a system call that no question here asks about.

use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What a contender offers the work: how it starts a task on its thread, and how a task of it yields.
pub(crate) trait Host: Clone + 'static {
    /// Starts `future`, with its memory from the allocator, and gives a future of its output.
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;

    /// The contender's own `yield_now`.
    fn yield_now() -> impl Future<Output = ()> + 'static;

    /// The contender's own `sleep`; one that has none is not asked about it.
    fn sleep(_: Duration) -> impl Future<Output = ()> + 'static {
        pending()
    }
}

/// One pass of work: enough of it that one reading of the clock at each end does not count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// `tasks` tasks that are alive together, each of which wakes itself `wakes` times.
    SelfWake {
        /// Tasks alive at once.
        tasks: usize,
        /// Self-wakes of each task.
        wakes: usize,
    },
    /// The same by the contender's own `yield_now`.
    Yield {
        /// Tasks alive at once.
        tasks: usize,
        /// Yields of each task.
        yields: usize,
    },
    /// So many sleeps, one after the other, each of them created, polled once and dropped.
    Sleep {
        /// Sleeps in a pass.
        sleeps: usize,
    },
    /// `batches` times: spawn `size` tasks that are ready at their first poll, then join them all.
    SpawnJoin {
        /// Batches in a pass.
        batches: usize,
        /// Tasks in a batch.
        size: usize,
    },
}

impl Work {
    /// How many operations a pass is: polls after a self-wake or a yield, or tasks.
    pub(crate) fn operations(self) -> usize {
        match self {
            Self::SelfWake { tasks, wakes } => tasks * wakes,
            Self::Yield { tasks, yields } => tasks * yields,
            Self::Sleep { sleeps } => sleeps,
            Self::SpawnJoin { batches, size } => batches * size,
        }
    }

    /// The budget a turn that lets every task of this work be polled in every turn.
    ///
    /// With a smaller one nexus-async-rt polls the first tasks only, again and again, so it would
    /// do its work in a warmer cache than the others.
    pub(crate) fn tasks_per_cycle(self) -> usize {
        let alive = match self {
            Self::SelfWake { tasks, .. } | Self::Yield { tasks, .. } => tasks,
            Self::Sleep { .. } => 1,
            Self::SpawnJoin { size, .. } => size,
        };
        // The driver is one more.
        (alive + 1).max(64)
    }

    /// The same work, short: it fills caches and lets queues grow to their size.
    fn warm_up(self) -> Self {
        match self {
            Self::SelfWake { tasks, wakes } => Self::SelfWake { tasks, wakes: wakes.div_ceil(16) },
            Self::Yield { tasks, yields } => Self::Yield { tasks, yields: yields.div_ceil(16) },
            Self::Sleep { sleeps } => Self::Sleep { sleeps: sleeps.div_ceil(16) },
            Self::SpawnJoin { batches, size } => {
                Self::SpawnJoin { batches: batches.div_ceil(16), size }
            }
        }
    }
}

/// Warms up, does `work` and gives the time it took. Every contender runs this as a spawned task.
pub(crate) async fn drive<H: Host>(host: H, work: Work) -> Duration {
    run_once(&host, work.warm_up()).await;
    run_once(&host, work).await
}

async fn run_once<H: Host>(host: &H, work: Work) -> Duration {
    match work {
        Work::SelfWake { tasks, wakes } => together(host, tasks, || wake_itself(wakes)).await,
        Work::Yield { tasks, yields } => together(host, tasks, || yield_often::<H>(yields)).await,
        Work::Sleep { sleeps } => sleep_and_drop::<H>(sleeps).await,
        Work::SpawnJoin { batches, size } => spawn_join(host, batches, size).await,
    }
}

/// Runs `tasks` tasks at once, to their end.
async fn together<H: Host, F>(host: &H, tasks: usize, make: impl Fn() -> F) -> Duration
where
    F: Future<Output = ()> + 'static,
{
    let handles: Vec<_> = (0..tasks).map(|_| host.spawn(make())).collect();
    let start = Instant::now();
    for handle in handles {
        handle.await;
    }
    start.elapsed()
}

/// A task of [`Work::SelfWake`].
pub(crate) async fn wake_itself(wakes: usize) {
    for _ in 0..wakes {
        SelfWake::default().await;
    }
}

async fn yield_often<H: Host>(yields: usize) {
    for _ in 0..yields {
        H::yield_now().await;
    }
}

async fn sleep_and_drop<H: Host>(sleeps: usize) -> Duration {
    let start = Instant::now();
    for sleep in 0..sleeps as u64 {
        let mut sleep = pin!(H::sleep(Duration::from_millis(10_000 + sleep % 1_000)));
        poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending(), "nobody waits for ten seconds");
            Poll::Ready(())
        })
        .await;
    }
    start.elapsed()
}

async fn spawn_join<H: Host>(host: &H, batches: usize, size: usize) -> Duration {
    let mut handles = Vec::with_capacity(size);
    let mut sum = 0;
    let start = Instant::now();
    for _ in 0..batches {
        for index in 0..size as u64 {
            let captured = [index; 8];
            handles.push(host.spawn(async move { black_box(&captured)[7] }));
        }
        for handle in handles.drain(..) {
            sum += handle.await;
        }
    }
    let elapsed = start.elapsed();
    let expected = batches as u64 * (0..size as u64).sum::<u64>();
    assert_eq!(sum, expected, "every task must give its own output");
    elapsed
}

/// Wakes its own task and is pending once: what `yield_now` is in most runtimes.
///
/// The runtimes' own `yield_now` do different things (tokio's looks at the I/O driver first), so they
/// have questions of their own, [`Work::Yield`].
#[derive(Debug, Default)]
pub(crate) struct SelfWake {
    woken: bool,
}

impl Future for SelfWake {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.woken {
            return Poll::Ready(());
        }
        self.woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
