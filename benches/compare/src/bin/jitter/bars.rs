//! What the design sets, judged by the medians of the passes.

use crate::figures::time;
use crate::headline::Latencies;
use crate::measured::{Measured, percent};
use crate::plan::Contender;

/// A bar, the figure, and whether it holds.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) holds: bool,
}

impl Bar {
    /// In a word.
    pub(crate) fn verdict(&self) -> &'static str {
        if self.holds { "yes" } else { "NO" }
    }
}

/// Those of the tables and of the headline that were measured.
pub(crate) fn all(measured: &[Measured], headline: &[Latencies]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let rates = measured.iter().filter(|one| one.cell.is_base());
    for one in rates.filter(|one| matches!(one.cell.rate_hz, 1_000 | 10_000)) {
        spinning(one, &mut bars);
        parked(one, &mut bars);
    }
    datagrams(headline, &mut bars);
    bars
}

fn spinning(measured: &Measured, bars: &mut Vec<Bar>) {
    let rate = measured.cell.rate_hz;
    let both = |part| {
        Some((at(measured, Contender::OnbeatSpin, part)?, at(measured, Contender::Control, part)?))
    };
    if let Some((ours, raw)) = both(0.5) {
        let above = ours.saturating_sub(raw);
        bars.push(Bar {
            what: format!("{rate} Hz, spin: p50 at most 500 ns above the control"),
            figure: time(above),
            holds: above <= 500,
        });
    }
    if let Some((ours, raw)) = both(0.99) {
        let ratio = ours as f64 / raw.max(1) as f64;
        bars.push(Bar {
            what: format!("{rate} Hz, spin: p99 at most twice the control's"),
            figure: format!("{ratio:.2} ({} to {})", time(ours), time(raw)),
            holds: ratio <= 2.0,
        });
    }
}

fn parked(measured: &Measured, bars: &mut Vec<Bar>) {
    let rate = measured.cell.rate_hz;
    if let Some(ours) = at(measured, Contender::OnbeatPark, 0.5) {
        let mut figure = time(ours);
        for (raw, name) in [
            (Contender::NanosleepFinest, "clock_nanosleep"),
            (Contender::EpollFinest, "epoll_pwait2"),
        ] {
            if let Some(raw) = at(measured, raw, 0.5) {
                let ratio = ours as f64 / raw.max(1) as f64;
                figure += &format!(", {ratio:.2} of the {} of a bare {name}", time(raw));
            }
        }
        let what = format!("{rate} Hz, park: p50 under 30 us");
        bars.push(Bar { what, figure, holds: ours < 30_000 });
    }
    if let Some(ours) = at(measured, Contender::OnbeatHybrid, 0.5) {
        let what = format!("{rate} Hz, hybrid: p50 under 2 us");
        bars.push(Bar { what, figure: time(ours), holds: ours < 2_000 });
    }
    if let Some(figures) = measured.of(Contender::OnbeatHybrid).filter(|_| rate == 1_000) {
        let cpu = figures.cpu();
        let what = format!("{rate} Hz, hybrid: less than 20 % CPU");
        bars.push(Bar { what, figure: percent(cpu).to_string(), holds: cpu < 0.2 });
    }
}

fn datagrams(headline: &[Latencies], bars: &mut Vec<Bar>) {
    let p50 = |name: &str| {
        let one = headline.iter().find(|one| one.receiver.name == name);
        one.filter(|one| one.samples.count() > 0).map(|one| one.samples.at(0.5) as f64)
    };
    let Some(ours) = p50("onbeat, block_on_busy") else {
        return;
    };
    for (peer, most) in [
        ("raw mio, spinning", 1.15),
        ("tokio, channel, bevy free-running", 0.4),
        ("tokio, channel, bevy at 1 kHz", 0.02),
    ] {
        if let Some(peer_ns) = p50(peer) {
            bars.push(Bar {
                what: format!("datagram to resource, spinning: p50 at most {most} of \"{peer}\""),
                figure: format!("{:.3}", ours / peer_ns),
                holds: ours / peer_ns <= most,
            });
        }
    }
}

fn at(measured: &Measured, contender: Contender, part: f64) -> Option<u64> {
    measured.of(contender).map(|figures| figures.lateness.at(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Pass;
    use crate::disturbance::Disturbance;
    use crate::plan::{Size, cells};

    #[test]
    fn a_bar_that_is_missed_says_so_and_what_the_bare_calls_took() {
        let mut measured = Measured::nothing_yet(cells(Size::Quick).remove(0));
        for (_, figures) in &mut measured.rows {
            let pass = Pass {
                lateness_ns: vec![40_000; 10],
                never: 0,
                early: 0,
                drift_ns: 0,
                cpu: 0.5,
                disturbance: Disturbance::default(),
            };
            figures.add(&pass, 1_000_000);
        }
        let bars = all(&[measured], &[]);
        let held: Vec<_> = bars.iter().map(|bar| bar.holds).collect();
        assert_eq!(held, [true, true, false, false, false], "{bars:?}");
        assert!(
            bars[2].figure.contains("1.00 of the 40.0 us of a bare clock_nanosleep"),
            "{bars:?}"
        );
    }
}
