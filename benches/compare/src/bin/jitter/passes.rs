//! Runs one pass: on a thread of its own, pinned, or in a process of its own where it may hang.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use onbeat::Idle;

use crate::beat::{Beat, Pass};
use crate::disturbance::{Before, Disturbance};
use crate::load::{Load, Noise};
use crate::plan::Contender;
use crate::runtimes::{self, NexusWait};
use crate::{headline, raw};

/// What a process of its own is allowed beyond the length of its pass.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// One pass, as it is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) contender: Contender,
    pub(crate) rate_hz: u32,
    pub(crate) load: Load,
    pub(crate) length: Duration,
    pub(crate) core: Option<CoreId>,
}

/// Runs the pass. `Ok(None)`: it hung, and was ended.
pub(crate) fn run(order: Order) -> Result<Option<Pass>, String> {
    if order.contender.may_hang() {
        let asked = [
            "beat".to_owned(),
            order.contender.name().to_owned(),
            order.rate_hz.to_string(),
            order.length.as_millis().to_string(),
        ];
        let limit = order.length + order.length / 4 + PATIENCE;
        return in_a_process(&asked, order.core, limit)?.map(|text| parse(&text)).transpose();
    }
    here(order).map(Some)
}

/// Runs the pass on a thread of this process.
fn here(order: Order) -> Result<Pass, String> {
    let mut noise = Noise::start(order.load).map_err(|error| format!("no loopback: {error}"))?;
    on_core(order.core, move || {
        let before = Before::look(order.core);
        let beat = Beat::new(order.rate_hz, order.length, order.load.work_percent);
        let load = order.load;
        let beat = match order.contender {
            Contender::Control => raw::spin(beat),
            Contender::OnbeatSpin => runtimes::onbeat(Idle::Spin, beat, load, &mut noise),
            Contender::OnbeatHybrid => runtimes::onbeat(Idle::ParkThenSpin, beat, load, &mut noise),
            Contender::OnbeatPark => runtimes::onbeat(Idle::Park, beat, load, &mut noise),
            Contender::Nanosleep => raw::nanosleep(beat),
            Contender::NanosleepFinest => raw::nanosleep_finest(beat),
            Contender::EpollFinest => raw::epoll_finest(beat),
            Contender::SpinSleep => raw::spin_sleep(beat),
            Contender::Tokio => runtimes::tokio(beat, load, &mut noise),
            Contender::Bevy => runtimes::bevy(beat),
            Contender::NexusPark => runtimes::nexus(NexusWait::Park, beat),
            Contender::NexusSpin => runtimes::nexus(NexusWait::Spin, beat),
        };
        let mut pass = beat.finish();
        pass.disturbance = before.until_now();
        pass
    })
}

/// Runs `work` on a new thread of that core, so that no pass inherits what another did to its thread.
pub(crate) fn on_core<T: Send + 'static>(
    core: Option<CoreId>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let thread = thread::spawn(move || {
        if let Some(core) = core {
            core_affinity::set_for_current(core);
        }
        work()
    });
    thread.join().map_err(|_| "a pass panicked".to_owned())
}

/// Runs this program with `--child`, and gives what it prints. `Ok(None)`: it took longer than `limit`.
pub(crate) fn in_a_process(
    asked: &[String],
    core: Option<CoreId>,
    limit: Duration,
) -> Result<Option<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("who am I: {error}"))?;
    let mut command = Command::new(program);
    command.arg("--child").args(asked).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(core) = core {
        command.arg("--core").arg(core.id.to_string());
    }
    let mut child = command.spawn().map_err(|error| format!("no process: {error}"))?;
    let mut output = child.stdout.take().expect("it was asked for");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + limit;
    let ended = loop {
        match child.try_wait().map_err(|error| format!("no child: {error}"))? {
            Some(status) => break status.success(),
            None if Instant::now() > deadline => {
                // It may just have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let text = reader.join().expect("the reader does not panic");
    Ok(if ended { text.ok() } else { None })
}

/// What the process of its own does: runs the pass and prints it.
pub(crate) fn child(asked: &[String], core: Option<CoreId>) -> Result<(), String> {
    let text = match asked {
        [kind, name, rate_hz, length_ms] if kind == "beat" => {
            let contender = Contender::ALL
                .into_iter()
                .find(|contender| contender.name() == name)
                .ok_or_else(|| format!("there is no contender {name}"))?;
            let rate_hz = rate_hz.parse().map_err(|_| "a rate is a number".to_owned())?;
            let length_ms = length_ms.parse().map_err(|_| "a length is a number".to_owned())?;
            let length = Duration::from_millis(length_ms);
            print(&here(Order { contender, rate_hz, load: Load::default(), length, core })?)
        }
        [kind, name, datagrams] if kind == "headline" => {
            let datagrams = datagrams.parse().map_err(|_| "a count is a number".to_owned())?;
            numbers(&headline::here(name, datagrams, core)?)
        }
        _ => return Err(format!("--child does not know {asked:?}")),
    };
    println!("{text}");
    Ok(())
}

fn print(pass: &Pass) -> String {
    let Pass { lateness_ns, never, early, drift_ns, cpu, disturbance } = pass;
    let Disturbance { stolen, queued } = disturbance;
    format!("{never} {early} {drift_ns} {cpu} {stolen} {queued}\n{}", numbers(lateness_ns))
}

fn parse(text: &str) -> Result<Pass, String> {
    let wrong = || "a child printed something else".to_owned();
    let (head, rest) = text.split_once('\n').ok_or_else(wrong)?;
    let head: Vec<f64> = head.split(' ').filter_map(|field| field.parse().ok()).collect();
    let [never, early, drift_ns, cpu, stolen, queued] = head[..] else {
        return Err(wrong());
    };
    Ok(Pass {
        lateness_ns: read_numbers(rest),
        never: never as u64,
        early: early as u64,
        drift_ns: drift_ns as i64,
        cpu,
        disturbance: Disturbance { stolen, queued },
    })
}

fn numbers(values: &[u64]) -> String {
    values.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// The numbers that a child printed.
pub(crate) fn read_numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|field| field.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_prints_is_read_back() {
        let pass = Pass {
            lateness_ns: vec![1, 0, 7],
            never: 1,
            early: 2,
            drift_ns: -3,
            cpu: 0.25,
            disturbance: Disturbance { stolen: 0.125, queued: 0.5 },
        };
        assert_eq!(parse(&print(&pass)), Ok(pass));
        assert!(parse("").is_err());
    }
}
