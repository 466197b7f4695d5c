//! What a runtime costs to make and to drop, and what `block_on` costs for a future that is ready.

use std::future::ready;
use std::hint::black_box;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use bevy_ecs::prelude::World;
use nexus_rt::WorldBuilder;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::compio;
use crate::question::{Contender, Question, Role, Unit};

const MADE: &str = "\
the World is there before. onbeat, nexus and tokio open an epoll and an eventfd descriptor; the others
  have no driver.";

/// The two questions.
pub(crate) fn questions(runtimes: usize, calls: usize) -> Vec<Question> {
    vec![made(runtimes), ready_at_once(calls)]
}

fn repeat(times: usize, mut what: impl FnMut()) -> Duration {
    what();
    let start = Instant::now();
    for _ in 0..times {
        what();
    }
    start.elapsed()
}

fn tokio_runtime() -> LocalRuntime {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor")
}

fn made(runtimes: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus", Role::Reference, move || {
            let mut world = WorldBuilder::new().build();
            repeat(runtimes, || drop(nexus_async_rt::Runtime::new(&mut world)))
        }),
        Contender::new("onbeat", Role::Shown, move || {
            let mut world = World::new();
            repeat(runtimes, || drop(onbeat::Runtime::new(&mut world)))
        }),
        Contender::new("tokio LocalRuntime", Role::Shown, move || {
            repeat(runtimes, || drop(tokio_runtime()))
        }),
        Contender::new("async-executor LocalExecutor", Role::Shown, move || {
            repeat(runtimes, || drop(black_box(LocalExecutor::new())))
        }),
        Contender::new("compio-executor", Role::Shown, move || {
            repeat(runtimes, || drop(black_box(compio::Local::new(64))))
        }),
    ];
    Question {
        title: "a runtime made and dropped".to_owned(),
        operations: runtimes,
        contenders,
        note: Some(MADE),
        unit: Unit::default(),
    }
}

fn ready_at_once(calls: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus", Role::Reference, move || {
            let mut world = WorldBuilder::new().build();
            let mut runtime = nexus_async_rt::Runtime::new(&mut world);
            repeat(calls, || runtime.block_on(ready(())))
        }),
        Contender::new("onbeat", Role::Shown, move || {
            let mut world = World::new();
            let mut runtime = onbeat::Runtime::new(&mut world);
            repeat(calls, || runtime.block_on(ready(())))
        }),
        Contender::new("tokio LocalRuntime", Role::Shown, move || {
            let runtime = tokio_runtime();
            repeat(calls, || runtime.block_on(ready(())))
        }),
        Contender::new("async-executor LocalExecutor", Role::Shown, move || {
            let executor = LocalExecutor::new();
            repeat(calls, || futures_lite::future::block_on(executor.run(ready(()))))
        }),
    ];
    Question {
        title: "block_on of a future that is ready".to_owned(),
        operations: calls,
        contenders,
        note: Some("in onbeat a whole tick, in which the root future is a task."),
        unit: Unit::default(),
    }
}
