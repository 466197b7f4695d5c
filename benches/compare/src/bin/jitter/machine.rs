//! What machine it was: without that, a lateness says nothing.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::disturbance::stolen;

/// What is known of it, a name and a value each.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) facts: Vec<(&'static str, String)>,
}

/// The machine when the run began.
#[derive(Debug)]
pub(crate) struct Looking {
    facts: Vec<(&'static str, String)>,
    core: Option<CoreId>,
    began: Instant,
    stolen: Duration,
}

impl Machine {
    /// Looks, for the first time.
    pub(crate) fn look(core: Option<CoreId>) -> Looking {
        let cpu = read("/proc/cpuinfo");
        let field = |name: &str| {
            cpu.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'))
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let virtualised = match cpu.contains(" hypervisor") {
            true => format!("yes ({})", known(&read("/sys/hypervisor/type"), "hypervisor flag")),
            false => "no sign of it".to_owned(),
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        Looking {
            core,
            began: Instant::now(),
            stolen: stolen(core),
            facts: vec![
                ("CPU", field("model name")),
                ("frequency at the start", format!("{} MHz", field("cpu MHz"))),
                ("cores of this process", cores.to_string()),
                (
                    "measured on core",
                    core.map_or("not pinned".to_owned(), |core| core.id.to_string()),
                ),
                ("isolated cores", known(&read("/sys/devices/system/cpu/isolated"), "none")),
                ("governor", known(&read(governor), "not visible")),
                ("virtualised", virtualised),
                ("kernel", known(&read("/proc/sys/kernel/osrelease"), "unknown")),
                ("clock source", known(&read(clock), "unknown")),
                ("compiler", compiler()),
                ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
                ("load at the start", load()),
            ],
        }
    }
}

impl Looking {
    /// Adds what is known at the end only.
    pub(crate) fn end(mut self) -> Machine {
        let passed = self.began.elapsed().as_secs_f64().max(1e-9);
        let stolen = stolen(self.core).saturating_sub(self.stolen).as_secs_f64();
        self.facts.push(("load at the end", load()));
        self.facts.push(("length of the run", format!("{passed:.0} s")));
        self.facts.push((
            "stolen from that core by the host",
            format!("{:.1} % of the run", stolen * 100.0 / passed),
        ));
        Machine { facts: self.facts }
    }
}

/// The load averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = read("/proc/loadavg");
    known(&text.split(' ').take(3).collect::<Vec<_>>().join(" "), "unknown")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn known(text: &str, otherwise: &str) -> String {
    let text = text.trim();
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    known(&text.unwrap_or_default(), "unknown")
}
