//! tokio 1.54 `LocalRuntime`, in the three configurations that its users run.

use std::future::Future;
use std::time::Duration;

use ::tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use ::tokio::task::{spawn_local, yield_now};

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
}
