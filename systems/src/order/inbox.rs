//! What the venue reports about our orders, and the system that applies it.

use core::fmt;

use bevy_ecs::message::MessageWriter;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::ResMut;

use crate::order::{Fill, OrderId, OrderTable};
use crate::price::{Price, Qty};
use crate::wire::MatchNumber;
use crate::wire::ouch::{CancelReason, Liquidity};

/// Why the venue rejected an order: its own code.
///
/// ```
/// use onbeat_systems::order::RejectReason;
///
/// assert_eq!(RejectReason::from_code(8).code(), 8);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RejectReason(u16);

impl RejectReason {
    /// The reason with this code on the wire.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        Self(code)
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.0)
    }
}

/// What the venue says about one of our orders.
///
/// ```
/// use onbeat_systems::order::{OrderId, RejectReason, VenueReport};
///
/// let id = OrderId::from_raw(7);
/// assert_eq!(VenueReport::Rejected { id, reason: RejectReason::from_code(8) }.id(), id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VenueReport {
    /// The order works, with this size and price, which may differ from what was asked.
    Accepted {
        /// The order.
        id: OrderId,
        /// Its size.
        qty: Qty,
        /// Its limit.
        price: Price,
    },
    /// Shares of the order traded.
    Executed {
        /// The order.
        id: OrderId,
        /// How many shares.
        qty: Qty,
        /// At this price.
        price: Price,
        /// Whether we rested or crossed.
        liquidity: Liquidity,
        /// The venue's number of the execution.
        match_number: MatchNumber,
    },
    /// Shares of the order will not trade.
    Cancelled {
        /// The order.
        id: OrderId,
        /// How many shares were taken off it by this report.
        qty: Qty,
        /// Why.
        reason: CancelReason,
    },
    /// The order never worked.
    Rejected {
        /// The order.
        id: OrderId,
        /// Why.
        reason: RejectReason,
    },
    /// The order works on: the cancel could not be done.
    CancelRejected {
        /// The order.
        id: OrderId,
    },
}

impl VenueReport {
    /// The order that the report is about.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        match *self {
            Self::Accepted { id, .. }
            | Self::Executed { id, .. }
            | Self::Cancelled { id, .. }
            | Self::Rejected { id, .. }
            | Self::CancelRejected { id } => id,
        }
    }
}

/// The venue's reports that wait to be applied, in the order of their arrival.
///
/// ```
/// use onbeat_systems::order::{OrderId, VenueInbox, VenueReport};
///
/// let mut inbox = VenueInbox::default();
/// assert!(inbox.is_empty());
/// inbox.push(VenueReport::CancelRejected { id: OrderId::from_raw(7) });
/// assert_eq!(inbox.len(), 1);
/// ```
#[derive(Resource, Debug, Default)]
pub struct VenueInbox {
    reports: Vec<VenueReport>,
}

impl VenueInbox {
    /// Adds a report behind the others.
    pub fn push(&mut self, report: VenueReport) {
        self.reports.push(report);
    }

    /// How many reports wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reports.len()
    }

    /// Whether no report waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }
}

/// Applies the reports of the [`VenueInbox`] to the [`OrderTable`], and writes a [`Fill`] for each
/// execution of an order that the table knows.
///
/// The [module](crate::order) has an example.
pub fn apply_venue_reports(
    mut inbox: ResMut<VenueInbox>,
    mut table: ResMut<OrderTable>,
    mut fills: MessageWriter<Fill>,
) {
    if inbox.is_empty() {
        return;
    }
    for report in inbox.reports.drain(..) {
        if let Some(fill) = table.apply(report) {
            fills.write(fill);
        }
    }
}
