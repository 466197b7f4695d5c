//! [`scope()`]: children that end with it.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    list::{Children, Slot},
    nursery::{Kind, Nursery, Shared},
    outcome::{Discarding, Giving, Outcome},
    unwound::Unwound,
    wakers::ChildWaker,
};
use crate::{executor::CancelReason, task::JoinError};

/// How often one poll of a scope goes over its children. Those that are woken after that are polled when
/// everything else that is ready had its turn.
const PASSES: usize = 32;

/// Runs `body`, which starts children by the [`Scope`] that it is given, and gives its output when it has
/// completed and each child started with [`spawn`](Scope::spawn) has. Then the children started with
/// [`branch`](Scope::branch), and those that lost a [`rush`](Scope::rush), are dropped, top to bottom.
///
/// The children live in the future of the scope and are polled in it, so they may borrow whatever outlives
/// it, and none of them outlives it, whichever way it ends. No task is spawned.
///
/// Each poll polls the body first and then the children in the order in which they were started, each only
/// if it was woken. Children that wake each other are polled again in the same poll, 32 times at most; one
/// that wakes itself comes behind the turn mark, as a task that does so.
///
/// # Panics
///
/// Awaiting it panics with the panic of the body or of a child, once the others are dropped.
///
/// # Cancellation
///
/// Dropping the future drops the body, then the children, top to bottom.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, scope, sleep};
/// use std::{cell::Cell, time::Duration};
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let heartbeats = Cell::new(0);
///     let filled = scope(async |s| {
///         s.branch(async {
///             loop {
///                 heartbeats.set(heartbeats.get() + 1);
///                 sleep(Duration::from_secs(1)).await;
///             }
///         });
///         let orders = [35, 20].map(|quantity| {
///             s.spawn(async move {
///                 sleep(Duration::from_millis(100 * quantity)).await;
///                 quantity
///             })
///         });
///         let mut filled = 0;
///         for order in orders {
///             filled += order.await;
///         }
///         filled
///     });
///     assert_eq!(filled.await, 55);
///     assert_eq!(heartbeats.get(), 4);
/// });
/// ```
///
/// A child borrows what outlives the scope, and not what its body owns:
///
/// ```compile_fail,E0373
/// # async fn f() {
/// onbeat::scope(async |s| {
///     let local = 7;
///     s.branch(async { drop(&local) });
/// })
/// .await;
/// # }
/// ```
pub fn scope<'env, B, T>(body: B) -> impl Future<Output = T> + use<'env, B, T>
where
    B: AsyncFnOnce(Scope<'env>) -> T,
{
    let nursery = Nursery::new();
    let body = Slot::new(body(Scope { shared: nursery.shared.clone() }));
    ScopeFuture { body, nursery, over: false }
}

/// Starts children of a scope; given to the body of [`scope()`].
///
/// Clones of it may go into the children, which then start others. After the end of the scope a child that
/// is started is dropped at once.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, scope};
/// use std::cell::Cell;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let started = &Cell::new(0);
///     scope(async |s| {
///         let inner = s.clone();
///         s.branch(async move {
///             started.set(started.get() + 1);
///             let _child = inner.spawn(async { started.set(started.get() + 1) });
///         });
///         assert_eq!(s.rush([async { 7 }]).await, 7);
///     })
///     .await;
///     assert_eq!(started.get(), 2);
/// });
/// ```
#[derive(Clone)]
pub struct Scope<'env> {
    shared: Rc<Shared<'env>>,
}

impl<'env> Scope<'env> {
    /// Starts a child for whose end the scope waits. It is polled after the children that are there, in this
    /// poll of the scope.
    ///
    /// The child goes on when its handle is dropped.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, scope, yield_now};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let words = ["a", "b"].map(String::from);
    ///     let lengths = scope(async |s| {
    ///         let other = s.spawn(async {
    ///             yield_now().await;
    ///             words[1].len()
    ///         });
    ///         words[0].len() + other.await
    ///     });
    ///     assert_eq!(lengths.await, 2);
    /// });
    /// ```
    pub fn spawn<F>(&self, future: F) -> Child<F::Output>
    where
        F: Future + 'env,
    {
        let outcome = Outcome::new();
        let state = self.shared.add(Kind::Spawned, Giving::new(future, &outcome));
        Child { outcome, state, aborted: Cell::new(false) }
    }

    /// Starts a child that is dropped when the scope ends, unless it has completed before. Its output is
    /// dropped.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, scope};
    /// use std::future::pending;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(scope(async |s| {
    ///     s.branch(pending::<()>());
    /// }));
    /// ```
    pub fn branch<F>(&self, future: F)
    where
        F: Future + 'env,
    {
        self.shared.add(Kind::Branch, Discarding::new(future));
    }

    /// Starts several children, and gives the output of the one that is ready first. The others go on to the
    /// end of the scope, where they are dropped, as those of [`branch`](Self::branch).
    ///
    /// `children` is a tuple of 1 to 12 futures with the same output, or an array or a `Vec` of them. They
    /// are started by this call, top to bottom, and go on when the future that it returns is dropped.
    ///
    /// # Panics
    ///
    /// When there is no child, since nothing would ever be first.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{ClockMode, Runtime, scope, sleep};
    /// use std::{cell::Cell, time::Duration};
    ///
    /// let mut world = World::new();
    /// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
    ///     let asked = Cell::new(0);
    ///     let venue = async |seconds| {
    ///         sleep(Duration::from_secs(seconds)).await;
    ///         asked.set(asked.get() + 1);
    ///         seconds
    ///     };
    ///     let first = scope(async |s| {
    ///         let first = s.rush((venue(3), venue(1), venue(2))).await;
    ///         sleep(Duration::from_millis(1_500)).await;
    ///         first
    ///     });
    ///     assert_eq!(first.await, 1);
    ///     assert_eq!(asked.get(), 2, "the venue of three seconds was dropped");
    /// });
    /// ```
    #[track_caller]
    pub fn rush<C, T>(&self, children: C) -> Rush<T>
    where
        C: RushChildren<'env, T>,
    {
        let outcome = Outcome::new();
        children.start(self, &Start(&outcome));
        assert!(
            self.shared.is_closed() || !outcome.is_finished(),
            "rush() needs at least one future: without one it would never end"
        );
        Rush { outcome }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("has_ended", &self.shared.is_closed()).finish_non_exhaustive()
    }
}

/// Futures with the output `T` that can be started by [`Scope::rush`]: those of [`Children`] that live for
/// `'env`.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, scope, scope::{RushChildren, Scope}};
///
/// async fn first<'env, T>(s: &Scope<'env>, children: impl RushChildren<'env, T>) -> T {
///     s.rush(children).await
/// }
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     assert_eq!(scope(async |s| first(&s, (async { 7 }, async { 8 })).await).await, 7);
/// });
/// ```
pub trait RushChildren<'env, T>: Children {
    #[doc(hidden)]
    fn start(self, scope: &Scope<'env>, start: &Start<'_, T>);
}

/// Where the output of the first child goes.
pub struct Start<'a, T>(&'a Rc<Outcome<T>>);

impl<T> fmt::Debug for Start<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

impl<T> Start<'_, T> {
    fn one<'env, F>(&self, scope: &Scope<'env>, future: F)
    where
        F: Future<Output = T> + 'env,
    {
        scope.shared.add(Kind::Branch, Giving::new(future, self.0));
    }
}

impl<'env, F: Future + 'env> RushChildren<'env, F::Output> for Vec<F> {
    fn start(self, scope: &Scope<'env>, start: &Start<'_, F::Output>) {
        self.into_iter().for_each(|future| start.one(scope, future));
    }
}

impl<'env, F: Future + 'env, const N: usize> RushChildren<'env, F::Output> for [F; N] {
    fn start(self, scope: &Scope<'env>, start: &Start<'_, F::Output>) {
        self.into_iter().for_each(|future| start.one(scope, future));
    }
}

macro_rules! rush_tuples {
    ($($F:ident)+) => {
        impl<'env, T, $($F: Future<Output = T> + 'env),+> RushChildren<'env, T> for ($($F,)+) {
            #[allow(non_snake_case, reason = "a variable for each type")]
            fn start(self, scope: &Scope<'env>, start: &Start<'_, T>) {
                let ($($F,)+) = self;
                $(start.one(scope, $F);)+
            }
        }
    };
}

rush_tuples!(A);
rush_tuples!(A B);
rush_tuples!(A B C);
rush_tuples!(A B C D);
rush_tuples!(A B C D E);
rush_tuples!(A B C D E F);
rush_tuples!(A B C D E F G);
rush_tuples!(A B C D E F G H);
rush_tuples!(A B C D E F G H I);
rush_tuples!(A B C D E F G H I J);
rush_tuples!(A B C D E F G H I J K);
rush_tuples!(A B C D E F G H I J K L);

/// The handle of a child that was started with [`Scope::spawn`]: await it for the output.
///
/// Dropping it lets the child go on; the scope waits for it.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, scope, scope::Child, yield_now};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(scope(async |s| {
///     let child: Child<u32> = s.spawn(async { 7 });
///     assert!(!child.is_finished());
///     yield_now().await;
///     assert!(child.is_finished());
///     assert_eq!(child.await, 7);
/// }));
/// ```
#[must_use = "a child goes on when its handle is dropped; `drop(child)` says that this is meant"]
pub struct Child<T> {
    outcome: Rc<Outcome<T>>,
    state: Arc<ChildWaker>,
    aborted: Cell<bool>,
}

impl<T> Child<T> {
    /// Whether the child has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.outcome.is_finished()
    }

    /// Ends the child: it is not polled again, and dropped when the scope comes to it, in the order of the
    /// children. One that has ended is left as it is.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{CancelReason, JoinError, Runtime, scope};
    /// use std::future::pending;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(scope(async |s| {
    ///     let child = s.spawn(pending::<()>());
    ///     child.abort();
    ///     let ended = child.join().await;
    ///     assert!(matches!(ended, Err(JoinError::Cancelled(CancelReason::Aborted))));
    /// }));
    /// ```
    pub fn abort(&self) {
        if !self.is_finished() {
            self.aborted.set(true);
            self.state.abort();
        }
    }

    /// Waits for the end of the child, whichever way it ends.
    ///
    /// # Errors
    ///
    /// [`JoinError::Cancelled`] if it was dropped before it completed: because it was aborted, or because its
    /// scope ended, as seen by who holds the handle outside. A panic of a child is no error here: it ends the
    /// scope.
    ///
    /// # Cancellation
    ///
    /// Dropping the future lets the child go on.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, scope};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(scope(async |s| {
    ///     assert_eq!(s.spawn(async { 7 }).join().await.unwrap(), 7);
    /// }));
    /// ```
    pub async fn join(mut self) -> Result<T, JoinError> {
        let aborted = self.aborted.get();
        std::future::poll_fn(|cx| self.poll_output(cx)).await.ok_or(JoinError::Cancelled(
            if aborted { CancelReason::Aborted } else { CancelReason::Scope },
        ))
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.outcome.poll("a child of a scope", cx)
    }
}

impl<T> Unpin for Child<T> {}

impl<T> Future for Child<T> {
    type Output = T;

    /// Gives the child's output.
    ///
    /// # Panics
    ///
    /// By name if the child was dropped before it completed, and when it is polled again after it gave the
    /// output.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.poll_output(cx).map(|output| {
            output.expect(
                "awaited a child that was dropped before it completed: it was aborted, or its scope has \
                 ended; `Child::join` gives this as an error",
            )
        })
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// The future of [`Scope::rush`].
///
/// # Cancellation
///
/// Dropping it lets the children go on to the end of the scope; the output of the first is dropped with it.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, scope, scope::Rush};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(scope(async |s| {
///     let rush: Rush<u32> = s.rush((std::future::pending(), async { 7 }));
///     assert_eq!(rush.await, 7);
/// }));
/// ```
#[must_use = "futures do nothing unless polled; `branch` starts what nobody awaits"]
pub struct Rush<T> {
    outcome: Rc<Outcome<T>>,
}

impl<T> Unpin for Rush<T> {}

impl<T> Future for Rush<T> {
    type Output = T;

    /// # Panics
    ///
    /// By name if the scope has ended before a child was ready, and when it is polled again after its end.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.outcome.poll("rush()", cx).map(|output| {
            output.expect("awaited a rush of which no child was ready when its scope ended")
        })
    }
}

impl<T> fmt::Debug for Rush<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rush")
            .field("is_finished", &self.outcome.is_finished())
            .finish_non_exhaustive()
    }
}

pin_project! {
    struct ScopeFuture<'env, B> where B: Future {
        #[pin]
        body: Slot<B>,
        nursery: Nursery<'env>,
        over: bool,
    }
}

impl<B: Future> Future for ScopeFuture<'_, B> {
    type Output = B::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        let mut this = self.project();
        assert!(!*this.over, "scope() is polled again after it has ended");
        let mut unwound = Unwound::default();
        let ended = unwound.run(|| poll_all(this.body.as_mut(), this.nursery, cx));
        if ended == Some(false) {
            return Poll::Pending;
        }
        *this.over = true;
        let output = ended.map(|_| this.body.as_mut().take());
        unwound.run(|| this.body.set(Slot::Gone));
        this.nursery.close(&mut unwound);
        Poll::Ready(unwound.end(output))
    }
}

/// Polls what was woken, over and over while children wake each other. Whether the scope has ended.
fn poll_all<B: Future>(
    mut body: Pin<&mut Slot<B>>,
    nursery: &mut Nursery<'_>,
    cx: &mut Context<'_>,
) -> bool {
    nursery.begin_poll();
    for _ in 0..PASSES {
        let mut any = body.is_running()
            && nursery.poll_body(|cx| {
                body.as_mut().poll_done(cx);
            });
        any |= nursery.pass();
        if !body.is_running() && !nursery.has_spawned() {
            return true;
        }
        if !any {
            break;
        }
    }
    nursery.end_poll(cx.waker(), body.is_running());
    false
}
