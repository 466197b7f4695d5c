//! Waiting for the next tick.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::context::{self, Core};

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

    fn enter(&self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let mut next = self.next.borrow_mut();
        if let Some(place) = *place {
            return next.get_mut(place).and_then(|stored| stored.replace(waker));
        }
        *place = Some(next.len());
        next.push(Some(waker));
        self.waiting.set(self.waiting.get() + 1);
        None
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
    /// Its place in the list, and the tick in which it was given.
    place: Option<usize>,
    placed_in: u64,
    _not_send: PhantomData<*const ()>,
}

impl NextTick {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            runtime: core.serial(),
            called_in: core.tick.get(),
            place: None,
            placed_in: 0,
            _not_send: PhantomData,
        }
    }
}

impl Future for NextTick {
    type Output = ();

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let found = context::find(this.runtime, |core| {
            let tick = core.tick.get();
            if tick > this.called_in {
                return (Poll::Ready(()), Some(waker));
            }
            if this.placed_in != tick {
                this.place = None;
            }
            this.placed_in = tick;
            (Poll::Pending, core.waits.enter(&mut this.place, waker))
        });
        let (polled, old) = found.expect("the runtime whose next tick is awaited has gone");
        drop(old);
        polled
    }
}

impl Drop for NextTick {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let old = context::find(self.runtime, |core| {
                (core.tick.get() == self.placed_in).then(|| core.waits.leave(place)).flatten()
            });
            drop(old);
        }
    }
}
