//! The fill model: our orders against the replayed book. Pure: no socket, no clock.
//!
//! Our orders never change the replayed book, so the model keeps beside it what we have taken and where
//! we stand:
//!
//! 1. **Crossing.** An order that crosses on arrival fills at displayed prices, level by level, up to the
//!    displayed size less what we took there since that level last changed. The rest rests (day) or is
//!    cancelled (immediate or cancel).
//! 2. **Queue.** A resting order has the displayed size at its price ahead of it. An execution at that
//!    price uses up what is ahead, then fills us. Orders older than ours that leave without an execution
//!    there shorten what is ahead.
//! 3. **Through.** When an opposite order arrives at our price or a better one for us, or an execution on
//!    our side prints at a worse one, the rest fills at our price.
//!
//! A trade against hidden interest (P) and an execution at another price (C) fill nobody. An opposite
//! level that we have emptied ourselves and that still stands in the replay does not count as reaching
//! our price: only what arrives there afterwards does.

use std::collections::HashMap;

use onbeat_systems::book::{Arrival, Change, Order, OrderBook};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::wire::itch::Message;

/// What happens to the part of an order that does not fill on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeInForce {
    /// It rests in the book.
    Day,
    /// It is cancelled.
    ImmediateOrCancel,
}

/// An order of ours as it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) user_reference: u32,
    pub(crate) side: Side,
    pub(crate) qty: Qty,
    pub(crate) price: Price,
    pub(crate) time_in_force: TimeInForce,
}

/// Which side of the trade brought the liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liquidity {
    /// Ours was resting.
    Added,
    /// Ours crossed on arrival.
    Removed,
}

/// Shares of one of our orders that traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) user_reference: u32,
    pub(crate) qty: Qty,
    pub(crate) price: Price,
    pub(crate) liquidity: Liquidity,
}

/// What became of the part that did not fill on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    /// There is none.
    Nothing,
    /// It rests.
    Rests,
    /// This many shares are cancelled.
    Cancelled(Qty),
}

/// An order of ours in the book.
#[derive(Clone, Copy, Debug)]
struct Resting {
    user_reference: u32,
    side: Side,
    price: Price,
    qty: Qty,
    /// What has filled so far; a cancel names an intended total.
    filled: Qty,
    /// Displayed shares that trade before ours.
    ahead: Qty,
    /// Displayed orders that arrived before this are older than ours.
    arrived: Arrival,
}

/// The replayed book and our orders.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    book: OrderBook,
    /// In order of arrival.
    ours: Vec<Resting>,
    /// What we took of a level since it last changed.
    taken: HashMap<(Side, Price), Qty>,
}

impl Matching {
    /// Lets an order of ours arrive. Fills are appended to `fills`, best price first.
    pub(crate) fn enter(&mut self, entry: Entry, fills: &mut Vec<Fill>) -> Remainder {
        let opposite = entry.side.opposite();
        let mut left = entry.qty;
        for level in self.book.levels(opposite) {
            if left.is_zero() || better(entry.side, level.price, entry.price) {
                break;
            }
            let taken = self.taken.entry((opposite, level.price)).or_default();
            let qty = left.min(level.qty.saturating_sub(*taken));
            if !qty.is_zero() {
                *taken = taken.saturating_add(qty);
                left = left.saturating_sub(qty);
                fills.push(Fill {
                    user_reference: entry.user_reference,
                    qty,
                    price: level.price,
                    liquidity: Liquidity::Removed,
                });
            }
        }
        if left.is_zero() {
            return Remainder::Nothing;
        }
        if entry.time_in_force == TimeInForce::ImmediateOrCancel {
            return Remainder::Cancelled(left);
        }
        self.ours.push(Resting {
            user_reference: entry.user_reference,
            side: entry.side,
            price: entry.price,
            qty: left,
            filled: entry.qty.saturating_sub(left),
            ahead: self.book.level_qty(entry.side, entry.price),
            arrived: self.book.next_arrival(),
        });
        Remainder::Rests
    }

    /// Cuts an order of ours down to `intended` shares in all, filled ones included; 0 takes all that
    /// is left. Returns the shares taken back, 0 when nothing of it rests or it is no larger than that.
    pub(crate) fn cancel(&mut self, user_reference: u32, intended: Qty) -> Qty {
        let mut ours = self.ours.iter();
        let Some(at) = ours.position(|order| order.user_reference == user_reference) else {
            return Qty::ZERO;
        };
        let order = &mut self.ours[at];
        let keep = intended.saturating_sub(order.filled).min(order.qty);
        let cut = order.qty.saturating_sub(keep);
        order.qty = keep;
        if keep.is_zero() {
            self.ours.remove(at);
        }
        cut
    }

    /// Takes back every order of ours, for a client that is gone.
    pub(crate) fn cancel_all(&mut self) {
        self.ours.clear();
    }

    /// Applies a feed message of the instrument. Fills of our orders are appended to `fills`, oldest
    /// order first. What the book does not know is skipped; of what is too much the part that fits is
    /// taken.
    pub(crate) fn apply(&mut self, message: &Message, fills: &mut Vec<Fill>) {
        match self.book.apply(message).change {
            Change::None => {}
            Change::Added { order, .. } => self.arrived(&order, fills),
            Change::Executed { order, qty, .. } => {
                self.level_changed(&order);
                if matches!(message, Message::OrderExecuted(_)) {
                    self.executed(&order, qty, fills);
                } else {
                    self.shorten(&order, qty);
                }
            }
            Change::Reduced { order, qty, .. } => self.left(&order, qty),
            Change::Deleted { order, .. } => self.left(&order, order.qty),
            Change::Replaced { before, after, .. } => {
                self.left(&before, before.qty);
                self.arrived(&after, fills);
            }
        }
    }

    /// A displayed order arrives: rule 3 for our orders of the other side.
    fn arrived(&mut self, displayed: &Order, fills: &mut Vec<Fill>) {
        self.level_changed(displayed);
        self.fill_the_rest(fills, |ours| {
            ours.side != displayed.side && !better(ours.side, displayed.price, ours.price)
        });
    }

    /// Part of a displayed order leaves without an execution.
    fn left(&mut self, displayed: &Order, qty: Qty) {
        self.level_changed(displayed);
        self.shorten(displayed, qty);
    }

    /// Rule 2 at the price of the execution, rule 3 for our orders at better prices.
    fn executed(&mut self, displayed: &Order, qty: Qty, fills: &mut Vec<Fill>) {
        let mut ours_so_far = Qty::ZERO;
        for ours in &mut self.ours {
            if ours.side == displayed.side && ours.price == displayed.price {
                let used = qty.min(ours.ahead);
                ours.ahead = ours.ahead.saturating_sub(used);
                let reaches_us = qty.saturating_sub(used).saturating_sub(ours_so_far);
                let filled = reaches_us.min(ours.qty);
                ours_so_far = ours_so_far.saturating_add(filled);
                ours.fill(filled, fills);
            }
        }
        self.ours.retain(|order| !order.qty.is_zero());
        self.fill_the_rest(fills, |ours| {
            ours.side == displayed.side && better(ours.side, ours.price, displayed.price)
        });
    }

    fn level_changed(&mut self, displayed: &Order) {
        self.taken.remove(&(displayed.side, displayed.price));
    }

    fn shorten(&mut self, displayed: &Order, qty: Qty) {
        for ours in &mut self.ours {
            let same_level = ours.side == displayed.side && ours.price == displayed.price;
            if same_level && displayed.arrival < ours.arrived {
                ours.ahead = ours.ahead.saturating_sub(qty);
            }
        }
    }

    fn fill_the_rest(&mut self, fills: &mut Vec<Fill>, whose: impl Fn(&Resting) -> bool) {
        self.ours.retain_mut(|order| {
            let fills_now = whose(order);
            if fills_now {
                order.fill(order.qty, fills);
            }
            !fills_now
        });
    }
}

impl Resting {
    fn fill(&mut self, qty: Qty, fills: &mut Vec<Fill>) {
        if !qty.is_zero() {
            self.qty = self.qty.saturating_sub(qty);
            self.filled = self.filled.saturating_add(qty);
            fills.push(Fill {
                user_reference: self.user_reference,
                qty,
                price: self.price,
                liquidity: Liquidity::Added,
            });
        }
    }
}

/// Whether on `side` an order at `left` trades before one at `right`.
fn better(side: Side, left: Price, right: Price) -> bool {
    match side {
        Side::Buy => left > right,
        Side::Sell => left < right,
    }
}

#[cfg(test)]
mod tests;
