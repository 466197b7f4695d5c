//! Spawn, poll, join: futures of several sizes, each ready at its first poll, in slabs and in boxes.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use bevy_ecs::prelude::World;
use nexus_rt::WorldBuilder;
use tokio::runtime::{Builder, LocalOptions};

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::{compio, slab};

/// Tasks in a batch.
const BATCH: usize = 1_000;

const SLAB: &str = "\
a slot of both slabs is as large as the size beside the future's; nexus keeps its header of 72 bytes in
  it. All runtimes get a budget that lets a batch be polled in one turn.";

/// A future of `N` bytes.
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Future for Bytes<N> {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        Poll::Ready(black_box(&self.0).last().copied().unwrap_or(0))
    }
}

/// A question about slabs and one about boxes for each size.
pub(crate) fn questions(batches: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    questions.extend(of_size::<0, 128>(batches));
    questions.extend(of_size::<64, 192>(batches));
    questions.extend(of_size::<192, 320>(batches));
    questions.extend(of_size::<1_024, 1_152>(batches));
    questions
}

fn of_size<const N: usize, const SLOT: usize>(batches: usize) -> [Question; 2] {
    let judged = |most| Role::Judged(Reach::Ratio(most));
    let in_slab = vec![
        Contender::new("nexus spawn_slab", Role::Reference, move || {
            nexus::<SLOT>(time::<N, _>(batches, nexus_async_rt::spawn_slab))
        }),
        Contender::new("onbeat spawn_slab", judged(0.30), move || {
            onbeat::<SLOT>(time::<N, _>(batches, onbeat::spawn_slab))
        }),
        Contender::new("onbeat spawn", Role::Shown, move || {
            onbeat::<SLOT>(time::<N, _>(batches, onbeat::spawn))
        }),
    ];
    let boxed = vec![
        Contender::new("nexus spawn_boxed", Role::Reference, move || {
            nexus::<SLOT>(time::<N, _>(batches, nexus_async_rt::spawn_boxed))
        }),
        Contender::new("onbeat spawn_boxed", judged(0.50), move || {
            onbeat::<SLOT>(time::<N, _>(batches, onbeat::spawn_boxed))
        }),
        Contender::new("tokio LocalRuntime", Role::Shown, move || tokio::<N>(batches)),
        Contender::new("async-executor LocalExecutor", Role::Shown, move || {
            of_async_executor::<N>(batches)
        }),
        Contender::new("compio-executor", Role::Shown, move || of_compio::<N>(batches)),
    ];
    [
        question(format!("spawn, poll, join, {N} bytes, slab of {SLOT}"), batches, in_slab),
        question(format!("spawn, poll, join, {N} bytes, boxed"), batches, boxed),
    ]
}

fn question(title: String, batches: usize, contenders: Vec<Contender>) -> Question {
    let (operations, note) = (batches * BATCH, Some(SLAB));
    Question { title, operations, contenders, note, unit: Unit::default() }
}

/// Spawns and joins `batches` batches, after some that fill pools and caches.
async fn time<const N: usize, H: Future<Output = u8>>(
    batches: usize,
    spawn: impl Fn(Bytes<N>) -> H,
) -> Duration {
    let mut handles = Vec::with_capacity(BATCH);
    for _ in 0..2 {
        batch(&mut handles, &spawn).await;
    }
    let start = Instant::now();
    for _ in 0..batches {
        batch(&mut handles, &spawn).await;
    }
    start.elapsed()
}

async fn batch<const N: usize, H: Future<Output = u8>>(
    handles: &mut Vec<H>,
    spawn: &impl Fn(Bytes<N>) -> H,
) {
    for index in 0..BATCH {
        handles.push(spawn(Bytes([index as u8; N])));
    }
    for (index, handle) in handles.drain(..).enumerate() {
        let expected = if N == 0 { 0 } else { index as u8 };
        assert_eq!(handle.await, expected, "every task must give its own output");
    }
}

fn nexus<const SLOT: usize>(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = WorldBuilder::new().build();
    nexus_async_rt::Runtime::builder(&mut world)
        .tasks_per_cycle(BATCH + 1)
        .slab_unbounded(slab::of_nexus::<SLOT>(BATCH))
        .build()
        .block_on(async move { nexus_async_rt::spawn_boxed(work).await })
}

fn onbeat<const SLOT: usize>(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = World::new();
    onbeat::Runtime::builder(&mut world)
        .tasks_per_cycle(BATCH + 1)
        .slab_unbounded::<SLOT>(BATCH)
        .build()
        .block_on(async move { onbeat::spawn_boxed(work).await })
}

fn tokio<const N: usize>(batches: usize) -> Duration {
    let spawn = |future| {
        let handle = tokio::task::spawn_local(future);
        async { handle.await.expect("the work neither panics nor is aborted") }
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    runtime.block_on(async move {
        tokio::task::spawn_local(time::<N, _>(batches, spawn)).await.expect("it does not panic")
    })
}

fn of_async_executor<const N: usize>(batches: usize) -> Duration {
    let executor = Rc::new(LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    let driver = executor.spawn(time::<N, _>(batches, move |future| spawner.spawn(future)));
    futures_lite::future::block_on(executor.run(driver))
}

fn of_compio<const N: usize>(batches: usize) -> Duration {
    let local = compio::Local::new(BATCH as u32 + 1);
    let spawner = local.clone();
    local.block_on(time::<N, _>(batches, move |future| spawner.start(future)))
}
