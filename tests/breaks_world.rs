//! Breaks of a peer: two live `&mut World`, and a World that goes before its runtime.
//!
//! The second, `world_outlives_runtime`, must not compile: it is a doctest of `Runtime`.

mod common;

use std::{
    cell::RefCell,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
};

use bevy_ecs::{
    component::Component, event::Event, observer::On, resource::Resource, system::ResMut,
    world::World,
};
use common::{LIMIT_SECONDS, block_on, log, logged, panic_message, poll_once, watchdog};
use onbeat::{Runtime, Tick, WorldCtx, WorldError, spawn_boxed, yield_now};

#[derive(Resource, Default)]
struct Count(u32);

/// The line of the access that refuses another one.
#[track_caller]
fn refused_by(error: WorldError) -> u32 {
    let WorldError::Taken(place) = error else {
        panic!("{error:?} is not the refusal of a nested access");
    };
    assert_eq!(place.file(), file!());
    let named = format!("{}:{}:{}", place.file(), place.line(), place.column());
    assert!(error.to_string().contains(&named), "{error}");
    place.line()
}

#[test]
fn nested_with_world_is_an_error() {
    block_on(async {
        let ctx = WorldCtx::current();
        let line = line!() + 1;
        ctx.with_world(|world| {
            let error = ctx.try_with_world(|_| ()).unwrap_err();
            assert_eq!(refused_by(error), line);
            let nested = panic_message(|| ctx.with_world(|_| ()));
            assert_eq!(nested, error.to_string(), "the panic has the words of the error");
            let nested = panic_message(|| ctx.with_world_ref(|_| ()));
            assert_eq!(nested, error.to_string());
            let other = WorldCtx::current();
            assert_eq!(refused_by(other.try_with_world(|_| ()).unwrap_err()), line);
            world.insert_resource(Count(1));
        });
        let line = line!() + 1;
        ctx.with_world_ref(|world| {
            assert_eq!(world.resource::<Count>().0, 1);
            assert_eq!(refused_by(ctx.try_with_world(|_| ()).unwrap_err()), line);
            let nested = panic_message(|| ctx.with_world_ref(|_| ()));
            assert!(nested.contains("already in use"), "{nested}");
        });
        assert_eq!(ctx.try_with_world(|world| world.resource::<Count>().0), Ok(1));
    });
}

#[test]
fn nested_with_world_leaves_the_way_free_after_unwinding() {
    block_on(async {
        let ctx = WorldCtx::current();
        for _ in 0..3 {
            let message = panic_message(|| ctx.with_world(|_| panic!("out of the closure")));
            assert_eq!(message, "out of the closure");
            // The refusal itself unwinds through the outer closure, from the innermost place.
            let line = line!() + 2;
            let message = panic_message(|| {
                ctx.with_world(|_| ctx.with_world(|_| unreachable!("the World is in use")));
            });
            assert!(message.contains(&format!("{}:{line}:", file!())), "{message}");
            assert_eq!(ctx.try_with_world(|_| 1), Ok(1));
        }
    });
}

#[test]
fn nested_with_world_names_the_outermost_place_at_any_depth() {
    block_on(async {
        let ctx = WorldCtx::current();
        let line = line!() + 1;
        ctx.with_world(|_| {
            for _ in 0..3 {
                let caught = catch_unwind(AssertUnwindSafe(|| ctx.with_world(|_| ())));
                assert!(caught.is_err());
                assert_eq!(refused_by(ctx.try_with_world(|_| ()).unwrap_err()), line);
            }
        });
    });
}

#[derive(Event)]
struct Rang;

/// Reaches for the World when it is dropped, wherever that is.
#[derive(Component)]
struct Reaches;

impl Drop for Reaches {
    fn drop(&mut self) {
        let ctx = WorldCtx::current();
        log(if ctx.try_with_world(|_| ()).is_ok() { "reached" } else { "refused" });
    }
}

#[test]
fn nested_with_world_is_an_error_in_observers_and_destructors() {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(|world| {
            world.add_observer(|_: On<Rang>| drop(Reaches));
            world.trigger(Rang);
            let entity = world.spawn(Reaches).id();
            world.despawn(entity);
        });
        assert_eq!(logged(), ["refused", "refused"]);
        drop(Reaches);
        let task = spawn_boxed(async {
            let _reaches = Reaches;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(logged(), ["reached", "reached"]);
    });
}

#[test]
fn a_system_has_the_world_and_a_task_that_it_lets_go_is_refused() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Count>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut count: ResMut<Count>| {
        count.0 += 1;
        let ctx = WorldCtx::current();
        assert!(matches!(ctx.try_with_world(|_| ()), Err(WorldError::Taken(_))));
        // Polling a task's future by hand does not make it a task.
        let mut future = pin!(async { ctx.try_with_world(|_| ()).is_err() });
        assert!(futures::executor::block_on(future.as_mut()));
    });
    for tick in 1..=3 {
        rt.tick().unwrap();
        assert_eq!(rt.world().resource::<Count>().0, tick);
    }
}

#[test]
fn a_runtime_inside_an_access_has_its_own_world_and_not_the_outer_one() {
    block_on(async {
        let outer = WorldCtx::current();
        outer.with_world(|_| {
            let mut inner_world = World::new();
            let mut inner_rt = Runtime::new(&mut inner_world);
            inner_rt.block_on(async {
                let inner = WorldCtx::current();
                assert_ne!(inner, outer);
                inner.with_world(|world| {
                    world.insert_resource(Count(7));
                    assert_eq!(outer.try_with_world(|_| ()), Err(WorldError::OtherWorld));
                });
                assert_eq!(outer.try_with_world(|_| ()), Err(WorldError::OtherWorld));
            });
            let message = panic_message(|| inner_rt.block_on(async { panic!("inside") }));
            assert_eq!(message, "inside");
            assert!(matches!(outer.try_with_world(|_| ()), Err(WorldError::Taken(_))));
            assert_eq!(inner_rt.world().resource::<Count>().0, 7);
        });
        assert_eq!(outer.try_with_world(|world| world.contains_resource::<Count>()), Ok(false));
    });
}

#[test]
fn the_world_is_out_of_reach_between_turns() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let made = WorldCtx::new(&mut world);
    let mut rt = Runtime::new(&mut world);
    assert_eq!(made.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    assert!(panic_message(|| _ = WorldCtx::current()).contains("none runs on this thread"));
    let ctx = rt.block_on(async { WorldCtx::current() });
    assert_eq!(ctx, made);
    let failed = panic_message(|| {
        rt.block_on(async { ctx.with_world(|_| panic!("half an update")) });
    });
    assert_eq!(failed, "half an update");
    assert_eq!(ctx.try_with_world(|_| ()), Err(WorldError::OutsideTurn));
    rt.world_mut().insert_resource(Count(3));
    assert_eq!(rt.block_on(async { ctx.with_world(|world| world.resource::<Count>().0) }), 3);
}

#[test]
fn no_access_is_held_across_an_await() {
    // Two tasks use the World in turn, each in the middle of its own work.
    block_on(async {
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        let tasks = [0, 1].map(|task| {
            let order = order.clone();
            spawn_boxed(async move {
                let ctx = WorldCtx::current();
                for step in 0..10 {
                    ctx.with_world(|_| order.borrow_mut().push(2 * step + task));
                    assert!(poll_once(yield_now()).await.is_pending());
                    yield_now().await;
                }
            })
        });
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
    });
}
