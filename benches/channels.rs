//! What it costs to pass a value through a channel.
//!
//! - `pair`: one `try_send` and one `try_recv` on one thread, with nobody waiting: what the operations
//!   cost by themselves.
//! - `burst`: as many values as there are places, then all of them received, one by one or by
//!   `try_recv_many`; the time is that of one value.
//! - `ping_pong`: two tasks of one runtime that wait for each other. The time is that of a round: two
//!   values, four polls.
//! - `cross_thread`: a thread that sends all it can, and a task that receives; the time is that of one
//!   value. And a round between a thread and a task, the task's runtime parking or spinning: two values,
//!   each of which wakes who waits for it.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::World;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use onbeat::channel::{local, mpsc, spsc};
use onbeat::{Runtime, spawn_boxed};

const PLACES: usize = 64;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// The same for each kind of channel; that some ends are used through `&mut` is their only difference.
macro_rules! in_one_thread {
    ($module:ident, $pair:ident, $burst:ident, $ping_pong:ident) => {
        fn $pair(group: &mut Group<'_>) {
            #[allow(unused_mut, reason = "some channels are sent to through `&`")]
            let (mut sender, mut receiver) = $module::channel(PLACES);
            group.bench_function(stringify!($module), |b| {
                b.iter(|| {
                    sender.try_send(black_box(7_u64)).expect("there is room");
                    receiver.try_recv()
                });
            });
        }

        fn $burst(group: &mut Group<'_>) {
            #[allow(unused_mut, reason = "some channels are sent to through `&`")]
            let (mut sender, mut receiver) = $module::channel(PLACES);
            #[allow(unused_mut, reason = "as above")]
            let mut fill = move || {
                for value in 0..PLACES as u64 {
                    sender.try_send(black_box(value)).expect("there is room");
                }
            };
            group.bench_function(concat!(stringify!($module), ", one by one"), |b| {
                b.iter(|| {
                    fill();
                    while let Ok(value) = receiver.try_recv() {
                        black_box(value);
                    }
                });
            });
            let mut values = Vec::with_capacity(PLACES);
            group.bench_function(concat!(stringify!($module), ", many"), |b| {
                b.iter(|| {
                    fill();
                    values.clear();
                    receiver.try_recv_many(&mut values, PLACES)
                });
            });
        }

        fn $ping_pong(group: &mut Group<'_>) {
            group.bench_function(stringify!($module), |b| {
                b.iter_custom(|rounds| {
                    run(|future| Runtime::new(&mut World::new()).block_on(future), async move {
                        #[allow(unused_mut, reason = "some channels are used through `&`")]
                        let (mut there, mut from_here) = $module::channel(1);
                        #[allow(unused_mut, reason = "some channels are used through `&`")]
                        let (mut back, mut from_there) = $module::channel(1);
                        let other = spawn_boxed(async move {
                            while let Some(value) = from_here.recv().await {
                                if back.send(value).await.is_err() {
                                    break;
                                }
                            }
                        });
                        let start = Instant::now();
                        for round in 0..rounds {
                            there.send(round).await.expect("the other task receives");
                            from_there.recv().await.expect("the other task sends");
                        }
                        let elapsed = start.elapsed();
                        drop(there);
                        other.await;
                        elapsed
                    })
                });
            });
        }
    };
}

in_one_thread!(local, local_pair, local_burst, local_ping_pong);
in_one_thread!(mpsc, mpsc_pair, mpsc_burst, mpsc_ping_pong);
in_one_thread!(spsc, spsc_pair, spsc_burst, spsc_ping_pong);

/// Runs `work` as a spawned task.
fn run<W: Future<Output = Duration> + 'static>(
    block_on: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = Duration>>>) -> Duration,
    work: W,
) -> Duration {
    block_on(Box::pin(async move { spawn_boxed(work).await }))
}

macro_rules! across_threads {
    ($module:ident, $stream:ident, $round:ident) => {
        fn $stream(group: &mut Group<'_>) {
            group.bench_function(concat!(stringify!($module), ", stream"), |b| {
                b.iter_custom(|values| {
                    #[allow(unused_mut, reason = "some channels are sent to through `&`")]
                    let (mut sender, mut receiver) = $module::channel(1_024);
                    let thread = thread::spawn(move || {
                        for value in 0..values {
                            sender.blocking_send(value).expect("the task receives them all");
                        }
                    });
                    let elapsed = run(
                        |future| Runtime::new(&mut World::new()).block_on(future),
                        async move {
                            let start = Instant::now();
                            for _ in 0..values {
                                black_box(receiver.recv().await);
                            }
                            start.elapsed()
                        },
                    );
                    thread.join().expect("it does not panic");
                    elapsed
                });
            });
        }

        fn $round(group: &mut Group<'_>) {
            for is_busy in [false, true] {
                let name = if is_busy { "spinning" } else { "parked" };
                group.bench_function(format!("{}, round, {name}", stringify!($module)), |b| {
                    b.iter_custom(|rounds| {
                        #[allow(unused_mut, reason = "some channels are used through `&`")]
                        let (mut there, mut from_here) = $module::channel(1);
                        #[allow(unused_mut, reason = "some channels are used through `&`")]
                        let (mut back, mut from_there) = $module::channel(1);
                        let thread = thread::spawn(move || {
                            while let Some(value) = from_here.blocking_recv() {
                                if back.blocking_send(value).is_err() {
                                    break;
                                }
                            }
                        });
                        let work = async move {
                            let start = Instant::now();
                            for round in 0..rounds {
                                there.send(round).await.expect("the thread receives");
                                from_there.recv().await.expect("the thread sends");
                            }
                            start.elapsed()
                        };
                        let mut world = World::new();
                        let mut runtime = Runtime::new(&mut world);
                        let elapsed = run(
                            |future| {
                                if is_busy {
                                    runtime.block_on_busy(future)
                                } else {
                                    runtime.block_on(future)
                                }
                            },
                            work,
                        );
                        thread.join().expect("it does not panic");
                        elapsed
                    });
                });
            }
        }
    };
}

across_threads!(mpsc, mpsc_stream, mpsc_round);
across_threads!(spsc, spsc_stream, spsc_round);

fn channels(c: &mut Criterion) {
    let mut group = c.benchmark_group("pair");
    local_pair(&mut group);
    spsc_pair(&mut group);
    mpsc_pair(&mut group);
    group.finish();

    let mut group = c.benchmark_group("burst");
    group.throughput(Throughput::Elements(PLACES as u64));
    local_burst(&mut group);
    spsc_burst(&mut group);
    mpsc_burst(&mut group);
    group.finish();

    let mut group = c.benchmark_group("ping_pong");
    local_ping_pong(&mut group);
    spsc_ping_pong(&mut group);
    mpsc_ping_pong(&mut group);
    group.finish();

    let mut group = c.benchmark_group("cross_thread");
    spsc_stream(&mut group);
    mpsc_stream(&mut group);
    spsc_round(&mut group);
    mpsc_round(&mut group);
    group.finish();
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
    targets = channels
}
criterion_main!(benches);
