//! The end of step 2 of the loop contract: what other threads asked of the runtime.

use crate::{context::Core, executor::CancelReason, handle::queue::Job, world::lend::Lent};

/// How many closures one turn runs at most.
const CLOSURES: usize = 256;

/// Ends the tasks whose entities went on another thread, then runs the closures that are queued now, in
/// order.
///
/// Nothing runs after a panic that is to leave the loop, or after one of them replaced the World. What is
/// left then, or beyond the budget, is announced again.
#[cold]
pub(super) fn run(core: &Core, lent: &Lent<'_>) {
    for task in core.remote.take_unbound() {
        core.executor.abort(task, CancelReason::Entity);
    }
    for _ in 0..core.remote.len().min(CLOSURES) {
        if core.executor.is_stopped() || lent.replaced().is_some() {
            break;
        }
        let Some(job) = core.remote.pop() else {
            break;
        };
        core.executor.run_closure(|| match job {
            Job::World(f) => {
                core.executor.ask_flush();
                // The World is there, and nobody has it: it was asked above whether it was replaced.
                let _ = lent.with(f);
            }
            Job::Task(f) => f(core),
        });
        core.executor.reap();
    }
    if core.remote.len() > 0 {
        core.remote.wake();
    }
}
