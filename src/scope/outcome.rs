//! What a child of a scope leaves for who awaits it.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;

/// The output of one of several children: of the first that ends.
pub(super) struct Outcome<T> {
    state: Cell<State<T>>,
    /// Children that may still give an output.
    running: Cell<usize>,
    waiting: Cell<Option<Waker>>,
}

enum State<T> {
    Running,
    Output(T),
    Taken,
}

impl<T> Outcome<T> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            state: Cell::new(State::Running),
            running: Cell::new(0),
            waiting: Cell::new(None),
        })
    }

    /// `None`: no child that could give it is left.
    ///
    /// # Panics
    ///
    /// When the output was taken already; `what` is what awaits it.
    pub(super) fn poll(&self, what: &str, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Poll::Ready(ended) = self.take(what) {
            return Poll::Ready(ended);
        }
        let stored = self.waiting.take().filter(|stored| stored.will_wake(cx.waker()));
        let waker = stored.unwrap_or_else(|| cx.waker().clone());
        drop(self.waiting.replace(Some(waker)));
        // What was cloned and dropped may be anybody's code, and may have ended the children.
        let polled = self.take(what);
        if polled.is_ready() {
            drop(self.waiting.take());
        }
        polled
    }

    /// The end, if it has come.
    fn take(&self, what: &str) -> Poll<Option<T>> {
        match self.state.replace(State::Taken) {
            State::Output(output) => return Poll::Ready(Some(output)),
            State::Taken => panic!("{what} is polled again after it gave its output"),
            State::Running if self.running.get() == 0 => return Poll::Ready(None),
            State::Running => self.state.set(State::Running),
        }
        Poll::Pending
    }

    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.replace(State::Taken);
        let finished = !matches!(state, State::Running) || self.running.get() == 0;
        self.state.set(state);
        finished
    }

    /// The first output is kept, others are dropped.
    fn give(&self, output: T) {
        match self.state.replace(State::Taken) {
            State::Running => {
                self.state.set(State::Output(output));
                self.wake();
            }
            before => self.state.set(before),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// One of the children of which an [`Outcome`] is the first output.
pub(super) struct Giver<T> {
    outcome: Rc<Outcome<T>>,
}

impl<T> Giver<T> {
    fn new(outcome: &Rc<Outcome<T>>) -> Self {
        outcome.running.set(outcome.running.get() + 1);
        Self { outcome: outcome.clone() }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let left = self.outcome.running.get() - 1;
        self.outcome.running.set(left);
        if left == 0 {
            self.outcome.wake();
        }
    }
}

pin_project! {
    /// Gives the output of `future` to its outcome.
    pub(super) struct Giving<F> where F: Future {
        #[pin]
        future: F,
        giver: Giver<F::Output>,
    }
}

impl<F: Future> Giving<F> {
    pub(super) fn new(future: F, outcome: &Rc<Outcome<F::Output>>) -> Self {
        Self { future, giver: Giver::new(outcome) }
    }
}

impl<F: Future> Future for Giving<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.future.poll(cx).map(|output| this.giver.outcome.give(output))
    }
}

pin_project! {
    /// Drops the output of `future`.
    pub(super) struct Discarding<F> {
        #[pin]
        future: F,
    }
}

impl<F> Discarding<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Discarding<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx).map(drop)
    }
}
