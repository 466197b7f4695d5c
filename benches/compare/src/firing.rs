//! 100,000 timers due at once, wheel to wheel: what one costs, and how long the longest turn is.
//!
//! A turn takes out 64 timers at most, as a turn of the loop does, where the structure lets its user say so.

use std::hint::black_box;
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::timers::{DUE_AT_ONCE, Fires, Onbeat, Part, SECOND_NS, TURN, Tree, fire};
use crate::wheels::{Hashed, Nexus};

/// Turns in time begin so long before the first deadline, a microsecond apart.
const AHEAD_NS: u64 = 30_000_000;

const NOTE: &str = "\
late: all are due when the wheel first hears of the time; in time: turns a microsecond apart, from 30 ms
  before. onbeat and BTreeMap fire by nanosecond and registration; nexus-timer and hierarchical_hash_wheel_timer
  by the millisecond, in no order within it, and the latter all of a millisecond in one turn.";

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

impl Fires for Nexus {
    fn turn(&mut self, now_ns: u64) -> usize {
        self.fired.clear();
        let now = self.origin + Duration::from_nanos(now_ns);
        let fired = self.wheel.poll_with_limit(now, TURN, &mut self.fired);
        black_box(&self.fired);
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
