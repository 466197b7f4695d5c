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

use slab::Slab;

use crate::wakers::wake_all;

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
    #[must_use]
    pub fn child_token(&self) -> Self {
        self.child()
    }

    /// Cancels this token and all below it. Whatever the caller wrote before is seen by who sees the
    /// cancellation.
    ///
    /// When this returns, all of them are cancelled, and all who waited are woken. Cancelling again
    /// changes nothing.
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
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { node: self.node.clone(), place: None }
    }

    /// A guard that cancels the token when it is dropped, also by a panic.
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
        self.node.lock().waiters.try_remove(place)
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.node.is_cancelled() {
            return Poll::Ready(());
        }
        if self.is_stored(cx.waker()) {
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
            node.lock().children.try_remove(place);
            link = Arc::into_inner(node).and_then(|mut parent| parent.parent.take());
        }
    }
}
