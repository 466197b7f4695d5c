//! Random programs of waits for the World against a model: each wait ends with the first thing after its
//! call that it waits for, in the tick of that thing, and with nothing else.

mod common;

use std::{cell::RefCell, future::pending, pin::Pin, thread};

use bevy_ecs::{entity_disabling::Disabled, prelude::*, schedule::ScheduleLabel};
use common::{LIMIT_SECONDS, poll_once, rounds, tick_number, watchdog};
use onbeat::{
    EntityGone, Handle, JoinHandle, Runtime, TickStats, WorldCtx, race, scope, spawn_boxed,
    spawn_on,
};
use proptest::{prelude::*, sample::select};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct First;
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Last;
#[derive(Message, Event, Clone)]
struct Note;
#[derive(EntityEvent, Clone)]
struct Hit(Entity);
#[derive(Event)]
struct Now;
#[derive(Component)]
struct Part(u32);
#[derive(Resource)]
struct Value(u32);

/// So many places for entities: one that is despawned is followed by another in its place.
const PLACES: usize = 3;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Act {
    Message,
    Event,
    Hit(usize),
    Insert(usize),
    Write(usize),
    Remove(usize),
    /// Hides the entity from queries, or shows it again.
    Hide(usize),
    Despawn(usize),
    InsertResource,
    WriteResource,
    ResourceScope,
    RemoveResource,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Thing {
    Message,
    Event,
    Hit(usize),
    Inserted(usize),
    Removed(usize),
    Changed(usize),
    Despawned(usize),
    ResourceInserted,
    ResourceChanged,
    ResourceUntil,
}

/// Who waits.
#[derive(Clone, Copy, Debug)]
enum Who {
    Task,
    /// A task that belongs to the entity in this place.
    Bound(usize),
    Race,
    ScopeChild,
    /// Nobody before the tick after the next one.
    Late,
}

/// By whom something happens.
#[derive(Clone, Copy, Debug)]
enum By {
    Task,
    First,
    Last,
    Observer,
    /// In the tick after this one, before its tasks.
    Thread,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Thing, Who),
    Do(Act, By),
    /// Drops the wait of this number, of those that there are.
    GiveUp(usize),
}

/// What is done in one tick before `First`, and before `Last`.
type TickSteps = (Vec<Step>, Vec<Step>);

fn act() -> impl Strategy<Value = Act> {
    let at = 0..PLACES;
    prop_oneof![
        select(vec![Act::Message, Act::Event, Act::InsertResource, Act::WriteResource]),
        select(vec![Act::ResourceScope, Act::RemoveResource]),
        at.clone().prop_map(Act::Hit),
        at.clone().prop_map(Act::Insert),
        at.clone().prop_map(Act::Write),
        at.clone().prop_map(Act::Remove),
        at.clone().prop_map(Act::Hide),
        at.prop_map(Act::Despawn),
    ]
}

fn thing() -> impl Strategy<Value = Thing> {
    let at = 0..PLACES;
    prop_oneof![
        select(vec![Thing::Message, Thing::Event, Thing::ResourceInserted]),
        select(vec![Thing::ResourceChanged, Thing::ResourceUntil]),
        at.clone().prop_map(Thing::Hit),
        at.clone().prop_map(Thing::Inserted),
        at.clone().prop_map(Thing::Removed),
        at.clone().prop_map(Thing::Changed),
        at.prop_map(Thing::Despawned),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = prop_oneof![
        select(vec![Who::Task, Who::Race, Who::ScopeChild, Who::Late]),
        (0..PLACES).prop_map(Who::Bound),
    ];
    let by = select(vec![By::Task, By::First, By::Last, By::Observer, By::Thread]);
    prop_oneof![
        4 => (thing(), who).prop_map(|(thing, who)| Step::Wait(thing, who)),
        4 => (act(), by).prop_map(|(act, by)| Step::Do(act, by)),
        1 => (0..20_usize).prop_map(Step::GiveUp),
    ]
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Came,
    Gone,
}

/// What the model knows of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    Pending,
    Ended(End),
    /// Something was changed and went in the same tick: perhaps it was seen in between.
    Either,
    /// Nobody waits any more: what was told by then is all that is ever told.
    GivenUp(Option<End>),
}

struct Wait {
    thing: Thing,
    /// The entity that is meant, and the one that the task belongs to.
    entity: Option<Entity>,
    host: Option<Entity>,
    expected: Expected,
    /// The tick in which the model says that it ends.
    ends_in: u64,
    /// What who waits has told.
    told: Option<End>,
}

#[derive(Default)]
struct Model {
    waits: Vec<Wait>,
    places: Vec<Entity>,
    queued: [Vec<Act>; 3],
    tick: u64,
}

thread_local! {
    static MODEL: RefCell<Model> = RefCell::default();
}

fn model<R>(f: impl FnOnce(&mut Model) -> R) -> R {
    MODEL.with_borrow_mut(f)
}

impl Model {
    /// Something came that ends those who wait for `thing`, at `entity` if it is at one.
    fn came(&mut self, thing: impl Fn(Thing) -> bool, entity: Option<Entity>) {
        let met = |wait: &&mut Wait| thing(wait.thing) && wait.entity == entity;
        for wait in self.waits.iter_mut().filter(met) {
            if wait.expected == Expected::Pending {
                wait.expected = Expected::Ended(End::Came);
                wait.ends_in = self.tick;
            }
        }
    }

    /// What was changed in this tick went, and the change with it.
    fn change_went(&mut self, thing: impl Fn(Thing) -> bool, entity: Option<Entity>) {
        let met = |wait: &&mut Wait| thing(wait.thing) && wait.entity == entity;
        for wait in self.waits.iter_mut().filter(met) {
            if wait.ends_in == self.tick && wait.expected == Expected::Ended(End::Came) {
                wait.expected = Expected::Either;
            }
        }
    }

    fn despawned(&mut self, entity: Entity) {
        self.came(|thing| matches!(thing, Thing::Despawned(_)), Some(entity));
        self.change_went(|thing| matches!(thing, Thing::Changed(_)), Some(entity));
        for wait in &mut self.waits {
            if wait.entity == Some(entity) && wait.expected == Expected::Pending {
                wait.expected = Expected::Ended(End::Gone);
                wait.ends_in = self.tick;
            }
            if wait.host == Some(entity) {
                wait.give_up();
            }
        }
    }
}

impl Wait {
    fn give_up(&mut self) {
        if !matches!(self.expected, Expected::GivenUp(_)) {
            self.expected = Expected::GivenUp(self.told);
        }
    }
}

/// Does it, in the World and in the model.
fn perform(world: &mut World, act: Act) {
    let tick = world.resource::<TickStats>().get().ticks + 1;
    model(|model| model.tick = tick);
    let entity = |at: usize| model(|model| model.places[at]);
    match act {
        Act::Message => {
            world.write_message(Note);
            model(|model| model.came(|thing| thing == Thing::Message, None));
        }
        Act::Event => {
            world.trigger(Note);
            model(|model| model.came(|thing| thing == Thing::Event, None));
        }
        Act::Hit(at) => {
            world.trigger(Hit(entity(at)));
            let entity = Some(entity(at));
            model(|model| model.came(|thing| matches!(thing, Thing::Hit(_)), entity));
        }
        Act::Insert(at) => {
            world.entity_mut(entity(at)).insert(Part(0));
            let entity = Some(entity(at));
            let met = |thing| matches!(thing, Thing::Inserted(_) | Thing::Changed(_));
            model(|model| model.came(met, entity));
        }
        Act::Write(at) => {
            if let Some(mut part) = world.get_mut::<Part>(entity(at)) {
                part.0 += 1;
                let entity = Some(entity(at));
                model(|model| model.came(|thing| matches!(thing, Thing::Changed(_)), entity));
            }
        }
        Act::Remove(at) => {
            if world.entity_mut(entity(at)).take::<Part>().is_some() {
                let entity = Some(entity(at));
                model(|model| {
                    model.came(|thing| matches!(thing, Thing::Removed(_)), entity);
                    model.change_went(|thing| matches!(thing, Thing::Changed(_)), entity);
                });
            }
        }
        Act::Hide(at) => {
            let mut entity = world.entity_mut(entity(at));
            if entity.take::<Disabled>().is_none() {
                entity.insert(Disabled);
            }
        }
        Act::Despawn(at) => {
            let gone = entity(at);
            assert!(world.despawn(gone));
            let next = world.spawn(Part(0)).id();
            model(|model| {
                model.places[at] = next;
                model.despawned(gone);
            });
        }
        _ => perform_on_resource(world, act),
    }
}

fn perform_on_resource(world: &mut World, act: Act) {
    let is_change = |thing| matches!(thing, Thing::ResourceChanged | Thing::ResourceUntil);
    let is_inserted = |thing| thing == Thing::ResourceInserted;
    match act {
        Act::InsertResource => {
            world.insert_resource(Value(0));
            model(|model| model.came(|thing| is_change(thing) || is_inserted(thing), None));
        }
        Act::WriteResource => {
            if let Some(mut value) = world.get_resource_mut::<Value>() {
                value.0 += 1;
                model(|model| model.came(is_change, None));
            }
        }
        Act::ResourceScope => {
            if world.contains_resource::<Value>() {
                world.resource_scope(|_, value: Mut<Value>| value.0);
                model(|model| model.came(|thing| is_change(thing) || is_inserted(thing), None));
            }
        }
        Act::RemoveResource => {
            world.remove_resource::<Value>();
            model(|model| model.change_went(is_change, None));
        }
        _ => unreachable!("it is no act on the resource"),
    }
}

type Waiting = Pin<Box<dyn Future<Output = End>>>;

/// Begins to wait, now.
fn begin(thing: Thing) -> Waiting {
    fn plain(future: impl Future<Output = ()> + 'static) -> Waiting {
        Box::pin(async {
            future.await;
            End::Came
        })
    }
    fn at<T>(future: impl Future<Output = Result<T, EntityGone>> + 'static) -> Waiting {
        Box::pin(async { future.await.map_or(End::Gone, |_| End::Came) })
    }
    let ctx = WorldCtx::current();
    let entity = |at: usize| ctx.entity(model(|model| model.places[at]));
    match thing {
        Thing::Message => {
            let mut notes = ctx.messages::<Note>();
            plain(async move { drop(notes.recv().await) })
        }
        Thing::Event => plain({
            let event = ctx.event::<Note>();
            async { _ = event.await }
        }),
        Thing::Hit(place) => at(entity(place).event::<Hit>()),
        Thing::Inserted(place) => at(entity(place).inserted::<Part>()),
        Thing::Removed(place) => at(entity(place).removed::<Part>()),
        Thing::Changed(place) => at(entity(place).changed::<Part>()),
        Thing::Despawned(place) => plain(entity(place).despawned()),
        Thing::ResourceInserted => plain(ctx.res_inserted::<Value>()),
        Thing::ResourceChanged => plain(ctx.res_changed::<Value>()),
        Thing::ResourceUntil => plain(ctx.until_changed(|_: &Value| Some(()))),
    }
}

/// A wait that goes on.
enum Going {
    Task(JoinHandle<()>),
    Late(Waiting, u32),
    Over,
}

#[derive(Default)]
struct Run {
    going: Vec<Going>,
}

impl Run {
    fn wait(&mut self, thing: Thing, who: Who) {
        let number = self.going.len();
        let waiting = begin(thing);
        let tell = move |end| model(|model| model.waits[number].told = Some(end));
        let host = match who {
            Who::Bound(at) => Some(model(|model| model.places[at])),
            _ => None,
        };
        self.going.push(match who {
            // The closure of `until_changed` sees what is there when it is polled.
            Who::Late if thing != Thing::ResourceUntil => Going::Late(waiting, 2),
            Who::Task | Who::Late => Going::Task(spawn_boxed(async move { tell(waiting.await) })),
            Who::Race => {
                Going::Task(spawn_boxed(async move { tell(race((waiting, pending())).await) }))
            }
            Who::ScopeChild => Going::Task(spawn_boxed(async move {
                tell(scope(async |s| s.spawn(waiting).await).await);
            })),
            Who::Bound(_) => {
                let host = host.expect("it has one");
                Going::Task(spawn_on(host, |_| async move { tell(waiting.await) }))
            }
        });
        let place = match thing {
            Thing::Hit(at) | Thing::Inserted(at) | Thing::Removed(at) => Some(at),
            Thing::Changed(at) | Thing::Despawned(at) => Some(at),
            _ => None,
        };
        model(|model| {
            let entity = place.map(|at| model.places[at]);
            let expected = Expected::Pending;
            model.waits.push(Wait { thing, entity, host, expected, ends_in: 0, told: None });
        });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(thing, who) => self.wait(thing, who),
            Step::Do(act, By::Task) => WorldCtx::current().with_world(|world| perform(world, act)),
            Step::Do(act, By::First) => model(|model| model.queued[0].push(act)),
            Step::Do(act, By::Last) => model(|model| model.queued[1].push(act)),
            Step::Do(act, By::Observer) => {
                model(|model| model.queued[2].push(act));
                WorldCtx::current().trigger(Now).expect("the World is there");
            }
            Step::Do(act, By::Thread) => {
                let handle = Handle::current();
                let ask = move || handle.run_with_world(move |world| perform(world, act)).map(drop);
                thread::spawn(ask).join().expect("it does not panic").expect("the loop is there");
            }
            Step::GiveUp(number) if number < self.going.len() => {
                if let Going::Task(task) = std::mem::replace(&mut self.going[number], Going::Over) {
                    task.abort();
                }
                model(|model| model.waits[number].give_up());
            }
            Step::GiveUp(_) => {}
        }
    }

    /// At the beginning of a tick: how the waits stand.
    async fn check(&mut self) {
        let tick = tick_number();
        for (number, going) in self.going.iter_mut().enumerate() {
            if let Going::Late(waiting, ticks) = going {
                *ticks = ticks.saturating_sub(1);
                if *ticks > 0 {
                    continue;
                }
                if let std::task::Poll::Ready(end) = poll_once(waiting).await {
                    model(|model| model.waits[number].told = Some(end));
                    *going = Going::Over;
                }
            }
            model(|model| {
                let wait = &mut model.waits[number];
                if wait.ends_in == tick {
                    // Another thread did it just before, and who waits comes behind this task.
                    return;
                }
                let expected = match wait.expected {
                    Expected::Pending => None,
                    Expected::Ended(end) => Some(end),
                    Expected::GivenUp(told) => told,
                    Expected::Either => return,
                };
                assert_eq!(wait.told, expected, "wait {number} for {:?}", wait.thing);
            });
        }
    }
}

fn perform_queued(world: &mut World, queue: usize) {
    for act in model(|model| std::mem::take(&mut model.queued[queue])) {
        perform(world, act);
    }
}

async fn run(program: Vec<TickSteps>) {
    let ctx = WorldCtx::current();
    let mut run = Run::default();
    for (before_first, before_last) in program {
        run.check().await;
        before_first.into_iter().for_each(|step| run.step(step));
        ctx.at(Last).await;
        before_last.into_iter().for_each(|step| run.step(step));
        ctx.next_tick().await;
    }
    for _ in 0..3 {
        run.check().await;
        ctx.next_tick().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: rounds(100) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_wait_ends_with_the_first_thing_that_it_is_for(
        program in prop::collection::vec(
            (prop::collection::vec(step(), 0..8), prop::collection::vec(step(), 0..4)),
            1..8,
        ),
    ) {
        let _guard = watchdog(LIMIT_SECONDS);
        let mut world = World::new();
        let places = (0..PLACES).map(|_| world.spawn(Part(0)).id()).collect();
        model(|model| *model = Model { places, ..Model::default() });
        world.insert_resource(Value(0));
        world.init_resource::<Messages<Note>>();
        world.add_observer(|_: On<Now>, mut commands: Commands| {
            commands.queue(|world: &mut World| perform_queued(world, 2));
        });
        let mut rt = Runtime::builder(&mut world).stages([First.intern(), Last.intern()]).build();
        rt.schedule(First).add_systems(|world: &mut World| perform_queued(world, 0));
        rt.schedule(Last).add_systems(|world: &mut World| perform_queued(world, 1));
        rt.block_on_busy(run(program));
        drop(rt);
        model(|model| *model = Model::default());
    }
}
