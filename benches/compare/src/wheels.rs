//! Wheel to wheel: the data structures alone, without a runtime, with so many timers alive.
//!
//! What is asked of each: to take a timer out that any of the living may be, and to put another in. Delays
//! are from 1 ms to 30 s, no two alike, and time stands still.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hierarchical_hash_wheel_timer::IdOnlyTimerEntry;
use hierarchical_hash_wheel_timer::wheels::cancellable::QuadWheelWithOverflow;

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::timers::{Cancel, Onbeat, Timers, Tree, passes};
use crate::tokio;

const NOTE: &str = "\
an operation is a cancel of a random timer and an insert. nexus-timer is 1.4, with which nexus-async-rt
  compiles. Cargo will not have 1.5 beside it: that is asked in a workspace of its own, `newer`.";

const NOTE_SAME: &str = "\
an operation is an insert and a cancel of that same timer. hierarchical_hash_wheel_timer frees what was
  cancelled when its time has come only, and both of its rows live with that.";

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
