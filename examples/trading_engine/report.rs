//! The report at the end of a run.

use std::io::{self, Write};

use onbeat_systems::book::BookLevel;
use onbeat_systems::instrument::Symbol;
use onbeat_systems::price::Price;
use onbeat_systems::risk::TripReason;

use crate::args::Speed;
use crate::engine::Summary;
use crate::feed_file::Survey;

/// Writes the report.
///
/// # Errors
///
/// When `out` cannot be written.
pub(crate) fn write_report(
    out: &mut dyn Write,
    symbol: Symbol,
    speed: Speed,
    how: &str,
    summary: &Summary,
) -> io::Result<()> {
    writeln!(out, "\n{symbol} at {}, speed {speed}: {how}", summary.market_time)?;
    write_feed(out, summary)?;
    write_orders(out, summary)?;
    write_loop(out, summary)?;
    if speed == Speed::Max {
        writeln!(
            out,
            "\nAt speed max the exchange does not wait for the engine: when an order meets the book is \
             chance, so\nfills and profit vary from run to run. The book and --bbo-out do not."
        )?;
    }
    out.flush()
}

/// Writes what there is to report of a file that is damaged before it names what to trade.
///
/// # Errors
///
/// When `out` cannot be written.
pub(crate) fn write_untraded(
    out: &mut dyn Write,
    symbol: Option<Symbol>,
    survey: &Survey,
) -> io::Result<()> {
    let symbol = symbol.map_or_else(|| "nothing".to_owned(), |symbol| symbol.to_string());
    let last = survey.last.map_or_else(String::new, |last| format!(" at {last}"));
    writeln!(out, "\n{symbol}{last}: the feed broke off, because the file is damaged")?;
    writeln!(out, "feed       {} messages before it", survey.messages)?;
    writeln!(out, "book       none: no message names what to trade")?;
    writeln!(out, "orders     0 sent")?;
    out.flush()
}

fn write_feed(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let seconds = summary.feed_elapsed.as_secs_f64();
    let messages = summary.feed.messages;
    writeln!(
        out,
        "feed       {messages} messages in {seconds:.3} s, {:.0} a second",
        rate(messages, seconds)
    )?;
    writeln!(
        out,
        "book       bid {}, ask {}, {} orders",
        level(summary.bbo.bid),
        level(summary.bbo.ask),
        summary.book_orders
    )?;
    let errors = summary.feed.errors.total();
    if errors > 0 {
        let first = summary.feed.first_errors().count();
        writeln!(out, "content    {errors} messages have wrong content; the first {first}:")?;
        for error in summary.feed.first_errors() {
            writeln!(out, "             message {}: {}", error.index, error.error)?;
        }
    }
    Ok(())
}

fn write_orders(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let orders = &summary.orders;
    writeln!(
        out,
        "orders     {} sent, {} accepted, {} filled, {} cancelled, {} rejected, {} open",
        orders.sent,
        orders.accepted,
        orders.filled,
        orders.cancelled,
        orders.rejected,
        summary.open_orders
    )?;
    let position = &summary.position;
    let ((buys, sells), (bought, sold)) = (position.fills(), position.traded());
    writeln!(out, "fills      {buys} buys of {bought} shares, {sells} sells of {sold} shares")?;
    let refused: Vec<String> = summary
        .risk
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let reasons = if refused.is_empty() { "none".to_owned() } else { refused.join(", ") };
    writeln!(out, "refusals   {} ({reasons})", summary.risk.refused_total())?;
    // The operator is the engine itself, which halts trading when the feed has ended.
    let halted = summary.kill_switch.reason().filter(|reason| *reason != TripReason::Operator);
    if let Some(reason) = halted {
        writeln!(out, "switch     {:?} ({reason:?})", summary.kill_switch.state())?;
    }
    writeln!(
        out,
        "position   {} shares at {}",
        position.shares(),
        position.average_price().unwrap_or(Price::ZERO)
    )?;
    writeln!(
        out,
        "p&l        {} dollars: {} realised, {} open at mid, no fees",
        position.pnl(),
        position.realised(),
        position.open_pnl()
    )
}

fn write_loop(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let seconds = summary.ran.as_secs_f64();
    writeln!(
        out,
        "ticks      {} in {seconds:.3} s, {:.0} a second",
        summary.ticks,
        rate(summary.ticks, seconds)
    )?;
    writeln!(out, "\n{}", summary.telemetry)
}

fn level(level: Option<BookLevel>) -> String {
    level.map_or_else(|| "none".to_owned(), |level| format!("{} x {}", level.price, level.qty))
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
