//! From a readable descriptor to a changed resource: a thread sends datagrams that say when they were sent,
//! and each receiver changes a resource of its World and looks at the clock. The send is in the figure.

mod receivers;

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bevy_ecs::prelude::Resource;
use core_affinity::CoreId;

use crate::chart::{Look, Stroke};
use crate::figures::Samples;
use crate::passes::{in_a_process, on_core, read_numbers};
use crate::plan::turn;
use crate::raw::finest_slack;

/// Between two datagrams, on average: long enough that a parked receiver parks each time.
const GAP: Duration = Duration::from_micros(200);
/// What a datagram that ends the pass says.
const END: u64 = u64::MAX;
/// Reads before anything is counted.
const WARM_UP: usize = 100;

/// What is sent: nanoseconds since the epoch of the pass.
pub(crate) type Datagram = [u8; 8];

/// One receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    pub(crate) name: &'static str,
    pub(crate) look: Look,
    run: fn(UdpSocket, Seen) -> Seen,
    may_hang: bool,
}

const fn receiver(
    name: &'static str,
    (colour, stroke): (usize, Stroke),
    run: fn(UdpSocket, Seen) -> Seen,
    may_hang: bool,
) -> Receiver {
    Receiver { name, look: Look { colour, stroke }, run, may_hang }
}

/// All, in the order of the table: those that spin, then those that park.
pub(crate) const RECEIVERS: [Receiver; 10] = [
    receiver("raw recv, spinning", (0, Stroke::Plain), receivers::raw_spinning, false),
    receiver("raw mio, spinning", (5, Stroke::Dashed), receivers::mio_spinning, false),
    receiver("onbeat, block_on_busy", (1, Stroke::Ours), receivers::onbeat_spinning, false),
    receiver("nexus, block_on_busy", (3, Stroke::Dotted), receivers::nexus_spinning, true),
    receiver(
        "tokio, channel, bevy free-running",
        (7, Stroke::Dotted),
        receivers::pair_free_running,
        false,
    ),
    receiver("raw recv, blocking", (0, Stroke::Dashed), receivers::raw_blocking, false),
    receiver("raw mio, parked", (4, Stroke::Dashed), receivers::mio_parked, false),
    receiver("onbeat, block_on", (4, Stroke::Ours), receivers::onbeat_parked, false),
    receiver("nexus, block_on", (3, Stroke::Plain), receivers::nexus_parked, true),
    receiver("tokio, channel, bevy at 1 kHz", (7, Stroke::Plain), receivers::pair_at_1_khz, false),
];

/// The resource.
#[derive(Resource, Debug)]
pub(crate) struct Seen {
    epoch: Instant,
    last: u64,
    latency_ns: Vec<u64>,
}

impl Seen {
    /// Changes the resource, then looks at the clock. False: the pass is over.
    pub(crate) fn see(&mut self, datagram: Datagram) -> bool {
        let sent = u64::from_le_bytes(datagram);
        if sent == END {
            return false;
        }
        self.last = sent;
        let now = self.epoch.elapsed().as_nanos() as u64;
        self.latency_ns.push(now.saturating_sub(self.last));
        true
    }

    /// None yet; what stands in the World's place while `Seen` is taken out of it.
    fn new(epoch: Instant, datagrams: usize) -> Self {
        Self { epoch, last: 0, latency_ns: Vec::with_capacity(datagrams) }
    }
}

/// What the passes of one receiver gave.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    pub(crate) receiver: Receiver,
    pub(crate) samples: Samples,
    /// Datagrams that did not arrive.
    pub(crate) lost: u64,
    pub(crate) hung: bool,
}

/// Every receiver, with nothing measured yet.
pub(crate) fn all() -> Vec<Latencies> {
    let none = |receiver| Latencies { receiver, samples: Samples::default(), lost: 0, hung: false };
    RECEIVERS.into_iter().map(none).collect()
}

/// Runs a pass of so many datagrams of each.
pub(crate) fn round(
    all: &mut [Latencies],
    number: usize,
    datagrams: usize,
    core: Option<CoreId>,
) -> Result<(), String> {
    for step in 0..all.len() {
        let one = &mut all[turn(number, step, RECEIVERS.len())];
        if one.hung {
            continue;
        }
        let latency_ns = if one.receiver.may_hang {
            let asked =
                ["headline".to_owned(), one.receiver.name.to_owned(), datagrams.to_string()];
            let limit = GAP * 3 * datagrams as u32 + Duration::from_secs(2);
            in_a_process(&asked, core, limit)?.map(|text| read_numbers(&text))
        } else {
            Some(here(one.receiver.name, datagrams, core)?)
        };
        match latency_ns {
            Some(latency_ns) => {
                one.lost += (datagrams - latency_ns.len()) as u64;
                one.samples.add(&latency_ns);
            }
            None => one.hung = true,
        }
    }
    Ok(())
}

/// One pass in this process: the latencies of what arrived, the warm-up left out.
pub(crate) fn here(name: &str, datagrams: usize, core: Option<CoreId>) -> Result<Vec<u64>, String> {
    let run = RECEIVERS
        .into_iter()
        .find(|receiver| receiver.name == name)
        .ok_or_else(|| format!("there is no receiver {name}"))?
        .run;
    let failed = |error: io::Error| format!("no loopback: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let outgoing = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    outgoing.connect(socket.local_addr().map_err(failed)?).map_err(failed)?;
    let epoch = Instant::now();
    let sender = Sender::start(outgoing, epoch, datagrams + WARM_UP, another_than(core));
    let seen = Seen::new(epoch, datagrams + WARM_UP);
    let seen = on_core(core, move || run(socket, seen))?;
    drop(sender);
    Ok(seen.latency_ns.into_iter().skip(WARM_UP).collect())
}

/// A core of this process that is not `core`: a sender beside its receiver would give it the core when it
/// sleeps, which is not how a network card wakes anybody.
fn another_than(core: Option<CoreId>) -> Option<CoreId> {
    core_affinity::get_core_ids()?.into_iter().find(|other| core.is_some_and(|core| core != *other))
}

/// The thread that sends; it goes on saying that the pass is over until it is dropped.
#[derive(Debug)]
struct Sender {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    fn start(socket: UdpSocket, epoch: Instant, datagrams: usize, core: Option<CoreId>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = thread::spawn(move || {
            if let Some(core) = core {
                core_affinity::set_for_current(core);
            }
            finest_slack();
            // The receiver sets itself up meanwhile.
            thread::sleep(Duration::from_millis(20));
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            for _ in 0..datagrams {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Half of the gap to one and a half, so that no frame rate keeps step with it.
                let gap = GAP.mul_f64(0.5 + (random >> 11) as f64 / (1_u64 << 53) as f64);
                thread::sleep(gap);
                let sent = epoch.elapsed().as_nanos() as u64;
                // What is not sent is counted as lost.
                let _ = socket.send(&sent.to_le_bytes());
            }
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                let _ = socket.send(&END.to_le_bytes());
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_is_counted_once() {
        for receiver in RECEIVERS.iter().filter(|receiver| !receiver.may_hang) {
            let latency_ns = here(receiver.name, 50, None).expect("loopback is there");
            assert_eq!(latency_ns.len(), 50, "{}", receiver.name);
            assert!(latency_ns.iter().all(|ns| *ns > 0), "{}", receiver.name);
        }
    }
}
