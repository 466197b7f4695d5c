//! [`race()`]: the first of several.
#![forbid(unsafe_code)]

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::list::{Children, List, RaceList, drive};

/// Gives the output of the child that is ready first, and drops the others at once, top to bottom.
///
/// `children` is a tuple of 1 to 12 futures with the same output, or an array or a `Vec` of them. Each poll
/// polls those that are left, top to bottom: of two that become ready at once the upper one wins, and the
/// lower one is not polled.
///
/// # Panics
///
/// When there is no child, since nothing would ever be first. Awaiting it panics with the panic of a child,
/// once the others are dropped.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, race, sleep};
/// use std::time::Duration;
///
/// #[derive(Debug, PartialEq)]
/// enum Answer {
///     Filled(u32),
///     TooLate,
/// }
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let fill = async { Answer::Filled(100) };
///     let limit = async {
///         sleep(Duration::from_secs(1)).await;
///         Answer::TooLate
///     };
///     assert_eq!(race((fill, limit)).await, Answer::Filled(100));
/// });
/// ```
///
/// Children of one type may come in a `Vec`, each boxed:
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, race, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let venues = [3, 1, 2].map(async |ms| {
///         sleep(Duration::from_millis(ms)).await;
///         ms
///     });
///     assert_eq!(race(Vec::from(venues)).await, 1);
/// });
/// ```
#[track_caller]
pub fn race<C, T>(children: C) -> Race<C>
where
    C: Children,
    Race<C>: Future<Output = T>,
{
    let list = children.into_list();
    assert!(!list.is_empty(), "race() needs at least one future: without one it would never end");
    Race { list, over: false }
}

pin_project! {
    /// The future of [`race()`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the children, top to bottom.
    ///
    /// ```
    /// use onbeat::{race, scope::Race};
    ///
    /// let first: Race<(_, _)> = race((std::future::pending(), async { 7 }));
    /// assert_eq!(futures::executor::block_on(first), 7);
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct Race<C> where C: Children {
        #[pin]
        list: C::List,
        over: bool,
    }
}

impl<C, T> Future for Race<C>
where
    C: Children,
    C::List: List<Head = T> + RaceList<T>,
{
    type Output = T;

    /// # Panics
    ///
    /// With the panic of a child, once the others are dropped, and when it is polled again after its end.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        drive(this.list, this.over, "race()", |list| list.poll_race(cx))
    }
}

impl<C: Children> fmt::Debug for Race<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("over", &self.over).finish_non_exhaustive()
    }
}
