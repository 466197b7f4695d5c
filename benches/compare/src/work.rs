//! The work itself, written once and run by every contender.
//!
//! The driver (the code that spawns and joins) is a spawned task in every contender. nexus-async-rt
//! and tokio write an eventfd for each wake of their root future; a driver in the root would charge
//! them for a system call that no question here asks about.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::counting::Counting;

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
    /// `rounds` times: wake `tasks` parked tasks by reference. The time of the wakes alone.
    WakeByRef {
        /// Tasks that are woken.
        tasks: usize,
        /// Wakes of each task.
        rounds: usize,
    },
    /// So many clones of a task's waker, each of them dropped.
    CloneWaker {
        /// Clones in a pass.
        clones: usize,
    },
    /// The bytes that are allocated for `tasks` tasks that wait, as so many nanoseconds.
    Memory {
        /// Tasks alive at once.
        tasks: usize,
        /// They sleep for an hour; else they are pending for ever.
        sleep: bool,
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
            Self::WakeByRef { tasks, rounds } => tasks * rounds,
            Self::CloneWaker { clones } => clones,
            Self::Memory { tasks, .. } => tasks,
            Self::SpawnJoin { batches, size } => batches * size,
        }
    }

    /// The budget a turn that lets every task of this work be polled in every turn.
    ///
    /// With a smaller one nexus-async-rt polls the first tasks only, again and again, so it would
    /// do its work in a warmer cache than the others.
    pub(crate) fn tasks_per_cycle(self) -> usize {
        let alive = match self {
            Self::SelfWake { tasks, .. }
            | Self::Yield { tasks, .. }
            | Self::WakeByRef { tasks, .. }
            | Self::Memory { tasks, .. } => tasks,
            Self::Sleep { .. } | Self::CloneWaker { .. } => 1,
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
            Self::WakeByRef { tasks, rounds } => {
                Self::WakeByRef { tasks, rounds: rounds.div_ceil(16) }
            }
            Self::CloneWaker { clones } => Self::CloneWaker { clones: clones.div_ceil(16) },
            // What the first tasks of a runtime need is the question.
            Self::Memory { sleep, .. } => Self::Memory { tasks: 0, sleep },
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
        Work::WakeByRef { tasks, rounds } => wake_by_ref(host, tasks, rounds).await,
        Work::CloneWaker { clones } => clone_waker(clones).await,
        Work::Memory { tasks, sleep } => memory(host, tasks, sleep).await,
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

async fn wake_by_ref<H: Host>(host: &H, tasks: usize, rounds: usize) -> Duration {
    let wakers = Rc::new(RefCell::new(Vec::with_capacity(tasks)));
    let polls = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let (wakers, polls) = (Rc::clone(&wakers), Rc::clone(&polls));
            let mut left = rounds + 1;
            host.spawn(poll_fn(move |cx| {
                if left > rounds {
                    wakers.borrow_mut().push(cx.waker().clone());
                }
                polls.set(polls.get() + 1);
                left -= 1;
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            }))
        })
        .collect();
    let mut elapsed = Duration::ZERO;
    for round in 0..=rounds {
        while polls.get() < tasks * (round + 1) {
            SelfWake::default().await;
        }
        if round < rounds {
            let wakers = wakers.borrow();
            let start = Instant::now();
            for waker in wakers.iter() {
                waker.wake_by_ref();
            }
            elapsed += start.elapsed();
        }
    }
    for handle in handles {
        handle.await;
    }
    elapsed
}

async fn clone_waker(clones: usize) -> Duration {
    poll_fn(|cx| {
        let start = Instant::now();
        for _ in 0..clones {
            drop(black_box(black_box(cx.waker()).clone()));
        }
        Poll::Ready(start.elapsed())
    })
    .await
}

async fn memory<H: Host>(host: &H, tasks: usize, sleep: bool) -> Duration {
    let polled = Rc::new(Cell::new(0));
    let mut handles = Vec::with_capacity(tasks);
    let bytes = Counting::start();
    for _ in 0..tasks {
        let polled = Rc::clone(&polled);
        handles.push(host.spawn(async move {
            polled.set(polled.get() + 1);
            if sleep {
                H::sleep(Duration::from_secs(3_600)).await;
            } else {
                pending::<()>().await;
            }
        }));
    }
    while polled.get() < tasks {
        SelfWake::default().await;
    }
    Duration::from_nanos(bytes.allocated())
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
