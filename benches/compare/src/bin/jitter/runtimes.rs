//! The contenders that are runtimes: onbeat, tokio, bevy and nexus, each with the beat as its users write it.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, Update};
use bevy_ecs::message::MessageWriter;
use bevy_ecs::prelude::{Res, ResMut, Resource, World};
use onbeat::{CatchUp, Idle, Pacing, Runtime, Tick, TickTime, spawn_boxed};

use crate::beat::Beat;
use crate::load::{Asleep, Bell, HOUR, Load, Noise};

/// A beat in a World.
#[derive(Resource, Debug)]
struct Ticking {
    beat: Option<Beat>,
    armed: bool,
    over: Arc<Bell>,
}

/// `Pacing::every`, a system that is the tick, and tasks that are the load.
///
/// No beat is skipped, whatever happens: each has its tick, at once when it is late. The nominal time of
/// each tick must be the schedule's, to the nanosecond.
pub(crate) fn onbeat(idle: Idle, beat: Beat, load: Load, noise: &mut Noise) -> Beat {
    let mut world = World::new();
    let pacing = Pacing::every(beat.period()).catch_up(CatchUp::AtMost(u32::MAX));
    let over = Arc::new(Bell::default());
    world.insert_resource(Ticking { beat: Some(beat), armed: false, over: Arc::clone(&over) });
    let mut runtime = Runtime::builder(&mut world).pacing(pacing).idle(idle).build();
    runtime.schedule(Tick).add_systems(onbeat_tick);
    runtime.block_on(onbeat_load(load, noise));
    runtime.world_mut().resource_mut::<Ticking>().armed = true;
    runtime.block_on(over.rung());
    drop(runtime);
    let mut ticking = world.remove_resource::<Ticking>().expect("nobody took it away");
    ticking.beat.take().expect("the beat stays in it")
}

fn onbeat_tick(mut ticking: ResMut<'_, Ticking>, time: Res<'_, TickTime>) {
    let Ticking { beat: Some(beat), armed: true, over } = &mut *ticking else {
        return;
    };
    match beat.next() {
        None => beat.begin(time.nominal()),
        Some(due) => assert_eq!(due, time.nominal(), "a tick belongs to the next beat"),
    }
    if !beat.tick() {
        over.ring();
        ticking.armed = false;
    }
}

async fn onbeat_load(load: Load, noise: &mut Noise) {
    let asleep = Asleep::default();
    for _ in 0..load.sleepers {
        drop(spawn_boxed(asleep.sleeper(|| onbeat::sleep(HOUR))));
    }
    while asleep.count() < load.sleepers {
        onbeat::yield_now().await;
    }
    if load.wakes {
        let bell = Arc::clone(&noise.bell);
        drop(spawn_boxed(async move {
            loop {
                bell.rung().await;
            }
        }));
    }
    if let Some(incoming) = noise.incoming.take() {
        let mut stream = onbeat::net::TcpStream::from_std(incoming).expect("a connected stream");
        drop(spawn_boxed(async move {
            let mut buffer = [0; 4_096];
            while stream.readable().await.is_ok() {
                while matches!(stream.try_read(&mut buffer), Ok(1..)) {}
            }
        }));
    }
}

/// `interval_at` in a task of a `LocalRuntime`, bursting when it is late, which skips no beat either.
pub(crate) fn tokio(beat: Beat, load: Load, noise: &mut Noise) -> Beat {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    runtime.block_on(async move {
        tokio_load(load, noise).await;
        let ticks = tokio::task::spawn_local(tokio_ticks(beat));
        ticks.await.expect("the ticks neither panic nor are aborted")
    })
}

async fn tokio_ticks(mut beat: Beat) -> Beat {
    let start = Instant::now();
    beat.begin(start);
    let mut interval = tokio::time::interval_at(start.into(), beat.period());
    loop {
        interval.tick().await;
        if !beat.tick() {
            return beat;
        }
    }
}

async fn tokio_load(load: Load, noise: &mut Noise) {
    let asleep = Asleep::default();
    for _ in 0..load.sleepers {
        drop(tokio::task::spawn_local(asleep.sleeper(|| tokio::time::sleep(HOUR))));
    }
    while asleep.count() < load.sleepers {
        tokio::task::yield_now().await;
    }
    if load.wakes {
        let bell = Arc::clone(&noise.bell);
        drop(tokio::task::spawn_local(async move {
            loop {
                bell.rung().await;
            }
        }));
    }
    if let Some(incoming) = noise.incoming.take() {
        let stream = tokio::net::TcpStream::from_std(incoming).expect("a connected stream");
        drop(tokio::task::spawn_local(async move {
            let mut buffer = [0; 4_096];
            while stream.readable().await.is_ok() {
                while matches!(stream.try_read(&mut buffer), Ok(1..)) {}
            }
        }));
    }
}

#[derive(Resource, Debug)]
struct Reported(mpsc::SyncSender<Beat>);

/// `ScheduleRunnerPlugin::run_loop`, whose wait begins when a frame ends, and a system in `Update`.
pub(crate) fn bevy(beat: Beat) -> Beat {
    let (sender, receiver) = mpsc::sync_channel(1);
    let mut app = App::new();
    app.add_plugins(ScheduleRunnerPlugin::run_loop(beat.period()))
        .insert_resource(Ticking { beat: Some(beat), armed: true, over: Arc::default() })
        .insert_resource(Reported(sender))
        .add_systems(Update, bevy_tick);
    app.run();
    receiver.recv().expect("the app ends after it has sent the beat")
}

fn bevy_tick(
    mut ticking: ResMut<'_, Ticking>,
    reported: Res<'_, Reported>,
    mut exit: MessageWriter<'_, AppExit>,
) {
    if ticking.beat.as_mut().is_some_and(|beat| !beat.tick()) {
        let beat = ticking.beat.take().expect("it has just ticked");
        reported.0.send(beat).expect("the receiver waits for the end of the app");
        exit.write(AppExit::Success);
    }
}

/// How nexus waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NexusWait {
    /// `block_on`.
    Park,
    /// `block_on_busy`.
    Spin,
}

/// `interval_at` in a task. It hangs on short intervals: only for a process of its own.
pub(crate) fn nexus(wait: NexusWait, beat: Beat) -> Beat {
    let mut world = nexus_rt::WorldBuilder::new().build();
    let mut runtime = nexus_async_rt::Runtime::builder(&mut world).build();
    let ticks = async move { nexus_async_rt::spawn_boxed(nexus_ticks(beat)).await };
    match wait {
        NexusWait::Park => runtime.block_on(ticks),
        NexusWait::Spin => runtime.block_on_busy(ticks),
    }
}

async fn nexus_ticks(mut beat: Beat) -> Beat {
    let start = Instant::now();
    beat.begin(start);
    let mut interval = nexus_async_rt::interval_at(start, beat.period());
    loop {
        interval.tick().await;
        if !beat.tick() {
            return beat;
        }
    }
}
