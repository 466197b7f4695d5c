//! What an attacker tries: nothing here aborts, hangs, or leaves a rule broken.

mod common;

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
use common::watchdog;
use onbeat::{
    CancelReason, CancellationToken, ClockMode, JoinError, JoinHandle, Runtime, ScheduleError,
    Tick, WorldCtx, event_time, net::TcpListener, sleep, sleep_until, spawn_boxed,
};

const LIMIT_SECONDS: u64 = 30;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("dropped"));
    }
}

#[test]
fn a_future_without_size_is_aligned_as_it_asks() {
    #[repr(align(128))]
    struct Nothing;
    impl Future for Nothing {
        type Output = usize;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
            Poll::Ready(std::ptr::from_ref(&*self).addr() % 128)
        }
    }
    let mut world = World::new();
    let rest = Runtime::new(&mut world).block_on(async { spawn_boxed(Nothing).await });
    assert_eq!(rest, 0);
}

#[test]
fn a_destructor_may_spawn_while_the_runtime_is_dropped() {
    struct Cleanup(Rc<RefCell<Vec<JoinHandle<()>>>>);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            self.0.borrow_mut().push(spawn_boxed(async {}));
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let handles = Rc::default();
    let (first, second) = (Cleanup(Rc::clone(&handles)), Cleanup(Rc::clone(&handles)));
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        drop(spawn_boxed(async move {
            let _guards = (first, second);
            std::future::pending::<()>().await;
        }));
    });
    drop(rt);
    assert_eq!(handles.borrow().len(), 2);
    Runtime::new(&mut world).block_on(async {
        let handle = handles.borrow_mut().pop().unwrap();
        assert!(matches!(
            handle.join().await,
            Err(JoinError::Cancelled(CancelReason::RuntimeGone))
        ));
    });
}

#[test]
fn a_timer_that_is_due_fires_though_a_socket_holds_virtual_time_still() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        sleep(Duration::ZERO).await;
        sleep_until(event_time()).await;
        drop(listener);
    });
}

#[test]
fn an_output_that_panics_when_dropped_does_not_meet_another_panic() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|| std::panic::resume_unwind(Box::new("system")));
    let left = catch_unwind(AssertUnwindSafe(|| rt.block_on(async { Bomb })));
    let payload = left.map(std::mem::forget).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"system"));
}

#[test]
fn a_future_and_its_output_that_both_panic_when_dropped_end_one_task() {
    struct Ready(Bomb);
    impl Future for Ready {
        type Output = Bomb;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Bomb> {
            Poll::Ready(Bomb)
        }
    }
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        let joined = spawn_boxed(Ready(Bomb)).join().await;
        assert_eq!(joined.map(std::mem::forget).unwrap_err().panic_message(), Some("dropped"));
    });
    assert_eq!((rt.stats().task_panics, rt.task_count()), (1, 0));
}

#[test]
fn a_runtime_may_go_with_its_thread() {
    thread_local! {
        static KEPT: RefCell<Option<Runtime<'static>>> = const { RefCell::new(None) };
    }
    /// Uses the World as it is dropped.
    struct Leaves(Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            let entities = WorldCtx::current().with_world(|world| {
                world.spawn_empty();
                world.entities().len()
            });
            self.0.fetch_add(entities as usize, Ordering::Relaxed);
        }
    }
    let _guard = watchdog(LIMIT_SECONDS);
    let entities = Arc::new(AtomicUsize::new(0));
    let leaves = Leaves(entities.clone());
    thread::spawn(|| {
        let mut rt = Runtime::owning(World::new());
        rt.block_on(async {
            let (sender, receiver) = onbeat::channel::local::channel::<u8>(1);
            drop(spawn_boxed(async move {
                let _held = (leaves, sender);
                sleep(Duration::from_secs(3_600)).await;
            }));
            drop(spawn_boxed(async move { receiver.recv().await }));
        });
        KEPT.set(Some(rt));
    })
    .join()
    .unwrap();
    assert!(entities.load(Ordering::Relaxed) > 0, "its tasks are dropped in sight of the World");
}

#[test]
fn two_wakers_that_panic_leave_the_third_woken() {
    struct Loud;
    impl Wake for Loud {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("waker"));
        }
    }
    let token = CancellationToken::new();
    let loud = Waker::from(Arc::new(Loud));
    let (mut first, mut second, mut third) =
        (pin!(token.cancelled()), pin!(token.cancelled()), pin!(token.cancelled()));
    assert!(first.as_mut().poll(&mut Context::from_waker(&loud)).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&loud)).is_pending());
    let (quiet, count) = futures_count();
    assert!(third.as_mut().poll(&mut Context::from_waker(&quiet)).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| token.cancel())).is_err());
    assert_eq!(Arc::strong_count(&count), 2, "the third was woken, and let go");
}

/// A waker, and what it holds: the second count falls when the waker has been used up.
fn futures_count() -> (Waker, Arc<Quiet>) {
    let quiet = Arc::new(Quiet);
    (Waker::from(Arc::clone(&quiet)), quiet)
}

struct Quiet;

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_system_that_panics_when_dropped_does_not_leave_the_runtimes_drop() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let bomb = std::sync::Mutex::new(Some(Bomb));
    rt.schedule(Tick).add_systems(move || assert!(bomb.lock().unwrap().is_some()));
    rt.tick().unwrap();
    drop(rt);
}

#[test]
fn a_sleep_reset_in_another_runtime_still_wakes_its_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let polled = Rc::new(Cell::new(false));
    let mut outer_world = World::new();
    let mut outer = Runtime::new(&mut outer_world);
    let mut made = outer.block_on(async { [Box::pin(sleep(Duration::from_secs(3_600)))] });
    let made = &mut made[0];
    let mut inner_world = World::new();
    Runtime::new(&mut inner_world).block_on(async {
        std::future::poll_fn(|cx| {
            if polled.replace(true) {
                return made.as_mut().poll(cx);
            }
            assert!(made.as_mut().poll(cx).is_pending());
            made.as_mut().reset(event_time());
            Poll::Pending
        })
        .await;
    });
}

#[test]
fn a_runtime_that_its_thread_keeps_is_dropped_with_the_thread() {
    thread_local! {
        static KEPT: RefCell<Option<Runtime<'static>>> = const { RefCell::new(None) };
    }
    /// Uses the World when it is dropped, and says that it was.
    struct Last(mpsc::Sender<Result<(), ScheduleError>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.send(WorldCtx::current().run_schedule(Tick));
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    // What the thread keeps is dropped in an order that depends on which was used first.
    for kept_first in [true, false] {
        let (said, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            if kept_first {
                KEPT.with_borrow(|_| ());
            }
            let mut rt = Runtime::owning(World::new());
            rt.block_on(async {
                let last = Last(said);
                drop(spawn_boxed(async move {
                    let _last = last;
                    WorldCtx::current().event::<Never>().await;
                }));
            });
            KEPT.with_borrow_mut(|kept| *kept = Some(rt));
        });
        thread.join().unwrap();
        assert!(told.recv().expect("the task was dropped").is_err());
    }
}

#[derive(Event, Clone)]
struct Never;

#[test]
fn what_cannot_be_allocated_is_refused_before_anything_is() {
    let build = |options: fn(onbeat::RuntimeBuilder<'_>) -> onbeat::RuntimeBuilder<'_>| {
        let mut world = World::new();
        let built = options(Runtime::builder(&mut world)).try_build();
        built.map(drop).unwrap_err().to_string()
    };
    assert!(build(|b| b.event_capacity(usize::MAX)).contains("event_capacity"));
    assert!(build(|b| b.token_capacity(usize::MAX)).contains("token_capacity"));
    assert!(build(|b| b.queue_capacity(1 << 24)).contains("queue_capacity"));
}

#[test]
fn a_schedule_that_was_taken_over_goes_back_to_the_world() {
    #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    struct Mine;
    let mut world = World::new();
    let mut schedule = Schedule::new(Mine);
    let ran = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = ran.clone();
    schedule.add_systems(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    world.add_schedule(schedule);
    for _ in 0..2 {
        Runtime::builder(&mut world).stages([Mine.intern()]).build().tick().unwrap();
    }
    assert_eq!(ran.load(Ordering::Relaxed), 2);
}
