//! The children of a scope, and the passes in which they are polled.
//!
//! ```text
//!   Scope::spawn, branch, rush       Nursery::pass                   Nursery::close
//!   ---- 1 ----> newcomers ---- 2 ----> children ---- 3 ----> dropped
//!                                          |                     ^
//!                                          +-- ready, aborted ---+
//! ```
//!
//! Invariant:
//!
//! - **ours alone**: the children lie in the future of the scope, where no handle reaches. So nothing is
//!   borrowed while one of them is polled or dropped; a handle only adds to the newcomers.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    mem::take,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use super::{
    unwound::Unwound,
    wakers::{ChildWaker, ScopeWaker},
};

type Future<'env> = Pin<Box<dyn std::future::Future<Output = ()> + 'env>>;

/// What the future of a scope and its handles share.
pub(super) struct Shared<'env> {
    newcomers: RefCell<Vec<Child<'env>>>,
    closed: Cell<bool>,
    waker: Arc<ScopeWaker>,
}

/// Whether a scope goes on until the child has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Spawned,
    Branch,
}

struct Child<'env> {
    /// `None` once it has ended.
    future: Option<Future<'env>>,
    kind: Kind,
    state: Arc<ChildWaker>,
    waker: Waker,
    /// It woke itself when it was polled last: another poll of the scope comes first.
    resumes_after: u64,
}

impl<'env> Shared<'env> {
    /// Adds a child, which is polled after those that are there. One that comes after the end of the scope
    /// is dropped at once.
    pub(super) fn add(
        &self,
        kind: Kind,
        future: impl std::future::Future<Output = ()> + 'env,
    ) -> Arc<ChildWaker> {
        let state = ChildWaker::new(self.waker.clone());
        if self.closed.get() {
            drop(future);
            return state;
        }
        let waker = Waker::from(state.clone());
        let child = Child {
            future: Some(Box::pin(future)),
            kind,
            state: state.clone(),
            waker,
            resumes_after: 0,
        };
        self.newcomers.borrow_mut().push(child);
        self.waker.wake();
        state
    }

    pub(super) fn count(&self) -> usize {
        self.newcomers.borrow().len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }
}

/// The children of a scope. Dropping it drops them, top to bottom.
pub(super) struct Nursery<'env> {
    pub(super) shared: Rc<Shared<'env>>,
    children: Vec<Child<'env>>,
    /// How often the scope was polled.
    polls: u64,
    /// The waker of the body, which is polled before the children.
    body: Arc<ChildWaker>,
    body_waker: Waker,
    body_resumes_after: u64,
    /// The waker of the latest poll, while the scope is polled.
    stored: Option<Waker>,
}

impl Nursery<'_> {
    pub(super) fn new() -> Self {
        let waker = Arc::<ScopeWaker>::default();
        let body = ChildWaker::new(waker.clone());
        let shared = Shared { newcomers: RefCell::default(), closed: Cell::new(false), waker };
        Self {
            shared: Rc::new(shared),
            children: Vec::new(),
            polls: 0,
            body_waker: Waker::from(body.clone()),
            body,
            body_resumes_after: 0,
            stored: None,
        }
    }

    /// The scope is polled: it looks at its flags by itself until [`end_poll`](Self::end_poll).
    pub(super) fn begin_poll(&mut self) {
        self.polls += 1;
        if let Some(stored) = self.shared.waker.put(None) {
            self.stored = Some(stored);
        }
    }

    /// From here on who wakes a child wakes the scope, by `waker`; and so does what was left.
    pub(super) fn end_poll(&mut self, waker: &Waker, body_runs: bool) {
        let stored = self.stored.take().filter(|stored| stored.will_wake(waker));
        let stored = stored.unwrap_or_else(|| waker.clone());
        drop(self.shared.waker.put(Some(stored)));
        let left = self.shared.count() > 0
            || body_runs && self.body.is_woken()
            || self.children.iter().any(|child| child.state.is_woken());
        if left {
            self.shared.waker.wake();
        }
    }

    /// Calls `poll` with the waker of the body, if the body was woken. Whether it was.
    pub(super) fn poll_body(&mut self, poll: impl FnOnce(&mut Context<'_>)) -> bool {
        if self.body_resumes_after >= self.polls || !self.body.take_woken() {
            return false;
        }
        poll(&mut Context::from_waker(&self.body_waker));
        if self.body.is_woken() {
            self.body_resumes_after = self.polls;
        }
        true
    }

    /// Polls each child that was woken, top to bottom. Those whom it adds come in the next pass. Whether
    /// there was one.
    pub(super) fn pass(&mut self) -> bool {
        self.children.append(&mut self.shared.newcomers.borrow_mut());
        let mut any = false;
        let mut ended = false;
        for child in &mut self.children {
            if child.resumes_after < self.polls && child.state.take_woken() {
                any = true;
                child.poll(self.polls);
                ended |= child.future.is_none();
            }
        }
        if ended {
            self.children.retain(|child| child.future.is_some());
        }
        any
    }

    /// Whether the scope has to wait for a child.
    pub(super) fn has_spawned(&self) -> bool {
        let is_spawned = |child: &Child<'_>| child.kind == Kind::Spawned;
        self.children.iter().any(is_spawned)
            || self.shared.newcomers.borrow().iter().any(is_spawned)
    }

    /// The scope has ended: drops its children, top to bottom. Those that come later are not begun.
    pub(super) fn close(&mut self, unwound: &mut Unwound) {
        self.shared.closed.set(true);
        let stored = [self.stored.take(), self.shared.waker.put(None)];
        unwound.run(|| drop(stored));
        let newcomers = take(&mut *self.shared.newcomers.borrow_mut());
        for child in take(&mut self.children).into_iter().chain(newcomers) {
            unwound.run(|| drop(child));
        }
    }
}

impl Child<'_> {
    fn poll(&mut self, polls: u64) {
        let Some(future) = self.future.as_mut().filter(|_| !self.state.is_aborted()) else {
            self.future = None;
            return;
        };
        let ready = future.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready();
        if ready || self.state.is_aborted() {
            self.future = None;
        } else if self.state.is_woken() {
            self.resumes_after = polls;
        }
    }
}

impl Drop for Nursery<'_> {
    fn drop(&mut self) {
        let mut unwound = Unwound::default();
        self.close(&mut unwound);
        unwound.go_on();
    }
}
