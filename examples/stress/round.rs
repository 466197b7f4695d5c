//! One runtime's life, and what must be true at its end.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bevy_ecs::prelude::{Resource, World};
use futures::channel::oneshot;
use onbeat::{Idle, JoinHandle, Pacing, Runtime, ShutdownHandle, ShutdownSignal, sleep, spawn};

use crate::{
    channels,
    tally::{Did, check, did, fail},
    tree, wakes,
};

/// How long a runtime may take to come to rest when everybody has been asked to.
const TO_REST: Duration = Duration::from_secs(20);

/// Numbers that look random: SplitMix64, of Steele, Lea and Flood, 2014.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    pub(crate) fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.within(0..most))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one thread is at, for the one that watches.
#[derive(Default)]
pub(crate) struct Board(Mutex<Option<(Instant, Arc<Living>)>>);

impl Board {
    /// Fails, and says who is left, if the round that is going on has taken longer than `limit`.
    pub(crate) fn check(&self, limit: Duration) {
        if let Some((start, living)) = &*lock(&self.0) {
            check(start.elapsed() < limit, || {
                format!("{} hangs; left are {}", living.round, living.left())
            });
        }
    }
}

/// Futures, values and threads of a round that are not over.
pub(crate) struct Living {
    round: String,
    next: AtomicU64,
    names: Mutex<HashMap<u64, &'static str>>,
}

impl Living {
    pub(crate) fn life(self: &Arc<Self>, name: &'static str) -> Life {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.names).insert(id, name);
        Life { id, living: self.clone() }
    }

    /// Who is left, by name.
    fn left(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        for name in lock(&self.names).values() {
            *counts.entry(name).or_default() += 1;
        }
        format!("{counts:?}")
    }
}

/// While it lives, its owner does. It is dropped once.
pub(crate) struct Life {
    id: u64,
    living: Arc<Living>,
}

impl Drop for Life {
    fn drop(&mut self) {
        let was_there = lock(&self.living.names).remove(&self.id).is_some();
        check(was_there, || format!("{}: something was dropped twice", self.living.round));
    }
}

/// How many closures ran.
#[derive(Resource, Default)]
pub(crate) struct Ran(pub(crate) u64);

/// What the programs of a round share.
pub(crate) struct Round {
    pub(crate) living: Arc<Living>,
    pub(crate) random: Random,
    /// The runtime goes in the middle of everything.
    pub(crate) cut: bool,
    pub(crate) closures: Arc<AtomicU64>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Completes when a thread is over.
    over: Vec<oneshot::Receiver<()>>,
}

impl Round {
    /// A part of the randomness for somebody else.
    pub(crate) fn split(&mut self) -> Random {
        Random::new(self.random.next())
    }

    pub(crate) fn task(&mut self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        let life = self.living.life(name);
        self.tasks.push(spawn(async move {
            let _life = life;
            future.await;
        }));
    }

    /// A thread that is over before the runtime rests.
    pub(crate) fn thread(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) {
        let (over, is_over) = oneshot::channel();
        self.over.push(is_over);
        self.last_thread(name, move || {
            run();
            drop(over);
        });
    }

    /// A thread that is over when the runtime is.
    fn last_thread(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) {
        let life = self.living.life(name);
        self.threads.push(thread::spawn(move || {
            let _life = life;
            run();
        }));
    }

    fn begin(&mut self, shutdown: &ShutdownHandle) {
        let programs = [
            channels::values,
            channels::there_and_back,
            channels::messages,
            channels::messages_of_many,
            wakes::ping,
            wakes::ask,
            tree::grow,
        ];
        for _ in 0..self.random.within(1..5) {
            let index = self.random.within(0..programs.len() as u64) as usize;
            programs[index](self);
        }
        let life = self.living.life("a task that waits for the shutdown");
        drop(spawn(async move {
            ShutdownSignal::current().await;
            drop(life);
        }));
        let signal = shutdown.signal();
        self.last_thread("a thread that waits for the shutdown", || {
            futures::executor::block_on(signal);
        });
    }
}

/// A runtime with random options.
fn runtime<'w>(world: &'w mut World, random: &mut Random) -> Runtime<'w> {
    let mut builder = Runtime::builder(world).tasks_per_cycle(random.within(1..200) as usize);
    if random.chance(50) {
        builder = builder.slab_bounded::<512>(64);
    }
    let pacing = match random.within(0..6) {
        0 => Pacing::FreeRunning,
        1 => Pacing::hertz(2_000).into(),
        2 => Pacing::Hybrid {
            at_most_every: Duration::from_micros(200),
            at_least_every: Duration::from_millis(1),
        },
        _ => Pacing::OnEvent,
    };
    let idle = match random.within(0..6) {
        0 => Idle::Spin,
        1 => Idle::Yield,
        2 => Idle::ParkThenSpin,
        _ => Idle::Park,
    };
    builder.pacing(pacing).idle(idle).build()
}

/// Makes a runtime, lets things happen, and drops it.
pub(crate) fn run(board: &Board, seed: u64) {
    let mut random = Random::new(seed);
    let living = Arc::new(Living {
        round: format!("the round of number {seed}"),
        next: AtomicU64::new(0),
        names: Mutex::default(),
    });
    *lock(&board.0) = Some((Instant::now(), living.clone()));
    let mut world = World::new();
    world.init_resource::<Ran>();
    let mut rt = runtime(&mut world, &mut random);
    let cut = random.chance(40);
    let closures = Arc::new(AtomicU64::new(0));
    let mut round = Round {
        living: living.clone(),
        cut,
        closures: closures.clone(),
        tasks: Vec::new(),
        threads: Vec::new(),
        over: Vec::new(),
        random,
    };
    let shutdown = rt.shutdown_handle();
    if cut {
        rt.block_on(async {
            round.begin(&shutdown);
            sleep(round.random.micros(3_000)).await;
        });
        did(Did::Cut, 1);
    } else {
        rt.block_on(to_the_end(&mut round, &shutdown));
        if let Err(error) = rt.shutdown_quiesce(TO_REST) {
            fail(&format!("{}: {error}", living.round));
        }
    }
    drop(rt);
    let Round { tasks, threads, .. } = round;
    drop(tasks);
    for thread in threads {
        check(thread.join().is_ok(), || format!("{}: a thread panicked", living.round));
    }
    let (ran, asked) = (world.resource::<Ran>().0, closures.load(Ordering::Relaxed));
    check(ran == asked || (cut && ran < asked), || {
        format!("{}: {asked} closures were taken, {ran} ran", living.round)
    });
    check(lock(&living.names).is_empty(), || {
        format!("{}: not dropped are {}", living.round, living.left())
    });
    did(Did::Closures, ran);
    did(Did::Runtimes, 1);
    *lock(&board.0) = None;
}

/// Begins, and waits for everybody but those who wait for the shutdown.
async fn to_the_end(round: &mut Round, shutdown: &ShutdownHandle) {
    round.begin(shutdown);
    for task in std::mem::take(&mut round.tasks) {
        check(task.join().await.is_ok(), || format!("{}: a task failed", round.living.round));
    }
    for over in std::mem::take(&mut round.over) {
        // Threads drop their end.
        let _ = over.await;
    }
}
