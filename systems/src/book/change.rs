//! What a message does to a book, and what it cannot do.

use core::fmt;

use super::Order;
use crate::price::{Price, Qty};
use crate::wire::OrderRef;

/// What a message did to the book, and what it could not do.
///
/// ```
/// use onbeat_systems::book::{Applied, BookError, OrderBook};
/// use onbeat_systems::wire::OrderRef;
///
/// let Applied { change, error } = OrderBook::default().delete(OrderRef(7));
/// assert!(change.is_none());
/// assert_eq!(error, Some(BookError::UnknownOrder { reference: OrderRef(7) }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Applied {
    /// What it did.
    pub change: Change,
    /// What it could not do.
    pub error: Option<BookError>,
}

impl Applied {
    /// A message that is not about the book.
    pub(super) const NOTHING: Self = Self { change: Change::None, error: None };

    pub(super) const fn done(change: Change) -> Self {
        Self { change, error: None }
    }

    pub(super) const fn refused(error: BookError) -> Self {
        Self { change: Change::None, error: Some(error) }
    }
}

/// What changed in the book. An `order` that was there before stands as it was before.
///
/// ```
/// use onbeat_systems::book::{Change, OrderBook};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut book = OrderBook::default();
/// book.add(OrderRef(7), Side::Buy, Price::from_ticks(100), Qty::new(5));
/// let Change::Executed { order, qty, price, .. } = book.execute(OrderRef(7), Qty::new(2)).change else {
///     panic!("it executes");
/// };
/// assert_eq!((qty, price, order.price), (Qty::new(2), Price::from_ticks(100), price));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// An order came.
    Added {
        /// The order's number.
        reference: OrderRef,
        /// The order.
        order: Order,
    },
    /// An order was executed, in whole or in part.
    Executed {
        /// The order's number.
        reference: OrderRef,
        /// The order before.
        order: Order,
        /// The shares executed.
        qty: Qty,
        /// The price of the execution.
        price: Price,
    },
    /// A part of an order, or all of it, was cancelled by quantity.
    Reduced {
        /// The order's number.
        reference: OrderRef,
        /// The order before.
        order: Order,
        /// The shares that are gone.
        qty: Qty,
    },
    /// An order went.
    Deleted {
        /// The order's number.
        reference: OrderRef,
        /// The order before.
        order: Order,
    },
    /// An order went and another came in its place.
    Replaced {
        /// The number of the order that went.
        original: OrderRef,
        /// The order that went.
        before: Order,
        /// The number of the order that came.
        reference: OrderRef,
        /// The order that came.
        after: Order,
    },
}

impl Change {
    /// Whether nothing changed.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What a message could not do to the book.
///
/// ```
/// use onbeat_systems::book::{BookError, OrderBook};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let (mut book, reference) = (OrderBook::default(), OrderRef(7));
/// book.add(reference, Side::Buy, Price::from_ticks(100), Qty::new(5));
/// let error = book.execute(reference, Qty::new(8)).error.unwrap();
/// assert_eq!(error, BookError::OverExecution { reference, left: Qty::new(5), asked: Qty::new(8) });
/// assert_eq!(book.order_count(), 0, "what was left is executed");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BookError {
    /// There is no such order; nothing changed.
    UnknownOrder {
        /// The number that the message names.
        reference: OrderRef,
    },
    /// An order of this number lives; it stays, the new one is not taken. A replaced order is gone
    /// nevertheless.
    DuplicateReference {
        /// The number that is used twice.
        reference: OrderRef,
    },
    /// An execution of more than the order has; all of the order is executed.
    OverExecution {
        /// The order's number.
        reference: OrderRef,
        /// The shares that the order had.
        left: Qty,
        /// The shares that the message names.
        asked: Qty,
    },
    /// A cancel of more than the order has; all of the order is cancelled.
    OverCancel {
        /// The order's number.
        reference: OrderRef,
        /// The shares that the order had.
        left: Qty,
        /// The shares that the message names.
        asked: Qty,
    },
    /// A new order of no shares; it is not taken. A replaced order is gone nevertheless.
    NoShares {
        /// The number of the new order.
        reference: OrderRef,
    },
    /// An order or a trade whose side is neither `B` nor `S`; nothing changed.
    BadSide {
        /// The order's number.
        reference: OrderRef,
        /// What stands in the place of the side.
        byte: u8,
    },
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOrder { reference } => write!(f, "order {reference} is unknown"),
            Self::DuplicateReference { reference } => {
                write!(f, "order {reference} lives already")
            }
            Self::OverExecution { reference, left, asked } => {
                write!(f, "order {reference} is executed for {asked} shares and has {left}")
            }
            Self::OverCancel { reference, left, asked } => {
                write!(f, "order {reference} is cancelled for {asked} shares and has {left}")
            }
            Self::NoShares { reference } => write!(f, "order {reference} is new and has no shares"),
            Self::BadSide { reference, byte } => write!(
                f,
                "order {reference} has the side '{}', neither 'B' nor 'S'",
                byte.escape_ascii()
            ),
        }
    }
}

impl core::error::Error for BookError {}
