//! Orders by reference number.
//!
//! A hash table with open addressing and linear probing. Reference numbers are mostly consecutive,
//! so a multiplicative hash spreads them better than chance.
//!
//! NO-GAP: between an order's home slot and the slot it is in, no slot is vacant. Removal closes
//! the gap by moving later orders back, so there are no tombstones, no rebuilds, and no growth
//! while the number of orders stays within its capacity.

use crate::price::{Price, Qty, Side};
use crate::wire::OrderRef;

use super::{Arrival, Order};

/// 2^64 divided by the golden ratio, made odd: Knuth's multiplicative hash.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Debug)]
pub(super) struct OrderTable {
    /// A power of two of slots, at least two.
    slots: Box<[Slot]>,
    len: usize,
}

/// An order and its number, or vacant when there are no shares: live orders have some.
#[derive(Clone, Copy, Debug)]
struct Slot {
    reference: u64,
    price: Price,
    qty: Qty,
    /// The arrival above the side's bit: half a cache line for a slot.
    arrival_and_side: u64,
}

const VACANT: Slot = Slot { reference: 0, price: Price::ZERO, qty: Qty::ZERO, arrival_and_side: 0 };

impl Slot {
    const fn is_vacant(&self) -> bool {
        self.qty.is_zero()
    }

    fn new(reference: OrderRef, order: Order) -> Self {
        let side = u64::from(order.side == Side::Sell);
        Self {
            reference: reference.0,
            price: order.price,
            qty: order.qty,
            arrival_and_side: order.arrival.0 << 1 | side,
        }
    }

    const fn order(&self) -> Order {
        let side = if self.arrival_and_side & 1 == 1 { Side::Sell } else { Side::Buy };
        let arrival = Arrival(self.arrival_and_side >> 1);
        Order { side, price: self.price, qty: self.qty, arrival }
    }
}

impl OrderTable {
    pub(super) fn with_capacity(orders: usize) -> Self {
        let mut slots = 2_usize;
        while Self::limit(slots) < orders {
            slots *= 2;
        }
        Self { slots: vec![VACANT; slots].into_boxed_slice(), len: 0 }
    }

    /// Adds an order; `false` and no change when its number is in use.
    #[inline]
    pub(super) fn insert(&mut self, reference: OrderRef, order: Order) -> bool {
        debug_assert!(!order.qty.is_zero(), "an order without shares would be a vacant slot");
        let Err(mut at) = self.find(reference) else { return false };
        if self.len == Self::limit(self.slots.len()) {
            self.grow();
            at = self.find(reference).expect_err("growth adds no order");
        }
        self.slots[at] = Slot::new(reference, order);
        self.len += 1;
        true
    }

    #[inline]
    pub(super) fn get(&self, reference: OrderRef) -> Option<Order> {
        self.find(reference).ok().map(|at| self.slots[at].order())
    }

    #[inline]
    pub(super) fn remove(&mut self, reference: OrderRef) -> Option<Order> {
        let at = self.find(reference).ok()?;
        let order = self.slots[at].order();
        self.close(at);
        Some(order)
    }

    /// Takes up to `qty` off an order, and removes it when nothing is left. The order as it was.
    #[inline]
    pub(super) fn reduce(&mut self, reference: OrderRef, qty: Qty) -> Option<Order> {
        let at = self.find(reference).ok()?;
        let order = self.slots[at].order();
        if qty >= order.qty {
            self.close(at);
        } else {
            self.slots[at].qty = order.qty.saturating_sub(qty);
        }
        Some(order)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        Self::limit(self.slots.len())
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(VACANT);
        self.len = 0;
    }

    /// Orders that fit into `slots` slots: five eighths, so that probes stay short and one slot is
    /// always vacant, which ends every search.
    const fn limit(slots: usize) -> usize {
        slots / 8 * 5 + slots % 8 / 2
    }

    /// The high bits of the product, which depend on all bits of the number.
    #[inline]
    fn home(&self, reference: u64) -> usize {
        let bits = self.slots.len().trailing_zeros();
        (reference.wrapping_mul(SPREAD) >> (64 - bits)) as usize
    }

    /// The slot of this number, or the vacant slot where the search for it ends.
    #[inline]
    fn find(&self, reference: OrderRef) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(reference.0) & mask;
        loop {
            let slot = &self.slots[at];
            if slot.is_vacant() {
                return Err(at);
            }
            if slot.reference == reference.0 {
                return Ok(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Vacates `gap` and keeps NO-GAP: an order further on moves into the gap unless its home lies
    /// after the gap, and then leaves a gap itself.
    #[inline]
    fn close(&mut self, mut gap: usize) {
        let mask = self.slots.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.is_vacant() {
                break;
            }
            let from_home = at.wrapping_sub(self.home(slot.reference)) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = VACANT;
        self.len -= 1;
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = vec![VACANT; self.slots.len() * 2].into_boxed_slice();
        let old = core::mem::replace(&mut self.slots, doubled);
        for slot in old.iter().filter(|slot| !slot.is_vacant()) {
            if let Err(at) = self.find(OrderRef(slot.reference)) {
                self.slots[at] = *slot;
            }
        }
    }
}
