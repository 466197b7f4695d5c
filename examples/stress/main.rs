//! onbeat under stress: runtimes that live for milliseconds, and threads that wake, send, ask and leave at
//! random.
//!
//! ```text
//! cargo run --release --example stress -- --seconds 600
//! cargo run --release --example stress -- --help
//! ```
//!
//! In reading order:
//!
//! - [`round`]: one runtime's life, and what must be true at its end;
//! - [`channels`], [`wakes`], [`tree`]: what goes on in it;
//! - [`tally`]: what was done, and how a violation ends the program.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;

use round::{Board, Random};

mod channels;
mod round;
mod tally;
mod tree;
mod wakes;

/// A round takes milliseconds. One that takes so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  stress                            two seconds, to see that it works
  stress --seconds 600              a serious run
  stress --seconds 60 --threads 16  more runtimes than cores: other interleavings
  stress --seed 7                   the choices of a run that printed \"seed 7\"

What a run checks:
  each value that is sent is received once and in order, each future and each value is dropped once,
  each closure runs once, no timer is early, no wake is lost, and a runtime that is asked to end ends.
  A round that takes more than 30 s is taken for a lost wake.

Exit code: 0 when all of that held, 1 when it did not; then standard error says what, and in which round.";

/// Makes and drops runtimes for a while, each with threads that wake its tasks, send them values, ask for
/// closures and tasks, and leave at random; and checks that nothing is lost, doubled or left.
///
/// It prints a line each second, and what it did at the end.
#[derive(Parser, Debug)]
#[command(name = "stress", version, after_help = EXAMPLES)]
struct Args {
    /// How long it goes on, in seconds. The rounds that are going on then are finished.
    #[arg(long, value_name = "N", default_value_t = 2)]
    seconds: u64,

    /// How many threads run one runtime after the other. Each has up to ten more that trouble it.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Where the random choices begin. The interleaving of the threads is left to the operating system, so
    /// a seed repeats what is done, not always how it ends. By default the time, which is printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(time.subsec_nanos())
    });
    match run(&args, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "stress: nowhere to print to: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "seed {seed}, {} threads, {} s", args.threads, args.seconds)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let (ended, all_ended) = mpsc::channel::<()>();
    let boards: Vec<_> = (0..args.threads).map(|_| Arc::new(Board::default())).collect();
    let mut random = Random::new(seed);
    for board in &boards {
        let (board, stopped, ended) = (board.clone(), stopped.clone(), ended.clone());
        let mut random = Random::new(random.next());
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                round::run(&board, random.next());
            }
            drop(ended);
        });
    }
    drop(ended);
    let start = Instant::now();
    loop {
        // Ends early when all of the threads have.
        let waited = all_ended.recv_timeout(Duration::from_secs(1));
        boards.iter().for_each(|board| board.check(HANGS_AFTER));
        if waited == Err(RecvTimeoutError::Disconnected) {
            break;
        }
        writeln!(out, "{:4} s: {}", start.elapsed().as_secs(), tally::line())?;
        if start.elapsed() >= Duration::from_secs(args.seconds) {
            stopped.store(true, Ordering::Relaxed);
        }
    }
    writeln!(out, "\nIn {:.1} s, without a violation:", start.elapsed().as_secs_f64())?;
    out.write_all(tally::table().as_bytes())
}
