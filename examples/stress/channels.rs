//! Values and messages across threads: each arrives once, in the order in which it was sent.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use onbeat::{
    channel::{TrySendError, mpsc, mpsc_bytes, spsc, spsc_bytes},
    yield_now,
};

use crate::{
    round::{Life, Living, Random, Round},
    tally::{Did, check, did, fail},
};

/// What is sent: who sent it, and as which of its values.
struct Value {
    sender: usize,
    number: u64,
    _life: Life,
}

/// Makes one sender's values, one after the other.
struct Source {
    living: Arc<Living>,
    sender: usize,
    sent: Arc<[AtomicU64]>,
}

impl Source {
    fn number(&self) -> u64 {
        self.sent[self.sender].load(Ordering::Relaxed)
    }

    /// The next value. It is the next until it was sent.
    fn value(&self) -> Value {
        let life = self.living.life("a value");
        Value { sender: self.sender, number: self.number(), _life: life }
    }

    fn was_sent(&self) {
        self.sent[self.sender].fetch_add(1, Ordering::Relaxed);
        did(Did::Values, 1);
    }
}

/// Looks at what arrives.
struct Sink {
    received: Vec<u64>,
    sent: Arc<[AtomicU64]>,
}

impl Sink {
    fn take(&mut self, value: &Value) {
        let next = &mut self.received[value.sender];
        check(*next == value.number, || {
            format!("sender {}: value {} came for value {next}", value.sender, value.number)
        });
        *next += 1;
    }

    /// The channel is closed by its senders.
    fn end(&self) {
        for (received, sent) in self.received.iter().zip(&*self.sent) {
            let sent = sent.load(Ordering::Relaxed);
            check(*received == sent, || format!("{sent} values were sent, {received} arrived"));
        }
    }
}

fn ends(round: &Round, senders: usize) -> (impl Fn(usize) -> Source + use<>, Sink) {
    let sent: Arc<[AtomicU64]> = (0..senders).map(|_| AtomicU64::new(0)).collect();
    let sink = Sink { received: vec![0; senders], sent: sent.clone() };
    let living = round.living.clone();
    (move |sender| Source { living: living.clone(), sender, sent: sent.clone() }, sink)
}

/// One receiver in a task; senders on threads and in tasks.
pub(crate) fn values(round: &mut Round) {
    let senders = round.random.within(1..4) as usize;
    let (send, mut receive) = mpsc::channel::<Value>(round.random.within(1..40) as usize);
    let (source, mut sink) = ends(round, senders);
    for sender in 0..senders {
        let (send, source, mut random) = (send.clone(), source(sender), round.split());
        let count = random.within(1..400);
        if random.chance(60) {
            round.thread("a thread that sends", move || {
                while source.number() < count && send_blocking(&send, &source, &mut random) {
                    source.was_sent();
                }
            });
        } else {
            round.task("a task that sends", send_all(send, source, random, count));
        }
    }
    drop(send);
    let mut random = round.split();
    round.task("a task that receives", async move {
        let mut many = Vec::new();
        loop {
            match random.within(0..10) {
                0 => yield_now().await,
                // Whoever sends gets its values back.
                1 if random.chance(2) => return,
                2 | 3 => {
                    if receive.recv_many(&mut many, 8).await == 0 {
                        break;
                    }
                    many.drain(..).for_each(|value| sink.take(&value));
                }
                _ => match receive.recv().await {
                    Some(value) => sink.take(&value),
                    None => break,
                },
            }
        }
        sink.end();
    });
}

/// False: the channel is closed.
fn send_blocking(send: &mpsc::Sender<Value>, source: &Source, random: &mut Random) -> bool {
    let mut value = source.value();
    if random.chance(30) {
        match send.try_send(value) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(back)) => value = back,
        }
    }
    send.blocking_send(value).is_ok()
}

async fn send_all(send: mpsc::Sender<Value>, source: Source, mut random: Random, count: u64) {
    while source.number() < count {
        let mut sending = pin!(send.send(source.value()));
        if random.chance(20) {
            let polled = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
            match polled {
                Poll::Ready(Ok(())) => source.was_sent(),
                Poll::Ready(Err(_)) => return,
                Poll::Pending => did(Did::GivenUp, 1),
            }
        } else if sending.await.is_ok() {
            source.was_sent();
        } else {
            return;
        }
    }
}

/// Two channels with one sender each: a thread gives back to a task what the task sends it.
pub(crate) fn there_and_back(round: &mut Round) {
    let (mut send, mut there) = spsc::channel::<Value>(round.random.within(1..20) as usize);
    let (mut back, mut receive) = spsc::channel::<Value>(round.random.within(1..20) as usize);
    let count = round.random.within(1..300);
    let (source, mut sink) = ends(round, 1);
    let source = source(0);
    round.thread("a thread that gives back", move || {
        while let Some(value) = there.blocking_recv() {
            if back.blocking_send(value).is_err() {
                return;
            }
        }
    });
    round.task("a task that sends to a thread", async move {
        while source.number() < count && send.send(source.value()).await.is_ok() {
            source.was_sent();
        }
    });
    round.task("a task that gets back", async move {
        while let Some(value) = receive.recv().await {
            sink.take(&value);
        }
        sink.end();
    });
}

/// A message says who sent it and its number, and fills the rest with that.
fn message(sender: u8, number: u64, random: &mut Random) -> Vec<u8> {
    let mut message = vec![sender ^ number as u8; 9 + random.within(0..60) as usize];
    message[0] = sender;
    message[1..9].copy_from_slice(&number.to_le_bytes());
    message
}

fn read(message: &[u8], received: &mut [u64]) {
    let Some((&sender, rest)) = message.split_first() else {
        fail("an empty message came, and none was sent");
    };
    let Some((number, rest)) = rest.split_first_chunk::<8>() else {
        fail("a message was cut");
    };
    let number = u64::from_le_bytes(*number);
    let next = &mut received[usize::from(sender)];
    check(*next == number, || format!("message {number} came for message {next}"));
    check(rest.iter().all(|&byte| byte == sender ^ number as u8), || {
        format!("message {number} came damaged")
    });
    *next += 1;
    did(Did::Messages, 1);
}

pub(crate) fn messages(round: &mut Round) {
    let (mut send, mut receive) = spsc_bytes::channel(1 << round.random.within(8..12));
    let mut random = round.split();
    let count = random.within(1..300);
    let cut = round.cut;
    round.thread("a thread that sends messages", move || {
        for number in 0..count {
            if send.blocking_send(&message(0, number, &mut random)).is_err() {
                return;
            }
        }
    });
    round.task("a task that receives messages", async move {
        let mut received = [0];
        while let Some(message) = receive.recv().await {
            read(&message, &mut received);
        }
        check(cut || received == [count], || format!("{received:?} of {count} messages came"));
    });
}

pub(crate) fn messages_of_many(round: &mut Round) {
    let (send, mut receive) = mpsc_bytes::channel(1 << round.random.within(8..12));
    let mut counts = [0_u64; 3];
    for (sender, count) in counts.iter_mut().enumerate() {
        let (mut send, mut random) = (send.clone(), round.split());
        *count = random.within(1..200);
        let (count, sender) = (*count, sender as u8);
        if sender == 0 {
            round.task("a task that sends messages", async move {
                for number in 0..count {
                    if send.send(&message(sender, number, &mut random)).await.is_err() {
                        return;
                    }
                }
            });
        } else {
            round.thread("one of the threads that send messages", move || {
                for number in 0..count {
                    if send.blocking_send(&message(sender, number, &mut random)).is_err() {
                        return;
                    }
                }
            });
        }
    }
    drop(send);
    let cut = round.cut;
    round.task("a task that receives messages of many", async move {
        let mut received = [0; 3];
        while let Some(message) = receive.recv().await {
            read(&message, &mut received);
        }
        check(cut || received == counts, || format!("{received:?} of {counts:?} messages came"));
    });
}
