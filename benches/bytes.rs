//! What a message through a byte channel costs: claimed, written, committed, read and freed.
//!
//! Both ends are on one thread and nobody waits, so what is measured is the channel's own work, two fences
//! among it. Times are for one message. `pair` has one message in the ring at a time; `batch` sends 64,
//! then reads 64. `memcpy` writes and reads the same bytes in a buffer, without a channel.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use onbeat::channel::{mpsc_bytes, spsc_bytes};

const LENGTHS: [usize; 3] = [16, 64, 512];
const BATCH: usize = 64;
/// Room for a batch of the longest, twice.
const CAPACITY: usize = 1 << 16;

/// Measures pairs and batches over the ends that `$channel` makes.
macro_rules! measure {
    ($group:expr, $name:literal, $channel:path, $len:expr) => {
        let bytes = vec![7_u8; $len];
        $group.bench_function(BenchmarkId::new(concat!($name, ", pair"), $len), |b| {
            let (mut sender, mut receiver) = $channel(CAPACITY);
            b.iter(|| {
                let mut claim = sender.try_claim($len).expect("there is room");
                claim.copy_from_slice(black_box(&bytes));
                claim.commit();
                black_box(receiver.try_recv().expect("one was sent")[$len - 1])
            });
        });
        $group.bench_function(BenchmarkId::new(concat!($name, ", batch"), $len), |b| {
            let (mut sender, mut receiver) = $channel(CAPACITY);
            b.iter_custom(|messages| {
                let batches = messages.div_ceil(BATCH as u64);
                let start = std::time::Instant::now();
                for _ in 0..batches {
                    for _ in 0..BATCH {
                        let mut claim = sender.try_claim($len).expect("there is room");
                        claim.copy_from_slice(black_box(&bytes));
                        claim.commit();
                    }
                    for _ in 0..BATCH {
                        black_box(receiver.try_recv().expect("a batch was sent")[$len - 1]);
                    }
                }
                let done = (batches * BATCH as u64) as f64;
                start.elapsed().mul_f64(messages as f64 / done)
            });
        });
    };
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("bytes");
    for len in LENGTHS {
        group.throughput(Throughput::Bytes(len as u64));
        measure!(group, "spsc", spsc_bytes::channel, len);
        measure!(group, "mpsc", mpsc_bytes::channel, len);
        group.bench_function(BenchmarkId::new("memcpy", len), |b| {
            let bytes = vec![7_u8; len];
            let mut buffer = vec![0_u8; len];
            b.iter(|| {
                buffer.copy_from_slice(black_box(&bytes));
                black_box(&mut buffer)[len - 1]
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = messages
}
criterion_main!(benches);
