//! The frame rules as a matrix: each awaited thing, for each waker, resumes in the tick and at the place
//! that the table in the documentation names. The table that is read here is the one that is printed.

mod common;

use std::{cell::Cell, io::Write, net::SocketAddr, pin::Pin, thread, time::Duration};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::{Bell, LIMIT_SECONDS, poll_once, tick_number, watchdog};
use onbeat::{Runtime, TickStats, WorldCtx, net::TcpStream, sleep, spawn_boxed, yield_now};

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
}

/// What a waker does.
type Act = fn(&mut World);
type Waiting = Pin<Box<dyn Future<Output = ()>>>;

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
    [rows_of_the_loop(), rows_of_the_world(), rows_of_an_entity(), rows_of_a_resource()].concat()
}

fn rows_of_the_loop() -> Vec<Row> {
    vec![
        ("yield_now()", || Box::pin(yield_now()), None),
        ("next_tick()", || Box::pin(ctx().next_tick()), None),
        ("ticks(0)", || Box::pin(ctx().ticks(0)), None),
        ("ticks(2)", || Box::pin(ctx().ticks(2)), None),
        ("at(First)", || Box::pin(ctx().at(First)), None),
        ("at(Last)", || Box::pin(ctx().at(Last)), None),
        ("next(First)", || Box::pin(ctx().next(First)), None),
        ("next(Last)", || Box::pin(ctx().next(Last)), None),
        ("until(First, met)", || Box::pin(ctx().until(First, |_| Some(()))), None),
        (
            "until(Last, done)",
            || {
                let done = |world: &mut World| (world.resource::<Value>().0 > 0).then_some(());
                Box::pin(ctx().until(Last, done))
            },
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
    ]
}

fn rows_of_the_world() -> Vec<Row> {
    vec![
        (
            "messages().recv()",
            || {
                let mut notes = ctx().messages::<Note>();
                Box::pin(async move { drop(notes.recv().await) })
            },
            Some(|world| {
                world.write_message(Note);
            }),
        ),
        (
            "event()",
            || {
                let event = ctx().event::<Note>();
                Box::pin(async { _ = event.await })
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
                Box::pin(async { _ = event.await.unwrap() })
            },
            Some(|world| world.trigger(Hit(target(world)))),
        ),
        (
            "entity.inserted()",
            || {
                let inserted = entity().inserted::<Extra>();
                Box::pin(async { inserted.await.unwrap() })
            },
            Some(|world| {
                world.entity_mut(target(world)).insert(Extra);
            }),
        ),
        (
            "entity.removed()",
            || {
                let removed = entity().removed::<Part>();
                Box::pin(async { removed.await.unwrap() })
            },
            Some(|world| {
                world.entity_mut(target(world)).remove::<Part>();
            }),
        ),
        (
            "entity.changed()",
            || {
                let changed = entity().changed::<Part>();
                Box::pin(async { changed.await.unwrap() })
            },
            Some(|world| world.get_mut::<Part>(target(world)).unwrap().0 = 1),
        ),
        (
            "entity.despawned()",
            || Box::pin(entity().despawned()),
            Some(|world| {
                world.despawn(target(world));
            }),
        ),
    ]
}

fn rows_of_a_resource() -> Vec<Row> {
    vec![
        (
            "res_inserted()",
            || Box::pin(ctx().res_inserted::<Value>()),
            Some(|world| world.insert_resource(Value(1))),
        ),
        (
            "res_changed()",
            || Box::pin(ctx().res_changed::<Value>()),
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
        (
            "until_changed()",
            || Box::pin(ctx().until_changed(|value: &Value| (value.0 == 1).then_some(()))),
            Some(|world| world.resource_mut::<Value>().0 = 1),
        ),
    ]
}

fn act(world: &mut World, act: Act) {
    ACTED.set(tick(world));
    act(world);
}

/// Lets `waker` do what `what` says, sometime.
async fn wake(waker: &str, what: Act) {
    match waker {
        "task" => {}
        "timer" => sleep(Duration::from_micros(50)).await,
        "I/O" => {
            let listener =
                std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut byte = [0];
            assert!(poll_once(stream.read(&mut byte)).await.is_pending());
            peer.write_all(b"x").unwrap();
            stream.read_exact(&mut byte).await.unwrap();
        }
        "foreign thread" => {
            let bell = Bell::default();
            let rung = bell.rung();
            let thread = thread::spawn(move || bell.ring());
            rung.await;
            thread.join().unwrap();
        }
        "system" => return SYSTEM.set(Some(what)),
        "observer" => return OBSERVER.set(Some(what)),
        other => panic!("no such waker: {other}"),
    }
    ctx().with_world(|world| act(world, what));
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
    let mut rt = Runtime::builder(world).stages([First.intern(), Last.intern()]).build();
    rt.schedule(First).add_systems(|world: &mut World| {
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
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    rt.block_on_busy(async {
        mark_places();
        ctx().ticks(2).await;
        let bell = ctx().with_world_ref(|world| world.resource::<Bell>().clone());
        let waiting = spawn_boxed(async move {
            if what.is_none() {
                bell.rung().await;
            }
            wait().await;
            let tick = tick_number();
            (tick, place(tick))
        });
        ctx().ticks(2).await;
        wake(waker, what.unwrap_or(|world| world.resource::<Bell>().ring())).await;
        let (tick, place) = waiting.await;
        match tick - ACTED.get() {
            0 => format!("T {place}"),
            later => format!("T+{later} {place}"),
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
