//! Random programs of everything that can be done to a byte channel, against a queue of vectors.

mod byte_programs;

use byte_programs::run_program;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_byte_channel_does_what_a_queue_does(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        run_program(&bytes);
    }
}
