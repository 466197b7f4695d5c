//! An hour of a 1 kHz loop in virtual time, a tenth of it where the optimizer is off. The example
//! `virtual_hour` is the same with all of it.

mod common;

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use common::watchdog;
use onbeat::{
    ClockMode, Pacing, Runtime, Tick, TickTime, event_time, interval, precise_now, sleep_until,
    spawn,
};

const MS: Duration = Duration::from_millis(1);
const SECONDS: u32 = if cfg!(debug_assertions) { 360 } else { 3_600 };
const TICKS: u32 = SECONDS * 1_000;

#[derive(Resource)]
struct Beats {
    ticks: u32,
    first: Option<Instant>,
}

/// Every tick is on its beat.
fn beat(time: Res<TickTime>, mut beats: ResMut<Beats>) {
    let first = *beats.first.get_or_insert(time.nominal());
    assert_eq!(time.nominal(), first + MS * beats.ticks);
    assert_eq!((time.frozen(), event_time()), (time.nominal(), precise_now()));
    beats.ticks += 1;
}

#[test]
fn an_hour_at_1_khz_has_a_tick_in_each_of_its_milliseconds() {
    let _guard = watchdog(120);
    let mut world = World::new();
    world.insert_resource(Beats { ticks: 0, first: None });
    let mut rt =
        Runtime::builder(&mut world).clock(ClockMode::Virtual).pacing(Pacing::hertz(1_000)).build();
    rt.schedule(Tick).add_systems(beat);
    let seconds = rt.block_on(async {
        let start = event_time();
        let seconds = spawn(async move {
            let mut second = interval(MS * 1_000);
            let mut count = 0;
            while event_time() < start + MS * (TICKS - 1_000) {
                second.tick().await;
                count += 1;
            }
            count
        });
        // The last tick of the hour; the next would begin another one.
        sleep_until(start + MS * (TICKS - 1)).await;
        assert_eq!(event_time() - start, MS * (TICKS - 1));
        seconds.await
    });
    assert_eq!(seconds, SECONDS);
    assert_eq!((rt.stats().ticks, rt.stats().overruns), (u64::from(TICKS), 0));
    assert_eq!((rt.stats().parks, rt.stats().beats_skipped), (0, 0));
    assert_eq!(rt.world().resource::<Beats>().ticks, TICKS);
}
