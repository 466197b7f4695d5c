//! What the end of a tick does for the World: messages turn over, trackers are cleared.

mod common;

use bevy_ecs::{message::MessageRegistry, prelude::*};
use common::{LIMIT_SECONDS, log, logged, watchdog};
use onbeat::{Runtime, Tick, WorldCtx, spawn_boxed};

#[derive(Message, Debug, PartialEq)]
struct Note(u32);

#[derive(Component)]
struct Mark;

fn world() -> World {
    let mut world = World::new();
    MessageRegistry::register_message::<Note>(&mut world);
    world
}

fn len(rt: &Runtime<'_>) -> usize {
    rt.world().resource::<Messages<Note>>().len()
}

fn write(note: u32) {
    WorldCtx::current().with_world(|world| world.write_message(Note(note)));
}

#[test]
fn a_message_of_a_task_is_read_by_a_system_in_the_same_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut notes: MessageReader<Note>| {
        for note in notes.read() {
            log(note.0.to_string());
        }
    });
    rt.block_on(async { write(1) });
    assert_eq!(logged(), ["1"]);
    rt.tick().unwrap();
    assert_eq!(logged(), [""; 0], "a reader reads a message once");
}

#[test]
fn a_message_is_there_until_the_end_of_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async { write(1) });
    assert_eq!(len(&rt), 1);
    rt.tick().unwrap();
    assert_eq!(len(&rt), 0);
}

#[test]
fn a_message_of_a_system_is_there_until_the_end_of_the_next_tick() {
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let mut left = 2;
    rt.schedule(Tick).add_systems(move |mut notes: MessageWriter<Note>| {
        if left > 0 {
            left -= 1;
            notes.write(Note(left));
        }
    });
    let lens: Vec<usize> = (0..4)
        .map(|_| {
            rt.tick().unwrap();
            len(&rt)
        })
        .collect();
    assert_eq!(lens, [1, 1, 0, 0]);
}

#[test]
fn messages_turn_over_in_every_tick_of_a_loop_without_systems() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for note in 0..1_000 {
            write(note);
            WorldCtx::current().next_tick().await;
            let len =
                WorldCtx::current().with_world(|world| world.resource::<Messages<Note>>().len());
            assert_eq!(len, 1);
        }
    });
}

#[test]
fn a_message_type_that_a_task_registers_late_turns_over_as_well() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    for _ in 0..3 {
        rt.tick().unwrap();
    }
    rt.block_on(async {
        WorldCtx::current().with_world(MessageRegistry::register_message::<Note>);
        write(1);
    });
    assert_eq!(len(&rt), 1);
    rt.tick().unwrap();
    assert_eq!(len(&rt), 0);
}

#[test]
fn a_message_written_between_ticks_is_read_in_the_next_one() {
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut notes: MessageReader<Note>| {
        log(notes.read().count().to_string());
    });
    rt.tick().unwrap();
    rt.world_mut().write_message(Note(1));
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(logged(), ["0", "1", "0"]);
}

#[test]
fn a_message_written_before_the_runtime_was_built_goes_like_any_other() {
    let mut world = world();
    world.write_message(Note(1));
    let mut rt = Runtime::new(&mut world);
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(len(&rt), 0);
}

#[test]
fn a_message_of_a_task_woken_by_the_last_stage_is_read_in_the_next_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let bell = common::Bell::default();
    world.insert_resource(bell.clone());
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|bell: Res<common::Bell>, mut notes: MessageReader<Note>| {
        log(notes.read().count().to_string());
        bell.ring();
    });
    rt.block_on(async {
        drop(spawn_boxed(async move {
            bell.rung().await;
            write(1);
        }));
    });
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(logged(), ["0", "1", "0"]);
}

#[test]
fn a_removed_component_is_seen_in_one_tick() {
    let mut world = World::new();
    let entity = world.spawn(Mark).id();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut removed: RemovedComponents<Mark>| {
        log(removed.read().count().to_string());
    });
    rt.tick().unwrap();
    rt.world_mut().entity_mut(entity).remove::<Mark>();
    assert_eq!(rt.world().removed::<Mark>().count(), 1);
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(logged(), ["0", "1", "0"]);
    rt.tick().unwrap();
    assert_eq!(rt.world().removed::<Mark>().count(), 0);
}

#[test]
fn a_change_by_a_task_is_seen_by_a_system_once() {
    #[derive(Resource)]
    struct Value(u32);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Value(0));
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|value: Res<Value>| log(value.is_changed().to_string()));
    rt.tick().unwrap();
    rt.block_on(async {
        WorldCtx::current().with_world(|world| world.resource_mut::<Value>().0 = 1);
    });
    rt.tick().unwrap();
    assert_eq!(logged(), ["true", "true", "false"]);
}
