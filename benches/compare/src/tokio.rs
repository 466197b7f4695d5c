//! tokio 1.54 `LocalRuntime`, in the three configurations that its users run.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ::tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use ::tokio::task::{spawn_local, yield_now};
use ::tokio::time::{Sleep, sleep};

use crate::timers::{Cancel, Random};
use crate::work::{Host, SelfWake, Work, drive};

/// The defaults: the I/O driver is looked at every 61 polls.
pub(crate) fn defaults(work: Work) -> Duration {
    run(&mut builder(), work)
}

/// `event_interval(1)`: the I/O driver is looked at after every poll.
pub(crate) fn eager(work: Work) -> Duration {
    run(builder().event_interval(1), work)
}

/// Beside the work one task that wakes itself for ever, which keeps the thread from parking.
pub(crate) fn spinner(work: Work) -> Duration {
    let runtime = build(&mut builder());
    runtime.spawn_local(async {
        loop {
            SelfWake::default().await;
        }
    });
    drive_on(&runtime, work)
}

/// What [`wheels`](crate::wheels) asks, of tokio's own wheel, which can be reached by its sleeps only: each
/// timer is a boxed sleep that was polled once.
pub(crate) fn sleeps_alive(live: usize, cancel: Cancel, operations: usize) -> Duration {
    build(&mut builder()).block_on(async {
        let mut random = Random::new();
        let mut sleeps = Vec::with_capacity(live);
        for _ in 0..live {
            sleeps.push(armed(random.delay_ns()).await);
        }
        let picks: Vec<_> = (0..operations).map(|_| random.pick(live)).collect();
        let start = Instant::now();
        for (index, delay_ns) in picks {
            let sleep = armed(delay_ns).await;
            match cancel {
                Cancel::Any => sleeps[index] = sleep,
                Cancel::Same => drop(sleep),
            }
        }
        start.elapsed()
    })
}

async fn armed(delay_ns: u64) -> Pin<Box<Sleep>> {
    // An hour more: time does not stand still here.
    let mut timer = Box::pin(sleep(Duration::from_nanos(3_600_000_000_000 + delay_ns)));
    poll_fn(|cx| {
        assert!(timer.as_mut().poll(cx).is_pending(), "nobody waits for an hour");
        Poll::Ready(())
    })
    .await;
    timer
}

fn builder() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
}

fn run(builder: &mut Builder, work: Work) -> Duration {
    drive_on(&build(builder), work)
}

fn build(builder: &mut Builder) -> LocalRuntime {
    builder
        .build_local(LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor")
}

fn drive_on(runtime: &LocalRuntime, work: Work) -> Duration {
    runtime.block_on(async move { Tokio.spawn(drive(Tokio, work)).await })
}

#[derive(Clone, Copy)]
struct Tokio;

impl Host for Tokio {
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let handle = spawn_local(future);
        async { handle.await.expect("the work neither panics nor is aborted") }
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        sleep(duration)
    }
}
