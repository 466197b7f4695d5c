//! What the ring promises its ends, beside what threads can see.
use super::*;

fn send(producer: &mut Producer, bytes: &[u8]) {
    producer.claim(bytes.len()).unwrap();
    producer.bytes_mut().copy_from_slice(bytes);
    producer.commit();
}

#[test]
fn positions_pass_their_end() {
    for producers in [Producers::One, Producers::Many] {
        let start = Position((u64::MAX >> 1) - 20);
        let (mut producer, mut consumer) = ring_at(128, producers, start);
        for number in 0..100_u8 {
            let sent = [number; 40];
            send(&mut producer, &sent);
            assert_eq!(consumer.find(&mut false), Found::Message);
            assert_eq!(consumer.bytes(), sent);
            assert!(consumer.release());
        }
        assert!(consumer.head.0 < 1 << 62, "the positions began again");
        producer.ring().close();
        assert_eq!(consumer.find(&mut false), Found::Closed);
    }
}

#[test]
fn bytes_that_look_like_marks_are_not_taken_for_any() {
    for producers in [Producers::One, Producers::Many] {
        let (mut producer, mut consumer) = ring(64, producers);
        for _ in 0..10 {
            send(&mut producer, &[1; 32]);
            assert_eq!(consumer.find(&mut false), Found::Message);
            assert!(consumer.release());
            producer.claim(16).unwrap();
            assert_eq!(consumer.find(&mut false), Found::Nothing);
            producer.abandon();
            assert_eq!(consumer.find(&mut false), Found::Nothing);
        }
    }
}

#[test]
fn ends_that_claim_nothing_show_nothing_and_hand_nothing_over() {
    for producers in [Producers::One, Producers::Many] {
        let (mut producer, mut consumer) = ring(64, producers);
        assert!(producer.bytes().is_empty() && producer.bytes_mut().is_empty());
        producer.commit();
        assert!(!producer.abandon());
        assert!(consumer.bytes().is_empty() && !consumer.release());
        assert_eq!(consumer.find(&mut false), Found::Nothing);
    }
}
