//! Waiting for the next tick, or for a later one.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::waiters::Waiters;
use crate::{
    context::{self, Core},
    executor::{agenda::Items, details::Wait},
};

/// Who waits for a tick, in order of call. The list of those who wait for the next one is emptied as
/// that tick begins, so a place in it means something only in the tick in which it was given.
#[derive(Default, Debug)]
pub(crate) struct TickWaits {
    next: RefCell<Vec<Option<Waker>>>,
    waiting: Cell<usize>,
    /// Those who wait for a tick after the next one, by its number.
    later: RefCell<Waiters<u64, ()>>,
    /// Entries of `later`, so that a tick without any looks at one number.
    later_waiting: Cell<usize>,
}

impl TickWaits {
    /// Whether somebody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
            && (self.later_waiting.get() == 0 || self.later.borrow().awake() == 0)
    }

    /// Whether a place has been given, be it taken or not.
    pub(crate) fn has_places(&self) -> bool {
        !self.next.borrow().is_empty() || self.later_waiting.get() > 0
    }

    /// Those who wait for `tick`, which begins. Who waits since before the tick that has ended called
    /// first.
    pub(crate) fn take(&self, tick: u64) -> Vec<Option<Waker>> {
        self.waiting.set(0);
        let next = self.next.take();
        if self.later_waiting.get() == 0 {
            return next;
        }
        let mut wakers = Vec::new();
        self.in_later(|later| later.fire(tick, |()| true, &mut wakers));
        wakers.into_iter().map(Some).chain(next).collect()
    }

    /// Everybody's waker, when no tick comes any more.
    pub(crate) fn take_all(&self) -> Vec<Waker> {
        self.waiting.set(0);
        let mut all = self.in_later(Waiters::drain_wakers);
        all.extend(self.next.take().into_iter().flatten());
        all
    }

    fn in_later<R>(&self, f: impl FnOnce(&mut Waiters<u64, ()>) -> R) -> R {
        let mut later = self.later.borrow_mut();
        let result = f(&mut later);
        self.later_waiting.set(later.pending());
        result
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

    /// Stores who is woken. Returns a waker that the caller drops, where nothing is borrowed.
    fn enter(&self, place: usize, waker: Waker) -> Option<Waker> {
        let mut next = self.next.borrow_mut();
        let Some(stored) = next.get_mut(place) else {
            return Some(waker); // The runtime is being dropped, and no tick comes any more.
        };
        let before = stored.replace(waker);
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

    /// Gives a place up for good. The last one is given again, so that a tick in which many give up
    /// does not make the list long.
    fn give_up(&self, place: usize) -> Option<Waker> {
        let waker = self.leave(place);
        let mut next = self.next.borrow_mut();
        if next.len() == place + 1 {
            next.pop();
        }
        waker
    }
}

/// The future of [`WorldCtx::next_tick`](crate::WorldCtx::next_tick): completes in the first round of the
/// tick after the call.
///
/// # Cancellation
///
/// Dropping it gives up the place in the order.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{NextTick, Runtime, WorldCtx};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     let next: NextTick = WorldCtx::current().next_tick();
///     next.await;
/// });
/// assert_eq!(rt.stats().ticks, 2);
/// ```
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
            place: {
                core.executor.agenda().add(Items::TICK_WAITS);
                core.waits.give_place()
            },
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
            (core.tick.get() == self.called_in).then(|| core.waits.give_up(self.place)).flatten()
        });
        drop(old);
    }
}

/// The future of [`WorldCtx::ticks`](crate::WorldCtx::ticks): completes in the first round of the tick
/// that many after the one of the call.
///
/// # Cancellation
///
/// Dropping it gives up the place in the order.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, Ticks, WorldCtx};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     let later: Ticks = WorldCtx::current().ticks(2);
///     later.await;
/// });
/// assert_eq!(rt.stats().ticks, 3);
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Ticks(Wanted);

#[derive(Debug)]
enum Wanted {
    /// This tick, or one that has come.
    Here,
    Next(NextTick),
    /// The entry is `None` once it was left.
    Later {
        runtime: u64,
        entry: Option<usize>,
        _not_send: PhantomData<*const ()>,
    },
}

impl Ticks {
    pub(crate) fn new(core: &Core, ticks: u64) -> Self {
        Self(match ticks {
            0 => Wanted::Here,
            1 => Wanted::Next(NextTick::new(core)),
            _ => {
                let tick = core.tick.get().saturating_add(ticks);
                core.executor.agenda().add(Items::TICK_WAITS);
                let entry = Some(core.waits.in_later(|later| later.enter(tick, (), true)));
                Wanted::Later { runtime: core.serial(), entry, _not_send: PhantomData }
            }
        })
    }
}

impl Future for Ticks {
    type Output = ();

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (runtime, entry) = match &mut self.0 {
            Wanted::Here => return Poll::Ready(()),
            Wanted::Next(next) => return Pin::new(next).poll(cx),
            Wanted::Later { entry: None, .. } => return Poll::Ready(()),
            Wanted::Later { runtime, entry, .. } => (*runtime, entry),
        };
        let waker = cx.waker().clone();
        let found = context::find(runtime, |core| {
            core.waits.in_later(|later| match *entry {
                Some(waiting) if !later.is_fired(waiting) => {
                    core.executor.note_wait(Wait::Other("a later tick"));
                    (Poll::Pending, [later.park(waiting, waker), None])
                }
                _ => {
                    let left = entry.take().and_then(|fired| later.leave(fired).1);
                    (Poll::Ready(()), [left, Some(waker)])
                }
            })
        });
        // Here, where nothing is borrowed: a waker's destructor may be anybody's code.
        let (polled, wakers) = found.expect("the runtime whose tick is awaited has gone");
        drop(wakers);
        polled
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Self::Later { runtime, entry, .. } = self
            && let Some(entry) = entry.take()
        {
            let left =
                context::find(*runtime, |core| core.waits.in_later(|later| later.leave(entry)));
            drop(left);
        }
    }
}
