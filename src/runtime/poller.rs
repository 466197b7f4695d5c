//! Pollers: closures that the loop calls in every turn, for what the operating system does not announce.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::executor::memory::Payload;

/// What one call of a [poller](crate::RuntimeBuilder::poller) did. A plain number is so much work, and a
/// thread that does not park.
///
/// ```
/// use onbeat::Polled;
///
/// assert_eq!(Polled::from(3), Polled { did: 3, may_park: false });
/// assert_eq!(Polled { did: 0, may_park: true }, Polled::from(0).may_park());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "the loop has to know what a poller did"]
pub struct Polled {
    /// How much was done: messages, fragments, descriptors. More than 0 is something to do for the loop.
    pub did: usize,
    /// Whether the thread may sleep before the next call, because what the poller looks at also wakes the
    /// loop by a waker, a socket or a timer.
    pub may_park: bool,
}

impl Polled {
    /// The same, and the thread may sleep before the next call.
    pub fn may_park(self) -> Self {
        Self { may_park: true, ..self }
    }
}

impl From<usize> for Polled {
    fn from(did: usize) -> Self {
        Self { did, may_park: false }
    }
}

/// The pollers of a loop, in the order in which they are called.
#[derive(Default)]
pub(super) struct Pollers(Vec<Box<dyn FnMut() -> Polled>>);

impl Pollers {
    pub(super) fn add(&mut self, poller: Box<dyn FnMut() -> Polled>) {
        self.0.push(poller);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls each. The sum of what they did; the thread may park if each of them says so. After a panic
    /// the others wait for the next call.
    pub(super) fn poll(&mut self) -> Result<Polled, Payload> {
        let mut sum = Polled { did: 0, may_park: true };
        for poller in &mut self.0 {
            let polled = catch_unwind(AssertUnwindSafe(poller))?;
            sum.did = sum.did.saturating_add(polled.did);
            sum.may_park &= polled.may_park;
        }
        Ok(sum)
    }

    /// All of them, to be dropped.
    pub(super) fn take(&mut self) -> Vec<Box<dyn FnMut() -> Polled>> {
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for Pollers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pollers").field(&self.0.len()).finish()
    }
}
