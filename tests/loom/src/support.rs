//! What the models share: a waker's side, an owner's side, and what stands for the wait for events.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    model::Builder,
    sync::{
        Notify,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::inbox::{Drain, Inbox, Unpark};

/// Checks `model` under every schedule with at most `preemptions` preemptions.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// The wait for events. Loom lets a wait end by itself once, as an event of a socket would end it.
#[derive(Default)]
pub(crate) struct Sleep {
    notify: Notify,
    /// How many of its [`Door`]s were dropped.
    dropped: AtomicUsize,
}

impl Sleep {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The object that ends this wait, as a runtime hands it to its inbox.
    pub(crate) fn door(self: &Arc<Self>) -> Box<dyn Unpark> {
        Box::new(Door(self.clone()))
    }

    pub(crate) fn doors_dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Ends a [`Sleep`].
struct Door(Arc<Sleep>);

impl Unpark for Door {
    fn unpark(&self) {
        assert_eq!(self.0.doors_dropped(), 0, "used after it was dropped");
        self.0.notify.notify();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // A model that fails unwinds outside of loom's execution, where its atomics may not be touched.
        if !std::thread::panicking() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Near slots: two of one word, and one of another.
pub(crate) const NEAR: u32 = 3;
pub(crate) const NEAR_BESIDE: u32 = 5;
pub(crate) const NEAR_APART: u32 = 64;
/// Far slots: two of one leaf word, and one of a leaf word that answers to the same summary bit.
pub(crate) const FAR: u32 = 2 * 64 + 3;
pub(crate) const FAR_BESIDE: u32 = 2 * 64 + 5;
pub(crate) const FAR_APART: u32 = 66 * 64;

/// An inbox and, for some of its slots, how much was asked of each.
pub(crate) struct Shared {
    pub(crate) inbox: Inbox,
    slots: Vec<u32>,
    requests: Vec<AtomicUsize>,
}

impl Shared {
    /// An inbox that has an owner, with room for `slots`.
    pub(crate) fn new(slots: &[u32], sleep: &Arc<Sleep>) -> Arc<Self> {
        let inbox = Inbox::new();
        inbox.open(sleep.door());
        for &slot in slots {
            inbox.ensure(slot);
        }
        Arc::new(Self {
            inbox,
            slots: slots.to_vec(),
            requests: slots.iter().map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    fn index(&self, slot: u32) -> Option<usize> {
        self.slots.iter().position(|&known| known == slot)
    }

    /// Asks something of `slot` and wakes it.
    pub(crate) fn ask(&self, slot: u32) {
        let index = self.index(slot).expect("a slot of this model");
        self.requests[index].fetch_add(1, Ordering::Relaxed);
        self.inbox.wake(slot);
    }

    /// Asks something of each of `slots` in turn, on another thread.
    pub(crate) fn asker(self: &Arc<Self>, slots: &'static [u32]) -> JoinHandle<()> {
        let shared = self.clone();
        thread::spawn(move || slots.iter().for_each(|&slot| shared.ask(slot)))
    }
}

/// The thread that owns the inbox.
pub(crate) struct Owner {
    shared: Arc<Shared>,
    drain: Drain,
    /// What each slot's count was when the slot was last handed out.
    seen: Vec<usize>,
}

impl Owner {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let seen = vec![0; shared.slots.len()];
        Self { shared: shared.clone(), drain: Drain::default(), seen }
    }

    /// A turn: looks at the requests of every slot that the inbox hands out.
    pub(crate) fn turn(&mut self, limit: usize) {
        let Self { shared, drain, seen } = self;
        if shared.inbox.is_empty() && !drain.is_pending() {
            return;
        }
        shared.inbox.drain(drain, limit, |slot| {
            if let Some(index) = shared.index(slot) {
                seen[index] = shared.requests[index].load(Ordering::Relaxed);
            }
        });
    }

    /// What the runtime does between two turns when it parks.
    pub(crate) fn wait(&self, sleep: &Sleep) {
        let inbox = &self.shared.inbox;
        while inbox.is_empty() && !self.drain.is_pending() && inbox.park() {
            sleep.notify.wait();
            inbox.unpark();
        }
    }

    /// How many requests came to light.
    pub(crate) fn seen(&self) -> usize {
        self.seen.iter().sum()
    }

    /// Parks and turns, as the loop does, until `requests` came to light. A lost wake leaves it asleep
    /// with no thread to end that, which loom reports as a deadlock.
    pub(crate) fn run_until(&mut self, requests: usize, limit: usize, sleep: &Sleep) {
        while self.seen() < requests {
            self.wait(sleep);
            self.turn(limit);
        }
    }
}

/// Ends the wait of one who polls by [`wait`].
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls until it is ready, and sleeps in between. A lost wake leaves it asleep, which loom reports as a
/// deadlock.
pub(crate) fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let sleeper = Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(sleeper.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = poll(&mut cx) {
            return output;
        }
        sleeper.0.wait();
    }
}

/// Polls once, with a waker that nobody listens to.
pub(crate) fn poll_once<R>(poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    poll(&mut Context::from_waker(Waker::noop()))
}
