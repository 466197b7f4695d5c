//! SoupBinTCP packets against captured bytes, against their own encoders, and against nonsense.

use onbeat_systems::wire::Alpha;
use onbeat_systems::wire::soup::{
    Accepted, ClientPacket, Login, PAYLOAD_MAX, RejectReason, ServerPacket, SoupError,
    decode_client, decode_server, encode_accepted, encode_client_heartbeat, encode_debug,
    encode_end_of_session, encode_login, encode_logout, encode_rejected, encode_sequenced,
    encode_server_heartbeat, encode_unsequenced,
};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;

fn login(sequence: u64) -> Login {
    Login {
        username: "user".parse().unwrap(),
        password: "secret".parse().unwrap(),
        session: Alpha::BLANK,
        sequence,
    }
}

#[test]
fn heartbeats_are_the_captured_bytes() {
    let mut out = Vec::new();
    encode_server_heartbeat(&mut out);
    encode_client_heartbeat(&mut out);
    assert_eq!(out, [0x00, 0x01, 0x48, 0x00, 0x01, 0x52]);
    assert_eq!(decode_server(&out), Ok(Some((ServerPacket::Heartbeat, 3))));
    assert_eq!(decode_client(&out[3..]), Ok(Some((ClientPacket::Heartbeat, 3))));
}

#[test]
fn a_login_pads_text_on_the_right_and_numbers_on_the_left() {
    let mut out = Vec::new();
    encode_login(&mut out, &login(1));
    assert_eq!(out, b"\x00\x2fLuser  secret                                 1");
    assert_eq!(decode_client(&out), Ok(Some((ClientPacket::Login(login(1)), 49))));
}

#[test]
fn an_accepted_packet_names_session_and_sequence() {
    let accepted = Accepted { session: "DAY".parse().unwrap(), sequence: 10_061 };
    let mut out = Vec::new();
    encode_accepted(&mut out, &accepted);
    assert_eq!(out, b"\x00\x1fADAY                      10061");
    assert_eq!(decode_server(&out), Ok(Some((ServerPacket::Accepted(accepted), 33))));
}

#[test]
fn the_largest_sequence_number_fits_and_the_next_does_not() {
    let mut out = Vec::new();
    encode_login(&mut out, &login(u64::MAX));
    assert!(matches!(
        decode_client(&out),
        Ok(Some((ClientPacket::Login(Login { sequence: u64::MAX, .. }), 49)))
    ));
    *out.last_mut().unwrap() += 1;
    assert_eq!(decode_client(&out), Err(SoupError::BadSequence { kind: b'L' }));
}

#[test]
fn a_sequence_that_is_blank_or_left_justified_is_refused() {
    for field in [b"                    ", b"1                   ", b"                  -1"] {
        let mut out = Vec::new();
        encode_login(&mut out, &login(0));
        out[29..].copy_from_slice(field);
        assert_eq!(decode_client(&out), Err(SoupError::BadSequence { kind: b'L' }));
    }
}

#[test]
fn every_prefix_of_a_packet_asks_for_more() {
    let mut out = Vec::new();
    encode_sequenced(&mut out, b"payload");
    for end in 0..out.len() {
        assert_eq!(decode_server(&out[..end]), Ok(None), "{end} bytes");
    }
    assert_eq!(decode_server(&out), Ok(Some((ServerPacket::Sequenced(b"payload"), 10))));
}

#[test]
fn a_packet_ends_where_the_next_begins() {
    let mut out = Vec::new();
    encode_unsequenced(&mut out, b"one");
    encode_logout(&mut out);
    let (packet, used) = decode_client(&out).unwrap().unwrap();
    assert_eq!(packet, ClientPacket::Unsequenced(b"one"));
    assert_eq!(decode_client(&out[used..]), Ok(Some((ClientPacket::Logout, 3))));
}

#[test]
fn bad_packets_are_named() {
    let wrong = |kind, expected, actual| SoupError::WrongLength { kind, expected, actual };
    assert_eq!(decode_server(b"\x00\x00"), Err(SoupError::NoType));
    assert_eq!(decode_server(b"\x00\x01L"), Err(SoupError::UnknownType { kind: b'L' }));
    assert_eq!(decode_client(b"\x00\x01S"), Err(SoupError::UnknownType { kind: b'S' }));
    assert_eq!(decode_server(b"\x00\x02Hx"), Err(wrong(b'H', 0, 1)));
    assert_eq!(decode_server(b"\x00\x02Ax"), Err(wrong(b'A', 30, 1)));
    assert_eq!(decode_client(b"\x00\x01L"), Err(wrong(b'L', 46, 0)));
    assert_eq!(decode_server(b"\x00\x02JX"), Err(SoupError::UnknownReject { reason: b'X' }));
}

#[test]
fn an_error_says_what_is_wrong() {
    let error = decode_server(b"\x00\x02Ax").unwrap_err();
    assert_eq!(error.to_string(), "packet 'A' has a payload of 1 bytes, its type has 30");
}

#[test]
fn the_longest_payload_fits() {
    let payload = vec![7; PAYLOAD_MAX];
    let mut out = Vec::new();
    encode_sequenced(&mut out, &payload);
    assert_eq!(
        decode_server(&out),
        Ok(Some((ServerPacket::Sequenced(&payload[..]), PAYLOAD_MAX + 3)))
    );
}

#[test]
#[should_panic(expected = "a packet holds 65534 bytes of payload, not 65535")]
fn a_longer_payload_is_the_callers_mistake() {
    encode_sequenced(&mut Vec::new(), &vec![7; PAYLOAD_MAX + 1]);
}

fn encode_server(out: &mut Vec<u8>, packet: ServerPacket<'_>) {
    match packet {
        ServerPacket::Accepted(accepted) => encode_accepted(out, &accepted),
        ServerPacket::Rejected(reason) => encode_rejected(out, reason),
        ServerPacket::Sequenced(payload) => encode_sequenced(out, payload),
        ServerPacket::Heartbeat => encode_server_heartbeat(out),
        ServerPacket::EndOfSession => encode_end_of_session(out),
        ServerPacket::Debug(text) => encode_debug(out, text),
    }
}

fn encode_client(out: &mut Vec<u8>, packet: ClientPacket<'_>) {
    match packet {
        ClientPacket::Login(login) => encode_login(out, &login),
        ClientPacket::Unsequenced(payload) => encode_unsequenced(out, payload),
        ClientPacket::Heartbeat => encode_client_heartbeat(out),
        ClientPacket::Logout => encode_logout(out),
        ClientPacket::Debug(text) => encode_debug(out, text),
    }
}

fn server_packet(payload: &'static [u8]) -> impl Strategy<Value = ServerPacket<'static>> {
    prop_oneof![
        (any::<[u8; 10]>(), any::<u64>()).prop_map(|(session, sequence)| {
            ServerPacket::Accepted(Accepted { session: Alpha::from_wire(session), sequence })
        }),
        Just(ServerPacket::Rejected(RejectReason::NotAuthorized)),
        Just(ServerPacket::Rejected(RejectReason::SessionUnavailable)),
        Just(ServerPacket::Sequenced(payload)),
        Just(ServerPacket::Heartbeat),
        Just(ServerPacket::EndOfSession),
        Just(ServerPacket::Debug(payload)),
    ]
}

fn client_packet(payload: &'static [u8]) -> impl Strategy<Value = ClientPacket<'static>> {
    prop_oneof![
        (any::<[u8; 6]>(), any::<[u8; 10]>(), any::<[u8; 10]>(), any::<u64>()).prop_map(
            |(username, password, session, sequence)| ClientPacket::Login(Login {
                username: Alpha::from_wire(username),
                password: Alpha::from_wire(password),
                session: Alpha::from_wire(session),
                sequence,
            })
        ),
        Just(ClientPacket::Unsequenced(payload)),
        Just(ClientPacket::Heartbeat),
        Just(ClientPacket::Logout),
        Just(ClientPacket::Debug(payload)),
    ]
}

proptest! {
    #[test]
    fn server_packets_come_back_as_they_went(packets in vec(server_packet(b"text \x00\xff"), 0..8)) {
        let mut out = Vec::new();
        packets.iter().for_each(|&packet| encode_server(&mut out, packet));
        let mut rest = &out[..];
        for packet in packets {
            let (decoded, used) = decode_server(rest).unwrap().unwrap();
            assert_eq!(decoded, packet);
            rest = &rest[used..];
        }
        assert_eq!(decode_server(rest), Ok(None));
    }

    #[test]
    fn client_packets_come_back_as_they_went(packets in vec(client_packet(b"text \x00\xff"), 0..8)) {
        let mut out = Vec::new();
        packets.iter().for_each(|&packet| encode_client(&mut out, packet));
        let mut rest = &out[..];
        for packet in packets {
            let (decoded, used) = decode_client(rest).unwrap().unwrap();
            assert_eq!(decoded, packet);
            rest = &rest[used..];
        }
        assert_eq!(decode_client(rest), Ok(None));
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_use_more_than_there_is(
        length in 0..80_u8,
        kind in prop_oneof![any::<u8>(), proptest::sample::select(&b"LURO+AJSHZ"[..])],
        rest in vec(any::<u8>(), 0..90),
    ) {
        let mut bytes = vec![0, length, kind];
        bytes.extend(rest);
        for packet in [decode_server(&bytes).map(|p| p.map(|(_, used)| used)),
                       decode_client(&bytes).map(|p| p.map(|(_, used)| used))] {
            if let Ok(Some(used)) = packet {
                assert_eq!(used, 2 + usize::from(length));
            }
        }
    }
}
