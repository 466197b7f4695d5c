//! The order port: OUCH messages in, reports out. Pure: bytes in, bytes out.
//!
//! A user reference that is not above all earlier ones is a re-send and is dropped in silence, as
//! OUCH has it. The port knows one instrument; it enters and cancels orders and answers account
//! queries. Replacing and modifying are refused: the engine cancels and enters instead.

use onbeat_systems::instrument::Symbol;
use onbeat_systems::price::{MarketTime, Qty};
use onbeat_systems::wire::itch::Message;
use onbeat_systems::wire::ouch::{
    Accepted, Appendage, CancelNotice, CancelReason, Canceled, ClientOrderId, EnterOrder, Executed,
    Inbound, Liquidity, NextUserRef, OrderState, Outbound, Rejected, TimeInForce, UserRefNum,
};
use onbeat_systems::wire::{MatchNumber, OrderRef};

use super::matching::{self, Entry, Fill, Matching, Remainder};

/// The most shares an order may have.
const ORDER_SHARES_MAX: u64 = 1_000_000;

/// Why the port rejects an order; the number travels in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Reject {
    UnknownSymbol = 1,
    InvalidQuantity = 2,
    InvalidPrice = 3,
    InvalidTimeInForce = 4,
    NotSupported = 5,
}

/// The order port of one instrument.
#[derive(Debug)]
pub(super) struct OrderPort {
    symbol: Symbol,
    matching: Matching,
    next_user_ref: u32,
    next_order: u64,
    next_match: u64,
    now: MarketTime,
    fills: Vec<Fill>,
    report: Vec<u8>,
}

impl OrderPort {
    /// A port for orders in `symbol`.
    pub(super) fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            matching: Matching::default(),
            next_user_ref: 1,
            next_order: 1,
            next_match: 1,
            now: MarketTime::default(),
            fills: Vec::new(),
            report: Vec::new(),
        }
    }

    /// Moves the exchange's time, which the reports carry.
    pub(super) fn set_time(&mut self, now: MarketTime) {
        self.now = now;
    }

    /// Applies a feed message of the instrument and reports the fills.
    pub(super) fn apply(&mut self, message: &Message, send: &mut impl FnMut(&[u8])) {
        self.matching.apply(message, &mut self.fills);
        self.report_fills(send);
    }

    /// Takes back all orders of a client that is gone.
    pub(super) fn client_gone(&mut self) {
        self.matching.cancel_all();
    }

    /// Handles one message of the client. What is no OUCH message is dropped, since no report names
    /// a message without a reference.
    pub(super) fn handle(&mut self, message: &[u8], send: &mut impl FnMut(&[u8])) {
        match Inbound::decode(message) {
            Ok(Inbound::Enter(order)) => self.enter(&order, send),
            Ok(Inbound::Cancel(cancel)) => self.cancel(cancel.user_ref, cancel.qty, send),
            Ok(Inbound::Replace(replace)) => {
                if self.is_new(replace.user_ref) {
                    self.reject(replace.user_ref, replace.client_id, Reject::NotSupported, send);
                }
            }
            Ok(Inbound::Modify(modify)) => {
                let notice = CancelNotice {
                    timestamp: self.now,
                    user_ref: modify.user_ref,
                    appendage: Appendage::EMPTY,
                };
                self.send(Outbound::CancelRejected(notice), send);
            }
            Ok(Inbound::AccountQuery(_)) => {
                let answer = NextUserRef {
                    timestamp: self.now,
                    user_ref: UserRefNum(self.next_user_ref),
                    appendage: Appendage::EMPTY,
                };
                self.send(Outbound::NextUserRef(answer), send);
            }
            Err(_) => {}
        }
    }

    fn enter(&mut self, order: &EnterOrder<'_>, send: &mut impl FnMut(&[u8])) {
        if !self.is_new(order.user_ref) {
            return;
        }
        let time_in_force = match self.check(order) {
            Ok(time_in_force) => time_in_force,
            Err(reason) => return self.reject(order.user_ref, order.client_id, reason, send),
        };
        let order_ref = OrderRef(self.next_order);
        self.next_order += 1;
        let accepted = Accepted {
            timestamp: self.now,
            user_ref: order.user_ref,
            side: order.side,
            qty: order.qty,
            symbol: order.symbol,
            price: order.price,
            time_in_force: order.time_in_force,
            order_ref,
            marks: order.marks,
            state: OrderState::Live,
            client_id: order.client_id,
            appendage: Appendage::EMPTY,
        };
        self.send(Outbound::Accepted(accepted), send);
        let entry = Entry {
            user_reference: order.user_ref.0,
            side: order.side.side(),
            qty: order.qty,
            price: order.price,
            time_in_force,
        };
        let remainder = self.matching.enter(entry, &mut self.fills);
        self.report_fills(send);
        if let Remainder::Cancelled(qty) = remainder {
            self.report_cancel(order.user_ref, qty, CancelReason::Immediate, send);
        }
    }

    /// A cancel of an order that is done is dropped: its last report has said so already.
    fn cancel(&mut self, user_ref: UserRefNum, intended: Qty, send: &mut impl FnMut(&[u8])) {
        let qty = self.matching.cancel(user_ref.0, intended);
        if !qty.is_zero() {
            self.report_cancel(user_ref, qty, CancelReason::User, send);
        }
    }

    fn check(&self, order: &EnterOrder<'_>) -> Result<matching::TimeInForce, Reject> {
        if order.symbol != self.symbol {
            return Err(Reject::UnknownSymbol);
        }
        if order.qty.is_zero() || order.qty.shares() > ORDER_SHARES_MAX {
            return Err(Reject::InvalidQuantity);
        }
        if order.price.ticks() == 0 {
            return Err(Reject::InvalidPrice);
        }
        match order.time_in_force {
            TimeInForce::Day => Ok(matching::TimeInForce::Day),
            TimeInForce::ImmediateOrCancel => Ok(matching::TimeInForce::ImmediateOrCancel),
            _ => Err(Reject::InvalidTimeInForce),
        }
    }

    fn is_new(&mut self, user_ref: UserRefNum) -> bool {
        let is_new = user_ref.0 >= self.next_user_ref;
        if is_new {
            self.next_user_ref = user_ref.0.saturating_add(1);
        }
        is_new
    }

    fn report_fills(&mut self, send: &mut impl FnMut(&[u8])) {
        let mut fills = std::mem::take(&mut self.fills);
        for fill in fills.drain(..) {
            let match_number = MatchNumber(self.next_match);
            self.next_match += 1;
            let executed = Executed {
                timestamp: self.now,
                user_ref: UserRefNum(fill.user_reference),
                qty: fill.qty,
                price: fill.price,
                liquidity: match fill.liquidity {
                    matching::Liquidity::Added => Liquidity::Added,
                    matching::Liquidity::Removed => Liquidity::Removed,
                },
                match_number,
                appendage: Appendage::EMPTY,
            };
            self.send(Outbound::Executed(executed), send);
        }
        self.fills = fills;
    }

    fn report_cancel(
        &mut self,
        user_ref: UserRefNum,
        qty: Qty,
        reason: CancelReason,
        send: &mut impl FnMut(&[u8]),
    ) {
        let canceled =
            Canceled { timestamp: self.now, user_ref, qty, reason, appendage: Appendage::EMPTY };
        self.send(Outbound::Canceled(canceled), send);
    }

    fn reject(
        &mut self,
        user_ref: UserRefNum,
        client_id: ClientOrderId,
        reason: Reject,
        send: &mut impl FnMut(&[u8]),
    ) {
        let rejected = Rejected {
            timestamp: self.now,
            user_ref,
            reason: reason as u16,
            client_id,
            appendage: Appendage::EMPTY,
        };
        self.send(Outbound::Rejected(rejected), send);
    }

    fn send(&mut self, message: Outbound<'_>, send: &mut impl FnMut(&[u8])) {
        self.report.clear();
        message.encode(&mut self.report).expect("values that came from the wire fit the wire");
        send(&self.report);
    }
}

#[cfg(test)]
mod tests {
    use onbeat_systems::price::{Price, Side};
    use onbeat_systems::wire::itch::{AddOrder, Header};

    use super::*;

    fn port() -> OrderPort {
        let mut port = OrderPort::new("AAPL".parse().unwrap());
        let ask = Message::AddOrder(AddOrder {
            header: Header::default(),
            reference: OrderRef(1),
            side: Side::Sell,
            qty: Qty::new(30),
            symbol: port.symbol,
            price: Price::from_ticks(1_000_000),
            attribution: None,
        });
        port.apply(&ask, &mut |_| panic!("no order of ours, no report"));
        port
    }

    fn order(user_ref: u32) -> EnterOrder<'static> {
        EnterOrder {
            user_ref: UserRefNum(user_ref),
            side: Side::Buy.into(),
            qty: Qty::new(100),
            symbol: "AAPL".parse().unwrap(),
            price: Price::from_ticks(1_000_000),
            time_in_force: TimeInForce::ImmediateOrCancel,
            marks: Default::default(),
            client_id: ClientOrderId::BLANK,
            appendage: Appendage::EMPTY,
        }
    }

    /// The types of the reports that a message brings.
    fn reports(port: &mut OrderPort, message: Inbound<'_>) -> String {
        let mut wire = Vec::new();
        message.encode(&mut wire).unwrap();
        let mut kinds = String::new();
        port.handle(&wire, &mut |report| {
            assert!(Outbound::decode(report).is_ok());
            kinds.push(char::from(report[0]));
        });
        kinds
    }

    #[test]
    fn an_immediate_order_is_accepted_filled_and_its_rest_cancelled() {
        assert_eq!(reports(&mut port(), Inbound::Enter(order(1))), "AEC");
    }

    #[test]
    fn an_order_that_is_sent_again_is_dropped_in_silence() {
        let mut port = port();
        assert_eq!(reports(&mut port, Inbound::Enter(order(5))), "AEC");
        assert_eq!(reports(&mut port, Inbound::Enter(order(5))), "");
        assert_eq!(reports(&mut port, Inbound::Enter(order(4))), "");
    }

    #[test]
    fn an_order_in_another_symbol_is_rejected() {
        let other = EnterOrder { symbol: "MSFT".parse().unwrap(), ..order(1) };
        assert_eq!(reports(&mut port(), Inbound::Enter(other)), "J");
    }

    #[test]
    fn an_order_without_shares_price_or_a_known_time_is_rejected() {
        let mut port = port();
        let bad = [
            EnterOrder { qty: Qty::ZERO, ..order(1) },
            EnterOrder { price: Price::ZERO, ..order(2) },
            EnterOrder { time_in_force: TimeInForce::AfterHours, ..order(3) },
        ];
        for order in bad {
            assert_eq!(reports(&mut port, Inbound::Enter(order)), "J");
        }
    }

    #[test]
    fn a_cancel_is_reported_once() {
        let mut port = port();
        let day = EnterOrder { time_in_force: TimeInForce::Day, ..order(1) };
        assert_eq!(reports(&mut port, Inbound::Enter(day)), "AE");
        let cancel = onbeat_systems::wire::ouch::CancelOrder {
            user_ref: UserRefNum(1),
            qty: Qty::ZERO,
            appendage: Appendage::EMPTY,
        };
        assert_eq!(reports(&mut port, Inbound::Cancel(cancel)), "C");
        assert_eq!(reports(&mut port, Inbound::Cancel(cancel)), "");
    }

    #[test]
    fn a_query_names_the_next_user_reference() {
        let mut port = port();
        assert_eq!(reports(&mut port, Inbound::Enter(order(7))), "AEC");
        let mut wire = Vec::new();
        Inbound::AccountQuery(Appendage::EMPTY).encode(&mut wire).unwrap();
        let mut next = None;
        port.handle(&wire, &mut |report| {
            if let Ok(Outbound::NextUserRef(answer)) = Outbound::decode(report) {
                next = Some(answer.user_ref);
            }
        });
        assert_eq!(next, Some(UserRefNum(8)));
    }

    #[test]
    fn bytes_that_are_no_message_bring_no_report() {
        port().handle(b"?", &mut |_| panic!("nothing to report"));
    }
}
