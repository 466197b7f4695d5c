//! The waits for a change of one component, and the scan that finds what changed.
//!
//! A look reads the change ticks of all entities that have the component, one table after the other. A
//! tick takes four bytes, and few are news: several are compared at once, and only where one of them is
//! news is it asked which. Where few entities are awaited among many, it looks at those instead.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    task::Waker,
};

use bevy_ecs::{
    change_detection::{DetectChanges, DetectChangesMut, MAX_CHANGE_AGE, Tick},
    component::{Component, ComponentId},
    entity::{Entity, EntityHash},
    entity_disabling::DefaultQueryFilters,
    query::QueryState,
    world::{Ref, World},
};

use super::{changes::young, look::Watch, tether::Tether, waiters::Waiters};

/// How many ticks are compared before it is asked whether one of them is news.
const AT_ONCE: usize = 64;

/// Looking an entity up takes as long as scanning so many.
const LOOK_UP: usize = 32;

/// What a wait for a change compares with.
struct Want {
    reference: Tick,
    tether: Arc<Tether>,
}

/// The waits for a change of one component, by entity.
pub(super) struct ComponentWatch<C: Component> {
    waiters: RefCell<Waiters<Entity, Want, EntityHash>>,
    /// No change up to here is news for those who waited then.
    looked: Cell<Tick>,
    component: ComponentId,
    query: RefCell<QueryState<(Entity, Ref<'static, C>)>>,
}

impl<C: Component> ComponentWatch<C> {
    pub(super) fn new(world: &mut World, looked: Tick) -> Self {
        Self {
            waiters: RefCell::default(),
            looked: Cell::new(looked),
            component: world.register_component::<C>(),
            query: RefCell::new(query_of_all(world)),
        }
    }

    /// A place among those who wait. Changes after `reference` count, while `tether` is whole.
    pub(super) fn enter(&self, entity: Entity, reference: Tick, tether: Arc<Tether>) -> usize {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.pending() == 0 {
            // The last look may be so long ago that its tick means nothing.
            self.looked.set(reference);
        }
        waiters.enter(entity, Want { reference, tether }, false)
    }

    /// `None`: a change was seen. Else the tick after which one counts.
    pub(super) fn reference(&self, entry: usize) -> Option<Tick> {
        let waiters = self.waiters.borrow();
        (!waiters.is_fired(entry)).then(|| waiters.value(entry).reference)
    }

    /// Stores who is woken. The waker that is not needed is dropped by the caller.
    pub(super) fn park(&self, entry: usize, waker: Waker) -> Option<Waker> {
        self.waiters.borrow_mut().park(entry, waker)
    }

    /// Those of `awaited` that are news, in the order of entities.
    fn look_up(
        &self,
        world: &World,
        awaited: impl Iterator<Item = Entity>,
        news: News,
    ) -> Vec<(Entity, Tick)> {
        let changed = |entity: Entity| {
            let ticks = world.get_entity(entity).ok()?.get_change_ticks_by_id(self.component)?;
            news.includes(ticks.changed).then_some((entity, ticks.changed))
        };
        let mut changed: Vec<_> = awaited.filter_map(changed).collect();
        changed.sort_unstable_by_key(|(entity, _)| *entity);
        changed
    }

    pub(super) fn leave(&self, entry: usize) {
        let left = self.waiters.borrow_mut().leave(entry);
        drop(left);
    }
}

impl<C: Component> Watch for ComponentWatch<C> {
    fn pending(&self) -> usize {
        self.waiters.borrow().pending()
    }

    fn look(&self, world: &mut World, seen: Tick, wakers: &mut Vec<Waker>) {
        let now = world.change_tick();
        let news = News::after(self.looked.replace(seen), now);
        let mut query = self.query.borrow_mut();
        let found = query.query(world);
        let mut waiters = self.waiters.borrow_mut();
        let few = waiters.keys().len() * LOOK_UP < found.iter().len();
        let looked_up = if few { self.look_up(world, waiters.keys(), news) } else { Vec::new() };
        let mut fire = |entity: Entity, changed: Tick| {
            let later = |want: &mut Want| {
                changed.is_newer_than(want.reference, now) && !want.tether.is_cut()
            };
            waiters.fire(entity, later, wakers);
        };
        if few {
            looked_up.into_iter().for_each(|(entity, changed)| fire(entity, changed));
        } else if let Ok(tables) = found.contiguous_iter() {
            for (entities, components) in tables {
                news.find(entities, components.changed_ticks_slice(), &mut fire);
            }
        } else {
            for (entity, component) in &found {
                news.find(&[entity], &[component.last_changed()], &mut fire);
            }
        }
    }

    fn keep_young(&self, now: Tick) {
        self.looked.set(young(self.looked.get(), now));
        let keep = |want: &mut Want| want.reference = young(want.reference, now);
        self.waiters.borrow_mut().each_mut(keep);
    }

    fn drain(&self) -> Vec<Waker> {
        self.waiters.borrow_mut().drain_wakers()
    }
}

/// Whom a component's waits are for: every entity that has it, also one that is disabled, by whatever
/// component, which queries pass over by default.
fn query_of_all<C: Component>(world: &mut World) -> QueryState<(Entity, Ref<'static, C>)> {
    // Before the filters are put aside: it runs code of the component's type.
    world.register_component::<C>();
    let aside = replace_filters(world, DefaultQueryFilters::empty());
    let query = QueryState::new(world);
    if let Some(filters) = aside {
        replace_filters(world, filters);
    }
    query
}

fn replace_filters(world: &mut World, filters: DefaultQueryFilters) -> Option<DefaultQueryFilters> {
    let mut current = world.get_resource_mut::<DefaultQueryFilters>()?;
    Some(std::mem::replace(current.bypass_change_detection(), filters))
}

/// Tells ticks after a look from those before it, as [`Tick::is_newer_than`] does.
#[derive(Clone, Copy)]
struct News {
    now: u32,
    /// The age of the look. What is younger is news.
    age: u32,
}

impl News {
    fn after(looked: Tick, now: Tick) -> Self {
        let age = now.get().wrapping_sub(looked.get()).min(MAX_CHANGE_AGE);
        Self { now: now.get(), age }
    }

    #[inline(always)]
    fn includes(self, changed: Tick) -> bool {
        self.now.wrapping_sub(changed.get()) < self.age
    }

    /// Calls `found` for each entity whose tick is news.
    fn find(self, entities: &[Entity], changed: &[Tick], found: &mut impl FnMut(Entity, Tick)) {
        for (entities, changed) in entities.chunks(AT_ONCE).zip(changed.chunks(AT_ONCE)) {
            // Without a branch for each.
            if changed.iter().fold(false, |any, tick| any | self.includes(*tick)) {
                let pairs = entities.iter().zip(changed);
                pairs
                    .filter(|(_, changed)| self.includes(**changed))
                    .for_each(|(entity, changed)| found(*entity, *changed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy_ecs::{component::ComponentId, entity_disabling::Disabled, prelude::*};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_is_newer(
            now: u32,
            looked_ago in prop_oneof![0..3_u32, any::<u32>()],
            ago in proptest::collection::vec(prop_oneof![0..4_u32, any::<u32>()], 0..200),
        ) {
            let at = |ago: u32| Tick::new(now.wrapping_sub(ago));
            let (now, looked) = (Tick::new(now), at(looked_ago));
            let ticks: Vec<Tick> = ago.iter().map(|ago| at(*ago)).collect();
            let entities: Vec<Entity> =
                (0..ticks.len()).map(|at| Entity::from_raw_u32(at as u32).unwrap()).collect();
            let mut found = Vec::new();
            News::after(looked, now).find(&entities, &ticks, &mut |entity, tick| {
                found.push((entity, tick));
            });
            let pairs = entities.iter().copied().zip(ticks);
            let newer: Vec<_> =
                pairs.filter(|(_, tick)| tick.is_newer_than(looked, now)).collect();
            prop_assert_eq!(found, newer);
        }
    }

    #[derive(Component)]
    struct Part;
    #[derive(Component)]
    #[component(storage = "SparseSet")]
    struct Sparse;

    #[test]
    fn a_watch_keeps_its_last_look_and_those_who_wait_young() {
        let mut world = World::new();
        let entity = world.spawn(Part).id();
        let called = Tick::new(40);
        let watch = ComponentWatch::<Part>::new(&mut world, called);
        let entry = watch.enter(entity, called, Arc::default());
        let state = || (watch.reference(entry), watch.looked.get());
        watch.keep_young(Tick::new(40 + MAX_CHANGE_AGE));
        assert_eq!(state(), (Some(called), called));
        watch.keep_young(Tick::new(47 + MAX_CHANGE_AGE));
        assert_eq!(state(), (Some(Tick::new(47)), Tick::new(47)));
    }

    #[test]
    fn a_look_of_long_ago_means_nothing_to_who_waits_when_nobody_did() {
        let mut world = World::new();
        let entity = world.spawn(Part).id();
        let watch = ComponentWatch::<Part>::new(&mut world, Tick::new(1 << 31));
        watch.enter(entity, Tick::new(40), Arc::default());
        assert_eq!(watch.looked.get(), Tick::new(40));
        watch.enter(entity, Tick::new(50), Arc::default());
        assert_eq!(watch.looked.get(), Tick::new(40), "somebody waits since then");
    }

    #[test]
    fn the_filters_of_other_queries_stay_as_they_were() {
        let mut world = World::new();
        let part = world.register_component::<Part>();
        world.resource_mut::<DefaultQueryFilters>().register_disabling_component(part);
        let filters = |world: &World| -> Vec<ComponentId> {
            world.resource::<DefaultQueryFilters>().disabling_ids().collect()
        };
        let before = filters(&world);
        world.spawn((Part, Sparse, Disabled));
        assert_eq!(query_of_all::<Part>(&mut world).iter(&world).count(), 1);
        assert_eq!(query_of_all::<Sparse>(&mut world).iter(&world).count(), 1);
        assert_eq!(filters(&world), before);
    }
}
