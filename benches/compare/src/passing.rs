//! Channels that are waited for: two tasks of one thread that pass values, and a task and another thread.

use std::thread;
use std::time::{Duration, Instant};

use ::onbeat::channel as ours;
use ::onbeat::spawn_boxed;
use ::tokio::sync::mpsc as tokio_mpsc;
use ::tokio::task::spawn_local;
use nexus_async_rt::channel as nexus;
use nexus_async_rt::spawn_boxed as on_nexus;

use crate::foreign::{pin_to_other_core, spin_until};
use crate::hosts::{
    executor_thread, nexus_thread, on_executor, onbeat_spinning, onbeat_thread, tokio_spinning,
    tokio_thread,
};
use crate::question::{Contender, Question, Reach, Role, Unit};

/// Places of a channel that is sent into in bursts.
const PLACES: usize = 64;

/// Every question about channels that are waited for.
pub(crate) fn questions(values: usize, rounds: usize) -> Vec<Question> {
    vec![
        ping_pong(values / 16),
        ping_pong_between_threads(values / 16),
        burst(values),
        thread_and_task("spinning", rounds, spinning(rounds)),
        thread_and_task("parked", rounds, parked(rounds)),
    ]
}

fn question(title: &str, operations: usize, contenders: Vec<Contender>) -> Question {
    let title = title.to_owned();
    Question { title, operations, contenders, note: None, unit: Unit::default() }
}

/// Two tasks that pass a value there and back, over two channels with one place each. The task that
/// begins is a spawned one, as everywhere here.
macro_rules! rounds {
    ($rounds:expr, $channel:path, $spawn:path) => {{
        let rounds: usize = $rounds;
        async move {
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let (mut there, mut from_here) = $channel(1);
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let (mut back, mut from_there) = $channel(1);
            let other = $spawn(async move {
                for _ in 0..rounds {
                    let value: usize = from_here.recv().await.into_iter().next().expect("sent");
                    assert!(back.send(value).await.is_ok(), "the first task receives it");
                }
            });
            let start = Instant::now();
            for round in 0..rounds {
                assert!(there.send(round).await.is_ok(), "the other task receives it");
                assert_eq!(from_there.recv().await.into_iter().next(), Some(round));
            }
            let elapsed = start.elapsed();
            let _ = other.await;
            elapsed
        }
    }};
}

/// One task sends `$values` values as fast as there is room, and another one receives them.
macro_rules! burst {
    ($values:expr, $channel:path, $spawn:path) => {{
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
                assert_eq!(receiver.recv().await.into_iter().next(), Some(value));
            }
            let _ = sending.await;
            start.elapsed()
        }
    }};
}

/// A contender that does `$work` `$times` over `$channel`, on the runtime of `$thread` and `$spawn`.
macro_rules! contender {
    ($name:literal, $role:expr, $thread:path, $work:ident($times:expr, $channel:path, $spawn:path)) => {{
        let times: usize = $times;
        Contender::new($name, $role, move || $thread($work!(times, $channel, $spawn)))
    }};
}

/// What takes part beside nexus and onbeat, whatever the two tasks do.
macro_rules! with_peers {
    ($work:ident, $role:expr, $times:expr, $first:expr) => {{
        let mut contenders: Vec<Contender> = $first;
        let times: usize = $times;
        contenders.extend([
            contender!(
                "tokio LocalRuntime, tokio mpsc",
                $role,
                tokio_thread,
                $work(times, tokio_mpsc::channel, spawn_local)
            ),
            contender!(
                "tokio LocalRuntime, kanal",
                $role,
                tokio_thread,
                $work(times, kanal::bounded_async, spawn_local)
            ),
            contender!(
                "async-executor, async-channel",
                $role,
                executor_thread,
                $work(times, async_channel::bounded, on_executor)
            ),
        ]);
        contenders
    }};
}

fn ping_pong(times: usize) -> Question {
    let judged = Role::Judged(Reach::Ratio(0.35));
    let ours = vec![
        contender!(
            "nexus local",
            Role::Reference,
            nexus_thread,
            rounds(times, nexus::local::channel, on_nexus)
        ),
        contender!(
            "onbeat local",
            judged,
            onbeat_thread,
            rounds(times, ours::local::channel, spawn_boxed)
        ),
    ];
    let contenders = with_peers!(rounds, Role::Peer, times, ours);
    question("channel ping-pong of two tasks, local, a round", times, contenders)
}

/// The channels that reach other threads, between tasks of one.
fn ping_pong_between_threads(times: usize) -> Question {
    let shown = Role::Shown;
    let reference = Role::Reference;
    let ours = vec![
        contender!(
            "nexus spsc",
            reference,
            nexus_thread,
            rounds(times, nexus::spsc::channel, on_nexus)
        ),
        contender!(
            "onbeat spsc",
            shown,
            onbeat_thread,
            rounds(times, ours::spsc::channel, spawn_boxed)
        ),
        contender!(
            "nexus mpsc",
            shown,
            nexus_thread,
            rounds(times, nexus::mpsc::channel, on_nexus)
        ),
        contender!(
            "onbeat mpsc",
            shown,
            onbeat_thread,
            rounds(times, ours::mpsc::channel, spawn_boxed)
        ),
    ];
    let contenders = with_peers!(rounds, shown, times, ours);
    question("channel ping-pong of two tasks, spsc and mpsc, a round", times, contenders)
}

fn burst(times: usize) -> Question {
    let shown = Role::Shown;
    let reference = Role::Reference;
    let ours = vec![
        contender!(
            "nexus local",
            reference,
            nexus_thread,
            burst(times, nexus::local::channel, on_nexus)
        ),
        contender!(
            "onbeat local",
            shown,
            onbeat_thread,
            burst(times, ours::local::channel, spawn_boxed)
        ),
        contender!("nexus spsc", shown, nexus_thread, burst(times, nexus::spsc::channel, on_nexus)),
        contender!(
            "onbeat spsc",
            shown,
            onbeat_thread,
            burst(times, ours::spsc::channel, spawn_boxed)
        ),
        contender!("nexus mpsc", shown, nexus_thread, burst(times, nexus::mpsc::channel, on_nexus)),
        contender!(
            "onbeat mpsc",
            shown,
            onbeat_thread,
            burst(times, ours::mpsc::channel, spawn_boxed)
        ),
    ];
    let contenders = with_peers!(burst, shown, times, ours);
    question("channel burst of one task to another, 64 places, a value", times, contenders)
}

/// A task and another thread that pass a value there and back. The thread waits by `$receive`.
macro_rules! across {
    ($times:expr, $channel:expr, $send:expr, $receive:expr) => {{
        let times: usize = $times;
        async move {
            #[allow(unused_mut, reason = "some ends are used through `&mut`")]
            let ((mut there, mut from_here), (mut back, mut from_there)) = ($channel, $channel);
            let other = thread::spawn(move || {
                pin_to_other_core();
                for _ in 0..times {
                    let value: usize = $receive(&mut from_here);
                    $send(&mut back, value);
                }
            });
            let start = Instant::now();
            for round in 0..times {
                $send(&mut there, round);
                assert_eq!(from_there.recv().await.into_iter().next(), Some(round));
            }
            let elapsed = start.elapsed();
            other.join().expect("the other thread does not panic");
            elapsed
        }
    }};
}

fn thread_and_task(how: &str, times: usize, contenders: Vec<Contender>) -> Question {
    let note = Some(
        "a task sends to a plain thread and awaits what that sends back: two messages, on two cores. nexus is
  left out: it loses wakes that come from other threads.",
    );
    let title = format!("channel round of a task and another thread, {how}");
    Question { note, ..question(&title, times, contenders) }
}

/// The other thread looks again and again.
fn spinning(times: usize) -> Vec<Contender> {
    let pass =
        |name, role, work: fn(usize) -> Duration| Contender::new(name, role, move || work(times));
    vec![
        pass("tokio, spinner task, tokio mpsc", Role::Reference, |times| {
            tokio_spinning(across!(
                times,
                tokio_mpsc::channel(PLACES),
                |end: &mut tokio_mpsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut tokio_mpsc::Receiver<usize>| spin_until(|| end.try_recv().ok())
            ))
        }),
        pass("onbeat block_on_busy, spsc", Role::Judged(Reach::Ratio(1.0)), |times| {
            onbeat_spinning(across!(
                times,
                ours::spsc::channel(PLACES),
                |end: &mut ours::spsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut ours::spsc::Receiver<usize>| spin_until(|| end.try_recv().ok())
            ))
        }),
        pass("onbeat block_on_busy, mpsc", Role::Judged(Reach::Ratio(1.0)), |times| {
            onbeat_spinning(across!(
                times,
                ours::mpsc::channel(PLACES),
                |end: &mut ours::mpsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut ours::mpsc::Receiver<usize>| spin_until(|| end.try_recv().ok())
            ))
        }),
    ]
}

/// The other thread sleeps.
fn parked(times: usize) -> Vec<Contender> {
    let pass =
        |name, role, work: fn(usize) -> Duration| Contender::new(name, role, move || work(times));
    vec![
        pass("tokio LocalRuntime, tokio mpsc", Role::Reference, |times| {
            tokio_thread(across!(
                times,
                tokio_mpsc::channel(PLACES),
                |end: &mut tokio_mpsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut tokio_mpsc::Receiver<usize>| end.blocking_recv().expect("open")
            ))
        }),
        pass("onbeat block_on, spsc", Role::Judged(Reach::Ratio(1.0)), |times| {
            onbeat_thread(across!(
                times,
                ours::spsc::channel(PLACES),
                |end: &mut ours::spsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut ours::spsc::Receiver<usize>| end.blocking_recv().expect("open")
            ))
        }),
        pass("onbeat block_on, mpsc", Role::Judged(Reach::Ratio(1.0)), |times| {
            onbeat_thread(across!(
                times,
                ours::mpsc::channel(PLACES),
                |end: &mut ours::mpsc::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut ours::mpsc::Receiver<usize>| end.blocking_recv().expect("open")
            ))
        }),
        pass("async-executor, async-channel", Role::Peer, |times| {
            executor_thread(across!(
                times,
                async_channel::bounded(PLACES),
                |end: &mut async_channel::Sender<usize>, value| end.try_send(value).expect("room"),
                |end: &mut async_channel::Receiver<usize>| end.recv_blocking().expect("open")
            ))
        }),
    ]
}
