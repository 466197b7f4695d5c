//! The frame rules as a matrix: each awaited thing, for each waker, resumes in the tick and at the place
//! that the table in the documentation names. The table that is read here is the one that is printed.
//!
//! In the rows in which a task that was woken begins to wait, nothing stands between it and the timer, the
//! descriptor or the thread, and T is told without it: by the times of the ticks, or by the tick before
//! whose end the byte was written or the wake was made.

mod common;

use std::{
    cell::{Cell, RefCell},
    io::Write,
    os::unix::net::UnixStream as StdStream,
    pin::Pin,
    thread,
    time::{Duration, Instant},
};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::{Bell, LIMIT_SECONDS, poll_once, tick_number, watchdog};
use onbeat::{
    EntityGone, Handle, Lagged, Runtime, TickStats, WorldCtx, event_time, net::UnixStream, sleep,
    sleep_until, spawn_boxed, yield_now,
};

const TABLE: &str = include_str!("../src/world/frame_rules.md");

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct First;
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Last;

#[derive(Message, Event, Clone)]
struct Note;
#[derive(EntityEvent, Clone)]
struct Hit(Entity);
#[derive(Component, Default)]
struct Part(u32);
#[derive(Component)]
struct Extra;
#[derive(Resource, Default)]
struct Value(u32);
#[derive(Resource)]
struct Target(Entity);
#[derive(Event)]
struct Now;

thread_local! {
    /// The place in its step 5 that the loop came to last, and the tick of that.
    static PLACE: Cell<(u64, &'static str)> = const { Cell::new((0, "")) };
    /// The tick in which the waker acted.
    static ACTED: Cell<u64> = const { Cell::new(0) };
    /// What the system of the first stage is to do, once.
    static SYSTEM: Cell<Option<Act>> = const { Cell::new(None) };
    static OBSERVER: Cell<Option<Act>> = const { Cell::new(None) };
    /// When each tick began.
    static BEGAN: RefCell<Vec<(u64, Instant)>> = const { RefCell::new(Vec::new()) };
}

/// What a waker does.
type Act = fn(&mut World);
/// What a cell says of what was given, behind when and where.
type Waiting = Pin<Box<dyn Future<Output = &'static str>>>;

/// A wait of which nothing but its end is told.
fn plain(future: impl Future<Output = ()> + 'static) -> Waiting {
    Box::pin(async {
        future.await;
        ""
    })
}

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn entity() -> onbeat::EntityCtx {
    ctx().entity(ctx().with_world_ref(|world| world.resource::<Target>().0))
}

/// The number of the tick that is going on.
fn tick(world: &World) -> u64 {
    world.resource::<TickStats>().get().ticks + 1
}

/// Where in that tick the loop is.
fn place(tick: u64) -> &'static str {
    let (came_in, place) = PLACE.get();
    if came_in == tick { place } else { "tasks" }
}

fn target(world: &World) -> Entity {
    world.resource::<Target>().0
}

/// A row: its name, what is awaited, and what a waker does. A wait that a waker does nothing for begins when
/// the waker has woken its task.
type Row = (&'static str, fn() -> Waiting, Option<Act>);

fn rows() -> Vec<Row> {
    [
        rows_of_the_loop(),
        rows_of_the_world(),
        rows_of_an_entity(),
        rows_of_an_entity_that_goes(),
        rows_of_a_resource(),
    ]
    .concat()
}

fn rows_of_the_loop() -> Vec<Row> {
    vec![
        ("the wake itself", || plain(async {}), None),
        ("yield_now()", || plain(yield_now()), None),
        ("sleep(0)", || plain(sleep(Duration::ZERO)), None),
        ("next_tick()", || plain(ctx().next_tick()), None),
        ("ticks(0)", || plain(ctx().ticks(0)), None),
        ("ticks(2)", || plain(ctx().ticks(2)), None),
        ("at(First)", || plain(ctx().at(First)), None),
        ("at(Last)", || plain(ctx().at(Last)), None),
        ("next(First)", || plain(ctx().next(First)), None),
        ("next(Last)", || plain(ctx().next(Last)), None),
        ("until(First, met)", || plain(ctx().until(First, |_| Some(()))), None),
        (
            "until(Last, done)",
            || {
                let done = |world: &mut World| (world.resource::<Value>().0 > 0).then_some(());
                plain(ctx().until(Last, done))
            },
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
    ]
}

/// Completes before `Last` in the tick after the one in which the waker acted.
fn last_of_the_next_tick() -> impl Future<Output = ()> {
    ctx().until(Last, |world| {
        let acted = ACTED.get();
        (acted > 0 && tick(world) == acted + 1).then_some(())
    })
}

fn rows_of_the_world() -> Vec<Row> {
    const WRITE: Act = |world| {
        world.write_message(Note);
    };
    vec![
        (
            "messages().recv()",
            || {
                let mut notes = ctx().messages::<Note>();
                plain(async move { _ = notes.recv().await.unwrap() })
            },
            Some(WRITE),
        ),
        (
            "messages(), read late",
            || {
                let mut notes = ctx().messages::<Note>();
                Box::pin(async move {
                    last_of_the_next_tick().await;
                    notes.recv().await.map_or(", lagged", |_| ", read")
                })
            },
            Some(WRITE),
        ),
        (
            "messages(), read too late",
            || {
                let mut notes = ctx().messages::<Note>();
                Box::pin(async move {
                    last_of_the_next_tick().await;
                    ctx().next_tick().await;
                    if notes.recv().await.is_err_and(|lagged| lagged == Lagged(1)) {
                        ", Lagged(1)"
                    } else {
                        ", read"
                    }
                })
            },
            Some(WRITE),
        ),
        (
            "event()",
            || {
                let event = ctx().event::<Note>();
                plain(async { _ = event.await })
            },
            Some(|world| world.trigger(Note)),
        ),
    ]
}

fn rows_of_an_entity() -> Vec<Row> {
    vec![
        (
            "entity.event()",
            || {
                let event = entity().event::<Hit>();
                plain(async { _ = event.await.unwrap() })
            },
            Some(|world| world.trigger(Hit(target(world)))),
        ),
        (
            "entity.inserted()",
            || {
                let inserted = entity().inserted::<Extra>();
                plain(async { inserted.await.unwrap() })
            },
            Some(|world| {
                world.entity_mut(target(world)).insert(Extra);
            }),
        ),
        (
            "entity.removed()",
            || {
                let removed = entity().removed::<Part>();
                plain(async { removed.await.unwrap() })
            },
            Some(|world| {
                world.entity_mut(target(world)).remove::<Part>();
            }),
        ),
        (
            "entity.changed()",
            || {
                let changed = entity().changed::<Part>();
                plain(async { changed.await.unwrap() })
            },
            Some(|world| world.get_mut::<Part>(target(world)).unwrap().0 = 1),
        ),
        ("entity.despawned()", || plain(entity().despawned()), Some(DESPAWN)),
    ]
}

const DESPAWN: Act = |world| {
    world.despawn(target(world));
};

/// The entity goes before what is awaited on it.
fn rows_of_an_entity_that_goes() -> Vec<Row> {
    fn gone<T>(future: impl Future<Output = Result<T, EntityGone>> + 'static) -> Waiting {
        Box::pin(async { future.await.map_or(", EntityGone", |_| ", alive") })
    }
    vec![
        ("entity.event(), despawned", || gone(entity().event::<Hit>()), Some(DESPAWN)),
        ("entity.inserted(), despawned", || gone(entity().inserted::<Extra>()), Some(DESPAWN)),
        ("entity.removed(), despawned", || gone(entity().removed::<Part>()), Some(DESPAWN)),
        ("entity.changed(), despawned", || gone(entity().changed::<Part>()), Some(DESPAWN)),
    ]
}

fn rows_of_a_resource() -> Vec<Row> {
    vec![
        (
            "res_inserted()",
            || plain(ctx().res_inserted::<Value>()),
            Some(|world| world.insert_resource(Value(1))),
        ),
        (
            "res_changed()",
            || plain(ctx().res_changed::<Value>()),
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
        (
            "until_changed()",
            || plain(ctx().until_changed(|value: &Value| (value.0 == 1).then_some(()))),
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
    ]
}

fn act(world: &mut World, act: Act) {
    ACTED.set(tick(world));
    act(world);
}

/// Lets `waker` do what `what` says, sometime: a task that it woke does, or what it has a right to itself.
async fn have_done(waker: &str, what: Act) {
    match waker {
        "task" => {}
        "timer" => sleep(Duration::from_micros(50)).await,
        "I/O" => {
            let (mut stream, mut peer) = connected();
            let mut byte = [0];
            assert!(poll_once(stream.read(&mut byte)).await.is_pending());
            peer.write_all(b"x").unwrap();
            stream.read_exact(&mut byte).await.unwrap();
        }
        "foreign thread" => {
            let handle = Handle::current();
            let ask =
                move || handle.run_with_world(move |world| act(world, what)).map(drop).unwrap();
            return thread::spawn(ask).join().unwrap();
        }
        "system" => return SYSTEM.set(Some(what)),
        "observer" => return OBSERVER.set(Some(what)),
        other => panic!("no such waker: {other}"),
    }
    ctx().with_world(|world| act(world, what));
}

fn connected() -> (UnixStream, StdStream) {
    let (one, other) = StdStream::pair().unwrap();
    (UnixStream::from_std(one).unwrap(), other)
}

/// The tick and the place, and what was given.
type Resumed = (u64, &'static str, &'static str);

async fn resumed(waiting: Waiting) -> Resumed {
    let given = waiting.await;
    let tick = tick_number();
    (tick, place(tick), given)
}

/// Wakes a task by `waker` with nothing between the two, which then waits for the thing.
async fn woken_directly(waker: &str, wait: fn() -> Waiting) -> Resumed {
    let bell = ctx().with_world_ref(|world| world.resource::<Bell>().clone());
    let rung = bell.rung();
    let deadline = event_time() + Duration::from_micros(200);
    let (mut stream, mut peer) = connected();
    let by_io = waker == "I/O";
    let by_timer = waker == "timer";
    let waiting = spawn_boxed(async move {
        if by_timer {
            sleep_until(deadline).await;
        } else if by_io {
            stream.read_exact(&mut [0]).await.unwrap();
        } else {
            rung.await;
        }
        resumed(wait()).await
    });
    ctx().ticks(2).await;
    let ring: Act = |world| world.resource::<Bell>().ring();
    match waker {
        "timer" => {
            let result = waiting.await;
            // By then the beginning of its tick is on record.
            ctx().next_tick().await;
            let due = BEGAN.with_borrow(|began| {
                began.iter().find(|(_, time)| *time >= deadline).map(|(tick, _)| *tick)
            });
            ACTED.set(due.unwrap());
            return result;
        }
        "I/O" => {
            peer.write_all(b"x").unwrap();
            ACTED.set(tick_number() + 1);
        }
        "foreign thread" => {
            thread::spawn(move || bell.ring()).join().unwrap();
            ACTED.set(tick_number() + 1);
        }
        _ => have_done(waker, ring).await,
    }
    waiting.await
}

fn runtime(world: &mut World) -> Runtime<'_> {
    let part = world.spawn(Part(0)).id();
    world.insert_resource(Target(part));
    world.init_resource::<Value>();
    world.insert_resource(Bell::default());
    world.add_observer(|_: On<Now>, mut commands: Commands| {
        if let Some(what) = OBSERVER.take() {
            commands.queue(move |world: &mut World| act(world, what));
        }
    });
    // With each turn a tick, and each one asking for events, T is certain.
    let mut rt =
        Runtime::builder(world).stages([First.intern(), Last.intern()]).event_interval(1).build();
    rt.schedule(First).add_systems(|world: &mut World| {
        BEGAN.with_borrow_mut(|began| began.push((tick(world), event_time())));
        world.trigger(Now);
        world.flush();
        if let Some(what) = SYSTEM.take() {
            act(world, what);
        }
    });
    rt.schedule(Last).add_systems(|world: &mut World| PLACE.set((tick(world), "the end")));
    rt
}

/// Keeps the place up to date: the loop asks every condition before it polls who waits for the stage.
fn mark_places() {
    let mark = |place| {
        move |world: &mut World| {
            PLACE.set((tick(world), place));
            None::<()>
        }
    };
    drop(spawn_boxed(ctx().until(First, mark("First"))));
    drop(spawn_boxed(ctx().until(Last, mark("Last"))));
}

/// When and where a task resumes that awaits a thing, as the table says it.
fn resumes(wait: fn() -> Waiting, what: Option<Act>, waker: &str) -> String {
    let _guard = watchdog(LIMIT_SECONDS);
    ACTED.set(0);
    BEGAN.take();
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    rt.block_on_busy(async {
        mark_places();
        ctx().ticks(2).await;
        let (tick, place, given) = match what {
            None => woken_directly(waker, wait).await,
            Some(what) => {
                let waiting = spawn_boxed(resumed(wait()));
                ctx().ticks(2).await;
                have_done(waker, what).await;
                waiting.await
            }
        };
        match tick - ACTED.get() {
            0 => format!("T {place}{given}"),
            later => format!("T+{later} {place}{given}"),
        }
    })
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
}

#[test]
fn each_awaited_thing_resumes_as_the_table_says_whoever_wakes_it() {
    let mut lines = TABLE.lines();
    let wakers = cells(lines.next().unwrap());
    let table: Vec<_> = lines.skip(1).map(cells).collect();
    let rows = rows();
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
    assert_eq!(
        names(&mut table.iter().map(|row| row[0])),
        names(&mut rows.iter().map(|row| row.0)),
        "the table has the rows that are tested"
    );
    let mut wrong = Vec::new();
    for (expected, (name, wait, what)) in table.iter().zip(rows) {
        for (waker, expected) in wakers.iter().zip(expected).skip(1) {
            let found = resumes(wait, what, waker);
            if found != *expected {
                wrong.push(format!("{name} by {waker}: {found}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
