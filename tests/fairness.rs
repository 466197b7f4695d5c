//! Nobody keeps the loop to himself: what a turn does of each kind has a limit.

mod common;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{ClockMode, Runtime, Tick, channel::local, sleep, spawn_boxed, yield_now};

#[derive(Resource, Default)]
struct Ticks(usize);

fn count(mut ticks: ResMut<Ticks>) {
    ticks.0 += 1;
}

#[test]
fn a_turn_fires_64_timers_and_the_next_turns_the_others_in_order() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let fired: Rc<RefCell<Vec<usize>>> = Rc::default();
    rt.block_on(async {
        for number in 0..150 {
            let fired = fired.clone();
            drop(spawn_boxed(async move {
                sleep(Duration::from_secs(1)).await;
                fired.borrow_mut().push(number);
            }));
        }
        yield_now().await;
    });
    for total in [64, 128, 150] {
        rt.tick().unwrap();
        assert_eq!(fired.borrow().len(), total);
    }
    assert!(fired.borrow().is_sorted());
}

#[test]
fn a_poll_budget_that_is_spent_leaves_a_poll_for_each_timer_that_fires() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(1).build();
    let slept = Rc::new(Cell::new(0));
    rt.block_on(async {
        for _ in 0..3 {
            drop(spawn_boxed(async {
                loop {
                    yield_now().await;
                }
            }));
            let slept = slept.clone();
            drop(spawn_boxed(async move {
                loop {
                    sleep(Duration::ZERO).await;
                    slept.set(slept.get() + 1);
                }
            }));
        }
    });
    let mut ticks = 0;
    while slept.get() < 30 {
        rt.tick().unwrap();
        ticks += 1;
        assert!(ticks < 500, "the sleepers starve behind the spinners");
    }
}

#[test]
fn a_channel_that_is_always_ready_does_not_hold_the_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Ticks>();
    let mut rt = Runtime::builder(&mut world).tasks_per_cycle(50).build();
    rt.schedule(Tick).add_systems(count);
    let (received, others) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0)));
    rt.block_on(async {
        let (sender, receiver) = local::channel(1);
        drop(spawn_boxed(async move { while sender.send(7).await.is_ok() {} }));
        let counted = received.clone();
        drop(spawn_boxed(async move {
            while receiver.recv().await.is_some() {
                counted.set(counted.get() + 1);
            }
        }));
        let others = others.clone();
        drop(spawn_boxed(async move {
            loop {
                sleep(Duration::ZERO).await;
                others.set(others.get() + 1);
            }
        }));
    });
    let before = (rt.world().resource::<Ticks>().0, received.get(), others.get());
    for _ in 0..100 {
        rt.tick().unwrap();
    }
    assert_eq!(rt.world().resource::<Ticks>().0 - before.0, 100);
    assert!(received.get() - before.1 >= 100, "{} messages", received.get() - before.1);
    assert!(others.get() - before.2 >= 45, "{} sleeps", others.get() - before.2);
}

#[test]
fn foreign_wakes_in_every_poll_do_not_hold_the_turn() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Ticks>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(count);
    let polls = Rc::new(Cell::new(0));
    rt.block_on(async {
        let polls = polls.clone();
        drop(spawn_boxed(std::future::poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            let waker = cx.waker().clone();
            // The wake is there before the poll is over.
            std::thread::spawn(move || waker.wake()).join().unwrap();
            Poll::<()>::Pending
        })));
    });
    let before = (rt.world().resource::<Ticks>().0, polls.get());
    for _ in 0..50 {
        rt.tick().unwrap();
    }
    let after = (rt.world().resource::<Ticks>().0, polls.get());
    assert_eq!((after.0 - before.0, after.1 - before.1), (50, 50), "one poll a turn");
}
