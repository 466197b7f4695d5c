//! Which types stay on their thread, and which may leave it: neither `Send` nor `Sync` is what must not
//! compile on another thread, and losing one that is promised breaks a program that relies on it.

use std::marker::PhantomData;

use bevy_ecs::prelude::*;
use onbeat::{
    BeforeStage, CancellationToken, Cancelled, Despawned, DropGuard, Elapsed, EntityChanged,
    EntityCtx, EntityOccurrence, ExternalWork, Handle, Interval, IoHandle, Join, JoinError,
    JoinHandle, MessageReceiver, NextTick, Occurrence, Params, QuiesceTimeout, RemoteJoin,
    ResChanged, Runtime, RuntimeBuilder, ShutdownHandle, ShutdownSignal, SlabClaim, Sleep, Stats,
    TaskInfo, TaskKey, Tasks, TickError, TickRequest, TickStats, TickTime, Ticks, Timeout, Until,
    VirtualClock, WorldCtx, YieldNow,
    channel::{local, mpsc, mpsc_bytes, spsc, spsc_bytes},
    net::{
        OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpListener, TcpSocket, TcpStream, UdpSocket,
        UnixDatagram, UnixListener, UnixStream, WriteHalf,
    },
    scope::{Budget, Child, Scope},
};

/// Has constants of its own for types that have the trait, which come before those of [`Not`].
struct Of<T>(PhantomData<T>);

trait Not {
    const SEND: bool = false;
    const SYNC: bool = false;
}

impl<T> Not for Of<T> {}

impl<T: Send> Of<T> {
    const SEND: bool = true;
}

impl<T: Sync> Of<T> {
    const SYNC: bool = true;
}

/// The names of those types whose `(Send, Sync)` is not `$expected`.
macro_rules! others_than {
    ($expected:expr; $($type:ty),* $(,)?) => {{
        let all = [$((stringify!($type), (Of::<$type>::SEND, Of::<$type>::SYNC))),*];
        let others: Vec<_> = all.into_iter().filter(|(_, is)| *is != $expected).collect();
        others
    }};
}

const NONE: [(&str, (bool, bool)); 0] = [];

#[derive(Component)]
struct Part;

#[derive(Resource)]
struct Thing;

#[derive(Event)]
struct Happened;

#[derive(Message)]
struct Told;

type Ready = std::future::Ready<()>;

#[test]
fn a_type_has_what_it_is_found_to_have() {
    assert_eq!(others_than!((true, true); u8, &str), NONE);
    assert_eq!(others_than!((true, false); std::cell::Cell<u8>), NONE);
    assert_eq!(others_than!((false, true); std::sync::MutexGuard<'static, u8>), NONE);
    assert_eq!(others_than!((false, false); std::rc::Rc<u8>, *const u8), NONE);
    assert_eq!(others_than!((false, false); u8), [("u8", (true, true))]);
}

#[test]
fn what_belongs_to_a_runtime_stays_on_its_thread() {
    let others = others_than!((false, false);
        Runtime<'static>, RuntimeBuilder<'static>, VirtualClock,
        JoinHandle<u8>, Join<u8>, SlabClaim, SlabClaim<64>,
        Sleep, Timeout<Ready>, Interval, Budget,
        WorldCtx, EntityCtx, Params<Res<'static, Thing>>, NextTick, Ticks, BeforeStage,
        Until<fn(&mut World) -> Option<()>, ()>, MessageReceiver<Told>, ResChanged<Thing>,
        Occurrence<Happened>, EntityOccurrence<Happened>, Despawned, EntityChanged<Part>,
        Scope<'static>, Child<u8>, Tasks,
    );
    assert_eq!(others, NONE);
}

#[test]
fn sockets_stay_on_the_thread_of_their_runtime() {
    let others = others_than!((false, false);
        IoHandle, TcpListener, TcpStream, ReadHalf<'static>, WriteHalf<'static>,
        OwnedReadHalf, OwnedWriteHalf, UdpSocket, UnixDatagram, UnixListener,
        UnixStream,
    );
    assert_eq!(others, NONE);
}

#[test]
fn ends_of_local_channels_stay_on_their_thread() {
    let others = others_than!((false, false);
        local::Sender<u8>, local::Receiver<u8>, local::Sending<'static, u8>,
        local::Receiving<'static, u8>, local::ReceivingMany<'static, u8>,
    );
    assert_eq!(others, NONE);
}

#[test]
fn ends_of_channels_between_threads_go_to_any_thread() {
    let others = others_than!((true, true);
        spsc::Sender<u8>, spsc::Receiver<u8>, mpsc::Sender<u8>, mpsc::Receiver<u8>,
        spsc_bytes::Sender, spsc_bytes::Receiver, mpsc_bytes::Sender, mpsc_bytes::Receiver,
        // What cannot be shared is not borrowed either.
        spsc::Sender<std::cell::Cell<u8>>, mpsc::Sender<std::cell::Cell<u8>>,
    );
    assert_eq!(others, NONE);
}

#[test]
fn channels_carry_to_another_thread_what_may_go_there() {
    type Stays = std::rc::Rc<u8>;
    let others = others_than!((false, false);
        spsc::Sender<Stays>, spsc::Receiver<Stays>, mpsc::Sender<Stays>, mpsc::Receiver<Stays>,
        RemoteJoin<Stays>,
    );
    assert_eq!(others, NONE);
}

#[test]
fn what_other_threads_use_goes_to_any_thread() {
    let others = others_than!((true, true);
        Handle, ShutdownHandle, ShutdownSignal, ExternalWork, RemoteJoin<u8>,
        CancellationToken, Cancelled, DropGuard, YieldNow, TcpSocket,
        TaskKey, TaskInfo, QuiesceTimeout, TickError, Elapsed,
        Stats, TickStats, TickTime, TickRequest,
    );
    assert_eq!(others, NONE);
    assert_eq!(others_than!((true, false); JoinError), NONE);
}
