//! Closures on threads that may wait.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use bevy_ecs::world::World;
use common::{LIMIT_SECONDS, block_on, parked_and_busy, watchdog};
use onbeat::{ClockMode, Runtime, blocking, event_time, sleep, spawn_boxed, yield_now};

#[test]
fn a_closure_runs_on_another_thread_and_answers_here() {
    parked_and_busy(|| async {
        let there = blocking(|| thread::current().id());
        assert_ne!(there.await, thread::current().id());
    });
}

#[test]
fn the_loop_goes_on_while_it_waits() {
    block_on(async {
        let (go, wait) = mpsc::channel();
        let answer = spawn_boxed(blocking(move || wait.recv()));
        yield_now().await;
        assert!(!answer.is_finished());
        go.send(7).unwrap();
        assert_eq!(answer.await, Ok(7));
    });
}

#[test]
fn its_panic_is_that_of_who_awaits_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let panics = blocking(|| std::panic::panic_any("no such host"));
    let panic = catch_unwind(AssertUnwindSafe(|| rt.block_on(panics)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"no such host"));
    assert_eq!(rt.block_on(blocking(|| 7)), 7, "the runtime goes on");
}

#[test]
fn one_that_has_begun_runs_to_its_end_when_its_handle_is_dropped() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (begin, begun) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let (end, ended) = mpsc::channel();
    let handle = blocking(move || {
        begin.send(()).unwrap();
        wait.recv().unwrap();
        end.send(7).unwrap();
    });
    begun.recv().unwrap();
    drop(handle);
    go.send(()).unwrap();
    assert_eq!(ended.recv(), Ok(7));
}

#[test]
fn it_holds_virtual_time_still_until_it_has_answered() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let began = event_time();
        drop(spawn_boxed(sleep(Duration::from_secs(3_600))));
        // It gives the loop time to go wrong.
        let mut answer = blocking(|| (0..1_000).for_each(|_| thread::yield_now()));
        (&mut answer).await;
        assert_eq!(event_time(), began);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(event_time() - began, Duration::from_secs(60));
        drop(answer);
    });
}
