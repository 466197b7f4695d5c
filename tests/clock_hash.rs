//! The running hash of polls: what it depends on, and what not.

mod common;

use std::time::Duration;

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{
    ClockMode, JoinHandle, Pacing, Runtime, RuntimeBuilder, Tick, WorldCtx, channel::local, sleep,
    spawn, spawn_boxed, yield_now,
};

fn builder(world: &mut World) -> RuntimeBuilder<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual).poll_hash(true)
}

fn hash_of<F: Future>(make: impl FnOnce() -> F) -> u64 {
    let mut world = World::new();
    let mut rt = builder(&mut world).build();
    rt.block_on(make());
    rt.poll_hash().unwrap()
}

/// The step of SplitMix64, once more.
fn fold(hash: u64, words: [u64; 4]) -> u64 {
    words.into_iter().fold(hash, |hash, word| {
        let mut word = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    })
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    assert_eq!(Runtime::new(&mut world).poll_hash(), None);
    assert_eq!(builder(&mut world).build().poll_hash(), Some(0));
}

#[test]
fn it_is_what_the_documentation_says() {
    let _guard = watchdog(LIMIT_SECONDS);
    let hash = hash_of(|| async {
        let failing = spawn_boxed(async { std::panic::resume_unwind(Box::new(())) });
        let _: Result<(), _> = failing.join().await;
        sleep(Duration::from_nanos(5)).await;
    });
    // Tick, time, task, outcome: the root is task 1, the one that panics is task 2.
    let polls = [[1, 0, 1, 0], [1, 0, 2, 2], [1, 0, 1, 0], [2, 5, 1, 1]];
    assert_eq!(hash, polls.into_iter().fold(0, fold));
}

/// Sleepers, channels, ticks, systems, aborts, panics, sleepers that come and go.
fn busy_program(order: u64, pacing: Pacing, before: usize) -> u64 {
    // Runtimes that were made before change the numbers that the process gives out, and nothing else.
    for _ in 0..before {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async { spawn(async {}).await });
    }
    let mut world = World::new();
    let mut rt = builder(&mut world).pacing(pacing).build();
    rt.schedule(Tick).add_systems(|| {});
    rt.block_on(async move {
        let (sender, receiver) = local::channel::<u64>(4);
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        for number in 0..20_u64 {
            let sender = sender.clone();
            tasks.push(spawn(async move {
                for step in 0..20 {
                    let micros = (number * 37 + step * 11 + order) % 50;
                    sleep(Duration::from_micros(micros)).await;
                    if step == 10 && number.is_multiple_of(7) {
                        std::panic::resume_unwind(Box::new(()));
                    }
                    let _ = sender.send(number).await;
                    WorldCtx::current().next_tick().await;
                }
            }));
        }
        drop(sender);
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
            if count == 50 {
                tasks.remove(3).abort();
            }
        }
        for task in tasks {
            let _ = task.join().await;
        }
        yield_now().await;
    });
    rt.poll_hash().unwrap()
}

#[test]
fn two_runs_of_a_program_poll_the_same_tasks_in_the_same_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let micro = Duration::from_micros(3);
    let hybrid = Pacing::Hybrid { at_most_every: micro, at_least_every: Duration::from_micros(20) };
    for pacing in [Pacing::OnEvent, Pacing::FreeRunning, Pacing::every(micro).into(), hybrid] {
        let first = busy_program(0, pacing, 0);
        assert_eq!(first, busy_program(0, pacing, 3), "{pacing:?}");
        assert_ne!(first, busy_program(1, pacing, 0), "{pacing:?}");
    }
}

#[test]
fn the_same_polls_at_other_times_or_in_other_ticks_give_another_hash() {
    let _guard = watchdog(LIMIT_SECONDS);
    let sleeps = |nanos| hash_of(move || async move { sleep(Duration::from_nanos(nanos)).await });
    assert_eq!(sleeps(5), sleeps(5));
    assert_ne!(sleeps(5), sleeps(6));
    let ticks = |first: u32| {
        let mut world = World::new();
        let mut rt = builder(&mut world).build();
        for _ in 0..first {
            rt.tick().unwrap();
        }
        rt.block_on(async {});
        rt.poll_hash().unwrap()
    };
    assert_ne!(ticks(0), ticks(1));
}

#[test]
fn details_of_tasks_change_nothing() {
    let _guard = watchdog(LIMIT_SECONDS);
    let hash = |details| {
        let mut world = World::new();
        let mut rt = builder(&mut world).task_details(details).build();
        rt.block_on(async {
            spawn(sleep(Duration::from_secs(1))).await;
            yield_now().await;
        });
        rt.poll_hash()
    };
    assert_eq!(hash(false), hash(true));
}
