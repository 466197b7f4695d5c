//! What kept a pass from its core: other machines of the same host, other threads of this one.
//!
//! Both are known on Linux only; elsewhere nothing is, and no pass counts as disturbed.

use std::fs;
use std::time::{Duration, Instant};

use core_affinity::CoreId;

/// The kernel counts stolen time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// What a wake-up on a core with nothing else to do may wait for the scheduler.
const OWN_WAKE: Duration = Duration::from_micros(5);

/// The counters at one time, as seen by the thread of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    at: Instant,
    core: Option<CoreId>,
    stolen: Duration,
    queue: Queue,
}

/// How the scheduler has treated a thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Queue {
    /// The thread could run, and did not.
    waited: Duration,
    /// So often it began to run, after a wait of its own or in its turn.
    runs: u32,
}

/// What came between a pass and its core, as parts of the time that it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Disturbance {
    /// The host ran somebody else on the core.
    pub(crate) stolen: f64,
    /// The thread waited for another one of this machine, beyond what each wake-up costs.
    pub(crate) queued: f64,
}

impl Disturbance {
    /// A pass is called disturbed when it was kept from its core for more than so much of its time.
    pub(crate) const LIMIT: f64 = 0.01;

    /// Whether it was kept from its core for more than the limit.
    pub(crate) fn is_over(self) -> bool {
        self.stolen + self.queued > Self::LIMIT
    }
}

impl Before {
    /// Looks. Call it on the thread that is measured.
    pub(crate) fn look(core: Option<CoreId>) -> Self {
        let queue = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self { at: Instant::now(), core, stolen: stolen(core), queue: read_queue(&queue) }
    }

    /// What came since then, on the same thread.
    pub(crate) fn until_now(self) -> Disturbance {
        let now = Self::look(self.core);
        let passed = now.at.duration_since(self.at).as_secs_f64().max(1e-9);
        let own = OWN_WAKE * now.queue.runs.saturating_sub(self.queue.runs);
        let queued = now.queue.waited.saturating_sub(self.queue.waited).saturating_sub(own);
        let stolen = now.stolen.saturating_sub(self.stolen);
        Disturbance { stolen: stolen.as_secs_f64() / passed, queued: queued.as_secs_f64() / passed }
    }
}

/// The time that the host has taken from a core, or from all of them, since the machine began.
pub(crate) fn stolen(core: Option<CoreId>) -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    read_stolen(&text, core.map(|core| core.id))
}

fn read_stolen(text: &str, core: Option<usize>) -> Duration {
    let name = core.map_or_else(|| "cpu".to_owned(), |id| format!("cpu{id}"));
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name));
    let ticks = line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok());
    TICK * ticks.unwrap_or(0)
}

/// Nanoseconds that it ran, nanoseconds that it waited, and how often it began to run.
fn read_queue(text: &str) -> Queue {
    let mut fields = text.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0)).skip(1);
    let waited = Duration::from_nanos(fields.next().unwrap_or(0));
    let runs = u32::try_from(fields.next().unwrap_or(0)).unwrap_or(u32::MAX);
    Queue { waited, runs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let text =
            "cpu  1 2 3 4 5 6 7 30 9 10\ncpu0 1 2 3 4 5 6 7 10 9 10\ncpu10 1 2 3 4 5 6 7 20 0 0\n";
        assert_eq!(read_stolen(text, None), 30 * TICK);
        assert_eq!(read_stolen(text, Some(0)), 10 * TICK);
        assert_eq!(read_stolen(text, Some(10)), 20 * TICK);
        assert_eq!(read_stolen(text, Some(1)), Duration::ZERO);
        assert_eq!(read_stolen("", None), Duration::ZERO);
        let queue = Queue { waited: Duration::from_nanos(4_567), runs: 89 };
        assert_eq!(read_queue("123 4567 89\n"), queue);
        assert_eq!(read_queue(""), Queue::default());
    }

    #[test]
    fn a_pass_is_disturbed_when_both_together_exceed_the_limit() {
        assert!(!Disturbance { stolen: 0.005, queued: 0.004 }.is_over());
        assert!(Disturbance { stolen: 0.006, queued: 0.006 }.is_over());
    }
}
