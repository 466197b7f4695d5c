//! What becomes of the World: replaced, cleared, given back, given to another runtime.

mod common;

use std::{
    cell::Cell,
    mem::swap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::{LIMIT_SECONDS, log, logged, panic_message, watchdog};
use onbeat::{
    OnTaskPanic, Runtime, Tick, TickError, TickRequest, TickStats, WorldCtx, WorldError, sleep,
    spawn_boxed, yield_now,
};

#[derive(Resource, Default, Debug, PartialEq)]
struct Score(u32);

#[derive(Component)]
struct Name(&'static str);

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Later;

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

/// Puts another World in the place of the runtime's, and gives back the line in which that was done.
fn replace(other: &mut World) -> u32 {
    WorldCtx::current().with_world(|world| swap(world, other));
    line!() - 1
}

#[test]
fn replacing_the_world_stops_the_tick_and_names_the_place() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::builder(&mut world).stages([Tick.intern(), Later.intern()]).build();
    rt.schedule(Tick).add_systems(|| log("stage"));
    rt.schedule(Later).add_systems(|| log("stage"));
    rt.block_on(async {
        drop(spawn_boxed(async {
            WorldCtx::current().next_tick().await;
            replace(&mut World::new());
            let refused = WorldCtx::current().try_with_world(|_| ());
            log(format!("{}", matches!(refused, Err(WorldError::Replaced(_)))));
            std::future::pending::<()>().await;
        }));
    });
    assert_eq!(logged(), ["stage", "stage"]);
    let Err(TickError::WorldReplaced(place)) = rt.tick() else {
        panic!("the World was replaced");
    };
    assert_eq!(place.file(), file!());
    assert_eq!(logged(), ["true"]);
}

#[test]
fn block_on_panics_and_names_where_the_world_was_replaced() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    let mut line = 0;
    let message = panic_message(|| {
        rt.block_on(async {
            line = replace(&mut World::new());
            std::future::pending::<()>().await;
        });
    });
    assert!(message.contains(&format!("{}:{line}", file!())), "{message}");
    assert_eq!(logged(), [""; 0], "no stage ran");
}

#[test]
fn a_command_that_is_left_and_replaces_the_world_is_put_down_to_its_access() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    let mut line = 0;
    let message = panic_message(|| {
        rt.block_on(async {
            WorldCtx::current().with_world(|world| {
                world.commands().queue(|world: &mut World| *world = World::new());
            });
            line = line!() - 3;
            std::future::pending::<()>().await;
        });
    });
    assert!(message.contains(&format!("{}:{line}", file!())), "{message}");
}

#[test]
fn a_world_replaced_in_a_nested_runtime_leaves_the_outer_one_as_it_was() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    Runtime::new(&mut world).block_on(async {
        let ctx = WorldCtx::current();
        let mut nested = Runtime::owning(World::new());
        nested.block_on(async {
            drop(spawn_boxed(async {
                yield_now().await;
                WorldCtx::current().with_world(|world| *world = World::new());
            }));
        });
        assert!(matches!(nested.tick(), Err(TickError::WorldReplaced { .. })));
        for _ in 0..2 {
            ctx.with_world(|world| world.resource_mut::<Score>().0 += 1);
            ctx.next_tick().await;
        }
    });
    assert_eq!(world.resource::<Score>().0, 2);
}

#[test]
fn a_replaced_world_stays_an_error_until_the_old_one_is_back() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut other = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut score: ResMut<Score>| score.0 += 1);
    let replaced = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(async {
            replace(&mut other);
        });
    }));
    assert!(replaced.is_err());
    let again = catch_unwind(AssertUnwindSafe(|| rt.tick()));
    assert!(matches!(again, Ok(Err(TickError::WorldReplaced(_)))), "{:?}", again.map_err(|_| ()));
    swap(rt.world_mut(), &mut other);
    rt.tick().unwrap();
    assert_eq!(rt.world().resource::<Score>(), &Score(1));
}

#[test]
fn a_world_replaced_between_ticks_is_an_error() {
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| log("stage"));
    *rt.world_mut() = World::new();
    let ticked = catch_unwind(AssertUnwindSafe(|| rt.tick()));
    assert!(matches!(ticked, Ok(Err(TickError::WorldReplaced(_)))), "{:?}", ticked.map_err(|_| ()));
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn an_owned_world_comes_back_with_its_resources() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut rt = Runtime::owning(world());
    rt.block_on(async {
        add(7);
        drop(spawn_boxed(std::future::pending::<()>()));
    });
    let world = rt.into_world();
    assert_eq!(world.resource::<Score>(), &Score(7));
}

#[test]
fn into_world_lets_destructors_use_the_world_first() {
    struct AddsInDrop;
    impl Drop for AddsInDrop {
        fn drop(&mut self) {
            add(1);
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut rt = Runtime::owning(world());
    rt.block_on(async {
        drop(spawn_boxed(async {
            let _adds = AddsInDrop;
            std::future::pending::<()>().await;
        }));
    });
    assert_eq!(rt.into_world().resource::<Score>(), &Score(1));
}

#[test]
fn a_world_can_be_given_to_one_runtime_after_another() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    for _ in 0..10 {
        let mut rt = Runtime::new(&mut world);
        rt.schedule(Tick).add_systems(|mut score: ResMut<Score>, stats: Res<TickStats>| {
            score.0 += 1;
            assert_eq!(stats.get().ticks, 0);
        });
        rt.block_on(async {});
    }
    assert_eq!(world.resource::<Score>(), &Score(10));
}

#[test]
fn a_world_that_is_cleared_by_a_task_goes_on_ticking() {
    let _guard = watchdog(LIMIT_SECONDS);
    for clear in [World::clear_all, World::clear_entities] {
        let mut world = world();
        world.spawn(Name("before"));
        let mut rt = Runtime::new(&mut world);
        rt.schedule(Tick).add_systems(|names: Query<&Name>| {
            log(names.iter().map(|name| name.0).collect::<String>());
        });
        rt.block_on(async move {
            yield_now().await;
            let ctx = WorldCtx::current();
            ctx.with_world(clear);
            ctx.next_tick().await;
            ctx.with_world(|world| world.spawn(Name("after")).id());
            sleep(Duration::from_micros(10)).await;
        });
        for _ in 0..130 {
            rt.tick().unwrap();
        }
        let lines = logged();
        assert_eq!(lines[..3], ["before", "", "after"]);
        assert_eq!(rt.stats().ticks, lines.len() as u64);
    }
}

#[test]
fn commands_of_a_closure_are_there_for_the_systems_of_the_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|names: Query<&Name>| log(names.iter().count().to_string()));
    rt.block_on(async {
        WorldCtx::current().with_world(|world| {
            world.commands().spawn(Name("queued"));
            world.flush();
        });
    });
    assert_eq!(logged(), ["1"]);
}

#[test]
fn a_runtime_on_the_lent_world_is_a_loop_within_the_loop() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::Propagate).build();
    rt.block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(|world| {
            Runtime::new(world).block_on(async {
                add(1);
                ctx.with_world(|world| world.resource_mut::<Score>().0 += 1);
            });
            assert!(matches!(ctx.try_with_world(|_| ()), Err(WorldError::Taken(_))));
        });
        add(1);
    });
    assert_eq!(rt.world().resource::<Score>(), &Score(3));
    let shared = Rc::new(Cell::new(0));
    rt.block_on(async { shared.set(score()) });
    assert_eq!(shared.get(), 3);
}

#[test]
fn a_request_still_counts_after_another_runtime_used_the_world() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = world();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        WorldCtx::current().with_world(|world| drop(Runtime::new(world)));
    });
    rt.world_mut().resource_mut::<TickRequest>().request();
    rt.tick().unwrap();
    assert!(!rt.world().resource::<TickRequest>().is_requested());
}
