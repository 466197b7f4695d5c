//! Pollers: when they are called, what their work begins, and how they end.

mod common;

use std::{cell::Cell, rc::Rc, sync::mpsc, time::Duration};

use bevy_ecs::prelude::*;
use common::{Bell, Drops, LIMIT_SECONDS, log, logged, panic_message, until_parked, watchdog};
use onbeat::{
    ClockMode, Idle, Pacing, Polled, Runtime, RuntimeBuilder, Tick, TickTime, WorldCtx, event_time,
    precise_now, sleep, spawn_boxed,
};

const MS: Duration = Duration::from_millis(1);

fn runtime(world: &mut World) -> RuntimeBuilder<'_> {
    Runtime::builder(world).clock(ClockMode::Virtual)
}

async fn sleep_in(duration: Duration) {
    sleep(duration).await;
}

#[test]
fn every_turn_calls_each_poller_once_in_order() {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .poller(|| {
            log("first");
            0
        })
        .poller(|| {
            log("second");
            Polled::from(7)
        })
        .build();
    rt.schedule(Tick).add_systems(|| log("stage"));
    rt.tick().unwrap();
    rt.tick().unwrap();
    assert_eq!(logged(), ["first", "second", "stage", "first", "second", "stage"]);
}

#[test]
fn what_a_poller_wakes_and_writes_is_there_in_the_same_tick() {
    #[derive(Resource)]
    struct Price(u32);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.insert_resource(Price(0));
    let bell = Bell::default();
    let ringer = bell.clone();
    let mut rt = Runtime::builder(&mut world)
        .poller(move || {
            WorldCtx::current().with_world(|world| world.resource_mut::<Price>().0 += 1);
            ringer.ring();
            drop(spawn_boxed(async { log("spawned") }));
            1
        })
        .build();
    rt.schedule(Tick).add_systems(|price: Res<Price>| log(price.0.to_string()));
    rt.block_on(async {
        drop(spawn_boxed(async move {
            bell.rung().await;
            log("rung");
        }));
    });
    logged();
    rt.tick().unwrap();
    assert_eq!(logged(), ["rung", "spawned", "2"]);
}

#[test]
fn a_poller_keeps_a_loop_from_parking_and_its_work_begins_a_tick() {
    let _guard = watchdog(LIMIT_SECONDS);
    for idle in [Idle::Park, Idle::ParkThenSpin, Idle::Spin, Idle::Yield] {
        let (sender, receiver) = mpsc::channel::<u32>();
        let (bell, mut world) = (Bell::default(), World::new());
        let ringer = bell.clone();
        let mut rt = Runtime::builder(&mut world)
            .idle(idle)
            .poller(move || receiver.try_iter().inspect(|_| ringer.ring()).count())
            .build();
        rt.block_on(async {
            for number in 0..10 {
                let (rung, sender) = (bell.rung(), sender.clone());
                let thread = std::thread::spawn(move || sender.send(number).unwrap());
                rung.await;
                thread.join().unwrap();
            }
        });
        let stats = rt.stats();
        assert_eq!(stats.parks, 0, "{idle:?}");
        assert!(stats.ticks <= 21, "{idle:?}: a call that did nothing begins no tick: {stats:?}");
    }
}

#[test]
fn a_loop_whose_pollers_all_allow_it_parks() {
    fn parks<F: Future>(may_park: [bool; 2], future: impl FnOnce() -> F) -> u64 {
        let mut world = World::new();
        let [first, second] = may_park.map(|may_park| Polled { did: 0, may_park });
        let builder = Runtime::builder(&mut world).poller(move || first);
        let mut rt = builder.poller(move || second).build();
        rt.block_on(async { future().await });
        rt.stats().parks
    }
    let _guard = watchdog(LIMIT_SECONDS);
    for may_park in [[false, false], [false, true], [true, false]] {
        assert_eq!(parks(may_park, || sleep(2 * MS)), 0, "{may_park:?}");
    }
    assert_eq!(parks([true, true], until_parked), 1);
}

#[test]
fn the_work_of_a_poller_is_done_between_the_ticks_of_a_fixed_rate() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut calls = 0;
    let mut rt = runtime(&mut world)
        .pacing(Pacing::every(10 * MS))
        .poller(move || {
            calls += 1;
            let number =
                WorldCtx::current().with_world_ref(|world| world.resource::<TickTime>().number());
            log(number.to_string());
            usize::from(calls < 6)
        })
        .build();
    rt.block_on(sleep_in(15 * MS));
    // In the tick; then before and in each of two turns; then before the beat, in its tick, and so on.
    assert_eq!(logged(), ["1", "1", "1", "1", "1", "1", "2", "2", "2"]);
    assert_eq!((rt.stats().ticks, rt.stats().turns_between), (2, 3));
}

#[test]
fn virtual_time_stands_still_while_a_poller_has_work() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let mut world = World::new();
        let mut left = 100;
        let mut rt = runtime(&mut world)
            .poller(move || {
                assert_eq!(event_time(), precise_now());
                left = usize::saturating_sub(left, 1);
                if left > 0 {
                    log("work");
                }
                left
            })
            .build();
        let sleeper = async {
            sleep(MS).await;
            log("slept");
        };
        if busy {
            rt.block_on_busy(sleeper);
        } else {
            rt.block_on(sleeper);
        }
        let logged = logged();
        assert_eq!(logged.iter().position(|line| line == "slept"), Some(99), "{logged:?}");
    }
}

#[test]
fn a_poller_that_wants_no_park_may_still_act_where_all_else_is_stuck() {
    let _guard = watchdog(LIMIT_SECONDS);
    for busy in [false, true] {
        let (bell, mut world) = (Bell::default(), World::new());
        let ringer = bell.clone();
        let mut calls = 0;
        let mut rt = runtime(&mut world)
            .poller(move || {
                calls += 1;
                if calls == 50 {
                    ringer.ring();
                }
                0
            })
            .build();
        if busy {
            rt.block_on_busy(bell.rung());
        } else {
            rt.block_on(bell.rung());
        }
    }
    let mut world = World::new();
    let mut rt = runtime(&mut world).poller(|| Polled::from(0).may_park()).build();
    let message = panic_message(|| rt.block_on(std::future::pending::<()>()));
    assert!(message.contains("nothing can ever happen again"), "{message}");
}

#[test]
fn a_panic_of_a_poller_leaves_block_on_and_the_runtime_goes_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    for panicking_call in [1, 2, 3] {
        let mut world = World::new();
        let mut calls = 0;
        let mut rt = runtime(&mut world)
            .poller(move || {
                calls += 1;
                WorldCtx::current().with_world(|_| assert!(calls != panicking_call, "cheese"));
                0
            })
            .build();
        rt.schedule(Tick).add_systems(|| ());
        let message = panic_message(|| rt.block_on(sleep_in(MS)));
        assert!(message.contains("cheese"), "{message}");
        assert_eq!(rt.task_count(), 0);
        rt.block_on(async {
            spawn_boxed(sleep_in(MS)).await;
            WorldCtx::current().with_world(|_| ());
        });
    }
}

/// Runs a loop that sleeps but for a poller, which does `act` when the thread is about to wait. What the panic
/// says with which it ends.
fn ends_by(clock: ClockMode, mut act: impl FnMut() + 'static) -> String {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut calls = 0;
    let mut rt = Runtime::builder(&mut world)
        .clock(clock)
        .poller(move || {
            calls += 1;
            if calls == 2 {
                act();
            }
            Polled::from(0).may_park()
        })
        .build();
    panic_message(|| rt.block_on(sleep_in(3_600_000 * MS)))
}

#[test]
fn a_command_of_a_poller_that_panics_leaves_a_loop_that_would_sleep() {
    for clock in [ClockMode::Real, ClockMode::Virtual] {
        let message = ends_by(clock, || {
            WorldCtx::current()
                .with_world(|world| world.commands().queue(|_: &mut World| panic!("cheese")));
        });
        assert!(message.contains("cheese"), "{message}");
    }
}

#[test]
fn a_world_that_a_poller_replaces_ends_a_loop_that_would_sleep() {
    for clock in [ClockMode::Real, ClockMode::Virtual] {
        let message = ends_by(clock, || {
            WorldCtx::current().with_world(|world| *world = World::new());
        });
        assert!(message.contains("put another World in the place"), "{message}");
    }
}

#[test]
fn no_poller_is_called_in_a_turn_whose_panic_is_to_leave() {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world)
        .poller(|| {
            log("poller");
            0
        })
        .build();
    drop(rt.handle().run_with_world(|_| panic!("cheese")));
    assert!(panic_message(|| rt.tick().unwrap()).contains("cheese"));
    assert!(logged().is_empty());
    rt.tick().unwrap();
    assert_eq!(logged(), ["poller"]);
}

#[test]
fn who_awaited_the_tick_in_which_a_poller_panics_resumes_in_the_next_one() {
    let mut world = World::new();
    let (mut calls, mut kept) = (0, Vec::new());
    let mut rt = Runtime::builder(&mut world)
        .poller(move || {
            calls += 1;
            if calls == 2 {
                kept.push(WorldCtx::current().next_tick());
                assert!(kept.is_empty(), "cheese");
            }
            0
        })
        .build();
    rt.block_on(async { drop(spawn_boxed(WorldCtx::current().next_tick())) });
    assert!(panic_message(|| rt.tick().unwrap()).contains("cheese"));
    assert_eq!(rt.task_count(), 1);
    rt.tick().unwrap();
    assert_eq!(rt.task_count(), 0);
}

#[test]
fn a_poller_is_dropped_with_the_runtime_where_the_world_may_be_used() {
    struct UsesWorld(Drops);
    impl Drop for UsesWorld {
        fn drop(&mut self) {
            assert!(WorldCtx::current().try_with_world(|_| ()).is_ok());
        }
    }

    let (count, mut world) = (Rc::new(Cell::new(0)), World::new());
    for built in [true, false] {
        let drops = Drops::counted_by(&count);
        let uses = built.then(|| UsesWorld(Drops::counted_by(&count)));
        let builder = Runtime::builder(&mut world).poller(move || {
            let _held = (&drops, uses.as_ref().map(|uses| &uses.0));
            0
        });
        if built {
            drop(builder.build());
        } else {
            drop(builder);
        }
    }
    assert_eq!(count.get(), 3);
}
