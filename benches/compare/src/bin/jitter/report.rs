//! The report: one HTML file that needs nothing else.

use std::fmt::Write as _;

use crate::bars;
use crate::chart::{self, Line};
use crate::headline::Latencies;
use crate::machine::Machine;
use crate::measured::{Measured, fields, heads, latency_fields, latency_heads};
use crate::plan::Contender;

/// The whole report.
pub(crate) fn html(machine: &Machine, measured: &[Measured], headline: &[Latencies]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>onbeat: lateness</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{}{}</style><main>\
         <h1>How late is a tick?</h1><p>{HOW}</p><p>{WORDS}</p>",
        STYLE,
        chart::style()
    );
    page.push_str(
        "<h2>The bars</h2><p>Set by the design; NO is a loss.</p><table class=\"facts\">",
    );
    for bar in bars::all(measured, headline) {
        let (verdict, class) = (bar.verdict(), if bar.holds { "holds" } else { "fails" });
        let (what, figure) = (bar.what, bar.figure);
        add(
            &mut page,
            format_args!(
                "<tr><th>{what}</th><td class=\"{class}\">{verdict}</td><td>{figure}</td></tr>"
            ),
        );
    }
    page.push_str("</table><h2>The machine</h2><table class=\"facts\">");
    for (name, value) in &machine.facts {
        add(&mut page, format_args!("<tr><th>{name}</th><td>{}</td></tr>", escape(value)));
    }
    page.push_str("</table>");
    if !headline.is_empty() {
        page.push_str("<h2>From a readable descriptor to a changed resource</h2>");
        add(&mut page, format_args!("<p>{HEADLINE}</p>{}", latency_chart(headline)));
        page.push_str(&latency_table(headline));
    }
    for one in measured.iter().filter(|one| one.cell.is_base()) {
        add(&mut page, format_args!("<h2>{}</h2>", one.cell.title()));
        page.push_str(&lateness_chart(one));
        page.push_str(&table(one));
        page.push_str(&over_time(one));
    }
    let mut loaded = measured.iter().filter(|one| !one.cell.is_base()).peekable();
    if loaded.peek().is_some() {
        page.push_str("<h1>With something else to do</h1>");
    }
    for one in loaded {
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
    let title = format!("How late ticks begin at {} Hz", measured.cell.rate_hz);
    chart::percentiles(&title, "ticks", &lines(measured, &Contender::ALL))
}

/// What happened when, the control beneath the line that it explains.
fn over_time(measured: &Measured) -> String {
    let wanted = [
        Contender::OnbeatSpin,
        Contender::Control,
        Contender::OnbeatHybrid,
        Contender::OnbeatPark,
        Contender::EpollFinest,
    ];
    let title = format!(
        "Latest tick of each stretch of time, {} Hz: pass after pass of {} ms",
        measured.cell.rate_hz,
        measured.cell.pass.as_millis()
    );
    chart::over_time(&title, &lines(measured, &wanted))
}

/// The lines of those of them that have a pass.
fn lines<'a>(measured: &'a Measured, wanted: &[Contender]) -> Vec<Line<'a>> {
    let shown = wanted.iter().filter_map(|contender| Some((contender, measured.of(*contender)?)));
    shown
        .map(|(contender, figures)| Line {
            name: contender.name(),
            look: contender.look(),
            samples: &figures.lateness,
        })
        .collect()
}

fn latency_chart(headline: &[Latencies]) -> String {
    let lines: Vec<_> = headline
        .iter()
        .filter(|one| one.samples.count() > 0)
        .map(|one| Line { name: one.receiver.name, look: one.receiver.look, samples: &one.samples })
        .collect();
    chart::percentiles("UDP datagram sent to resource changed", "datagrams", &lines)
}

fn table(measured: &Measured) -> String {
    let rows = measured.rows.iter().map(|(contender, figures)| (contender.name(), fields(figures)));
    let below = format!("<p class=\"note\">{}</p>", measured.stolen());
    rows_of(&measured.method(), heads(), rows) + &below
}

fn latency_table(headline: &[Latencies]) -> String {
    let passes = headline.iter().map(|one| one.samples.passes()).max().unwrap_or(0);
    let method = format!("medians of {passes} passes; max and lost of all");
    let rows = headline.iter().map(|one| (one.receiver.name, latency_fields(one)));
    rows_of(&method, latency_heads(), rows)
}

fn rows_of(
    caption: &str,
    heads: impl Iterator<Item = &'static str>,
    rows: impl Iterator<Item = (&'static str, Vec<String>)>,
) -> String {
    let mut html = format!("<p class=\"note\">{caption}</p><table><tr><th></th>");
    for name in heads {
        add(&mut html, format_args!("<th>{name}</th>"));
    }
    html.push_str("</tr>");
    for (name, fields) in rows {
        let class = if name.starts_with("onbeat") { " class=\"ours\"" } else { "" };
        add(&mut html, format_args!("<tr{class}><th>{name}</th>"));
        for field in fields {
            add(&mut html, format_args!("<td>{field}</td>"));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:68rem;\
padding:0 1rem;background:#fff;color:#24292f}svg{width:100%;height:auto;margin:1rem 0}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;margin:.5rem 0;\
display:block;overflow-x:auto}th,td{padding:.2rem .55rem;text-align:right;border-bottom:1px solid \
#d0d7de;white-space:nowrap}tr>th:first-child{text-align:left;font-weight:500}.facts td{text-align:left;\
white-space:normal}\
.note{font-size:13px;margin:.5rem 0;color:#57606a}.ours{background:#fff4e5}.fails{color:#cf222e;\
font-weight:600}.holds{color:#1a7f37}@media(prefers-color-scheme:dark){body{background:#0d1117;\
color:#e6edf3}th,td{border-color:#3d444d}.note{color:#9198a1}.ours{background:#2b2113}\
.fails{color:#ff7b72}.holds{color:#5fd07b}}";

const HOW: &str = "\
Tick k of each contender is compared with t0 + k &times; period, computed from k and never re-based. Every \
tick is recorded, late ones too; a beat that never got its tick is entered as late as it was at the end. \
The clock is read by the first thing that a tick does. The control is a loop that reads the clock and does \
nothing else: what disturbs it disturbs everybody. The run goes in rounds: in each, every contender of every \
table has one short pass, on one core and on a new thread, and every other round goes backwards. A \
figure is taken of each pass alone, and the <b>median of the passes</b> is shown, in tables, curves and \
bars: a percentile finer than a pass has ticks is its latest one. <b>max</b>, <b>missed</b> and \
<b>early</b> are of all passes.";

const WORDS: &str = "\
<b>spin</b>, <b>hybrid</b> and <b>park</b> are the idle strategies <code>Idle::Spin</code>, \
<code>Idle::ParkThenSpin</code> and <code>Idle::Park</code>. <b>missed</b>: the tick began when the next was \
already due, or never. <b>early</b>: it began before its time, and is entered as 0. <b>drift</b>: the median \
lateness of the last tenth of a pass less that of the first. <b>CPU</b>: processor time of the thread by the \
time that passed. <b>disturbed</b>: passes in which the host ran somebody else on the core (steal of \
<code>/proc/stat</code>, in steps of 10 ms) or another thread of this machine kept the contender waiting, \
together for more than 1 % of the time.";

const HEADLINE: &str = "\
A thread sends a datagram every 100 to 300 us over loopback, with the time in it. The receiver changes a \
resource of its World and then looks at the clock, so the send is in the figure. Same sender for all, \
passes alternate.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Pass;
    use crate::disturbance::Disturbance;
    use crate::plan::{Size, cells};

    #[test]
    fn a_report_is_one_file_that_asks_nothing_of_the_network() {
        let mut measured = Measured::nothing_yet(cells(Size::Quick).remove(0));
        for (contender, figures) in &mut measured.rows {
            figures.hung = contender.may_hang();
            if !figures.hung {
                let pass = Pass {
                    lateness_ns: vec![100, 200, 300_000],
                    never: 0,
                    early: 0,
                    drift_ns: 0,
                    cpu: 0.5,
                    disturbance: Disturbance::default(),
                };
                figures.add(&pass, 1_000_000);
            }
        }
        let measured = [measured];
        let page = html(&Machine { facts: vec![("CPU", "a <b>".to_owned())] }, &measured, &[]);
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt;b>") && page.contains("hung"));
        assert!(page.contains("medians of 1 passes of 200 ms"));
        assert!(picture(&measured).is_some());
    }
}
