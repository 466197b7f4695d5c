//! Tasks that spawn tasks, and abort, join, limit and cancel them.

use std::{panic::resume_unwind, pin::Pin, sync::Arc};

use onbeat::{
    CancelReason, CancellationToken, JoinError, JoinHandle, precise_now, sleep, spawn, timeout,
    yield_now,
};

use crate::{
    round::{Living, Random, Round},
    tally::{Did, check, did},
};

/// How many generations a tree has at most.
const DEPTH: u32 = 4;

/// What the tasks of a tree share.
#[derive(Clone)]
struct Tree {
    living: Arc<Living>,
    token: CancellationToken,
}

/// A tree of tasks, and a thread that cancels what is left of it.
pub(crate) fn grow(round: &mut Round) {
    let token = CancellationToken::new();
    let tree = Tree { living: round.living.clone(), token: token.child() };
    let mut random = round.split();
    if random.chance(50) {
        let spins = random.within(0..20_000);
        round.thread("a thread that cancels", move || {
            (0..spins).for_each(|_| std::hint::spin_loop());
            token.cancel();
            did(Did::Cancellations, 1);
        });
    }
    round.task("the root of a tree", async move {
        let branches = random.within(1..20);
        for _ in 0..branches {
            let branch = branch(&tree, &mut random, DEPTH);
            end(branch, &mut random).await;
        }
    });
}

fn branch(tree: &Tree, random: &mut Random, depth: u32) -> JoinHandle<()> {
    let life = tree.living.life("a branch of a tree");
    let tree = Tree { living: tree.living.clone(), token: tree.token.child() };
    let random = Random::new(random.next());
    did(Did::Tasks, 1);
    spawn(async move {
        let _life = life;
        work(tree, random, depth).await;
    })
}

/// Waits for a task, or does not.
async fn end(task: JoinHandle<()>, random: &mut Random) {
    match random.within(0..6) {
        0 => drop(task),
        1 => {
            task.abort();
            did(Did::Aborts, 1);
        }
        2 => {
            let joined = timeout(random.micros(200), task.join()).await;
            did(Did::Timers, 1);
            let _ = joined.map(is_as_it_may_be);
        }
        _ => is_as_it_may_be(task.join().await),
    }
}

fn is_as_it_may_be(joined: Result<(), JoinError>) {
    match joined {
        Ok(()) => {}
        Err(JoinError::Panicked(payload)) => {
            check(payload.is::<Fails>(), || "a task panicked that should not".to_owned());
        }
        Err(JoinError::Cancelled(reason)) => {
            check(reason == CancelReason::Aborted, || format!("a task ended because {reason}"));
        }
    }
}

/// The payload of the panics that are meant.
struct Fails;

fn work(tree: Tree, mut random: Random, depth: u32) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        for _ in 0..random.within(1..6) {
            match random.within(0..12) {
                0..=2 => yield_now().await,
                3 | 4 => {
                    let (start, time) = (precise_now(), random.micros(400));
                    sleep(time).await;
                    let slept = precise_now() - start;
                    check(slept >= time, || format!("a sleep of {time:?} took {slept:?}"));
                    did(Did::Timers, 1);
                }
                5 => {
                    let _ = timeout(random.micros(200), sleep(random.micros(200))).await;
                    did(Did::Timers, 2);
                }
                6 => {
                    let slow = sleep(random.micros(2_000));
                    let _ = tree.token.run_until_cancelled(slow).await;
                }
                7 => {
                    if random.chance(30) {
                        tree.token.cancel();
                    }
                }
                8 if random.chance(10) => {
                    did(Did::Panics, 1);
                    resume_unwind(Box::new(Fails));
                }
                _ if depth > 0 => {
                    let task = branch(&tree, &mut random, depth - 1);
                    end(task, &mut random).await;
                }
                _ => yield_now().await,
            }
        }
    })
}
