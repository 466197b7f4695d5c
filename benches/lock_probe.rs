//! The program that `lock_prefix.sh` disassembles: it holds one task that wakes itself, so that the
//! functions of the local path are in it, and functions with planted atomics, which the script must
//! find. As a bench it measures nothing and ends at once.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bevy_ecs::world::World;
use onbeat::{Runtime, spawn_boxed, yield_now};

fn main() {
    let mut world = World::new();
    let mut runtime = Runtime::new(&mut world);
    runtime.block_on(async {
        spawn_boxed(async {
            for _ in 0..black_box(3) {
                yield_now().await;
            }
        })
        .await;
    });

    let counter = AtomicU64::new(0);
    black_box(planted_fetch_add(&counter));
    black_box(planted_swap(&counter));
    black_box(planted_fence(&counter));
    black_box(planted_in_caught(&counter));
    black_box(planted_behind_caught(&counter));
    black_box(planted_nothing(&counter));
}

#[inline(never)]
fn planted_fetch_add(counter: &AtomicU64) -> u64 {
    fetch_add(counter).wrapping_mul(3)
}

#[inline(never)]
fn fetch_add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

#[inline(never)]
fn planted_swap(counter: &AtomicU64) -> u64 {
    swap(counter).wrapping_mul(5)
}

#[inline(never)]
fn swap(counter: &AtomicU64) -> u64 {
    counter.swap(1, Ordering::Relaxed)
}

#[inline(never)]
fn planted_fence(counter: &AtomicU64) -> u64 {
    full_fence(counter).wrapping_mul(7)
}

#[inline(never)]
fn full_fence(counter: &AtomicU64) -> u64 {
    fence(Ordering::SeqCst);
    counter.load(Ordering::Relaxed)
}

/// The atomic stands in a closure that `catch_unwind` runs, as a poll does.
#[inline(never)]
fn planted_in_caught(counter: &AtomicU64) -> u64 {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let before = counter.fetch_add(1, Ordering::Relaxed);
        // Without something that may panic, the catch would be optimized away.
        assert!(load(counter) != u64::MAX, "the counter is full");
        before
    }));
    caught.map_or(0, |before| before.wrapping_mul(13))
}

/// The atomic stands behind a call from such a closure.
#[inline(never)]
fn planted_behind_caught(counter: &AtomicU64) -> u64 {
    let caught = catch_unwind(AssertUnwindSafe(|| may_panic(counter)));
    caught.map_or(0, |before| before.wrapping_mul(17))
}

#[inline(never)]
fn may_panic(counter: &AtomicU64) -> u64 {
    assert!(load(counter) != u64::MAX, "the counter is full");
    fetch_add(counter)
}

#[inline(never)]
fn planted_nothing(counter: &AtomicU64) -> u64 {
    load(counter).wrapping_mul(11)
}

#[inline(never)]
fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
