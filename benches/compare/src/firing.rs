//! 100,000 timers due at once, wheel to wheel: what one costs, and how long the longest turn is.
//!
//! A turn takes out 64 timers at most, as a turn of the loop does, where the structure lets its user say so.

use std::hint::black_box;
use std::mem::forget;
use std::time::{Duration, Instant};

use hierarchical_hash_wheel_timer::wheels::Skip;

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::wheels::{Hashed, Nexus, Onbeat, Random, Timers, Tree};

/// Timers that a turn takes out at most.
const TURN: usize = 64;
/// Entries that a turn of onbeat's moves ahead at most.
const MOVES: usize = 128;
const DUE_AT_ONCE: usize = 100_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Turns in time begin so long before the first deadline, a microsecond apart.
const AHEAD_NS: u64 = 30_000_000;

const NOTE: &str = "\
late: all are due when the wheel first hears of the time; in time: turns a microsecond apart, from 30 ms
  before. onbeat and BTreeMap fire by nanosecond and registration; nexus-timer and hierarchical_hash_wheel_timer
  by the millisecond, in no order within it, and the latter all of a millisecond in one turn.";

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// All turns together.
    All,
    /// The longest turn.
    Longest,
}

/// The questions about deadlines at one instant and within 5 ms.
pub(crate) fn questions() -> impl Iterator<Item = Question> {
    [("at one instant", 1), ("within 5 ms", 5_000_000)]
        .into_iter()
        .flat_map(|(when, span_ns)| [Part::All, Part::Longest].map(|part| (when, span_ns, part)))
        .map(|(when, span_ns, part)| question(when, span_ns, part))
}

fn question(when: &str, span_ns: u64, part: Part) -> Question {
    let (title, operations, role) = match part {
        Part::All => ("a timer of 100 k due", DUE_AT_ONCE, Role::Shown),
        Part::Longest => {
            ("longest turn, 100 k due", 1, Role::Judged(Reach::Nanoseconds(100_000.0)))
        }
    };
    let late_ns = SECOND_NS + span_ns;
    let in_time_ns = SECOND_NS - AHEAD_NS;
    Question {
        title: format!("firing, {title} {when}"),
        operations,
        contenders: vec![
            Contender::new("nexus-timer 1.4, late", Role::Reference, move || {
                fire::<Nexus>(span_ns, late_ns, part)
            }),
            Contender::new("onbeat wheel, late", role, move || {
                fire::<Onbeat>(span_ns, late_ns, part)
            }),
            Contender::new("onbeat wheel, in time", role, move || {
                fire::<Onbeat>(span_ns, in_time_ns, part)
            }),
            Contender::new("BTreeMap, late", Role::Shown, move || {
                fire::<Tree>(span_ns, late_ns, part)
            }),
            Contender::new("hierarchical_hash_wheel_timer, late", Role::Shown, move || {
                fire::<Hashed>(span_ns, late_ns, part)
            }),
        ],
        note: Some(NOTE),
        unit: Unit::default(),
    }
}

/// A structure whose timers come due.
trait Fires: Timers {
    /// One turn at this time: how many fired.
    fn turn(&mut self, now_ns: u64) -> usize;
}

/// Turns that fire nothing before the first are not timed, but for the longest.
fn fire<T: Fires>(span_ns: u64, mut now_ns: u64, part: Part) -> Duration {
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

impl Fires for Nexus {
    fn turn(&mut self, now_ns: u64) -> usize {
        self.fired.clear();
        let now = self.origin + Duration::from_nanos(now_ns);
        let fired = self.wheel.poll_with_limit(now, TURN, &mut self.fired);
        black_box(&self.fired);
        fired
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

impl Fires for Hashed {
    /// The time of the wheel goes on by itself, a millisecond a turn.
    fn turn(&mut self, _: u64) -> usize {
        match self.wheel.can_skip() {
            Skip::Empty => 0,
            Skip::Millis(ms) => {
                self.wheel.skip(ms);
                0
            }
            Skip::None => black_box(self.wheel.tick()).len(),
        }
    }
}
