//! What the loop looks at before each stage, and after the last one: step 5 (a) of the contract.
//!
//! Three kinds of waits are looked at here: for the stage itself ([`super::stages`]), for a condition
//! before it ([`super::until`]), and for what raises nothing when it happens: changes and messages. Of
//! these, each awaited type is one [`Watch`], looked at once, however many tasks wait for it.
//!
//! Invariant **nothing held**: while a condition, a destructor or a waker runs, nothing here is borrowed.
#![forbid(unsafe_code)]

use std::{
    any::{Any, TypeId},
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::{Arc, Weak},
    task::Waker,
};

use bevy_ecs::{
    change_detection::Tick,
    schedule::InternedScheduleLabel,
    world::{World, WorldId},
};

use super::{
    lend::{self, Lent},
    observe::{AnyHub, Hub, Source, observers_lost},
    stages::StageWait,
    waiters::Waiters,
};
use crate::context::Core;

/// A change tick this much older than the World's may soon seem to be a young one.
const OLD: u32 = 1 << 28;

/// A type that tasks wait for, and that raises nothing when it changes.
pub(super) trait Watch: Any {
    /// How many wait.
    fn pending(&self) -> usize;

    /// Fires those for whom something happened since the last look. Runs no code of the user. `seen` is
    /// as new as any change that can be found.
    fn look(&self, world: &mut World, seen: Tick, wakers: &mut Vec<Waker>);

    /// Makes references younger that would seem to lie ahead once change ticks wrap.
    fn keep_young(&self, now: Tick);

    /// Takes everybody's waker out.
    fn drain(&self) -> Vec<Waker>;
}

/// The World and the type that a [`Watch`] is for.
type WatchKey = (WorldId, TypeId);

/// The waits of a runtime that the loop looks at.
pub(crate) struct Looks {
    stages: OnceCell<Box<[InternedScheduleLabel]>>,
    /// Which of them have steps of their own and so do not run in every tick; empty if none has.
    stepped: OnceCell<Box<[bool]>>,
    /// The tick of the last look, and how many stages' looks have begun in it.
    begun: Cell<(u64, usize)>,
    /// Those who wait for a stage, by its place among the stages.
    pub(super) waiting: Rc<RefCell<Waiters<usize, StageWait>>>,
    /// Somebody waits, or did at the last look: without it a look is two loads and a store.
    busy: Cell<bool>,
    /// In the order in which they were first awaited.
    watches: RefCell<Vec<(WatchKey, Rc<dyn Watch>)>>,
    /// Somebody waits for a change or a message, or did at the last look.
    watching: Cell<bool>,
    /// How many times a type was looked at.
    #[cfg(test)]
    looked_at: Cell<u64>,
    /// When references were last made younger.
    young_at: Cell<Tick>,
    /// The hubs in which somebody waited, while they are there.
    hubs: RefCell<Vec<(WatchKey, Weak<dyn AnyHub>)>>,
    /// How many observers had lost their entity at the last look.
    lost: Cell<u64>,
    /// Memory for the wakers of one look.
    wakers: Cell<Vec<Waker>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            stages: OnceCell::new(),
            stepped: OnceCell::new(),
            begun: Cell::new((0, 0)),
            waiting: Rc::default(),
            busy: Cell::new(false),
            watches: RefCell::default(),
            watching: Cell::new(false),
            #[cfg(test)]
            looked_at: Cell::new(0),
            young_at: Cell::new(Tick::new(0)),
            hubs: RefCell::default(),
            lost: Cell::new(observers_lost()),
            wakers: Cell::default(),
        }
    }
}

impl Looks {
    /// Learns which stages there are, once, and which of them have steps of their own.
    pub(crate) fn set_stages(&self, labels: &[InternedScheduleLabel], mut stepped: Vec<bool>) {
        if !stepped.contains(&true) {
            stepped.clear();
        }
        let set = (self.stages.set(labels.into()), self.stepped.set(stepped.into()));
        debug_assert!(set == (Ok(()), Ok(())), "the stages of a runtime do not change");
    }

    pub(super) fn stages(&self) -> &[InternedScheduleLabel] {
        self.stages.get().map_or(&[], |labels| labels)
    }

    /// The place among the stages that `label` has first.
    pub(super) fn stage(&self, label: InternedScheduleLabel) -> Option<usize> {
        self.stages().iter().position(|stage| *stage == label)
    }

    /// The first tick in which the look for `label` has not begun yet.
    pub(super) fn tick_ahead(&self, core: &Core, label: InternedScheduleLabel) -> u64 {
        let tick = core.tick.get();
        let begun = if self.begun.get().0 == tick { self.begun.get().1 } else { 0 };
        let ahead = self.stages().iter().skip(begun).any(|stage| *stage == label);
        if ahead { tick } else { tick + 1 }
    }

    /// Whether somebody waits for a stage of every tick: the next one starts at once.
    pub(crate) fn keeps_awake(&self) -> bool {
        self.awaits_stages() && self.awaits_every_tick()
    }

    fn awaits_every_tick(&self) -> bool {
        let stepped = self.stepped.get().map_or(&[][..], |stepped| stepped);
        let mut every_tick = (0..stepped.len()).filter(|stage| !stepped[*stage]);
        stepped.is_empty() || every_tick.any(|stage| self.awaits(stage))
    }

    /// Whether somebody waits for a stage, of every tick or not.
    pub(crate) fn awaits_stages(&self) -> bool {
        self.busy.get() && self.waiting.borrow().awake() > 0
    }

    /// Whether somebody waits for stage number `stage`.
    pub(crate) fn awaits(&self, stage: usize) -> bool {
        self.awaits_stages() && self.waiting.borrow().awake_under(stage) > 0
    }

    /// Whether each access to the World gets a change tick of its own.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching.get()
    }

    /// How many times a type was looked at, since the runtime was made.
    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at.get()
    }

    /// The watch for `T` in the World of `id`, made by `make` if nobody waited for `T` before.
    pub(super) fn watch<W: Watch, T: 'static>(
        &self,
        id: WorldId,
        make: impl FnOnce() -> W,
    ) -> Rc<W> {
        let key = (id, TypeId::of::<(W, T)>());
        let mut watches = self.watches.borrow_mut();
        if let Some((_, found)) = watches.iter().find(|(other, _)| *other == key) {
            let found: Rc<dyn Any> = found.clone();
            return found.downcast().expect("the key names the type of the watch");
        }
        let made = Rc::new(make());
        watches.push((key, made.clone()));
        made
    }

    /// Remembers a hub, whose observer is put back in its place if it loses it.
    pub(super) fn keep_hub<S: Source>(&self, hub: &Arc<Hub<S>>) {
        let key = hub.key();
        let mut hubs = self.hubs.borrow_mut();
        if !hubs.iter().any(|(other, hub)| *other == key && hub.strong_count() > 0) {
            hubs.retain(|(_, hub)| hub.strong_count() > 0);
            let hub: Arc<dyn AnyHub> = hub.clone();
            hubs.push((key, Arc::downgrade(&hub)));
        }
    }

    /// A place among those who wait for stage number `stage`.
    pub(super) fn enter(&self, stage: usize, wait: StageWait, keeps_awake: bool) -> usize {
        self.busy.set(true);
        self.waiting.borrow_mut().enter(stage, wait, keeps_awake)
    }

    /// Somebody waits for a change: accesses get change ticks of their own from here on.
    pub(super) fn begin_watching(&self) {
        self.busy.set(true);
        self.watching.set(true);
        lend::set_watched(true);
    }

    /// Looks at what is awaited before stage number `stage`, or after the last one, and wakes who waited:
    /// their tasks are polled first.
    #[inline]
    pub(crate) fn look(&self, core: &Core, lent: &Lent<'_>, stage: Option<usize>) {
        let begun = stage.map_or(self.stages().len(), |stage| stage + 1);
        self.begun.set((core.tick.get(), begun));
        if observers_lost() != self.lost.get() {
            self.repair_hubs(lent);
        }
        if self.busy.get() {
            self.look_at_all(core, lent, stage);
        }
    }

    /// As [`look`](Self::look), before every stage of a tick and after the last one, if there is nothing to
    /// look at. False: there is, and nothing was done.
    #[inline]
    pub(crate) fn pass(&self, core: &Core) -> bool {
        let quiet = !self.busy.get() && observers_lost() == self.lost.get();
        if quiet {
            self.begun.set((core.tick.get(), usize::MAX));
        }
        quiet
    }

    /// Puts observers back that lost their entity, where somebody waits.
    #[cold]
    fn repair_hubs(&self, lent: &Lent<'_>) {
        self.lost.set(observers_lost());
        let hubs: Vec<_> = self.hubs.borrow().iter().map(|(_, hub)| hub.clone()).collect();
        // An error says that the World was replaced, which the loop finds by itself.
        let _ = lent.with(|world| {
            hubs.iter().filter_map(Weak::upgrade).for_each(|hub| hub.repair(world));
        });
    }

    #[cold]
    fn look_at_all(&self, core: &Core, lent: &Lent<'_>, stage: Option<usize>) {
        if core.executor.is_stopped() || lent.replaced().is_some() {
            return;
        }
        let mut wakers = self.wakers.take();
        if let Some(stage) = stage {
            self.look_at_stage(core, lent, stage, &mut wakers);
        }
        if self.watching.get() && lent.replaced().is_none() {
            self.look_at_watches(lent, &mut wakers);
        }
        self.busy.set(self.watching.get() || self.waiting.borrow().pending() > 0);
        core.executor.wake_for_stage(wakers.drain(..));
        self.wakers.set(wakers);
    }

    fn look_at_stage(&self, core: &Core, lent: &Lent<'_>, stage: usize, wakers: &mut Vec<Waker>) {
        let Some(stage) = self.stages().get(stage).and_then(|label| self.stage(*label)) else {
            return;
        };
        let tick = core.tick.get();
        let mut conditions = Vec::new();
        self.waiting.borrow().each(stage, |wait| conditions.extend(wait.condition(tick)));
        for condition in conditions {
            if lent.replaced().is_none() {
                condition.check(lent);
            }
            // It may have been given up meanwhile, and then this is its end.
            core.executor.guarded(|| drop(condition));
        }
        self.waiting.borrow_mut().fire(stage, |wait| wait.is_over(tick), wakers);
    }

    fn look_at_watches(&self, lent: &Lent<'_>, wakers: &mut Vec<Waker>) {
        // Nothing below runs code of the user, so the list may stay borrowed.
        let watches = self.watches.borrow();
        let mut waiting = watches.iter().filter(|(_, watch)| watch.pending() > 0).peekable();
        if waiting.peek().is_none() {
            self.watching.set(false);
            lend::set_watched(false);
            return;
        }
        lend::set_watched(true);
        // An error says that the World was replaced, which the loop finds by itself.
        let _ = lent.with(|world| {
            let seen = world.increment_change_tick();
            if seen.get().wrapping_sub(self.young_at.get().get()) > OLD {
                self.young_at.set(seen);
                watches.iter().for_each(|(_, watch)| watch.keep_young(seen));
            }
            let id = world.id();
            for (_, watch) in waiting.filter(|((of, _), _)| *of == id) {
                #[cfg(test)]
                self.looked_at.set(self.looked_at.get() + 1);
                watch.look(world, seen, wakers);
            }
        });
    }

    /// Takes everybody's waker out, when no look comes any more.
    pub(crate) fn drain(&self) -> Vec<Waker> {
        let mut all = self.waiting.borrow_mut().drain_wakers();
        for (_, watch) in self.watches.borrow().iter() {
            all.extend(watch.drain());
        }
        all
    }
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks")
            .field("stages", &self.stages)
            .field("waiting", &self.waiting)
            .field("watching", &self.watching.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bevy_ecs::prelude::*;

    use super::{OLD, Tick, Waker, Watch};
    use crate::{Runtime, WorldCtx, context, spawn_boxed};

    /// Somebody always waits, and is kept young so often.
    #[derive(Default)]
    struct KeptYoung(std::cell::Cell<u32>);

    impl Watch for KeptYoung {
        fn pending(&self) -> usize {
            1
        }

        fn look(&self, _: &mut World, _: Tick, _: &mut Vec<Waker>) {}

        fn keep_young(&self, _: Tick) {
            self.0.set(self.0.get() + 1);
        }

        fn drain(&self) -> Vec<Waker> {
            Vec::new()
        }
    }

    #[test]
    fn those_who_wait_are_kept_young_once_the_change_tick_has_moved_far() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on_busy(async {
            let ctx = WorldCtx::current();
            let (id, now) = ctx.with_world(|world| (world.id(), world.change_tick()));
            let last_kept = |ago: u32| {
                let then = Tick::new(now.get().wrapping_sub(ago));
                context::current("a test", |core| core.looks.young_at.set(then));
            };
            let watch = context::current("a test", |core| {
                core.looks.begin_watching();
                core.looks.watch::<KeptYoung, ()>(id, KeptYoung::default)
            });
            last_kept(OLD / 2);
            ctx.next_tick().await;
            assert_eq!(watch.0.get(), 0);
            last_kept(OLD);
            ctx.ticks(3).await;
            assert_eq!(watch.0.get(), 1);
        });
    }

    #[derive(Resource, Default)]
    struct Value;
    #[derive(Component)]
    struct Part;
    #[derive(Message, Event, Clone)]
    struct Note;

    fn looked_at() -> u64 {
        context::current("a test", |core| core.looks.looked_at())
    }

    /// How many looks at types three ticks take while 100,000 tasks wait, each for what `wait` makes.
    fn looks<F: Future + 'static>(wait: impl Fn(WorldCtx, Entity) -> F) -> u64 {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1_000_000).build();
        rt.block_on_busy(async {
            let ctx = WorldCtx::current();
            let entity = ctx.with_world(|world| world.spawn(Part).id());
            for _ in 0..100_000 {
                let waiting = wait(ctx, entity);
                drop(spawn_boxed(async move {
                    waiting.await;
                }));
            }
            ctx.ticks(2).await;
            let polls = || context::current("a test", |core| core.executor.poll_number());
            let before = (looked_at(), polls());
            ctx.ticks(3).await;
            assert_eq!(polls(), before.1 + 1, "none of those who wait was polled");
            looked_at() - before.0
        })
    }

    #[test]
    fn what_observers_hear_of_is_not_looked_at() {
        assert_eq!(looks(|ctx, _| ctx.event::<Note>()), 0);
        assert_eq!(looks(|ctx, _| ctx.res_inserted::<Value>()), 0);
        assert_eq!(looks(|ctx, entity| ctx.entity(entity).inserted::<Part>()), 0);
        assert_eq!(looks(|ctx, entity| ctx.entity(entity).removed::<Part>()), 0);
    }

    #[test]
    fn a_type_is_looked_at_once_however_many_wait() {
        // Three ticks have the stage and the end of each.
        assert_eq!(looks(|ctx, _| ctx.res_changed::<Value>()), 6);
        assert_eq!(looks(|ctx, entity| ctx.entity(entity).changed::<Part>()), 6);
        let read = |ctx: WorldCtx, _| {
            let mut notes = ctx.messages::<Note>();
            async move { notes.recv().await.map(drop) }
        };
        assert_eq!(looks(read), 6);
    }

    #[test]
    fn nothing_is_looked_at_when_nobody_waits() {
        let mut world = World::new();
        Runtime::new(&mut world).block_on_busy(async {
            let ctx = WorldCtx::current();
            let first = ctx.res_changed::<Value>();
            ctx.next_tick().await;
            assert!(context::current("a test", |core| core.looks.is_watching()));
            drop(first);
            ctx.ticks(2).await;
            let before = looked_at();
            ctx.ticks(3).await;
            assert_eq!(looked_at(), before);
            assert!(!context::current("a test", |core| core.looks.is_watching()));
        });
    }
}
