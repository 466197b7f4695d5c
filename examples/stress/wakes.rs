//! Wakes, closures and tasks of other threads.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread::{self, Thread},
};

use onbeat::{CancelReason, Handle, JoinError, sleep, yield_now};

use crate::{
    round::{Ran, Round, lock},
    tally::{Did, check, did},
};

/// A game in lockstep: each wake is waited for, so one that is lost ends it.
#[derive(Default)]
struct Game {
    served: AtomicU64,
    returned: AtomicU64,
    gone: AtomicBool,
    waker: Mutex<Option<Waker>>,
    server: Mutex<Option<Thread>>,
}

impl Game {
    fn tell_server(&self) {
        if let Some(server) = &*lock(&self.server) {
            server.unpark();
        }
    }
}

/// Tells the server when the task goes.
struct Player(Arc<Game>);

impl Drop for Player {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        self.0.tell_server();
    }
}

/// A thread wakes a task, and the task the thread, in turn.
pub(crate) fn ping(round: &mut Round) {
    let game = Arc::new(Game::default());
    let count = round.random.within(1..500);
    let player = Player(game.clone());
    round.thread("a thread that wakes", move || {
        *lock(&game.server) = Some(thread::current());
        for number in 1..=count {
            game.served.store(number, Ordering::Release);
            let waker = lock(&game.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
            while game.returned.load(Ordering::Acquire) < number {
                if game.gone.load(Ordering::Acquire) {
                    return;
                }
                thread::park();
            }
            did(Did::Wakes, 1);
        }
    });
    round.task("a task that is woken", async move {
        for number in 1..=count {
            poll_fn(|cx| {
                *lock(&player.0.waker) = Some(cx.waker().clone());
                if player.0.served.load(Ordering::Acquire) >= number {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            player.0.returned.store(number, Ordering::Release);
            player.0.tell_server();
        }
    });
}

/// A thread asks for closures and tasks, waits for some of the answers, and drops others.
pub(crate) fn ask(round: &mut Round) {
    let (handle, cut, closures) = (Handle::current(), round.cut, round.closures.clone());
    let (living, mut random) = (round.living.clone(), round.split());
    let is_allowed = move |error: &JoinError| {
        cut && matches!(error, JoinError::Cancelled(CancelReason::RuntimeGone))
    };
    round.thread("a thread that asks", move || {
        for number in 0..random.within(1..100) {
            let life = living.life("what a thread asked for");
            if random.chance(50) {
                let ask = handle.run_with_world(move |world| {
                    world.resource_mut::<Ran>().0 += 1;
                    drop(life);
                    number
                });
                let Ok(join) = ask else {
                    check(cut, || "a runtime that runs refused a closure".to_owned());
                    return;
                };
                closures.fetch_add(1, Ordering::Relaxed);
                if random.chance(30) {
                    match join.wait() {
                        Ok(answer) => check(answer == number, || "another's answer".to_owned()),
                        Err(error) => check(is_allowed(&error), || format!("a closure: {error}")),
                    }
                }
            } else {
                let time = random.micros(300);
                let make = move || async move {
                    let _life = life;
                    yield_now().await;
                    sleep(time).await;
                    number
                };
                let Ok(join) = handle.spawn_with(make) else {
                    check(cut, || "a runtime that runs refused a task".to_owned());
                    return;
                };
                did(Did::RemoteTasks, 1);
                if random.chance(20) {
                    match join.wait() {
                        Ok(answer) => check(answer == number, || "another's answer".to_owned()),
                        Err(error) => check(is_allowed(&error), || format!("a task: {error}")),
                    }
                }
            }
            if random.chance(10) {
                handle.wake();
            }
        }
    });
}
