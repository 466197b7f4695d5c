//! [`TickRequest`]: how a system asks for another tick.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bevy_ecs::resource::Resource;

/// A resource through which a system asks for another tick, which otherwise waits for an event.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Runtime, Tick, TickRequest, WorldCtx};
///
/// #[derive(Resource, Default)]
/// struct Countdown(u32);
///
/// let mut world = World::new();
/// world.insert_resource(Countdown(3));
/// let mut rt = Runtime::new(&mut world);
/// rt.schedule(Tick).add_systems(|mut left: ResMut<Countdown>, mut more: ResMut<TickRequest>| {
///     left.0 = left.0.saturating_sub(1);
///     if left.0 > 0 {
///         more.request();
///     }
/// });
/// rt.tick().unwrap();
/// assert_eq!(rt.world().resource::<Countdown>().0, 2);
/// ```
#[derive(Resource, Debug)]
pub struct TickRequest(Arc<AtomicBool>);

impl TickRequest {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// The loop's own end of it.
    pub(super) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Asks for a tick after the one that is going on, at once.
    pub fn request(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a tick has been asked for since the last one began.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, TickRequest};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.world_mut().resource_mut::<TickRequest>().request();
    /// assert!(rt.world().resource::<TickRequest>().is_requested());
    /// rt.tick().unwrap();
    /// assert!(!rt.world().resource::<TickRequest>().is_requested());
    /// ```
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A tick begins: what was asked for is given. The World's owner and the loop share a thread.
    pub(super) fn fulfil(&self) {
        if self.is_requested() {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}
