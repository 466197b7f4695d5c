//! Channels: a value sent and received on one thread with nobody waiting, and two tasks that wait for
//! each other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ::onbeat::channel as ours;
use ::onbeat::{Runtime, spawn_boxed};
use ::tokio::sync::mpsc as tokio_mpsc;
use ::tokio::task::spawn_local;
use bevy_ecs::prelude::World;
use nexus_async_rt::channel as nexus;
use nexus_rt::WorldBuilder;

use crate::question::{Contender, Question, Reach, Role, Unit};

/// Places of a channel, and values in a batch.
const PLACES: usize = 64;

const BATCHES: &str = "\
64 values are sent, then received, so a fence of one operation is not hidden behind the next. nexus has
  no fence between its store and its look at who waits, so a wait there can miss its wake.";

/// Every question about channels. A pass is `values` values.
pub(crate) fn questions(values: usize) -> Vec<Question> {
    let batches = values.div_ceil(PLACES);
    vec![
        local(batches),
        spsc(batches),
        mpsc(batches),
        ping_pong(values / 16),
        ping_pong_between_threads(values / 16),
        burst(batches * PLACES),
    ]
}

fn question(what: &str, operations: usize, contenders: Vec<Contender>) -> Question {
    let note = Some(BATCHES);
    Question {
        title: format!("channel pair, try_send and try_recv, {what}"),
        operations,
        contenders,
        note,
        unit: Unit::default(),
    }
}

fn local(batches: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus local", Role::Reference, move || {
            nexus_thread(async move {
                let (sender, receiver) = nexus::local::channel(PLACES);
                let send = |value| assert!(sender.try_send(value).is_ok());
                time_batches(batches, send, || receiver.try_recv().ok())
            })
        }),
        Contender::new("onbeat local", Role::Judged(Reach::Ratio(1.0)), move || {
            let (sender, receiver) = ours::local::channel(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
    ];
    question("local", batches * PLACES, contenders)
}

fn spsc(batches: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus spsc", Role::Reference, move || {
            nexus_thread(async move {
                let (sender, receiver) = nexus::spsc::channel(PLACES);
                let send = |value| assert!(sender.try_send(value).is_ok());
                time_batches(batches, send, || receiver.try_recv().ok())
            })
        }),
        Contender::new("onbeat spsc", Role::Judged(Reach::Ratio(3.0)), move || {
            let (mut sender, mut receiver) = ours::spsc::channel(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("rtrb, a ring that nobody can wait for", Role::Shown, move || {
            let (mut producer, mut consumer) = rtrb::RingBuffer::new(PLACES);
            let send = |value| assert!(producer.push(value).is_ok());
            time_batches(batches, send, || consumer.pop().ok())
        }),
    ];
    question("spsc", batches * PLACES, contenders)
}

fn mpsc(batches: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus mpsc", Role::Reference, move || {
            nexus_thread(async move {
                let (sender, receiver) = nexus::mpsc::channel(PLACES);
                let send = |value| assert!(sender.try_send(value).is_ok());
                time_batches(batches, send, || receiver.try_recv().ok())
            })
        }),
        Contender::new("onbeat mpsc", Role::Judged(Reach::Ratio(2.0)), move || {
            let (sender, mut receiver) = ours::mpsc::channel(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("tokio mpsc", Role::Shown, move || {
            let (sender, mut receiver) = tokio_mpsc::channel(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("crossbeam bounded", Role::Shown, move || {
            let (sender, receiver) = crossbeam_channel::bounded(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("kanal bounded", Role::Shown, move || {
            let (sender, receiver) = kanal::bounded(PLACES);
            let send = |value| assert!(matches!(sender.try_send(value), Ok(true)));
            time_batches(batches, send, || receiver.try_recv().ok().flatten())
        }),
    ];
    question("mpsc", batches * PLACES, contenders)
}

/// Sends a batch and receives it, again and again; a short run before fills the caches.
fn time_batches(
    batches: usize,
    mut send: impl FnMut(u64),
    mut receive: impl FnMut() -> Option<u64>,
) -> Duration {
    let mut run = |batches| {
        let start = Instant::now();
        for _ in 0..batches {
            for value in 0..PLACES as u64 {
                send(black_box(value));
            }
            for _ in 0..PLACES {
                black_box(receive().expect("it was sent"));
            }
        }
        start.elapsed()
    };
    run(batches.div_ceil(16));
    run(batches)
}

/// nexus makes its channels inside of a runtime only.
fn nexus_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = WorldBuilder::new().build();
    nexus_async_rt::Runtime::builder(&mut world)
        .build()
        .block_on(async move { nexus_async_rt::spawn_boxed(work).await })
}

/// Two tasks that pass a value there and back, over two channels with one place each. The task that
/// begins is a spawned one, as everywhere here.
macro_rules! rounds {
    ($rounds:expr, $channel:path, $spawn:path, $end:ident, |$received:ident| $value:expr) => {{
        let rounds: usize = $rounds;
        async move {
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let (mut there, mut from_here) = $channel(1);
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let (mut back, mut from_there) = $channel(1);
            let $end = $spawn(async move {
                for _ in 0..rounds {
                    let $received = from_here.recv().await;
                    assert!(back.send($value).await.is_ok(), "the first task receives it");
                }
            });
            let start = Instant::now();
            for round in 0..rounds {
                assert!(there.send(round).await.is_ok(), "the other task receives it");
                let $received = from_there.recv().await;
                assert_eq!($value, round);
            }
            let elapsed = start.elapsed();
            let _ = $end.await;
            elapsed
        }
    }};
}

fn ping_pong(rounds: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus local", Role::Reference, move || {
            nexus_thread(rounds!(
                rounds,
                nexus::local::channel,
                nexus_async_rt::spawn_boxed,
                other,
                |received| received.expect("it was sent")
            ))
        }),
        Contender::new("onbeat local", Role::Judged(Reach::Ratio(0.35)), move || {
            onbeat_thread(rounds!(rounds, ours::local::channel, spawn_boxed, other, |received| {
                received.expect("it was sent")
            }))
        }),
        Contender::new("tokio LocalRuntime, mpsc", Role::Shown, move || {
            tokio_thread(rounds!(rounds, tokio_mpsc::channel, spawn_local, other, |received| {
                received.expect("it was sent")
            }))
        }),
    ];
    Question {
        title: "two tasks, ping-pong over local channels, a round".to_owned(),
        operations: rounds,
        contenders,
        note: None,
        unit: Unit::default(),
    }
}

/// The channels that reach other threads, between tasks of one.
fn ping_pong_between_threads(rounds: usize) -> Question {
    let contenders = vec![
        Contender::new("nexus spsc", Role::Reference, move || {
            nexus_thread(rounds!(
                rounds,
                nexus::spsc::channel,
                nexus_async_rt::spawn_boxed,
                other,
                |received| received.expect("it was sent")
            ))
        }),
        Contender::new("onbeat spsc", Role::Shown, move || {
            onbeat_thread(rounds!(rounds, ours::spsc::channel, spawn_boxed, other, |received| {
                received.expect("it was sent")
            }))
        }),
        Contender::new("nexus mpsc", Role::Shown, move || {
            nexus_thread(rounds!(
                rounds,
                nexus::mpsc::channel,
                nexus_async_rt::spawn_boxed,
                other,
                |received| received.expect("it was sent")
            ))
        }),
        Contender::new("onbeat mpsc", Role::Shown, move || {
            onbeat_thread(rounds!(rounds, ours::mpsc::channel, spawn_boxed, other, |received| {
                received.expect("it was sent")
            }))
        }),
    ];
    Question {
        title: "two tasks, ping-pong over spsc and mpsc, a round".to_owned(),
        operations: rounds,
        contenders,
        note: None,
        unit: Unit::default(),
    }
}

/// One task sends `$values` values as fast as there is room, and another one receives them.
macro_rules! burst {
    ($values:expr, $channel:path, $spawn:path, |$received:ident| $value:expr) => {{
        let values: usize = $values;
        async move {
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let (mut sender, mut receiver) = $channel(PLACES);
            let start = Instant::now();
            let sending = $spawn(async move {
                for value in 0..values {
                    assert!(sender.send(value).await.is_ok(), "the other task receives it");
                }
            });
            for value in 0..values {
                let $received = receiver.recv().await;
                assert_eq!($value, value);
            }
            let _ = sending.await;
            start.elapsed()
        }
    }};
}

/// A contender of nexus, or of onbeat, in [`burst`].
macro_rules! bursting {
    ($name:literal, $role:expr, $values:expr, $thread:path, $channel:path, $spawn:path) => {{
        let values: usize = $values;
        Contender::new($name, $role, move || {
            $thread(burst!(values, $channel, $spawn, |got| got.expect("it was sent")))
        })
    }};
}

fn burst(values: usize) -> Question {
    use nexus_async_rt::spawn_boxed as on_nexus;

    let shown = Role::Shown;
    let contenders = vec![
        bursting!(
            "nexus local",
            Role::Reference,
            values,
            nexus_thread,
            nexus::local::channel,
            on_nexus
        ),
        bursting!("onbeat local", shown, values, onbeat_thread, ours::local::channel, spawn_boxed),
        bursting!("nexus spsc", shown, values, nexus_thread, nexus::spsc::channel, on_nexus),
        bursting!("onbeat spsc", shown, values, onbeat_thread, ours::spsc::channel, spawn_boxed),
        bursting!("nexus mpsc", shown, values, nexus_thread, nexus::mpsc::channel, on_nexus),
        bursting!("onbeat mpsc", shown, values, onbeat_thread, ours::mpsc::channel, spawn_boxed),
        bursting!("tokio mpsc", shown, values, tokio_thread, tokio_mpsc::channel, spawn_local),
    ];
    Question {
        title: "two tasks, a burst through 64 places, a value".to_owned(),
        operations: values,
        contenders,
        note: None,
        unit: Unit::default(),
    }
}

fn tokio_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .build_local(::tokio::runtime::LocalOptions::default())
        .expect("the process may open an epoll descriptor");
    runtime.block_on(async move { spawn_local(work).await.expect("it does not panic") })
}

fn onbeat_thread(work: impl Future<Output = Duration> + 'static) -> Duration {
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async move { spawn_boxed(work).await })
}
