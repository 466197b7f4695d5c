//! What a runtime asks of the machine for its thread: a core, a real-time priority, memory that stays.
//!
//! All of it is asked for softly: what the operating system refuses is kept as a [`Refusal`], and the
//! program runs without it.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "a thread's scheduling has no safe binding")
)]

use std::{fmt, io};

/// An option of the builder that the operating system refused. The program runs without it.
///
/// See [`Runtime::refusals`](crate::Runtime::refusals).
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::Runtime;
///
/// let mut world = World::new();
/// let rt = Runtime::builder(&mut world).pin_to_core(1_000_000).build();
/// let refusal = &rt.refusals()[0];
/// assert_eq!(refusal.option(), "pin_to_core");
/// let words = format!("pin_to_core was refused: {}", refusal.reason());
/// assert_eq!(refusal.to_string(), words);
/// ```
#[derive(Debug)]
pub struct Refusal {
    option: &'static str,
    reason: io::Error,
}

impl Refusal {
    /// The builder's method.
    #[must_use]
    pub fn option(&self) -> &'static str {
        self.option
    }

    /// What the operating system said.
    #[must_use]
    pub fn reason(&self) -> &io::Error {
        &self.reason
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was refused: {}", self.option, self.reason)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) core: Option<usize>,
    pub(crate) priority: Option<u8>,
    pub(crate) lock_memory: bool,
}

/// What was granted to this thread, which gets back what it had when this is dropped; and what was not.
#[derive(Debug)]
pub(crate) struct Granted {
    before: system::Before,
    refusals: Vec<Refusal>,
}

impl Granted {
    pub(crate) fn ask(wishes: Wishes) -> Self {
        let mut granted = Self { before: system::Before::default(), refusals: Vec::new() };
        if let Some(core) = wishes.core {
            let pinned = granted.before.pin(core);
            granted.note("pin_to_core", pinned);
        }
        if let Some(priority) = wishes.priority {
            let raised = granted.before.raise(priority);
            granted.note("real_time_priority", raised);
        }
        if wishes.lock_memory {
            granted.note("lock_memory", system::lock_memory());
        }
        granted
    }

    fn note(&mut self, option: &'static str, result: io::Result<()>) {
        self.refusals.extend(result.err().map(|reason| Refusal { option, reason }));
    }

    pub(crate) fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.before.restore();
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::{
        mm::{MlockAllFlags, mlockall},
        process::{Resource, getrlimit},
        thread::{CapabilitySet, CpuSet, capabilities, sched_getaffinity, sched_setaffinity},
    };

    /// What the thread had before.
    #[derive(Default, Debug)]
    pub(super) struct Before {
        cores: Option<CpuSet>,
        /// Policy and priority.
        scheduling: Option<(i32, i32)>,
    }

    impl Before {
        pub(super) fn pin(&mut self, core: usize) -> io::Result<()> {
            if core >= CpuSet::MAX_CPU {
                let message = format!("cores are numbered from 0 to {}", CpuSet::MAX_CPU - 1);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let before = sched_getaffinity(None)?;
            let mut cores = CpuSet::new();
            cores.set(core);
            sched_setaffinity(None, &cores)?;
            self.cores = Some(before);
            Ok(())
        }

        pub(super) fn raise(&mut self, priority: u8) -> io::Result<()> {
            let before = scheduling()?;
            set_scheduling(libc::SCHED_FIFO, i32::from(priority))?;
            self.scheduling = Some(before);
            Ok(())
        }

        /// Gives the thread back what it had. Whoever was granted more may go back to less.
        pub(super) fn restore(&mut self) {
            if let Some((policy, priority)) = self.scheduling.take() {
                let _ = set_scheduling(policy, priority);
            }
            if let Some(cores) = self.cores.take() {
                let _ = sched_setaffinity(None, &cores);
            }
        }
    }

    fn check(code: i32) -> io::Result<()> {
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
    }

    fn this_thread() -> libc::pthread_t {
        // SAFETY: the call has no precondition.
        unsafe { libc::pthread_self() }
    }

    fn scheduling() -> io::Result<(i32, i32)> {
        let mut policy = 0;
        let mut param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the thread runs, so its handle is good; both pointers are to locals of the right type.
        check(unsafe {
            libc::pthread_getschedparam(this_thread(), &raw mut policy, &raw mut param)
        })?;
        Ok((policy, param.sched_priority))
    }

    fn set_scheduling(policy: i32, priority: i32) -> io::Result<()> {
        let param = libc::sched_param { sched_priority: priority };
        // SAFETY: the thread runs, so its handle is good; the pointer is to a local of the right type.
        check(unsafe { libc::pthread_setschedparam(this_thread(), policy, &raw const param) })
    }

    /// A limit would let this succeed, and refuse memory to the program afterwards.
    pub(super) fn lock_memory() -> io::Result<()> {
        let unlimited = getrlimit(Resource::Memlock).current.is_none();
        let capable = capabilities(None)
            .is_ok_and(|capabilities| capabilities.effective.contains(CapabilitySet::IPC_LOCK));
        if !unlimited && !capable {
            let message =
                "locked memory is limited (`ulimit -l`), and the process may not exceed it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    /// Nothing is granted here.
    #[derive(Default, Debug)]
    pub(super) struct Before;

    impl Before {
        pub(super) fn pin(&mut self, _core: usize) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn raise(&mut self, _priority: u8) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn restore(&mut self) {}
    }

    pub(super) fn lock_memory() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;

    fn first_core() -> usize {
        let cores = sched_getaffinity(None).unwrap();
        (0..).find(|core| cores.is_set(*core)).unwrap()
    }

    #[test]
    fn a_thread_is_pinned_until_the_grant_is_dropped() {
        let before = sched_getaffinity(None).unwrap();
        let granted = Granted::ask(Wishes { core: Some(first_core()), ..Wishes::default() });
        assert!(granted.refusals().is_empty());
        let cores = sched_getaffinity(None).unwrap();
        assert!(cores.count() == 1 && cores.is_set(first_core()));
        drop(granted);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn a_core_that_there_is_not_is_refused_by_name() {
        let before = sched_getaffinity(None).unwrap();
        for core in [1_023, 1_024, usize::MAX] {
            let granted = Granted::ask(Wishes { core: Some(core), ..Wishes::default() });
            let [refusal] = granted.refusals() else {
                panic!("core {core} was granted");
            };
            assert_eq!(refusal.option(), "pin_to_core");
            assert!(refusal.to_string().starts_with("pin_to_core was refused: "), "{refusal}");
            assert_eq!(refusal.reason().kind(), io::ErrorKind::InvalidInput, "{refusal}");
        }
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn a_priority_is_granted_until_the_grant_is_dropped_or_refused_by_name() {
        let policy = || std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let before = policy().lines().find(|line| line.starts_with("policy")).map(str::to_owned);
        let granted = Granted::ask(Wishes { priority: Some(1), ..Wishes::default() });
        for refusal in granted.refusals() {
            assert_eq!(refusal.option(), "real_time_priority");
            assert_eq!(refusal.reason().kind(), io::ErrorKind::PermissionDenied, "{refusal}");
        }
        drop(granted);
        let after = policy().lines().find(|line| line.starts_with("policy")).map(str::to_owned);
        assert_eq!(after, before);
    }
}
