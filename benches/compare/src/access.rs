//! A task that touches the World, on onbeat and on what else gives tasks a bevy World.
//!
//! The peers are for older versions of bevy, and are there with the feature `bevy-peers` only: each brings a
//! bevy of its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::{Mut, ResMut, Resource, World};
use onbeat::{Runtime, WorldCtx};

use crate::question::{Contender, Question, Reach, Role, Unit};

const NOTE: &str = "\
by hand has the World at hand. Peers with the feature bevy-peers: bevy_defer 0.18 over bevy 0.19, which is
  newer than bevy_mod_async 0.12 over bevy 0.18. A task of the latter gets the World once a frame, from a
  system, through a channel: its figure is that of a frame of an App that does nothing else.";

/// What a task does with the World.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Nothing,
    Resource,
}

#[derive(Resource, Default)]
struct Counter(u64);

fn touch<W>(world: &mut W) {
    black_box(world);
}

/// The time of so many calls, after some that are not counted.
fn timed(times: usize, mut access: impl FnMut()) -> Duration {
    for _ in 0..times.div_ceil(16) {
        access();
    }
    let start = Instant::now();
    for _ in 0..times {
        access();
    }
    start.elapsed()
}

/// In the root future of a runtime.
fn in_a_task(work: impl FnOnce(WorldCtx) -> Duration) -> Duration {
    let mut world = World::new();
    world.init_resource::<Counter>();
    Runtime::new(&mut world).block_on(async { work(WorldCtx::current()) })
}

pub(crate) fn questions(times: usize) -> Vec<Question> {
    let question = |title: &str, contenders| Question {
        title: title.to_owned(),
        operations: times,
        contenders,
        note: Some(NOTE),
        unit: Unit::default(),
    };
    vec![
        question("access to the World by a task, nothing done", nothing(times)),
        question("access to the World by a task, a resource raised", resource(times)),
    ]
}

fn nothing(times: usize) -> Vec<Contender> {
    let mut contenders = vec![
        Contender::new("by hand", Role::Reference, move || {
            in_a_task(|ctx| ctx.with_world(|world| timed(times, || touch(black_box(world)))))
        }),
        Contender::new("onbeat with_world", Role::Judged(Reach::AboveReference(3.0)), move || {
            in_a_task(|ctx| timed(times, || ctx.with_world(touch)))
        }),
    ];
    contenders.extend(peers(Access::Nothing, times));
    contenders
}

fn resource(times: usize) -> Vec<Contender> {
    const THERE: &str = "it was inserted";
    let mut contenders = vec![
        Contender::new("by hand", Role::Reference, move || {
            in_a_task(|ctx| {
                ctx.with_world(|world| timed(times, || world.resource_mut::<Counter>().0 += 1))
            })
        }),
        Contender::new("onbeat res_mut", Role::Shown, move || {
            in_a_task(|ctx| {
                timed(times, || {
                    ctx.res_mut(|mut counter: Mut<'_, Counter>| counter.0 += 1).expect(THERE);
                })
            })
        }),
        Contender::new("onbeat params", Role::Shown, move || {
            in_a_task(|ctx| {
                let mut params = ctx.params::<ResMut<'_, Counter>>();
                timed(times, || params.with(|mut counter| counter.0 += 1).expect(THERE))
            })
        }),
    ];
    contenders.extend(peers(Access::Resource, times));
    contenders
}

#[cfg(not(feature = "bevy-peers"))]
fn peers(_: Access, _: usize) -> Vec<Contender> {
    Vec::new()
}

#[cfg(feature = "bevy-peers")]
fn peers(access: Access, times: usize) -> Vec<Contender> {
    // A frame takes a thousand times as long as an access.
    const FRAMES: usize = 1_000;
    vec![
        Contender::new("bevy_defer", Role::Shown, move || defer::pass(access, times)),
        Contender::new("bevy_mod_async, a frame each", Role::Shown, move || {
            let frames = times.div_ceil(FRAMES);
            mod_async::pass(access, frames).mul_f64(times as f64 / frames as f64)
        }),
    ]
}

/// bevy_defer 0.18: its executor is a system, and its tasks borrow the World while they are polled.
#[cfg(feature = "bevy-peers")]
mod defer {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use bevy_19::diagnostic::FrameCount;
    use bevy_19::prelude::{App, MinimalPlugins};
    use bevy_defer::{AsyncExecutor, AsyncPlugin, AsyncWorld};

    use super::{Access, timed, touch};

    pub(super) fn pass(access: Access, times: usize) -> Duration {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins).add_plugins(AsyncPlugin::default_settings());
        app.finish();
        app.cleanup();
        let took = Rc::new(Cell::new(None));
        let shared = took.clone();
        app.world().non_send::<AsyncExecutor>().spawn_any(async move {
            // A counter that is there: the macros for one of ours name the other bevy.
            let counter = AsyncWorld.resource::<FrameCount>();
            shared.set(Some(match access {
                Access::Nothing => timed(times, || AsyncWorld.run(touch)),
                Access::Resource => timed(times, || {
                    counter
                        .get_mut(|count| count.0 = count.0.wrapping_add(1))
                        .expect("it is there");
                }),
            }));
        });
        loop {
            app.update();
            if let Some(took) = took.get() {
                return took;
            }
        }
    }
}

/// bevy_mod_async 0.12: its tasks are on a pool of bevy's, and send closures to a system.
#[cfg(feature = "bevy-peers")]
mod mod_async {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use bevy_app_18::{App, TaskPoolPlugin};
    use bevy_ecs_18::resource::Resource;
    use bevy_mod_async::{AsyncTasksPlugin, SpawnTaskExt};

    use super::{Access, touch};

    struct Counter(u64);

    impl Resource for Counter {}

    pub(super) fn pass(access: Access, times: usize) -> Duration {
        let mut app = App::new();
        app.add_plugins((TaskPoolPlugin::default(), AsyncTasksPlugin)).insert_resource(Counter(0));
        let (took, taken) = mpsc::channel();
        app.world().spawn_task(move |ctx| async move {
            let start = Instant::now();
            for _ in 0..times {
                match access {
                    Access::Nothing => ctx.with_world(touch).await,
                    Access::Resource => {
                        ctx.with_world(|world| world.resource_mut::<Counter>().0 += 1).await;
                    }
                }
            }
            // The receiver waits for it.
            let _ = took.send(start.elapsed());
        });
        loop {
            app.update();
            if let Ok(took) = taken.try_recv() {
                return took;
            }
        }
    }
}
