//! The rate of a free-running loop with more systems and idle tasks than the tick questions have, beside a
//! frame of bevy and a turn of the runtimes that have no frame.

use std::future::{Future, pending};
use std::time::{Duration, Instant};

use bevy_app::{App, Update};
use bevy_ecs::prelude::{Local, World};

use crate::question::{Contender, Question, Role, Unit};

/// Systems and idle tasks of each question.
const SIZES: [(usize, usize); 6] = [(0, 0), (1, 0), (8, 0), (32, 0), (0, 100), (0, 10_000)];

const NOTE: &str = "\
an operation is a tick: of onbeat under block_on_busy, of App::update, and for nexus and tokio, which have
  no stages and run no system, a turn of one task that yields. Only onbeat, nexus and tokio have the idle tasks.";

/// The questions, of `ticks` ticks each.
pub(crate) fn questions(ticks: usize) -> impl Iterator<Item = Question> {
    SIZES.into_iter().map(move |(systems, tasks)| Question {
        title: format!("tick rate, {systems} systems, {tasks} idle tasks"),
        operations: ticks,
        unit: Unit::Nanoseconds,
        contenders: vec![
            Contender::new("bevy App::update", Role::Reference, move || bevy(systems, ticks)),
            Contender::new("onbeat block_on_busy", Role::Shown, move || {
                onbeat(systems, tasks, ticks)
            }),
            Contender::new("nexus yield_now loop, no system", Role::Shown, move || {
                nexus(tasks, ticks)
            }),
            Contender::new("tokio yield_now loop, no system", Role::Shown, move || {
                tokio(tasks, ticks)
            }),
        ],
        note: Some(NOTE),
    })
}

fn count(mut ticks: Local<'_, u64>) {
    *ticks += 1;
}

fn bevy(systems: usize, ticks: usize) -> Duration {
    let mut app = App::new();
    for _ in 0..systems {
        app.add_systems(Update, count);
    }
    crate::systems::time_ticks(ticks, || app.update())
}

fn onbeat(systems: usize, tasks: usize, ticks: usize) -> Duration {
    let mut world = World::new();
    let mut runtime = ::onbeat::Runtime::new(&mut world);
    for _ in 0..systems {
        runtime.schedule(::onbeat::Tick).add_systems(count);
    }
    runtime.block_on_busy(async {
        for _ in 0..tasks {
            drop(::onbeat::spawn_boxed(pending::<()>()));
        }
        let ctx = ::onbeat::WorldCtx::current();
        ctx.ticks(crate::systems::WARM_UP_TICKS as u64).await;
        let start = Instant::now();
        ctx.ticks(ticks as u64).await;
        start.elapsed()
    })
}

fn nexus(tasks: usize, ticks: usize) -> Duration {
    let mut world = nexus_rt::WorldBuilder::new().build();
    let mut runtime = nexus_async_rt::Runtime::builder(&mut world).build();
    runtime.block_on_busy(async move {
        for _ in 0..tasks {
            drop(nexus_async_rt::spawn_boxed(pending::<()>()));
        }
        nexus_async_rt::spawn_boxed(yields(ticks, nexus_async_rt::yield_now)).await
    })
}

fn tokio(tasks: usize, ticks: usize) -> Duration {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
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
    for _ in 0..crate::systems::WARM_UP_TICKS {
        yield_now().await;
    }
    let start = Instant::now();
    for _ in 0..ticks {
        yield_now().await;
    }
    start.elapsed()
}
