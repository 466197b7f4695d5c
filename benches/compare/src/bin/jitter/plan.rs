//! What is measured: who, how often, under which load, for how long.

use std::time::Duration;

use crate::chart::{Look, Stroke};
use crate::load::Load;

/// Who ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Control,
    OnbeatSpin,
    OnbeatHybrid,
    OnbeatPark,
    Nanosleep,
    NanosleepFinest,
    EpollFinest,
    SpinSleep,
    Tokio,
    Bevy,
    NexusPark,
    NexusSpin,
}

impl Contender {
    /// All, in the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Self::Control,
        Self::OnbeatSpin,
        Self::OnbeatHybrid,
        Self::OnbeatPark,
        Self::Nanosleep,
        Self::NanosleepFinest,
        Self::EpollFinest,
        Self::SpinSleep,
        Self::Tokio,
        Self::Bevy,
        Self::NexusPark,
        Self::NexusSpin,
    ];

    /// Those that can do something beside their ticks, and the control.
    const LOADED: [Self; 5] =
        [Self::Control, Self::OnbeatSpin, Self::OnbeatHybrid, Self::OnbeatPark, Self::Tokio];

    /// How tables and legends call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control: bare spin loop",
            Self::OnbeatSpin => "onbeat, spin",
            Self::OnbeatHybrid => "onbeat, hybrid",
            Self::OnbeatPark => "onbeat, park",
            Self::Nanosleep => "clock_nanosleep",
            Self::NanosleepFinest => "clock_nanosleep, slack 1 ns",
            Self::EpollFinest => "epoll_pwait2, slack 1 ns",
            Self::SpinSleep => "spin_sleep",
            Self::Tokio => "tokio interval",
            Self::Bevy => "bevy ScheduleRunnerPlugin",
            Self::NexusPark => "nexus interval, block_on",
            Self::NexusSpin => "nexus interval, block_on_busy",
        }
    }

    /// How plots draw it.
    pub(crate) fn look(self) -> Look {
        let (colour, stroke) = match self {
            Self::Control => (0, Stroke::Plain),
            Self::OnbeatSpin => (1, Stroke::Ours),
            Self::OnbeatHybrid => (2, Stroke::Ours),
            Self::OnbeatPark => (4, Stroke::Ours),
            Self::Nanosleep => (0, Stroke::Dotted),
            Self::NanosleepFinest => (0, Stroke::Dashed),
            Self::EpollFinest => (4, Stroke::Dashed),
            Self::SpinSleep => (5, Stroke::Dashed),
            Self::Tokio => (6, Stroke::Plain),
            Self::Bevy => (7, Stroke::Plain),
            Self::NexusPark => (3, Stroke::Plain),
            Self::NexusSpin => (3, Stroke::Dotted),
        };
        Look { colour, stroke }
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

    /// How long a round of it takes when nothing hangs.
    #[cfg(test)]
    pub(crate) fn length(&self) -> Duration {
        self.pass * self.contenders.len() as u32
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// To see that everything runs: some 15 seconds.
    Quick,
    /// Every rate, and each load alone: about four minutes.
    Usual,
    /// Every rate under every combination of loads: about an hour.
    Full,
}

impl Size {
    /// How many passes each contender of each table has. A round is one of each, so what disturbs the
    /// machine for some seconds reaches a pass or two of every table, and most of none.
    pub(crate) fn rounds(self) -> u32 {
        match self {
            Self::Quick => 2,
            Self::Usual => 9,
            Self::Full => 11,
        }
    }

    /// Datagrams of a pass of the headline.
    pub(crate) fn datagrams(self) -> usize {
        match self {
            Self::Quick => 100,
            Self::Usual => 700,
            Self::Full => 5_000,
        }
    }
}

/// Which of `count` takes the turn `step` of a round. Each round begins with another one, and every other
/// one goes backwards, so that nobody always comes after the same neighbour, whose use of the core the
/// host may make up for.
pub(crate) fn turn(round: usize, step: usize, count: usize) -> usize {
    let step = if round.is_multiple_of(2) { step } else { count - 1 - step };
    (round + step) % count
}

/// The tables of a run, in the order in which they are measured.
pub(crate) fn cells(size: Size) -> Vec<Cell> {
    match size {
        Size::Quick => {
            let all = Load { work_percent: 10, sleepers: 10_000, wakes: true, traffic: true };
            vec![base(1_000, 200), loaded(10_000, all, 200)]
        }
        Size::Usual => {
            let mut cells = Vec::new();
            for (rate_hz, base_ms, loaded_ms) in
                [(100, 300, 0), (1_000, 500, 200), (10_000, 250, 60), (50_000, 100, 0)]
            {
                cells.push(base(rate_hz, base_ms));
                if loaded_ms > 0 {
                    cells.extend(single_loads().map(|load| loaded(rate_hz, load, loaded_ms)));
                }
            }
            cells
        }
        Size::Full => {
            let mut cells = Vec::new();
            for rate_hz in [100, 1_000, 10_000, 50_000] {
                cells.push(base(rate_hz, 1_500));
                let loads = all_loads().into_iter().filter(|load| *load != Load::default());
                cells.extend(loads.map(|load| loaded(rate_hz, load, 500)));
            }
            cells
        }
    }
}

fn base(rate_hz: u32, pass_ms: u64) -> Cell {
    let contenders = Contender::ALL.to_vec();
    let pass = Duration::from_millis(pass_ms);
    Cell { rate_hz, load: Load::default(), contenders, pass }
}

fn loaded(rate_hz: u32, load: Load, pass_ms: u64) -> Cell {
    let contenders = Contender::LOADED.to_vec();
    Cell { rate_hz, load, contenders, pass: Duration::from_millis(pass_ms) }
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
        cells(size).iter().map(Cell::length).sum::<Duration>() * size.rounds()
    }

    #[test]
    fn a_usual_run_stays_under_four_minutes_and_a_quick_one_under_twenty_seconds() {
        // The rest of the time is for datagrams, for starts, and for what hangs.
        assert!(length(Size::Usual) < Duration::from_secs(210), "{:?}", length(Size::Usual));
        assert!(length(Size::Quick) < Duration::from_secs(10), "{:?}", length(Size::Quick));
    }

    #[test]
    fn a_round_has_everybody_once_and_neighbours_swap() {
        for round in 0..9 {
            let mut turns: Vec<_> = (0..5).map(|step| turn(round, step, 5)).collect();
            let forward = (turns[0] + 1) % 5 == turns[1];
            assert_eq!(forward, round % 2 == 0, "{turns:?}");
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_full_run_has_every_combination() {
        assert_eq!(cells(Size::Full).len(), 4 * 3 * 2 * 2 * 2);
    }
}
