//! One task on each runtime, for work that awaits its own channels: the work is a spawned task everywhere.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use ::async_executor::{LocalExecutor, Task};
use ::onbeat::{Runtime, spawn_boxed};
use ::tokio::task::spawn_local;
use bevy_ecs::prelude::World;
use nexus_rt::WorldBuilder;

use crate::work::SelfWake;

/// nexus makes its channels inside of a runtime only.
pub(crate) fn nexus_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = WorldBuilder::new().build();
    nexus_async_rt::Runtime::builder(&mut world)
        .build()
        .block_on(async move { nexus_async_rt::spawn_boxed(work).await })
}

pub(crate) fn onbeat_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async move { spawn_boxed(work).await })
}

pub(crate) fn onbeat_spinning(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = World::new();
    Runtime::new(&mut world).block_on_busy(async move { spawn_boxed(work).await })
}

pub(crate) fn tokio_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    on_tokio(false, work)
}

/// With a task beside the work that wakes itself for ever.
pub(crate) fn tokio_spinning(work: impl Future<Output = Duration> + 'static) -> Duration {
    on_tokio(true, work)
}

fn on_tokio(spins: bool, work: impl Future<Output = Duration> + 'static) -> Duration {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(::tokio::runtime::LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    if spins {
        runtime.spawn_local(async {
            loop {
                SelfWake::default().await;
            }
        });
    }
    runtime.block_on(async move { spawn_local(work).await.expect("it does not panic") })
}

thread_local! {
    static EXECUTOR: Cell<Option<&'static LocalExecutor<'static>>> = const { Cell::new(None) };
}

/// A task on the executor that runs in [`executor_thread`].
pub(crate) fn on_executor<T: 'static>(work: impl Future<Output = T> + 'static) -> Task<T> {
    EXECUTOR.get().expect("an executor was made").spawn(work)
}

/// async-executor, under futures-lite's `block_on`. The executor is made once, and leaked, so that work can
/// spawn more.
pub(crate) fn executor_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let executor = EXECUTOR.get().unwrap_or_else(|| Box::leak(Box::new(LocalExecutor::new())));
    EXECUTOR.set(Some(executor));
    futures_lite::future::block_on(executor.run(executor.spawn(work)))
}
