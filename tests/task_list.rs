//! Tasks, looked at from outside.

mod common;

use std::{future::pending, net::SocketAddr, panic::Location, time::Duration};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, panic_message, watchdog};
use onbeat::{
    ClockMode, Handle, JoinHandle, Runtime, TaskInfo, Tick, WaitsFor, WorldCtx, channel,
    claim_slab, named, net::TcpListener, precise_now, sleep, spawn, spawn_boxed, timeout,
    yield_now,
};

/// A virtual runtime that knows the details of its tasks.
fn runtime(world: &mut World) -> Runtime<'_> {
    Runtime::builder(world)
        .clock(ClockMode::Virtual)
        .task_details(true)
        .slab_bounded::<256>(4)
        .build()
}

#[track_caller]
fn find<T>(tasks: &[TaskInfo], task: &JoinHandle<T>) -> TaskInfo {
    tasks.iter().find(|info| info.key == task.id()).expect("it is listed").clone()
}

#[test]
fn a_list_has_every_task_that_has_not_ended_and_no_other() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let (kept, claim) = rt.block_on(async {
        drop(spawn_boxed(async {}));
        let ended = spawn(async { 7 });
        let aborted = spawn(pending::<()>());
        yield_now().await;
        aborted.abort();
        drop((spawn(pending::<()>()), named("kept").spawn(pending::<()>())));
        yield_now().await;
        (ended, claim_slab())
    });
    let tasks = rt.tasks();
    assert_eq!(tasks.len(), rt.task_count());
    let names: Vec<_> = tasks.iter().map(|task| &*task.name).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"kept") && names.iter().any(|name| name.contains("Pending")));
    drop((kept, claim));
}

#[test]
fn a_task_says_where_it_was_spawned_and_what_it_is() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let here = Location::caller().file();
    rt.block_on(async {
        drop(spawn_boxed(pending::<u16>()));
        drop(named("a name").spawn_boxed(pending::<()>()));
    });
    for info in rt.tasks() {
        assert_eq!(info.spawned_at.file(), here);
        assert_eq!((info.polls, info.waits_for), (None, None), "not without task_details");
    }
    let lines: Vec<_> = rt.tasks().iter().map(|info| info.spawned_at.line()).collect();
    assert_eq!(lines[0].abs_diff(lines[1]), 1);
}

#[test]
fn ages_and_polls_are_counted_by_the_runtimes_clock() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let [early, late] = rt.block_on(async {
        let early = spawn(async {
            for _ in 0..9 {
                sleep(Duration::from_secs(1)).await;
            }
            pending::<()>().await;
        });
        sleep(Duration::from_secs(10)).await;
        let late = claim_slab().spawn(pending::<()>());
        sleep(Duration::from_secs(5)).await;
        [early, late]
    });
    let tasks = rt.tasks();
    let (early, late) = (find(&tasks, &early), find(&tasks, &late));
    assert_eq!(
        (early.age, late.age),
        (Some(Duration::from_secs(15)), Some(Duration::from_secs(5)))
    );
    assert_eq!((early.polls, late.polls), (Some(10), Some(1)));
}

#[test]
fn a_task_says_what_it_waits_for() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let (handles, noon) = rt.block_on(async {
        let noon = precise_now() + Duration::from_secs(3_600);
        let sleeping = spawn(sleep(Duration::from_secs(3_600)));
        let slept = sleeping.id();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let handles = [
            (spawn(sleeping), Some(WaitsFor::Task(slept))),
            (spawn(timeout_of_an_hour()), Some(WaitsFor::Time(noon))),
            (spawn(accept(listener)), Some(WaitsFor::Other("a socket"))),
            (spawn(pending()), None),
            (spawn(sleep_then_pending()), None),
        ];
        yield_now().await;
        yield_now().await;
        (handles, noon)
    });
    let tasks = rt.tasks();
    let slept = tasks.iter().filter(|info| info.waits_for == Some(WaitsFor::Time(noon)));
    assert_eq!(slept.count(), 2);
    for (handle, waits_for) in &handles {
        let info = find(&tasks, handle);
        assert_eq!((info.waits_for, info.is_ready), (*waits_for, false), "{}", info.name);
    }
}

/// A task that waits says for what.
#[track_caller]
fn check<F: Future + 'static>(what: &'static str, make: impl FnOnce(WorldCtx, Entity) -> F) {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Price>();
    let mut rt = runtime(&mut world);
    let mut task = None;
    rt.block_on(async {
        let ctx = WorldCtx::current();
        let entity = ctx.with_world(|world| world.spawn(Part).id());
        task = Some(spawn(make(ctx, entity)));
        yield_now().await;
        yield_now().await;
    });
    let info = find(&rt.tasks(), task.as_ref().expect("it was spawned above"));
    assert_eq!((info.waits_for, info.is_ready), (Some(WaitsFor::Other(what)), false));
}

#[derive(Resource, Default)]
struct Price;
#[derive(Component)]
struct Part;
#[derive(Message, Event, Clone)]
struct Note;

#[test]
fn a_task_says_that_it_waits_for_a_channel() {
    macro_rules! check_channel {
        ($($module:ident $value:expr, $sent:expr;)*) => {$(
            #[allow(unused_mut, reason = "some channels are used through `&`")]
            check("a value in a channel", |_, _| async {
                let (mut sender, mut receiver) = channel::$module::channel($value);
                sender.try_send($sent).unwrap();
                while receiver.recv().await.is_some() {}
            });
            #[allow(unused_mut, reason = "as above")]
            check("room in a channel", |_, _| async {
                let (mut sender, _receiver) = channel::$module::channel($value);
                while sender.send($sent).await.is_ok() {}
            });
        )*};
    }
    check_channel! {
        local 1, 7;
        mpsc 1, 7;
        spsc 1, 7;
        mpsc_bytes 64, &[7; 8];
        spsc_bytes 64, &[7; 8];
    }
}

#[test]
fn a_task_says_that_it_waits_for_the_world_or_another_thread() {
    check("a later tick", |ctx, _| async move { ctx.ticks(100).await });
    check("a condition", |ctx, _| ctx.until(Tick, |_| None::<()>));
    check("a message", |ctx, _| async move { drop(ctx.messages::<Note>().recv().await) });
    check("an event", |ctx, _| ctx.event::<Note>());
    check("a change of a resource", |ctx, _| ctx.res_changed::<Price>());
    check("a change of a component", |ctx, entity| ctx.entity(entity).changed::<Part>());
    check("an answer of a runtime", |_, _| Handle::current().spawn_with(pending::<()>).unwrap());
    check("the end of an entity", |ctx, entity| ctx.entity(entity).despawned());
}

async fn timeout_of_an_hour() {
    let _ = timeout(Duration::from_secs(3_600), pending::<()>()).await;
}

async fn accept(mut listener: TcpListener) {
    drop(listener.accept().await);
}

/// What it waited for before is not what it waits for.
async fn sleep_then_pending() {
    sleep(Duration::ZERO).await;
    pending::<()>().await;
}

#[test]
fn a_waiter_of_the_next_tick_and_a_task_that_is_ready_say_so() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    let [ticking, spinning] = rt.block_on(async {
        let ticking = spawn(async {
            loop {
                WorldCtx::current().next_tick().await;
            }
        });
        let spinning = spawn(async {
            loop {
                yield_now().await;
            }
        });
        [ticking, spinning]
    });
    for tick in 2..5 {
        rt.tick().unwrap();
        let tasks = rt.tasks();
        let (ticking, spinning) = (find(&tasks, &ticking), find(&tasks, &spinning));
        assert_eq!(ticking.waits_for, Some(WaitsFor::Other("the next tick")));
        assert_eq!((spinning.is_ready, spinning.waits_for), (true, None));
        assert_eq!((ticking.polls, spinning.polls), (Some(tick), Some(tick)));
    }
}

#[test]
fn a_name_goes_with_its_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<64>(2).build();
    rt.block_on(async {
        for number in 0..10 {
            let task = named(format!("task {number}")).spawn_slab(async { 7 });
            assert_eq!(task.await, 7);
        }
        drop(spawn(pending::<()>()));
    });
    assert!(rt.tasks()[0].name.contains("Pending"), "{}", rt.tasks()[0].name);
    let message = panic_message(|| drop(named("nowhere").spawn(async {})));
    assert!(message.contains("spawn() needs a running onbeat runtime"), "{message}");
}

#[test]
fn a_panic_in_a_counted_poll_is_contained_like_any() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = runtime(&mut world);
    rt.block_on(async {
        let tasks = [0; 5].map(|_| spawn(async { panic!("out of cheese") }));
        let after = spawn(async { 7 });
        for task in tasks {
            let failed: Result<(), _> = task.join().await;
            assert!(failed.is_err());
        }
        assert_eq!(after.await, 7);
    });
    assert_eq!((rt.stats().task_panics, rt.tasks().len()), (5, 0));
}
