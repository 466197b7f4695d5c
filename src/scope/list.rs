//! Several futures in one: the children of [`race`](super::race()), [`join`](super::join()) and
//! [`try_join`](super::try_join()).
//!
//! Those of a tuple lie one behind the other in [`Cons`] cells, pinned in place; those of a `Vec` or an array
//! are boxed and lie in [`Many`]. Both are polled, and dropped, top to bottom.
#![forbid(unsafe_code)]

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::unwound::Unwound;

/// Futures that can be raced or joined: a tuple of 1 to 12 futures, or an array or a `Vec` of futures of one
/// type.
///
/// A tuple's futures lie in the future made of them. Each of an array or a `Vec` is boxed.
///
/// ```
/// use onbeat::{race, scope::{Children, Race}};
///
/// async fn first<T, C: Children>(children: C) -> T
/// where
///     Race<C>: Future<Output = T>,
/// {
///     race(children).await
/// }
/// assert_eq!(futures::executor::block_on(first(vec![async { 7 }])), 7);
/// ```
pub trait Children: Sized {
    #[doc(hidden)]
    type List: List;

    #[doc(hidden)]
    fn into_list(self) -> Self::List;
}

pin_project! {
    /// One child.
    #[project = SlotProjection]
    pub enum Slot<F> where F: Future {
        Running { #[pin] future: F },
        /// `None` once the output was taken.
        Done { output: Option<F::Output> },
        Gone,
    }
}

impl<F: Future> Slot<F> {
    pub(super) fn new(future: F) -> Self {
        Self::Running { future }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Polls a child that runs, and gives its output.
    fn poll_running(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            SlotProjection::Running { future } => future.poll(cx),
            SlotProjection::Done { .. } | SlotProjection::Gone => Poll::Pending,
        }
    }

    /// Polls a child that runs, and keeps its output. Whether it has ended.
    pub(super) fn poll_done(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        if let Poll::Ready(output) = self.as_mut().poll_running(cx) {
            self.set(Self::Done { output: Some(output) });
        }
        !self.is_running()
    }

    pub(super) fn take(self: Pin<&mut Self>) -> F::Output {
        let output = match self.project() {
            SlotProjection::Done { output } => output.take(),
            SlotProjection::Running { .. } | SlotProjection::Gone => None,
        };
        output.expect("outputs are taken once, when every child has ended")
    }
}

impl<F, T, E> Slot<F>
where
    F: Future<Output = Result<T, E>>,
{
    /// As [`poll_done`](Self::poll_done); an error is given at once.
    fn poll_ok(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E> {
        if let Poll::Ready(output) = self.as_mut().poll_running(cx) {
            self.set(Self::Done { output: Some(Ok(output?)) });
        }
        Ok(!self.is_running())
    }

    fn take_ok(self: Pin<&mut Self>) -> T {
        match self.take() {
            Ok(value) => value,
            Err(_) => unreachable!("an error is given at once, and never kept"),
        }
    }
}

/// Children in order.
pub trait List {
    /// The output of the first child.
    type Head;

    /// Whether there is no child.
    fn is_empty(&self) -> bool;

    /// Drops those that are left, top to bottom.
    fn clear(self: Pin<&mut Self>, unwound: &mut Unwound);
}

/// Children of which the first output counts.
pub trait RaceList<T>: List {
    /// Polls each, top to bottom, up to the first that is ready.
    fn poll_race(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T>;
}

/// Children whose outputs all count.
pub trait JoinList: List {
    /// The outputs, nested as the cells are.
    type Outputs: Flat;

    /// Polls each that runs, top to bottom. Whether all have ended.
    fn poll_join(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool;

    /// Takes the outputs, when all have ended.
    fn outputs(self: Pin<&mut Self>) -> Self::Outputs;
}

/// Children whose values all count, or the first error.
pub trait TryJoinList<E>: List {
    /// The values, nested as the cells are.
    type Values: Flat;

    /// Polls each that runs, top to bottom, up to the first error. Whether all have ended.
    fn poll_try_join(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E>;

    /// Takes the values, when all have ended.
    fn values(self: Pin<&mut Self>) -> Self::Values;
}

/// Outputs as they lie in the cells, to be given out as the children came.
pub trait Flat {
    /// A tuple, an array or a `Vec`.
    type Flat;

    /// The outputs in that shape.
    fn flat(self) -> Self::Flat;
}

pin_project! {
    /// A child, and those below it.
    pub struct Cons<F, R> where F: Future {
        #[pin]
        head: Slot<F>,
        #[pin]
        rest: R,
    }
}

/// The end of the children.
#[derive(Debug)]
pub struct Nil;

impl List for Nil {
    type Head = ();

    fn is_empty(&self) -> bool {
        true
    }

    fn clear(self: Pin<&mut Self>, _: &mut Unwound) {}
}

impl<T> RaceList<T> for Nil {
    fn poll_race(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        Poll::Pending
    }
}

impl JoinList for Nil {
    type Outputs = ();

    fn poll_join(self: Pin<&mut Self>, _: &mut Context<'_>) -> bool {
        true
    }

    fn outputs(self: Pin<&mut Self>) {}
}

impl<E> TryJoinList<E> for Nil {
    type Values = ();

    fn poll_try_join(self: Pin<&mut Self>, _: &mut Context<'_>) -> Result<bool, E> {
        Ok(true)
    }

    fn values(self: Pin<&mut Self>) {}
}

impl<F: Future, R: List> List for Cons<F, R> {
    type Head = F::Output;

    fn is_empty(&self) -> bool {
        false
    }

    fn clear(self: Pin<&mut Self>, unwound: &mut Unwound) {
        let mut this = self.project();
        unwound.run(|| this.head.set(Slot::Gone));
        this.rest.clear(unwound);
    }
}

impl<F: Future, R: RaceList<F::Output>> RaceList<F::Output> for Cons<F, R> {
    fn poll_race(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.head.poll_running(cx) {
            Poll::Pending => this.rest.poll_race(cx),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl<F: Future, R: JoinList> JoinList for Cons<F, R>
where
    (F::Output, R::Outputs): Flat,
{
    type Outputs = (F::Output, R::Outputs);

    fn poll_join(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let done = this.head.poll_done(cx);
        this.rest.poll_join(cx) && done
    }

    fn outputs(self: Pin<&mut Self>) -> Self::Outputs {
        let this = self.project();
        (this.head.take(), this.rest.outputs())
    }
}

impl<F, R, T, E> TryJoinList<E> for Cons<F, R>
where
    F: Future<Output = Result<T, E>>,
    R: TryJoinList<E>,
    (T, R::Values): Flat,
{
    type Values = (T, R::Values);

    fn poll_try_join(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E> {
        let this = self.project();
        let done = this.head.poll_ok(cx)?;
        Ok(this.rest.poll_try_join(cx)? && done)
    }

    fn values(self: Pin<&mut Self>) -> Self::Values {
        let this = self.project();
        (this.head.take_ok(), this.rest.values())
    }
}

/// Boxed children of one type, in a `Vec` or an array of slots.
pub struct Many<F, S> {
    slots: S,
    _future: PhantomData<fn() -> F>,
}

impl<F, S> Unpin for Many<F, S> {}

impl<F, S> fmt::Debug for Many<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").finish_non_exhaustive()
    }
}

/// What lies in a `Vec` or an array of children.
pub(super) type BoxedSlot<F> = Slot<Pin<Box<F>>>;

/// A `Vec` or an array of slots.
pub trait Slots<F: Future>: AsMut<[BoxedSlot<F>]> + AsRef<[BoxedSlot<F>]> {
    /// The same shape, of something else.
    type Of<T>;

    /// Makes something of each slot, top to bottom.
    fn map<T>(&mut self, f: impl FnMut(&mut BoxedSlot<F>) -> T) -> Self::Of<T>;
}

impl<F: Future> Slots<F> for Vec<BoxedSlot<F>> {
    type Of<T> = Vec<T>;

    fn map<T>(&mut self, f: impl FnMut(&mut BoxedSlot<F>) -> T) -> Vec<T> {
        self.iter_mut().map(f).collect()
    }
}

impl<F: Future, const N: usize> Slots<F> for [BoxedSlot<F>; N] {
    type Of<T> = [T; N];

    fn map<T>(&mut self, f: impl FnMut(&mut BoxedSlot<F>) -> T) -> [T; N] {
        self.each_mut().map(f)
    }
}

impl<F: Future, S: Slots<F>> List for Many<F, S> {
    type Head = F::Output;

    fn is_empty(&self) -> bool {
        self.slots.as_ref().is_empty()
    }

    fn clear(mut self: Pin<&mut Self>, unwound: &mut Unwound) {
        for slot in self.slots.as_mut() {
            unwound.run(|| *slot = Slot::Gone);
        }
    }
}

impl<F: Future, S: Slots<F>> RaceList<F::Output> for Many<F, S> {
    fn poll_race(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut slots = self.slots.as_mut().iter_mut();
        let ready = slots.find_map(|slot| match Pin::new(slot).poll_running(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F: Future, S: Slots<F>> JoinList for Many<F, S>
where
    S::Of<F::Output>: Flat,
{
    type Outputs = S::Of<F::Output>;

    fn poll_join(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut done = true;
        for slot in self.slots.as_mut() {
            done &= Pin::new(slot).poll_done(cx);
        }
        done
    }

    fn outputs(mut self: Pin<&mut Self>) -> Self::Outputs {
        self.slots.map(|slot| Pin::new(slot).take())
    }
}

impl<F, S, T, E> TryJoinList<E> for Many<F, S>
where
    F: Future<Output = Result<T, E>>,
    S: Slots<F>,
    S::Of<T>: Flat,
{
    type Values = S::Of<T>;

    fn poll_try_join(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E> {
        let mut slots = self.slots.as_mut().iter_mut();
        slots.try_fold(true, |done, slot| Ok(Pin::new(slot).poll_ok(cx)? && done))
    }

    fn values(mut self: Pin<&mut Self>) -> Self::Values {
        self.slots.map(|slot| Pin::new(slot).take_ok())
    }
}

impl<F: Future> Children for Vec<F> {
    type List = Many<F, Vec<BoxedSlot<F>>>;

    fn into_list(self) -> Self::List {
        let slots = self.into_iter().map(|future| Slot::new(Box::pin(future))).collect();
        Many { slots, _future: PhantomData }
    }
}

impl<F: Future, const N: usize> Children for [F; N] {
    type List = Many<F, [BoxedSlot<F>; N]>;

    fn into_list(self) -> Self::List {
        Many { slots: self.map(|future| Slot::new(Box::pin(future))), _future: PhantomData }
    }
}

impl<T> Flat for Vec<T> {
    type Flat = Self;

    fn flat(self) -> Self {
        self
    }
}

impl<T, const N: usize> Flat for [T; N] {
    type Flat = Self;

    fn flat(self) -> Self {
        self
    }
}

impl Flat for () {
    type Flat = ();

    fn flat(self) {}
}

/// Nests what is given, the first outermost, around the last.
macro_rules! nested {
    ($make:ident, $end:expr;) => { $end };
    ($make:ident, $end:expr; $first:expr $(, $rest:expr)*) => {
        $make!($first, nested!($make, $end; $($rest),*))
    };
}

macro_rules! cell {
    ($head:expr, $rest:expr) => {
        Cons { head: Slot::new($head), rest: $rest }
    };
}

macro_rules! cell_type {
    () => { Nil };
    ($first:ident $($rest:ident)*) => { Cons<$first, cell_type!($($rest)*)> };
}

macro_rules! pair_type {
    () => { () };
    ($first:ident $($rest:ident)*) => { ($first, pair_type!($($rest)*)) };
}

macro_rules! pair_pattern {
    () => { () };
    ($first:ident $($rest:ident)*) => { ($first, pair_pattern!($($rest)*)) };
}

macro_rules! tuples {
    ($($F:ident)+) => {
        impl<$($F: Future),+> Children for ($($F,)+) {
            type List = cell_type!($($F)+);

            #[allow(non_snake_case, reason = "a variable for each type")]
            fn into_list(self) -> Self::List {
                let ($($F,)+) = self;
                nested!(cell, Nil; $($F),+)
            }
        }

        impl<$($F),+> Flat for pair_type!($($F)+) {
            type Flat = ($($F,)+);

            #[allow(non_snake_case, reason = "a variable for each type")]
            fn flat(self) -> Self::Flat {
                let pair_pattern!($($F)+) = self;
                ($($F,)+)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);

/// Polls `list` by `poll`. When that is over, whichever way, what is left of the children is dropped, top to
/// bottom.
///
/// # Panics
///
/// With the panic of a child, and when it is over already.
pub(super) fn drive<L: List, T>(
    mut list: Pin<&mut L>,
    over: &mut bool,
    what: &str,
    poll: impl FnOnce(Pin<&mut L>) -> Poll<T>,
) -> Poll<T> {
    assert!(!*over, "{what} is polled again after it has ended");
    let mut unwound = Unwound::default();
    let polled = unwound.run(|| poll(list.as_mut()));
    if matches!(polled, Some(Poll::Pending)) {
        return Poll::Pending;
    }
    *over = true;
    list.clear(&mut unwound);
    unwound.end(polled)
}
