//! A venue that replays a feed and fills our orders against it, in the order in which things happen.
//!
//! An order that crosses on arrival fills at displayed prices, up to the displayed size less what we
//! took there since the level last changed. A resting order has the displayed size at its price
//! ahead of it. Our orders never change the replayed book.

use onbeat_systems::book::{Change, Order as BookOrder, OrderBook};
use onbeat_systems::order::{EnterOrder, OrderCommand, OrderId, TimeInForce, VenueReport};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::wire::MatchNumber;
use onbeat_systems::wire::itch::Message;
use onbeat_systems::wire::ouch::{CancelReason, Liquidity};

#[derive(Debug)]
struct Resting {
    order: EnterOrder,
    left: Qty,
    ahead: Qty,
    /// Orders of the book that came with this arrival number or later stand behind ours.
    arrivals: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Venue {
    book: OrderBook,
    resting: Vec<Resting>,
    taken: Vec<(Side, Price, Qty)>,
    arrivals: u64,
    matches: u64,
    pub(crate) reports: Vec<VenueReport>,
}

impl Venue {
    /// Replays a message of the feed.
    pub(crate) fn replay(&mut self, message: &Message) {
        let change = self.book.apply(message).change;
        match change {
            Change::Added { order, .. } => self.came(&order),
            Change::Executed { order, qty, .. } => {
                self.touched(order.side, order.price);
                if matches!(message, Message::OrderExecuted(_)) {
                    self.printed(&order, qty);
                }
            }
            Change::Reduced { order, qty, .. } => self.went(&order, qty),
            Change::Deleted { order, .. } => self.went(&order, order.qty),
            Change::Replaced { before, after, .. } => {
                self.went(&before, before.qty);
                self.came(&after);
            }
            Change::None => {}
        }
        self.fill_reached();
    }

    /// Takes a command of ours.
    pub(crate) fn handle(&mut self, command: &OrderCommand) {
        match command {
            OrderCommand::Enter(approved) => self.enter(*approved.order()),
            OrderCommand::Cancel(id) => self.cancel(*id),
        }
    }

    fn enter(&mut self, order: EnterOrder) {
        let EnterOrder { id, side, qty, price, .. } = order;
        self.reports.push(VenueReport::Accepted { id, qty, price });
        let mut left = qty;
        let levels: Vec<_> = self.book.levels(side.opposite()).collect();
        for level in levels {
            if !is_at_or_past(side, level.price, price) || left.is_zero() {
                break;
            }
            let taken = self.taken_at(side.opposite(), level.price);
            let trade = level.qty.saturating_sub(*taken).min(left);
            *taken = taken.saturating_add(trade);
            left = left.saturating_sub(trade);
            self.execute(id, trade, level.price, Liquidity::Removed);
        }
        if left.is_zero() {
            return;
        }
        if order.tif == TimeInForce::Ioc {
            let reason = CancelReason::Immediate;
            self.reports.push(VenueReport::Cancelled { id, qty: left, reason });
            return;
        }
        let ahead = self.book.level_qty(side, price);
        self.resting.push(Resting { order, left, ahead, arrivals: self.arrivals });
    }

    fn cancel(&mut self, id: OrderId) {
        let Some(at) = self.resting.iter().position(|resting| resting.order.id == id) else {
            return;
        };
        let qty = self.resting.remove(at).left;
        self.reports.push(VenueReport::Cancelled { id, qty, reason: CancelReason::User });
    }

    fn came(&mut self, order: &BookOrder) {
        self.arrivals = order.arrival.0 + 1;
        self.touched(order.side, order.price);
    }

    fn went(&mut self, order: &BookOrder, qty: Qty) {
        self.touched(order.side, order.price);
        for resting in &mut self.resting {
            let same = resting.order.side == order.side && resting.order.price == order.price;
            if same && order.arrival.0 < resting.arrivals {
                resting.ahead = resting.ahead.saturating_sub(qty);
            }
        }
    }

    /// An order of the book traded: what is ahead of ours is used up, then ours fill.
    fn printed(&mut self, order: &BookOrder, qty: Qty) {
        for at in 0..self.resting.len() {
            let resting = &mut self.resting[at];
            let EnterOrder { id, side, price, .. } = resting.order;
            let trade = if side != order.side {
                Qty::ZERO
            } else if price == order.price {
                let reaches = qty.saturating_sub(resting.ahead);
                resting.ahead = resting.ahead.saturating_sub(qty);
                reaches.min(resting.left)
            } else if is_at_or_past(side, order.price, price) {
                resting.left
            } else {
                Qty::ZERO
            };
            resting.left = resting.left.saturating_sub(trade);
            self.execute(id, trade, price, Liquidity::Added);
        }
        self.resting.retain(|resting| !resting.left.is_zero());
    }

    /// Fills what rests at a price that the other side's best has reached.
    fn fill_reached(&mut self) {
        for at in 0..self.resting.len() {
            let EnterOrder { id, side, price, .. } = self.resting[at].order;
            let best = self.book.bbo().side(side.opposite());
            if best.is_some_and(|best| is_at_or_past(side, best.price, price)) {
                let left = core::mem::take(&mut self.resting[at].left);
                self.execute(id, left, price, Liquidity::Added);
            }
        }
        self.resting.retain(|resting| !resting.left.is_zero());
    }

    fn execute(&mut self, id: OrderId, qty: Qty, price: Price, liquidity: Liquidity) {
        if qty.is_zero() {
            return;
        }
        self.matches += 1;
        let match_number = MatchNumber(self.matches);
        self.reports.push(VenueReport::Executed { id, qty, price, liquidity, match_number });
    }

    fn taken_at(&mut self, side: Side, price: Price) -> &mut Qty {
        let at = self.taken.iter().position(|taken| (taken.0, taken.1) == (side, price));
        let at = at.unwrap_or_else(|| {
            self.taken.push((side, price, Qty::ZERO));
            self.taken.len() - 1
        });
        &mut self.taken[at].2
    }

    /// The level changed: it is displayed anew.
    fn touched(&mut self, side: Side, price: Price) {
        self.taken.retain(|taken| (taken.0, taken.1) != (side, price));
    }
}

/// Whether an order on `side` with this limit trades at `price`.
fn is_at_or_past(side: Side, price: Price, limit: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}
