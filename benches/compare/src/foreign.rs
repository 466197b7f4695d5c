//! From a wake on another thread to the first poll of the task, beside the raw primitive of each way to
//! wait: a flag that is spun on, and an eventfd that a thread sleeps on.
//!
//! The other thread reads the clock, then wakes; the task, or whoever waits, reads it as the first thing
//! it does. A figure is the mean of that difference.

use std::future::{Future, poll_fn};
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use bevy_ecs::prelude::World;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::work::SelfWake;

/// The other thread gives whoever waits so much time to go to sleep.
const SETTLE: Duration = Duration::from_micros(60);

/// Where the two threads meet.
struct Meeting {
    origin: Instant,
    /// Somebody waits.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// When the wake began; 0: there was none.
    woken_ns: AtomicU64,
}

impl Meeting {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            waits: AtomicBool::new(false),
            waker: Mutex::new(None),
            woken_ns: AtomicU64::new(0),
        })
    }

    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// The time since the wake, if there was one.
    fn arrive(&self) -> Option<Duration> {
        if self.woken_ns.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now_ns = self.now_ns();
        let woken_ns = self.woken_ns.swap(0, Ordering::AcqRel);
        Some(Duration::from_nanos(now_ns.saturating_sub(woken_ns)))
    }

    /// Starts the thread that wakes, `rounds` times, by `wake`.
    fn wake_from_another_thread(
        self: &Arc<Self>,
        rounds: usize,
        wake: impl Fn(&Self) + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let meeting = Arc::clone(self);
        thread::spawn(move || {
            pin_to_first_core();
            for _ in 0..rounds {
                spin_until(|| meeting.waits.swap(false, Ordering::AcqRel).then_some(()));
                let since = Instant::now();
                while since.elapsed() < SETTLE {
                    spin_loop();
                }
                wake(&meeting);
            }
        })
    }

    fn stamp(&self) {
        self.woken_ns.store(self.now_ns().max(1), Ordering::Release);
    }

    fn wake_task(&self) {
        let waker = self.waker.lock().expect("nobody panics under this lock").take();
        let waker = waker.expect("who waits has left a waker");
        self.stamp();
        waker.wake();
    }
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

/// The main thread is on the last one.
pub(crate) fn pin_to_first_core() {
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.first().copied()) {
        core_affinity::set_for_current(core);
    }
}

/// The task that is woken, `rounds` times.
async fn woken(rounds: usize) -> Duration {
    let meeting = Meeting::new();
    let thread = meeting.wake_from_another_thread(rounds, Meeting::wake_task);
    let mut sum = Duration::ZERO;
    for _ in 0..rounds {
        let mut asked = false;
        sum += poll_fn(|cx| {
            if let Some(latency) = meeting.arrive() {
                return Poll::Ready(latency);
            }
            if !asked {
                asked = true;
                let mut waker = meeting.waker.lock().expect("nobody panics under this lock");
                *waker = Some(cx.waker().clone());
                drop(waker);
                meeting.waits.store(true, Ordering::Release);
            }
            Poll::Pending
        })
        .await;
    }
    thread.join().expect("the thread that wakes does not panic");
    sum
}

fn raw_flag(rounds: usize) -> Duration {
    let meeting = Meeting::new();
    let thread = meeting.wake_from_another_thread(rounds, Meeting::stamp);
    let mut sum = Duration::ZERO;
    for _ in 0..rounds {
        meeting.waits.store(true, Ordering::Release);
        sum += spin_until(|| meeting.arrive());
    }
    thread.join().expect("the thread that wakes does not panic");
    sum
}

fn raw_eventfd(rounds: usize) -> Duration {
    const NEEDS: &str = "the process may use an epoll and an eventfd descriptor";
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect(NEEDS));
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect(NEEDS);
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&queue, &event, epoll::EventData::new_u64(0), flags).expect(NEEDS);
    let meeting = Meeting::new();
    let written = Arc::clone(&event);
    let thread = meeting.wake_from_another_thread(rounds, move |meeting| {
        meeting.stamp();
        rustix::io::write(&*written, &1_u64.to_ne_bytes()).expect(NEEDS);
    });
    let hour = rustix::event::Timespec { tv_sec: 3_600, tv_nsec: 0 };
    let mut events = Vec::with_capacity(64);
    let mut sum = Duration::ZERO;
    for _ in 0..rounds {
        meeting.waits.store(true, Ordering::Release);
        sum += loop {
            epoll::wait(&queue, spare_capacity(&mut events), Some(&hour)).expect(NEEDS);
            events.clear();
            if let Some(latency) = meeting.arrive() {
                break latency;
            }
        };
    }
    thread.join().expect("the thread that wakes does not panic");
    sum
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
