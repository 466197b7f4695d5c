//! Wakers whose clone, wake and drop run code of the user's: whatever that code does, it finds nothing of
//! onbeat in use.
//!
//! The waker of a test has a hook. While a future is polled with it, displaced, fired and dropped, and while
//! the runtime goes, the hook makes, polls and drops other futures of the same kind. A runtime that held a
//! borrow or a lock meanwhile would panic or hang there.

#![expect(unsafe_code, reason = "the waker of an `Arc` runs no code when it is cloned")]
#![expect(clippy::async_yields_async, reason = "handles are taken out of `block_on`")]

mod common;

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr,
    rc::Rc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{
    CancelReason, CancellationToken, ClockMode, JoinError, JoinHandle, Runtime, ShutdownSignal,
    Tick, WorldCtx, channel, interval, net::UdpSocket, scope, shield, sleep, spawn, spawn_boxed,
    timeout, yield_now,
};

type Hook = Box<dyn FnMut()>;
type Waiting = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Runs the hook of this thread, unless it is running.
fn run_hook() {
    let Some(mut hook) = HOOK.take() else { return };
    CALLS.set(CALLS.get() + 1);
    // A panic in a waker is contained here and there: it is noted, so that it fails the test.
    if catch_unwind(AssertUnwindSafe(&mut hook)).is_err() {
        FAILED.set(true);
    }
    HOOK.set(Some(hook));
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        run_hook();
        RawWaker::new(data, &VTABLE)
    },
    |_| {
        run_hook();
        run_hook(); // It is woken, and then dropped.
    },
    |_| run_hook(),
    |_| run_hook(),
);

/// Wakers of different numbers do not wake the same.
fn hooked(number: usize) -> Waker {
    // SAFETY: the functions follow no pointer and take any data, on any thread, any number of times.
    unsafe { Waker::new(ptr::without_provenance(number), &VTABLE) }
}

fn poll(future: &mut Option<Waiting>, waker: &Waker) {
    let polled =
        future.as_mut().map(|future| future.as_mut().poll(&mut Context::from_waker(waker)));
    if polled == Some(Poll::Ready(())) {
        *future = None;
    }
}

#[derive(Resource, Default)]
struct Price;
#[derive(Component, Default)]
struct Part;
#[derive(Message, Clone)]
struct Note;
#[derive(Event, Clone)]
struct Halted;
#[derive(EntityEvent, Clone)]
struct Hit(Entity);

/// Does everything that somebody may wait for.
fn do_all(ctx: WorldCtx, entity: Entity) {
    ctx.with_world(|world| {
        world.insert_resource(Price);
        world.write_message(Note);
        world.trigger(Halted);
        world.trigger(Hit(entity));
        world.entity_mut(entity).remove::<Part>().insert(Part);
    });
}

/// Has a hooked waker in a future that `make` makes, at every moment of its life.
#[track_caller]
fn check(make: impl Fn(WorldCtx, Entity) -> Waiting + 'static) {
    check_by(ClockMode::Virtual, make);
}

#[track_caller]
fn check_by(clock: ClockMode, make: impl Fn(WorldCtx, Entity) -> Waiting + 'static) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Price>();
    let mut rt = Runtime::builder(&mut world).clock(clock).build();
    let make = Rc::new(make);
    let others: Rc<RefCell<Vec<Option<Waiting>>>> = Rc::default();
    let hook = {
        let (make, others) = (make.clone(), others.clone());
        move |entity| {
            let one = others.borrow_mut().pop();
            drop(one);
            let another = others.borrow_mut().pop();
            if let Some(mut another) = another {
                poll(&mut another, Waker::noop());
                others.borrow_mut().insert(0, another);
            }
            // Inside an access to the World none can be made.
            if let Ok(ctx) = WorldCtx::try_current()
                && ctx.try_with_world(|_| ()).is_ok()
            {
                let mut new = Some(make(ctx, entity));
                poll(&mut new, Waker::noop());
                others.borrow_mut().push(new);
            }
        }
    };
    let left = rt.block_on(async {
        let ctx = WorldCtx::current();
        let entity = ctx.with_world(|world| world.spawn(Part).id());
        for _ in 0..4 {
            let mut other = Some(make(ctx, entity));
            poll(&mut other, Waker::noop());
            others.borrow_mut().push(other);
        }
        HOOK.set(Some(Box::new(move || hook(entity))));
        // Stored, known, displaced, given up.
        let mut given_up = Some(make(ctx, entity));
        for number in [1, 1, 2, 3] {
            poll(&mut given_up, &hooked(number));
        }
        drop(given_up);
        // Fired, and polled afterwards.
        let mut fired = Some(make(ctx, entity));
        poll(&mut fired, &hooked(1));
        for _ in 0..4 {
            do_all(ctx, entity);
            sleep(Duration::from_millis(1)).await;
            ctx.next_tick().await;
        }
        poll(&mut fired, &hooked(2));
        // Its entity goes.
        let mut orphan = Some(make(ctx, entity));
        poll(&mut orphan, &hooked(1));
        ctx.with_world(|world| world.despawn(entity));
        ctx.next_tick().await;
        poll(&mut orphan, &hooked(2));
        // Its runtime goes.
        let entity = ctx.with_world(|world| world.spawn(Part).id());
        let mut left = Some(make(ctx, entity));
        poll(&mut left, &hooked(1));
        left
    });
    drop(rt);
    drop(left);
    others.take().clear();
    assert!(HOOK.take().is_some() && !FAILED.get(), "the hook found something in use");
    assert!(CALLS.get() >= 8, "the hook ran {} times only", CALLS.get());
}

/// A future that keeps what it borrows from.
macro_rules! waiting {
    ($($body:tt)*) => { Box::pin(async move { let _ = { $($body)* }; }) as Waiting };
}

#[test]
fn timers() {
    check(|_, _| waiting!(sleep(Duration::from_millis(2)).await));
}

#[test]
fn timeouts() {
    check(|_, _| waiting!(timeout(Duration::from_millis(2), std::future::pending::<()>()).await));
}

#[test]
fn intervals() {
    check(|_, _| {
        waiting! {
            let mut beats = interval(Duration::from_millis(1));
            for _ in 0..3 {
                beats.tick().await;
            }
        }
    });
}

#[test]
fn the_next_tick() {
    check(|ctx, _| waiting!(ctx.next_tick().await));
}

#[test]
fn later_ticks() {
    check(|ctx, _| {
        let later = ctx.ticks(3);
        waiting!(later.await)
    });
}

#[test]
fn a_stage() {
    check(|ctx, _| waiting!(ctx.next(Tick).await));
}

#[test]
fn a_condition() {
    check(|ctx, _| {
        waiting!(ctx.until(Tick, |world| world.contains_resource::<Price>().then_some(())).await)
    });
}

#[test]
fn messages() {
    check(|ctx, _| waiting!(ctx.messages::<Note>().recv().await.is_ok()));
}

#[test]
fn a_resource() {
    check(|ctx, _| waiting!(ctx.res_changed::<Price>().await));
}

#[test]
fn an_event() {
    check(|ctx, _| waiting!(ctx.event::<Halted>().await));
}

#[test]
fn an_event_at_an_entity() {
    check(|ctx, entity| waiting!(ctx.entity(entity).event::<Hit>().await.is_ok()));
}

#[test]
fn a_component() {
    check(|ctx, entity| waiting!(ctx.entity(entity).changed::<Part>().await.is_ok()));
}

#[test]
fn an_insertion() {
    check(|ctx, entity| waiting!(ctx.entity(entity).inserted::<Part>().await.is_ok()));
}

#[test]
fn the_end_of_an_entity() {
    check(|ctx, entity| waiting!(ctx.entity(entity).despawned().await));
}

#[test]
fn a_task() {
    check(|_, _| waiting!(spawn_boxed(sleep(Duration::from_millis(1))).join().await.is_ok()));
}

#[test]
fn a_task_that_is_aborted() {
    check(|_, _| {
        waiting! {
            let task: JoinHandle<()> = spawn(std::future::pending());
            let ended = task.id();
            drop(spawn(async move {
                sleep(Duration::from_millis(1)).await;
                WorldCtx::current().run(move |tasks: onbeat::Tasks| tasks.abort(ended)).is_ok()
            }));
            task.join().await.is_ok()
        }
    });
}

#[test]
fn a_shielded_task() {
    check(|_, _| waiting!(shield(sleep(Duration::from_millis(1))).await));
}

#[test]
fn a_cancellation() {
    let token = CancellationToken::new();
    check(move |_, _| {
        let child = token.child();
        waiting! {
            let canceller = child.clone();
            drop(spawn_boxed(async move {
                sleep(Duration::from_millis(1)).await;
                canceller.cancel();
            }));
            child.cancelled().await;
        }
    });
}

#[test]
fn the_shutdown() {
    check(|_, _| waiting!(ShutdownSignal::current().await));
}

#[test]
fn a_socket() {
    // A socket holds virtual time still.
    check_by(ClockMode::Real, |_, _| {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap());
        waiting!(socket.unwrap().recv(&mut [0; 8]).await.is_ok())
    });
}

macro_rules! channels {
    ($($module:ident $name:ident $value:expr, $sent:expr;)*) => {$(
        #[test]
        #[allow(unused_mut, reason = "some channels are used through `&`")]
        fn $name() {
            // Who sends and who receives, both parked, and each other's wakers.
            check(|_, _| {
                let (mut sender, mut receiver) = channel::$module::channel($value);
                drop(spawn_boxed(async move {
                    sleep(Duration::from_millis(1)).await;
                    while sender.send($sent).await.is_ok() {}
                }));
                waiting! {
                    for _ in 0..8 {
                        let _ = receiver.recv().await;
                    }
                    drop(receiver);
                }
            });
            check(|_, _| {
                let (mut sender, mut receiver) = channel::$module::channel($value);
                drop(spawn_boxed(async move {
                    sleep(Duration::from_millis(1)).await;
                    while receiver.recv().await.is_some() {}
                }));
                waiting! {
                    for _ in 0..8 {
                        let _ = sender.send($sent).await;
                    }
                }
            });
        }
    )*};
}

channels! {
    local a_local_channel 1, 7;
    mpsc an_mpsc_channel 1, 7;
    spsc an_spsc_channel 1, 7;
    mpsc_bytes an_mpsc_byte_channel 64, &[7; 32];
    spsc_bytes an_spsc_byte_channel 64, &[7; 32];
}

/// Polls `future` with a waker whose clone does `act`: after the look that found nothing, and before who waits
/// is registered. Nobody would wake it for that.
#[track_caller]
fn is_seen<F: Future>(act: impl FnOnce() + 'static, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = hooked(1);
    let mut act = Some(act);
    HOOK.set(Some(Box::new(move || _ = act.take().map(|act| act()))));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(HOOK.take().is_some() && !FAILED.get() && CALLS.take() > 0, "the hook ran");
    match polled {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("what happened as the waker was stored is not seen"),
    }
}

macro_rules! channels_recheck {
    ($($module:ident $send:ident $recv:ident $value:expr, $sent:expr;)*) => {
        #[test]
        fn send_rechecks_after_registering() {
            $($send();)*
        }

        #[test]
        fn recv_rechecks_after_registering() {
            $($recv();)*
        }
    $(
        fn $send() {
            #[allow(unused_mut, reason = "some channels are used through `&`")]
            let (mut sender, mut receiver) = channel::$module::channel($value);
            while sender.try_send($sent).is_ok() {}
            let receiver = Rc::new(RefCell::new(receiver));
            let other = receiver.clone();
            let drain = move || while other.borrow_mut().try_recv().is_ok() {};
            assert!(is_seen(drain, sender.send($sent)).is_ok());
            assert!(receiver.borrow_mut().try_recv().is_ok());
        }

        fn $recv() {
            #[allow(unused_mut, reason = "some channels are used through `&`")]
            let (sender, mut receiver) = channel::$module::channel($value);
            let sender = Rc::new(RefCell::new(sender));
            let other = sender.clone();
            let send = move || _ = other.borrow_mut().try_send($sent);
            assert!(is_seen(send, receiver.recv()).is_some());
        }
    )*};
}

channels_recheck! {
    local local_send local_recv 2, 7;
    mpsc mpsc_send mpsc_recv 2, 7;
    spsc spsc_send spsc_recv 2, 7;
    mpsc_bytes mpsc_bytes_send mpsc_bytes_recv 64, &[7; 32];
    spsc_bytes spsc_bytes_send spsc_bytes_recv 64, &[7; 32];
}

#[test]
fn those_who_wait_for_the_end_recheck_after_registering() {
    let mut world = World::new();
    let rt = Runtime::new(&mut world);
    let (token, shutdown) = (CancellationToken::new(), rt.shutdown_handle());
    let (cancelled, signal) = (token.cancelled(), shutdown.signal());
    is_seen(move || token.cancel(), cancelled);
    is_seen(move || shutdown.shutdown(), signal);

    let child = Rc::new(Cell::new(None));
    let kept = child.clone();
    let mut scope: Waiting = Box::pin(scope(async move |s| {
        kept.set(Some(s.spawn(std::future::pending::<()>())));
    }));
    assert!(scope.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let ended = is_seen(move || drop(scope), child.take().unwrap().join());
    assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Scope))));
}

#[test]
fn a_waker_that_is_stored_when_the_task_has_ended_is_not_left_to_the_next_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let runtime = Rc::new(RefCell::new(Runtime::owning(World::new())));
    let tick = |runtime: &RefCell<Runtime<'static>>| runtime.borrow_mut().tick().unwrap();
    let spawned = || runtime.borrow_mut().block_on(async { spawn_boxed(yield_now()) });
    let (task, ticking) = (spawned(), runtime.clone());
    is_seen(move || tick(&ticking), task);

    HOOK.set(Some(Box::new(|| ())));
    let next = spawned();
    tick(&runtime);
    assert!(next.is_finished());
    assert_eq!(CALLS.take(), 0);
}
