//! A value through a channel to another thread, and one back: a round, for who spins and for who sleeps.

use std::sync::mpsc as of_std;
use std::thread;
use std::time::{Duration, Instant};

use onbeat::channel as ours;
use tokio::sync::mpsc as of_tokio;

use crate::foreign::{pin_to_other_core, spin_until};
use crate::question::{Contender, Question, Reach, Role, Unit};

const PLACES: usize = 64;

const NOTE: &str = "\
a round, two messages, between plain threads on two cores. nexus's ends work inside of its runtime only.
  Blocking ends of crossbeam and kanal spin before they sleep.";

/// The time of `rounds` rounds between this thread and another one, by the four halves of two channels.
fn rounds(
    rounds: usize,
    mut send: impl FnMut(usize),
    mut receive_back: impl FnMut() -> usize,
    mut receive: impl FnMut() -> usize + Send + 'static,
    mut send_back: impl FnMut(usize) + Send + 'static,
) -> Duration {
    let warm_up = rounds.div_ceil(16);
    let other = thread::spawn(move || {
        pin_to_other_core();
        for _ in 0..warm_up + rounds {
            send_back(receive());
        }
    });
    let mut start = Instant::now();
    for round in 0..warm_up + rounds {
        if round == warm_up {
            start = Instant::now();
        }
        send(round);
        assert_eq!(receive_back(), round);
    }
    let elapsed = start.elapsed();
    other.join().expect("the other thread does not panic");
    elapsed
}

/// A contender of two channels made by `$channel`, with `$send` and `$receive` for their ends.
macro_rules! contender {
    ($name:literal, $role:expr, $times:expr, $channel:expr, $send:expr, $receive:expr) => {{
        let times: usize = $times;
        Contender::new($name, $role, move || {
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let ((mut there, mut from_here), (mut back, mut from_there)) = ($channel, $channel);
            rounds(
                times,
                move |value| $send(&mut there, value),
                move || $receive(&mut from_there),
                move || $receive(&mut from_here),
                move |value| $send(&mut back, value),
            )
        })
    }};
}

/// Spinning and parked, each for one sender and for many.
pub(crate) fn questions(times: usize) -> Vec<Question> {
    let question = |title: &str, contenders| Question {
        title: title.to_owned(),
        operations: times,
        contenders,
        note: Some(NOTE),
        unit: Unit::default(),
    };
    vec![
        question("channel round of two threads, spsc, spinning", spsc_spinning(times)),
        question("channel round of two threads, mpsc, spinning", mpsc_spinning(times)),
        question("channel round of two threads, parked", parked(times)),
    ]
}

fn best() -> Role {
    Role::Judged(Reach::Ratio(1.0))
}

fn spsc_spinning(times: usize) -> Vec<Contender> {
    vec![
        contender!(
            "rtrb, a ring that nobody can wait for",
            Role::Reference,
            times,
            rtrb::RingBuffer::new(PLACES),
            |end: &mut rtrb::Producer<usize>, value| end.push(value).expect("there is room"),
            |end: &mut rtrb::Consumer<usize>| spin_until(|| end.pop().ok())
        ),
        contender!(
            "onbeat spsc",
            best(),
            times,
            ours::spsc::channel(PLACES),
            |end: &mut ours::spsc::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut ours::spsc::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
        contender!(
            "crossbeam bounded",
            Role::Peer,
            times,
            crossbeam_channel::bounded(PLACES),
            |end: &mut crossbeam_channel::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut crossbeam_channel::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
        contender!(
            "kanal bounded",
            Role::Peer,
            times,
            kanal::bounded(PLACES),
            |end: &mut kanal::Sender<usize>, value| assert!(end.try_send(value).expect("open")),
            |end: &mut kanal::Receiver<usize>| spin_until(|| end.try_recv().ok().flatten())
        ),
    ]
}

fn mpsc_spinning(times: usize) -> Vec<Contender> {
    vec![
        contender!(
            "crossbeam bounded",
            Role::Reference,
            times,
            crossbeam_channel::bounded(PLACES),
            |end: &mut crossbeam_channel::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut crossbeam_channel::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
        contender!(
            "onbeat mpsc",
            best(),
            times,
            ours::mpsc::channel(PLACES),
            |end: &mut ours::mpsc::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut ours::mpsc::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
        contender!(
            "kanal bounded",
            Role::Peer,
            times,
            kanal::bounded(PLACES),
            |end: &mut kanal::Sender<usize>, value| assert!(end.try_send(value).expect("open")),
            |end: &mut kanal::Receiver<usize>| spin_until(|| end.try_recv().ok().flatten())
        ),
        contender!(
            "tokio mpsc",
            Role::Peer,
            times,
            of_tokio::channel(PLACES),
            |end: &mut of_tokio::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut of_tokio::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
        contender!(
            "async-channel bounded",
            Role::Peer,
            times,
            async_channel::bounded(PLACES),
            |end: &mut async_channel::Sender<usize>, value| end.try_send(value).expect("room"),
            |end: &mut async_channel::Receiver<usize>| spin_until(|| end.try_recv().ok())
        ),
    ]
}

fn parked(times: usize) -> Vec<Contender> {
    vec![
        contender!(
            "std sync_channel",
            Role::Reference,
            times,
            of_std::sync_channel(PLACES),
            |end: &mut of_std::SyncSender<usize>, value| end.send(value).expect("open"),
            |end: &mut of_std::Receiver<usize>| end.recv().expect("open")
        ),
        contender!(
            "onbeat spsc",
            best(),
            times,
            ours::spsc::channel(PLACES),
            |end: &mut ours::spsc::Sender<usize>, value| end.blocking_send(value).expect("open"),
            |end: &mut ours::spsc::Receiver<usize>| end.blocking_recv().expect("open")
        ),
        contender!(
            "onbeat mpsc",
            best(),
            times,
            ours::mpsc::channel(PLACES),
            |end: &mut ours::mpsc::Sender<usize>, value| end.blocking_send(value).expect("open"),
            |end: &mut ours::mpsc::Receiver<usize>| end.blocking_recv().expect("open")
        ),
        contender!(
            "crossbeam bounded",
            Role::Peer,
            times,
            crossbeam_channel::bounded(PLACES),
            |end: &mut crossbeam_channel::Sender<usize>, value| end.send(value).expect("open"),
            |end: &mut crossbeam_channel::Receiver<usize>| end.recv().expect("open")
        ),
        contender!(
            "kanal bounded",
            Role::Peer,
            times,
            kanal::bounded(PLACES),
            |end: &mut kanal::Sender<usize>, value| end.send(value).expect("open"),
            |end: &mut kanal::Receiver<usize>| end.recv().expect("open")
        ),
        contender!(
            "tokio mpsc",
            Role::Peer,
            times,
            of_tokio::channel(PLACES),
            |end: &mut of_tokio::Sender<usize>, value| end.blocking_send(value).expect("open"),
            |end: &mut of_tokio::Receiver<usize>| end.blocking_recv().expect("open")
        ),
        contender!(
            "async-channel bounded",
            Role::Peer,
            times,
            async_channel::bounded(PLACES),
            |end: &mut async_channel::Sender<usize>, value| end.send_blocking(value).expect("open"),
            |end: &mut async_channel::Receiver<usize>| end.recv_blocking().expect("open")
        ),
    ]
}
