//! How many ticks a second a free-running loop makes: with systems, with idle tasks, and with mio polled.
//!
//! - `N systems`: each counts its runs.
//! - `N idle tasks`: alive, and waiting for what does not come.
//! - `no socket`: mio has nothing to be asked about, and is not.
//! - `mio in every tick`: one listener is registered, and `event_interval` is 1.
//! - `mio in every 61st`: one listener, and one task that yields for ever, so something is ready and mio is
//!   asked after 61 ticks, or 10 us. Its poll is in the figure.
//!
//! The rate is that of `elem/s`. The same beside `App::update`, nexus and tokio is in `benches/compare`.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bevy_ecs::prelude::{Local, World};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use onbeat::net::TcpListener;
use onbeat::{Runtime, Tick, WorldCtx, spawn_boxed, yield_now};

/// When mio is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mio {
    Never,
    EveryTick,
    Every61st,
}

impl Mio {
    const ALL: [Self; 3] = [Self::Never, Self::EveryTick, Self::Every61st];

    fn name(self) -> &'static str {
        match self {
            Self::Never => "no socket",
            Self::EveryTick => "mio in every tick",
            Self::Every61st => "mio in every 61st",
        }
    }
}

fn count(mut ticks: Local<'_, u64>) {
    *ticks += 1;
}

fn tick_rate(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick_rate");
    group.throughput(Throughput::Elements(1));
    for systems in [0, 1, 8, 32] {
        for tasks in [0, 100, 10_000] {
            for mio in Mio::ALL {
                measure(&mut group, systems, tasks, mio);
            }
        }
    }
    group.finish();
}

/// The loop runs in `block_on_busy`, whose root waits for so many ticks: they follow one another without
/// a poll of it.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, systems: usize, tasks: usize, mio: Mio) {
    let name = format!("{systems} systems, {tasks} idle tasks, {}", mio.name());
    group.bench_function(name, |b| {
        let mut world = World::new();
        let interval = if mio == Mio::EveryTick { 1 } else { 61 };
        let mut runtime = Runtime::builder(&mut world).event_interval(interval).build();
        for _ in 0..systems {
            runtime.schedule(Tick).add_systems(count);
        }
        let listener = (mio != Mio::Never).then(|| listen(&mut runtime));
        runtime.block_on_busy(async {
            for _ in 0..tasks {
                drop(spawn_boxed(pending::<()>()));
            }
            if mio == Mio::Every61st {
                drop(spawn_boxed(yield_for_ever()));
            }
            // Every task has been polled once.
            WorldCtx::current().ticks(1_000).await;
        });
        b.iter_custom(|ticks| {
            let start = Instant::now();
            runtime.block_on_busy(async { WorldCtx::current().ticks(ticks).await });
            start.elapsed()
        });
        drop(listener);
    });
}

async fn yield_for_ever() {
    loop {
        yield_now().await;
    }
}

fn listen(runtime: &mut Runtime<'_>) -> TcpListener {
    runtime.block_on(async {
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port of the loopback interface is free")
    })
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! {
    name = benches;
    config = short();
    targets = tick_rate
}
criterion_main!(benches);
