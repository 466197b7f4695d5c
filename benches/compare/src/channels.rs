//! Channels: a value sent and received on one thread with nobody waiting.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ::onbeat::channel as ours;
use ::tokio::sync::mpsc as tokio_mpsc;
use nexus_async_rt::channel as nexus;

use crate::hosts::nexus_thread;
use crate::question::{Contender, Question, Reach, Role, Unit};

/// Places of a channel, and values in a batch.
const PLACES: usize = 64;

const BATCHES: &str = "\
64 values are sent, then received, so a fence of one operation is not hidden behind the next. nexus has
  no fence between its store and its look at who waits, so a wait there can miss its wake: it is no sound peer.";

/// Every question about channels. A pass is `values` values.
pub(crate) fn questions(values: usize) -> Vec<Question> {
    let batches = values.div_ceil(PLACES);
    vec![local(batches), spsc(batches), mpsc(batches)]
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
    question("local", batches * PLACES, with_peers(contenders, batches))
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
    question("spsc", batches * PLACES, with_peers(contenders, batches))
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
    ];
    question("mpsc", batches * PLACES, with_peers(contenders, batches))
}

/// The channels between threads of others, which take part wherever a pair is sent and received.
fn with_peers(mut contenders: Vec<Contender>, batches: usize) -> Vec<Contender> {
    contenders.extend([
        Contender::new("crossbeam bounded", Role::Peer, move || {
            let (sender, receiver) = crossbeam_channel::bounded(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("kanal bounded", Role::Peer, move || {
            let (sender, receiver) = kanal::bounded(PLACES);
            let send = |value| assert!(matches!(sender.try_send(value), Ok(true)));
            time_batches(batches, send, || receiver.try_recv().ok().flatten())
        }),
        Contender::new("async-channel bounded", Role::Peer, move || {
            let (sender, receiver) = async_channel::bounded(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
        Contender::new("tokio mpsc", Role::Peer, move || {
            let (sender, mut receiver) = tokio_mpsc::channel(PLACES);
            let send = |value| assert!(sender.try_send(value).is_ok());
            time_batches(batches, send, || receiver.try_recv().ok())
        }),
    ]);
    contenders
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
