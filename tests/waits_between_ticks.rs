//! What is awaited in the World, where ticks wait for the beat: a turn between ticks looks as well. And readers
//! of messages that are not there.

mod common;

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use bevy_ecs::{message::MessageRegistry, prelude::*};
use common::{Bell, LIMIT_SECONDS, block_on, watchdog};
use onbeat::{
    ClockMode, Pacing, Runtime, Tick, WorldCtx, event_time, sleep, spawn_boxed, yield_now,
};

const BEAT: Duration = Duration::from_millis(100);

#[derive(Message, Event, Clone)]
struct Note(u32);
#[derive(Resource, Default)]
struct Value(u32);
#[derive(Component)]
struct Part(u32);

type Waiting = Pin<Box<dyn Future<Output = ()>>>;

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

/// Waits at a beat for what `wait` makes, which `act` brings about between two beats.
#[track_caller]
fn check(wait: fn(Entity) -> Waiting, act: fn(&mut World, Entity)) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Value>();
    let entity = world.spawn(Part(0)).id();
    let pacing = Pacing::every(BEAT);
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).pacing(pacing).build();
    rt.schedule(Tick).add_systems(|| ());
    rt.block_on(async {
        ctx().next(Tick).await;
        let beat = event_time();
        let waiting = spawn_boxed(async move {
            wait(entity).await;
            event_time()
        });
        sleep(BEAT * 3 / 10).await;
        ctx().with_world(|world| act(world, entity));
        assert_eq!(waiting.await, beat + BEAT * 3 / 10);
    });
}

#[test]
fn a_turn_between_ticks_looks_at_what_its_tasks_did() {
    check(
        |_| {
            let mut notes = ctx().messages::<Note>();
            Box::pin(async move { assert_eq!(notes.recv().await.unwrap().0, 7) })
        },
        |world, _| _ = world.write_message(Note(7)),
    );
    check(
        |_| Box::pin(ctx().res_changed::<Value>()),
        |world, _| world.resource_mut::<Value>().0 = 1,
    );
    check(
        |_| Box::pin(ctx().until_changed(|value: &Value| (value.0 == 1).then_some(()))),
        |world, _| world.resource_mut::<Value>().0 = 1,
    );
    check(
        |entity| {
            let changed = ctx().entity(entity).changed::<Part>();
            Box::pin(async { changed.await.unwrap() })
        },
        |world, entity| world.get_mut::<Part>(entity).unwrap().0 = 1,
    );
    check(
        |_| Box::pin(async { _ = ctx().event::<Note>().await }),
        |world, _| world.trigger(Note(1)),
    );
    check(
        |entity| Box::pin(ctx().entity(entity).despawned()),
        |world, entity| _ = world.despawn(entity),
    );
}

#[test]
fn a_stage_is_waited_for_until_the_beat_whatever_happens_between() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let pacing = Pacing::every(BEAT);
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).pacing(pacing).build();
    rt.block_on(async {
        ctx().next(Tick).await;
        let beat = event_time();
        let waiting = spawn_boxed(async move {
            ctx().next(Tick).await;
            event_time()
        });
        let until = spawn_boxed(async move {
            ctx().until(Tick, |_| Some(())).await;
            event_time()
        });
        for turn in 1..4 {
            sleep(BEAT / 10).await;
            yield_now().await;
            assert_eq!(event_time(), beat + BEAT * turn / 10);
        }
        assert_eq!((waiting.await, until.await), (beat + BEAT, beat + BEAT));
    });
}

#[test]
fn a_reader_of_messages_that_went_waits_until_there_are_some_again() {
    block_on(async {
        let polls = Rc::new(Cell::new(0));
        let bell = Bell::default();
        let reader = spawn_boxed({
            let (polls, ready) = (polls.clone(), bell.clone());
            async move {
                let mut notes = ctx().messages::<Note>();
                ctx().with_world(|world| {
                    world.write_message(Note(1));
                });
                assert_eq!(notes.recv().await.unwrap().0, 1);
                ready.ring();
                let mut next = pin!(notes.recv());
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    next.as_mut().poll(cx)
                })
                .await
                .unwrap()
                .0
            }
        });
        bell.rung().await;
        ctx().with_world(MessageRegistry::deregister_messages::<Note>);
        ctx().ticks(10).await;
        assert!(polls.get() <= 2, "it is not looked at in each tick: {}", polls.get());
        ctx().with_world(|world| {
            MessageRegistry::register_message::<Note>(world);
            world.write_message(Note(2));
        });
        assert_eq!(reader.await, 2, "with the same count as before");
    });
}
