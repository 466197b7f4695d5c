//! A loop driven by hand, tick by tick, inside a program that has a loop of its own.

#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{cell::Cell, io::Write, net::SocketAddr, rc::Rc, thread, time::Duration};

use bevy_ecs::prelude::*;
use common::{Bell, LIMIT_SECONDS, watchdog};
use onbeat::{
    ClockMode, Runtime, ShutdownSignal, Tick, TickRequest, WorldCtx, net::TcpStream, sleep,
    spawn_boxed, yield_now,
};

#[derive(Resource, Default)]
struct Input(u32);

#[derive(Resource, Default)]
struct Output(Vec<u32>);

fn world() -> World {
    let mut world = World::new();
    world.init_resource::<Input>();
    world.init_resource::<Output>();
    world
}

#[test]
fn a_tick_never_waits() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async { drop(spawn_boxed(async { sleep(Duration::from_secs(3600)).await })) });
    for _ in 0..1_000 {
        rt.tick().unwrap();
    }
    assert_eq!((rt.stats().ticks, rt.stats().parks), (1_001, 0));
}

#[test]
fn the_host_writes_and_reads_the_world_between_ticks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|input: Res<Input>, mut output: ResMut<Output>| {
        output.0.push(input.0);
    });
    rt.block_on(async {
        drop(spawn_boxed(async {
            loop {
                WorldCtx::current().next_tick().await;
                WorldCtx::current().with_world(|world| world.resource_mut::<Input>().0 *= 2);
            }
        }));
    });
    for input in 1..=3 {
        rt.world_mut().resource_mut::<Input>().0 = input;
        rt.tick().unwrap();
    }
    assert_eq!(rt.world().resource::<Output>().0, [0, 2, 4, 6]);
}

#[test]
fn tasks_spawned_in_block_on_go_on_tick_by_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let steps = Rc::new(Cell::new(0));
    let task = rt.block_on(async {
        let steps = steps.clone();
        spawn_boxed(async move {
            for _ in 0..4 {
                steps.set(steps.get() + 1);
                yield_now().await;
            }
        })
    });
    let seen: Vec<u32> = (0..4)
        .map(|_| {
            rt.tick().unwrap();
            steps.get()
        })
        .collect();
    assert_eq!(seen, [2, 3, 4, 4]);
    assert!(task.is_finished());
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn ticks_and_block_on_take_turns() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    for _ in 0..5 {
        let task = rt.block_on(async { spawn_boxed(bell.rung()) });
        rt.tick().unwrap();
        assert!(!task.is_finished());
        bell.ring();
        rt.tick().unwrap();
        assert!(task.is_finished());
        rt.block_on_busy(task);
    }
}

#[test]
fn a_sleep_completes_in_the_first_tick_after_its_deadline() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let task = rt.block_on(async {
        spawn_boxed(async {
            let before = onbeat::precise_now();
            sleep(Duration::from_micros(500)).await;
            assert!(onbeat::event_time() - before >= Duration::from_micros(500));
        })
    });
    while !task.is_finished() {
        rt.tick().unwrap();
    }
    rt.block_on(task);
}

#[test]
fn input_arrives_in_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let (task, mut peer) = rt.block_on(async {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let task = spawn_boxed(async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            byte[0]
        });
        (task, listener.accept().unwrap().0)
    });
    rt.tick().unwrap();
    assert!(!task.is_finished());
    peer.write_all(b"x").unwrap();
    while !task.is_finished() {
        rt.tick().unwrap();
    }
    assert_eq!(rt.block_on(task), b'x');
}

#[test]
fn a_wake_from_another_thread_arrives_in_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let bell = Bell::default();
    let task = rt.block_on(async { spawn_boxed(bell.rung()) });
    thread::scope(|scope| {
        scope.spawn(|| bell.ring());
    });
    rt.tick().unwrap();
    assert!(task.is_finished());
}

#[test]
fn a_request_changes_nothing_for_a_host_that_ticks_by_hand() {
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut more: ResMut<TickRequest>, mut output: ResMut<Output>| {
        more.request();
        output.0.push(1);
    });
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert_eq!(rt.world().resource::<Output>().0.len(), 3);
}

#[test]
fn a_shutdown_asked_for_between_ticks_is_heard_in_the_next() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let tasks: Vec<_> = rt.block_on(async {
        (0..3).map(|_| spawn_boxed(async { ShutdownSignal::current().await })).collect()
    });
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 3);
    rt.shutdown_handle().shutdown();
    rt.tick().unwrap();
    assert!(tasks.iter().all(onbeat::JoinHandle::is_finished));
}

#[test]
fn a_task_aborted_between_ticks_is_never_polled_again() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let polls = Rc::new(Cell::new(0));
    let task = rt.block_on(async {
        let polls = polls.clone();
        spawn_boxed(async move {
            loop {
                polls.set(polls.get() + 1);
                yield_now().await;
            }
        })
    });
    assert_eq!(polls.get(), 1);
    task.abort();
    rt.tick().unwrap();
    assert_eq!((polls.get(), rt.task_count()), (1, 0));
}

#[test]
fn under_the_virtual_clock_a_tick_by_hand_goes_to_the_next_timer() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let task = rt.block_on(async { spawn_boxed(sleep(Duration::from_secs(3600))) });
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    assert!(task.is_finished());
}
