//! Waiting for the next tick.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    context::{self, Core},
    executor::details::Wait,
};

/// Who waits for the next tick, in order of call. The list is emptied as that tick begins, so a place in
/// it means something only in the tick in which it was given.
#[derive(Default, Debug)]
pub(crate) struct TickWaits {
    next: RefCell<Vec<Option<Waker>>>,
    waiting: Cell<usize>,
}

impl TickWaits {
    /// Whether somebody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// Whether a place has been given, be it taken or not.
    pub(crate) fn has_places(&self) -> bool {
        !self.next.borrow().is_empty()
    }

    /// Those who wait, for the tick that begins.
    pub(crate) fn take(&self) -> Vec<Option<Waker>> {
        self.waiting.set(0);
        self.next.take()
    }

    /// Gives the memory of an emptied list back, so that the next tick allocates nothing.
    pub(crate) fn give_back(&self, mut list: Vec<Option<Waker>>) {
        list.clear();
        let mut next = self.next.borrow_mut();
        if next.capacity() < list.capacity() && next.is_empty() {
            *next = list;
        }
    }

    /// A place behind those given before. It counts when a waker is put there.
    fn give_place(&self) -> usize {
        let mut next = self.next.borrow_mut();
        next.push(None);
        next.len() - 1
    }

    fn enter(&self, place: usize, waker: Waker) -> Option<Waker> {
        let before = self.next.borrow_mut().get_mut(place).and_then(|stored| stored.replace(waker));
        if before.is_none() {
            self.waiting.set(self.waiting.get() + 1);
        }
        before
    }

    fn leave(&self, place: usize) -> Option<Waker> {
        let waker = self.next.borrow_mut().get_mut(place).and_then(Option::take)?;
        self.waiting.set(self.waiting.get() - 1);
        Some(waker)
    }
}

/// The future of [`WorldCtx::next_tick`](crate::WorldCtx::next_tick): completes in the first round of the
/// tick after the call.
///
/// # Cancellation
///
/// Dropping it gives up the place in the order.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct NextTick {
    runtime: u64,
    called_in: u64,
    /// Its place in the list of the tick in which it was called.
    place: usize,
    _not_send: PhantomData<*const ()>,
}

impl NextTick {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            runtime: core.serial(),
            called_in: core.tick.get(),
            place: core.waits.give_place(),
            _not_send: PhantomData,
        }
    }
}

impl Future for NextTick {
    type Output = ();

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &*self;
        let waker = cx.waker().clone();
        let found = context::find(this.runtime, |core| {
            if core.tick.get() > this.called_in {
                (Poll::Ready(()), Some(waker))
            } else {
                core.executor.note_wait(Wait::Other("the next tick"));
                (Poll::Pending, core.waits.enter(this.place, waker))
            }
        });
        let (polled, old) = found.expect("the runtime whose next tick is awaited has gone");
        drop(old);
        polled
    }
}

impl Drop for NextTick {
    fn drop(&mut self) {
        let old = context::find(self.runtime, |core| {
            (core.tick.get() == self.called_in).then(|| core.waits.leave(self.place)).flatten()
        });
        drop(old);
    }
}
