//! OUCH messages against a captured packet, against their own encoders, and against nonsense.

use onbeat_systems::price::{MarketTime, Price, Qty};
use onbeat_systems::wire::ouch::{
    Accepted, Appendage, CancelNotice, CancelOrder, CancelReason, Canceled, EnterOrder, Executed,
    Inbound, Liquidity, ModifyOrder, NextUserRef, OrderMarks, OrderSide, OrderState, OuchError,
    Outbound, Rejected, ReplaceOrder, Replaced, SystemEvent, TimeInForce, UserRefNum,
};
use onbeat_systems::wire::soup::{ClientPacket, decode_client, encode_unsequenced};
use onbeat_systems::wire::{Alpha, EncodeError, MatchNumber, OrderRef};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;

/// A short sale of 225 CVLT at 63.02 dollars, as it was captured.
const CAPTURED: &[u8] = b"\x00\x36U\
    O\x00\x00\x00\x71T\x00\x00\x00\xe1CVLT    \x00\x00\x00\x00\x00\x09\x9d\xb8\
    0YANNH8FUB8IV      \x00\x06\x05\x02LIME";

fn captured_order() -> EnterOrder<'static> {
    EnterOrder {
        user_ref: UserRefNum(113),
        side: OrderSide::SellShort,
        qty: Qty::new(225),
        symbol: "CVLT".parse().unwrap(),
        price: Price::from_ticks(630_200),
        time_in_force: TimeInForce::Day,
        marks: OrderMarks::default(),
        client_id: "H8FUB8IV".parse().unwrap(),
        appendage: Appendage(b"\x05\x02LIME"),
    }
}

#[test]
fn the_captured_order_decodes_to_its_fields() {
    let (packet, used) = decode_client(CAPTURED).unwrap().unwrap();
    assert_eq!(used, CAPTURED.len());
    let ClientPacket::Unsequenced(payload) = packet else { panic!("{packet:?}") };
    assert_eq!(Inbound::decode(payload), Ok(Inbound::Enter(captured_order())));
}

#[test]
fn the_captured_order_encodes_to_its_bytes() {
    let mut message = Vec::new();
    Inbound::Enter(captured_order()).encode(&mut message).unwrap();
    let mut packet = Vec::new();
    encode_unsequenced(&mut packet, &message);
    assert_eq!(packet, CAPTURED);
}

#[test]
fn the_captured_appendage_names_the_firm() {
    let options: Vec<_> = captured_order().appendage.options().collect();
    assert_eq!(options, [(2, &b"LIME"[..])]);
}

#[test]
fn options_end_at_one_that_does_not_fit() {
    let options = |bytes| Appendage(bytes).options().count();
    assert_eq!(options(b"\x02\x01a\x03\x02b"), 1);
    assert_eq!(options(b"\x02\x01a\x00\x02b"), 1);
}

#[test]
fn a_cancel_may_end_before_its_appendage() {
    let cancel = |appendage| {
        Inbound::Cancel(CancelOrder { user_ref: UserRefNum(7), qty: Qty::ZERO, appendage })
    };
    assert_eq!(Inbound::decode(b"X\0\0\0\x07\0\0\0\0"), Ok(cancel(Appendage::EMPTY)));
    assert_eq!(Inbound::decode(b"X\0\0\0\x07\0\0\0\0\0\0"), Ok(cancel(Appendage::EMPTY)));
    assert_eq!(
        Inbound::decode(b"X\0\0\0\x07\0\0\0\0\0\x02\x01\x09"),
        Ok(cancel(Appendage(b"\x01\x09")))
    );
}

#[test]
fn bad_messages_are_named() {
    let short = |kind, expected, actual| OuchError::TooShort { kind, expected, actual };
    let order = &CAPTURED[3..];
    assert_eq!(Inbound::decode(b""), Err(OuchError::Empty));
    assert_eq!(Inbound::decode(b"Z"), Err(OuchError::UnknownType { kind: b'Z' }));
    assert_eq!(Outbound::decode(b"O"), Err(OuchError::UnknownType { kind: b'O' }));
    assert_eq!(Inbound::decode(&order[..46]), Err(short(b'O', 47, 46)));
    assert_eq!(
        Inbound::decode(&order[..52]),
        Err(OuchError::WrongAppendage { kind: b'O', declared: 6, actual: 5 })
    );
    let mut bad = order.to_vec();
    bad[5] = b'?';
    assert_eq!(Inbound::decode(&bad), Err(OuchError::BadSide { kind: b'O', byte: b'?' }));
    bad[5] = b'B';
    bad[18] = 0x80;
    let price = 0x8000_0000_0009_9db8;
    assert_eq!(Inbound::decode(&bad), Err(OuchError::BadPrice { kind: b'O', price }));
}

#[test]
fn a_value_past_its_field_is_refused_and_nothing_is_written() {
    let check = |order: EnterOrder<'_>, field| {
        let mut out = vec![1];
        assert_eq!(Inbound::Enter(order).encode(&mut out), Err(EncodeError { field }));
        assert_eq!(out, [1]);
    };
    check(EnterOrder { price: Price::from_ticks(-1), ..captured_order() }, "price");
    check(EnterOrder { qty: Qty::new(1 << 32), ..captured_order() }, "quantity");
}

#[test]
fn outbound_messages_have_the_lengths_of_the_specification() {
    let check = |message: Outbound<'_>, length| {
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(out.len(), length, "{message:?}");
    };
    let (timestamp, user_ref) = (MarketTime::from_ns(1), UserRefNum(2));
    let (qty, price, appendage) = (Qty::new(3), Price::from_ticks(4), Appendage::EMPTY);
    let order = accepted(timestamp, user_ref, price);
    let client_id = Alpha::BLANK;
    let notice = CancelNotice { timestamp, user_ref, appendage };
    let reason = CancelReason::User;
    let (liquidity, match_number) = (Liquidity::Added, MatchNumber(5));
    check(Outbound::SystemEvent(SystemEvent { timestamp, code: b'S', appendage }), 10);
    check(Outbound::Accepted(order), 64);
    check(Outbound::Replaced(Replaced { original: user_ref, order }), 68);
    check(Outbound::Canceled(Canceled { timestamp, user_ref, qty, reason, appendage }), 18);
    check(
        Outbound::Executed(Executed {
            timestamp,
            user_ref,
            qty,
            price,
            liquidity,
            match_number,
            appendage,
        }),
        36,
    );
    check(
        Outbound::Rejected(Rejected { timestamp, user_ref, reason: 6, client_id, appendage }),
        29,
    );
    check(Outbound::CancelRejected(notice), 13);
    check(Outbound::CancelPending(notice), 13);
}

#[test]
fn accepted_fields_stand_at_the_offsets_of_the_specification() {
    let mut out = Vec::new();
    let order = accepted(MarketTime::from_ns(1), UserRefNum(2), Price::from_ticks(4));
    Outbound::Accepted(order).encode(&mut out).unwrap();
    assert_eq!(
        out,
        b"A\0\0\0\0\0\0\0\x01\0\0\0\x02B\0\0\0\x64AAPL    \0\0\0\0\0\0\0\x040Y\
          \0\0\0\0\0\0\0\x09ANNLmine          \0\0"
    );
}

fn accepted(timestamp: MarketTime, user_ref: UserRefNum, price: Price) -> Accepted<'static> {
    Accepted {
        timestamp,
        user_ref,
        side: OrderSide::Buy,
        qty: Qty::new(100),
        symbol: "AAPL".parse().unwrap(),
        price,
        time_in_force: TimeInForce::Day,
        order_ref: OrderRef(9),
        marks: OrderMarks::default(),
        state: OrderState::Live,
        client_id: "mine".parse().unwrap(),
        appendage: Appendage::EMPTY,
    }
}

fn appendage() -> impl Strategy<Value = Appendage<'static>> {
    prop_oneof![Just(Appendage::EMPTY), Just(Appendage(b"\x05\x02LIME")), Just(Appendage(b"\xff"))]
}

fn side() -> impl Strategy<Value = OrderSide> {
    prop_oneof![
        Just(OrderSide::Buy),
        Just(OrderSide::Sell),
        Just(OrderSide::SellShort),
        Just(OrderSide::SellShortExempt),
    ]
}

fn qty() -> impl Strategy<Value = Qty> {
    any::<u32>().prop_map(|shares| Qty::new(u64::from(shares)))
}

fn price() -> impl Strategy<Value = Price> {
    (0..=i64::MAX).prop_map(Price::from_ticks)
}

fn enter() -> impl Strategy<Value = EnterOrder<'static>> {
    (any::<u32>(), side(), qty(), price(), any::<[u8; 14]>(), any::<[u8; 5]>(), appendage())
        .prop_map(|(user_ref, side, qty, price, id, marks, appendage)| EnterOrder {
            user_ref: UserRefNum(user_ref),
            side,
            qty,
            price,
            time_in_force: TimeInForce::from_byte(marks[0]),
            marks: OrderMarks {
                display: marks[1],
                capacity: marks[2],
                sweep: marks[3],
                cross: marks[4],
            },
            client_id: Alpha::from_wire(id),
            appendage,
            ..captured_order()
        })
}

fn inbound() -> impl Strategy<Value = Inbound<'static>> {
    prop_oneof![
        enter().prop_map(Inbound::Enter),
        (enter(), any::<u32>()).prop_map(|(order, original)| {
            Inbound::Replace(ReplaceOrder {
                original: UserRefNum(original),
                user_ref: order.user_ref,
                qty: order.qty,
                price: order.price,
                time_in_force: order.time_in_force,
                display: order.marks.display,
                sweep: order.marks.sweep,
                client_id: order.client_id,
                appendage: order.appendage,
            })
        }),
        enter().prop_map(|EnterOrder { user_ref, qty, appendage, .. }| {
            Inbound::Cancel(CancelOrder { user_ref, qty, appendage })
        }),
        enter().prop_map(|EnterOrder { user_ref, side, qty, appendage, .. }| {
            Inbound::Modify(ModifyOrder { user_ref, side, qty, appendage })
        }),
        appendage().prop_map(Inbound::AccountQuery),
    ]
}

fn outbound() -> impl Strategy<Value = Outbound<'static>> {
    (enter(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u8>(), 0..9_u8).prop_map(
        |(order, ns, number, original, byte, which)| {
            let EnterOrder { user_ref, qty, price, client_id, appendage, .. } = order;
            let timestamp = MarketTime::from_ns(ns);
            let notice = CancelNotice { timestamp, user_ref, appendage };
            let accepted = Accepted {
                side: order.side,
                qty,
                time_in_force: order.time_in_force,
                order_ref: OrderRef(number),
                marks: order.marks,
                state: OrderState::from_byte(byte),
                client_id,
                appendage,
                ..accepted(timestamp, user_ref, price)
            };
            match which {
                0 => Outbound::SystemEvent(SystemEvent { timestamp, code: byte, appendage }),
                1 => Outbound::Accepted(accepted),
                2 => {
                    Outbound::Replaced(Replaced { original: UserRefNum(original), order: accepted })
                }
                3 => {
                    let reason = CancelReason::from_byte(byte);
                    Outbound::Canceled(Canceled { timestamp, user_ref, qty, reason, appendage })
                }
                4 => Outbound::Executed(Executed {
                    timestamp,
                    user_ref,
                    qty,
                    price,
                    liquidity: Liquidity::from_byte(byte),
                    match_number: MatchNumber(number),
                    appendage,
                }),
                5 => {
                    let reason = u16::from(byte);
                    Outbound::Rejected(Rejected {
                        timestamp,
                        user_ref,
                        reason,
                        client_id,
                        appendage,
                    })
                }
                6 => Outbound::CancelRejected(notice),
                7 => Outbound::CancelPending(notice),
                _ => Outbound::NextUserRef(NextUserRef { timestamp, user_ref, appendage }),
            }
        },
    )
}

proptest! {
    #[test]
    fn inbound_messages_come_back_as_they_went(message in inbound()) {
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(Inbound::decode(&out), Ok(message));
    }

    #[test]
    fn outbound_messages_come_back_as_they_went(message in outbound()) {
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(Outbound::decode(&out), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        kind in prop_oneof![any::<u8>(), proptest::sample::select(&b"OUXMQSACEJIPDBTR"[..])],
        rest in vec(prop_oneof![Just(0), Just(b'B'), any::<u8>()], 0..80),
    ) {
        let mut bytes = vec![kind];
        bytes.extend(rest);
        // What decodes has an encoding that decodes to the same.
        if let Ok(message) = Inbound::decode(&bytes) {
            let mut again = Vec::new();
            message.encode(&mut again).unwrap();
            assert_eq!(Inbound::decode(&again), Ok(message));
        }
        if let Ok(message) = Outbound::decode(&bytes) {
            let mut again = Vec::new();
            message.encode(&mut again).unwrap();
            assert_eq!(Outbound::decode(&again), Ok(message));
        }
    }
}
