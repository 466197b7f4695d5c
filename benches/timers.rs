//! What timers cost: the wheel alone, a sleep in a runtime, and turns with many who sleep.
//!
//! - `wheel/cancel and insert`: with so many timers alive, one of them is taken out and another put in;
//!   delays are from 1 ms to 30 s, no two alike.
//! - `wheel/fire 100 k`: so many timers due at once are taken out by turns of 64, what must be moved
//!   ahead is moved as the loop does it. `a timer` is the part of the whole that falls on one, `worst turn` is
//!   the longest turn. Turns follow one another from 30 ms before the first deadline, or, `late`, the first is
//!   after the last deadline.
//! - `sleep`: a sleep is created, polled once and dropped.
//! - `idle turn`: one tick of a runtime in which nothing is due and so many tasks sleep.
//!
//! The wheel is private to the library, so its files are included here as a module.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bevy_ecs::world::World;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use onbeat::{Runtime, sleep, spawn_boxed};
use wheel::{TimerId, Wheel};

#[path = "../src/timer/wheel/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the loop uses more of the wheel than the questions here, and its tests run elsewhere"
)]
mod wheel;

const SECOND_NS: u64 = 1_000_000_000;
/// What a turn fires at most.
const TURN: usize = 64;
/// What it moves ahead.
const MOVES: usize = 128;
const DUE_AT_ONCE: u64 = 100_000;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn delay_ns(&mut self) -> u64 {
        1_000_000 + self.below(30 * SECOND_NS)
    }
}

fn wheel_alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel/cancel and insert");
    for live in [100, 10_000, 100_000, 1_000_000] {
        group.bench_function(BenchmarkId::from_parameter(live), |b| {
            let mut random = Random(88_172_645_463_325_252);
            let mut wheel = Wheel::new(0);
            let mut ids: Vec<TimerId> =
                (0..live).map(|_| wheel.insert(random.delay_ns(), 1_usize)).collect();
            b.iter_batched_ref(
                || (random.below(live) as usize, random.delay_ns()),
                |&mut (index, delay_ns)| {
                    black_box(wheel.cancel(ids[index]));
                    ids[index] = wheel.insert(delay_ns, 1);
                },
                BatchSize::NumIterations(10_000),
            );
        });
    }
    group.finish();
}

/// Fires all by turns from this time on, and gives the time of all turns that had something to fire and of
/// the longest.
fn fire(mut now_ns: u64, deadline_ns: impl Fn(u64) -> u64) -> (Duration, Duration) {
    let mut wheel = Wheel::new(0);
    for number in 0..DUE_AT_ONCE {
        wheel.insert(deadline_ns(number), number);
    }
    let (mut total, mut worst, mut fired) = (Duration::ZERO, Duration::ZERO, 0);
    while fired < DUE_AT_ONCE {
        let start = Instant::now();
        let before = fired;
        while fired - before < TURN as u64
            && let Some(number) = wheel.pop_due(now_ns, u64::MAX)
        {
            black_box(number);
            fired += 1;
        }
        wheel.advance(now_ns, MOVES);
        let turn = start.elapsed();
        if fired > before || now_ns >= SECOND_NS {
            total += turn;
        }
        worst = worst.max(turn);
        now_ns += 1_000;
    }
    (total, worst)
}

fn fire_at_once(c: &mut Criterion) {
    let scattered = |span_ns: u64| {
        move |number: u64| SECOND_NS + number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % span_ns
    };
    let mut group = c.benchmark_group("wheel/fire 100 k");
    group.sample_size(10);
    let ahead_ns = SECOND_NS - 30_000_000;
    for (name, span_ns, from_ns) in [
        ("one instant", 1, ahead_ns),
        ("within 1 us", 1_000, ahead_ns),
        ("within 5 ms", 5_000_000, ahead_ns),
        ("late, one instant", 1, SECOND_NS + 1),
        ("late, within 1 us", 1_000, SECOND_NS + 1_000),
        ("late, within 5 ms", 5_000_000, SECOND_NS + 5_000_000),
        ("late, within 10 s", 10 * SECOND_NS, 11 * SECOND_NS),
    ] {
        group.bench_function(BenchmarkId::new("a timer", name), |b| {
            b.iter_custom(|iterations| {
                let (total, _) = fire(from_ns, scattered(span_ns));
                Duration::from_secs_f64(
                    total.as_secs_f64() * iterations as f64 / DUE_AT_ONCE as f64,
                )
            });
        });
        group.bench_function(BenchmarkId::new("worst turn", name), |b| {
            b.iter_custom(|iterations| {
                // The least of three: the machine's own interruptions are not the wheel's.
                let worst = (0..3).map(|_| fire(from_ns, scattered(span_ns)).1).min();
                worst.unwrap_or_default() * iterations as u32
            });
        });
    }
    group.finish();
}

fn sleeps(c: &mut Criterion) {
    c.bench_function("sleep/created, polled, dropped", |b| {
        b.iter_custom(|iterations| {
            let mut world = World::new();
            Runtime::new(&mut world).block_on(async move {
                let start = Instant::now();
                for _ in 0..iterations {
                    let mut sleep = pin!(sleep(Duration::from_secs(10)));
                    poll_fn(|cx| {
                        assert!(sleep.as_mut().poll(cx).is_pending(), "nobody waits so long");
                        Poll::Ready(())
                    })
                    .await;
                }
                start.elapsed()
            })
        });
    });
}

fn idle_turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle turn");
    for sleepers in [0_u64, 1_000, 50_000, 1_000_000] {
        group.bench_function(BenchmarkId::from_parameter(sleepers), |b| {
            let mut world = World::new();
            let mut runtime = Runtime::new(&mut world);
            runtime.block_on(async {
                for number in 0..sleepers {
                    drop(spawn_boxed(sleep(Duration::from_millis(3_600_000 + number))));
                }
            });
            while runtime.stats().polls <= sleepers {
                runtime.tick().expect("nothing replaces the World");
            }
            b.iter(|| runtime.tick().expect("nothing replaces the World"));
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = wheel_alone, fire_at_once, sleeps, idle_turn
}
criterion_main!(benches);
