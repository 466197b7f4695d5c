//! The loop does its main jobs.

use std::{cell::Cell, rc::Rc, time::Duration};

use bevy_ecs::prelude::*;
use onbeat::*;

#[derive(Resource, Default)]
struct Count(u32);

#[test]
fn tasks_timers_and_systems_share_one_world() {
    let mut world = World::new();
    world.init_resource::<Count>();
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|mut c: ResMut<Count>| c.0 += 1);
    let out = rt.block_on(async {
        let h: Vec<_> = (0..10)
            .map(|i| {
                spawn_boxed(async move {
                    sleep(Duration::from_micros(100 * i)).await;
                    WorldCtx::current().with_world(|w| w.resource_mut::<Count>().0 += 100);
                    yield_now().await;
                    i
                })
            })
            .collect();
        let mut sum = 0;
        for h in h {
            sum += h.await;
        }
        sum
    });
    assert_eq!(out, 45);
    assert!(rt.world().resource::<Count>().0 > 1000);
    println!("{:?}", rt.stats());
}

#[test]
fn busy_and_abort_and_panic() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let dropped = Rc::new(Cell::new(0));
    struct D(Rc<Cell<i32>>);
    impl Drop for D {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let d = D(dropped.clone());
    rt.block_on_busy(async {
        let parked = spawn_boxed(async move {
            let _d = d;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        parked.abort();
        yield_now().await;
        assert_eq!(dropped.get(), 1);
        let p = spawn_boxed(async { panic!("x") });
        assert_eq!(p.join().await.unwrap_err().panic_message(), Some("x"));
        WorldCtx::current().next_tick().await;
    });
}

#[test]
fn foreign() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    rt.block_on(async {
        for _ in 0..100 {
            let (tx, rx) = futures::channel::oneshot::channel();
            std::thread::spawn(move || tx.send(5));
            assert_eq!(rx.await, Ok(5));
        }
    });
}

#[test]
fn virtual_hour() {
    let mut world = World::new();
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    rt.block_on(async {
        let t = event_time();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(event_time() - t, Duration::from_secs(3600));
    });
}
