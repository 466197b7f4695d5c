//! Waiting for messages.
#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fmt,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bevy_ecs::{
    change_detection::Tick,
    message::{Message, MessageRegistry, Messages},
    world::World,
};
use futures_core::Stream;

use super::{
    ctx::{WorldCtx, refused},
    lend,
    look::Watch,
    waiters::Waiters,
};
use crate::{
    context::{self, Core},
    executor::details::Wait,
};

/// How many messages were ever written.
fn count<M: Message>(messages: &Messages<M>) -> usize {
    messages.oldest_message_count() + messages.len()
}

/// The readers of one type of message that have read everything, each with how many that was.
struct MessageWatch<M> {
    waiters: RefCell<Waiters<(), usize>>,
    counted: Cell<usize>,
    _message: PhantomData<fn() -> M>,
}

impl<M: Message> Watch for MessageWatch<M> {
    fn pending(&self) -> usize {
        self.waiters.borrow().pending()
    }

    fn look(&self, world: &mut World, _seen: Tick, wakers: &mut Vec<Waker>) {
        let counted = world.get_resource::<Messages<M>>().map_or(0, count);
        if self.counted.replace(counted) != counted {
            self.waiters.borrow_mut().fire((), |read| *read != counted, wakers);
        }
    }

    fn keep_young(&self, _now: Tick) {}

    fn drain(&self) -> Vec<Waker> {
        self.waiters.borrow_mut().drain_wakers()
    }
}

/// A reader was too slow: so many messages went before it read them.
///
/// ```
/// assert_eq!(onbeat::Lagged(3).to_string(), "3 messages went before they were read");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lagged(pub usize);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages went before they were read", self.0)
    }
}

impl Error for Lagged {}

/// Reads the messages of one type, from the moment of [`WorldCtx::messages`] on, in the order written.
/// Each reader reads every message.
///
/// A message can be read until the end of the tick after the one in which it was written. A reader that
/// comes later learns how many it missed, once, and goes on with the oldest that is there.
///
/// It is also a [`Stream`], which never ends, of `Result<M, Lagged>`.
///
/// # Cancellation
///
/// Dropping it, or a future of its methods, loses nothing: a message counts as read when it is given out.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{MessageReceiver, Runtime, WorldCtx};
///
/// #[derive(Message, Clone, Debug, PartialEq)]
/// struct Fill(u32);
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let mut first: MessageReceiver<Fill> = ctx.messages();
///     let mut second = ctx.messages::<Fill>();
///     ctx.write_message(Fill(7)).unwrap();
///     ctx.write_message(Fill(8)).unwrap();
///     assert_eq!((first.recv().await, first.recv().await), (Ok(Fill(7)), Ok(Fill(8))));
///     assert_eq!(second.recv_with(|fill| fill.0).await, Ok(7));
/// });
/// ```
pub struct MessageReceiver<M: Message> {
    ctx: WorldCtx,
    runtime: u64,
    watch: Rc<MessageWatch<M>>,
    /// How many messages this reader is past.
    read: usize,
    entry: Option<usize>,
    place: &'static Location<'static>,
}

impl<M: Message> MessageReceiver<M> {
    fn new(core: &Core, ctx: WorldCtx, place: &'static Location<'static>) -> Self {
        let begun = lend::with_at(place, ctx.id(), |world| {
            if !world.contains_resource::<Messages<M>>() {
                MessageRegistry::register_message::<M>(world);
            }
            world.get_resource::<Messages<M>>().map_or(0, count)
        });
        let read = begun.unwrap_or_else(|error| refused(error));
        let watch = core.looks.watch::<MessageWatch<M>, M>(ctx.id(), || MessageWatch {
            waiters: RefCell::default(),
            counted: Cell::new(read),
            _message: PhantomData,
        });
        Self { ctx, runtime: core.serial(), watch, read, entry: None, place }
    }

    /// The next message: a clone of it.
    ///
    /// # Errors
    ///
    /// [`Lagged`] when messages went before they were read.
    ///
    /// # Panics
    ///
    /// Its future panics where [`WorldCtx::with_world_ref`] does, and when its runtime has gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, M>
    where
        M: Clone,
    {
        self.place = Location::caller();
        Recv { receiver: self }
    }

    /// As [`recv`](Self::recv), with what `f` makes of the next message, for one that is not `Clone`.
    ///
    /// # Errors
    ///
    /// [`Lagged`] when messages went before they were read.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv), and with the panic of `f`; the message is read then.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Message)]
    /// struct Line(String);
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let mut lines = ctx.messages::<Line>();
    ///     ctx.with_world(|world| world.write_message(Line("hello".into())));
    ///     assert_eq!(lines.recv_with(|line| line.0.len()).await, Ok(5));
    /// });
    /// ```
    #[track_caller]
    pub fn recv_with<T, F: FnMut(&M) -> T>(&mut self, f: F) -> RecvWith<'_, M, F> {
        self.place = Location::caller();
        RecvWith { receiver: self, f }
    }

    /// The next message, if one is there: a clone of it.
    ///
    /// # Errors
    ///
    /// [`Lagged`] when messages went before they were read.
    ///
    /// # Panics
    ///
    /// Where [`WorldCtx::with_world_ref`] panics.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Lagged, Runtime, WorldCtx};
    ///
    /// #[derive(Message, Clone, Debug, PartialEq)]
    /// struct Fill(u32);
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let mut fills = ctx.messages::<Fill>();
    ///     assert_eq!(fills.try_recv(), Ok(None));
    ///     ctx.with_world(|world| world.write_message(Fill(7)));
    ///     ctx.ticks(2).await;
    ///     assert_eq!(fills.try_recv(), Err(Lagged(1)));
    ///     assert_eq!(fills.try_recv(), Ok(None));
    /// });
    /// ```
    #[track_caller]
    pub fn try_recv(&mut self) -> Result<Option<M>, Lagged>
    where
        M: Clone,
    {
        self.place = Location::caller();
        self.read(M::clone)
    }

    fn read<T>(&mut self, f: impl FnOnce(&M) -> T) -> Result<Option<T>, Lagged> {
        let (place, id) = (self.place, self.ctx.id());
        let read = lend::with_ref_at(place, id, |world| {
            let Some(messages) = world.get_resource::<Messages<M>>() else {
                // When they come again they are counted anew.
                self.read = 0;
                return Ok(None);
            };
            if count(messages) < self.read {
                // The World was cleared, and the messages are counted anew.
                self.read = 0;
            }
            let oldest = messages.oldest_message_count();
            let missed = oldest.saturating_sub(self.read);
            if missed > 0 {
                self.read = oldest;
                return Err(Lagged(missed));
            }
            let Some((message, _)) = messages.get_message(self.read) else {
                return Ok(None);
            };
            self.read += 1;
            Ok(Some(f(message)))
        });
        read.unwrap_or_else(|error| refused(error))
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&M) -> T,
    ) -> Poll<Result<T, Lagged>> {
        let read = self.read(f).transpose();
        if let Some(read) = read {
            self.leave();
            return Poll::Ready(read);
        }
        let waker = cx.waker().clone();
        let old = self.park(waker);
        drop(old);
        context::try_current(|core| core.executor.note_wait(Wait::Other("a message")));
        Poll::Pending
    }

    fn park(&mut self, waker: Waker) -> (Option<Waker>, Option<(usize, Option<Waker>)>) {
        let mut waiters = self.watch.waiters.borrow_mut();
        let fired = self.entry.take_if(|entry| waiters.is_fired(*entry));
        let left = fired.map(|entry| waiters.leave(entry));
        if self.entry.is_none() {
            if waiters.pending() == 0 {
                self.watch.counted.set(self.read);
            }
            self.entry = Some(waiters.enter((), self.read, false));
            context::find(self.runtime, |core| core.looks.begin_watching())
                .expect("the runtime whose messages are awaited has gone");
        }
        let entry = self.entry.expect("it was entered above");
        *waiters.value_mut(entry) = self.read;
        (waiters.park(entry, waker), left)
    }

    fn leave(&mut self) {
        if let Some(entry) = self.entry.take() {
            let left = self.watch.waiters.borrow_mut().leave(entry);
            drop(left);
        }
    }
}

impl<M: Message> Unpin for MessageReceiver<M> {}

impl<M: Message> Drop for MessageReceiver<M> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<M: Message + Clone> Stream for MessageReceiver<M> {
    type Item = Result<M, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_read(cx, M::clone).map(Some)
    }
}

impl<M: Message> fmt::Debug for MessageReceiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReceiver")
            .field("read", &self.read)
            .field("used_at", &self.place)
            .finish_non_exhaustive()
    }
}

/// The future of [`MessageReceiver::recv`].
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{Recv, Runtime, WorldCtx};
///
/// #[derive(Message, Clone, Debug, PartialEq)]
/// struct Fill(u32);
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let mut fills = ctx.messages();
///     ctx.write_message(Fill(7)).unwrap();
///     let next: Recv<'_, Fill> = fills.recv();
///     assert_eq!(next.await, Ok(Fill(7)));
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, M: Message> {
    receiver: &'a mut MessageReceiver<M>,
}

impl<M: Message + Clone> Future for Recv<'_, M> {
    type Output = Result<M, Lagged>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_read(cx, M::clone)
    }
}

impl<M: Message> Drop for Recv<'_, M> {
    fn drop(&mut self) {
        self.receiver.leave();
    }
}

/// The future of [`MessageReceiver::recv_with`].
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{RecvWith, Runtime, WorldCtx};
///
/// #[derive(Message)]
/// struct Fill(u32);
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let ctx = WorldCtx::current();
///     let mut fills = ctx.messages();
///     ctx.write_message(Fill(7)).unwrap();
///     let next: RecvWith<'_, Fill, _> = fills.recv_with(|fill: &Fill| fill.0);
///     assert_eq!(next.await, Ok(7));
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct RecvWith<'a, M: Message, F> {
    receiver: &'a mut MessageReceiver<M>,
    f: F,
}

impl<M: Message, F> Unpin for RecvWith<'_, M, F> {}

impl<M: Message, T, F: FnMut(&M) -> T> Future for RecvWith<'_, M, F> {
    type Output = Result<T, Lagged>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.receiver.poll_read(cx, &mut this.f)
    }
}

impl<M: Message, F> Drop for RecvWith<'_, M, F> {
    fn drop(&mut self) {
        self.receiver.leave();
    }
}

impl<M: Message, F> fmt::Debug for RecvWith<'_, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvWith").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// Waiting for messages.
impl WorldCtx {
    /// A reader of the messages of type `M` that are written after this call.
    ///
    /// A message wakes those who wait for it at the first look after it was written: before the next
    /// stage, or after the last one. It does not keep a sleeping loop awake.
    ///
    /// Where the World does not have `Messages<M>`, `M` is registered, so that `App::add_message` and the
    /// like, which look for that resource, do not register it again. A `Messages<M>` that the program
    /// inserted without registering `M` is never turned over, here as in bevy: it keeps every message.
    ///
    /// # Panics
    ///
    /// Outside a runtime, and where [`with_world`](Self::with_world) panics. Also when `M` is to be
    /// registered in a World that was cleared whole: bevy then refuses resources that it knew before.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, Tick, WorldCtx};
    ///
    /// #[derive(Message, Clone, Debug, PartialEq)]
    /// struct Fill(u32);
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::new(&mut world);
    /// rt.schedule(Tick).add_systems(|mut fills: MessageWriter<Fill>| {
    ///     fills.write(Fill(7));
    /// });
    /// rt.block_on(async {
    ///     let mut fills = WorldCtx::current().messages::<Fill>();
    ///     assert_eq!(fills.recv().await, Ok(Fill(7)));
    /// });
    /// ```
    #[track_caller]
    pub fn messages<M: Message>(&self) -> MessageReceiver<M> {
        let place = Location::caller();
        context::current("WorldCtx::messages()", |core| MessageReceiver::new(core, *self, place))
    }
}
