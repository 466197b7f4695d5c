//! System parameters in tasks: whose state it is, how long it is kept, and what it remembers.

mod common;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bevy_ecs::{message::MessageRegistry, prelude::*};
use common::{LIMIT_SECONDS, block_on, log, logged, panic_message, watchdog};
use onbeat::{AccessError, Params, Runtime, WorldCtx, WorldError, spawn_boxed, yield_now};

#[derive(Resource, Default, Debug, PartialEq)]
struct Score(u32);

#[derive(Resource)]
struct Absent;

#[derive(Component, Default, Debug, PartialEq)]
struct Quantity(u32);

#[derive(Message, Clone)]
struct Fill(u32);

/// A `Local` whose drops are counted in the World that made it, and that asks for the World as it goes.
struct Kept(Arc<AtomicUsize>);

#[derive(Resource, Default, Clone)]
struct KeptDropped(Arc<AtomicUsize>);

impl FromWorld for Kept {
    fn from_world(world: &mut World) -> Self {
        Self(world.get_resource_or_init::<KeptDropped>().0.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        if let Ok(ctx) = WorldCtx::try_current() {
            let may = ctx.try_with_world(|_| ()).map_err(|error| error.to_string());
            log(format!("{may:?}"));
        }
    }
}

const MAY_USE: &str = "Ok(())";

/// Makes the running task keep a state with one `Kept`.
fn keep_one() {
    WorldCtx::current().run(|_: Local<Kept>| ()).expect("the World is lent");
}

fn count_runs() -> u32 {
    WorldCtx::current()
        .run(|mut runs: Local<u32>| {
            *runs += 1;
            *runs
        })
        .expect("the World is lent")
}

fn changed() -> usize {
    WorldCtx::current()
        .run(|query: Query<&Quantity, Changed<Quantity>>| query.iter().count())
        .expect("the World is lent")
}

#[test]
fn run_takes_up_to_twelve_parameters_and_borrows_from_the_task() {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(World::init_resource::<Score>);
        let mut sum = 0;
        let name = String::from("borrowed");
        let out = ctx.run(
            |mut score: ResMut<Score>,
             mut commands: Commands,
             quantities: Query<&Quantity>,
             _: Local<u8>,
             _: Local<u16>,
             _: Local<u32>,
             _: Local<u64>,
             _: Local<i8>,
             _: Local<i16>,
             _: Local<i32>,
             _: Local<i64>,
             _: Option<Res<Absent>>| {
                score.0 += 1;
                sum += quantities.iter().count();
                commands.spawn(Quantity(1));
                name.as_str()
            },
        );
        assert_eq!(out, Ok("borrowed"));
        ctx.run(|quantities: Query<&Quantity>| sum += quantities.iter().count()).unwrap();
        assert_eq!(sum, 1);
        fn a_function(score: Res<Score>) -> u32 {
            score.0
        }
        assert_eq!(ctx.run(a_function), Ok(1));
        assert_eq!(ctx.run(|| 7), Ok(7));
    });
}

#[test]
fn a_missing_resource_names_the_parameters() {
    block_on(async {
        let ctx = WorldCtx::current();
        let refused = ctx.run(|_: Res<Absent>| ()).unwrap_err();
        assert!(matches!(refused, AccessError::ParamsInvalid { .. }), "{refused:?}");
        assert!(refused.to_string().contains("Absent"), "{refused}");
        let mut params = ctx.params::<(Res<Absent>, Commands)>();
        let refused = params.with(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("Absent"), "{refused}");
        // The same state works as soon as the resource is there.
        ctx.with_world(|world| world.insert_resource(Absent));
        assert_eq!(ctx.run(|_: Res<Absent>| ()), Ok(()));
        assert_eq!(params.with(|_| ()), Ok(()));
    });
}

#[test]
fn parameters_that_conflict_panic_as_in_a_system() {
    let message = panic_message(|| {
        block_on(async {
            WorldCtx::current().run(|_: Query<&mut Quantity>, _: Query<&Quantity>| ()).unwrap();
        });
    });
    assert!(message.contains("B0001"), "{message}");
}

#[test]
fn run_keeps_a_local_for_each_task() {
    block_on(async {
        assert_eq!((count_runs(), count_runs()), (1, 2));
        let task = spawn_boxed(async {
            assert_eq!(count_runs(), 1);
            yield_now().await;
            assert_eq!(count_runs(), 2);
        });
        task.await;
        assert_eq!(count_runs(), 3);
    });
}

#[test]
fn run_sees_each_change_once_in_each_task() {
    block_on(async {
        let ctx = WorldCtx::current();
        let entity = ctx.commands(|commands| commands.spawn(Quantity(0)).id()).unwrap();
        let write = move || ctx.entity(entity).get_mut(|mut q: Mut<Quantity>| q.0 += 1).unwrap();
        let task = spawn_boxed(async move {
            assert_eq!((changed(), changed()), (1, 0));
            write();
            assert_eq!((changed(), changed()), (1, 0));
            yield_now().await;
            assert_eq!((changed(), changed()), (1, 0), "the write of the other task");
        });
        yield_now().await;
        assert_eq!((changed(), changed()), (1, 0));
        write();
        assert_eq!((changed(), changed()), (1, 0));
        task.await;
        assert_eq!(changed(), 0);
    });
}

#[test]
fn parameters_see_a_write_of_their_own_task_in_the_same_poll() {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(World::init_resource::<Score>);
        let mut score = ctx.params::<Res<Score>>();
        assert_eq!(score.with(|score| score.is_changed()), Ok(true));
        for _ in 0..3 {
            assert_eq!(score.with(|score| score.is_changed()), Ok(false));
            ctx.res_mut(|mut score: Mut<Score>| score.0 += 1).unwrap();
            assert_eq!(score.with(|score| score.is_changed()), Ok(true));
        }
    });
}

#[test]
fn the_next_root_future_begins_anew() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    for _ in 0..2 {
        assert_eq!(rt.block_on(async { (count_runs(), count_runs()) }), (1, 2));
    }
}

#[test]
fn a_reader_of_messages_reads_each_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    MessageRegistry::register_message::<Fill>(&mut world);
    Runtime::new(&mut world).block_on(async {
        let ctx = WorldCtx::current();
        let read = || {
            ctx.run(|mut fills: MessageReader<Fill>| fills.read().map(|fill| fill.0).sum::<u32>())
        };
        ctx.write_message(Fill(3)).unwrap();
        assert_eq!((read(), read()), (Ok(3), Ok(0)));
        ctx.run(|mut fills: MessageWriter<Fill>| fills.write(Fill(4)).id).unwrap();
        assert_eq!((read(), read()), (Ok(4), Ok(0)));
    });
}

#[test]
fn the_state_goes_when_its_task_has_completed() {
    block_on(async {
        let dropped = WorldCtx::current()
            .with_world(|world| world.get_resource_or_init::<KeptDropped>().0.clone());
        let task = spawn_boxed(async {
            keep_one();
            yield_now().await;
            keep_one();
        });
        yield_now().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        task.await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(logged(), [MAY_USE]);
    });
}

#[test]
fn the_state_goes_when_its_task_is_aborted_or_panics() {
    block_on(async {
        let dropped = WorldCtx::current()
            .with_world(|world| world.get_resource_or_init::<KeptDropped>().0.clone());
        let task = spawn_boxed(async {
            keep_one();
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        let task = spawn_boxed(async {
            keep_one();
            std::panic::resume_unwind(Box::new("out"));
        });
        let ended: Result<(), _> = task.join().await;
        assert!(ended.is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert_eq!(logged(), [MAY_USE; 2]);
    });
}

#[test]
fn the_state_goes_with_the_runtime_and_with_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let dropped = world.get_resource_or_init::<KeptDropped>().0.clone();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        keep_one();
        drop(spawn_boxed(async {
            keep_one();
            std::future::pending::<()>().await;
        }));
        yield_now().await;
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "that of the root");
    drop(rt);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert_eq!(logged(), [MAY_USE; 2]);
}

#[test]
fn the_state_of_a_root_goes_when_a_panic_of_another_task_ends_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let dropped = world.get_resource_or_init::<KeptDropped>().0.clone();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            keep_one();
            drop(spawn_boxed(async { WorldCtx::current().with_world(|_| panic!("torn")) }));
            std::future::pending::<()>().await;
        });
    });
    assert_eq!(message, "torn");
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(logged(), [MAY_USE]);
}

#[test]
fn a_slot_that_is_used_again_begins_anew() {
    block_on(async {
        for _ in 0..1_000 {
            spawn_boxed(async { assert_eq!(count_runs(), 1) }).await;
        }
    });
}

#[test]
fn where_no_task_is_polled_the_state_is_for_one_call() {
    struct RunsInDrop(Rc<Cell<u32>>);
    impl Drop for RunsInDrop {
        fn drop(&mut self) {
            self.0.set(count_runs() * 10 + count_runs());
            keep_one();
        }
    }
    block_on(async {
        let seen = Rc::new(Cell::new(0));
        let runs = RunsInDrop(seen.clone());
        let task = spawn_boxed(async move {
            let _runs = runs;
            assert_eq!(count_runs(), 1);
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(seen.get(), 11);
        assert_eq!(logged(), [MAY_USE], "the state was dropped after the access");
    });
}

#[test]
fn a_destructor_that_panics_in_a_state_is_survived() {
    #[derive(Default)]
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a Local that panics in its drop");
        }
    }
    block_on(async {
        let task = spawn_boxed(async { WorldCtx::current().run(|_: Local<Bomb>| ()).unwrap() });
        task.await;
        assert_eq!(count_runs(), 1);
    });
}

#[test]
fn after_a_panic_the_state_begins_anew_and_its_commands_are_lost() {
    block_on(async {
        let ctx = WorldCtx::current();
        ctx.with_world(World::init_resource::<Score>);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            ctx.run(|_: Local<Kept>, mut runs: Local<u32>, mut commands: Commands| {
                *runs += 1;
                commands.queue(|world: &mut World| world.resource_mut::<Score>().0 += 100);
                panic!("half way");
            })
        }));
        assert!(caught.is_err());
        let runs = ctx.run(|_: Local<Kept>, mut runs: Local<u32>, _: Commands| {
            *runs += 1;
            *runs
        });
        assert_eq!(runs, Ok(1));
        assert_eq!(ctx.res(|score: &Score| score.0), Ok(0));
        let mut params = ctx.params::<(Local<u32>, Commands)>();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            params.with(|(mut runs, mut commands)| {
                *runs += 1;
                commands.queue(|world: &mut World| world.resource_mut::<Score>().0 += 100);
                panic!("half way");
            })
        }));
        assert!(caught.is_err());
        assert_eq!(params.with(|(runs, _)| *runs), Ok(0));
        assert_eq!(ctx.res(|score: &Score| score.0), Ok(0));
        yield_now().await;
        assert_eq!(logged(), [MAY_USE], "of the first state");
    });
}

#[test]
fn parameters_keep_their_locals_and_borrow_those_of_the_task() {
    block_on(async {
        let mut params = WorldCtx::current().params::<(Local<u32>, Commands)>();
        let mut seen = Vec::new();
        for _ in 0..3 {
            params
                .with(|(mut runs, mut commands)| {
                    *runs += 1;
                    seen.push(*runs);
                    commands.spawn(Quantity(*runs));
                })
                .unwrap();
            yield_now().await;
        }
        assert_eq!(seen, [1, 2, 3]);
        let ctx = WorldCtx::current();
        assert_eq!(ctx.run(|query: Query<&Quantity>| query.iter().count()), Ok(3));
    });
}

#[test]
fn a_deferred_world_and_an_exclusive_parameter_are_flushed_as_well() {
    block_on(async {
        let ctx = WorldCtx::current();
        let count = || ctx.run(|query: Query<&Quantity>| query.iter().count()).unwrap();
        let mut deferred = ctx.params::<bevy_ecs::world::DeferredWorld>();
        deferred
            .with(|mut world| {
                world.commands().spawn(Quantity(1));
            })
            .unwrap();
        assert_eq!(count(), 1);
        ctx.run(|world: &mut World| {
            world.commands().spawn(Quantity(1));
        })
        .unwrap();
        assert_eq!(count(), 2);
    });
}

#[test]
fn parameters_are_made_anew_in_another_world() {
    let _guard = watchdog(LIMIT_SECONDS);
    let params = Rc::new(Cell::new(None::<Params<(Local<u32>, ResMut<Score>)>>));
    for points in [1, 2] {
        let mut world = World::new();
        // The ids of components differ from one World to the other.
        if points == 2 {
            world.register_component::<Quantity>();
        }
        world.init_resource::<Score>();
        Runtime::new(&mut world).block_on(async {
            let mut own = params.take().unwrap_or_else(|| WorldCtx::current().params());
            for _ in 0..2 {
                own.with(|(mut runs, mut score)| {
                    *runs += 1;
                    score.0 += *runs * points;
                })
                .unwrap();
            }
            params.set(Some(own));
        });
        assert_eq!(world.resource::<Score>(), &Score(3 * points));
    }
}

#[test]
fn a_world_replaced_inside_is_an_error_from_there_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let message = panic_message(|| {
        rt.block_on(async {
            let ctx = WorldCtx::current();
            let mut params = ctx.params::<(Local<u32>, &mut World)>();
            params.with(|(_, world)| *world = World::new()).unwrap();
            let replaced = |error| matches!(error, AccessError::World(WorldError::Replaced(_)));
            log(params.with(|_| ()).is_err_and(replaced).to_string());
            log(ctx.run(|_: Local<u32>| ()).is_err_and(replaced).to_string());
        });
    });
    assert!(message.contains("world_params.rs"), "{message}");
    assert_eq!(logged(), ["true"; 2]);
}

#[test]
fn a_world_replaced_while_a_state_is_made_is_an_error() {
    struct Swaps;
    impl FromWorld for Swaps {
        fn from_world(world: &mut World) -> Self {
            *world = World::new();
            Self
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    for params in [false, true] {
        let mut world = World::new();
        world.init_resource::<Score>();
        let mut rt = Runtime::new(&mut world);
        let message = panic_message(|| {
            rt.block_on(async {
                let ctx = WorldCtx::current();
                let refused = if params {
                    ctx.params::<(ResMut<Score>, Local<Swaps>)>().with(|_| ())
                } else {
                    ctx.run(|_: ResMut<Score>, _: Local<Swaps>| ())
                };
                log(matches!(refused, Err(AccessError::World(_))).to_string());
            });
        });
        assert!(message.contains("world_params.rs"), "{message}");
        assert_eq!(logged(), ["true"]);
    }
}

#[test]
fn a_nested_runtime_keeps_its_own_states() {
    block_on(async {
        let ctx = WorldCtx::current();
        assert_eq!(count_runs(), 1);
        ctx.with_world(|world| {
            Runtime::new(world)
                .block_on(async { assert_eq!((count_runs(), count_runs()), (1, 2)) });
        });
        assert_eq!(count_runs(), 2);
        let mut params = ctx.params::<Local<u32>>();
        params.with(|mut runs| *runs += 1).unwrap();
        let mut other = World::new();
        Runtime::new(&mut other).block_on(async {
            assert_eq!(count_runs(), 1);
            // Another World is the current one: these begin anew.
            assert_eq!(params.with(|runs| *runs), Ok(0));
        });
        assert_eq!(count_runs(), 3);
    });
}

#[test]
fn forgotten_parameters_leave_the_task_as_it_was() {
    block_on(async {
        let ctx = WorldCtx::current();
        let mut params = ctx.params::<(Local<u32>, Commands)>();
        params
            .with(|(_, mut commands)| {
                commands.spawn(Quantity(1));
            })
            .unwrap();
        std::mem::forget(params);
        assert_eq!(ctx.run(|query: Query<&Quantity>| query.iter().count()), Ok(1));
    });
}
