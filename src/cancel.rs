//! [`CancellationToken`]: asks those who hold it, or one of its children, to stop.
//!
//! Invariants:
//!
//! - **down the tree**: a lock is taken while no other one of a token is held, and nothing of anybody
//!   else (a waker's clone, wake or drop, a token's drop) runs under it;
//! - **decided under the lock**: a token is cancelled under its lock, and whoever joins it, as a waiter
//!   or as a child, looks under the same lock. So nobody joins a token that will not tell them.
#![forbid(unsafe_code)]

use std::{
    fmt,
    mem::take,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use slab::Slab;

use crate::{context, executor::details::Wait, wakers::wake_all};

/// Lists with more places than this give their memory back when the last place is left.
const PLACES_KEPT: usize = 64;

/// Asks those who hold a clone of it, or of one of its children, to stop.
///
/// Any thread may hold it, cancel it and wait for it, and no runtime is needed. Cancelling is final, and
/// ends nothing by itself: it completes every [`cancelled`](Self::cancelled) and is seen by
/// [`is_cancelled`](Self::is_cancelled). A child, and a future that waits, take memory of the token only
/// while they live.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{CancellationToken, Runtime};
///
/// let mut world = World::new();
/// let token = CancellationToken::new();
/// let order_entry = token.child();
/// std::thread::spawn(move || token.cancel());
/// Runtime::new(&mut world).block_on(order_entry.cancelled());
/// assert!(order_entry.is_cancelled());
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

impl CancellationToken {
    /// A token that has no parent.
    #[must_use]
    pub fn new() -> Self {
        Self { node: Node::new(None, false) }
    }

    /// A token that is cancelled with this one, or alone, without this one.
    ///
    /// It is cancelled from the start if this one is. The tokens between it and a parent further up may
    /// be dropped: it still hears of that parent.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { node: Node::child(&self.node) }
    }

    /// The same as [`child`](Self::child).
    ///
    /// ```
    /// use onbeat::CancellationToken;
    ///
    /// let session = CancellationToken::new();
    /// let order = session.child_token();
    /// session.cancel();
    /// assert!(order.is_cancelled());
    /// ```
    #[must_use]
    pub fn child_token(&self) -> Self {
        self.child()
    }

    /// Cancels this token and all below it. Whatever the caller wrote before is seen by who sees the
    /// cancellation.
    ///
    /// When this returns, all of them are cancelled, and all who waited are woken, by this call or by
    /// another one that is under way. Cancelling again changes nothing. A waker may use the tokens, also
    /// the one that woke it; one that panics keeps nobody asleep, and its panic goes on when all are
    /// woken.
    pub fn cancel(&self) {
        wake_all(Node::cancel_all(&self.node));
    }

    /// Whether this token, or one above it, was cancelled. One atomic load.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Completes when the token is cancelled; at once if it is already.
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes its waker out of the token, and loses nothing.
    /// It borrows nothing, so a task may own it. Polling it again allocates nothing.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{CancellationToken, Runtime, spawn};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let token = CancellationToken::new();
    ///     let task = spawn(token.cancelled());
    ///     token.cancel();
    ///     task.await;
    /// });
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { node: self.node.clone(), place: None }
    }

    /// The same as [`cancelled`](Self::cancelled), which owns all that it needs.
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes its waker out of the token, and loses nothing.
    ///
    /// ```
    /// use onbeat::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let cancelled = token.clone().cancelled_owned();
    /// token.cancel();
    /// futures::executor::block_on(cancelled);
    /// ```
    pub fn cancelled_owned(self) -> Cancelled {
        self.cancelled()
    }

    /// Runs `future` until it completes, or until the token is cancelled: then it gives `None`, and
    /// `future` is dropped with it.
    ///
    /// A token that is cancelled before the first poll wins, and `future` is not polled at all. After
    /// that `future` is polled first: one that completes in the poll that sees the cancellation wins.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops `future`, and loses what that loses.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{CancellationToken, Runtime, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let token = CancellationToken::new();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, Some(7));
    ///     let quotes = spawn(token.run_until_cancelled(sleep(Duration::from_secs(3_600))));
    ///     token.cancel();
    ///     assert_eq!(quotes.await, None);
    /// });
    /// ```
    pub fn run_until_cancelled<F: Future>(&self, future: F) -> RunUntilCancelled<F> {
        RunUntilCancelled { future, cancelled: self.cancelled(), is_polled: false }
    }

    /// The same as [`run_until_cancelled`](Self::run_until_cancelled), which owns all that it needs.
    ///
    /// # Cancellation
    ///
    /// As there.
    ///
    /// ```
    /// use onbeat::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let running = token.clone().run_until_cancelled_owned(std::future::pending::<()>());
    /// token.cancel();
    /// assert_eq!(futures::executor::block_on(running), None);
    /// ```
    pub fn run_until_cancelled_owned<F: Future>(self, future: F) -> RunUntilCancelled<F> {
        self.run_until_cancelled(future)
    }

    /// A guard that cancels the token when it is dropped, also by a panic.
    ///
    /// ```
    /// use onbeat::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let guard = token.clone().drop_guard();
    /// assert!(!token.is_cancelled());
    /// drop(guard);
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (children, waiters) = {
            let links = self.node.lock();
            (links.children.len(), links.waiters.len())
        };
        f.debug_struct("CancellationToken")
            .field("is_cancelled", &self.is_cancelled())
            .field("children", &children)
            .field("waiters", &waiters)
            .finish()
    }
}

/// The future of [`CancellationToken::cancelled`].
///
/// # Cancellation
///
/// Dropping it takes its waker out of the token, and loses nothing.
///
/// ```
/// use onbeat::{CancellationToken, Cancelled};
///
/// let token = CancellationToken::new();
/// let cancelled: Cancelled = token.cancelled();
/// std::thread::spawn(move || token.cancel());
/// futures::executor::block_on(cancelled);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Cancelled {
    node: Arc<Node>,
    /// Its place among the waiters; it means nothing once the token is cancelled.
    place: Option<usize>,
}

impl Cancelled {
    /// Stores the waker, or gives it back because the token is cancelled. Second: a waker to drop.
    fn wait(&mut self, waker: Waker) -> (Poll<()>, Option<Waker>) {
        let mut links = self.node.lock();
        if self.node.is_cancelled() {
            return (Poll::Ready(()), Some(waker));
        }
        if let Some(stored) = self.place.and_then(|place| links.waiters.get_mut(place)) {
            return (Poll::Pending, Some(std::mem::replace(stored, waker)));
        }
        self.place = Some(links.waiters.insert(waker));
        (Poll::Pending, None)
    }

    fn is_stored(&self, waker: &Waker) -> bool {
        let Some(place) = self.place else {
            return false;
        };
        self.node.lock().waiters.get(place).is_some_and(|stored| stored.will_wake(waker))
    }

    fn leave(&self) -> Option<Waker> {
        let place = self.place?;
        if self.node.is_cancelled() {
            return None;
        }
        let mut links = self.node.lock();
        let waker = links.waiters.try_remove(place);
        give_back(&mut links.waiters);
        waker
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.node.is_cancelled() {
            return Poll::Ready(());
        }
        context::try_current(|core| core.executor.note_wait(Wait::Other("a cancellation")));
        if self.is_stored(cx.waker()) {
            // Whoever cancels from here on wakes it.
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let (polled, old) = self.wait(waker);
        drop(old);
        polled
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").field("is_cancelled", &self.node.is_cancelled()).finish()
    }
}

pin_project! {
    /// The future of [`CancellationToken::run_until_cancelled`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future, and takes its waker out of the token.
    ///
    /// ```
    /// use onbeat::{CancellationToken, RunUntilCancelled};
    ///
    /// let token = CancellationToken::new();
    /// let running: RunUntilCancelled<_> = token.run_until_cancelled(async { 7 });
    /// assert_eq!(futures::executor::block_on(running), Some(7));
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RunUntilCancelled<F> {
        #[pin]
        future: F,
        cancelled: Cancelled,
        is_polled: bool,
    }
}

impl<F: Future> Future for RunUntilCancelled<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !std::mem::replace(this.is_polled, true) && this.cancelled.node.is_cancelled() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(this.cancelled).poll(cx).map(|()| None)
    }
}

/// Cancels its token when it is dropped; made by [`CancellationToken::drop_guard`].
///
/// ```
/// use onbeat::CancellationToken;
///
/// let token = CancellationToken::new();
/// drop(token.clone().drop_guard());
/// assert!(token.is_cancelled());
///
/// let token = CancellationToken::new().drop_guard().disarm();
/// assert!(!token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "dropping the guard cancels its token"]
pub struct DropGuard {
    /// `None` once it is disarmed.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// The token, which is not cancelled by this guard.
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only this function takes it, and it consumes the guard")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}

/// What the clones of a token share. It keeps its parents alive, and they only know of it.
struct Node {
    cancelled: AtomicBool,
    /// The parent and the place among its children; of one that was cancelled first, none.
    parent: Option<Parent>,
    links: Mutex<Links>,
}

struct Parent {
    node: Arc<Node>,
    place: usize,
}

#[derive(Default)]
struct Links {
    waiters: Slab<Waker>,
    children: Slab<Weak<Node>>,
}

/// Frees what a crowd that has left needed.
fn give_back<T>(list: &mut Slab<T>) {
    if list.is_empty() && list.capacity() > PLACES_KEPT {
        *list = Slab::new();
    }
}

impl Node {
    fn new(parent: Option<Parent>, is_cancelled: bool) -> Arc<Self> {
        let cancelled = AtomicBool::new(is_cancelled);
        Arc::new(Self { cancelled, parent, links: Mutex::default() })
    }

    fn child(parent: &Arc<Self>) -> Arc<Self> {
        let mut links = parent.lock();
        if parent.is_cancelled() {
            return Self::new(None, true);
        }
        let entry = links.children.vacant_entry();
        let link = Parent { node: parent.clone(), place: entry.key() };
        let child = Self::new(Some(link), false);
        entry.insert(Arc::downgrade(&child));
        child
    }

    /// A child is dropped.
    fn leave(&self, place: usize) {
        let mut links = self.lock();
        links.children.try_remove(place);
        give_back(&mut links.children);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// No panic leaves the links half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels `top` and all below, parents first, and returns who is to be woken.
    ///
    /// It also walks below what is cancelled already: another thread may be in the middle of that, and
    /// has not told all the children yet.
    fn cancel_all(top: &Arc<Self>) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut left = vec![top.clone()];
        while let Some(node) = left.pop() {
            let mut links = node.lock();
            node.cancelled.store(true, Ordering::Release);
            woken.extend(take(&mut links.waiters).into_iter().map(|(_, waker)| waker));
            left.extend(links.children.iter().filter_map(|(_, child)| child.upgrade()));
        }
        woken
    }
}

impl Drop for Node {
    /// Leaves the parent, and frees the parents that only this one kept alive, in a loop: a long line of
    /// them must not use up the stack.
    fn drop(&mut self) {
        let mut link = self.parent.take();
        while let Some(Parent { node, place }) = link {
            node.leave(place);
            link = Arc::into_inner(node).and_then(|mut parent| parent.parent.take());
        }
    }
}
