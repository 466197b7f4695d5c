//! nexus-timer 1.5 beside onbeat's wheel, at the questions about wheels that the comparison asks 1.4.
//!
//! Cargo has one version of a crate for each major one, and nexus-async-rt needs 1.4: so this is a program
//! and a workspace of its own.

#[path = "../../src/question.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod question;
#[path = "../../src/table.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod table;
#[path = "../../src/timers.rs"]
mod timers;
#[path = "../../src/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nexus_timer::{TimerHandle, Wheel};

use crate::question::{Contender, Question, Role, Unit, measure};
use crate::timers::{
    Cancel, DUE_AT_ONCE, Fires, Onbeat, Part, SECOND_NS, TURN, Timers, Tree, fire, passes,
};
use crate::watchdog::Watchdog;

/// A pass that takes longer hangs.
const HANG_AFTER: Duration = Duration::from_secs(60);

const NOTE: &str = "\
onbeat and BTreeMap fire by nanosecond and registration, nexus-timer by the millisecond, in no order within
  it. It is polled by poll_with_limit, as 1.4 is.";

/// Compares onbeat's wheel with nexus-timer 1.5.
///
/// Figures, ratios and tables are those of the comparison in the folder above, which has 1.4 and the bars.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// One short pass of everything: shows that it runs, its figures mean little.
    #[arg(long)]
    quick: bool,

    /// Run on this core instead of the last one.
    #[arg(long, value_name = "ID")]
    core: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (rounds, operations) = if arguments.quick { (3, 10_000) } else { (21, 100_000) };
    let watchdog = Watchdog::start(HANG_AFTER);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = match arguments.core {
        Some(wanted) => cores.into_iter().find(|core| core.id == wanted),
        None => cores.into_iter().last(),
    };
    let pinned = core.filter(|core| core_affinity::set_for_current(*core));
    let core = pinned.map_or("unknown (not pinned)".to_owned(), |core| core.id.to_string());
    println!("core {core}, {rounds} rounds, ns an operation\n");
    for mut question in questions(operations) {
        let answer = measure(&mut question, rounds, &watchdog);
        println!("{}", table::render(&answer));
    }
    ExitCode::SUCCESS
}

fn questions(operations: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    for (live, name) in [(100, "100"), (10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M")] {
        for (cancel, what) in
            [(Cancel::Any, "cancel and insert"), (Cancel::Same, "insert and cancel")]
        {
            questions.push(Question {
                title: format!("wheel, {what}, {name} live"),
                operations,
                contenders: vec![
                    Contender::new(
                        "nexus-timer 1.5",
                        Role::Reference,
                        passes::<Nexus>(live, cancel, operations),
                    ),
                    Contender::new(
                        "onbeat wheel",
                        Role::Shown,
                        passes::<Onbeat>(live, cancel, operations),
                    ),
                    Contender::new(
                        "BTreeMap",
                        Role::Shown,
                        passes::<Tree>(live, cancel, operations),
                    ),
                ],
                note: Some(NOTE),
                unit: Unit::Nanoseconds,
            });
        }
    }
    for (when, span_ns) in [("at one instant", 1), ("within 5 ms", 5_000_000)] {
        questions.extend([Part::All, Part::Longest].map(|part| firing(when, span_ns, part)));
    }
    questions
}

fn firing(when: &str, span_ns: u64, part: Part) -> Question {
    let (title, operations) = match part {
        Part::All => ("a timer of 100 k due", DUE_AT_ONCE),
        Part::Longest => ("longest turn, 100 k due", 1),
    };
    let late_ns = SECOND_NS + span_ns;
    Question {
        title: format!("firing, {title} {when}"),
        operations,
        contenders: vec![
            Contender::new("nexus-timer 1.5, late", Role::Reference, move || {
                fire::<Nexus>(span_ns, late_ns, part)
            }),
            Contender::new("onbeat wheel, late", Role::Shown, move || {
                fire::<Onbeat>(span_ns, late_ns, part)
            }),
            Contender::new("BTreeMap, late", Role::Shown, move || {
                fire::<Tree>(span_ns, late_ns, part)
            }),
        ],
        note: Some(NOTE),
        unit: Unit::Nanoseconds,
    }
}

struct Nexus {
    wheel: Wheel<usize>,
    origin: Instant,
    /// What a turn fires.
    fired: Vec<usize>,
}

impl Timers for Nexus {
    /// One that is dropped and not given back panics where debug assertions are on.
    type Id = ManuallyDrop<TimerHandle<usize>>;

    fn new() -> Self {
        let origin = Instant::now();
        Self { wheel: Wheel::unbounded(4_096, origin), origin, fired: Vec::new() }
    }

    fn insert(&mut self, delay_ns: u64) -> Self::Id {
        let deadline = self.origin + Duration::from_nanos(delay_ns);
        ManuallyDrop::new(self.wheel.schedule(deadline, 1))
    }

    fn cancel(&mut self, id: Self::Id) {
        black_box(self.wheel.cancel(ManuallyDrop::into_inner(id)));
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
