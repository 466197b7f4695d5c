//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use onbeat_systems::instrument::Symbol;

/// The bundled feed: 28 seconds of AAPL from the open of 2019-01-30.
pub(crate) const BUNDLED_FEED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/aapl-20190130.itch");

/// Makes a market on a recorded NASDAQ feed.
///
/// A simulated exchange replays an ITCH 5.0 file over loopback TCP and takes orders over a second
/// connection. The engine, one onbeat runtime on one thread, books the feed, quotes both sides, checks
/// every order against its risk limits, and follows its fills. It prints a line of progress every 250
/// ms, ends with the feed, and prints a report.
#[derive(Parser, Clone, Debug)]
#[command(name = "trading_engine", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The ITCH 5.0 file to replay: each message after its length, two bytes, big-endian. By default
    /// the bundled one, 28 seconds of AAPL from the open of 2019-01-30.
    #[arg(long, value_name = "FILE", default_value = BUNDLED_FEED, hide_default_value = true)]
    pub(crate) feed: PathBuf,

    /// The symbol to trade. By default the one of the file's first directory message.
    #[arg(long, value_name = "SYM")]
    pub(crate) symbol: Option<Symbol>,

    /// How fast to replay: `N` times the recorded speed, or `max`, which waits for nothing. At `max` an
    /// order meets a book that has moved on by chance, so fills vary from run to run; the book does
    /// not. A silence of the market of more than 10 s is skipped. An exchange that gets no processor
    /// for a while puts off what follows and does not hurry, so a run takes longer on a busy machine.
    #[arg(long, value_name = "max|N", default_value = "10", allow_negative_numbers = true)]
    pub(crate) speed: Speed,

    /// Spin instead of sleeping: the engine's thread takes a whole core, and looks at its sockets all
    /// the time.
    #[arg(long)]
    pub(crate) spin: bool,

    /// Write the best bid and ask after each order message to this CSV file; prices in 1/10,000 dollar.
    #[arg(long, value_name = "FILE")]
    pub(crate) bbo_out: Option<PathBuf>,

    /// The exchange's port for the feed; 0 lets the system choose.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    #[arg(value_parser = port, allow_negative_numbers = true)]
    pub(crate) feed_port: u16,

    /// The exchange's port for orders; 0 lets the system choose.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    #[arg(value_parser = port, allow_negative_numbers = true)]
    pub(crate) order_port: u16,

    /// Have the exchange drop both connections after N feed messages, to see what the engine does.
    #[arg(long, value_name = "N", value_parser = messages, allow_negative_numbers = true)]
    pub(crate) exchange_stops_after: Option<u64>,

    /// Exit with 3 when a feed message has wrong content: it names an unknown order, executes more than
    /// is left, uses a reference twice, has a side that is neither B nor S, or a time beyond 24 hours. Without this, such
    /// messages are counted and the first five named.
    #[arg(long)]
    pub(crate) strict: bool,
}

const EXAMPLES: &str = "\
Exit codes:
  0  the feed ended, and the engine with it; or a signal (Ctrl-C) ended both in order
  1  it could not be set up, the arguments among it, or the exchange went away in the middle
  2  the file is damaged: the report covers what came before
  3  with --strict: messages have wrong content

The report's histograms:
  tick duration, to last system   from the moment at which a tick freezes its clock to the end of its
                                  systems; orders are written after that, in the same tick
  feed read to order written      from the read that brought a message to the end of the write of the
                                  order that it caused
  decode to book                  from the decoding of a message to the end of the systems that book it

Examples:
  trading_engine                            watch it trade for three seconds
  trading_engine --speed 1                  the same at the speed of the day
  trading_engine --speed max --spin         as fast as it goes
  trading_engine --bbo-out bbo.csv          compare the book with another one
  trading_engine --feed 01302019.NASDAQ_ITCH50 --symbol MSFT --speed max
  trading_engine --exchange-stops-after 5000";

fn port(text: &str) -> Result<u16, String> {
    let means = "a port is a number from 0 to 65535, and 0 lets the system choose";
    text.parse().map_err(|_| means.to_owned())
}

fn messages(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("a number of messages is a whole number from 0 to {}", u64::MAX))
}

/// How fast the exchange replays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// Without waiting.
    Max,
    /// So many times the recorded speed.
    Times(f64),
}

impl Speed {
    /// How long a recorded duration takes.
    pub(crate) fn scale(self, recorded: Duration) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => {
                Duration::try_from_secs_f64(recorded.as_secs_f64() / times).unwrap_or(Duration::MAX)
            }
        }
    }
}

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse() {
            Ok(times) if (SLOWEST..=FASTEST).contains(&times) => Ok(Self::Times(times)),
            _ => Err(SpeedError),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times} times the recorded speed"),
        }
    }
}

/// The bounds of a speed: with them a day's nanoseconds stay a duration.
const SLOWEST: f64 = 0.001;
const FASTEST: f64 = 1_000_000.0;

/// A text that is no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpeedError;

impl fmt::Display for SpeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a speed is `max` or a number from {SLOWEST} to {FASTEST}")
    }
}

impl std::error::Error for SpeedError {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_speed_is_max_or_a_positive_number() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for text in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert_eq!(text.parse::<Speed>(), Err(SpeedError), "{text}");
        }
    }

    #[test]
    fn a_value_outside_its_range_is_refused_with_the_range_also_when_it_is_negative() {
        for (option, value, says) in [
            ("--speed", "-1", "`max` or a number from 0.001 to 1000000"),
            ("--speed", "0", "`max` or a number from 0.001 to 1000000"),
            ("--feed-port", "-1", "a number from 0 to 65535"),
            ("--order-port", "65536", "a number from 0 to 65535"),
            ("--exchange-stops-after", "-1", "a whole number from 0"),
            ("--exchange-stops-after", "1.5", "a whole number from 0"),
            ("--symbol", "TOOLONGNAME", "the text has 11 bytes, the field holds 8"),
        ] {
            let error = Args::try_parse_from(["trading_engine", option, value]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(option) && text.contains(says), "{option} {value}: {text}");
        }
    }

    #[test]
    fn a_recorded_second_takes_a_tenth_at_speed_ten_and_nothing_at_max() {
        let second = Duration::from_secs(1);
        assert_eq!(Speed::Times(10.0).scale(second), Duration::from_millis(100));
        assert_eq!(Speed::Max.scale(second), Duration::ZERO);
    }
}
