//! How late each tick of onbeat and of its peers begins, at fixed rates, and how long a datagram takes from
//! the descriptor to a resource; printed as tables, and written as a report.

mod bars;
mod beat;
mod chart;
mod disturbance;
mod figures;
mod headline;
mod load;
mod machine;
mod measured;
mod passes;
mod plan;
mod raw;
mod report;
mod runtimes;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use core_affinity::CoreId;

use crate::machine::Machine;
use crate::measured::Measured;
use crate::passes::Order;
use crate::plan::{Size, cells, turn};

/// Measures how late ticks begin, against an absolute schedule, and writes a report.
///
/// Each table is a rate and a load; the contenders take turns on one core. Tick k is compared with
/// t0 + k * period; every tick is recorded.
///
/// The run goes in rounds: in each, every contender of every table has one short pass. Every figure is
/// taken of each pass alone, and tables, curves, pictures and verdicts show the median of the passes, so
/// that what disturbs the machine for some seconds moves none of them. A percentile finer than a pass has
/// ticks is its latest one. Only `max`, `missed` and `early` are of all passes.
///
/// `missed` began only when the next was due, or never; `early` began before its time; `drift` is the
/// median lateness of the last tenth of a pass less that of the first; `CPU` is the processor time of the
/// thread by the time that passed; `disturbed` passes were kept from their core for more than 1 % of the
/// time, by the host (steal) or by another thread.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// Two rounds of short passes: shows that everything runs, the figures mean little.
    #[arg(long, conflicts_with = "full")]
    quick: bool,

    /// Every rate under every combination of loads: about an hour.
    #[arg(long)]
    full: bool,

    /// Only the tables whose title has TEXT in it; "headline" is that of the datagrams.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Where the report goes.
    #[arg(long, value_name = "FILE", default_value = "target/jitter.html")]
    report: PathBuf,

    /// Also write the percentile curves at 1 kHz, as a picture.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Measure on this core instead of the last one.
    #[arg(long, value_name = "ID")]
    core: Option<usize>,

    /// Run one pass and print it: how this program runs what may hang.
    #[arg(long, hide = true, num_args = 3..=4)]
    child: Option<Vec<String>>,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release --bin jitter                       about four minutes
  cargo run --release --bin jitter -- --quick            a few cells, in seconds
  cargo run --release --bin jitter -- --only '1000 Hz'   one rate
  cargo run --release --bin jitter -- --only headline
  cargo run --release --bin jitter -- --picture ../../docs/jitter.svg

Notes:
  spin, hybrid and park are Idle::Spin, Idle::ParkThenSpin and Idle::Park.
  No verdict changes the exit status: what a machine allows is not the program's to judge.
  Nobody skips a beat: onbeat and tokio make up for late ones. bevy's runner waits for a whole period
  after each frame, and so falls behind.
  nexus runs in a process of its own, which is ended when it hangs.
  Traffic and foreign wakes also go on beside the control, which does not listen.

Exit status: 0 all was measured, 1 it could not run.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = pick_core(arguments.core).and_then(|core| match &arguments.child {
        Some(asked) => passes::child(asked, core),
        None => run(&arguments, core),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("jitter: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, core: Option<CoreId>) -> Result<(), String> {
    let size = match (arguments.quick, arguments.full) {
        (true, _) => Size::Quick,
        (_, true) => Size::Full,
        _ => Size::Usual,
    };
    let wanted = |title: &str| arguments.only.as_ref().is_none_or(|text| title.contains(text));
    let cells = cells(size).into_iter().filter(|cell| wanted(&cell.title()));
    let mut measured: Vec<_> = cells.map(Measured::nothing_yet).collect();
    let mut headline = if wanted("headline") { headline::all() } else { Vec::new() };
    if measured.is_empty() && headline.is_empty() {
        return Err("no table has that in its title".to_owned());
    }
    let machine = Machine::look(core);
    let began = Instant::now();
    for round in 0..size.rounds() as usize {
        let number = round + 1;
        eprintln!("[{:>3} s] round {number} of {}", began.elapsed().as_secs(), size.rounds());
        headline::round(&mut headline, round, size.datagrams(), core)?;
        for one in &mut measured {
            measure(one, round, core)?;
        }
    }
    let machine = machine.end();
    if !headline.is_empty() {
        println!("{}\n", text::headline(&headline));
    }
    for one in &measured {
        println!("{}\n", text::table(one));
    }
    println!("{}\n", text::machine(&machine));
    for bar in bars::all(&measured, &headline) {
        println!("{}: {}: {}", bar.what, bar.figure, bar.verdict());
    }
    write(&arguments.report, &report::html(&machine, &measured, &headline))?;
    if let Some(file) = &arguments.picture {
        let picture = report::picture(&measured);
        write(file, &picture.ok_or("the picture needs a table with nothing else to do")?)?;
    }
    Ok(())
}

/// Runs a pass of each contender of a table.
fn measure(one: &mut Measured, round: usize, core: Option<CoreId>) -> Result<(), String> {
    let Measured { cell, rows } = one;
    let count = rows.len();
    let period_ns = (Duration::from_secs(1) / cell.rate_hz).as_nanos() as u64;
    for step in 0..count {
        let (contender, figures) = &mut rows[turn(round, step, count)];
        if figures.hung {
            continue;
        }
        let order = Order {
            contender: *contender,
            rate_hz: cell.rate_hz,
            load: cell.load,
            length: cell.pass,
            core,
        };
        match passes::run(order)? {
            Some(pass) => figures.add(&pass, period_ns),
            None => figures.hung = true,
        }
    }
    Ok(())
}

/// The core to measure on: that one, or the last, which has least to do with interrupts.
fn pick_core(wanted: Option<usize>) -> Result<Option<CoreId>, String> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match wanted {
        Some(id) => match cores.iter().find(|core| core.id == id) {
            Some(core) => Ok(Some(*core)),
            None => Err(format!("there is no core {id} for this process")),
        },
        None => Ok(cores.last().copied()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let written =
        file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    written.map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    println!("written: {}", file.display());
    Ok(())
}
