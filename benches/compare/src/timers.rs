//! What timers are put into and taken out of, and the passes over it. It needs no peer, so that whoever is
//! compared in a program of its own meets the same.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::mem::forget;
use std::time::{Duration, Instant};

#[path = "../../../src/timer/wheel/mod.rs"]
#[allow(dead_code, reason = "a part of the wheel is enough to ask about it")]
mod wheel;

/// Timers that a turn takes out at most.
pub(crate) const TURN: usize = 64;
/// Entries that a turn of onbeat's moves ahead at most.
const MOVES: usize = 128;
pub(crate) const DUE_AT_ONCE: usize = 100_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Which timer is cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cancel {
    /// Any of the living; another takes its place.
    Any,
    /// The one that was just inserted.
    Same,
}

/// A structure that timers are put into and taken out of.
pub(crate) trait Timers {
    /// Names a timer.
    type Id;
    fn new() -> Self;
    fn insert(&mut self, delay_ns: u64) -> Self::Id;
    fn cancel(&mut self, id: Self::Id);
}

/// Does a pass at each call. The living timers are made at the first, and stay.
pub(crate) fn passes<T: Timers + 'static>(
    live: usize,
    cancel: Cancel,
    operations: usize,
) -> impl FnMut() -> Duration + 'static
where
    T::Id: 'static,
{
    let mut random = Random::new();
    let mut alive: Option<(T, Vec<Option<T::Id>>)> = None;
    move || {
        let (timers, ids) = alive.get_or_insert_with(|| {
            let mut timers = T::new();
            let ids = (0..live).map(|_| Some(timers.insert(random.delay_ns()))).collect();
            (timers, ids)
        });
        let picks: Vec<_> = (0..operations).map(|_| random.pick(live)).collect();
        let start = Instant::now();
        for (index, delay_ns) in picks {
            match cancel {
                Cancel::Any => {
                    timers.cancel(ids[index].take().expect("every place holds a timer"));
                    ids[index] = Some(timers.insert(delay_ns));
                }
                Cancel::Same => {
                    let id = timers.insert(delay_ns);
                    timers.cancel(id);
                }
            }
        }
        start.elapsed()
    }
}

/// Marsaglia's xorshift: each contender meets the same delays.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn delay_ns(&mut self) -> u64 {
        1_000_000 + self.below(30_000_000_000)
    }

    /// A living timer, and the delay of the next.
    pub(crate) fn pick(&mut self, live: usize) -> (usize, u64) {
        (self.below(live as u64) as usize, self.delay_ns())
    }
}

pub(crate) struct Onbeat(pub(crate) wheel::Wheel<usize>);

impl Timers for Onbeat {
    type Id = wheel::TimerId;

    fn new() -> Self {
        Self(wheel::Wheel::new(0))
    }

    fn insert(&mut self, delay_ns: u64) -> Self::Id {
        self.0.insert(delay_ns, 1)
    }

    fn cancel(&mut self, id: Self::Id) {
        black_box(self.0.cancel(id));
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// All turns together.
    All,
    /// The longest turn.
    Longest,
}

/// A structure whose timers come due.
pub(crate) trait Fires: Timers {
    /// One turn at this time: how many fired.
    fn turn(&mut self, now_ns: u64) -> usize;
}

/// Turns that fire nothing before the first are not timed, but for the longest.
pub(crate) fn fire<T: Fires>(span_ns: u64, mut now_ns: u64, part: Part) -> Duration {
    let mut random = Random::new();
    let mut timers = T::new();
    for _ in 0..DUE_AT_ONCE {
        // What names a timer must not be dropped, says nexus-timer; nobody cancels here.
        forget(timers.insert(SECOND_NS + random.below(span_ns)));
    }
    let (mut all, mut longest, mut fired) = (Duration::ZERO, Duration::ZERO, 0);
    while fired < DUE_AT_ONCE {
        let start = Instant::now();
        let count = timers.turn(now_ns);
        let turn = start.elapsed();
        longest = longest.max(turn);
        if count > 0 || now_ns >= SECOND_NS {
            all += turn;
        }
        fired += count;
        now_ns += 1_000;
    }
    match part {
        Part::All => all,
        Part::Longest => longest,
    }
}

impl Fires for Onbeat {
    fn turn(&mut self, now_ns: u64) -> usize {
        let mut fired = 0;
        while fired < TURN
            && let Some(timer) = self.0.pop_due(now_ns, u64::MAX)
        {
            black_box(timer);
            fired += 1;
        }
        self.0.advance(now_ns, MOVES);
        fired
    }
}

pub(crate) struct Tree {
    pub(crate) timers: BTreeMap<(u64, u64), usize>,
    next: u64,
}

impl Timers for Tree {
    type Id = (u64, u64);

    fn new() -> Self {
        Self { timers: BTreeMap::new(), next: 0 }
    }

    fn insert(&mut self, delay_ns: u64) -> Self::Id {
        let id = (delay_ns, self.next);
        self.next += 1;
        self.timers.insert(id, 1);
        id
    }

    fn cancel(&mut self, id: Self::Id) {
        black_box(self.timers.remove(&id));
    }
}

impl Fires for Tree {
    fn turn(&mut self, now_ns: u64) -> usize {
        let mut fired = 0;
        while fired < TURN
            && let Some(timer) = self.timers.first_entry()
            && timer.key().0 <= now_ns
        {
            black_box(timer.remove());
            fired += 1;
        }
        fired
    }
}
