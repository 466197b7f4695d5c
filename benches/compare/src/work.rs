//! The work itself, written once and run by every contender.
//!
//! The driver (the code that spawns and joins) is a spawned task in every contender. nexus-async-rt
//! and tokio write an eventfd for each wake of their root future; a driver in the root would charge
//! them for a system call that no question here asks about.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How a contender starts a task on the thread it runs on.
pub(crate) trait Spawner: Clone + 'static {
    /// Starts `future`, with its memory from the allocator, and gives a future of its output.
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;
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
    /// `batches` times: spawn `size` tasks that are ready at their first poll, then join them all.
    SpawnJoin {
        /// Batches in a pass.
        batches: usize,
        /// Tasks in a batch.
        size: usize,
    },
}

impl Work {
    /// How many operations a pass is: polls after a self-wake, or tasks.
    pub(crate) fn operations(self) -> usize {
        match self {
            Self::SelfWake { tasks, wakes } => tasks * wakes,
            Self::SpawnJoin { batches, size } => batches * size,
        }
    }

    /// The budget a turn that lets every task of this work be polled in every turn.
    ///
    /// With a smaller one nexus-async-rt polls the first tasks only, again and again, so it would
    /// do its work in a warmer cache than the others.
    pub(crate) fn tasks_per_cycle(self) -> usize {
        let alive = match self {
            Self::SelfWake { tasks, .. } => tasks,
            Self::SpawnJoin { size, .. } => size,
        };
        // The driver is one more.
        (alive + 1).max(64)
    }

    /// The same work, short: it fills caches and lets queues grow to their size.
    fn warm_up(self) -> Self {
        match self {
            Self::SelfWake { tasks, wakes } => Self::SelfWake { tasks, wakes: wakes.div_ceil(16) },
            Self::SpawnJoin { batches, size } => {
                Self::SpawnJoin { batches: batches.div_ceil(16), size }
            }
        }
    }
}

/// Warms up, does `work` and gives the time it took. Every contender runs this as a spawned task.
pub(crate) async fn drive<S: Spawner>(spawner: S, work: Work) -> Duration {
    run_once(&spawner, work.warm_up()).await;
    run_once(&spawner, work).await
}

async fn run_once<S: Spawner>(spawner: &S, work: Work) -> Duration {
    match work {
        Work::SelfWake { tasks, wakes } => self_wake(spawner, tasks, wakes).await,
        Work::SpawnJoin { batches, size } => spawn_join(spawner, batches, size).await,
    }
}

async fn self_wake<S: Spawner>(spawner: &S, tasks: usize, wakes: usize) -> Duration {
    let handles: Vec<_> = (0..tasks).map(|_| spawner.spawn(wake_itself(wakes))).collect();
    let start = Instant::now();
    for handle in handles {
        handle.await;
    }
    start.elapsed()
}

async fn wake_itself(wakes: usize) {
    for _ in 0..wakes {
        SelfWake::default().await;
    }
}

async fn spawn_join<S: Spawner>(spawner: &S, batches: usize, size: usize) -> Duration {
    let mut handles = Vec::with_capacity(size);
    let mut sum = 0;
    let start = Instant::now();
    for _ in 0..batches {
        for index in 0..size as u64 {
            let captured = [index; 8];
            handles.push(spawner.spawn(async move { black_box(&captured)[7] }));
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
/// The runtimes' own `yield_now` do different things (tokio's looks at the I/O driver first), so
/// the comparison uses this one everywhere.
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
