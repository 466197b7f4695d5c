//! What the integration tests share: a watchdog, a runtime in a line, and a waker that counts.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    cell::{Cell, RefCell},
    env,
    future::poll_fn,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    process,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::{resource::Resource, world::World};
use onbeat::{Runtime, TickStats, WorldCtx};

/// How long a test may take before the watchdog ends the process.
pub(crate) const LIMIT_SECONDS: u64 = 30;

/// While it lives, the test may go on.
#[must_use]
pub(crate) struct Guard {
    _alive: Sender<()>,
}

/// How many times slower than usual everything runs here. `ONBEAT_SLOWDOWN` says it, under valgrind for
/// example: limits are longer by that much, and [`rounds`] fewer.
fn slowdown() -> usize {
    let said = env::var("ONBEAT_SLOWDOWN").ok().and_then(|said| said.parse().ok());
    said.unwrap_or(1).max(1)
}

/// So many rounds of something, or fewer where everything is slow.
pub(crate) fn rounds(count: usize) -> usize {
    (count / slowdown()).max(1)
}

/// Aborts the process, with the test's name, when the guard lives longer than `seconds`.
pub(crate) fn watchdog(seconds: u64) -> Guard {
    let seconds = seconds * slowdown() as u64;
    let (alive, gone) = mpsc::channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if gone.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            let _ = writeln!(io::stderr(), "{test} still runs after {seconds} s");
            process::abort();
        }
    });
    Guard { _alive: alive }
}

/// Runs a future on a runtime of its own, over a fresh World, under the watchdog.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(future)
}

/// Runs what `make` makes on two runtimes, one that parks and one that spins, under the watchdog.
pub(crate) fn parked_and_busy<F: Future>(mut make: impl FnMut() -> F) {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut parked, mut busy) = (World::new(), World::new());
    Runtime::new(&mut parked).block_on(make());
    Runtime::new(&mut busy).block_on_busy(make());
}

/// Polls once, with the waker of the task that is running.
pub(crate) async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A waker that counts its wakes, and whose clones can be counted.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many wakes came.
    pub(crate) fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// How many wakers of it are kept somewhere.
    pub(crate) fn kept(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }

    /// Polls `future` once with a waker of this count.
    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(self.clone());
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    }
}

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Adds a line to the log of the test. Tests run on a thread each, and so does all of a runtime.
pub(crate) fn log(line: impl Into<String>) {
    LOG.with_borrow_mut(|log| log.push(line.into()));
}

/// Takes the log: what was logged since it was last taken.
pub(crate) fn logged() -> Vec<String> {
    LOG.take()
}

/// The number of the tick that is going on, for tasks.
pub(crate) fn tick_number() -> u64 {
    WorldCtx::current().with_world_ref(|world| world.resource::<TickStats>().get().ticks) + 1
}

/// The message of the panic that `f` ends with.
#[track_caller]
pub(crate) fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

/// Wakes whoever waits for it, in the order in which they began to wait: from a task, from a system, or
/// from another thread.
#[derive(Resource, Clone, Default)]
pub(crate) struct Bell(Arc<Mutex<Rings>>);

#[derive(Default)]
struct Rings {
    count: u64,
    waiting: Vec<Waker>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let waiting = {
            let mut rings = self.0.lock().unwrap();
            rings.count += 1;
            std::mem::take(&mut rings.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().unwrap().waiting.len()
    }

    /// Completes at the first ring after this call.
    pub(crate) fn rung(&self) -> impl Future<Output = ()> + 'static {
        let bell = self.clone();
        let count = bell.0.lock().unwrap().count;
        poll_fn(move |cx| {
            let mut rings = bell.0.lock().unwrap();
            if rings.count > count {
                return Poll::Ready(());
            }
            if !rings.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                rings.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// Waits until this runtime's thread parks: only then does another thread wake it. Under a runtime that
/// does not park this never ends.
pub(crate) async fn until_parked() {
    let stats = WorldCtx::current().with_world_ref(|world| world.resource::<TickStats>().clone());
    let parks = stats.get().parks;
    let bell = Bell::default();
    let (rung, ringer) = (bell.rung(), bell);
    let thread = thread::spawn(move || {
        while stats.get().parks == parks {
            thread::yield_now();
        }
        ringer.ring();
    });
    rung.await;
    thread.join().unwrap();
}

/// Something whose drop is counted.
pub(crate) struct Drops(Rc<Cell<usize>>);

impl Drops {
    pub(crate) fn counted_by(count: &Rc<Cell<usize>>) -> Self {
        Self(count.clone())
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}
