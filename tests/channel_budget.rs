//! Loops over channels that are always ready do not hold the turn.

mod common;

use std::{cell::Cell, rc::Rc};

use bevy_ecs::world::World;
use common::block_on;
use futures::{StreamExt, future::join};
use onbeat::{
    Runtime, WorldCtx,
    channel::{local, mpsc, mpsc_bytes, spsc, spsc_bytes},
    spawn_boxed,
};

/// Spawns what `make` makes, which works for ever unless it lets others run, and ticks on beside it.
fn ticks_go_on<F: Future<Output = ()> + 'static>(make: impl FnOnce(Rc<Cell<u64>>) -> F) {
    let done = Rc::new(Cell::new(0));
    let work = make(done.clone());
    block_on(async {
        let task = spawn_boxed(work);
        for _ in 0..5 {
            let before = done.get();
            WorldCtx::current().next_tick().await;
            WorldCtx::current().next_tick().await;
            assert!(done.get() > before, "it goes on");
            assert!(done.get() - before < 1_000, "and stops in between: {}", done.get() - before);
        }
        task.abort();
    });
}

macro_rules! a_task_that_sends_to_itself {
    ($($name:ident, $module:ident;)*) => {$(
        #[test]
        fn $name() {
            ticks_go_on(|done| async move {
                #[allow(unused_mut, reason = "some channels are used through `&`")]
                let (mut sender, mut receiver) = $module::channel(4);
                loop {
                    sender.send(1).await.unwrap();
                    receiver.recv().await.unwrap();
                    done.set(done.get() + 1);
                }
            });
        }
    )*};
}

a_task_that_sends_to_itself! {
    a_local_loop_does_not_hold_the_turn, local;
    an_mpsc_loop_does_not_hold_the_turn, mpsc;
    an_spsc_loop_does_not_hold_the_turn, spsc;
}

macro_rules! a_task_that_sends_bytes_to_itself {
    ($($name:ident, $module:ident;)*) => {$(
        #[test]
        fn $name() {
            ticks_go_on(|done| async move {
                let (mut sender, mut receiver) = $module::channel(64);
                loop {
                    sender.claim(3).await.unwrap().commit();
                    sender.send(b"abc").await.unwrap();
                    drop(receiver.recv().await);
                    drop(receiver.recv().await);
                    done.set(done.get() + 1);
                }
            });
        }
    )*};
}

a_task_that_sends_bytes_to_itself! {
    a_loop_over_spsc_bytes_does_not_hold_the_turn, spsc_bytes;
    a_loop_over_mpsc_bytes_does_not_hold_the_turn, mpsc_bytes;
}

#[test]
fn a_stream_does_not_hold_the_turn() {
    ticks_go_on(|done| async move {
        let (sender, mut receiver) = mpsc::channel(4);
        loop {
            sender.try_send(1).unwrap();
            receiver.next().await.unwrap();
            done.set(done.get() + 1);
        }
    });
}

#[test]
fn two_loops_in_one_task_both_go_on() {
    let other = Rc::new(Cell::new(0_u64));
    let seen = other.clone();
    ticks_go_on(|done| async move {
        let turn = async |done: Rc<Cell<u64>>| {
            let (sender, receiver) = local::channel(4);
            loop {
                sender.send(1).await.unwrap();
                receiver.recv().await.unwrap();
                done.set(done.get() + 1);
            }
        };
        join(turn(done), turn(other)).await;
    });
    assert!(seen.get() > 1, "{}", seen.get());
}

#[test]
fn an_executor_inside_of_a_task_comes_to_its_end() {
    block_on(async {
        let (sender, receiver) = local::channel(4);
        futures::executor::block_on(async {
            for value in 0..10_000 {
                sender.send(value).await.unwrap();
                assert_eq!(receiver.recv().await, Some(value));
            }
        });
    });
}

#[test]
fn nothing_is_counted_outside_of_a_runtime() {
    let (sender, receiver) = local::channel(4);
    let count = common::Count::new();
    for value in 0..1_000 {
        assert!(count.poll(&mut sender.send(value)).is_ready());
        assert!(count.poll(&mut receiver.recv()).is_ready());
    }
    assert_eq!(count.wakes(), 0);
}

#[test]
fn what_one_runtime_has_spent_is_not_missing_in_the_next() {
    let polls = || {
        let mut world = World::new();
        let mut rt = Runtime::new(&mut world);
        rt.block_on(async {
            let (sender, receiver) = local::channel(1);
            for number in 0..64 {
                sender.send(number).await.unwrap();
                assert_eq!(receiver.recv().await, Some(number));
            }
        });
        rt.stats().polls
    };
    assert_eq!([polls(), polls(), polls()], [1; 3]);
}
