//! What the engine measures of itself: latency histograms and counters.
//!
//! Nothing here reads a clock. Whoever drives the schedule sets [`EngineTime`], and hands durations
//! to [`Telemetry`].

use core::fmt;

use bevy_ecs::resource::Resource;
use hdrhistogram::Histogram;

/// The engine's own time, set from outside before each run of the systems.
///
/// ```
/// use onbeat_systems::telemetry::EngineTime;
///
/// assert_eq!(EngineTime { ns: 1_000 }.ns, 1_000);
/// ```
#[derive(Resource, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct EngineTime {
    /// Nanoseconds since some fixed moment; never goes back.
    pub ns: u64,
}

/// The longest duration that a histogram tells apart: one minute, in nanoseconds.
const DURATION_NS_MAX: u64 = 60_000_000_000;

/// Latency histograms and counters of a run.
///
/// Durations are nanoseconds with three significant digits; longer ones than a minute count as a
/// minute. Recording allocates nothing and never panics.
///
/// ```
/// use onbeat_systems::telemetry::Telemetry;
///
/// let mut telemetry = Telemetry::default();
/// telemetry.record_tick_duration(9_000);
/// telemetry.record_feed_to_order(70_000);
/// telemetry.record_decode_to_book(33_000);
/// telemetry.feed_messages += 1;
/// assert_eq!(telemetry.tick_duration_ns().len(), 1);
/// assert!(telemetry.feed_to_order_ns().max() >= 70_000);
/// assert!(telemetry.decode_to_book_ns().max() >= 33_000);
/// ```
#[derive(Resource, Clone, Debug)]
pub struct Telemetry {
    tick_duration_ns: Histogram<u64>,
    feed_to_order_ns: Histogram<u64>,
    decode_to_book_ns: Histogram<u64>,
    /// Feed messages decoded.
    pub feed_messages: u64,
    /// Orders and cancels handed to the connection.
    pub commands_sent: u64,
    /// Reports taken from the venue.
    pub venue_reports: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            tick_duration_ns: histogram(),
            feed_to_order_ns: histogram(),
            decode_to_book_ns: histogram(),
            feed_messages: 0,
            commands_sent: 0,
            venue_reports: 0,
        }
    }
}

impl Telemetry {
    /// Records how long a tick took up to the end of its last system. What a tick does after that, such as
    /// writing the orders, no system can measure.
    pub fn record_tick_duration(&mut self, ns: u64) {
        self.tick_duration_ns.saturating_record(ns);
    }

    /// Records the time from reading a feed message to writing the order it caused.
    pub fn record_feed_to_order(&mut self, ns: u64) {
        self.feed_to_order_ns.saturating_record(ns);
    }

    /// Records the time from decoding a feed message to a book that shows it.
    pub fn record_decode_to_book(&mut self, ns: u64) {
        self.decode_to_book_ns.saturating_record(ns);
    }

    /// Tick durations up to the end of the last system, in nanoseconds.
    #[must_use]
    pub const fn tick_duration_ns(&self) -> &Histogram<u64> {
        &self.tick_duration_ns
    }

    /// Times from feed read to order written, in nanoseconds.
    #[must_use]
    pub const fn feed_to_order_ns(&self) -> &Histogram<u64> {
        &self.feed_to_order_ns
    }

    /// Times from decoding to the book, in nanoseconds.
    #[must_use]
    pub const fn decode_to_book_ns(&self) -> &Histogram<u64> {
        &self.decode_to_book_ns
    }
}

/// A table: one line for each histogram, in microseconds with three decimals.
impl fmt::Display for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<30}", "microseconds")?;
        for column in ["count", "p50", "p99", "p99.9", "max"] {
            write!(f, " {column:>12}")?;
        }
        let rows = [
            ("tick duration, to last system", &self.tick_duration_ns),
            ("feed read to order written", &self.feed_to_order_ns),
            ("decode to book", &self.decode_to_book_ns),
        ];
        for (name, histogram) in rows {
            write!(f, "\n{name:<30} {:>12}", histogram.len())?;
            for quantile in [0.5, 0.99, 0.999, 1.0] {
                let ns = histogram.value_at_quantile(quantile);
                write!(f, " {:>12}", format!("{}.{:03}", ns / 1_000, ns % 1_000))?;
            }
        }
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(DURATION_NS_MAX, 3).expect("a maximum above 2 and 3 digits are valid")
}
