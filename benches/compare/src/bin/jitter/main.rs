//! How late each tick of onbeat and of its peers begins, at fixed rates, and how long a datagram takes from
//! the descriptor to a resource; printed as tables, and written as a report.

mod beat;
mod chart;
mod figures;
mod headline;
mod load;
mod machine;
mod passes;
mod plan;
mod raw;
mod report;
mod runtimes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use core_affinity::CoreId;

use crate::figures::Figures;
use crate::headline::Latencies;
use crate::machine::Machine;
use crate::passes::Order;
use crate::plan::{Cell, Size, cells};
use crate::report::Measured;

/// Measures how late ticks begin, against an absolute schedule, and writes a report.
///
/// Each table is a rate and a load; the contenders take turns on one core. Tick k is compared with
/// t0 + k * period; every tick is recorded. `missed` began only when the next was due, or never;
/// `drift` is the median lateness of the last tenth of a pass less that of the first; `CPU` is the
/// processor time of the thread by the time that passed.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// A few short passes: shows that everything runs, the figures mean little.
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
    let mut cells = cells(size);
    cells.retain(|cell| wanted(&cell.title()));
    if cells.is_empty() && !wanted("headline") {
        return Err("no table has that in its title".to_owned());
    }
    let mut machine = Machine::look(core.map(|core| core.id));
    let began = Instant::now();
    let headline = if wanted("headline") { headline(size, core)? } else { Vec::new() };
    let mut measured = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        eprintln!("[{:>3} s] table {} of {}", began.elapsed().as_secs(), index + 1, cells.len());
        let one = measure(cell, core)?;
        println!("{}\n", report::text(&one));
        measured.push(one);
    }
    machine.end();
    for (bar, figure, held) in report::bars(&measured, &headline) {
        println!("{bar}: {figure}: {}", if held { "yes" } else { "NO" });
    }
    write(&arguments.report, &report::html(&machine, &measured, &headline))?;
    if let Some(file) = &arguments.picture {
        let picture = report::picture(&measured);
        write(file, &picture.ok_or("the picture needs a table with nothing else to do")?)?;
    }
    Ok(())
}

fn headline(size: Size, core: Option<CoreId>) -> Result<Vec<Latencies>, String> {
    let (passes, datagrams) = match size {
        Size::Quick => (1, 200),
        Size::Usual => (3, 2_000),
        Size::Full => (10, 10_000),
    };
    let answer = headline::measure(passes, datagrams, core, |name| {
        eprintln!("  datagrams: {name}");
    })?;
    println!("{}\n", report::headline_text(&answer));
    Ok(answer)
}

/// Runs the contenders of a cell in turns; each round begins with another one.
fn measure(cell: &Cell, core: Option<CoreId>) -> Result<Measured, String> {
    let mut rows: Vec<_> =
        cell.contenders.iter().map(|contender| (*contender, Figures::new())).collect();
    let count = rows.len();
    let period_ns = (Duration::from_secs(1) / cell.rate_hz).as_nanos() as u64;
    for pass in 0..cell.passes as usize {
        for step in 0..count {
            let (contender, figures) = &mut rows[(pass + step) % count];
            if figures.hung {
                continue;
            }
            eprintln!("  {}, pass {}: {}", cell.title(), pass + 1, contender.name());
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
    }
    Ok(Measured { cell: cell.clone(), rows })
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
