//! [`TickError`]: why a tick was not finished, as the program is told; [`Failure`]: as the loop hands it on.
#![forbid(unsafe_code)]

use std::{fmt, io, panic::Location};

use crate::{
    executor::memory::Payload,
    world::{WorldError, lend::Lent},
};

/// Why a tick was not finished.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, TickError};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// assert_eq!(rt.tick(), Ok(()));
/// *rt.world_mut() = World::new();
/// let error = rt.tick().unwrap_err();
/// assert!(matches!(error, TickError::WorldReplaced(_)));
/// assert!(error.to_string().contains("do not replace it"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TickError {
    /// The access at this place put another World in the place of the runtime's. No stage ran after it.
    WorldReplaced(&'static Location<'static>),
    /// Under the virtual clock: no task can run, no timer is set that is ever due or the clock is paused,
    /// and nothing outside is waited for. The tasks are named.
    Stuck(Vec<String>),
    /// Under the virtual clock: so many turns passed in one moment, with no external work to wait for. It
    /// happens when a task wakes itself without end, a system asks for a tick in every tick, or a poller
    /// always has work. See [`RuntimeBuilder::progress_limit`](crate::RuntimeBuilder::progress_limit).
    NoProgress {
        /// Turns since time last moved.
        turns: u64,
        /// The tasks that the last of them polled.
        tasks: Vec<String>,
    },
    /// Under the virtual clock: another thread woke this task, and no external work is counted, so the
    /// wake would come at another time in every run. Hold an [`ExternalWork`](crate::ExternalWork) until
    /// it has come.
    ForeignWake(String),
    /// The operating system refused to wait for events.
    Io(io::ErrorKind),
}

impl fmt::Display for TickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorldReplaced(place) => write!(
                f,
                "the access at {place} put another World in the place of the runtime's: change the \
                 World's content, do not replace it"
            ),
            Self::Stuck(tasks) => write!(
                f,
                "under the virtual clock nothing can ever happen again: no task is ready, no timer is \
                 set that is ever due or the clock is paused, no I/O is registered; waiting: {}",
                if tasks.is_empty() { "the root future".to_owned() } else { tasks.join(", ") }
            ),
            Self::NoProgress { turns, tasks } => write!(
                f,
                "virtual time has stood still for {turns} turns, and nothing outside is waited for; {}",
                if tasks.is_empty() {
                    "the last one polled no task: a system or a poller asks for more".to_owned()
                } else {
                    format!("the last one polled: {}", tasks.join(", "))
                }
            ),
            Self::ForeignWake(task) => write!(
                f,
                "another thread woke a task under the virtual clock while no external work was \
                 counted: hold an ExternalWork until the wake has come; woken: {task}"
            ),
            Self::Io(kind) => write!(f, "waiting for I/O events failed: {kind}"),
        }
    }
}

impl std::error::Error for TickError {}

/// Why a tick was not finished: an error, or a panic. Boxed where it is handed on, so that a tick that is finished says so in a
/// register.
pub(super) enum Failure {
    /// A panic that is to leave the loop.
    Panic(Payload),
    Error(TickError),
}

impl Failure {
    #[cold]
    pub(super) fn panic(payload: Payload) -> Box<Self> {
        Box::new(Self::Panic(payload))
    }

    /// Notes where the World was replaced, if it was.
    #[cold]
    pub(super) fn noting(self, given_out: &mut &'static Location<'static>) -> Self {
        if let Self::Error(TickError::WorldReplaced(place)) = self {
            *given_out = place;
        }
        self
    }
}

impl From<TickError> for Box<Failure> {
    #[cold]
    fn from(error: TickError) -> Self {
        Self::new(Failure::Error(error))
    }
}

/// The World went away under the loop: only replacing it does that.
#[cold]
pub(super) fn lost(lent: &Lent<'_>, error: WorldError) -> Box<Failure> {
    match (lent.replaced(), error) {
        (Some(place), _) | (None, WorldError::Replaced(place) | WorldError::Taken(place)) => {
            TickError::WorldReplaced(place).into()
        }
        (None, error) => Failure::panic(Box::new(error.to_string())),
    }
}
