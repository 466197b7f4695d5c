//! Plots as SVG, without anything from outside.

use std::fmt::Write as _;

use crate::figures::{Samples, time};

/// The colours of the lines, for a light and for a dark background.
const COLOURS: [(&str, &str); 11] = [
    ("#666666", "#a9a9a9"),
    ("#d1242f", "#ff6b6b"),
    ("#e8820c", "#ffb14d"),
    ("#9a6700", "#d9b64a"),
    ("#0969da", "#6cb6ff"),
    ("#00838f", "#4fd1d9"),
    ("#1a7f37", "#5fd07b"),
    ("#8250df", "#c39bff"),
    ("#bf3989", "#ff8ac8"),
    ("#5b3a1e", "#c79a73"),
    ("#2b3a67", "#93a4d9"),
];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// The least that a logarithmic axis shows, in nanoseconds.
const FLOOR_NS: u64 = 10;

/// A line of a plot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    /// The number of its colour.
    pub(crate) colour: usize,
    pub(crate) samples: &'a Samples,
}

/// The style of every plot. The colours follow what the reader's system prefers.
pub(crate) fn style() -> String {
    let mut css = String::from(
        "svg text{font:12px system-ui,sans-serif;fill:#24292f}svg .grid{stroke:#d0d7de;\
         stroke-width:1}svg .line{fill:none;stroke-width:1.8}svg .thin{fill:none;stroke-width:1}\
         svg .title{font-weight:600;font-size:14px}",
    );
    let mut dark = String::from("svg text{fill:#e6edf3}svg .grid{stroke:#3d444d}");
    for (index, (light_colour, dark_colour)) in COLOURS.iter().enumerate() {
        write_to(&mut css, format_args!("svg .c{index}{{stroke:{light_colour}}}"));
        write_to(&mut dark, format_args!("svg .c{index}{{stroke:{dark_colour}}}"));
    }
    write_to(&mut css, format_args!("@media(prefers-color-scheme:dark){{{dark}}}"));
    css
}

/// A drawing of its own, which can be a file.
pub(crate) fn alone(drawing: &str) -> String {
    drawing.replacen('>', &format!("><style>{}</style>", style()), 1)
}

/// Percentile curves: how much (y) the share of the samples on x is at most, both logarithmic.
pub(crate) fn percentiles(title: &str, unit: &str, lines: &[Line<'_>]) -> String {
    let top = 40.0;
    let bottom = 360.0;
    let rows = lines.len().div_ceil(3) as f64;
    let most = lines.iter().map(|line| line.samples.count()).max().unwrap_or(10).max(10);
    let decades = (most as f64).log10().ceil().clamp(1.0, 6.0);
    let scale = Scale::over(lines.iter().map(|line| line.samples.max()), top, bottom);
    let x = |part: f64| LEFT + (-(1.0 - part).log10() / decades).min(1.0) * (WIDTH - LEFT - RIGHT);
    let mut svg = open(bottom + 50.0 + rows * 20.0, title);
    scale.grid(&mut svg);
    for decade in 0..=decades as i32 {
        let part = 1.0 - 10_f64.powi(-decade);
        let at = x(part);
        let label = format!("{}", (part * 1e8).round() / 1e6);
        write_to(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label} %</text>",
                bottom + 16.0
            ),
        );
    }
    write_to(
        &mut svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{:.1}\">share of {unit} that are at most so late</text>",
            bottom + 32.0
        ),
    );
    for line in lines.iter().filter(|line| line.samples.count() > 0) {
        let resolved = (line.samples.count() as f64).log10().min(decades);
        let points: Vec<_> = (0..=(resolved * 40.0) as i32)
            .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 40.0))
            .map(|part| (x(part), scale.y(line.samples.at(part))))
            .collect();
        polyline(&mut svg, "line", line.colour, &points);
    }
    legend(&mut svg, lines, bottom + 52.0);
    svg.push_str("</svg>");
    svg
}

/// The latest of each stretch of time, one panel for each line under the other, on one scale.
pub(crate) fn over_time(title: &str, lines: &[Line<'_>]) -> String {
    let height = 110.0;
    let mut svg = open(40.0 + lines.len() as f64 * (height + 30.0), title);
    let longest = lines.iter().flat_map(|line| line.samples.longest_ns.iter().copied());
    let range: Vec<_> = longest.collect();
    for (index, line) in lines.iter().enumerate() {
        let top = 56.0 + index as f64 * (height + 30.0);
        let scale = Scale::over(range.iter().copied(), top, top + height);
        scale.grid(&mut svg);
        let count = line.samples.longest_ns.len().max(2);
        let step = (WIDTH - LEFT - RIGHT) / (count - 1) as f64;
        let points: Vec<_> = line
            .samples
            .longest_ns
            .iter()
            .enumerate()
            .map(|(at, ns)| (LEFT + at as f64 * step, scale.y(*ns)))
            .collect();
        polyline(&mut svg, "thin", line.colour, &points);
        write_to(
            &mut svg,
            format_args!("<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top - 5.0, line.name),
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
        let longest = times_ns.max().unwrap_or(1_000).max(1_000);
        let from = (FLOOR_NS as f64).log10();
        Self { top, bottom, from, to: (longest as f64).log10().ceil() }
    }

    fn y(self, ns: u64) -> f64 {
        let at = (ns.max(FLOOR_NS) as f64).log10();
        self.bottom - (at - self.from) / (self.to - self.from) * (self.bottom - self.top)
    }

    fn grid(self, svg: &mut String) {
        for decade in self.from as u32..=self.to as u32 {
            let ns = 10_u64.pow(decade);
            let y = self.y(ns);
            let label = time(ns).replace(".0 ", " ").replace(".00 ", " ");
            write_to(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                    WIDTH - RIGHT,
                    LEFT - 6.0,
                    y + 4.0
                ),
            );
        }
    }
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\"><text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>"
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
    for (index, line) in lines.iter().enumerate() {
        let x = LEFT + (index % 3) as f64 * 260.0;
        let y = top + (index / 3) as f64 * 20.0;
        polyline(svg, "line", line.colour, &[(x, y - 4.0), (x + 22.0, y - 4.0)]);
        write_to(
            svg,
            format_args!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 28.0, line.name),
        );
    }
}

fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_alone_carries_its_style_and_asks_nothing_of_the_network() {
        let mut samples = Samples::new();
        samples.add(&[20, 30, 50_000]);
        let line = Line { name: "one", colour: 1, samples: &samples };
        let svg = alone(&percentiles("a title", "ticks", &[line]));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(svg.contains("><style>"));
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_longer_time_is_higher_up() {
        let scale = Scale::over([1_000_000].into_iter(), 0.0, 100.0);
        assert_eq!(scale.y(0), 100.0);
        assert_eq!(scale.y(1_000_000), 0.0);
        assert!(scale.y(5_000) < scale.y(4_000));
    }
}
