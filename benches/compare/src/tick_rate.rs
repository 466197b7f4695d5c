//! The rate of a free-running loop with systems and idle tasks, with and without a look at mio, beside a
//! frame of bevy and a turn of the runtimes that have no frame.

use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bevy_app::{App, Update};
use bevy_ecs::prelude::{Local, World};

use crate::question::{Contender, Question, Role, Unit};
use crate::systems::{WARM_UP_TICKS, time_ticks};

const SYSTEMS: [usize; 4] = [0, 1, 8, 32];
const IDLE_TASKS: [usize; 3] = [0, 100, 10_000];

const NOTE: &str = "\
an operation is a tick: of onbeat under block_on_busy, of App::update, and for nexus and tokio, which have
  no stages and run no system, a turn of one task that yields. bevy has no tasks. onbeat looks at mio where a
  socket is registered: in every tick, or in every 61st with one task that yields, whose poll is in the
  figure. nexus and tokio look after so many turns as event_interval says.";

/// When onbeat looks at mio.
#[derive(Clone, Copy, PartialEq)]
enum Mio {
    /// No socket is registered.
    Never,
    /// In every tick, which finds no task ready.
    EveryTick,
    /// Or after 10 us. A task is ready in every tick.
    Every61st,
}

/// The questions, of `ticks` ticks each.
pub(crate) fn questions(ticks: usize) -> impl Iterator<Item = Question> {
    let sizes = SYSTEMS.into_iter().flat_map(|systems| IDLE_TASKS.map(|tasks| (systems, tasks)));
    sizes.map(move |(systems, tasks)| question(systems, tasks, ticks))
}

fn question(systems: usize, tasks: usize, ticks: usize) -> Question {
    let ours = move |mio| move || onbeat(systems, tasks, mio, ticks);
    let shown = Role::Shown;
    let mut contenders = vec![
        Contender::new("bevy App::update", Role::Reference, move || bevy(systems, ticks)),
        Contender::new("onbeat block_on_busy", shown, ours(Mio::Never)),
        Contender::new("onbeat, mio in every tick", shown, ours(Mio::EveryTick)),
        Contender::new("onbeat, mio in every 61st, 1 task", shown, ours(Mio::Every61st)),
    ];
    if systems == 0 {
        contenders.extend([
            Contender::new("nexus yield_now loop", shown, move || nexus(tasks, 61, ticks)),
            Contender::new("nexus, event_interval(1)", shown, move || nexus(tasks, 1, ticks)),
            Contender::new("tokio yield_now loop", shown, move || tokio(tasks, 61, ticks)),
            Contender::new("tokio, event_interval(1)", shown, move || tokio(tasks, 1, ticks)),
        ]);
    }
    Question {
        title: format!("tick rate, {systems} systems, {tasks} idle tasks"),
        operations: ticks,
        unit: Unit::Nanoseconds,
        contenders,
        note: Some(NOTE),
    }
}

fn count(mut ticks: Local<'_, u64>) {
    *ticks += 1;
}

fn bevy(systems: usize, ticks: usize) -> Duration {
    let mut app = App::new();
    for _ in 0..systems {
        app.add_systems(Update, count);
    }
    time_ticks(ticks, || app.update())
}

fn onbeat(systems: usize, tasks: usize, mio: Mio, ticks: usize) -> Duration {
    let mut world = World::new();
    let interval = if mio == Mio::EveryTick { 1 } else { 61 };
    let mut runtime = ::onbeat::Runtime::builder(&mut world).event_interval(interval).build();
    for _ in 0..systems {
        runtime.schedule(::onbeat::Tick).add_systems(count);
    }
    runtime.block_on_busy(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let _listener = (mio != Mio::Never).then(|| {
            ::onbeat::net::TcpListener::bind(address)
                .expect("a port of the loopback interface is free")
        });
        for _ in 0..tasks {
            drop(::onbeat::spawn_boxed(pending::<()>()));
        }
        // A turn that finds nothing ready looks at mio, whatever the interval.
        let yielding = (mio == Mio::Every61st).then(|| {
            ::onbeat::spawn_boxed(async {
                loop {
                    ::onbeat::yield_now().await;
                }
            })
        });
        let ctx = ::onbeat::WorldCtx::current();
        ctx.ticks(WARM_UP_TICKS as u64).await;
        let start = Instant::now();
        ctx.ticks(ticks as u64).await;
        let elapsed = start.elapsed();
        if let Some(yielding) = yielding {
            yielding.abort();
        }
        elapsed
    })
}

fn nexus(tasks: usize, interval: u32, ticks: usize) -> Duration {
    let mut world = nexus_rt::WorldBuilder::new().build();
    let mut runtime = nexus_async_rt::Runtime::builder(&mut world).event_interval(interval).build();
    runtime.block_on_busy(async move {
        for _ in 0..tasks {
            drop(nexus_async_rt::spawn_boxed(pending::<()>()));
        }
        nexus_async_rt::spawn_boxed(yields(ticks, nexus_async_rt::yield_now)).await
    })
}

fn tokio(tasks: usize, interval: u32, ticks: usize) -> Duration {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(interval)
        .build_local(::tokio::runtime::LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    runtime.block_on(async move {
        for _ in 0..tasks {
            drop(::tokio::task::spawn_local(pending::<()>()));
        }
        let loops = ::tokio::task::spawn_local(yields(ticks, ::tokio::task::yield_now));
        loops.await.expect("the loop neither panics nor is aborted")
    })
}

/// So many turns, each ended by `yield_now`, after enough of them that every task has been polled.
async fn yields<F: Future<Output = ()>>(ticks: usize, yield_now: impl Fn() -> F) -> Duration {
    for _ in 0..WARM_UP_TICKS {
        yield_now().await;
    }
    let start = Instant::now();
    for _ in 0..ticks {
        yield_now().await;
    }
    start.elapsed()
}
