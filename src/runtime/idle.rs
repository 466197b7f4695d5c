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
            Idle::Never => Ok(()),
            Idle::Spin => {
                if core.clock.is_virtual() {
                    self.jump(core)?;
                }
                Ok(())
            }
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
                return self.jump(core);
            }
            let timeout = if core.clock.is_virtual() {
                None
            } else {
                let now_ns = core.clock.precise_ns();
                let mut timers = core.timers.borrow_mut();
                timers.advance(now_ns, usize::MAX);
                match timers.next_deadline() {
                    Some(deadline_ns) if deadline_ns <= now_ns => return Ok(()),
                    Some(deadline_ns) => Some(Duration::from_nanos(deadline_ns - now_ns)),
                    None => None,
                }
            };
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
        core.reactor.len() > usize::from(core.signals.get().is_some())
    }

    /// Moves the virtual clock to the next timer, when nothing can run before it.
    fn jump(&self, core: &Core) -> Result<(), TickError> {
        if self.has_work(core) || self.waits_outside(core) {
            return Ok(());
        }
        core.timers.borrow_mut().advance(core.clock.precise_ns(), usize::MAX);
        if let Some(deadline_ns) = core.timers.borrow().next_deadline() {
            core.clock.jump_to(deadline_ns);
            return Ok(());
        }
        let mut tasks = Vec::new();
        core.executor.each_task(|name, place| tasks.push(format!("{name} spawned at {place}")));
        Err(TickError::Stuck(tasks))
    }
}
