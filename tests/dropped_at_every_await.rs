//! Dropping each future of the World, of time, of channels, tasks and scopes at each of its awaits: nothing of
//! it is left, it wakes nobody any more, and others who wait for the same get theirs.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::pending,
    panic::Location,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Bell, Count, LIMIT_SECONDS, poll_once, watchdog};
use futures::{FutureExt, StreamExt, future::LocalBoxFuture};
use onbeat::{
    Backoff, CancellationToken, ClockMode, EntityCtx, Handle, Runtime, Tick, VirtualClock,
    WorldCtx, after_delay, budget,
    channel::{local, mpsc, mpsc_bytes, spsc, spsc_bytes},
    event_time, interval, join, race, scope, shield, sleep, sleep_until, spawn_boxed, timeout,
    timeout_at, try_join, yield_now,
};

const HOUR: Duration = Duration::from_secs(3_600);

type Waiting = LocalBoxFuture<'static, ()>;

/// When a victim is dropped.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// It was made before the other who waits.
    first: bool,
    /// How often it was polled, each time in another tick.
    polls: usize,
    /// What it waits for has happened, and nobody has polled it since.
    happened: bool,
}

fn ways() -> impl Iterator<Item = Way> {
    let all = [false, true];
    all.into_iter().flat_map(move |first| {
        (0..4).flat_map(move |polls| all.map(|happened| Way { first, polls, happened }))
    })
}

/// What is waited for: its state, how one waits for it, and how it comes about.
struct Case<S> {
    setup: fn() -> S,
    wait: fn(Rc<S>) -> Waiting,
    happen: fn(&S),
    /// Only one can wait at a time: the other begins when the victim has gone.
    alone: bool,
    /// Something goes on behind the victim, and has its waker until the next round.
    goes_on: bool,
}

impl<S: 'static> Case<S> {
    #[track_caller]
    fn check(self) {
        let case = Location::caller();
        for way in ways() {
            let _guard = watchdog(LIMIT_SECONDS);
            let mut world = World::new();
            world.init_resource::<Value>();
            let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
            let count = Count::new();
            rt.block_on(self.run(case, way, &count));
            rt.block_on(async { ticks(1).await });
            assert_eq!((rt.timer_count(), rt.task_count()), (0, 0), "{case}, {way:?}");
        }
    }

    async fn run(&self, case: &Location<'_>, way: Way, count: &Arc<Count>) {
        let state = Rc::new((self.setup)());
        let other = |wait: bool| wait.then(|| spawn_boxed((self.wait)(state.clone())));
        let mut others: Vec<_> = other(!self.alone && !way.first).into_iter().collect();
        let mut victim = Some((self.wait)(state.clone()));
        others.extend(other(!self.alone && way.first));
        for _ in 0..way.polls {
            if victim.as_mut().is_some_and(|victim| count.poll(victim).is_ready()) {
                victim = None;
            }
            ticks(1).await;
        }
        if way.happened {
            (self.happen)(&state);
            ticks(2).await;
        }
        drop(victim);
        if self.goes_on {
            ticks(1).await;
        }
        let wakes = count.wakes();
        assert_eq!(count.kept(), 0, "{case}, {way:?}: a waker is left");
        others.extend(other(self.alone));
        if !way.happened {
            ticks(2).await;
            (self.happen)(&state);
        }
        for other in others {
            other.await;
        }
        assert_eq!(count.wakes(), wakes, "{case}, {way:?}: who has gone is woken");
    }
}

async fn ticks(count: u64) {
    WorldCtx::current().ticks(count).await;
}

/// A case in which all who wait get it.
#[track_caller]
fn check<S: 'static>(setup: fn() -> S, wait: fn(Rc<S>) -> Waiting, happen: fn(&S)) {
    Case { setup, wait, happen, alone: false, goes_on: false }.check();
}

#[track_caller]
fn check_alone<S: 'static>(setup: fn() -> S, wait: fn(Rc<S>) -> Waiting, happen: fn(&S)) {
    Case { setup, wait, happen, alone: true, goes_on: false }.check();
}

#[derive(Resource, Default)]
struct Value(u32);
#[derive(Component)]
struct Part(u32);
#[derive(Component)]
struct Extra;
#[derive(Message, Event, Clone)]
struct Note;
#[derive(EntityEvent, Clone, Debug)]
struct Hit(Entity);

fn ctx() -> WorldCtx {
    WorldCtx::current()
}

fn write(f: impl FnOnce(&mut World)) {
    ctx().with_world(f);
}

#[test]
fn waits_for_ticks_and_stages() {
    check(|| (), |_| ctx().next_tick().boxed_local(), |()| ());
    check(|| (), |_| ctx().ticks(2).boxed_local(), |()| ());
    check(|| (), |_| ctx().ticks(5).boxed_local(), |()| ());
    check(|| (), |_| ctx().at(Tick).boxed_local(), |()| ());
    check(|| (), |_| ctx().next(Tick).boxed_local(), |()| ());
    check(|| (), |_| yield_now().boxed_local(), |()| ());
    check(
        || (),
        |_| {
            let raised = |world: &mut World| (world.resource::<Value>().0 > 0).then_some(());
            ctx().until(Tick, raised).boxed_local()
        },
        |()| write(|world| world.resource_mut::<Value>().0 = 1),
    );
}

#[test]
fn waits_for_a_resource() {
    let raise = |_: &()| write(|world| world.resource_mut::<Value>().0 += 1);
    check(|| (), |_| ctx().res_changed::<Value>().boxed_local(), raise);
    check(
        || (),
        |_| ctx().until_changed(|value: &Value| (value.0 > 0).then_some(())).boxed_local(),
        raise,
    );
    check(
        || (),
        |_| ctx().res_inserted::<Value>().boxed_local(),
        |()| write(|world| world.insert_resource(Value(1))),
    );
}

#[test]
fn waits_for_messages_and_events() {
    let note = |_: &()| {
        write(|world| {
            world.write_message(Note);
        });
    };
    check(
        || (),
        |_| {
            let mut notes = ctx().messages::<Note>();
            async move { notes.recv().await.map(drop).unwrap() }.boxed_local()
        },
        note,
    );
    check(
        || (),
        |_| {
            let mut notes = ctx().messages::<Note>();
            async move { notes.recv_with(|_| ()).await.unwrap() }.boxed_local()
        },
        note,
    );
    check(
        || (),
        |_| {
            let mut notes = ctx().messages::<Note>();
            async move { _ = notes.next().await.unwrap().unwrap() }.boxed_local()
        },
        note,
    );
    check(
        || (),
        |_| ctx().event::<Note>().map(drop).boxed_local(),
        |()| write(|world| world.trigger(Note)),
    );
}

type WaitAt = fn(EntityCtx) -> Waiting;

/// Waits for what happens to an entity, which then comes about in one way or the other.
#[track_caller]
fn check_entity(wait: WaitAt, happen: fn(&Entity)) {
    let entity = || ctx().with_world(|world| world.spawn(Part(0)).id());
    thread_local! {
        static WAIT: Cell<Option<WaitAt>> = const { Cell::new(None) };
    }
    WAIT.set(Some(wait));
    check(entity, |entity| WAIT.get().unwrap()(ctx().entity(*entity)), happen);
}

#[test]
fn waits_on_an_entity_that_goes_on() {
    check_entity(
        |at| at.event::<Hit>().map(|hit| _ = hit.unwrap()).boxed_local(),
        |entity| write(|world| world.trigger(Hit(*entity))),
    );
    check_entity(
        |at| at.inserted::<Extra>().map(Result::unwrap).boxed_local(),
        |entity| write(|world| _ = world.entity_mut(*entity).insert(Extra)),
    );
    check_entity(
        |at| at.removed::<Part>().map(Result::unwrap).boxed_local(),
        |entity| write(|world| _ = world.entity_mut(*entity).remove::<Part>()),
    );
    check_entity(
        |at| at.changed::<Part>().map(Result::unwrap).boxed_local(),
        |entity| write(|world| world.get_mut::<Part>(*entity).unwrap().0 += 1),
    );
}

#[test]
fn waits_on_an_entity_that_goes() {
    let waits: [WaitAt; 5] = [
        |at| at.event::<Hit>().map(|hit| _ = hit.unwrap_err()).boxed_local(),
        |at| at.inserted::<Extra>().map(|gone| _ = gone.unwrap_err()).boxed_local(),
        |at| at.removed::<Part>().map(|gone| _ = gone.unwrap_err()).boxed_local(),
        |at| at.changed::<Part>().map(|gone| _ = gone.unwrap_err()).boxed_local(),
        |at| at.despawned().boxed_local(),
    ];
    for wait in waits {
        check_entity(wait, |entity| write(|world| assert!(world.despawn(*entity))));
        check_entity(wait, |_| write(World::clear_entities));
    }
}

#[test]
fn timers() {
    let pass = |_: &()| VirtualClock::current().unwrap().advance(HOUR);
    check(|| (), |_| sleep(HOUR).boxed_local(), pass);
    check(|| (), |_| sleep(Duration::ZERO).boxed_local(), pass);
    check(|| (), |_| sleep_until(event_time() + HOUR).boxed_local(), pass);
    check(|| (), |_| timeout(HOUR, pending::<()>()).map(drop).boxed_local(), pass);
    check(
        || (),
        |_| timeout_at(event_time() + HOUR, pending::<()>()).map(drop).boxed_local(),
        pass,
    );
    check(|| (), |_| timeout(2 * HOUR, sleep(HOUR)).map(Result::unwrap).boxed_local(), pass);
    check(|| (), |_| after_delay(HOUR, async {}).boxed_local(), pass);
    check(
        || (),
        |_| {
            let mut beat = interval(HOUR);
            async move {
                for _ in 0..2 {
                    beat.tick().await;
                }
            }
            .boxed_local()
        },
        pass,
    );
    check(
        || (),
        |_| {
            let mut backoff = Backoff::builder().initial(HOUR).max_delay(HOUR).build();
            backoff.wait("an error").map(Result::unwrap).boxed_local()
        },
        pass,
    );
    check(
        || (),
        |_| {
            let mut budget = budget(Duration::ZERO);
            async move {
                budget.checkpoint().await;
                budget.checkpoint().await;
            }
            .boxed_local()
        },
        pass,
    );
}

#[test]
fn a_channel_whose_ends_several_share() {
    let sent = |(sender, _): &(local::Sender<u32>, local::Receiver<u32>)| {
        for value in 0..2 {
            let _ = sender.try_send(value);
        }
    };
    check(
        || local::channel::<u32>(2),
        |ends| async move { _ = ends.1.recv().await.unwrap() }.boxed_local(),
        sent,
    );
    check(
        || local::channel::<u32>(2),
        |ends| async move { assert!(ends.1.recv_many(&mut Vec::new(), 1).await > 0) }.boxed_local(),
        sent,
    );
    check(
        || {
            let ends = local::channel::<u32>(2);
            while ends.0.try_send(0).is_ok() {}
            ends
        },
        |ends| async move { ends.0.send(7).await.unwrap() }.boxed_local(),
        |(_, receiver)| {
            for _ in 0..2 {
                _ = receiver.try_recv();
            }
        },
    );
}

#[test]
fn what_one_who_goes_was_woken_for_is_for_the_other() {
    // One value, and one place: whoever was woken for it and went hands it on.
    check(
        || local::channel::<u32>(1),
        |ends| async move { _ = ends.1.recv().await.unwrap() }.boxed_local(),
        |(sender, _)| _ = sender.try_send(1),
    );
    check(
        || {
            let ends = local::channel::<u32>(1);
            ends.0.try_send(0).unwrap();
            ends
        },
        |ends| async move { ends.0.send(7).await.unwrap() }.boxed_local(),
        |(_, receiver)| _ = receiver.try_recv(),
    );
    check(
        || {
            let (sender, receiver) = mpsc::channel::<u32>(1);
            sender.try_send(0).unwrap();
            (sender, RefCell::new(receiver))
        },
        |ends| {
            let sender = ends.0.clone();
            async move { sender.send(7).await.unwrap() }.boxed_local()
        },
        |(_, receiver)| _ = receiver.borrow_mut().try_recv(),
    );
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "one waits at a time")]
fn channels_with_one_receiver() {
    check_alone(
        || {
            let (sender, receiver) = mpsc::channel::<u32>(1);
            (sender, RefCell::new(receiver))
        },
        |ends| async move { _ = ends.1.borrow_mut().recv().await.unwrap() }.boxed_local(),
        |(sender, _)| sender.try_send(1).unwrap(),
    );
    check_alone(
        || {
            let (sender, receiver) = spsc::channel::<u32>(1);
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| async move { _ = ends.1.borrow_mut().recv().await.unwrap() }.boxed_local(),
        |(sender, _)| sender.borrow_mut().try_send(1).unwrap(),
    );
    check_alone(
        || {
            let (mut sender, receiver) = spsc::channel::<u32>(1);
            sender.try_send(0).unwrap();
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| async move { ends.0.borrow_mut().send(1).await.unwrap() }.boxed_local(),
        |(_, receiver)| _ = receiver.borrow_mut().try_recv().unwrap(),
    );
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "one waits at a time")]
fn channels_of_bytes() {
    check_alone(
        || {
            let (sender, receiver) = mpsc_bytes::channel(256);
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| async move { _ = ends.1.borrow_mut().recv().await.unwrap() }.boxed_local(),
        |(sender, _)| sender.borrow_mut().try_send(b"bytes").unwrap(),
    );
    check_alone(
        || {
            let (sender, receiver) = spsc_bytes::channel(256);
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| async move { _ = ends.1.borrow_mut().recv().await.unwrap() }.boxed_local(),
        |(sender, _)| sender.borrow_mut().try_send(b"bytes").unwrap(),
    );
    check_alone(
        || {
            let (mut sender, receiver) = spsc_bytes::channel(256);
            while sender.try_send(&[7; 32]).is_ok() {}
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| async move { ends.0.borrow_mut().claim(32).await.unwrap().commit() }.boxed_local(),
        |(_, receiver)| while receiver.borrow_mut().try_recv().is_ok() {},
    );
    check_alone(
        || {
            let (mut sender, receiver) = mpsc_bytes::channel(256);
            while sender.try_send(&[7; 32]).is_ok() {}
            (RefCell::new(sender), RefCell::new(receiver))
        },
        |ends| {
            // A sender of its own, so it is not the one that waits whose place is taken.
            let mut sender = ends.0.borrow().clone();
            async move { sender.send(&[1; 32]).await.unwrap() }.boxed_local()
        },
        |(_, receiver)| while receiver.borrow_mut().try_recv().is_ok() {},
    );
}

#[test]
fn tasks_and_tokens() {
    type Token = CancellationToken;
    let cancel = |token: &Token| token.cancel();
    check(Token::new, |token| token.cancelled().boxed_local(), cancel);
    check(Token::new, |token| token.child().cancelled_owned().boxed_local(), cancel);
    check(
        Token::new,
        |token| token.child().run_until_cancelled_owned(pending::<()>()).map(drop).boxed_local(),
        cancel,
    );
    check(Token::new, |token| spawn_boxed(token.cancelled()).boxed_local(), cancel);
    check(
        Token::new,
        |token| spawn_boxed(token.cancelled()).join().map(Result::unwrap).boxed_local(),
        cancel,
    );
    check(
        Token::new,
        |token| {
            let token = Token::clone(&token);
            let asked = Handle::current().spawn_with(move || token.cancelled_owned());
            asked.unwrap().map(Result::unwrap).boxed_local()
        },
        cancel,
    );
}

#[test]
fn several_futures_in_one_task() {
    type Token = CancellationToken;
    let cancel = |token: &Token| token.cancel();
    check(Token::new, |token| race((token.cancelled(), pending())).boxed_local(), cancel);
    check(
        Token::new,
        |token| join((token.cancelled(), token.cancelled())).map(drop).boxed_local(),
        cancel,
    );
    check(
        Token::new,
        |token| {
            let ok = || token.cancelled().map(Ok::<_, ()>);
            try_join((ok(), ok())).map(|all| _ = all.unwrap()).boxed_local()
        },
        cancel,
    );
    Case {
        setup: Token::new,
        wait: |token| shield(token.cancelled()).boxed_local(),
        happen: cancel,
        alone: false,
        goes_on: true,
    }
    .check();
    check(
        Token::new,
        |token| {
            scope(async move |s| {
                let one = s.spawn(token.cancelled());
                drop(s.spawn(token.cancelled()));
                s.branch(pending::<()>());
                s.rush((token.cancelled(), pending::<()>())).await;
                one.join().await.unwrap();
            })
            .boxed_local()
        },
        cancel,
    );
}

#[test]
fn everything_at_once_within_a_task_that_is_aborted() {
    let _guard = watchdog(LIMIT_SECONDS);
    for polls in 0..4 {
        let mut world = World::new();
        world.init_resource::<Value>();
        let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
        rt.block_on(async {
            let bell = Bell::default();
            let task = spawn_boxed({
                let bell = bell.clone();
                async move {
                    let mut notes = ctx().messages::<Note>();
                    let at = ctx().entity(ctx().with_world(|world| world.spawn(Part(0)).id()));
                    let (changed, gone) = (at.changed::<Part>(), at.despawned());
                    let (hit, event) = (at.event::<Hit>(), ctx().event::<Note>());
                    scope(async move |s| {
                        s.branch(async { _ = changed.await });
                        s.branch(async { drop(hit.await) });
                        s.branch(async { _ = event.await });
                        s.branch(async move { drop(notes.recv().await) });
                        s.branch(ctx().res_changed::<Value>());
                        s.branch(timeout(HOUR, bell.rung()).map(drop));
                        join((ctx().ticks(100), gone)).await;
                    })
                    .await;
                }
            });
            for _ in 0..polls {
                yield_now().await;
            }
            task.abort();
            ticks(1).await;
            assert_eq!(
                bell.waiting(),
                usize::from(polls > 0),
                "the bell keeps wakers that are stale"
            );
            bell.ring();
            assert!(poll_once(ctx().res_changed::<Value>()).await.is_pending());
        });
        assert_eq!((rt.timer_count(), rt.task_count()), (0, 0));
    }
}
