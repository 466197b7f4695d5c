//! Waiting for events, and for components and resources to come and go: what an observer hears of.
#![forbid(unsafe_code)]

use std::{
    fmt,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use bevy_ecs::{entity::Entity, event::Event, resource::Resource, world::World};

use super::{
    ctx::{WorldCtx, refused},
    lend,
    observe::{Hub, Inserted, Source, Triggered},
    tether::{Tether, wake_contained},
};
use crate::{context, executor::details::Wait};

/// Where an observer leaves what it heard, on whatever thread it ran.
struct Mailbox<T>(Mutex<Mail<T>>);

enum Mail<T> {
    Awaited(Option<Waker>),
    Here(thread::Result<T>),
    Taken,
}

impl<T> Mailbox<T> {
    fn mail(&self) -> MutexGuard<'_, Mail<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, value: thread::Result<T>) {
        let before = std::mem::replace(&mut *self.mail(), Mail::Here(value));
        if let Mail::Awaited(Some(waker)) = before {
            wake_contained(waker);
        }
    }

    /// Takes the mail, or stores who is woken when it comes.
    fn take(&self, waker: Waker) -> Option<thread::Result<T>> {
        let mut mail = self.mail();
        let (taken, old) = match &mut *mail {
            Mail::Awaited(stored) => match stored {
                Some(stored) if stored.will_wake(&waker) => (None, Some(waker)),
                _ => (None, stored.replace(waker)),
            },
            Mail::Here(_) => match std::mem::replace(&mut *mail, Mail::Taken) {
                Mail::Here(value) => (Some(value), Some(waker)),
                Mail::Awaited(_) | Mail::Taken => (None, Some(waker)),
            },
            Mail::Taken => panic!("a wait for an event is polled after it completed"),
        };
        drop(mail);
        drop(old);
        taken
    }
}

/// A place among those who wait for a source, and the mail that may come of it.
pub(super) struct Subscription<T> {
    mailbox: Arc<Mailbox<T>>,
    /// Gives the place back.
    hub: Arc<dyn Subscribed>,
    entry: usize,
    runtime: u64,
}

trait Subscribed {
    fn leave(&self, entry: usize);
}

impl<S: Source> Subscribed for Hub<S> {
    fn leave(&self, entry: usize) {
        Self::leave(self, entry);
    }
}

impl<T: Send + 'static> Subscription<T> {
    /// Waits from now on for what `S` observes, at `entity` if one is given. `taker` makes the value.
    pub(super) fn new<S: Source>(
        world: &mut World,
        entity: Option<Entity>,
        tether: Option<Arc<Tether>>,
        taker: impl FnOnce(&S::Event) -> T + Send + 'static,
    ) -> Self {
        let hub = Hub::<S>::of(world);
        let mailbox = Arc::new(Mailbox(Mutex::new(Mail::Awaited(None))));
        let put = mailbox.clone();
        let entry = hub.enter(entity, tether, move |event| {
            put.put(catch_unwind(AssertUnwindSafe(|| taker(event))));
        });
        let runtime = context::current("waiting for an event", |core| {
            core.looks.keep_hub(&hub);
            core.serial()
        });
        Self { mailbox, hub, entry, runtime }
    }
}

impl<T> Subscription<T> {
    /// # Panics
    ///
    /// With the panic of the closure that made the value; when the runtime has gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match self.mailbox.take(cx.waker().clone()) {
            Some(Ok(value)) => Poll::Ready(value),
            Some(Err(payload)) => resume_unwind(payload),
            None => {
                context::find(self.runtime, |core| {
                    core.executor.note_wait(Wait::Other("an event"));
                })
                .expect("the runtime in which an event is awaited has gone");
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.hub.leave(self.entry);
    }
}

/// The future of [`WorldCtx::event`] and the like: completes with the first event after the call.
///
/// # Cancellation
///
/// Dropping it loses the event, if it came; one made later gets a later event.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Occurrence, Runtime, WorldCtx};
///
/// #[derive(Event, Clone, Debug, PartialEq)]
/// struct Halted(u32);
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let halted: Occurrence<Halted> = ctx.event();
///     ctx.with_world(|world| world.trigger(Halted(7)));
///     assert_eq!(halted.await, Halted(7));
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Occurrence<T>(Subscription<T>);

impl<T> Unpin for Occurrence<T> {}

impl<T> Future for Occurrence<T> {
    type Output = T;

    /// # Panics
    ///
    /// With the panic of a clone or of a closure; when its runtime has gone; when it is polled after it
    /// completed.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.poll(cx)
    }
}

impl<T> fmt::Debug for Occurrence<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Occurrence").finish_non_exhaustive()
    }
}

/// Waiting for what observers hear of.
impl WorldCtx {
    /// Completes with a clone of the first event of type `E` that is triggered after this call, by
    /// whomever and at whatever entity.
    ///
    /// The task resumes in the round after the trigger: in this turn for one by a task, before the next
    /// stage for one by a system. It does not keep a sleeping loop awake. The first call for a type
    /// installs an observer, which stays.
    ///
    /// # Panics
    ///
    /// Outside a runtime, and where [`with_world`](Self::with_world) panics.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Event, Clone, Debug, PartialEq)]
    /// struct Halted(u32);
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut commands: Commands| commands.trigger(Halted(7)));
    /// rt.block_on(async {
    ///     assert_eq!(WorldCtx::current().event::<Halted>().await, Halted(7));
    /// });
    /// assert_eq!(rt.stats().ticks, 1);
    /// ```
    #[track_caller]
    pub fn event<E: Event + Clone>(&self) -> Occurrence<E> {
        self.event_with(E::clone)
    }

    /// As [`event`](Self::event), with what `f` makes of the event. `f` runs where the event is
    /// triggered, which may be another thread.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event). A panic of `f` is a panic of the task that waits.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx, spawn_boxed};
    ///
    /// #[derive(Event)]
    /// struct Report(String);
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let length = ctx.event_with(|report: &Report| report.0.len());
    ///     ctx.with_world(|world| world.trigger(Report("calm".into())));
    ///     assert_eq!(length.await, 4);
    /// });
    /// ```
    #[track_caller]
    pub fn event_with<E, T, F>(&self, f: F) -> Occurrence<T>
    where
        E: Event,
        T: Send + 'static,
        F: FnOnce(&E) -> T + Send + 'static,
    {
        self.occurrence::<Triggered<E>, T>(Location::caller(), f)
    }

    /// Completes when the resource `R` is inserted after this call, also in the place of another.
    /// `World::resource_scope` takes a resource out and inserts it again, so it counts.
    ///
    /// Resumes as [`event`](Self::event) does.
    ///
    /// # Panics
    ///
    /// As [`event`](Self::event).
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Resource)]
    /// struct Session;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut commands: Commands| commands.insert_resource(Session));
    /// rt.block_on(async { WorldCtx::current().res_inserted::<Session>().await });
    /// assert_eq!(rt.stats().ticks, 1);
    /// ```
    #[track_caller]
    pub fn res_inserted<R: Resource>(&self) -> Occurrence<()> {
        self.occurrence::<Inserted<R>, ()>(Location::caller(), |_| ())
    }

    fn occurrence<S: Source, T: Send + 'static>(
        &self,
        place: &'static Location<'static>,
        taker: impl FnOnce(&S::Event) -> T + Send + 'static,
    ) -> Occurrence<T> {
        let begun = lend::with_at(place, self.id(), |world| {
            Subscription::new::<S>(world, None, None, taker)
        });
        Occurrence(begun.unwrap_or_else(|error| refused(error)))
    }
}
