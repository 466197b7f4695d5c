//! The tables, for a terminal.

use std::fmt::Write as _;

use crate::headline::Latencies;
use crate::machine::Machine;
use crate::measured::{Measured, fields, heads, latency_fields, latency_heads};

/// A table of lateness.
pub(crate) fn table(measured: &Measured) -> String {
    let mut text = format!("{} ({})\n", measured.cell.title(), measured.method());
    let rows = measured.rows.iter().map(|(contender, figures)| (contender.name(), fields(figures)));
    lines(&mut text, heads(), rows);
    add(&mut text, format_args!("\n  {}", measured.stolen()));
    text
}

/// The table of the datagrams.
pub(crate) fn headline(headline: &[Latencies]) -> String {
    let passes = headline.iter().map(|one| one.samples.passes()).max().unwrap_or(0);
    let mut text = format!(
        "UDP datagram sent to resource changed (medians of {passes} passes; max and lost of all)\n"
    );
    let rows = headline.iter().map(|one| (one.receiver.name, latency_fields(one)));
    lines(&mut text, latency_heads(), rows);
    text
}

/// What machine it was.
pub(crate) fn machine(machine: &Machine) -> String {
    let facts: Vec<_> =
        machine.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    facts.join("\n")
}

fn lines(
    text: &mut String,
    heads: impl Iterator<Item = &'static str>,
    rows: impl Iterator<Item = (&'static str, Vec<String>)>,
) {
    add(text, format_args!("  {:<33}", ""));
    for head in heads {
        add(text, format_args!("{head:>10}"));
    }
    for (name, fields) in rows {
        add(text, format_args!("\n  {name:<33}"));
        for field in fields {
            add(text, format_args!("{field:>10}"));
        }
    }
}

fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}
