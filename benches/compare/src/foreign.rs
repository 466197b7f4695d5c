//! From a wake on another thread to the first poll of the task, beside the raw primitive of each way to
//! wait: a flag that is spun on, and an eventfd that a thread sleeps on.
//!
//! The other thread reads the clock, then wakes; the task, or whoever waits, reads it as the first thing
//! it does. A pass gives the median of that difference, which a round in which the machine ran something else
//! does not move. Each thread keeps its own readings until the end, so
//! nothing but the wake itself passes from one core to the other.

use std::future::{Future, poll_fn};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use bevy_ecs::prelude::World;
use core_affinity::CoreId;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::work::SelfWake;

/// The other thread gives whoever waits so much time to go to sleep.
const SETTLE: Duration = Duration::from_micros(60);

/// Where the two threads meet.
struct Meeting {
    /// Somebody waits.
    waits: Apart<AtomicBool>,
    waker: Apart<Mutex<Option<Waker>>>,
    /// What the raw flag is.
    flag: Apart<AtomicBool>,
}

/// Alone on its cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

impl Meeting {
    fn new() -> Arc<Self> {
        Arc::new(Self { waits: Apart::default(), waker: Apart::default(), flag: Apart::default() })
    }

    fn wait(&self) {
        self.waits.0.store(true, Ordering::Release);
    }

    /// Starts the thread that wakes, `rounds` times, by `wake`, which reads the clock just before. Joined,
    /// it gives these readings.
    fn wake_from_another_thread(
        self: &Arc<Self>,
        rounds: usize,
        wake: impl Fn(&Self) -> Instant + Send + 'static,
    ) -> thread::JoinHandle<Vec<Instant>> {
        let meeting = Arc::clone(self);
        thread::spawn(move || {
            pin_to_other_core();
            let mut woken = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                spin_until(|| meeting.waits.0.swap(false, Ordering::AcqRel).then_some(()));
                let since = Instant::now();
                while since.elapsed() < SETTLE {
                    spin_loop();
                }
                woken.push(wake(&meeting));
            }
            woken
        })
    }

    fn wake_task(&self) -> Instant {
        let waker = self.waker.0.lock().expect("nobody panics under this lock").take();
        let waker = waker.expect("who waits has left a waker");
        let now = Instant::now();
        waker.wake();
        now
    }
}

/// The median time from a wake to its arrival, as often as there were wakes.
fn latencies(thread: thread::JoinHandle<Vec<Instant>>, arrived: &[Instant]) -> Duration {
    let woken = thread.join().expect("the thread that wakes does not panic");
    assert_eq!(woken.len(), arrived.len());
    let latency = |(woken, arrived): (&Instant, &Instant)| {
        arrived.checked_duration_since(*woken).expect("nobody is polled before the wake")
    };
    let mut all: Vec<_> = woken.iter().zip(arrived).map(latency).collect();
    all.sort_unstable();
    all[all.len() / 2] * all.len() as u32
}

/// Spins until `look` finds something. Gives its core away where it spins for long, because then the
/// machine has more threads than cores, and the other thread may wait for this one's.
pub(crate) fn spin_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        for _ in 0..10_000 {
            if let Some(found) = look() {
                return found;
            }
            spin_loop();
        }
        thread::yield_now();
    }
}

/// A core that the main thread does not measure on, if there is one.
static OTHER_CORE: OnceLock<CoreId> = OnceLock::new();

/// Where the other thread of a question runs. Said before the main thread is pinned: from then on threads
/// inherit its core, and see no other.
pub(crate) fn others_run_on(core: CoreId) {
    let _ = OTHER_CORE.set(core);
}

/// Takes the calling thread off the core of the main thread.
pub(crate) fn pin_to_other_core() {
    if let Some(core) = OTHER_CORE.get() {
        core_affinity::set_for_current(*core);
    }
}

/// The task that is woken, `rounds` times.
async fn woken(rounds: usize) -> Duration {
    let meeting = Meeting::new();
    let thread = meeting.wake_from_another_thread(rounds, Meeting::wake_task);
    let mut arrived = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut asked = false;
        let now = poll_fn(|cx| {
            if asked {
                return Poll::Ready(Instant::now());
            }
            asked = true;
            let mut waker = meeting.waker.0.lock().expect("nobody panics under this lock");
            *waker = Some(cx.waker().clone());
            drop(waker);
            meeting.wait();
            Poll::Pending
        });
        arrived.push(now.await);
    }
    latencies(thread, &arrived)
}

fn raw_flag(rounds: usize) -> Duration {
    let meeting = Meeting::new();
    let thread = meeting.wake_from_another_thread(rounds, |meeting| {
        let now = Instant::now();
        meeting.flag.0.store(true, Ordering::Release);
        now
    });
    let mut arrived = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        meeting.wait();
        let flag = &meeting.flag.0;
        arrived.push(spin_until(|| flag.load(Ordering::Acquire).then(Instant::now)));
        flag.store(false, Ordering::Relaxed);
    }
    latencies(thread, &arrived)
}

fn raw_eventfd(rounds: usize) -> Duration {
    const NEEDS: &str = "the process may use an epoll and an eventfd descriptor";
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect(NEEDS));
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect(NEEDS);
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&queue, &event, epoll::EventData::new_u64(0), flags).expect(NEEDS);
    let meeting = Meeting::new();
    let written = Arc::clone(&event);
    let thread = meeting.wake_from_another_thread(rounds, move |_| {
        let now = Instant::now();
        rustix::io::write(&*written, &1_u64.to_ne_bytes()).expect(NEEDS);
        now
    });
    let hour = rustix::event::Timespec { tv_sec: 3_600, tv_nsec: 0 };
    let mut events = Vec::with_capacity(64);
    let mut arrived = Vec::with_capacity(rounds);
    while arrived.len() < rounds {
        meeting.wait();
        while events.is_empty() {
            epoll::wait(&queue, spare_capacity(&mut events), Some(&hour)).expect(NEEDS);
        }
        arrived.push(Instant::now());
        events.clear();
    }
    latencies(thread, &arrived)
}

fn onbeat(spins: bool, rounds: usize) -> Duration {
    let mut world = World::new();
    let mut runtime = onbeat::Runtime::new(&mut world);
    let root = async move { onbeat::spawn_boxed(woken(rounds)).await };
    if spins { runtime.block_on_busy(root) } else { runtime.block_on(root) }
}

fn tokio_runtime() -> LocalRuntime {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor")
}

fn tokio(spins: bool, rounds: usize) -> Duration {
    let runtime = tokio_runtime();
    if spins {
        runtime.spawn_local(async {
            loop {
                SelfWake::default().await;
            }
        });
    }
    runtime.block_on(spawned_on_tokio(woken(rounds)))
}

async fn spawned_on_tokio(work: impl Future<Output = Duration> + 'static) -> Duration {
    tokio::task::spawn_local(work).await.expect("the work neither panics nor is aborted")
}

fn async_executor(rounds: usize) -> Duration {
    let executor = LocalExecutor::new();
    let task = executor.spawn(woken(rounds));
    futures_lite::future::block_on(executor.run(task))
}

/// Spinning and parked.
pub(crate) fn questions(rounds: usize) -> Vec<Question> {
    let judged = |most| Role::Judged(Reach::Ratio(most));
    let spinning = vec![
        Contender::new("raw: a flag, spun on", Role::Reference, move || raw_flag(rounds)),
        Contender::new("onbeat block_on_busy", judged(1.2), move || onbeat(true, rounds)),
        Contender::new("tokio, spinner task", Role::Shown, move || tokio(true, rounds)),
    ];
    let parked = vec![
        Contender::new("raw: eventfd to epoll_pwait2", Role::Reference, move || {
            raw_eventfd(rounds)
        }),
        Contender::new("onbeat block_on", judged(1.15), move || onbeat(false, rounds)),
        Contender::new("tokio LocalRuntime", Role::Shown, move || tokio(false, rounds)),
        Contender::new("async-executor LocalExecutor", Role::Shown, move || async_executor(rounds)),
    ];
    [("spinning", spinning), ("parked", parked)]
        .map(|(how, contenders)| Question {
            title: format!("foreign wake to first poll, {how}"),
            operations: rounds,
            contenders,
            note: Some(
                "two threads on two cores; both ends of a figure are a reading of the clock. nexus is left out:
  it loses wakes that come from other threads, and never comes to an end.",
            ),
            unit: Unit::default(),
        })
        .into()
}
