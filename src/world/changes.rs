//! Waiting for a resource to change.
//!
//! Nothing is raised for a mutation, so a change is looked at: its change tick is compared with the tick
//! of the call. The World's change tick stands still between systems, so a call, a look and, while
//! somebody waits, each access move it on: what is written after the call is newer than the call.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bevy_ecs::{
    change_detection::{MAX_CHANGE_AGE, Tick},
    component::ComponentId,
    resource::Resource,
    world::World,
};

use super::{
    ctx::{WorldCtx, refused},
    lend,
    look::Watch,
    waiters::Waiters,
};
use crate::{
    context::{self, Core},
    executor::details::Wait,
};

/// `reference`, or the oldest tick that still compares as older, if that is younger.
pub(super) fn young(reference: Tick, now: Tick) -> Tick {
    let age = now.get().wrapping_sub(reference.get()).min(MAX_CHANGE_AGE);
    Tick::new(now.get().wrapping_sub(age))
}

/// The waits for a change of one resource. Each has the change tick of its call.
pub(super) struct ResourceWatch {
    resource: ComponentId,
    waiters: RefCell<Waiters<(), Tick>>,
    /// No change up to here is news for those who waited then.
    looked: Cell<Tick>,
}

impl ResourceWatch {
    fn changed(&self, world: &World) -> Option<Tick> {
        Some(world.get_resource_change_ticks_by_id(self.resource)?.changed)
    }

    /// Whether the resource changed after `reference`.
    fn has_changed(&self, world: &World, reference: Tick) -> bool {
        let now = world.read_change_tick();
        self.changed(world).is_some_and(|changed| changed.is_newer_than(reference, now))
    }
}

impl Watch for ResourceWatch {
    fn pending(&self) -> usize {
        self.waiters.borrow().pending()
    }

    fn look(&self, world: &mut World, seen: Tick, wakers: &mut Vec<Waker>) {
        let now = world.change_tick();
        let Some(changed) = self.changed(world) else {
            return;
        };
        if changed.is_newer_than(self.looked.replace(seen), now) {
            let later = |reference: &mut Tick| changed.is_newer_than(*reference, now);
            self.waiters.borrow_mut().fire((), later, wakers);
        }
    }

    fn keep_young(&self, now: Tick) {
        self.looked.set(young(self.looked.get(), now));
        self.waiters.borrow_mut().each_mut(|reference| *reference = young(*reference, now));
    }

    fn drain(&self) -> Vec<Waker> {
        self.waiters.borrow_mut().drain_wakers()
    }
}

/// The future of [`WorldCtx::res_changed`]: completes when a resource was changed after the call.
///
/// # Cancellation
///
/// Dropping it loses nothing but the reference: one made later counts later changes only.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{ResChanged, Runtime, Tick, WorldCtx};
///
/// #[derive(Resource, Default)]
/// struct Book(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Book>();
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|mut book: ResMut<Book>| book.0 += 1);
/// rt.block_on(async {
///     let changed: ResChanged<Book> = WorldCtx::current().res_changed();
///     changed.await;
/// });
/// assert_eq!(rt.stats().ticks, 1, "the system's write wakes the task in the same tick");
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct ResChanged<R> {
    ctx: WorldCtx,
    runtime: u64,
    watch: Rc<ResourceWatch>,
    /// `None` once the wait is over.
    entry: Option<usize>,
    called_at: &'static Location<'static>,
    _resource: PhantomData<fn() -> R>,
}

impl<R: Resource> ResChanged<R> {
    /// Waits from now on.
    fn new(core: &Core, ctx: WorldCtx, called_at: &'static Location<'static>) -> Self {
        let begun = lend::with_at(called_at, ctx.id(), |world| {
            let resource = world.register_component::<R>();
            (resource, world.increment_change_tick())
        });
        let (resource, reference) = begun.unwrap_or_else(|error| refused(error));
        let watch = core.looks.watch::<ResourceWatch, R>(ctx.id(), || ResourceWatch {
            resource,
            waiters: RefCell::default(),
            looked: Cell::new(reference),
        });
        let runtime = core.serial();
        let mut this = Self { ctx, runtime, watch, entry: None, called_at, _resource: PhantomData };
        this.enter(core, reference);
        this
    }

    fn enter(&mut self, core: &Core, reference: Tick) {
        let mut waiters = self.watch.waiters.borrow_mut();
        if waiters.pending() == 0 {
            // The last look may be so long ago that its tick means nothing.
            self.watch.looked.set(reference);
        }
        self.entry = Some(waiters.enter((), reference, false));
        drop(waiters);
        core.looks.begin_watching();
    }
}

impl<R> ResChanged<R> {
    fn is_over(&self, entry: usize) -> bool {
        let waiters = self.watch.waiters.borrow();
        if waiters.is_fired(entry) {
            return true;
        }
        let reference = *waiters.value(entry);
        drop(waiters);
        // Where the World cannot be read, the next look tells.
        let look = |world: &World| self.watch.has_changed(world, reference);
        lend::with_ref_at(self.called_at, self.ctx.id(), look).unwrap_or(false)
    }

    fn leave(&mut self) {
        if let Some(entry) = self.entry.take() {
            let left = self.watch.waiters.borrow_mut().leave(entry);
            drop(left);
        }
    }
}

impl<R> Future for ResChanged<R> {
    type Output = ();

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(entry) = self.entry else {
            return Poll::Ready(());
        };
        if self.is_over(entry) {
            self.leave();
            return Poll::Ready(());
        }
        context::find(self.runtime, |core| {
            core.executor.note_wait(Wait::Other("a change of a resource"));
        })
        .expect("the runtime whose World is awaited has gone");
        let waker = cx.waker().clone();
        let old = self.watch.waiters.borrow_mut().park(entry, waker);
        drop(old);
        Poll::Pending
    }
}

impl<R> Drop for ResChanged<R> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<R> fmt::Debug for ResChanged<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResChanged").field("called_at", &self.called_at).finish_non_exhaustive()
    }
}

/// The future of [`WorldCtx::until_changed`]: completes when a closure gives a value for a changed
/// resource.
///
/// # Cancellation
///
/// As [`ResChanged`].
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, Tick, UntilChanged, WorldCtx};
///
/// #[derive(Resource, Default)]
/// struct Book(u32);
///
/// let mut world = World::new();
/// world.init_resource::<Book>();
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|mut book: ResMut<Book>| book.0 += 1);
/// let seen = rt.block_on_busy(async {
///     let deep = |book: &Book| (book.0 >= 3).then_some(book.0);
///     let until: UntilChanged<Book, _> = WorldCtx::current().until_changed(deep);
///     until.await
/// });
/// assert_eq!(seen, 3);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct UntilChanged<R: Resource, F> {
    changed: ResChanged<R>,
    f: F,
}

impl<R: Resource, F> Unpin for UntilChanged<R, F> {}

impl<R: Resource, T, F: FnMut(&R) -> Option<T>> Future for UntilChanged<R, F> {
    type Output = T;

    /// # Panics
    ///
    /// With the panic of the closure; when the runtime in which it was made has gone; where
    /// [`WorldCtx::with_world_ref`] panics.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        while Pin::new(&mut self.changed).poll(cx).is_ready() {
            let this = &mut *self;
            let (ctx, place) = (this.changed.ctx, this.changed.called_at);
            // What is changed while the closure looks, or later, counts again.
            let reference = lend::with_at(place, ctx.id(), World::increment_change_tick);
            let reference = reference.unwrap_or_else(|error| refused(error));
            context::find(this.changed.runtime, |core| this.changed.enter(core, reference))
                .expect("the runtime whose World is awaited has gone");
            let looked =
                lend::with_ref_at(place, ctx.id(), |world| world.get_resource().map(&mut this.f));
            if let Some(Some(value)) = looked.unwrap_or_else(|error| refused(error)) {
                this.changed.leave();
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    }
}

impl<R: Resource, F> fmt::Debug for UntilChanged<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilChanged").field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// Waiting for a resource.
impl WorldCtx {
    /// Completes when the resource `R` was changed after this call, or inserted, by whomever: a task, a
    /// system, an observer, another thread. The change is seen at the first look after it: before the
    /// next stage, or after the last one.
    ///
    /// It does not keep a sleeping loop awake. Several changes between two looks are one.
    /// `World::resource_scope` is a change whatever its closure does: bevy inserts the resource anew. A change of
    /// what is removed before the look is not seen.
    ///
    /// # Panics
    ///
    /// Outside a runtime, and where [`with_world`](Self::with_world) panics.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Price(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Price>();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut price: ResMut<Price>| price.0 = 101);
    /// rt.block_on(async { WorldCtx::current().res_changed::<Price>().await });
    /// assert_eq!(rt.stats().ticks, 1, "seen by the look after the stage");
    /// ```
    #[track_caller]
    pub fn res_changed<R: Resource>(&self) -> ResChanged<R> {
        let place = Location::caller();
        context::current("WorldCtx::res_changed()", |core| ResChanged::new(core, *self, place))
    }

    /// Calls `f` with the resource `R` each time that it is found changed, until `f` gives a value. The
    /// first time is a change after this call, not this call.
    ///
    /// `f` runs in the task that waits, and may borrow what that task has.
    ///
    /// # Panics
    ///
    /// As [`res_changed`](Self::res_changed).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Price(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Price>();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut price: ResMut<Price>| price.0 += 40);
    /// let limit = 100;
    /// let price = rt.block_on_busy(async {
    ///     let over = |price: &Price| (price.0 > limit).then_some(price.0);
    ///     WorldCtx::current().until_changed(over).await
    /// });
    /// assert_eq!(price, 120);
    /// ```
    #[track_caller]
    pub fn until_changed<R, F, T>(&self, f: F) -> UntilChanged<R, F>
    where
        R: Resource,
        F: FnMut(&R) -> Option<T>,
    {
        let (place, what) = (Location::caller(), "WorldCtx::until_changed()");
        let changed = context::current(what, |core| ResChanged::new(core, *self, place));
        UntilChanged { changed, f }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;

    #[derive(Resource)]
    struct Value;

    #[test]
    fn a_watch_keeps_its_last_look_and_those_who_wait_young() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let changed = WorldCtx::current().res_changed::<Value>();
            let (watch, entry) = (&changed.watch, changed.entry.expect("it waits"));
            let reference = || *watch.waiters.borrow().value(entry);
            let (called, looked) = (reference(), watch.looked.get());
            watch.keep_young(Tick::new(called.get() + MAX_CHANGE_AGE));
            assert_eq!((reference(), watch.looked.get()), (called, looked));
            watch.keep_young(Tick::new((called.get() + MAX_CHANGE_AGE).wrapping_add(7)));
            let younger = |tick: Tick| Tick::new(tick.get() + 7);
            assert_eq!((reference(), watch.looked.get()), (younger(called), younger(looked)));
        });
    }

    #[test]
    fn a_look_of_long_ago_means_nothing_to_who_waits_when_nobody_did() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(async {
            let ctx = WorldCtx::current();
            let watch = ctx.res_changed::<Value>().watch.clone();
            watch.looked.set(Tick::new(1 << 31));
            let changed = ctx.res_changed::<Value>();
            assert!(Rc::ptr_eq(&watch, &changed.watch));
            let entry = changed.entry.expect("it waits");
            assert_eq!(watch.looked.get(), *watch.waiters.borrow().value(entry));
        });
    }

    #[test]
    fn a_reference_that_is_kept_young_stays_older_than_what_comes() {
        let called = Tick::new(77);
        let (mut reference, mut now) = (called, called);
        // Three times round, in the steps in which a look keeps references young.
        for _ in 0..3 * 16 {
            now = Tick::new(now.get().wrapping_add(1 << 28));
            reference = young(reference, now);
            let written = Tick::new(now.get().wrapping_sub(1));
            assert!(written.is_newer_than(reference, now));
            let mut before = called;
            before.set(now.get().wrapping_sub(MAX_CHANGE_AGE));
            assert!(!before.is_newer_than(reference, now), "bevy keeps old ticks this old");
        }
    }
}
