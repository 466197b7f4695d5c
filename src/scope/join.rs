//! [`join()`] and [`try_join()`]: all of several.
#![forbid(unsafe_code)]

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::list::{Children, Flat, JoinList, List, TryJoinList, drive};

/// Gives the outputs of all children, in the shape in which these came: a tuple, an array or a `Vec`.
///
/// `children` is a tuple of 1 to 12 futures, or an array or a `Vec` of futures of one type. Each poll polls
/// those that have not ended, top to bottom; one that has ended is dropped at once, its output kept.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, event_time, join, sleep};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let start = event_time();
///     let quote = async |seconds, price| {
///         sleep(Duration::from_secs(seconds)).await;
///         price
///     };
///     let (bid, ask) = join((quote(2, 99), quote(3, 101))).await;
///     assert_eq!((bid, ask), (99, 101));
///     assert_eq!(event_time() - start, Duration::from_secs(3));
///     assert_eq!(join([1, 2].map(|n| quote(n, n))).await, [1, 2]);
/// });
/// ```
pub fn join<C, T>(children: C) -> Join<C>
where
    C: Children,
    Join<C>: Future<Output = T>,
{
    Join { list: children.into_list(), over: false }
}

/// Gives the values of all children, or the first error; then the other children are dropped at once, top to
/// bottom.
///
/// `children` is a tuple of 1 to 12 futures, or an array or a `Vec` of futures of one type; the output of
/// each is a `Result` with the same error type. Each poll polls those that have not ended, top to bottom: of
/// two that fail at once the error of the upper one is given, and the lower one is not polled.
///
/// # Errors
///
/// The first error of a child. Values of others are dropped.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, try_join};
/// use std::{future::pending, num::ParseIntError};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let parse = async |text: &str| text.parse::<u32>();
///     assert_eq!(try_join((parse("1"), parse("2"))).await, Ok((1, 2)));
///     let never = pending::<Result<(), ParseIntError>>();
///     assert!(try_join((never, parse("one"))).await.is_err());
/// });
/// ```
pub fn try_join<C, T, E>(children: C) -> TryJoin<C>
where
    C: Children,
    TryJoin<C>: Future<Output = Result<T, E>>,
{
    TryJoin { list: children.into_list(), over: false }
}

pin_project! {
    /// The future of [`join()`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the children and the outputs of those that have ended, top to bottom.
    ///
    /// ```
    /// use onbeat::{join, scope::Join};
    ///
    /// let both: Join<(_, _)> = join((async { 3 }, async { "four" }));
    /// assert_eq!(futures::executor::block_on(both), (3, "four"));
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct Join<C> where C: Children {
        #[pin]
        list: C::List,
        over: bool,
    }
}

pin_project! {
    /// The future of [`try_join()`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the children and the values of those that have ended, top to bottom.
    ///
    /// ```
    /// use onbeat::{scope::TryJoin, try_join};
    ///
    /// let both: TryJoin<(_, _)> = try_join((async { Ok::<_, ()>(3) }, async { Ok("four") }));
    /// assert_eq!(futures::executor::block_on(both), Ok((3, "four")));
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct TryJoin<C> where C: Children {
        #[pin]
        list: C::List,
        over: bool,
    }
}

impl<C> Future for Join<C>
where
    C: Children,
    C::List: JoinList,
{
    type Output = <<C::List as JoinList>::Outputs as Flat>::Flat;

    /// # Panics
    ///
    /// With the panic of a child, once the others are dropped, and when it is polled again after its end.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        drive(this.list, this.over, "join()", |mut list| match list.as_mut().poll_join(cx) {
            true => Poll::Ready(list.outputs().flat()),
            false => Poll::Pending,
        })
    }
}

impl<C, T, E> Future for TryJoin<C>
where
    C: Children,
    C::List: List<Head = Result<T, E>> + TryJoinList<E>,
{
    type Output = Result<<<C::List as TryJoinList<E>>::Values as Flat>::Flat, E>;

    /// # Panics
    ///
    /// With the panic of a child, once the others are dropped, and when it is polled again after its end.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        drive(this.list, this.over, "try_join()", |mut list| {
            match list.as_mut().poll_try_join(cx) {
                Ok(false) => Poll::Pending,
                Ok(true) => Poll::Ready(Ok(list.values().flat())),
                Err(error) => Poll::Ready(Err(error)),
            }
        })
    }
}

impl<C: Children> fmt::Debug for Join<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("over", &self.over).finish_non_exhaustive()
    }
}

impl<C: Children> fmt::Debug for TryJoin<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoin").field("over", &self.over).finish_non_exhaustive()
    }
}
