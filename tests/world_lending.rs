//! The World is lent: who gets it, who is refused and with which words, and what is left afterwards.

mod common;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{Runtime, Tick, WorldCtx, WorldError, spawn_boxed, yield_now};

#[derive(Resource, Default, Debug, PartialEq)]
struct Score(u32);

fn world() -> World {
    let mut world = World::new();
    world.init_resource::<Score>();
    world
}

fn score() -> u32 {
    WorldCtx::current().with_world_ref(|world| world.resource::<Score>().0)
}

fn add(points: u32) {
    WorldCtx::current().with_world(|world| world.resource_mut::<Score>().0 += points);
}

/// Asks for the World when it is dropped, and logs what it was told.
struct AsksInDrop(WorldCtx);

impl Drop for AsksInDrop {
    fn drop(&mut self) {
        log(match self.0.try_with_world(|world| world.entities().len()) {
            Ok(_) => "given".to_owned(),
            Err(error) => error.to_string(),
        });
    }
}

#[test]
fn tasks_systems_and_the_root_share_one_world() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut score: ResMut<Score>| score.0 += 100);
    rt.block_on(async {
        let task = spawn_boxed(async { add(10) });
        task.await;
        add(1);
        assert_eq!(score(), 11);
    });
    assert_eq!(rt.world().resource::<Score>(), &Score(111));
}

#[test]
fn outside_a_turn_it_is_refused() {
    let mut world = world();
    let ctx = WorldCtx::new(&mut world);
    let rt = Runtime::new(&mut world);
    assert_eq!(ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    assert_eq!(WorldCtx::try_current(), Err(WorldError::OutsideTurn));
    let message = panic_message(|| ctx.with_world(|_| ()));
    assert!(message.contains("Runtime::world_mut"), "{message}");
    drop(rt);
    assert_eq!(ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
}

#[test]
fn a_context_made_before_the_runtime_works_in_its_tasks() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let ctx = WorldCtx::new(&mut world);
    Runtime::new(&mut world).block_on(async {
        assert_eq!(ctx, WorldCtx::current());
        ctx.with_world(|world| world.resource_mut::<Score>().0 = 3);
    });
    assert_eq!(world.resource::<Score>(), &Score(3));
}

#[test]
fn a_context_of_another_world_is_refused() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (mut world, mut other) = (world(), World::new());
    let other = WorldCtx::new(&mut other);
    Runtime::new(&mut world).block_on(async {
        assert_eq!(other.try_with_world(|_| ()), Err(WorldError::OtherWorld));
        let message = panic_message(|| other.with_world(|_| ()));
        assert!(message.contains("another World"), "{message}");
        WorldCtx::current().with_world(|_| {
            assert_eq!(other.try_with_world(|_| ()), Err(WorldError::OtherWorld));
        });
        add(1);
    });
}

#[test]
fn nested_with_world_is_an_error() {
    block_on(async {
        let ctx = WorldCtx::current();
        let line = line!() + 1;
        ctx.with_world(|_| {
            let refused = ctx.try_with_world(|_| ());
            let Err(WorldError::Taken(place)) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!((place.file(), place.line()), (file!(), line));
            let message = panic_message(|| ctx.with_world(|_| ()));
            assert!(message.contains(&format!("{}:{line}", file!())), "{message}");
            let message = panic_message(|| ctx.with_world_ref(|_| ()));
            assert!(message.contains(&format!("{}:{line}", file!())), "{message}");
        });
        ctx.with_world(|_| ());
    });
}

#[test]
fn reading_takes_the_world_as_well() {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world_ref(|_| {
            assert!(matches!(ctx.try_with_world(|_| ()), Err(WorldError::Taken(_))));
        });
        ctx.with_world(|_| ());
    });
}

#[test]
fn a_system_is_refused_and_told_what_it_can_do() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let ctx = WorldCtx::new(&mut world);
    // A system is `Send`, and a context is not: it reaches the system through the thread.
    thread_local! {
        static CTX: Cell<Option<WorldCtx>> = const { Cell::new(None) };
    }
    CTX.set(Some(ctx));
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| {
        let refused = CTX.get().unwrap().try_with_world(|_| ());
        log(format!("{}", matches!(refused, Err(WorldError::Taken(_)))));
        log(refused.unwrap_err().to_string());
    });
    rt.tick().unwrap();
    let said = logged();
    assert_eq!(said[0], "true");
    assert!(said[1].contains("start tasks with `commands.spawn_task(..)`"), "{}", said[1]);
}

#[test]
fn a_destructor_of_an_aborted_task_is_given_the_world() {
    block_on(async {
        let asks = AsksInDrop(WorldCtx::current());
        let task = spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert_eq!(logged(), [""; 0], "not while its owner still runs");
        yield_now().await;
        assert_eq!(logged(), ["given"]);
    });
}

#[test]
fn a_task_aborted_inside_a_closure_is_dropped_after_it() {
    block_on(async {
        let asks = AsksInDrop(WorldCtx::current());
        let task = spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        WorldCtx::current().with_world(|_| {
            task.abort();
            assert_eq!(logged(), [""; 0]);
        });
        yield_now().await;
        assert_eq!(logged(), ["given"]);
    });
}

#[test]
fn an_output_whose_handle_is_dropped_inside_a_closure_is_dropped_after_it() {
    block_on(async {
        let asks = AsksInDrop(WorldCtx::current());
        let task = spawn_boxed(async move { asks });
        yield_now().await;
        WorldCtx::current().with_world(|_| {
            drop(task);
            assert_eq!(logged(), [""; 0]);
        });
        yield_now().await;
        assert_eq!(logged(), ["given"]);
    });
}

#[test]
fn a_task_aborted_by_a_system_is_dropped_after_its_stage() {
    #[derive(Default)]
    struct Doomed(Option<onbeat::JoinHandle<()>>);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    world.insert_non_send(Doomed::default());
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut doomed: NonSendMut<Doomed>| {
        if let Some(task) = doomed.0.take() {
            task.abort();
            log("aborted");
        }
    });
    rt.block_on(async {
        let asks = AsksInDrop(WorldCtx::current());
        let task = spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        });
        WorldCtx::current().with_world(|world| world.non_send_mut::<Doomed>().0 = Some(task));
    });
    assert_eq!(logged(), ["aborted", "given"]);
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn destructors_are_given_the_world_when_the_runtime_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let asks = AsksInDrop(WorldCtx::current());
        drop(spawn_boxed(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        }));
    });
    drop(rt);
    assert_eq!(logged(), ["given"]);
}

#[test]
fn a_destructor_inside_a_closure_is_refused() {
    block_on(async {
        let ctx = WorldCtx::current();
        let asks = AsksInDrop(ctx);
        ctx.with_world(|_| drop(asks));
        let said = logged();
        assert!(said[0].contains("already in use by the access at"), "{said:?}");
        ctx.with_world(|_| ());
    });
}

#[test]
fn a_closure_that_panics_gives_the_world_back() {
    block_on(async {
        let ctx = WorldCtx::current();
        for _ in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| ctx.with_world(|_| panic!("inside"))));
            assert!(panicked.is_err());
            ctx.with_world(|_| ());
        }
        ctx.next_tick().await;
        ctx.with_world(|_| ());
    });
}

#[test]
fn a_panic_that_leaves_block_on_gives_the_world_back() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            WorldCtx::current().with_world(|world| {
                world.resource_mut::<Score>().0 = 5;
                panic!("inside");
            });
        });
    });
    assert_eq!(message, "inside");
    assert_eq!(WorldCtx::try_current(), Err(WorldError::OutsideTurn));
    rt.block_on(async { add(1) });
    assert_eq!(rt.world().resource::<Score>(), &Score(6));
}
