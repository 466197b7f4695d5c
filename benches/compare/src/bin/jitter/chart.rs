//! Plots as SVG, without anything from outside.

use std::fmt::Write as _;

use crate::figures::{Samples, time};

/// The colours of the lines, for a light and for a dark background.
const COLOURS: [(&str, &str); 8] = [
    ("#57606a", "#b1bac4"),
    ("#cf222e", "#ff7b72"),
    ("#c2570c", "#ffa657"),
    ("#9a6700", "#e3c04f"),
    ("#0969da", "#6cb6ff"),
    ("#0f766e", "#4fd1c5"),
    ("#1a7f37", "#6fdd8b"),
    ("#8250df", "#d2a8ff"),
];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
/// The least that a logarithmic axis shows, in nanoseconds.
const FLOOR_NS: u64 = 10;
/// Lines of a legend beside one another.
const LEGEND_COLUMNS: usize = 3;
/// Where the legend begins: to the left of the axis, for the longest names.
const LEGEND_LEFT: f64 = 24.0;

/// How a line is drawn. No two lines of a plot look the same, also without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The number of its colour.
    pub(crate) colour: usize,
    pub(crate) stroke: Stroke,
}

/// Who a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// onbeat: thick.
    Ours,
    /// What no runtime can beat, and other runtimes.
    Plain,
    /// Loops without a runtime.
    Dashed,
    /// A second one of the same colour.
    Dotted,
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Plain => "line",
            Self::Dashed => "line dash",
            Self::Dotted => "line dots",
        }
    }
}

/// A line of a plot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) look: Look,
    pub(crate) samples: &'a Samples,
}

/// The style of every plot. The colours follow what the reader's system prefers.
pub(crate) fn style() -> String {
    let mut css = String::from(
        "svg text{font:13px system-ui,sans-serif;fill:#24292f}svg .ground{fill:#fff}\
         svg .grid{stroke:#d8dee4;stroke-width:1}svg .bar{stroke:#afb8c1;stroke-width:1}\
         svg polyline{fill:none;stroke-linejoin:round}svg .line{stroke-width:1.7}\
         svg .ours{stroke-width:3.2}svg .thin{stroke-width:1.1}svg .dash{stroke-dasharray:7 4}\
         svg .dots{stroke-dasharray:2 3}svg text.title{font-weight:600;font-size:15px}",
    );
    let mut dark = String::from(
        "svg text{fill:#e6edf3}svg .ground{fill:#0d1117}svg .grid{stroke:#2f353d}\
         svg .bar{stroke:#59636e}",
    );
    for (index, (light_colour, dark_colour)) in COLOURS.iter().enumerate() {
        write_to(&mut css, format_args!("svg .c{index}{{stroke:{light_colour}}}"));
        write_to(&mut dark, format_args!("svg .c{index}{{stroke:{dark_colour}}}"));
    }
    write_to(&mut css, format_args!("@media(prefers-color-scheme:dark){{{dark}}}"));
    css
}

/// A drawing of its own, which can be a file. It brings its background: the page around it need not
/// have the colours that the reader's system prefers.
pub(crate) fn alone(drawing: &str) -> String {
    let ground = "<rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>";
    drawing.replacen('>', &format!("><style>{}</style>{ground}", style()), 1)
}

/// Percentile curves: how much (y) the share of the samples on x is at most, both logarithmic. Each point
/// is the median of the passes.
pub(crate) fn percentiles(title: &str, unit: &str, lines: &[Line<'_>]) -> String {
    let (top, bottom) = (44.0, 374.0);
    let rows = lines.len().div_ceil(LEGEND_COLUMNS) as f64;
    let most = lines.iter().map(|line| line.samples.count_of_a_pass()).max().unwrap_or(0).max(10);
    let decades = (most as f64).log10().clamp(1.0, 6.0);
    let ends = |line: &Line<'_>| [line.samples.at(0.02), line.samples.at(1.0)];
    let scale = Scale::over(lines.iter().flat_map(ends), top, bottom);
    let x = |part: f64| LEFT + (-(1.0 - part).log10() / decades).min(1.0) * (WIDTH - LEFT - RIGHT);
    let mut svg = open(bottom + 52.0 + rows * 20.0, title);
    scale.grid(&mut svg);
    for part in [0.0, 0.5, 0.9, 0.99, 0.999, 0.999_9, 0.999_99] {
        let at = x(part);
        if at > WIDTH - RIGHT - 1.0 && part > 0.9 {
            break;
        }
        let label = (part * 1e8).round() / 1e6;
        write_to(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label} %</text>",
                bottom + 17.0
            ),
        );
    }
    let passes = lines.iter().map(|line| line.samples.passes()).max().unwrap_or(0);
    write_to(
        &mut svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{:.1}\">of the {unit} of a pass are at most so late (median of {passes} \
             passes)</text>",
            bottom + 35.0
        ),
    );
    // The thick ones lie beneath, so that what they are compared with is seen where the two meet.
    let thick = |line: &&Line<'_>| line.look.stroke == Stroke::Ours;
    let drawn = lines.iter().filter(thick).chain(lines.iter().filter(|line| !thick(line)));
    for line in drawn.filter(|line| line.samples.count() > 0) {
        let resolved = (line.samples.count_of_a_pass() as f64).log10().min(decades);
        let points: Vec<_> = (0..=(resolved * 40.0) as i32)
            .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 40.0))
            .map(|part| (x(part), scale.y(line.samples.at(part))))
            .collect();
        polyline(&mut svg, line.look.stroke.class(), line.look.colour, &points);
    }
    legend(&mut svg, lines, bottom + 58.0);
    svg.push_str("</svg>");
    svg
}

/// The latest of each stretch of time, one panel for each line under the other, on one scale.
pub(crate) fn over_time(title: &str, lines: &[Line<'_>]) -> String {
    let height = 110.0;
    let mut svg = open(40.0 + lines.len() as f64 * (height + 34.0), title);
    let longest =
        || lines.iter().flat_map(|line| line.samples.longest_ns.iter().flatten().copied());
    for (index, line) in lines.iter().enumerate() {
        let top = 60.0 + index as f64 * (height + 34.0);
        let scale = Scale::over(longest(), top, top + height);
        scale.grid(&mut svg);
        let passes = &line.samples.longest_ns;
        let wide = (WIDTH - LEFT - RIGHT) / passes.len().max(1) as f64;
        for (number, pass) in passes.iter().enumerate() {
            let left = LEFT + number as f64 * wide;
            let bar = if number == 0 { LEFT } else { left };
            write_to(
                &mut svg,
                format_args!(
                    "<line class=\"bar\" x1=\"{bar:.1}\" x2=\"{bar:.1}\" y1=\"{top:.1}\" y2=\"{:.1}\"/>",
                    top + height
                ),
            );
            let step = (wide - 4.0) / (pass.len().max(2) - 1) as f64;
            let at = |(at, ns): (usize, &u64)| (left + 2.0 + at as f64 * step, scale.y(*ns));
            let points: Vec<_> = pass.iter().enumerate().map(at).collect();
            polyline(&mut svg, "thin", line.look.colour, &points);
        }
        write_to(
            &mut svg,
            format_args!("<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top - 7.0, line.name),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A logarithmic axis of times.
#[derive(Clone, Copy, Debug)]
struct Scale {
    top: f64,
    bottom: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// One that shows these times.
    fn over(times_ns: impl Iterator<Item = u64>, top: f64, bottom: f64) -> Self {
        let logarithm = |ns: u64| (ns.max(FLOOR_NS) as f64).log10();
        let (mut from, mut to) = (3.0_f64, 3.0_f64);
        for at in times_ns.map(logarithm) {
            from = from.min(at.floor());
            to = to.max(at.ceil());
        }
        Self { top, bottom, from, to: to.max(from + 1.0) }
    }

    fn y(self, ns: u64) -> f64 {
        let at = (ns.max(1) as f64).log10().max(self.from);
        self.bottom - (at - self.from) / (self.to - self.from) * (self.bottom - self.top)
    }

    /// A line for each power of ten, and a label where there is room for one.
    fn grid(self, svg: &mut String) {
        let room = (self.bottom - self.top) / (self.to - self.from);
        let each = (18.0 / room).ceil().max(1.0) as u32;
        for decade in self.from as u32..=self.to as u32 {
            let ns = 10_u64.pow(decade);
            let y = self.y(ns);
            write_to(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                    WIDTH - RIGHT
                ),
            );
            if (decade - self.from as u32).is_multiple_of(each) {
                let label = time(ns).replace(".00 ", " ").replace(".0 ", " ");
                write_to(
                    svg,
                    format_args!(
                        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                        LEFT - 8.0,
                        y + 4.5
                    ),
                );
            }
        }
    }
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\"><text class=\"title\" x=\"{LEFT}\" y=\"24\">{title}</text>"
    )
}

fn polyline(svg: &mut String, class: &str, colour: usize, points: &[(f64, f64)]) {
    let list: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    write_to(
        svg,
        format_args!("<polyline class=\"{class} c{colour}\" points=\"{}\"/>", list.join(" ")),
    );
}

fn legend(svg: &mut String, lines: &[Line<'_>], top: f64) {
    let wide = (WIDTH - LEGEND_LEFT) / LEGEND_COLUMNS as f64;
    let rows = lines.len().div_ceil(LEGEND_COLUMNS).max(1);
    for (index, line) in lines.iter().enumerate() {
        let x = LEGEND_LEFT + (index / rows) as f64 * wide;
        let y = top + (index % rows) as f64 * 20.0;
        let class = line.look.stroke.class();
        polyline(svg, class, line.look.colour, &[(x, y - 4.5), (x + 30.0, y - 4.5)]);
        write_to(
            svg,
            format_args!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 37.0, line.name),
        );
    }
}

fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headline::RECEIVERS;
    use crate::plan::Contender;

    #[test]
    fn a_drawing_alone_carries_its_style_and_asks_nothing_of_the_network() {
        let mut samples = Samples::default();
        samples.add(&[20, 30, 50_000]);
        let look = Contender::OnbeatSpin.look();
        let line = Line { name: "one", look, samples: &samples };
        let svg = alone(&percentiles("a title", "ticks", &[line]));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(svg.contains("><style>"));
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(!over_time("a title", &[line, line]).contains("NaN"));
    }

    #[test]
    fn no_two_lines_of_a_plot_look_the_same() {
        let contenders = Contender::ALL.map(Contender::look);
        let receivers = RECEIVERS.map(|receiver| receiver.look);
        for looks in [&contenders[..], &receivers[..]] {
            for (index, look) in looks.iter().enumerate() {
                assert!(look.colour < COLOURS.len());
                assert!(!looks[..index].contains(look), "{look:?}");
            }
        }
    }

    #[test]
    fn a_longer_time_is_higher_up() {
        let scale = Scale::over([30, 1_000_000].into_iter(), 0.0, 100.0);
        assert_eq!(scale.y(0), 100.0);
        assert_eq!(scale.y(1_000_000), 0.0);
        assert!(scale.y(1_000) > scale.y(10_000));
    }
}
