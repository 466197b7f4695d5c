//! ITCH messages against their field table, against real data, and against nonsense.

use onbeat_systems::instrument::{Locate, Symbol};
use onbeat_systems::price::{MarketTime, Price, Qty, Side};
use onbeat_systems::wire::itch::{
    AddOrder, EventCode, FileErrorKind, Frames, Header, ItchError, MatchNumber, Message, OrderRef,
    Other, Trade, TradingState, decode, encode_frame,
};
use onbeat_systems::wire::{Alpha, EncodeError};
use proptest::collection::vec;
use proptest::prelude::{any, prop_oneof};
use proptest::proptest;

const FEED: &[u8] = include_bytes!("../../examples/data/aapl-20190130.itch");

/// Each type of ITCH 5.0 with the length of its messages.
const LENGTHS: &[(u8, usize)] = &[
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];

fn header() -> Header {
    Header {
        locate: Locate::new(14),
        tracking: 0,
        timestamp: MarketTime::from_ns(34_200_000_000_000),
    }
}

fn message(index: usize) -> Message {
    Frames::new(FEED).nth(index).unwrap().unwrap().decode().unwrap()
}

#[test]
fn the_bundled_file_holds_10_060_messages_that_decode() {
    let decoded = Frames::new(FEED).filter(|frame| frame.unwrap().decode().is_ok()).count();
    assert_eq!((decoded, Frames::new(FEED).count()), (10_060, 10_060));
}

#[test]
fn every_message_of_the_bundled_file_encodes_to_its_bytes() {
    let mut file = Vec::new();
    let mut bytes = Vec::new();
    for frame in Frames::new(FEED) {
        bytes.clear();
        frame.unwrap().decode().unwrap().encode(&mut bytes).unwrap();
        encode_frame(&mut file, &bytes);
    }
    assert!(file == FEED);
}

#[test]
fn a_directory_message_names_the_symbol_of_its_locate() {
    let Message::StockDirectory(directory) = message(2) else { panic!("{:?}", message(2)) };
    assert_eq!(directory.symbol, "AAPL".parse::<Symbol>().unwrap());
    assert_eq!((directory.header.locate, directory.round_lot), (Locate::new(14), Qty::new(100)));
}

#[test]
fn the_opening_messages_carry_their_codes() {
    let Message::SystemEvent(event) = message(0) else { panic!("{:?}", message(0)) };
    assert_eq!(event.code, EventCode::StartOfMessages);
    let Message::TradingAction(action) = message(3) else { panic!("{:?}", message(3)) };
    assert_eq!(action.state, TradingState::Trading);
}

#[test]
fn an_add_message_carries_side_size_and_price() {
    let Message::AddOrder(add) = message(4) else { panic!("{:?}", message(4)) };
    assert_eq!(add.reference, OrderRef(0x703c15));
    assert_eq!(
        (add.side, add.qty, add.price),
        (Side::Sell, Qty::new(100), Price::from_ticks(1_650_000))
    );
    assert_eq!(add.attribution, None);
}

#[test]
fn a_header_keeps_tracking_and_time_apart() {
    let decoded = decode(b"D\x00\x0e\xab\xcd\x00\x00\x00\x00\x00\x07\0\0\0\0\0\0\0\x09").unwrap();
    assert_eq!(decoded.header().tracking, 0xabcd);
    assert_eq!(decoded.timestamp(), MarketTime::from_ns(7));
}

#[test]
fn a_trade_message_is_order_flow() {
    let trade = Message::Trade(Trade {
        header: header(),
        reference: OrderRef(0),
        side: Side::Buy,
        qty: Qty::new(100),
        symbol: "AAPL".parse().unwrap(),
        price: Price::from_ticks(1_632_400),
        match_number: MatchNumber(77),
    });
    let mut bytes = Vec::new();
    trade.encode(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 44);
    assert_eq!(decode(&bytes), Ok(trade));
    assert!(trade.is_order_flow());
}

#[test]
fn attribution_makes_an_add_message_of_type_f() {
    let add = Message::AddOrder(AddOrder {
        header: header(),
        reference: OrderRef(5),
        side: Side::Buy,
        qty: Qty::new(100),
        symbol: "AAPL".parse().unwrap(),
        price: Price::from_ticks(1_632_400),
        attribution: Some(Alpha::from_wire(*b"NSDQ")),
    });
    let mut bytes = Vec::new();
    add.encode(&mut bytes).unwrap();
    assert_eq!((bytes[0], bytes.len()), (b'F', 40));
    assert_eq!(decode(&bytes), Ok(add));
}

#[test]
fn each_type_has_exactly_its_length() {
    for &(kind, length) in LENGTHS {
        let mut bytes = vec![b'B'; length];
        bytes[0] = kind;
        assert_eq!(decode(&bytes).map(|message| message.kind()), Ok(kind));
        let wrong = |actual| Err(ItchError::WrongLength { kind, expected: length, actual });
        assert_eq!(decode(&bytes[..length - 1]), wrong(length - 1));
        bytes.push(0);
        assert_eq!(decode(&bytes), wrong(length + 1));
    }
}

#[test]
fn a_type_outside_the_table_is_unknown() {
    for kind in (0..=u8::MAX).filter(|kind| LENGTHS.iter().all(|(known, _)| known != kind)) {
        assert_eq!(decode(&[kind; 36]), Err(ItchError::UnknownType { kind }));
    }
}

#[test]
fn a_side_that_is_neither_is_a_message_of_its_own() {
    for (kind, length) in [(b'A', 36), (b'F', 40), (b'P', 44)] {
        let mut bytes = vec![0; length];
        bytes[0] = kind;
        bytes[2] = 14;
        bytes[18] = 7;
        bytes[19] = b'X';
        let Ok(Message::BadSide(bad)) = decode(&bytes) else { panic!("the framing is whole") };
        assert_eq!((bad.kind, bad.byte, bad.reference), (kind, b'X', OrderRef(7)));
        assert_eq!(bad.header.locate, Locate::new(14));
        assert!(Message::BadSide(bad).is_order_flow());
    }
}

#[test]
fn an_empty_message_has_no_type() {
    assert_eq!(decode(b""), Err(ItchError::Empty));
}

#[test]
fn a_type_that_touches_no_book_has_no_encoding() {
    let other = Message::Other(Other { header: header(), kind: b'I' });
    let mut bytes = vec![1];
    assert_eq!(other.encode(&mut bytes), Err(EncodeError { field: "body" }));
    assert_eq!(bytes, [1]);
}

/// Checks where a file of the bundled one's first two messages and `tail` stops.
#[track_caller]
fn check_tail(tail: &[u8], kind: FileErrorKind, message: &str) {
    let mut file = FEED[..28].to_vec();
    file.extend_from_slice(tail);
    let mut frames = Frames::new(&file);
    assert_eq!(frames.by_ref().take(2).filter(Result::is_ok).count(), 2);
    let error = frames.next().unwrap().and_then(|frame| frame.decode()).unwrap_err();
    assert_eq!((error.index, error.offset, error.kind), (2, 28, kind));
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_file_that_ends_within_a_length_stops_there() {
    check_tail(
        b"\x00",
        FileErrorKind::TruncatedLength,
        "message 2 at offset 28: the file ends within a length",
    );
}

#[test]
fn a_file_that_ends_within_a_message_stops_there() {
    check_tail(
        b"\x00\x0cS",
        FileErrorKind::TruncatedBody { expected: 12, actual: 1 },
        "message 2 at offset 28: the length says 12 bytes, the file has 1 more",
    );
}

#[test]
fn a_file_with_a_length_of_zero_stops_there() {
    check_tail(b"\x00\x00", FileErrorKind::Empty, "message 2 at offset 28: the length is zero");
}

#[test]
fn a_file_with_an_unknown_type_stops_there() {
    check_tail(
        b"\x00\x01z",
        FileErrorKind::Message(ItchError::UnknownType { kind: b'z' }),
        "message 2 at offset 28: message type 'z' is not in ITCH 5.0",
    );
}

#[test]
fn an_empty_file_has_no_message() {
    assert!(Frames::new(b"").next().is_none());
}

proptest! {
    #[test]
    fn arbitrary_bytes_decode_to_what_encodes_to_them_or_fail(
        which in 0..LENGTHS.len(),
        rest in vec(prop_oneof![proptest::strategy::Just(b'B'), any::<u8>()], 50),
    ) {
        let (kind, length) = LENGTHS[which];
        let mut bytes = rest[..length].to_vec();
        bytes[0] = kind;
        if let Ok(message) = decode(&bytes) && !matches!(message, Message::Other(_) | Message::BadSide(_)) {
            let mut again = Vec::new();
            message.encode(&mut again).unwrap();
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn arbitrary_files_end_and_account_for_every_byte(file in vec(0..4_u8, 0..200)) {
        let mut next = 0;
        for (index, frame) in Frames::new(&file).enumerate() {
            match frame {
                Ok(frame) => {
                    assert_eq!((frame.index, frame.offset), (index as u64, next));
                    let _ = frame.decode();
                    next += 2 + frame.bytes.len() as u64;
                }
                Err(error) => {
                    assert_eq!((error.index, error.offset), (index as u64, next));
                    next = file.len() as u64;
                }
            }
        }
        assert_eq!(next, file.len() as u64);
    }
}
