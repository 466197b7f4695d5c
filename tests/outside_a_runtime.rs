//! What needs a runtime says so where there is none.

mod common;

use std::{cell::RefCell, net::SocketAddr, time::Duration};

use bevy_ecs::world::World;
use common::panic_message;
use onbeat::{
    Backoff, IoHandle, Runtime, ShutdownSignal, WorldCtx, WorldError, after, after_delay,
    event_time, interval, interval_at,
    net::{TcpListener, TcpStream, UdpSocket},
    precise_now, sleep, sleep_until, spawn_boxed, timeout, timeout_at,
};

/// `f` panics, names itself as `what`, and says what to do; also where a runtime exists but does not run,
/// and after one has run.
#[track_caller]
fn check<R>(what: &str, f: impl Fn() -> R) {
    let check = || {
        let message = panic_message(|| drop(f()));
        assert!(message.contains(what), "{message}");
        assert!(message.contains("Runtime::block_on"), "{message}");
        assert!(message.contains("onbeat runtime"), "{message}");
    };
    check();
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    check();
    rt.block_on(async {});
    rt.tick().unwrap();
    check();
    drop(rt);
    check();
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[test]
fn spawn_boxed_says_so() {
    check("spawn_boxed", || spawn_boxed(async {}));
}

#[test]
fn sleep_and_sleep_until_say_so() {
    check("sleep()", || sleep(Duration::ZERO));
    check("sleep_until()", || sleep_until(std::time::Instant::now()));
}

#[test]
fn timeout_and_timeout_at_say_so() {
    check("timeout() needs", || timeout(Duration::ZERO, async {}));
    check("timeout_at() needs", || timeout_at(std::time::Instant::now(), async {}));
}

#[test]
fn interval_and_interval_at_say_so() {
    check("interval() needs", || interval(Duration::from_secs(1)));
    check("interval_at() needs", || interval_at(std::time::Instant::now(), Duration::from_secs(1)));
}

#[test]
fn after_and_after_delay_say_so() {
    check("after() needs", || after(std::time::Instant::now(), async {}));
    check("after_delay() needs", || after_delay(Duration::ZERO, async {}));
}

#[test]
fn the_resets_of_an_interval_say_so() {
    let second = Duration::from_secs(1);
    let mut world = World::new();
    let beat = Runtime::new(&mut world).block_on(async { interval(second) });
    let beat = RefCell::new(beat);
    check("Interval::reset() needs", || beat.borrow_mut().reset());
    check("Interval::reset_immediately() needs", || beat.borrow_mut().reset_immediately());
    check("Interval::reset_after() needs", || beat.borrow_mut().reset_after(second));
    check("Interval::reset_at() needs", || {
        beat.borrow_mut().reset_at(std::time::Instant::now());
    });
}

#[test]
fn a_backoff_says_so() {
    let limited = || Backoff::builder().max_total(Duration::from_secs(1)).build();
    check("a Backoff with a limit in time needs", || limited().next_delay());
    check("Backoff::wait() needs", || drop(Backoff::builder().build().wait("refused")));
}

#[test]
fn the_clocks_say_so() {
    check("event_time()", event_time);
    check("precise_now()", precise_now);
}

#[test]
fn next_tick_says_so() {
    let ctx = WorldCtx::new(&mut World::new());
    check("next_tick()", || ctx.next_tick());
}

#[test]
fn the_shutdown_signal_says_so() {
    check("ShutdownSignal::current()", ShutdownSignal::current);
}

#[test]
fn the_io_handle_says_so() {
    check("IoHandle::current()", IoHandle::current);
}

#[test]
fn sockets_say_so() {
    check("TcpListener::bind", || TcpListener::bind(loopback()));
    check("TcpStream::connect", || TcpStream::connect(loopback()));
    check("UdpSocket::bind", || UdpSocket::bind(loopback()));
}

#[test]
fn the_world_says_that_no_turn_runs() {
    let message = panic_message(|| {
        let _ = WorldCtx::current();
    });
    assert!(message.contains("WorldCtx::current()"), "{message}");
    assert!(message.contains("none runs on this thread"), "{message}");
    assert_eq!(WorldCtx::try_current(), Err(WorldError::OutsideTurn));
}

#[test]
fn the_message_names_the_place_of_the_call() {
    use std::{
        panic::{self, catch_unwind},
        sync::{Arc, Mutex},
        thread,
    };

    let seen = Arc::new(Mutex::new(None));
    let hook = panic::take_hook();
    let me = thread::current().id();
    panic::set_hook(Box::new({
        let seen = seen.clone();
        move |info| {
            if thread::current().id() == me {
                *seen.lock().unwrap() =
                    info.location().map(|place| (place.file().to_owned(), place.line()));
            } else {
                hook(info);
            }
        }
    }));
    let line = line!() + 1;
    assert!(catch_unwind(|| drop(sleep(Duration::ZERO))).is_err());
    drop(panic::take_hook());
    assert_eq!(*seen.lock().unwrap(), Some((file!().to_owned(), line)));
}

#[test]
fn another_thread_is_outside_while_a_runtime_runs() {
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let message = panic_message(|| drop(sleep(Duration::ZERO)));
                assert!(message.contains("on this thread"), "{message}");
                assert_eq!(WorldCtx::try_current(), Err(WorldError::OutsideTurn));
            });
        });
    });
}
