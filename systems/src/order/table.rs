//! The table of our orders: a ring of slots addressed by the order's id, so that finding an order is
//! one index, and nothing allocates after the first orders.
//!
//! Invariants, cited by name:
//!
//! - **SLOT**: an order with id `n` stands in slot `n mod capacity`. A done order stays there, so
//!   that late reports find it, until an id that is a multiple of the capacity higher takes the slot.
//! - **OPEN**: `open` holds the id of each order whose state is open, once; a slot's `open_index` is
//!   the place of its order there, and is meaningless for a done order.

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;

use crate::order::{Fill, NewOrder, Order, OrderId, OrderState, RejectReason, VenueReport};
use crate::price::{Price, Qty, Side};
use crate::wire::MatchNumber;
use crate::wire::ouch::{CancelReason, Liquidity};

/// How many of an order's last executions are remembered, to know a repeated report.
const REMEMBERED_MATCHES: usize = 8;

/// What happened to our orders so far.
///
/// ```
/// use onbeat_systems::order::{OrderStats, OrderTable};
///
/// assert_eq!(*OrderTable::default().stats(), OrderStats::default());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OrderStats {
    /// Orders sent.
    pub sent: u64,
    /// Orders the venue accepted.
    pub accepted: u64,
    /// Orders the venue rejected.
    pub rejected: u64,
    /// Orders that ended with shares left.
    pub cancelled: u64,
    /// Orders that ended without shares left.
    pub filled: u64,
    /// Executions.
    pub fills: u64,
    /// Cancels sent.
    pub cancels_sent: u64,
    /// Cancels that the venue refused.
    pub cancels_rejected: u64,
    /// Executions that arrived while a cancel was on its way.
    pub fills_after_cancel_request: u64,
    /// Executions of orders that were done.
    pub fills_after_done: u64,
    /// Executions that took an order past its size.
    pub overfills: u64,
    /// Reports about orders that the table does not hold.
    pub unknown_ids: u64,
    /// The executions among them: shares that are ours and in no position.
    pub unknown_executions: u64,
    /// Reports that say again what is known, or that fit no state; they change nothing.
    pub repeats: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    order: Order,
    open_index: usize,
    matches: [Option<MatchNumber>; REMEMBERED_MATCHES],
    match_cursor: usize,
}

/// All open orders, and the done ones that late reports may still name.
///
/// Orders enter through the risk gate alone, and change by the venue's reports and by cancels.
/// Readers see a consistent order at any time. An execution that repeats one of an order's last
/// eight match numbers is a repeat and changes nothing.
///
/// One without orders; the [module](crate::order) has an example with some.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat_systems::order::{OrderId, OrderTable};
/// use onbeat_systems::price::{Qty, Side};
///
/// let table = OrderTable::with_capacity(1_024, OrderId::from_raw(1));
/// let apple = World::new().spawn_empty().id();
/// assert!(table.get(OrderId::from_raw(1)).is_none());
/// assert_eq!((table.open().count(), table.open_count()), (0, 0));
/// assert_eq!(table.open_on(apple, Side::Buy).count(), 0);
/// assert_eq!(table.open_qty(apple, Side::Buy), Qty::ZERO);
/// assert_eq!(table.stats().sent, 0);
/// ```
#[derive(Resource, Debug)]
pub struct OrderTable {
    slots: Vec<Option<Slot>>,
    open: Vec<OrderId>,
    next: Option<OrderId>,
    stats: OrderStats,
}

impl Default for OrderTable {
    /// A table of 1,024 slots whose first order is number 1.
    fn default() -> Self {
        Self::with_capacity(1024, OrderId::from_raw(1))
    }
}

impl OrderTable {
    /// A table of `capacity` slots, rounded up to a power of two, whose first order is `first`.
    ///
    /// The first id is what the venue reports as the next one when the port was used before.
    #[must_use]
    pub fn with_capacity(capacity: usize, first: OrderId) -> Self {
        let capacity = capacity.next_power_of_two();
        Self {
            slots: vec![None; capacity],
            open: Vec::with_capacity(capacity),
            next: Some(first),
            stats: OrderStats::default(),
        }
    }

    /// The order with this id, if it is open or was done a short while ago.
    #[must_use]
    pub fn get(&self, id: OrderId) -> Option<&Order> {
        self.slot(id).map(|slot| &slot.order)
    }

    /// The open orders, in no particular but a reproducible order.
    pub fn open(&self) -> impl Iterator<Item = &Order> + '_ {
        self.open.iter().filter_map(|id| self.get(*id))
    }

    /// The open orders of one instrument on one side.
    pub fn open_on(&self, instrument: Entity, side: Side) -> impl Iterator<Item = &Order> + '_ {
        self.open().filter(move |order| order.instrument == instrument && order.side == side)
    }

    /// How many orders are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The shares that may still execute on one side of an instrument.
    #[must_use]
    pub fn open_qty(&self, instrument: Entity, side: Side) -> Qty {
        self.open_on(instrument, side)
            .fold(Qty::ZERO, |sum, order| sum.saturating_add(order.leaves()))
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> &OrderStats {
        &self.stats
    }

    /// Takes the next id for `new`. Ids whose slot holds an open order are passed over.
    ///
    /// Returns `None` when every slot holds an open order or the ids are used up.
    pub(crate) fn insert(&mut self, new: NewOrder) -> Option<OrderId> {
        if self.open.len() == self.slots.len() {
            return None;
        }
        let mut id = self.next?;
        while self.slots[self.index(id)].is_some_and(|slot| slot.order.state.is_open()) {
            id = OrderId(id.0.checked_add(1)?);
        }
        self.next = id.0.checked_add(1).map(OrderId);
        let order = Order {
            id,
            instrument: new.instrument,
            side: new.side,
            price: new.price,
            qty: new.qty,
            filled: Qty::ZERO,
            cancelled: Qty::ZERO,
            tif: new.tif,
            state: OrderState::PendingNew,
            accepted: false,
        };
        let index = self.index(id);
        self.slots[index] = Some(Slot {
            order,
            open_index: self.open.len(),
            matches: [None; REMEMBERED_MATCHES],
            match_cursor: 0,
        });
        self.open.push(id);
        self.stats.sent += 1;
        Some(id)
    }

    /// Marks that a cancel of `id` is sent; false when there is nothing to cancel or one is on its way.
    pub(crate) fn request_cancel(&mut self, id: OrderId) -> bool {
        let Some(slot) = self.slot_mut(id) else { return false };
        if !matches!(slot.order.state, OrderState::PendingNew | OrderState::Live) {
            return false;
        }
        slot.order.state = OrderState::PendingCancel;
        self.stats.cancels_sent += 1;
        true
    }

    /// The first open order without a cancel on its way.
    pub(crate) fn first_cancellable(&self) -> Option<OrderId> {
        self.open().find(|order| order.state != OrderState::PendingCancel).map(Order::id)
    }

    /// Applies a report; the fill if it is a new execution of an order that the table holds.
    pub(crate) fn apply(&mut self, report: VenueReport) -> Option<Fill> {
        if self.slot(report.id()).is_none() {
            self.stats.unknown_ids += 1;
            if matches!(report, VenueReport::Executed { .. }) {
                self.stats.unknown_executions += 1;
            }
            return None;
        }
        match report {
            VenueReport::Accepted { id, qty, price } => self.accept(id, qty, price),
            VenueReport::Executed { id, qty, price, liquidity, match_number } => {
                return self.execute(id, qty, price, liquidity, match_number);
            }
            VenueReport::Cancelled { id, qty, reason } => self.cancel(id, qty, reason),
            VenueReport::Rejected { id, reason } => self.reject(id, reason),
            VenueReport::CancelRejected { id } => self.reject_cancel(id),
        }
        None
    }

    fn accept(&mut self, id: OrderId, qty: Qty, price: Price) {
        let Some(slot) = self.slot_mut(id) else { return };
        let order = &mut slot.order;
        if order.accepted || !order.state.is_open() {
            self.stats.repeats += 1;
            return;
        }
        order.accepted = true;
        order.qty = qty;
        order.price = price;
        if order.state == OrderState::PendingNew {
            order.state = OrderState::Live;
        }
        self.stats.accepted += 1;
    }

    fn execute(
        &mut self,
        id: OrderId,
        qty: Qty,
        price: Price,
        liquidity: Liquidity,
        match_number: MatchNumber,
    ) -> Option<Fill> {
        let slot = self.slot_mut(id)?;
        if qty.is_zero() || slot.matches.contains(&Some(match_number)) {
            self.stats.repeats += 1;
            return None;
        }
        slot.matches[slot.match_cursor] = Some(match_number);
        slot.match_cursor = (slot.match_cursor + 1) % REMEMBERED_MATCHES;
        let order = &mut slot.order;
        let before = order.state;
        let first_word = !order.accepted;
        order.accepted = true;
        order.filled = order.filled.saturating_add(qty);
        let done = order.filled.saturating_add(order.cancelled);
        let fill = Fill {
            id,
            instrument: order.instrument,
            side: order.side,
            price,
            qty,
            liquidity,
            match_number,
        };
        let total = order.qty;
        if before == OrderState::PendingNew {
            order.state = OrderState::Live;
        }
        self.stats.fills += 1;
        self.stats.accepted += u64::from(first_word && before.is_open());
        self.stats.fills_after_cancel_request += u64::from(before == OrderState::PendingCancel);
        self.stats.fills_after_done += u64::from(!before.is_open());
        self.stats.overfills += u64::from(done > total);
        if before.is_open() && done >= total {
            self.close(id, OrderState::Filled);
            self.stats.filled += 1;
        }
        Some(fill)
    }

    fn cancel(&mut self, id: OrderId, qty: Qty, reason: CancelReason) {
        let Some(slot) = self.slot_mut(id) else { return };
        let order = &mut slot.order;
        if !order.state.is_open() {
            self.stats.repeats += 1;
            return;
        }
        order.cancelled = order.cancelled.saturating_add(qty.min(order.leaves()));
        if order.leaves().is_zero() {
            self.close(id, OrderState::Cancelled(reason));
            self.stats.cancelled += 1;
        }
    }

    fn reject(&mut self, id: OrderId, reason: RejectReason) {
        let Some(order) = self.get(id) else { return };
        if order.accepted || !order.state.is_open() {
            self.stats.repeats += 1;
            return;
        }
        self.close(id, OrderState::Rejected(reason));
        self.stats.rejected += 1;
    }

    fn reject_cancel(&mut self, id: OrderId) {
        let Some(slot) = self.slot_mut(id) else { return };
        if slot.order.state != OrderState::PendingCancel {
            self.stats.repeats += 1;
            return;
        }
        slot.order.state =
            if slot.order.accepted { OrderState::Live } else { OrderState::PendingNew };
        self.stats.cancels_rejected += 1;
    }

    /// Ends an open order, keeping OPEN.
    fn close(&mut self, id: OrderId, state: OrderState) {
        debug_assert!(!state.is_open(), "an order is closed with a state that ends it");
        let Some(slot) = self.slot_mut(id) else { return };
        slot.order.state = state;
        let hole = slot.open_index;
        self.open.swap_remove(hole);
        if let Some(moved) = self.open.get(hole).copied()
            && let Some(slot) = self.slot_mut(moved)
        {
            slot.open_index = hole;
        }
    }

    fn index(&self, id: OrderId) -> usize {
        id.0 as usize & (self.slots.len() - 1)
    }

    fn slot(&self, id: OrderId) -> Option<&Slot> {
        self.slots[self.index(id)].as_ref().filter(|slot| slot.order.id == id)
    }

    fn slot_mut(&mut self, id: OrderId) -> Option<&mut Slot> {
        let index = self.index(id);
        self.slots[index].as_mut().filter(|slot| slot.order.id == id)
    }
}
