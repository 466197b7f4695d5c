//! The program whose instructions `instructions.py` counts: it does one thing so many times, and ends.
//!
//! ```text
//! instructions PATH TIMES
//! ```
//!
//! Counts do not depend on what else the machine does, so they are kept beside this file and compared.
//! What comes before the first time is not in them, because the script subtracts a run with half as many.
//! As a bench it does everything once and measures nothing.

use std::{env, future::poll_fn, hint::black_box, pin::pin, task::Poll, time::Duration};

use bevy_ecs::{prelude::*, schedule::SingleThreadedExecutor, system::SystemState};
use onbeat::{
    Runtime, Tick, WorldCtx,
    channel::{local, mpsc, spsc},
    sleep, spawn_boxed, spawn_slab, yield_now,
};
use wheel::{TimerId, Wheel};

#[path = "../src/timer/wheel/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the loop uses more of the wheel than is counted here, and its tests run elsewhere"
)]
mod wheel;

/// Tasks that live at once where tasks are spawned and joined.
const BATCH: u64 = 100;
/// Timers that live while others come and go.
const LIVE: u64 = 10_000;

type Path = (&'static str, fn(u64));

const PATHS: [Path; 18] = [
    ("poll after a self-wake, 64 tasks", |times| yields(64, times)),
    ("poll after a self-wake, 1 task", |times| yields(1, times)),
    ("spawn, poll and join, boxed", spawn_and_join_boxed),
    ("spawn, poll and join, slab", spawn_and_join_slab),
    ("wheel insert and cancel", insert_and_cancel),
    ("sleep created, polled, dropped", sleeps),
    ("with_world doing nothing", with_world),
    ("a resource by hand, by its id", resource_by_id),
    ("a resource by hand, SystemState", resource_by_state),
    ("a resource through params", resource_by_params),
    ("three parameters by hand, SystemState", three_by_state),
    ("three parameters through params", three_by_params),
    ("local channel pair", local_pair),
    ("spsc channel pair", spsc_pair),
    ("mpsc channel pair", mpsc_pair),
    ("empty tick", empty_tick),
    ("Schedule::run with 1 system", schedule_run),
    ("tick with 1 system", tick_with_a_system),
];

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(name) = arguments.next() else {
        PATHS.iter().for_each(|(_, path)| path(1));
        return;
    };
    let (_, path) = PATHS.iter().find(|(other, _)| *other == name).expect("the name of a path");
    let times = arguments.next().and_then(|times| times.parse().ok()).expect("how many times");
    path(times);
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut world = World::new();
    Runtime::builder(&mut world).slab_unbounded::<128>(BATCH as usize).build().block_on(future)
}

fn yields(tasks: u64, times: u64) {
    block_on(async move {
        let yielding = || async move {
            for _ in 0..times.div_ceil(tasks) {
                yield_now().await;
            }
        };
        let handles: Vec<_> = (0..tasks).map(|_| spawn_boxed(yielding())).collect();
        for handle in handles {
            handle.await;
        }
    });
}

fn spawn_and_join_boxed(times: u64) {
    block_on(async move {
        let mut handles = Vec::new();
        for _ in 0..times.div_ceil(BATCH) {
            handles.extend((0..BATCH).map(|number| spawn_boxed(async move { black_box(number) })));
            for handle in handles.drain(..) {
                black_box(handle.await);
            }
        }
    });
}

fn spawn_and_join_slab(times: u64) {
    block_on(async move {
        let mut handles = Vec::new();
        for _ in 0..times.div_ceil(BATCH) {
            handles.extend((0..BATCH).map(|number| spawn_slab(async move { black_box(number) })));
            for handle in handles.drain(..) {
                black_box(handle.await);
            }
        }
    });
}

/// Delays from 1 ms to 30 s, no two alike.
fn delay_ns(number: u64) -> u64 {
    1_000_000 + number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 29_999_000_000
}

fn insert_and_cancel(times: u64) {
    let mut wheel = Wheel::new(0);
    let mut ids: Vec<TimerId> =
        (0..LIVE).map(|number| wheel.insert(delay_ns(number), number)).collect();
    for number in 0..times {
        let place = (number % LIVE) as usize;
        black_box(wheel.cancel(ids[place]));
        ids[place] = wheel.insert(delay_ns(LIVE + number), number);
    }
}

fn sleeps(times: u64) {
    block_on(poll_fn(move |cx| {
        for _ in 0..times {
            let sleeping = pin!(sleep(Duration::from_secs(1)));
            assert!(black_box(sleeping).poll(cx).is_pending());
        }
        Poll::Ready(())
    }));
}

fn with_world(times: u64) {
    block_on(async move {
        let ctx = WorldCtx::current();
        for _ in 0..times {
            ctx.with_world(|world| {
                black_box(world);
            });
        }
    });
}

#[derive(Resource, Default)]
struct Counter(u64);

#[derive(Resource, Default)]
struct Step(u64);

#[derive(Component, Default)]
struct Quantity(u64);

type Three =
    (ResMut<'static, Counter>, Res<'static, Step>, Query<'static, 'static, &'static mut Quantity>);

fn raise_all(
    (mut counter, step, mut query): (
        ResMut<'_, Counter>,
        Res<'_, Step>,
        Query<'_, '_, &mut Quantity>,
    ),
) {
    counter.0 += step.0;
    for mut quantity in &mut query {
        quantity.0 += step.0;
    }
}

/// Runs `path` in a task of a World that has what the parameters name.
fn with_the_world(path: impl FnOnce(WorldCtx)) {
    block_on(async move {
        let ctx = WorldCtx::current();
        ctx.with_world(|world| {
            world.init_resource::<Counter>();
            world.insert_resource(Step(1));
            world.spawn(Quantity(0));
        });
        path(ctx);
    });
}

fn resource_by_id(times: u64) {
    with_the_world(|ctx| {
        ctx.with_world(|world| {
            let id = world.component_id::<Counter>().expect("it was inserted");
            for _ in 0..times {
                let counter = black_box(&mut *world).get_resource_mut_by_id(id);
                black_box(counter.expect("it was inserted").as_mut());
            }
        });
    });
}

fn resource_by_state(times: u64) {
    with_the_world(|ctx| {
        ctx.with_world(|world| {
            let mut state = SystemState::<ResMut<Counter>>::new(world);
            for _ in 0..times {
                state.get_mut(black_box(&mut *world)).expect("it was inserted").0 += 1;
                state.apply(world);
            }
        });
    });
}

fn resource_by_params(times: u64) {
    with_the_world(|ctx| {
        let mut params = ctx.params::<ResMut<Counter>>();
        for _ in 0..times {
            params.with(|mut counter| counter.0 += 1).expect("it was inserted");
        }
    });
}

fn three_by_state(times: u64) {
    with_the_world(|ctx| {
        ctx.with_world(|world| {
            let mut state = SystemState::<Three>::new(world);
            for _ in 0..times {
                raise_all(state.get_mut(black_box(&mut *world)).expect("all is there"));
                state.apply(world);
            }
        });
    });
}

fn three_by_params(times: u64) {
    with_the_world(|ctx| {
        let mut params = ctx.params::<Three>();
        for _ in 0..times {
            params.with(raise_all).expect("all is there");
        }
    });
}

fn local_pair(times: u64) {
    let (sender, receiver) = local::channel(64);
    for number in 0..times {
        sender.try_send(black_box(number)).expect("the channel is empty");
        black_box(receiver.try_recv().expect("one was sent"));
    }
}

fn spsc_pair(times: u64) {
    let (mut sender, mut receiver) = spsc::channel(64);
    for number in 0..times {
        sender.try_send(black_box(number)).expect("the channel is empty");
        black_box(receiver.try_recv().expect("one was sent"));
    }
}

fn mpsc_pair(times: u64) {
    let (sender, mut receiver) = mpsc::channel(64);
    for number in 0..times {
        sender.try_send(black_box(number)).expect("the channel is empty");
        black_box(receiver.try_recv().expect("one was sent"));
    }
}

fn empty_tick(times: u64) {
    let mut world = World::new();
    let mut runtime = Runtime::new(&mut world);
    for _ in 0..times {
        runtime.tick().expect("nothing fails in an empty tick");
    }
}

fn count(mut counter: ResMut<'_, Counter>) {
    counter.0 += 1;
}

/// Without a runtime.
fn schedule_run(times: u64) {
    let mut world = World::new();
    world.init_resource::<Counter>();
    let mut schedule = Schedule::new(Tick);
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.add_systems(count);
    for _ in 0..times {
        schedule.run(&mut world);
    }
}

fn tick_with_a_system(times: u64) {
    let mut world = World::new();
    world.init_resource::<Counter>();
    let mut runtime = Runtime::new(&mut world);
    runtime.schedule(Tick).add_systems(count);
    for _ in 0..times {
        runtime.tick().expect("nothing fails in a tick of one system");
    }
}
