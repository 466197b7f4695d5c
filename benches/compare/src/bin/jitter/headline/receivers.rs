//! Who receives: raw loops, onbeat, nexus, and a tokio thread beside a bevy app.

use std::hint::spin_loop;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, Update};
use bevy_ecs::message::MessageWriter;
use bevy_ecs::prelude::{NonSendMut, ResMut, World};
use mio::{Events, Interest, Poll, Token};

use super::{Datagram, Seen};

fn world_with(seen: Seen) -> World {
    let mut world = World::new();
    world.insert_resource(seen);
    world
}

fn take(mut world: World) -> Seen {
    world.remove_resource().expect("nobody took it away")
}

fn see(world: &mut World, datagram: Datagram) -> bool {
    world.resource_mut::<Seen>().see(datagram)
}

/// `recv` again and again.
pub(super) fn raw_spinning(socket: UdpSocket, seen: Seen) -> Seen {
    socket.set_nonblocking(true).expect("a socket can be made not to block");
    let mut world = world_with(seen);
    let mut datagram = Datagram::default();
    loop {
        match socket.recv(&mut datagram) {
            Ok(_) if see(&mut world, datagram) => {}
            Ok(_) => return take(world),
            Err(_) => spin_loop(),
        }
    }
}

/// `recv` that blocks.
pub(super) fn raw_blocking(socket: UdpSocket, seen: Seen) -> Seen {
    let mut world = world_with(seen);
    let mut datagram = Datagram::default();
    while socket.recv(&mut datagram).is_err() || see(&mut world, datagram) {}
    take(world)
}

/// mio's poll that does not wait, and `recv` until nothing is there.
pub(super) fn mio_spinning(socket: UdpSocket, seen: Seen) -> Seen {
    mio(socket, seen, Some(Duration::ZERO))
}

/// The same with a poll that waits.
pub(super) fn mio_parked(socket: UdpSocket, seen: Seen) -> Seen {
    mio(socket, seen, None)
}

fn mio(socket: UdpSocket, seen: Seen, timeout: Option<Duration>) -> Seen {
    socket.set_nonblocking(true).expect("a socket can be made not to block");
    let mut socket = mio::net::UdpSocket::from_std(socket);
    let mut poll = Poll::new().expect("the process may open an epoll descriptor");
    let registry = poll.registry();
    registry
        .register(&mut socket, Token(0), Interest::READABLE)
        .expect("a socket can be registered");
    let mut events = Events::with_capacity(64);
    let mut world = world_with(seen);
    let mut datagram = Datagram::default();
    loop {
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.expect("an epoll descriptor can be polled"),
        }
        if events.is_empty() {
            continue;
        }
        while socket.recv(&mut datagram).is_ok() {
            if !see(&mut world, datagram) {
                return take(world);
            }
        }
    }
}

/// A task under `block_on_busy`.
pub(super) fn onbeat_spinning(socket: UdpSocket, seen: Seen) -> Seen {
    let mut world = world_with(seen);
    let mut runtime = onbeat::Runtime::new(&mut world);
    runtime.block_on_busy(async { onbeat::spawn_boxed(onbeat_task(socket)).await });
    drop(runtime);
    take(world)
}

/// The same under `block_on`.
pub(super) fn onbeat_parked(socket: UdpSocket, seen: Seen) -> Seen {
    let mut world = world_with(seen);
    let mut runtime = onbeat::Runtime::new(&mut world);
    runtime.block_on(async { onbeat::spawn_boxed(onbeat_task(socket)).await });
    drop(runtime);
    take(world)
}

async fn onbeat_task(socket: UdpSocket) {
    let socket = onbeat::net::UdpSocket::from_std(socket).expect("a bound socket");
    let ctx = onbeat::WorldCtx::current();
    let mut datagram = Datagram::default();
    loop {
        socket.recv_from(&mut datagram).await.expect("loopback does not fail");
        if !ctx.with_world(|world| see(world, datagram)) {
            return;
        }
    }
}

/// nexus keeps it in a World of its own kind.
#[derive(Debug)]
struct NexusSeen(Seen);

impl nexus_rt::Resource for NexusSeen {}

/// A task under nexus's `block_on_busy`.
pub(super) fn nexus_spinning(socket: UdpSocket, seen: Seen) -> Seen {
    let mut world = nexus_world(seen);
    let mut runtime = nexus_async_rt::Runtime::builder(&mut world).build();
    runtime.block_on_busy(async { nexus_async_rt::spawn_boxed(nexus_task(socket)).await })
}

/// The same under its `block_on`.
pub(super) fn nexus_parked(socket: UdpSocket, seen: Seen) -> Seen {
    let mut world = nexus_world(seen);
    let mut runtime = nexus_async_rt::Runtime::builder(&mut world).build();
    runtime.block_on(async { nexus_async_rt::spawn_boxed(nexus_task(socket)).await })
}

fn nexus_world(seen: Seen) -> nexus_rt::World {
    let mut builder = nexus_rt::WorldBuilder::new();
    builder.register(NexusSeen(seen));
    builder.build()
}

async fn nexus_task(socket: UdpSocket) -> Seen {
    socket.set_nonblocking(true).expect("a socket can be made not to block");
    let mut socket = nexus_async_rt::UdpSocket::from_std(socket).expect("a bound socket");
    let ctx = nexus_async_rt::WorldCtx::current();
    let mut datagram = Datagram::default();
    loop {
        socket.recv_from(&mut datagram).await.expect("loopback does not fail");
        let goes_on = ctx.with_world(|world| world.resource_mut::<NexusSeen>().0.see(datagram));
        if !goes_on {
            return ctx.with_world(|world| {
                let seen = &mut world.resource_mut::<NexusSeen>().0;
                let empty = Seen::new(seen.epoch, 0);
                std::mem::replace(seen, empty)
            });
        }
    }
}

/// What users of bevy build: a tokio thread receives, a channel carries, a system of an app that runs
/// without a pause drains it.
pub(super) fn pair_free_running(socket: UdpSocket, seen: Seen) -> Seen {
    pair(socket, seen, ScheduleRunnerPlugin { run_mode: bevy_app::RunMode::Loop { wait: None } })
}

/// The same in an app of 1,000 frames a second.
pub(super) fn pair_at_1_khz(socket: UdpSocket, seen: Seen) -> Seen {
    pair(socket, seen, ScheduleRunnerPlugin::run_loop(Duration::from_millis(1)))
}

/// What the tokio thread sends to the app.
struct Incoming {
    datagrams: mpsc::Receiver<Datagram>,
    seen: mpsc::SyncSender<Seen>,
}

fn pair(socket: UdpSocket, seen: Seen, runner: ScheduleRunnerPlugin) -> Seen {
    let (to_app, datagrams) = mpsc::channel();
    let (to_caller, result) = mpsc::sync_channel(1);
    let tokio = thread::spawn(move || {
        // A thread inherits its parent's core, and this one must not wait for the app's.
        spread();
        receive(socket, &to_app);
    });
    let mut app = App::new();
    app.add_plugins(runner).insert_resource(seen).add_systems(Update, drain);
    app.world_mut().insert_non_send(Incoming { datagrams, seen: to_caller });
    app.run();
    tokio.join().expect("the tokio thread ends with the pass");
    result.recv().expect("the app ends after it has sent the result")
}

/// Moves this thread away from the app's core.
fn spread() {
    if let Some(core) = core_affinity::get_core_ids().unwrap_or_default().first() {
        core_affinity::set_for_current(*core);
    }
}

fn receive(socket: UdpSocket, to_app: &mpsc::Sender<Datagram>) {
    socket.set_nonblocking(true).expect("a socket can be made not to block");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio's I/O driver needs an epoll and an eventfd descriptor");
    runtime.block_on(async {
        let socket = tokio::net::UdpSocket::from_std(socket).expect("a bound socket");
        let mut datagram = Datagram::default();
        loop {
            socket.recv(&mut datagram).await.expect("loopback does not fail");
            if to_app.send(datagram).is_err() || u64::from_le_bytes(datagram) == super::END {
                return;
            }
        }
    });
}

fn drain(
    incoming: NonSendMut<'_, Incoming>,
    mut seen: ResMut<'_, Seen>,
    mut exit: MessageWriter<'_, AppExit>,
) {
    for datagram in incoming.datagrams.try_iter() {
        if !seen.see(datagram) {
            let empty = Seen::new(seen.epoch, 0);
            let seen = std::mem::replace(&mut *seen, empty);
            incoming.seen.send(seen).expect("the caller waits for the end of the app");
            exit.write(AppExit::Success);
            return;
        }
    }
}
