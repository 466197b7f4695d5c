//! A trading engine on a recorded NASDAQ feed: the flagship example of onbeat.
//!
//! ```text
//! cargo run --release --example trading_engine
//! cargo run --release --example trading_engine -- --help
//! ```
//!
//! A simulated exchange replays an ITCH file over loopback TCP and takes OUCH orders over a second
//! connection. The engine is one onbeat runtime: tasks for the sockets, systems for the rest.
//!
//! In reading order:
//!
//! - [`args`]: the command line;
//! - [`engine`]: the runtime, its tasks and systems;
//! - [`exchange`]: the other side of the sockets;
//! - [`feed_file`]: the file that it replays;
//! - [`report`]: what is printed at the end.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use onbeat_systems::feed::BboLog;
use onbeat_systems::wire::itch::StockDirectory;

use args::Args;
use engine::{Ended, EngineConfig, Summary};
use exchange::{Ending, Exchange, ExchangeConfig};
use feed_file::{FeedFile, FeedFileError, Survey};

mod args;
mod engine;
mod exchange;
mod feed_file;
mod report;
#[cfg(test)]
mod tests;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // The exit code says it too, where nobody reads.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::SetUp } else { Exit::Success };
            return ExitCode::from(exit as u8);
        }
    };
    let run = run(&args, true, &mut io::stdout().lock(), &mut io::stderr().lock());
    ExitCode::from(run.exit as u8)
}

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// The feed ended.
    Success = 0,
    /// It could not be set up, or the exchange went away.
    SetUp = 1,
    /// The file is damaged.
    Framing = 2,
    /// Messages have wrong content, and `--strict` asks for none.
    Content = 3,
}

/// What a run came to; without a summary the engine never started.
#[derive(Debug)]
struct Run {
    exit: Exit,
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests look at it"))]
    summary: Option<Summary>,
}

/// What is in the way of a run.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn set_up(message: String) -> Self {
        Self { exit: Exit::SetUp, message }
    }
}

/// Runs exchange and engine to their end. Progress and report go to `out`, what went wrong to `errors`.
fn run(args: &Args, handle_signals: bool, out: &mut dyn Write, errors: &mut dyn Write) -> Run {
    match prepare(args, out).and_then(|prepared| trade(args, handle_signals, prepared, out)) {
        Ok((summary, failure)) => {
            let exit = failure.as_ref().map_or(Exit::Success, |failure| failure.exit);
            complain(errors, failure.as_ref());
            Run { exit, summary: Some(summary) }
        }
        Err(failure) => {
            complain(errors, Some(&failure));
            Run { exit: failure.exit, summary: None }
        }
    }
}

fn complain(errors: &mut dyn Write, failure: Option<&Failure>) {
    if let Some(failure) = failure {
        // The exit code says it too, where nobody reads.
        let _ = writeln!(errors, "trading_engine: {}", failure.message);
    }
}

/// What a run needs and can be had before anything is started.
struct Prepared {
    directory: StockDirectory,
    file: FeedFile,
    bbo_out: Option<File>,
}

/// Finds what to trade, and opens what a run reads and writes. What there is to report of a file that
/// is damaged before that goes to `out`.
fn prepare(args: &Args, out: &mut dyn Write) -> Result<Prepared, Failure> {
    let path = args.feed.display();
    if std::fs::metadata(&args.feed).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Failure::set_up(format!("the feed {path} is not a regular file")));
    }
    let open = || {
        FeedFile::open(&args.feed)
            .map_err(|error| Failure::set_up(format!("the feed {path} cannot be read: {error}")))
    };
    let survey = Survey::of(&mut open()?, args.symbol);
    let Some(directory) = survey.directory else {
        return Err(nothing_to_trade(args, &survey, out));
    };
    let bbo_out = args.bbo_out.as_deref().map(|out| open_output(out, &args.feed)).transpose()?;
    Ok(Prepared { directory, file: open()?, bbo_out })
}

/// Why a file that names no instrument, or not the one that is asked for, cannot be traded.
fn nothing_to_trade(args: &Args, survey: &Survey, out: &mut dyn Write) -> Failure {
    let path = args.feed.display();
    let wanted = args.symbol.map_or_else(String::new, |symbol| format!(" of {symbol}"));
    match &survey.error {
        Some(FeedFileError::Framing(error)) => {
            // The exit code says it too, where nobody reads.
            let _ = report::write_untraded(out, args.symbol, survey);
            let message = format!(
                "the feed {path} is damaged: {error}; there is no directory message{wanted} before \
                 it, so nothing to trade"
            );
            Failure { exit: Exit::Framing, message }
        }
        Some(FeedFileError::Io(error)) => {
            Failure::set_up(format!("the feed {path} cannot be read: {error}"))
        }
        None => {
            let others: Vec<_> = survey.others.iter().map(ToString::to_string).collect();
            let instead = match others.as_slice() {
                [] => ", so nothing to trade".to_owned(),
                others => format!("; it names {}", others.join(", ")),
            };
            Failure::set_up(format!("the feed {path} has no directory message{wanted}{instead}"))
        }
    }
}

/// Opens the file for `--bbo-out` and leaves its content alone: it is replaced when there is something
/// to write.
fn open_output(out: &Path, feed: &Path) -> Result<File, Failure> {
    let path = out.display();
    let file =
        File::options().write(true).create(true).truncate(false).open(out).map_err(|error| {
            Failure::set_up(format!("--bbo-out {path} cannot be written: {error}"))
        })?;
    let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (out, feed) = (file.metadata().map(place), std::fs::metadata(feed).map(place));
    if out.is_ok_and(|out| feed.is_ok_and(|feed| feed == out)) {
        let message = format!("--bbo-out {path} is the feed itself: name another file");
        return Err(Failure::set_up(message));
    }
    Ok(file)
}

fn write_bbo(file: File, log: &BboLog) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    log.write_csv(BufWriter::new(file))
}

/// Starts both sides, waits for them, and reports. A failure beside the summary is one that came after
/// the engine had started.
fn trade(
    args: &Args,
    handle_signals: bool,
    prepared: Prepared,
    out: &mut dyn Write,
) -> Result<(Summary, Option<Failure>), Failure> {
    let Prepared { directory, file, bbo_out } = prepared;
    let (symbol, locate) = (directory.symbol, directory.header.locate);
    let exchange = Exchange::start(ExchangeConfig {
        file,
        symbol,
        locate,
        speed: args.speed,
        feed_port: args.feed_port,
        order_port: args.order_port,
        stops_after: args.exchange_stops_after,
        opens_after: Duration::ZERO,
    })
    .map_err(|error| {
        let exchange::ListenError { purpose, port, error } = error;
        Failure::set_up(format!("the exchange cannot use {purpose} port {port}: {error}"))
    })?;
    let config = EngineConfig {
        feed: exchange.feed,
        orders: exchange.orders,
        symbol,
        locate,
        spin: args.spin,
        log_bbo: bbo_out.is_some(),
        handle_signals,
    };
    let summary = engine::trade(&config, out);
    let ending = exchange.finish();
    let written = bbo_out.map_or(Ok(()), |file| write_bbo(file, &summary.bbo_log));
    let how = match &ending {
        Ending::BadFile(_) => "the feed broke off, because the file is damaged".to_owned(),
        _ => summary.ended.to_string(),
    };
    let reported = report::write_report(out, symbol, args.speed, &how, &summary);
    let failure = judge(args, &summary, &ending).or_else(|| {
        let unwritten = written.err().map(|error| format!("--bbo-out cannot be written: {error}"));
        let unreported = || reported.err().map(|error| format!("no report: {error}"));
        unwritten.or_else(unreported).map(Failure::set_up)
    });
    Ok((summary, failure))
}

/// What went wrong, the worst first: a damaged file, a run that ended early, messages with wrong
/// content.
fn judge(args: &Args, summary: &Summary, ending: &Ending) -> Option<Failure> {
    let path = args.feed.display();
    if let Ending::BadFile(error) = ending {
        let message = format!("the feed {path} is damaged: {error}");
        return Some(Failure { exit: Exit::Framing, message });
    }
    if let Ending::Failed(error) = ending {
        return Some(Failure::set_up(format!("the exchange failed: {error}")));
    }
    match &summary.ended {
        Ended::WithFeed | Ended::OnRequest => {}
        Ended::Damaged { .. } => {
            return Some(Failure { exit: Exit::Framing, message: summary.ended.to_string() });
        }
        early => {
            let messages = summary.feed.messages;
            let message = format!("{early}, after {messages} messages");
            return Some(Failure::set_up(message));
        }
    }
    let errors = summary.feed.errors.total();
    (args.strict && errors > 0).then(|| Failure {
        exit: Exit::Content,
        message: format!("{errors} messages have wrong content"),
    })
}
