//! Wheel to wheel: the data structures alone, without a runtime, with so many timers alive.
//!
//! What is asked of each: to take a timer out that any of the living may be, and to put another in. Delays
//! are from 1 ms to 30 s, no two alike, and time stands still.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hierarchical_hash_wheel_timer::IdOnlyTimerEntry;
use hierarchical_hash_wheel_timer::wheels::cancellable::QuadWheelWithOverflow;

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::tokio;

#[path = "../../../src/timer/wheel/mod.rs"]
#[allow(dead_code, reason = "a part of the wheel is enough to ask about it")]
mod wheel;

const NOTE: &str = "\
an operation is a cancel of a random timer and an insert. nexus-timer is 1.4: 1.5 has the same major version,
  so cargo will not have both, and nexus-async-rt does not compile with 1.5.";

const NOTE_SAME: &str = "\
an operation is an insert and a cancel of that same timer. hierarchical_hash_wheel_timer frees what was
  cancelled when its time has come only, and both of its rows live with that.";

/// Which timer is cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cancel {
    /// Any of the living; another takes its place.
    Any,
    /// The one that was just inserted.
    Same,
}

/// The questions about wheels with 100 to 1,000,000 timers alive.
pub(crate) fn questions(operations: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    for (live, name) in [(100, "100"), (10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M")] {
        for cancel in [Cancel::Any, Cancel::Same] {
            questions.push(question(live, name, cancel, operations));
        }
    }
    questions
}

fn question(live: usize, name: &str, cancel: Cancel, operations: usize) -> Question {
    let role = if live <= 100_000 { Role::Judged(Reach::Ratio(0.5)) } else { Role::Shown };
    let mut contenders = vec![
        Contender::new(
            "nexus-timer 1.4",
            Role::Reference,
            passes::<Nexus>(live, cancel, operations),
        ),
        Contender::new("onbeat wheel", role, passes::<Onbeat>(live, cancel, operations)),
        Contender::new("BTreeMap", Role::Shown, passes::<Tree>(live, cancel, operations)),
    ];
    if live <= 100_000 {
        let hashed = passes::<Hashed>(live, cancel, operations);
        contenders.push(Contender::new("hierarchical_hash_wheel_timer", Role::Shown, hashed));
        let through = move || tokio::sleeps_alive(live, cancel, operations);
        contenders.push(Contender::new("tokio sleep, through its runtime", Role::Shown, through));
    }
    let what = match cancel {
        Cancel::Any => "cancel and insert",
        Cancel::Same => "insert and cancel",
    };
    let note = match cancel {
        Cancel::Any => NOTE,
        Cancel::Same => NOTE_SAME,
    };
    let title = format!("wheel, {what}, {name} live");
    Question { title, operations, contenders, note: Some(note), unit: Unit::default() }
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
fn passes<T: Timers + 'static>(
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

pub(crate) struct Nexus {
    pub(crate) wheel: nexus_timer::Wheel<usize>,
    pub(crate) origin: Instant,
    /// What a turn fires.
    pub(crate) fired: Vec<usize>,
}

impl Timers for Nexus {
    type Id = nexus_timer::TimerHandle<usize>;

    fn new() -> Self {
        let origin = Instant::now();
        Self { wheel: nexus_timer::Wheel::unbounded(4_096, origin), origin, fired: Vec::new() }
    }

    fn insert(&mut self, delay_ns: u64) -> Self::Id {
        self.wheel.schedule(self.origin + Duration::from_nanos(delay_ns), 1)
    }

    fn cancel(&mut self, id: Self::Id) {
        black_box(self.wheel.cancel(id));
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

pub(crate) struct Hashed {
    pub(crate) wheel: QuadWheelWithOverflow<IdOnlyTimerEntry<u64>>,
    next: u64,
}

impl Timers for Hashed {
    type Id = u64;

    fn new() -> Self {
        Self { wheel: QuadWheelWithOverflow::new(), next: 0 }
    }

    fn insert(&mut self, delay_ns: u64) -> Self::Id {
        let id = self.next;
        self.next += 1;
        let entry = IdOnlyTimerEntry { id, delay: Duration::from_nanos(delay_ns) };
        self.wheel.insert(entry).expect("the delay is at least a millisecond");
        id
    }

    fn cancel(&mut self, id: Self::Id) {
        self.wheel.cancel(&id).expect("no time passes, so the timer is alive");
    }
}
