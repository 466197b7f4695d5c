//! [`Backoff`]: how long to wait before the next attempt.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{precise_now_of, sleep::sleep_of};
use crate::{clock::duration_ns, context};

/// What asks for the time, where there is no runtime to have one.
const LIMIT: &str = "a Backoff with a limit in time";

/// Delays that grow by a factor, for attempts that fail.
///
/// It says how long to wait, or waits; the loop stays the caller's. Delay `n` (from 0) is
/// `initial * factor^n`, at most `max_delay`, with [`Jitter`] if asked for. It ends after `max_retries`
/// delays, at a `deadline`, or `max_total` after the first one; a delay that would go beyond the end is cut
/// short, so that the last attempt is made at the end itself.
///
/// Jitter comes from a generator of its own (SplitMix64), seeded by [`seed`](BackoffBuilder::seed), else
/// at the first delay from the runtime's clock and a number that no other `Backoff` or timer of the
/// runtime has. So two of them differ, and under the virtual clock two runs are the same.
///
/// As an [`Iterator`] it gives the delays without waiting.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Backoff, ClockMode, Exhausted, Runtime, event_time};
/// use std::{io, time::Duration};
///
/// async fn connect(attempts: &mut u32) -> io::Result<()> {
///     *attempts += 1;
///     Err(io::ErrorKind::ConnectionRefused.into())
/// }
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let (start, mut attempts) = (event_time(), 0);
///     let mut backoff = Backoff::builder()
///         .initial(Duration::from_millis(100))
///         .max_delay(Duration::from_millis(300))
///         .max_retries(4)
///         .build();
///     let exhausted = loop {
///         let Err(error) = connect(&mut attempts).await else { unreachable!() };
///         if let Err(exhausted) = backoff.wait(error).await {
///             break exhausted;
///         }
///     };
///     assert_eq!(exhausted.0.kind(), io::ErrorKind::ConnectionRefused);
///     assert_eq!(attempts, 5, "one attempt and four retries");
///     assert_eq!(event_time() - start, Duration::from_millis(100 + 200 + 300 + 300));
/// });
/// ```
///
/// For a caller that waits by itself:
///
/// ```
/// use onbeat::Backoff;
/// use std::time::Duration;
///
/// let millis = Duration::from_millis;
/// let mut backoff = Backoff::builder().max_retries(2).build();
/// assert_eq!((backoff.current_delay(), backoff.remaining()), (millis(100), None));
/// assert_eq!(backoff.next_delay(), Some(millis(100)));
/// backoff.advance();
/// assert_eq!((backoff.retries(), backoff.current_delay()), (2, millis(400)));
/// assert!(backoff.is_exhausted());
/// backoff.reset();
/// assert_eq!(backoff.next_delay(), Some(millis(100)));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: BackoffBuilder,
    /// The next delay before jitter.
    current: Duration,
    retries: u32,
    /// When the first delay was asked for, if there is a total limit.
    began: Option<Instant>,
    /// The generator's state, once it has one.
    random: Option<SplitMix64>,
}

impl Backoff {
    /// A builder with the defaults: 100 ms at first, doubled, 30 s at most, no jitter, no end.
    pub fn builder() -> BackoffBuilder {
        BackoffBuilder::default()
    }

    /// Waits for the next delay. The attempt counts from the call on, and so does the delay.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] with `error` in it, at once, when the retries or the time are used up.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses the rest of the wait and `error`; the retry is counted.
    #[track_caller]
    pub fn wait<E>(&mut self, error: E) -> impl Future<Output = Result<(), Exhausted<E>>> + use<E> {
        let slept = self.next_delay().map(|delay| sleep_of("Backoff::wait()", delay));
        async move {
            match slept {
                Some(sleep) => {
                    sleep.await;
                    Ok(())
                }
                None => Err(Exhausted(error)),
            }
        }
    }

    /// The next delay, for a caller that waits by itself; counts a retry. `None` when the retries or the
    /// time are used up.
    ///
    /// # Panics
    ///
    /// Outside a runtime, if there is a limit in time, or jitter without a seed.
    ///
    /// ```
    /// use onbeat::{Backoff, Jitter};
    /// use std::time::Duration;
    ///
    /// let policy = Backoff::builder().jitter(Jitter::Full).seed(7).max_retries(5);
    /// let delays: Vec<Duration> = policy.clone().build().collect();
    /// assert_eq!(delays.len(), 5);
    /// assert!(delays[4] <= Duration::from_millis(1_600));
    /// assert_eq!(delays, policy.build().collect::<Vec<_>>(), "the same seed, the same delays");
    /// ```
    #[track_caller]
    pub fn next_delay(&mut self) -> Option<Duration> {
        let left = self.left();
        if self.has_no_retry() || left == Some(Duration::ZERO) {
            return None;
        }
        let delay = self.jittered();
        self.advance();
        Some(left.map_or(delay, |left| delay.min(left)))
    }

    /// Counts a retry, and lets the delay grow, without waiting.
    pub fn advance(&mut self) {
        self.retries = self.retries.saturating_add(1);
        self.current = self.policy.grown(self.current);
    }

    /// Whether the retries or the time are used up.
    ///
    /// # Panics
    ///
    /// Outside a runtime, if there is a limit in time.
    #[track_caller]
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.has_no_retry() || self.remaining() == Some(Duration::ZERO)
    }

    /// How many retries have been counted.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The next delay before jitter and limits.
    #[must_use]
    pub fn current_delay(&self) -> Duration {
        self.current
    }

    /// The time until the end, if there is a limit in time. A total limit begins to run at the first delay.
    ///
    /// # Panics
    ///
    /// Outside a runtime, if there is a limit in time.
    #[track_caller]
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let end =
            self.policy.deadline.map(|end| end.saturating_duration_since(precise_now_of(LIMIT)));
        let total = self.policy.max_total.map(|total| match self.began {
            Some(began) => {
                total.saturating_sub(precise_now_of(LIMIT).saturating_duration_since(began))
            }
            None => total,
        });
        end.into_iter().chain(total).min()
    }

    /// Begins anew, after an attempt that succeeded: the first delay, no retry counted, the total limit
    /// ahead. The deadline stays what it is, and the generator goes on.
    pub fn reset(&mut self) {
        self.current = self.policy.first();
        self.retries = 0;
        self.began = None;
    }

    fn has_no_retry(&self) -> bool {
        self.policy.max_retries.is_some_and(|max| self.retries >= max)
    }

    /// As `remaining`; a total limit begins to run here.
    #[track_caller]
    fn left(&mut self) -> Option<Duration> {
        if self.policy.max_total.is_some() && self.began.is_none() {
            self.began = Some(precise_now_of(LIMIT));
        }
        self.remaining()
    }

    #[track_caller]
    fn jittered(&mut self) -> Duration {
        let delay = self.current;
        let delay_ns = duration_ns(delay);
        let (least_ns, span_ns) = match self.policy.jitter {
            Jitter::None => return delay,
            Jitter::Full => (0, delay_ns),
            Jitter::Equal => (delay_ns - delay_ns / 2, delay_ns / 2),
            Jitter::Around(part) => {
                let span_ns = scaled(delay_ns, part);
                (delay_ns - span_ns, span_ns.saturating_mul(2))
            }
        };
        let random = self.random.get_or_insert_with(|| match self.policy.seed {
            Some(seed) => SplitMix64(seed),
            None => SplitMix64::of_runtime(),
        });
        Duration::from_nanos(least_ns.saturating_add(random.up_to(span_ns)))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    #[track_caller]
    fn next(&mut self) -> Option<Duration> {
        self.next_delay()
    }
}

/// How a delay is spread, so that those who failed together do not come back together.
///
/// ```
/// use onbeat::{Backoff, Jitter};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis(1);
/// for (jitter, range) in [
///     (Jitter::None, 100..=100),
///     (Jitter::Full, 0..=100),
///     (Jitter::Equal, 50..=100),
///     (Jitter::Around(0.25), 75..=125),
/// ] {
///     let first = Backoff::builder().jitter(jitter).seed(7).build().next_delay().unwrap();
///     assert!((*range.start() * ms..=*range.end() * ms).contains(&first));
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Anything from nothing to the delay.
    Full,
    /// Half of the delay, and anything up to the other half.
    Equal,
    /// The delay, less or more by up to this part of it: 0.25 makes 75 to 125 ms of 100 ms.
    Around(f64),
}

impl From<f64> for Jitter {
    /// [`Jitter::Around`].
    fn from(part: f64) -> Self {
        Self::Around(part)
    }
}

/// Sets a [`Backoff`] up. Made by [`Backoff::builder`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Backoff, ClockMode, Runtime, event_time};
/// use std::time::Duration;
///
/// let millis = Duration::from_millis;
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let builder = Backoff::builder()
///         .initial(millis(10))
///         .factor(3.0)
///         .max_delay(millis(50))
///         .max_retries(3)
///         .jitter(0.0)
///         .seed(7);
///     let delays: Vec<_> = builder.clone().build().collect();
///     assert_eq!(delays, [millis(10), millis(30), millis(50)]);
///
///     let mut limited = builder.clone().max_total(millis(25)).build();
///     limited.wait("refused").await.unwrap();
///     assert_eq!(limited.remaining(), Some(millis(15)));
///
///     let mut closed = builder.deadline(event_time()).build();
///     assert!(closed.is_exhausted() && closed.next_delay().is_none());
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct BackoffBuilder {
    initial: Duration,
    factor: f64,
    max_delay: Duration,
    max_retries: Option<u32>,
    max_total: Option<Duration>,
    deadline: Option<Instant>,
    jitter: Jitter,
    seed: Option<u64>,
}

impl Default for BackoffBuilder {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max_delay: Duration::from_secs(30),
            max_retries: None,
            max_total: None,
            deadline: None,
            jitter: Jitter::None,
            seed: None,
        }
    }
}

impl BackoffBuilder {
    /// The first delay; 100 ms by default.
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// What each delay is multiplied by to give the next; 2 by default.
    ///
    /// # Panics
    ///
    /// Unless `factor` is a finite number of at least 1.
    #[track_caller]
    pub fn factor(mut self, factor: f64) -> Self {
        assert!(
            factor.is_finite() && factor >= 1.0,
            "a delay is multiplied by a finite number of at least 1, not by {factor}"
        );
        self.factor = factor;
        self
    }

    /// The longest delay before jitter; 30 s by default.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How many delays there are; no limit by default.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// When it ends, counted from the first delay that is asked for; no limit by default.
    pub fn max_total(mut self, total: Duration) -> Self {
        self.max_total = Some(total);
        self
    }

    /// When it ends; no limit by default.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How delays are spread. A number is [`Jitter::Around`]; the default is [`Jitter::None`].
    ///
    /// # Panics
    ///
    /// Unless the part of [`Jitter::Around`] is from 0 to 1.
    #[track_caller]
    pub fn jitter(mut self, jitter: impl Into<Jitter>) -> Self {
        self.jitter = jitter.into();
        if let Jitter::Around(part) = self.jitter {
            assert!((0.0..=1.0).contains(&part), "jitter is a part from 0 to 1, not {part}");
        }
        self
    }

    /// The seed of the jitter: the same seed gives the same delays.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The backoff.
    ///
    /// # Panics
    ///
    /// When the first delay is longer than the longest.
    #[track_caller]
    #[must_use]
    pub fn build(self) -> Backoff {
        assert!(
            self.initial <= self.max_delay,
            "the first delay ({:?}) must not be longer than the longest ({:?})",
            self.initial,
            self.max_delay,
        );
        Backoff { current: self.first(), policy: self, retries: 0, began: None, random: None }
    }

    fn first(&self) -> Duration {
        self.initial
    }

    fn grown(&self, delay: Duration) -> Duration {
        Duration::from_nanos(scaled(duration_ns(delay), self.factor)).min(self.max_delay)
    }
}

/// So many nanoseconds times `factor`, saturating. Exact for whole factors below 104 days.
fn scaled(ns: u64, factor: f64) -> u64 {
    (ns as f64 * factor) as u64
}

/// Vigna's SplitMix64: a counter with a strong mix, good for a seed of any kind.
#[derive(Clone, Copy, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    fn of_runtime() -> Self {
        context::current("a Backoff with jitter and without a seed", |core| {
            let number = core.timers.borrow_mut().take_serial();
            Self(Self(core.clock.precise_ns()).next() ^ Self(number.get()).next())
        })
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `most`, each as likely as the next up to one part in 2^64.
    fn up_to(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

/// The retries or the time of a [`Backoff`] are used up. Holds the error of the last attempt.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Backoff, Exhausted, Runtime};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut backoff = Backoff::builder().max_retries(0).build();
///     let error: Exhausted<&str> = backoff.wait("refused").await.unwrap_err();
///     assert_eq!(error.0, "refused");
///     assert_eq!(error.to_string(), "no retry is left: refused");
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted<E>(pub E);

impl<E: fmt::Display> fmt::Display for Exhausted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no retry is left: {}", self.0)
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Exhausted<E> {}
