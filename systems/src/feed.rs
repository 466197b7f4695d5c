//! Decoded feed events in, book changes out.
//!
//! A task pushes what it has decoded into [`FeedInbox`]. [`apply_feed`] books all of it, in order,
//! and writes a [`BookEvent`] for each change and a [`BboChanged`] for each change of a best price
//! or its size. [`install`] puts what the system needs into a world.

use core::fmt;

use bevy_ecs::entity::Entity;
use bevy_ecs::message::{Message, MessageRegistry, MessageWriter};
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut, SystemParam};
use bevy_ecs::world::World;

use crate::book::{Applied, Bbo, BookError, Change, OrderBook};
use crate::instrument::Locate;
use crate::price::{MarketTime, Price, Qty};
use crate::wire::itch;

mod bbo_log;

pub use bbo_log::{BboLog, BboRow};

/// One decoded message of the feed.
///
/// ```
/// use onbeat_systems::feed::FeedEvent;
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderDelete(OrderDelete { header: Header::default(), reference: OrderRef(7) });
/// let event = FeedEvent { index: 0, message, stamp_ns: 1_000 };
/// assert_eq!(event.message.kind(), b'D');
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedEvent {
    /// Which message of the feed this is, from 0.
    pub index: u64,
    /// The message.
    pub message: itch::Message,
    /// When it was decoded, in nanoseconds of the clock of whoever decoded it. Book events carry it
    /// on; nothing here reads it.
    pub stamp_ns: u64,
}

/// Decoded messages that wait to be booked, in the order of the feed.
///
/// ```
/// use onbeat_systems::feed::{FeedEvent, FeedInbox};
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete};
/// use onbeat_systems::wire::OrderRef;
///
/// let message = Message::OrderDelete(OrderDelete { header: Header::default(), reference: OrderRef(7) });
/// let mut inbox = FeedInbox::with_capacity(64);
/// assert!(inbox.is_empty());
/// inbox.push(FeedEvent { index: 0, message, stamp_ns: 0 });
/// assert_eq!(inbox.len(), 1);
/// ```
#[derive(Resource, Default, Debug)]
pub struct FeedInbox {
    events: Vec<FeedEvent>,
}

impl FeedInbox {
    /// An empty inbox with room for `events`.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        Self { events: Vec::with_capacity(events) }
    }

    /// Adds an event at the end. The room is kept from tick to tick.
    pub fn push(&mut self, event: FeedEvent) {
        self.events.push(event);
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Which entity a locate code stands for.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat_systems::feed::InstrumentIndex;
/// use onbeat_systems::instrument::Locate;
///
/// let apple = World::new().spawn_empty().id();
/// let mut index = InstrumentIndex::default();
/// index.insert(Locate::new(14), apple);
/// assert_eq!(index.entity(Locate::new(14)), Some(apple));
/// assert_eq!(index.entity(Locate::new(15)), None);
/// ```
#[derive(Resource, Default, Debug)]
pub struct InstrumentIndex {
    entities: Vec<Option<Entity>>,
}

impl InstrumentIndex {
    /// Routes messages of `locate` to the book on `entity`, in the place of any other.
    pub fn insert(&mut self, locate: Locate, entity: Entity) {
        let index = locate.index();
        if index >= self.entities.len() {
            self.entities.resize(index + 1, None);
        }
        self.entities[index] = Some(entity);
    }

    /// The entity of `locate`.
    #[must_use]
    #[inline]
    pub fn entity(&self, locate: Locate) -> Option<Entity> {
        self.entities.get(locate.index()).copied().flatten()
    }
}

/// The market's time: the latest timestamp of the day that the feed has shown.
///
/// ```
/// use onbeat_systems::feed::MarketClock;
/// use onbeat_systems::price::MarketTime;
///
/// assert_eq!(MarketClock::default().now, MarketTime::from_ns(0));
/// ```
#[derive(Resource, Clone, Copy, Default, Debug)]
pub struct MarketClock {
    /// Nanoseconds since midnight of the trading day.
    pub now: MarketTime,
}

/// A change of an instrument's book.
///
/// [`apply_feed`] has an example.
#[derive(Message, Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookEvent {
    /// The instrument.
    pub instrument: Entity,
    /// Which message of the feed made it.
    pub index: u64,
    /// When it happened at the exchange.
    pub timestamp: MarketTime,
    /// The stamp of the feed event.
    pub stamp_ns: u64,
    /// What changed.
    pub change: Change,
}

impl BookEvent {
    /// The price and the shares of the execution, where it is one.
    #[must_use]
    pub const fn execution(&self) -> Option<(Price, Qty)> {
        match self.change {
            Change::Executed { price, qty, .. } => Some((price, qty)),
            _ => None,
        }
    }
}

/// A change of an instrument's best bid or best offer, in price or in size.
///
/// [`apply_feed`] has an example.
#[derive(Message, Clone, Copy, PartialEq, Eq, Debug)]
pub struct BboChanged {
    /// The instrument.
    pub instrument: Entity,
    /// Which message of the feed made it.
    pub index: u64,
    /// When it happened at the exchange.
    pub timestamp: MarketTime,
    /// The stamp of the feed event.
    pub stamp_ns: u64,
    /// The best bid and offer before.
    pub before: Bbo,
    /// The best bid and offer after.
    pub bbo: Bbo,
}

/// What the feed has brought so far.
///
/// ```
/// use bevy_ecs::{prelude::*, system::RunSystemOnce};
/// use onbeat_systems::book::{BookError, OrderBook};
/// use onbeat_systems::feed::{
///     self, ContentError, FeedError, FeedEvent, FeedInbox, FeedStats, InstrumentIndex, apply_feed,
/// };
/// use onbeat_systems::wire::OrderRef;
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete};
///
/// let mut world = World::new();
/// feed::install(&mut world);
/// let (apple, header) = (world.spawn(OrderBook::default()).id(), Header::default());
/// world.resource_mut::<InstrumentIndex>().insert(header.locate, apple);
/// let message = Message::OrderDelete(OrderDelete { header, reference: OrderRef(7) });
/// world.resource_mut::<FeedInbox>().push(FeedEvent { index: 3, message, stamp_ns: 0 });
/// world.run_system_once(apply_feed).unwrap();
///
/// let stats = world.resource::<FeedStats>();
/// assert_eq!((stats.messages, stats.applied), (1, 0));
/// assert_eq!((stats.errors.unknown_order, stats.errors.total()), (1, 1));
/// let error = FeedError::Book(BookError::UnknownOrder { reference: OrderRef(7) });
/// assert!(FeedStats::FIRST > 0);
/// assert_eq!(stats.first_errors().next(), Some(ContentError { index: 3, error }));
/// ```
#[derive(Resource, Clone, Default, Debug)]
pub struct FeedStats {
    /// Messages taken from the inbox.
    pub messages: u64,
    /// Messages that changed a book.
    pub applied: u64,
    /// What could not be applied.
    pub errors: ErrorCounts,
    first: [Option<ContentError>; FeedStats::FIRST],
}

/// A message that could not be applied, or only in part.
///
/// [`FeedStats`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentError {
    /// Which message of the feed it is.
    pub index: u64,
    /// What is wrong with it.
    pub error: FeedError,
}

/// What is wrong with the content of a message.
///
/// [`FeedStats`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedError {
    /// The book cannot do it, or only in part.
    Book(BookError),
    /// It is stamped with a time that is none of the day. It is booked, and the market's clock stays.
    TimeBeyondDay {
        /// The timestamp.
        timestamp: MarketTime,
    },
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Book(error) => error.fmt(f),
            Self::TimeBeyondDay { timestamp } => {
                write!(f, "its timestamp of {} ns is beyond 24 hours", timestamp.ns())
            }
        }
    }
}

impl core::error::Error for FeedError {}

/// How often each kind of content error came. A message counts once, for what the book says of it
/// before what its time is.
///
/// [`FeedStats`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ErrorCounts {
    /// [`BookError::UnknownOrder`].
    pub unknown_order: u64,
    /// [`BookError::DuplicateReference`].
    pub duplicate_reference: u64,
    /// [`BookError::OverExecution`].
    pub over_execution: u64,
    /// [`BookError::OverCancel`].
    pub over_cancel: u64,
    /// [`BookError::NoShares`].
    pub no_shares: u64,
    /// [`BookError::BadSide`].
    pub bad_side: u64,
    /// [`FeedError::TimeBeyondDay`].
    pub time_beyond_day: u64,
}

impl ErrorCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.unknown_order
            + self.duplicate_reference
            + self.over_execution
            + self.over_cancel
            + self.no_shares
            + self.bad_side
            + self.time_beyond_day
    }
}

impl FeedStats {
    /// How many content errors are kept with their message.
    pub const FIRST: usize = 5;

    /// The first content errors, in the order of the feed.
    pub fn first_errors(&self) -> impl Iterator<Item = ContentError> {
        self.first.iter().flatten().copied()
    }

    #[cold]
    fn count_error(&mut self, index: u64, error: FeedError) {
        if let Some(place) = self.first.iter_mut().find(|place| place.is_none()) {
            *place = Some(ContentError { index, error });
        }
        *match error {
            FeedError::TimeBeyondDay { .. } => &mut self.errors.time_beyond_day,
            FeedError::Book(error) => match error {
                BookError::UnknownOrder { .. } => &mut self.errors.unknown_order,
                BookError::DuplicateReference { .. } => &mut self.errors.duplicate_reference,
                BookError::OverExecution { .. } => &mut self.errors.over_execution,
                BookError::OverCancel { .. } => &mut self.errors.over_cancel,
                BookError::NoShares { .. } => &mut self.errors.no_shares,
                BookError::BadSide { .. } => &mut self.errors.bad_side,
            },
        } += 1;
    }
}

/// Puts the resources and the message types of this module into `world`, where they are missing.
///
/// [`apply_feed`] has an example.
pub fn install(world: &mut World) {
    world.init_resource::<FeedInbox>();
    world.init_resource::<InstrumentIndex>();
    world.init_resource::<MarketClock>();
    world.init_resource::<FeedStats>();
    world.init_resource::<BboLog>();
    MessageRegistry::register_message::<BookEvent>(world);
    MessageRegistry::register_message::<BboChanged>(world);
}

/// What [`apply_feed`] writes to, beside the books.
///
/// [`apply_feed`] has an example.
#[derive(SystemParam)]
pub struct FeedOutput<'w> {
    clock: ResMut<'w, MarketClock>,
    stats: ResMut<'w, FeedStats>,
    log: ResMut<'w, BboLog>,
    book_events: MessageWriter<'w, BookEvent>,
    bbo_events: MessageWriter<'w, BboChanged>,
}

impl fmt::Debug for FeedOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedOutput").field("clock", &*self.clock).finish_non_exhaustive()
    }
}

/// Books all that waits in the inbox. Messages about other instruments than those in the
/// [`InstrumentIndex`] are counted and skipped.
///
/// ```
/// use bevy_ecs::{prelude::*, system::RunSystemOnce};
/// use onbeat_systems::book::OrderBook;
/// use onbeat_systems::feed::{
///     self, BboChanged, BookEvent, FeedEvent, FeedInbox, FeedStats, InstrumentIndex, apply_feed,
/// };
/// use onbeat_systems::instrument::Locate;
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
/// use onbeat_systems::wire::itch::{AddOrder, Header, Message};
///
/// let mut world = World::new();
/// feed::install(&mut world);
/// let apple = world.spawn(OrderBook::default()).id();
/// let header = Header { locate: Locate::new(14), ..Header::default() };
/// world.resource_mut::<InstrumentIndex>().insert(header.locate, apple);
/// let message = Message::AddOrder(AddOrder {
///     header,
///     reference: OrderRef(7),
///     side: Side::Buy,
///     qty: Qty::new(100),
///     symbol: "AAPL".parse()?,
///     price: Price::from_ticks(1_632_400),
///     attribution: None,
/// });
/// world.resource_mut::<FeedInbox>().push(FeedEvent { index: 0, message, stamp_ns: 0 });
/// world.run_system_once(apply_feed).unwrap();
///
/// assert_eq!(world.get::<OrderBook>(apple).unwrap().order_count(), 1);
/// assert_eq!(world.resource::<FeedStats>().applied, 1);
/// let events: Vec<BookEvent> = world.resource_mut::<Messages<BookEvent>>().drain().collect();
/// assert_eq!((events[0].instrument, events[0].execution()), (apple, None));
/// let changes: Vec<BboChanged> = world.resource_mut::<Messages<BboChanged>>().drain().collect();
/// assert_eq!((changes[0].before.bid, changes[0].bbo.bid.unwrap().qty), (None, Qty::new(100)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn apply_feed(
    mut inbox: ResMut<'_, FeedInbox>,
    index: Res<'_, InstrumentIndex>,
    mut books: Query<'_, '_, &mut OrderBook>,
    mut output: FeedOutput<'_>,
) {
    if inbox.is_empty() {
        return;
    }
    output.stats.messages += inbox.len() as u64;
    for event in inbox.events.drain(..) {
        let mut error = output.keep_time(event.message.timestamp());
        if event.message.is_order_flow()
            && let Some(instrument) = index.entity(event.message.locate())
            && let Ok(mut book) = books.get_mut(instrument)
        {
            error = output.book(&event, instrument, &mut book).or(error);
        }
        if let Some(error) = error {
            output.stats.count_error(event.index, error);
        }
    }
}

impl FeedOutput<'_> {
    /// Moves the market's clock. It counts as changed whatever the time: the feed has moved.
    #[inline]
    fn keep_time(&mut self, timestamp: MarketTime) -> Option<FeedError> {
        let now = &mut self.clock.now;
        if !timestamp.is_within_day() {
            return Some(FeedError::TimeBeyondDay { timestamp });
        }
        *now = timestamp.max(*now);
        None
    }

    /// Books one event and writes what came of it. Gives back what it could not do.
    #[inline]
    fn book(
        &mut self,
        event: &FeedEvent,
        instrument: Entity,
        book: &mut OrderBook,
    ) -> Option<FeedError> {
        let before = book.bbo();
        let Applied { change, error } = book.apply(&event.message);
        let bbo = book.bbo();
        let FeedEvent { index, message, stamp_ns } = *event;
        let timestamp = message.timestamp();
        let error = error.map(FeedError::Book);
        self.log.record(event, &bbo);
        if change.is_none() {
            return error;
        }
        self.stats.applied += 1;
        self.book_events.write(BookEvent { instrument, index, timestamp, stamp_ns, change });
        if !bbo.same_quote(&before) {
            let changed = BboChanged { instrument, index, timestamp, stamp_ns, before, bbo };
            self.bbo_events.write(changed);
        }
        error
    }
}
