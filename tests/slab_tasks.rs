//! Tasks in memory that the runtime allocated when it was built.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    mem::forget,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
};

use bevy_ecs::world::World;
use common::{Drops, LIMIT_SECONDS, panic_message, watchdog};
use onbeat::{
    CancelReason, JoinError, JoinHandle, Runtime, SlabClaim, WorldCtx, claim_slab, claim_slab_of,
    spawn, spawn_boxed, spawn_slab, try_claim_slab, try_claim_slab_of, yield_now,
};

/// Runs `f` on a runtime with a slab of `slots` slots of 128 bytes, which is gone when this returns.
fn with_slab<R>(slots: usize, f: impl AsyncFnOnce() -> R) -> R {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<128>(slots).build();
    let result = rt.block_on(f());
    assert_eq!(rt.stats().forgotten_payloads, 0, "nothing panicked behind the scenes");
    result
}

/// How many slots are free: claims all of them, and gives them back.
fn free_slots() -> usize {
    std::iter::from_fn(try_claim_slab).collect::<Vec<_>>().len()
}

/// Gives the address that it is polled at.
struct Address;

impl Future for Address {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready((&raw const *self).addr())
    }
}

/// A future of exactly `SIZE` bytes.
struct Sized<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Future for Sized<SIZE> {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        Poll::Ready(self.0[SIZE - 1])
    }
}

#[test]
fn a_task_in_the_slab_gives_its_output() {
    with_slab(4, async || {
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                spawn_slab(async move {
                    yield_now().await;
                    number
                })
            })
            .collect();
        assert_eq!(free_slots(), 0);
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, number);
        }
        assert_eq!(free_slots(), 4);
    });
}

#[test]
fn tasks_follow_one_another_in_one_slot() {
    with_slab(1, async || {
        let slot = spawn_slab(Address).await;
        for _ in 0..100 {
            assert_eq!(spawn_slab(Address).await & !63, slot & !63);
        }
    });
}

#[test]
fn what_just_fits_is_taken_and_what_does_not_panics_with_both_sizes() {
    with_slab(1, async || {
        assert_eq!(spawn_slab(Sized([7; 128])).await, 7);
        let message = panic_message(|| drop(spawn_slab(Sized([7; 129]))));
        assert!(message.contains("129 bytes") && message.contains("has 128"), "{message}");
        let message = panic_message(|| drop(claim_slab().spawn(Sized([7; 130]))));
        assert!(message.contains("130 bytes") && message.contains("has 128"), "{message}");
        assert_eq!(free_slots(), 1);
    });
}

#[test]
fn a_large_output_needs_a_large_slot_too() {
    with_slab(1, async || {
        let message = panic_message(|| drop(spawn_slab(async { [7_u8; 200] })));
        assert!(message.contains("200 bytes") && message.contains("has 128"), "{message}");
        assert_eq!(spawn_slab(async { [7_u8; 128] }).await, [7; 128]);
    });
}

#[test]
fn a_future_that_gets_no_slot_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    with_slab(1, async || {
        let counted = || (Drops::counted_by(&drops), [0_u8; 200]);
        let large = counted();
        panic_message(|| drop(spawn_slab(async move { drop(large) })));
        assert_eq!(drops.get(), 1);
        let large = counted();
        panic_message(|| drop(claim_slab().spawn(async move { drop(large) })));
        assert_eq!(drops.get(), 2);
        let _taken = claim_slab();
        let small = Drops::counted_by(&drops);
        let message = panic_message(|| drop(spawn_slab(async move { drop(small) })));
        assert!(message.contains("all slots of the slab are taken"), "{message}");
        assert_eq!(drops.get(), 3);
    });
}

#[test]
fn over_aligned_future_in_slab() {
    // `spawn_slab` refuses such a future when it is compiled: see its documentation.
    #[repr(align(256))]
    struct Wide(Address);

    impl Future for Wide {
        type Output = usize;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            Pin::new(&mut self.0).poll(cx)
        }
    }

    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<1024>(8).build();
    rt.block_on(async {
        let tasks: Vec<_> = (0..8).map(|_| spawn(Wide(Address))).collect();
        assert_eq!(free_slots(), 8, "it is boxed");
        for task in tasks {
            assert_eq!(task.await % 256, 0);
        }
    });
}

#[test]
fn an_ordinary_future_is_aligned_to_a_cache_line() {
    #[repr(align(64))]
    struct Line(Address);

    impl Future for Line {
        type Output = usize;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            Pin::new(&mut self.0).poll(cx)
        }
    }

    with_slab(8, async || {
        let tasks: Vec<_> = (0..8).map(|_| spawn_slab(Line(Address))).collect();
        let mut addresses = Vec::new();
        for task in tasks {
            addresses.push(task.await);
        }
        assert!(addresses.iter().all(|address| address % 64 == 0));
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] == 128), "slots are apart");
    });
}

#[test]
fn wake_then_ready_frees_the_slot() {
    with_slab(8, async || {
        for _ in 0..100 {
            spawn_slab(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }))
            .await;
        }
        assert_eq!(free_slots(), 8);
    });
}

#[test]
fn a_slot_comes_back_however_its_task_ends() {
    with_slab(1, async || {
        spawn_slab(pending::<()>()).abort();
        yield_now().await;
        assert_eq!(free_slots(), 1, "aborted before it was polled");
        let parked = spawn_slab(pending::<()>());
        yield_now().await;
        parked.abort();
        yield_now().await;
        assert_eq!(free_slots(), 1, "aborted while it was parked");
        drop(spawn_slab(async { String::from("nobody's") }));
        yield_now().await;
        assert_eq!(free_slots(), 1, "detached");
        let failing = spawn_slab(async { panic!("out of cheese") });
        yield_now().await;
        assert_eq!(free_slots(), 1, "a payload is kept elsewhere");
        assert!(matches!(failing.join().await, Err(JoinError::Panicked(_))));
        let kept = spawn_slab(async { String::from("kept") });
        yield_now().await;
        assert_eq!(free_slots(), 0, "an output stays where the future was");
        drop(kept);
        yield_now().await;
        assert_eq!(free_slots(), 1, "its handle dropped");
    });
}

#[test]
fn spawn_takes_a_slot_or_boxes() {
    with_slab(2, async || {
        let [first, second, third] = [0; 3].map(|_| spawn(pending::<()>()));
        assert_eq!(free_slots(), 0);
        third.abort();
        yield_now().await;
        assert_eq!(free_slots(), 0, "the third was boxed");
        first.abort();
        second.abort();
        yield_now().await;
        assert_eq!(free_slots(), 2);
        assert_eq!(spawn(Sized([7; 500])).await, 7);
    });
}

#[test]
fn spawn_needs_no_slab() {
    common::block_on(async {
        assert_eq!(spawn(async { 7 }).await, 7);
        assert_eq!(spawn(async {}).await, ());
        for (what, message) in [
            ("spawn_slab()", panic_message(|| drop(spawn_slab(async {})))),
            ("claim_slab()", panic_message(|| drop(claim_slab()))),
            ("try_claim_slab()", panic_message(|| drop(try_claim_slab()))),
        ] {
            assert!(message.contains(&format!("{what} needs a slab")), "{message}");
        }
    });
}

#[test]
fn an_unbounded_slab_grows() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_unbounded::<64>(4).build();
    rt.block_on(async {
        let tasks: Vec<_> = (0..101).map(|number| spawn_slab(async move { number })).collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, number);
        }
    });
}

#[test]
fn a_dropped_claim_gives_its_slot_back() {
    with_slab(1, async || {
        for _ in 0..10 {
            let claim = claim_slab();
            assert!(try_claim_slab().is_none());
            drop(claim);
            assert_eq!(claim_slab().spawn(async { 7 }).await, 7);
        }
        let message = panic_message(|| drop([claim_slab(), claim_slab()]));
        assert!(message.contains("claim_slab(): all slots of the slab are taken"), "{message}");
        assert_eq!(free_slots(), 1);
    });
}

#[test]
fn a_claim_is_no_task() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<128>(2).build();
    let claim = rt.block_on(async { claim_slab() });
    assert_eq!(rt.task_count(), 0);
    rt.tick().unwrap();
    let task = claim.spawn(pending::<()>());
    assert_eq!(rt.task_count(), 1);
    drop(rt);
    assert!(task.is_finished());
}

#[test]
fn a_claim_lost_to_mem_forget_costs_its_slot_until_the_runtime_goes() {
    with_slab(3, async || {
        forget(claim_slab());
        forget(claim_slab());
        for _ in 0..10 {
            assert_eq!(spawn_slab(async { 7 }).await, 7);
        }
        assert_eq!(free_slots(), 1);
    });
}

#[test]
fn a_claim_of_a_dead_runtime_takes_nothing_of_the_next_one() {
    let drops = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let [unused, used] = with_slab(2, async || [claim_slab(), claim_slab()]);
        with_slab(2, async || {
            let _own = [claim_slab(), claim_slab()];
            drop(unused);
            assert_eq!(free_slots(), 0);
            let counted = Drops::counted_by(&drops);
            let joined = used.spawn(async move { drop(counted) }).join().await;
            assert!(matches!(joined, Err(JoinError::Cancelled(CancelReason::RuntimeGone))));
        });
    }
    assert_eq!(drops.get(), 10);
}

#[test]
fn a_claim_spawns_in_its_own_runtime_whichever_is_running() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).slab_bounded::<128>(1).build();
    let claim: SlabClaim = rt.block_on(async { claim_slab() });
    let mut task = None;
    with_slab(1, async || {
        let spawned = claim.spawn(async { WorldCtx::current().with_world(|world| world.id()) });
        yield_now().await;
        assert_eq!(free_slots(), 1, "the slot is the other runtime's");
        assert!(!spawned.is_finished());
        task = Some(spawned);
    });
    let own = rt.world().id();
    assert_eq!(rt.block_on(task.unwrap()), own);
}

#[test]
fn a_destructor_may_spawn_into_its_claim_while_the_runtime_goes() {
    type Handles = Rc<RefCell<Vec<JoinHandle<()>>>>;
    struct Spawns(Rc<RefCell<Option<SlabClaim>>>, Handles);

    impl Drop for Spawns {
        fn drop(&mut self) {
            let claim = self.0.take().unwrap();
            self.1.borrow_mut().push(claim.spawn(pending()));
        }
    }

    let handles = Handles::default();
    with_slab(10, async || {
        let spawner = |claim: &Rc<RefCell<Option<SlabClaim>>>| {
            let spawns = Spawns(claim.clone(), handles.clone());
            drop(spawn_boxed(async move {
                let _spawns = spawns;
                pending::<()>().await;
            }));
        };
        for _ in 0..5 {
            // The runtime reaches the claim before the task that has it, then the other way round.
            spawner(&Rc::new(RefCell::new(Some(claim_slab()))));
            let claim = Rc::default();
            spawner(&claim);
            claim.replace(Some(claim_slab()));
        }
        yield_now().await;
    });
    assert_eq!(handles.borrow().len(), 10);
    assert!(handles.borrow().iter().all(JoinHandle::is_finished));
}

#[test]
fn a_stale_wake_of_a_claimed_slot_is_no_poll_too_many() {
    with_slab(1, async || {
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let keep = kept.clone();
        let first = spawn_slab(poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
        first.abort();
        yield_now().await;
        let waker = kept.borrow_mut().take().unwrap();
        let claim = claim_slab();
        thread::spawn(move || waker.wake()).join().unwrap();
        yield_now().await;
        yield_now().await;
        let polls = Rc::new(Cell::new(0));
        let counted = polls.clone();
        let second = claim.spawn(poll_fn(move |_| {
            counted.set(counted.get() + 1);
            Poll::<()>::Pending
        }));
        yield_now().await;
        yield_now().await;
        assert_eq!(polls.get(), 1);
        drop(second);
    });
}

#[test]
fn a_claim_of_a_size_needs_slots_of_that_size() {
    with_slab(1, async || {
        let claim = try_claim_slab_of::<128>().unwrap();
        assert!(try_claim_slab_of::<128>().is_none());
        assert_eq!(claim.spawn(Sized([7; 128])).await, 7);
        let message = panic_message(|| drop(claim_slab_of::<129>()));
        assert!(message.contains("129 bytes") && message.contains("has 128"), "{message}");
    });
}

#[test]
fn a_slab_beyond_all_memory_is_an_error() {
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let huge = Runtime::builder(&mut world).slab_bounded::<{ 1 << 50 }>(1 << 20).try_build();
    assert!(huge.unwrap_err().to_string().contains("1048576 slots"));
    let many = Runtime::builder(&mut world).slab_bounded::<1>(1 << 24).try_build();
    assert!(many.unwrap_err().to_string().contains("16777215 at most"));
    let message = panic_message(|| drop(Runtime::builder(&mut World::new()).slab_bounded::<8>(0)));
    assert!(message.contains("at least 1 slot"), "{message}");
}

#[test]
fn slab_tasks_may_be_spawned_from_a_boxed_one_and_joined_there() {
    with_slab(8, async || {
        let sum = spawn_boxed(async {
            let mut sum = 0;
            for number in 0..100 {
                sum += spawn_slab(async move { number }).await;
            }
            sum
        });
        assert_eq!(sum.await, 4_950);
    });
}
