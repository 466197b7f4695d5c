//! `budget`: free to await until it is spent, then the next tick.

mod common;

use std::{cell::Cell, rc::Rc, time::Duration};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, block_on, panic_message, poll_once, tick_number, watchdog};
use onbeat::{
    ClockMode, Runtime, Tick, WorldCtx, budget, precise_now, race, sleep, spawn, yield_now,
};

fn virtual_block_on<F: Future>(future: F) -> F::Output {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(future)
}

#[test]
fn a_budget_that_is_not_spent_is_ready_at_once() {
    block_on(async {
        let mut budget = budget(Duration::from_secs(3_600));
        let tick = tick_number();
        for _ in 0..10_000 {
            assert!(poll_once(budget.checkpoint()).await.is_ready());
        }
        assert_eq!(tick_number(), tick);
    });
}

#[test]
fn a_budget_of_zero_waits_for_the_next_tick_each_time() {
    for run in [block_on::<_>, virtual_block_on::<_>] {
        run(Box::pin(async {
            let mut budget = budget(Duration::ZERO);
            let first = tick_number();
            for ticks in 1..5 {
                budget.checkpoint().await;
                assert_eq!(tick_number(), first + ticks);
            }
        }));
    }
}

#[test]
fn work_that_takes_longer_than_the_budget_goes_on_in_the_next_tick() {
    block_on(async {
        let limit = Duration::from_micros(200);
        let mut budget = budget(limit);
        let first = tick_number();
        for ticks in 1..4 {
            let start = precise_now();
            while precise_now() - start < limit {
                std::hint::spin_loop();
            }
            assert!(poll_once(budget.checkpoint()).await.is_pending());
            budget.checkpoint().await;
            assert_eq!(tick_number(), first + ticks);
        }
    });
}

#[test]
fn systems_run_between_the_parts_of_a_long_work() {
    #[derive(Resource, Default)]
    struct Ran(u64);
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Ran>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut ran: ResMut<Ran>| ran.0 += 1);
    rt.block_on(async {
        let mut budget = budget(Duration::ZERO);
        for part in 0..4 {
            let ran = WorldCtx::current().with_world_ref(|world| world.resource::<Ran>().0);
            assert_eq!(ran, part);
            budget.checkpoint().await;
        }
    });
}

#[test]
fn under_the_virtual_clock_a_checkpoint_counts_as_a_microsecond() {
    virtual_block_on(async {
        let mut budget = budget(Duration::from_micros(3));
        let first = tick_number();
        let mut ticks = Vec::new();
        for _ in 0..8 {
            budget.checkpoint().await;
            ticks.push(tick_number() - first);
        }
        assert_eq!(ticks, [0, 0, 0, 1, 1, 1, 1, 2]);
    });
}

#[test]
fn a_budget_that_waits_elsewhere_is_whole_again_in_a_later_tick() {
    virtual_block_on(async {
        let mut budget = budget(Duration::from_micros(2));
        for _ in 0..5 {
            for _ in 0..2 {
                assert!(poll_once(budget.checkpoint()).await.is_ready());
            }
            assert!(poll_once(budget.checkpoint()).await.is_pending(), "spent");
            WorldCtx::current().next_tick().await;
        }
    });
}

#[test]
fn a_checkpoint_that_is_dropped_leaves_the_budget_spent_for_its_tick() {
    virtual_block_on(async {
        let mut budget = budget(Duration::ZERO);
        let first = tick_number();
        for _ in 0..3 {
            assert!(poll_once(budget.checkpoint()).await.is_pending());
        }
        assert_eq!(tick_number(), first);
        budget.checkpoint().await;
        assert_eq!(tick_number(), first + 1);
    });
}

#[test]
fn a_spent_budget_lets_the_others_work() {
    virtual_block_on(async {
        let other = Rc::new(Cell::new(0));
        let count = other.clone();
        let task = spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        let mut budget = budget(Duration::ZERO);
        for _ in 0..3 {
            let before = other.get();
            budget.checkpoint().await;
            assert!(other.get() > before);
        }
        task.abort();
    });
}

#[test]
fn a_checkpoint_stands_in_a_race() {
    virtual_block_on(async {
        let mut budget = budget(Duration::ZERO);
        let tick = tick_number();
        let slow = async {
            sleep(Duration::from_secs(1)).await;
            "slow"
        };
        let spent = async {
            budget.checkpoint().await;
            "next tick"
        };
        assert_eq!(race((slow, spent)).await, "next tick");
        assert_eq!(tick_number(), tick + 1);
    });
}

#[test]
fn a_budget_of_another_runtime_begins_anew() {
    let mut kept = virtual_block_on(async {
        let mut budget = budget(Duration::from_micros(1));
        budget.checkpoint().await;
        assert!(poll_once(budget.checkpoint()).await.is_pending());
        budget
    });
    virtual_block_on(async move {
        assert!(poll_once(kept.checkpoint()).await.is_ready());
        let tick = tick_number();
        kept.checkpoint().await;
        assert_eq!(tick_number(), tick + 1);
    });
}

#[test]
fn a_checkpoint_that_has_completed_stays_so() {
    block_on(async {
        let mut budget = budget(Duration::ZERO);
        let mut checkpoint = budget.checkpoint();
        (&mut checkpoint).await;
        assert!(poll_once(&mut checkpoint).await.is_ready());
    });
}

#[test]
fn a_budget_needs_a_runtime() {
    let message = panic_message(|| {
        let _ = budget(Duration::ZERO);
    });
    assert!(message.starts_with("budget() needs a running onbeat runtime"), "{message}");
}
