//! The same work on onbeat, nexus-async-rt, tokio, async-executor, compio and bevy, interleaved in one
//! process on one core, printed as nanoseconds an operation and as ratios.

mod access;
mod async_executor;
mod bytes;
mod channels;
mod compio;
mod counting;
mod firing;
mod floor;
mod foreign;
mod hosts;
mod latency;
mod lifecycle;
mod nexus;
mod onbeat;
mod passing;
mod question;
mod questions;
mod slab;
mod sleepers;
mod spawning;
mod systems;
mod table;
mod tick_rate;
mod timers;
mod tokio;
mod watchdog;
mod wheels;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::question::{Answer, measure};
use crate::questions::Size;
use crate::watchdog::Watchdog;

/// A figure this many times its bar is a regression and not the machine's noise.
const GENEROUS: f64 = 2.0;

/// The exit status of `--check` when a bar is missed by far.
const MISSED_BY_FAR: u8 = 4;

/// Compares onbeat with its peers at the same work, in one process, interleaved, on one core.
///
/// Each question is a table. A round runs one pass of every contender, in turn; `median ns` and
/// `min ns` are over the rounds, for one operation (a poll, a task, a tick). `ratio` is the median
/// over the rounds of the contender's time by the reference's in the same round: below 1 is faster.
/// `reach` is the bar that the design sets, and `NO` is a loss. The last two lines say which bars hold.
///
/// A noisy machine moves nanoseconds a lot and ratios a little. Run it twice before you believe a
/// difference of a tenth.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// One short pass of everything: shows that it runs, its figures mean little.
    #[arg(long)]
    quick: bool,

    /// How many rounds (21, or 3 with --quick).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,

    /// Ask only the questions whose title has TEXT in it. Given more than once: any of them.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,

    /// Run on this core instead of the last one.
    #[arg(long, value_name = "ID")]
    core: Option<usize>,

    /// End with status 4 when a figure is more than twice its bar.
    #[arg(long)]
    check: bool,

    /// Call a pass hung after so many seconds, and end with status 3.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    hang_after: u64,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release                        every question, some minutes
  cargo run --release -- --markdown          the same as the table that the README shows
  cargo run --release -- --quick             what CI runs
  cargo run --release -- --only 'self-wake, 64'
  cargo run --release -- --only tick --rounds 101
  cargo run --release --features bevy-peers -- --only access
                                             who else gives a task the World; brings two older bevys
  cargo run --release -- --markdown --only channel --only waker --only foreign --only 'bytes a'

Notes:
  Questions about two threads use two cores: the other thread is pinned to the first one.
  The driver that spawns and joins is a spawned task in every contender.
  nexus and onbeat get the same tasks_per_cycle, large enough for all tasks of a question.
  With 1 task, tokio's spinner is polled as often as the task: that row pays for two polls.
  onbeat polls mio in every tick that finds no task ready, if a socket is registered; so \"mio in
  every 61st\" has one task that wakes itself, and its poll is in the figure.

Exit status: 0 all was measured, 1 it could not run, 3 a contender hung, 4 see --check.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(answers) => {
            println!("{}", table::summary(&answers));
            if arguments.check { check(&answers) } else { ExitCode::SUCCESS }
        }
        Err(message) => {
            eprintln!("onbeat-compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Vec<Answer>, String> {
    let (size, rounds) = if arguments.quick { (Size::QUICK, 3) } else { (Size::FULL, 21) };
    let rounds = arguments.rounds.map_or(rounds, |rounds| rounds as usize);
    let mut questions = questions::all(size);
    if !arguments.only.is_empty() {
        let asked = |title: &str| arguments.only.iter().any(|text| title.contains(text));
        questions.retain(|question| asked(&question.title));
        if questions.is_empty() {
            return Err(format!("no question has any of {:?} in its title", arguments.only));
        }
    }
    let watchdog = Watchdog::start(Duration::from_secs(arguments.hang_after));
    let core = pin(arguments.core)?;
    println!("core {core}, {rounds} rounds, ns an operation\n");
    if arguments.markdown {
        println!("{}", table::MARKDOWN_HEAD);
    }
    let mut all = Vec::new();
    for mut question in questions {
        // What it keeps from round to round goes with it: a million sleepers take memory.
        let answer = measure(&mut question, rounds, &watchdog);
        if arguments.markdown {
            print!("{}", table::markdown(&answer));
        } else {
            println!("{}", table::render(&answer));
        }
        all.push(answer);
    }
    Ok(all)
}

/// Pins this thread, and gives the core's id. Where the system does not let it, the figures are
/// worth less and that is said.
fn pin(wanted: Option<usize>) -> Result<String, String> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = match wanted {
        Some(id) => *cores
            .iter()
            .find(|core| core.id == id)
            .ok_or_else(|| format!("there is no core {id} for this process"))?,
        None => match cores.last() {
            Some(core) => *core,
            None => return Ok("unknown (not pinned)".to_owned()),
        },
    };
    if let Some(other) = cores.iter().find(|other| other.id != core.id) {
        foreign::others_run_on(*other);
    }
    let pinned = core_affinity::set_for_current(core);
    Ok(if pinned { core.id.to_string() } else { format!("{} (not pinned)", core.id) })
}

fn check(answers: &[Answer]) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for figure in answers.iter().flat_map(|answer| &answer.figures) {
        if let Some(part) = figure.part_of_reach().filter(|part| *part > GENEROUS) {
            eprintln!("onbeat-compare: {} is at {part:.1} times its bar", figure.name);
            status = ExitCode::from(MISSED_BY_FAR);
        }
    }
    status
}
