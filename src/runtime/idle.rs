//! Step 1 of the loop contract: what the thread does until there is something to do.

use std::time::Duration;

use super::{TickError, tick::FrameLoop};
use crate::context::Core;

/// How the thread waits for the next tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Idle {
    /// Not at all: `tick()` is one tick.
    Never,
    /// Not at all: one tick follows the other.
    Spin,
    /// Asleep, until an event, a wake from another thread, or the next timer.
    Park,
}

impl FrameLoop {
    /// Waits until there is something to do.
    pub(super) fn wait(&self, core: &Core, idle: Idle) -> Result<(), TickError> {
        match idle {
            Idle::Never | Idle::Spin if !core.clock.is_virtual() => Ok(()),
            Idle::Never => {
                self.jump(core);
                Ok(())
            }
            // A system may count ticks, and wake somebody in one of them.
            Idle::Spin if self.jump(core) || self.stages.any_systems() => Ok(()),
            Idle::Spin => Err(Self::stuck(core)),
            Idle::Park => self.park(core),
        }
    }

    /// Whether a tick has something to do before any event.
    fn has_work(&self, core: &Core) -> bool {
        core.executor.has_work()
            || !core.waits.is_empty()
            || !core.executor.inbox().is_empty()
            || self.request.is_requested()
    }

    /// Sleeps until there is something to do. A wake-up that only moves timers on within the wheel is
    /// followed by more sleep: it is not a turn.
    fn park(&self, core: &Core) -> Result<(), TickError> {
        while !self.has_work(core) {
            if core.clock.is_virtual() && !self.waits_outside(core) {
                return if self.jump(core) { Ok(()) } else { Err(Self::stuck(core)) };
            }
            let now_ns = core.clock.precise_ns();
            let mut timers = core.timers.borrow_mut();
            timers.advance(now_ns, usize::MAX);
            let timeout = match timers.next_deadline() {
                Some(deadline_ns) if deadline_ns <= now_ns => {
                    if timers.has_due(now_ns) {
                        return Ok(());
                    }
                    continue;
                }
                // What happens outside holds virtual time still: no timer ends this wait.
                Some(deadline_ns) if !core.clock.is_virtual() => {
                    Some(Duration::from_nanos(deadline_ns - now_ns))
                }
                _ => None,
            };
            drop(timers);
            if !core.executor.inbox().park() {
                return Ok(());
            }
            core.counters.parks.add(1);
            let waited = core.reactor.wait(timeout);
            core.executor.inbox().unpark();
            match waited {
                Ok(0) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(TickError::Io(error.kind())),
            }
        }
        Ok(())
    }

    /// Whether something outside the program may still happen, which holds virtual time still. A signal
    /// may always come, and does not count.
    fn waits_outside(&self, core: &Core) -> bool {
        core.reactor.len() > usize::from(core.signals.get().is_some()) || core.remote.is_held()
    }

    /// Moves the virtual clock to the next timer, if nothing can happen before it. False: nothing can
    /// ever happen again.
    fn jump(&self, core: &Core) -> bool {
        if self.has_work(core) || self.waits_outside(core) {
            return true;
        }
        core.timers.borrow_mut().first_deadline().is_some_and(|deadline_ns| {
            core.clock.jump_to(deadline_ns);
            true
        })
    }

    fn stuck(core: &Core) -> TickError {
        let mut tasks = Vec::new();
        core.executor.each_task(|name, place| tasks.push(format!("{name} spawned at {place}")));
        TickError::Stuck(tasks)
    }
}
