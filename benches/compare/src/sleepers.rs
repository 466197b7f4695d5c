//! Turns in which nothing is due, while so many tasks sleep.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::World;

use crate::question::{Contender, Question, Reach, Role, Unit};

/// The first of the sleepers sleeps so long; each of the others a millisecond more.
const LONG: Duration = Duration::from_secs(3_600);
/// As fast as with one: what is above is noise.
const FLAT: f64 = 1.1;
/// Beyond so many sleepers nexus-async-rt needs milliseconds a turn.
const NEXUS_SLEEPERS: u64 = 50_000;

const NOTE: &str = "\
an operation is a turn: a tick of onbeat under block_on_busy; of nexus and tokio, which have no ticks, one of
  a task that yields. With no sleeper and no socket onbeat does not read the clock. A turn of nexus takes
  milliseconds with 1 M sleepers, so it is not asked.";

/// Makes turns: so many at each call.
type Turns = Box<dyn FnMut() -> Duration>;

/// The questions about 1,000 to 1,000,000 sleepers.
pub(crate) fn questions(turns: usize) -> impl Iterator<Item = Question> {
    [("1 k", 1_000), ("50 k", 50_000), ("1 M", 1_000_000)]
        .into_iter()
        .map(move |(name, sleepers)| question(name, sleepers, turns / 100))
}

fn question(name: &str, sleepers: u64, turns: usize) -> Question {
    let onbeat = |sleepers| kept(move || onbeat(sleepers, turns));
    let mut contenders = vec![
        Contender::new("onbeat, 1 sleeper", Role::Reference, onbeat(1)),
        Contender::new("onbeat", Role::Judged(Reach::Ratio(FLAT)), onbeat(sleepers)),
        Contender::new("onbeat, no sleeper", Role::Shown, onbeat(0)),
        Contender::new("tokio", Role::Shown, kept(move || tokio(sleepers, turns))),
    ];
    if sleepers <= NEXUS_SLEEPERS {
        contenders.push(Contender::new("nexus", Role::Shown, kept(move || nexus(sleepers, turns))));
    }
    Question {
        title: format!("idle turn, {name} sleepers"),
        operations: turns,
        contenders,
        note: Some(NOTE),
        unit: Unit::default(),
    }
}

/// Makes what makes turns at the first pass, and keeps it.
fn kept(make: impl Fn() -> Turns + 'static) -> impl FnMut() -> Duration + 'static {
    let mut made: Option<Turns> = None;
    move || made.get_or_insert_with(&make)()
}

/// Counts those that have been polled, and so are in the wheel.
#[derive(Clone, Default)]
struct Asleep(Rc<Cell<u64>>);

impl Asleep {
    async fn count<F: Future>(self, sleep: F) {
        self.0.set(self.0.get() + 1);
        sleep.await;
    }
}

fn onbeat(sleepers: u64, turns: usize) -> Turns {
    let mut runtime = ::onbeat::Runtime::owning(World::new());
    let asleep = Asleep::default();
    runtime.block_on_busy(async {
        for number in 0..sleepers {
            let sleep = ::onbeat::sleep(LONG + Duration::from_millis(number));
            drop(::onbeat::spawn_boxed(asleep.clone().count(sleep)));
        }
        while asleep.0.get() < sleepers {
            ::onbeat::yield_now().await;
        }
    });
    Box::new(move || {
        runtime.block_on_busy(async {
            let ctx = ::onbeat::WorldCtx::current();
            ctx.ticks(turns as u64 / 10).await;
            let start = Instant::now();
            ctx.ticks(turns as u64).await;
            start.elapsed()
        })
    })
}

fn nexus(sleepers: u64, turns: usize) -> Turns {
    // The runtime keeps a pointer to it, and lives as long as the program.
    let world = Box::leak(Box::new(nexus_rt::WorldBuilder::new().build()));
    let mut runtime = nexus_async_rt::Runtime::builder(world).build();
    let asleep = Asleep::default();
    runtime.block_on_busy(async move {
        for number in 0..sleepers {
            let sleep = nexus_async_rt::sleep(LONG + Duration::from_millis(number));
            drop(nexus_async_rt::spawn_boxed(asleep.clone().count(sleep)));
        }
        nexus_async_rt::spawn_boxed(async move {
            while asleep.0.get() < sleepers {
                nexus_async_rt::yield_now().await;
            }
        })
        .await;
    });
    Box::new(move || {
        runtime.block_on_busy(async move {
            nexus_async_rt::spawn_boxed(yields(turns, nexus_async_rt::yield_now)).await
        })
    })
}

fn tokio(sleepers: u64, turns: usize) -> Turns {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(::tokio::runtime::LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    let asleep = Asleep::default();
    runtime.block_on(async {
        for number in 0..sleepers {
            let sleep = ::tokio::time::sleep(LONG + Duration::from_millis(number));
            drop(::tokio::task::spawn_local(asleep.clone().count(sleep)));
        }
        while asleep.0.get() < sleepers {
            ::tokio::task::yield_now().await;
        }
    });
    Box::new(move || {
        runtime.block_on(async {
            let loops = ::tokio::task::spawn_local(yields(turns, ::tokio::task::yield_now));
            loops.await.expect("the loop neither panics nor is aborted")
        })
    })
}

/// So many turns, each ended by `yield_now`, after a tenth of them to begin with.
async fn yields<F: Future<Output = ()>>(turns: usize, yield_now: impl Fn() -> F) -> Duration {
    for _ in 0..turns / 10 {
        yield_now().await;
    }
    let start = Instant::now();
    for _ in 0..turns {
        yield_now().await;
    }
    start.elapsed()
}
