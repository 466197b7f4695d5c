//! A table: what was measured, and the figures of each of its lines as they are printed.

use std::fmt;

use crate::figures::{Figures, Samples, time};
use crate::headline::Latencies;
use crate::plan::{Cell, Contender};

/// The percentiles of every table.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.999_9)];

/// A cell and what each of its contenders gave, in order.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) cell: Cell,
    pub(crate) rows: Vec<(Contender, Figures)>,
}

impl Measured {
    /// Before the first round.
    pub(crate) fn nothing_yet(cell: Cell) -> Self {
        let rows = cell.contenders.iter().map(|contender| (*contender, Figures::default()));
        Self { rows: rows.collect(), cell }
    }

    /// The figures of one that has a pass.
    pub(crate) fn of(&self, contender: Contender) -> Option<&Figures> {
        let row = self.rows.iter().find(|(other, _)| *other == contender);
        row.map(|(_, figures)| figures).filter(|figures| figures.passes() > 0)
    }

    /// What is said beside the title: how the figures come about.
    pub(crate) fn method(&self) -> String {
        let passes = self.rows.iter().map(|(_, figures)| figures.passes()).max().unwrap_or(0);
        let length = self.cell.pass.as_millis();
        format!("medians of {passes} passes of {length} ms; max, missed and early of all")
    }

    /// What the host took from the core meanwhile.
    pub(crate) fn stolen(&self) -> String {
        let stolen: Vec<_> =
            self.rows.iter().flat_map(|(_, figures)| figures.stolen()).copied().collect();
        let mean = stolen.iter().sum::<f64>() / stolen.len().max(1) as f64;
        let most = stolen.iter().copied().fold(0.0, f64::max);
        let disturbed: usize = self.rows.iter().map(|(_, figures)| figures.disturbed).sum();
        format!(
            "{disturbed} of {} passes disturbed; stolen from the core: {:.1} % of their time, at most \
             {:.1} % of one",
            stolen.len(),
            mean * 100.0,
            most * 100.0
        )
    }
}

/// The heads of the columns of a table of lateness.
pub(crate) fn heads() -> impl Iterator<Item = &'static str> {
    let percentiles = PERCENTILES.iter().map(|(name, _)| *name);
    percentiles.chain(["max", "missed", "early", "drift", "CPU", "disturbed"])
}

/// The heads of the columns of the headline.
pub(crate) fn latency_heads() -> impl Iterator<Item = &'static str> {
    PERCENTILES.iter().map(|(name, _)| *name).chain(["max", "lost"])
}

/// A line of a table of lateness.
pub(crate) fn fields(figures: &Figures) -> Vec<String> {
    if figures.passes() == 0 {
        return vec![if figures.hung { "hung" } else { "-" }.to_owned()];
    }
    let mut fields = times(&figures.lateness);
    let drift_ns = figures.drift_ns();
    let sign = if drift_ns < 0 { "-" } else { "" };
    fields.push(match figures.never {
        0 => figures.missed.to_string(),
        _ => percent(figures.missed as f64 / figures.lateness.count() as f64).to_string(),
    });
    fields.push(figures.early.to_string());
    fields.push(format!("{sign}{}", time(drift_ns.unsigned_abs())));
    fields.push(percent(figures.cpu()).to_string());
    fields.push(format!("{} of {}", figures.disturbed, figures.passes()));
    if figures.hung {
        fields.push("then hung".to_owned());
    }
    fields
}

/// A line of the headline.
pub(crate) fn latency_fields(one: &Latencies) -> Vec<String> {
    if one.samples.count() == 0 {
        return vec![if one.hung { "hung" } else { "-" }.to_owned()];
    }
    let mut fields = times(&one.samples);
    fields.push(one.lost.to_string());
    if one.hung {
        fields.push("then hung".to_owned());
    }
    fields
}

/// A part of 1, in percent.
pub(crate) fn percent(part: f64) -> impl fmt::Display {
    format!("{:.1} %", part * 100.0)
}

fn times(samples: &Samples) -> Vec<String> {
    let mut fields: Vec<_> = PERCENTILES.iter().map(|(_, part)| time(samples.at(*part))).collect();
    fields.push(time(samples.max()));
    fields
}
