//! Where memory is allocated: not up to the capacities that the builder was given, and not at all in
//! steady state.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::{pending, poll_fn},
    net::{SocketAddr, TcpListener, TcpStream as StdStream},
    task::Poll,
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{
    ClockMode, JoinHandle, Runtime, Tick, WorldCtx, claim_slab, net::TcpStream, sleep, spawn,
    spawn_boxed, spawn_slab, yield_now,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// The header pages of tasks, and the rings for a thousand of them, are larger than this; what the blocks of
/// their futures are cut from is not.
const LARGE_BYTES: usize = 4_096;

fn count(size: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    if size > LARGE_BYTES {
        LARGE.set(LARGE.get() + 1);
    }
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `f` runs: all, and those that are large.
fn allocations(f: impl FnOnce()) -> (usize, usize) {
    let before = (ALLOCATIONS.get(), LARGE.get());
    f();
    (ALLOCATIONS.get() - before.0, LARGE.get() - before.1)
}

/// Large allocations of 2,000 tasks that live at once.
fn large_allocations(queue_capacity: usize) -> usize {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).queue_capacity(queue_capacity).build();
    rt.block_on(async {
        let (_, large) = allocations(|| {
            for _ in 0..2_000 {
                drop(spawn_boxed(pending::<()>()));
            }
        });
        large
    })
}

#[test]
fn queue_capacity_is_room_for_tasks_without_allocation() {
    let _guard = watchdog(LIMIT_SECONDS);
    assert_eq!(large_allocations(2_000), 0);
    assert!(large_allocations(0) > 0);
}

/// Allocations of 32 sockets that are registered, beside one each that a socket itself may need.
fn allocations_of_sockets(token_capacity: usize) -> usize {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let streams: Vec<StdStream> = (0..32)
        .map(|_| {
            let stream = StdStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).token_capacity(token_capacity).build();
    let mut registered = Vec::with_capacity(streams.len());
    rt.block_on(async {
        allocations(|| {
            registered
                .extend(streams.into_iter().map(|stream| TcpStream::from_std(stream).unwrap()));
        })
        .0
    })
}

#[test]
fn token_capacity_is_room_for_sockets_without_allocation() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (roomy, tight) = (allocations_of_sockets(32), allocations_of_sockets(0));
    assert!(roomy < tight, "{roomy} allocations with room, {tight} without");
    assert_eq!(roomy % 32, 0, "what is left is the sockets' own");
}

#[test]
fn a_steady_loop_allocates_nothing() {
    #[derive(Resource, Default)]
    struct Count(u64);

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    world.init_resource::<Count>();
    // Under the virtual clock every run has the same number of timers in every tick.
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.schedule(Tick).add_systems(|mut count: ResMut<Count>| count.0 += 1);
    rt.block_on(async {
        for _ in 0..10 {
            drop(spawn_boxed(async {
                loop {
                    WorldCtx::current().next_tick().await;
                    WorldCtx::current().with_world(|world| world.resource_mut::<Count>().0 += 1);
                }
            }));
            drop(spawn_boxed(async {
                loop {
                    sleep(Duration::ZERO).await;
                    yield_now().await;
                }
            }));
        }
    });
    for _ in 0..1_000 {
        rt.tick().unwrap();
    }
    let (allocations, _) = allocations(|| {
        for _ in 0..1_000 {
            rt.tick().unwrap();
        }
    });
    assert_eq!(allocations, 0);
}

async fn number(number: u64) -> u64 {
    yield_now().await;
    number
}

/// Allocations of 20 batches of 100 tasks that live at once, after `before` such batches.
fn allocations_of_tasks(before: usize, spawn: impl Fn(u64) -> JoinHandle<u64>) -> usize {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<64>(100).build();
    rt.block_on(async {
        let mut tasks = Vec::with_capacity(100);
        let mut run = async |batches: usize| {
            for _ in 0..batches {
                tasks.extend((0..100).map(&spawn));
                for (number, task) in tasks.drain(..).enumerate() {
                    assert_eq!(task.await, number as u64);
                }
            }
        };
        run(before).await;
        let allocated = ALLOCATIONS.get();
        run(20).await;
        ALLOCATIONS.get() - allocated
    })
}

#[test]
fn boxed_tasks_that_follow_one_another_allocate_nothing() {
    assert!(allocations_of_tasks(0, |at| spawn_boxed(number(at))) > 0);
    assert_eq!(allocations_of_tasks(1, |at| spawn_boxed(number(at))), 0);
}

#[test]
fn tasks_in_the_slab_allocate_nothing_from_the_first() {
    assert_eq!(allocations_of_tasks(0, |at| spawn_slab(number(at))), 0);
    assert_eq!(allocations_of_tasks(0, |at| spawn(number(at))), 0);
    assert_eq!(allocations_of_tasks(0, |at| claim_slab().spawn(number(at))), 0);
}

#[test]
fn a_wake_from_another_thread_allocates_nothing_there() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let waker = rt.block_on(async {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        drop(spawn_boxed(pending::<()>()));
        waker
    });
    let waking = thread::spawn(move || {
        allocations(|| {
            for _ in 0..100 {
                let clone = waker.clone();
                drop(waker.clone());
                clone.wake();
                waker.wake_by_ref();
            }
        })
    });
    assert_eq!(waking.join().unwrap(), (0, 0));
}
