//! What it costs to dispatch: to wake a task and poll it, to spawn and join one, to lend the World.
//!
//! Times are nanoseconds for one operation, so an iteration is one poll, one task, one call.
//!
//! - `yield`: tasks that wake themselves, all alive together. With one task each poll has a whole tick
//!   to itself; with 1,024 it has a part of one in a thousand.
//! - `wake_and_poll`: tasks that never wake themselves. One more task wakes all of them by wakers that
//!   it keeps, and they are polled in the same turn. The time until the last wake returns is `wake`;
//!   from there to the poll of the last task is `poll`, a poll without a wake. Each is charged one
//!   reading of the clock, which is half a nanosecond for each of 64 tasks. No tick is in these figures, so
//!   they are not taken again with a system.
//! - `spawn_poll_join`: tasks that are ready at their first poll, in batches of 1,000, boxed and in slots of
//!   a slab.
//! - `waker`: a clone and its drop.
//! - `world`: an access that does nothing, beside a direct call that does nothing.
//!
//! What has a tick in it is measured without a system and with one small system in the stage.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bevy_ecs::prelude::{ResMut, Resource, World};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use onbeat::{Runtime, Tick, WorldCtx, spawn_boxed, spawn_slab, yield_now};

const TASKS: [usize; 3] = [1, 64, 1_024];
const BATCH: usize = 1_000;
/// Times that all is done before the clock starts, so that rings and pools have their size.
const WARM_UP: usize = 4;

#[derive(Resource, Default)]
struct Counter(u64);

fn count(mut counter: ResMut<'_, Counter>) {
    counter.0 += 1;
}

/// What the one stage holds.
#[derive(Clone, Copy)]
enum Stage {
    Empty,
    OneSystem,
}

impl Stage {
    const ALL: [Self; 2] = [Self::Empty, Self::OneSystem];

    fn name(self) -> &'static str {
        match self {
            Self::Empty => "no system",
            Self::OneSystem => "1 system",
        }
    }

    /// Runs `future` on a runtime of its own.
    fn run<T>(self, future: impl Future<Output = T>) -> T {
        let mut world = World::new();
        world.init_resource::<Counter>();
        let mut runtime = Runtime::builder(&mut world).slab_unbounded::<128>(BATCH).build();
        if let Self::OneSystem = self {
            runtime.schedule(Tick).add_systems(count);
        }
        runtime.block_on(future)
    }
}

/// The part of `elapsed`, the time of `done` operations, that `asked` of them took.
fn part(elapsed: Duration, asked: u64, done: usize) -> Duration {
    Duration::from_secs_f64(elapsed.as_secs_f64() * asked as f64 / done as f64)
}

fn yields(c: &mut Criterion) {
    for stage in Stage::ALL {
        let mut group = c.benchmark_group(format!("yield/{}", stage.name()));
        group.throughput(Throughput::Elements(1));
        for tasks in TASKS {
            group.bench_function(BenchmarkId::from_parameter(tasks), |b| {
                b.iter_custom(|iterations| {
                    let each = (iterations as usize).div_ceil(tasks);
                    let elapsed = stage.run(async {
                        yield_together(tasks, WARM_UP).await;
                        yield_together(tasks, each).await
                    });
                    part(elapsed, iterations, tasks * each)
                });
            });
        }
        group.finish();
    }
}

async fn yield_together(tasks: usize, each: usize) -> Duration {
    let handles: Vec<_> = (0..tasks).map(|_| spawn_boxed(yield_often(each))).collect();
    let start = Instant::now();
    for handle in handles {
        handle.await;
    }
    start.elapsed()
}

async fn yield_often(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

/// What passes between the tasks that are woken and the one that wakes them.
#[derive(Default)]
struct Woken {
    wakers: RefCell<Vec<Waker>>,
    /// When the last of the tasks was polled.
    last_poll: Cell<Option<Instant>>,
}

fn wake_and_poll(c: &mut Criterion) {
    let mut group = c.benchmark_group("wake_and_poll");
    group.throughput(Throughput::Elements(1));
    for tasks in [64, 1_024] {
        for (name, is_poll) in [("wake", false), ("poll", true)] {
            group.bench_function(BenchmarkId::new(name, tasks), |b| {
                b.iter_custom(|iterations| {
                    let rounds = (iterations as usize).div_ceil(tasks);
                    let (wake, poll) = Stage::Empty.run(wake_others(tasks, rounds));
                    part(if is_poll { poll } else { wake }, iterations, tasks * rounds)
                });
            });
        }
    }
    group.finish();
}

/// The time of all wakes, and the time of all polls.
async fn wake_others(tasks: usize, rounds: usize) -> (Duration, Duration) {
    let woken = Rc::new(Woken::default());
    for _ in 1..tasks {
        drop(spawn_boxed(keep_waker_then_pend(Rc::clone(&woken))));
    }
    drop(spawn_boxed(stamp_each_poll(Rc::clone(&woken))));
    spawn_boxed(async move {
        while woken.wakers.borrow().len() < tasks {
            yield_now().await;
        }
        let (mut wake, mut poll) = (Duration::ZERO, Duration::ZERO);
        for round in 0..WARM_UP + rounds {
            let start = Instant::now();
            for waker in woken.wakers.borrow().iter() {
                waker.wake_by_ref();
            }
            let all_woken = Instant::now();
            yield_now().await;
            let end = woken.last_poll.get().expect("the last task stamps its first poll");
            assert!(end >= all_woken, "tasks are polled in the turn in which they are woken");
            if round >= WARM_UP {
                wake += all_woken - start;
                poll += end - all_woken;
            }
        }
        (wake, poll)
    })
    .await
}

async fn keep_waker_then_pend(woken: Rc<Woken>) {
    keep_waker(&woken).await;
    pending::<()>().await;
}

async fn stamp_each_poll(woken: Rc<Woken>) {
    keep_waker(&woken).await;
    poll_fn(|_| {
        woken.last_poll.set(Some(Instant::now()));
        Poll::<()>::Pending
    })
    .await;
}

async fn keep_waker(woken: &Woken) {
    poll_fn(|cx| {
        woken.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Ready(())
    })
    .await;
}

fn spawn_poll_join(c: &mut Criterion) {
    let mut group = c.benchmark_group("spawn_poll_join");
    group.throughput(Throughput::Elements(1));
    for stage in Stage::ALL {
        for memory in [Memory::Boxed, Memory::Slab] {
            group.bench_function(BenchmarkId::new(memory.name(), stage.name()), |b| {
                b.iter_custom(|iterations| {
                    let batches = (iterations as usize).div_ceil(BATCH);
                    let elapsed = stage.run(async {
                        spawn_and_join(memory, WARM_UP).await;
                        spawn_and_join(memory, batches).await
                    });
                    part(elapsed, iterations, batches * BATCH)
                });
            });
        }
    }
    group.finish();
}

/// Where a task's future stands.
#[derive(Clone, Copy)]
enum Memory {
    Boxed,
    Slab,
}

impl Memory {
    fn name(self) -> &'static str {
        match self {
            Self::Boxed => "boxed",
            Self::Slab => "slab",
        }
    }
}

async fn spawn_and_join(memory: Memory, batches: usize) -> Duration {
    let mut handles = Vec::with_capacity(BATCH);
    let start = Instant::now();
    for _ in 0..batches {
        for index in 0..BATCH as u64 {
            let captured = [index; 8];
            let task = async move { black_box(&captured)[7] };
            handles.push(match memory {
                Memory::Boxed => spawn_boxed(task),
                Memory::Slab => spawn_slab(task),
            });
        }
        for handle in handles.drain(..) {
            black_box(handle.await);
        }
    }
    start.elapsed()
}

fn waker(c: &mut Criterion) {
    let own_waker = poll_fn(|cx| Poll::Ready(cx.waker().clone()));
    let waker = Stage::Empty.run(async { spawn_boxed(own_waker).await });
    c.bench_function("waker/clone and drop", |b| {
        b.iter(|| drop(black_box(black_box(&waker).clone())));
    });
}

fn world(c: &mut Criterion) {
    let mut group = c.benchmark_group("world");
    group.bench_function("direct call", |b| {
        let mut world = World::new();
        b.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                touch(black_box(&mut world));
            }
            start.elapsed()
        });
    });
    group.bench_function("with_world", |b| {
        b.iter_custom(|iterations| {
            Stage::Empty.run(async {
                let ctx = black_box(WorldCtx::current());
                let start = Instant::now();
                for _ in 0..iterations {
                    ctx.with_world(touch);
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

fn touch(world: &mut World) {
    black_box(world);
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = yields, wake_and_poll, spawn_poll_join, waker, world
}
criterion_main!(benches);
