//! The report: one HTML file that needs nothing else.

use std::fmt::Write as _;

use crate::chart::{self, Line};
use crate::figures::{Figures, Samples, time};
use crate::headline::Latencies;
use crate::machine::Machine;
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
    fn of(&self, contender: Contender) -> Option<&Figures> {
        self.rows.iter().find(|(other, _)| *other == contender).map(|(_, figures)| figures)
    }

    fn lines(&self, wanted: &[Contender]) -> Vec<Line<'_>> {
        let shown = self.rows.iter().filter(|(contender, figures)| {
            wanted.contains(contender) && figures.lateness.count() > 0
        });
        shown
            .map(|(contender, figures)| Line {
                name: contender.name(),
                colour: place(*contender),
                samples: &figures.lateness,
            })
            .collect()
    }
}

/// The whole report.
pub(crate) fn html(machine: &Machine, measured: &[Measured], headline: &[Latencies]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>onbeat: lateness</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{}{}</style><main>\
         <h1>How late is a tick?</h1><p>{HOW}</p>",
        STYLE,
        chart::style()
    );
    page.push_str("<h2>The machine</h2><table class=\"facts\">");
    for (name, value) in &machine.facts {
        add(&mut page, format_args!("<tr><th>{name}</th><td>{}</td></tr>", escape(value)));
    }
    page.push_str("</table><h2>The bars</h2><p>Set by the design; NO is a loss.</p><table>");
    for (bar, figure, held) in bars(measured, headline) {
        let verdict = if held { "yes" } else { "NO" };
        add(&mut page, format_args!("<tr><th>{bar}</th><td>{figure}</td><td>{verdict}</td></tr>"));
    }
    page.push_str("</table>");
    page.push_str("<h2>From a readable descriptor to a changed resource</h2>");
    add(&mut page, format_args!("<p>{HEADLINE}</p>{}", latency_chart(headline)));
    add(&mut page, format_args!("{}", latency_table(headline)));
    for one in measured.iter().filter(|one| one.cell.is_base()) {
        add(&mut page, format_args!("<h2>{}</h2>", one.cell.title()));
        page.push_str(&lateness_chart(one));
        page.push_str(&table(one));
        let wanted = [
            Contender::OnbeatSpin,
            Contender::Control,
            Contender::OnbeatParkThenSpin,
            Contender::OnbeatPark,
        ];
        let mut lines = one.lines(&wanted);
        // The control lies beneath the line that it explains.
        lines.sort_by_key(|line| wanted.iter().position(|one| one.name() == line.name));
        let title = format!("Latest tick of each stretch of time, {} Hz", one.cell.rate_hz);
        page.push_str(&chart::over_time(&title, &lines));
    }
    page.push_str("<h1>With something else to do</h1>");
    for one in measured.iter().filter(|one| !one.cell.is_base()) {
        add(&mut page, format_args!("<h2>{}</h2>{}", one.cell.title(), table(one)));
    }
    page.push_str("</main></html>");
    page
}

/// The one picture: the percentile curves at 1 kHz, or at the first rate without another load.
pub(crate) fn picture(measured: &[Measured]) -> Option<String> {
    let mut base = measured.iter().filter(|one| one.cell.is_base());
    let wanted = base.clone().find(|one| one.cell.rate_hz == 1_000).or_else(|| base.next());
    wanted.map(|one| chart::alone(&lateness_chart(one)))
}

fn lateness_chart(measured: &Measured) -> String {
    let title = format!("Lateness of ticks at {} Hz", measured.cell.rate_hz);
    chart::percentiles(&title, "ticks", &measured.lines(&Contender::ALL))
}

fn latency_chart(headline: &[Latencies]) -> String {
    let lines: Vec<_> = headline
        .iter()
        .filter(|one| one.samples.count() > 0)
        .map(|one| Line {
            name: one.receiver.name,
            colour: one.receiver.colour,
            samples: &one.samples,
        })
        .collect();
    chart::percentiles("UDP datagram sent to resource changed", "datagrams", &lines)
}

/// The lines of a cell, for the terminal: each under the last, as they are measured.
pub(crate) fn text(measured: &Measured) -> String {
    let mut text = format!("{}\n", measured.cell.title());
    add(&mut text, format_args!("  {:<30}", ""));
    let heads = PERCENTILES.iter().map(|(name, _)| *name);
    for head in heads.chain(["max", "missed", "early", "drift", "CPU"]) {
        add(&mut text, format_args!("{head:>10}"));
    }
    for (contender, figures) in &measured.rows {
        add(&mut text, format_args!("\n  {:<30}", contender.name()));
        for field in fields(figures) {
            add(&mut text, format_args!("{field:>10}"));
        }
    }
    text
}

/// The lines of the headline, for the terminal.
pub(crate) fn headline_text(headline: &[Latencies]) -> String {
    let mut text = format!("UDP datagram sent to resource changed\n  {:<34}", "");
    let heads = PERCENTILES.iter().map(|(name, _)| *name);
    for head in heads.chain(["max", "lost"]) {
        add(&mut text, format_args!("{head:>10}"));
    }
    for one in headline {
        add(&mut text, format_args!("\n  {:<34}", one.receiver.name));
        for field in latency_fields(one) {
            add(&mut text, format_args!("{field:>10}"));
        }
    }
    text
}

fn times(samples: &Samples) -> Vec<String> {
    let mut fields: Vec<_> = PERCENTILES.iter().map(|(_, part)| time(samples.at(*part))).collect();
    fields.push(time(samples.max()));
    fields
}

fn fields(figures: &Figures) -> Vec<String> {
    if figures.lateness.count() == 0 {
        return vec![if figures.hung { "hung" } else { "-" }.to_owned()];
    }
    let mut fields = times(&figures.lateness);
    let sign = if figures.drift_ns < 0 { "-" } else { "" };
    fields.push(match figures.never {
        0 => figures.missed.to_string(),
        _ => format!("{:.1} %", figures.missed as f64 * 100.0 / figures.lateness.count() as f64),
    });
    fields.push(figures.early.to_string());
    fields.push(format!("{sign}{}", time(figures.drift_ns.unsigned_abs())));
    fields.push(format!("{:.1} %", figures.cpu * 100.0));
    if figures.hung {
        fields.push("then hung".to_owned());
    }
    fields
}

fn latency_fields(one: &Latencies) -> Vec<String> {
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

fn table(measured: &Measured) -> String {
    let mut html = head(&["max", "missed", "early", "drift at the end", "CPU"]);
    for (contender, figures) in &measured.rows {
        row(&mut html, contender.name(), &fields(figures));
    }
    html.push_str("</table>");
    html
}

fn latency_table(headline: &[Latencies]) -> String {
    let mut html = head(&["max", "lost"]);
    for one in headline {
        row(&mut html, one.receiver.name, &latency_fields(one));
    }
    html.push_str("</table>");
    html
}

fn head(others: &[&str]) -> String {
    let mut html = "<table><tr><th></th>".to_owned();
    for name in PERCENTILES.iter().map(|(name, _)| name).chain(others) {
        add(&mut html, format_args!("<th>{name}</th>"));
    }
    html.push_str("</tr>");
    html
}

fn row(html: &mut String, name: &str, fields: &[String]) {
    let class = if name.starts_with("onbeat") { " class=\"ours\"" } else { "" };
    add(html, format_args!("<tr{class}><th>{name}</th>"));
    for field in fields {
        add(html, format_args!("<td>{field}</td>"));
    }
    html.push_str("</tr>");
}

/// A bar, the figure, and whether it holds.
type Bar = (String, String, bool);

/// What the design sets, for what was measured.
pub(crate) fn bars(measured: &[Measured], headline: &[Latencies]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let rates = measured.iter().filter(|one| one.cell.is_base());
    for one in rates.filter(|one| matches!(one.cell.rate_hz, 1_000 | 10_000)) {
        lateness_bars(one, &mut bars);
    }
    let p50 = |name: &str| {
        let one = headline.iter().find(|one| one.receiver.name == name);
        one.filter(|one| one.samples.count() > 0).map(|one| one.samples.at(0.5) as f64)
    };
    let ours = p50("onbeat, block_on_busy");
    for (peer, most) in [
        ("raw mio, spinning", 1.15),
        ("tokio, channel, bevy free-running", 0.4),
        ("tokio, channel, bevy at 1 kHz", 0.02),
    ] {
        if let (Some(ours), Some(peer_ns)) = (ours, p50(peer)) {
            let bar = format!("datagram to resource, spinning: p50 at most {most} of \"{peer}\"");
            bars.push((bar, format!("{:.3}", ours / peer_ns), ours / peer_ns <= most));
        }
    }
    bars
}

fn lateness_bars(measured: &Measured, bars: &mut Vec<Bar>) {
    let rate = measured.cell.rate_hz;
    let at = |contender, part| {
        let figures = measured.of(contender).filter(|figures| figures.lateness.count() > 0);
        figures.map(|figures| figures.lateness.at(part))
    };
    let mut bar = |what: String, figure: String, held| bars.push((what, figure, held));
    if let (Some(ours), Some(raw)) = (at(Contender::OnbeatSpin, 0.5), at(Contender::Control, 0.5)) {
        let above = ours.saturating_sub(raw);
        let what = format!("{rate} Hz, spin: p50 at most 500 ns above the control");
        bar(what, time(above), above <= 500);
    }
    if let (Some(ours), Some(raw)) = (at(Contender::OnbeatSpin, 0.99), at(Contender::Control, 0.99))
    {
        let ratio = ours as f64 / raw.max(1) as f64;
        let what = format!("{rate} Hz, spin: p99 at most twice the control's");
        bar(what, format!("{ratio:.2} ({} to {})", time(ours), time(raw)), ratio <= 2.0);
    }
    if let Some(ours) = at(Contender::OnbeatPark, 0.5) {
        bar(format!("{rate} Hz, park: p50 under 30 us"), time(ours), ours < 30_000);
    }
    if let Some(ours) = at(Contender::OnbeatParkThenSpin, 0.5) {
        bar(format!("{rate} Hz, park then spin: p50 under 2 us"), time(ours), ours < 2_000);
    }
    if let Some(figures) = measured.of(Contender::OnbeatParkThenSpin).filter(|_| rate == 1_000) {
        let used = format!("{:.1} %", figures.cpu * 100.0);
        bar(format!("{rate} Hz, park then spin: less than 20 % CPU"), used, figures.cpu < 0.2);
    }
}

fn place(contender: Contender) -> usize {
    let place = Contender::ALL.iter().position(|other| *other == contender);
    place.expect("ALL has every contender")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
padding:0 1rem;background:#fff;color:#24292f}svg{width:100%;height:auto;margin:1rem 0}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;margin:.5rem 0;\
display:block;overflow-x:auto}th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid \
#d0d7de;white-space:nowrap}tr>th:first-child{text-align:left;font-weight:500}.facts td{text-align:left}\
.ours{background:#fff4e5}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}\
th,td{border-color:#3d444d}.ours{background:#2b2113}}";

const HOW: &str = "\
Tick k of each contender is compared with t0 + k &times; period, computed from k and never re-based. Every \
tick is recorded, late ones too; a beat that never got its tick is entered as late as it was at the end. \
The clock is read by the first thing that a tick does. Passes of the contenders alternate on one core, \
each on a new thread. The control is a loop that reads the clock and does nothing else: what disturbs \
it disturbs everybody. <b>missed</b>: the tick began when the next was already due, or never. \
<b>early</b>: it began before its time, and is entered as 0. <b>drift</b>: the median lateness of the \
last tenth of a pass less that of the first, of the pass where it is greatest. <b>CPU</b>: processor time \
of the thread by the time that passed.";

const HEADLINE: &str = "\
A thread sends a datagram every 100 to 300 us over loopback, with the time in it. The receiver changes a \
resource of its World and then looks at the clock, so the send is in the figure. Same sender for all, \
passes alternate.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Pass;
    use crate::plan::{Size, cells};

    fn measured(lateness_ns: &[u64]) -> Measured {
        let cell = cells(Size::Quick).remove(0);
        let pass =
            Pass { lateness_ns: lateness_ns.to_vec(), never: 0, early: 0, drift_ns: 0, cpu: 0.5 };
        let rows = cell.contenders.iter().map(|contender| {
            let mut figures = Figures::new();
            if contender.may_hang() {
                figures.hung = true;
            } else {
                figures.add(&pass, 1_000_000);
            }
            (*contender, figures)
        });
        Measured { rows: rows.collect(), cell }
    }

    #[test]
    fn a_report_is_one_file_that_asks_nothing_of_the_network() {
        let measured = [measured(&[100, 200, 300_000])];
        let page = html(&Machine { facts: vec![("CPU", "a <b>".to_owned())] }, &measured, &[]);
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt;b>") && page.contains("hung"));
        assert!(picture(&measured).is_some());
    }

    #[test]
    fn a_bar_that_is_missed_says_so() {
        let bars = bars(&[measured(&[40_000; 10])], &[]);
        let held: Vec<_> = bars.iter().map(|(_, _, held)| *held).collect();
        assert_eq!(held, [true, true, false, false, false], "{bars:?}");
    }
}
