//! Commands that are left in the World's queue, by whomever: when they are applied.

mod common;

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bevy_ecs::{lifecycle::HookContext, prelude::*, world::DeferredWorld};
use common::{LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{Handle, Runtime, Tick, WorldCtx, spawn_boxed, yield_now};

#[derive(Resource, Default)]
struct Score(u32);

/// Leaves a command and panics when it is added.
#[derive(Component)]
#[component(on_add = Quantity::refuse)]
struct Quantity;

impl Quantity {
    fn refuse(mut world: DeferredWorld<'_>, _: HookContext) {
        world.commands().queue(raise);
        panic!("half way");
    }
}

fn score() -> u32 {
    WorldCtx::current().res(|score: &Score| score.0).expect("the resource is there")
}

fn raise(world: &mut World) {
    world.resource_mut::<Score>().0 += 1;
}

/// Runs `make` on a World that has a score, in a poll in which nobody has left a command.
fn with_score<F: Future>(make: impl FnOnce(WorldCtx) -> F) -> F::Output {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(World::init_resource::<Score>);
        yield_now().await;
        make(ctx).await
    })
}

#[test]
fn commands_of_any_access_that_panicked_are_applied_before_the_next_poll() {
    type Access = fn(WorldCtx);
    let accesses: [Access; 3] = [
        |ctx| {
            let _ = ctx.commands(|commands| {
                commands.queue(raise);
                panic!("half way");
            });
        },
        |ctx| {
            let entity = ctx.commands(|commands| commands.spawn_empty().id());
            let _ = ctx.entity(entity.unwrap()).insert(Quantity);
        },
        |ctx| {
            let _ = ctx.run(|mut world: DeferredWorld| {
                world.commands().queue(raise);
                panic!("half way");
            });
        },
    ];
    for access in accesses {
        with_score(|ctx| async move {
            assert!(catch_unwind(AssertUnwindSafe(|| access(ctx))).is_err());
            yield_now().await;
            assert_eq!(score(), 1);
        });
    }
}

#[test]
fn commands_that_a_condition_leaves_are_applied_before_its_stage() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Score>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|score: Res<Score>| log(format!("stage {}", score.0)));
    rt.block_on_busy(async {
        let ctx = WorldCtx::current();
        let mut asked = 0;
        let condition = move |world: &mut World| {
            world.commands().queue(raise);
            asked += 1;
            (asked == 2).then_some(())
        };
        ctx.until(Tick, condition).await;
        log(format!("task {}", ctx.res(|score: &Score| score.0).unwrap()));
    });
    assert_eq!(logged(), ["stage 1", "task 2", "stage 2"]);
}

#[test]
fn a_panic_of_a_command_that_a_condition_left_is_that_of_the_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let message = panic_message(|| {
        Runtime::new(&mut World::new()).block_on(async {
            let condition = |world: &mut World| {
                world.commands().queue(|_: &mut World| panic!("bad command"));
                Some(())
            };
            WorldCtx::current().until(Tick, condition).await;
        });
    });
    assert_eq!(message, "bad command");
}

#[test]
fn commands_that_a_closure_of_a_handle_leaves_are_applied_before_the_next_poll() {
    with_score(|ctx| async move {
        let run = Handle::current().run_with_world(|world| {
            world.commands().queue(raise);
        });
        run.expect("the runtime is there").await.unwrap();
        assert_eq!(ctx.res(|score: &Score| score.0), Ok(1));
    });
}

#[test]
fn commands_that_are_left_between_turns_are_applied_before_the_next_poll() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Score>();
    let mut rt = Runtime::new(&mut world);
    rt.world_mut().commands().queue(raise);
    rt.block_on(async { assert_eq!(score(), 1) });
    rt.world_mut().commands().queue(raise);
    drop(rt);
    assert_eq!(world.resource::<Score>().0, 2);
}

#[test]
fn commands_that_destructors_leave_while_the_runtime_is_dropped_are_applied() {
    struct Raises;
    impl Drop for Raises {
        fn drop(&mut self) {
            WorldCtx::current().with_world(|world| world.commands().queue(raise));
        }
    }

    let mut world = World::new();
    world.init_resource::<Score>();
    let raises = Raises;
    let mut rt = Runtime::builder(&mut world)
        .poller(move || {
            let _held = &raises;
            0
        })
        .build();
    let raises = Raises;
    rt.block_on(async {
        drop(spawn_boxed(async {
            let _held = raises;
            pending::<()>().await;
        }));
        yield_now().await;
    });
    let raises = Raises;
    drop(rt.handle().run_with_world(move |_| drop(raises)));
    drop(rt);
    assert_eq!(world.resource::<Score>().0, 3);
}
