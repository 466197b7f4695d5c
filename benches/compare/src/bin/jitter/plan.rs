//! What is measured: who, how often, under which load, for how long.

use std::time::Duration;

use crate::load::Load;

/// Who ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Control,
    OnbeatSpin,
    OnbeatParkThenSpin,
    OnbeatPark,
    Nanosleep,
    NanosleepFinest,
    SpinSleep,
    Tokio,
    Bevy,
    NexusPark,
    NexusSpin,
}

impl Contender {
    /// All, in the order of the tables. Its place is the number of its colour.
    pub(crate) const ALL: [Self; 11] = [
        Self::Control,
        Self::OnbeatSpin,
        Self::OnbeatParkThenSpin,
        Self::OnbeatPark,
        Self::Nanosleep,
        Self::NanosleepFinest,
        Self::SpinSleep,
        Self::Tokio,
        Self::Bevy,
        Self::NexusPark,
        Self::NexusSpin,
    ];

    /// Those that can do something beside their ticks, and the control.
    const LOADED: [Self; 5] =
        [Self::Control, Self::OnbeatSpin, Self::OnbeatParkThenSpin, Self::OnbeatPark, Self::Tokio];

    /// How tables and legends call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control: bare spin loop",
            Self::OnbeatSpin => "onbeat, spin",
            Self::OnbeatParkThenSpin => "onbeat, park then spin",
            Self::OnbeatPark => "onbeat, park",
            Self::Nanosleep => "clock_nanosleep",
            Self::NanosleepFinest => "clock_nanosleep, slack 1 ns",
            Self::SpinSleep => "spin_sleep",
            Self::Tokio => "tokio interval",
            Self::Bevy => "bevy ScheduleRunnerPlugin",
            Self::NexusPark => "nexus interval, block_on",
            Self::NexusSpin => "nexus interval, block_on_busy",
        }
    }

    /// Whether it is known to hang, and so runs in a process of its own.
    pub(crate) fn may_hang(self) -> bool {
        matches!(self, Self::NexusPark | Self::NexusSpin)
    }
}

/// One table: a rate and a load, and who meets them.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Ticks a second.
    pub(crate) rate_hz: u32,
    /// What else there is to do.
    pub(crate) load: Load,
    /// Who ticks.
    pub(crate) contenders: Vec<Contender>,
    /// How long a pass is.
    pub(crate) pass: Duration,
    /// Passes of each contender, taken in turns.
    pub(crate) passes: u32,
}

impl Cell {
    /// The heading of its table.
    pub(crate) fn title(&self) -> String {
        format!("{} Hz, {}", self.rate_hz, self.load)
    }

    /// Whether nothing disturbs, and every contender takes part.
    pub(crate) fn is_base(&self) -> bool {
        self.load == Load::default()
    }

    /// How long it takes when nothing hangs.
    #[cfg(test)]
    pub(crate) fn length(&self) -> Duration {
        self.pass * self.passes * self.contenders.len() as u32
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// To see that everything runs: some 15 seconds.
    Quick,
    /// Every rate, and each load alone: under four minutes.
    Usual,
    /// Every rate under every combination of loads: more than an hour.
    Full,
}

/// The tables of a run, in the order in which they are measured.
pub(crate) fn cells(size: Size) -> Vec<Cell> {
    match size {
        Size::Quick => {
            let all = Load { work_percent: 10, sleepers: 10_000, wakes: true, traffic: true };
            vec![base(1_000, 400, 1), loaded(10_000, all, 400, 1)]
        }
        Size::Usual => {
            let mut cells = Vec::new();
            for rate_hz in [100, 1_000, 10_000, 50_000] {
                cells.push(base(rate_hz, 800, 3));
                if matches!(rate_hz, 1_000 | 10_000) {
                    cells.extend(single_loads().map(|load| loaded(rate_hz, load, 400, 3)));
                }
            }
            cells
        }
        Size::Full => {
            let mut cells = Vec::new();
            for rate_hz in [100, 1_000, 10_000, 50_000] {
                cells.push(base(rate_hz, 4_000, 3));
                let loads = all_loads().into_iter().filter(|load| *load != Load::default());
                cells.extend(loads.map(|load| loaded(rate_hz, load, 2_000, 4)));
            }
            cells
        }
    }
}

fn base(rate_hz: u32, pass_ms: u64, passes: u32) -> Cell {
    let contenders = Contender::ALL.to_vec();
    let pass = Duration::from_millis(pass_ms);
    Cell { rate_hz, load: Load::default(), contenders, pass, passes }
}

fn loaded(rate_hz: u32, load: Load, pass_ms: u64, passes: u32) -> Cell {
    let contenders = Contender::LOADED.to_vec();
    Cell { rate_hz, load, contenders, pass: Duration::from_millis(pass_ms), passes }
}

fn single_loads() -> [Load; 5] {
    let none = Load::default();
    [
        Load { work_percent: 10, ..none },
        Load { work_percent: 50, ..none },
        Load { sleepers: 10_000, ..none },
        Load { wakes: true, ..none },
        Load { traffic: true, ..none },
    ]
}

fn all_loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for work_percent in [0, 10, 50] {
        for sleepers in [0, 10_000] {
            for wakes in [false, true] {
                for traffic in [false, true] {
                    loads.push(Load { work_percent, sleepers, wakes, traffic });
                }
            }
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(size: Size) -> Duration {
        cells(size).iter().map(Cell::length).sum()
    }

    #[test]
    fn a_usual_run_stays_under_four_minutes_and_a_quick_one_under_twenty_seconds() {
        // The rest of the time is for starts, and for what hangs.
        assert!(length(Size::Usual) < Duration::from_secs(190), "{:?}", length(Size::Usual));
        assert!(length(Size::Quick) < Duration::from_secs(10), "{:?}", length(Size::Quick));
    }

    #[test]
    fn a_full_run_has_every_combination() {
        assert_eq!(cells(Size::Full).len(), 4 * 3 * 2 * 2 * 2);
    }
}
