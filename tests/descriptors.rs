//! Descriptors that are no sockets: pipes, eventfds, files.

mod common;

use std::{
    cell::Cell,
    fs::File,
    io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    thread,
};

use bevy_ecs::world::World;
use common::{block_on, parked_and_busy};
use onbeat::{IoHandle, Runtime, net::AsyncFd, spawn_boxed, yield_now};

fn pipe() -> (AsyncFd<PipeReader>, AsyncFd<PipeWriter>) {
    let (reader, writer) = io::pipe().unwrap();
    (AsyncFd::new(reader).unwrap(), AsyncFd::new(writer).unwrap())
}

async fn read(pipe: &AsyncFd<PipeReader>) -> Vec<u8> {
    let mut buf = [0; 64];
    let count = pipe.read_with(|mut pipe| pipe.read(&mut buf)).await.unwrap();
    buf[..count].to_vec()
}

#[test]
fn a_thread_that_writes_into_a_pipe_wakes_the_task_that_reads_it() {
    parked_and_busy(|| async {
        let (reader, mut writer) = io::pipe().unwrap();
        let reader = AsyncFd::new(reader).unwrap();
        let thread = thread::spawn(move || writer.write_all(b"fill").unwrap());
        assert_eq!(read(&reader).await, b"fill");
        thread.join().unwrap();
        assert_eq!(read(&reader).await, b"", "the writer has gone");
    });
}

#[test]
fn each_write_to_an_eventfd_is_an_event() {
    use rustix::event::{EventfdFlags, eventfd};
    parked_and_busy(|| async {
        let event = AsyncFd::new(eventfd(0, EventfdFlags::empty()).unwrap()).unwrap();
        let other = event.as_fd().try_clone_to_owned().unwrap();
        let (go, wait) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            while let Ok(number) = wait.recv() {
                let number: u64 = number;
                rustix::io::write(&other, &number.to_ne_bytes()).unwrap();
            }
        });
        for number in 1..=20_u64 {
            go.send(number).unwrap();
            let mut count = [0; 8];
            event.read_with(|fd| Ok(rustix::io::read(fd, &mut count)?)).await.unwrap();
            assert_eq!(u64::from_ne_bytes(count), number);
        }
        drop(go);
        thread.join().unwrap();
    });
}

#[test]
fn a_full_pipe_is_waited_for() {
    block_on(async {
        let (reader, writer) = pipe();
        let chunk = [7; 4096];
        let mut written = 0;
        while let Ok(count) = writer.try_write_with(|mut pipe| pipe.write(&chunk)) {
            written += count;
        }
        let more =
            spawn_boxed(
                async move { writer.write_with(|mut pipe| pipe.write(&chunk)).await.unwrap() },
            );
        yield_now().await;
        assert!(!more.is_finished(), "there is no room");
        let mut taken = 0;
        while taken < written {
            let mut buf = [0; 4096];
            taken += reader.read_with(|mut pipe| pipe.read(&mut buf)).await.unwrap();
        }
        assert_eq!(more.await, 4096);
    });
}

#[test]
fn two_tasks_that_read_one_descriptor_are_both_woken() {
    block_on(async {
        let (reader, writer) = pipe();
        let (reader, seen) = (Rc::new(reader), Rc::new(Cell::new(0)));
        let tasks = [(); 2].map(|()| {
            let (reader, seen) = (reader.clone(), seen.clone());
            spawn_boxed(async move {
                let mut buf = [0; 1];
                reader.read_with(|mut pipe| pipe.read(&mut buf)).await.unwrap();
                seen.set(seen.get() + 1);
            })
        });
        yield_now().await;
        writer.write_with(|mut pipe| pipe.write(b"ab")).await.unwrap();
        for task in tasks {
            task.await;
        }
        assert_eq!(seen.get(), 2);
    });
}

#[test]
fn a_regular_file_is_refused_with_what_to_do() {
    block_on(async {
        let file = File::open("Cargo.toml").unwrap();
        let sources = IoHandle::current().source_count();
        let error = AsyncFd::new(file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("on another thread"), "{error}");
        assert_eq!(IoHandle::current().source_count(), sources, "nothing is left of it");
    });
}

#[test]
fn the_descriptor_does_not_block_and_comes_back_open() {
    block_on(async {
        let (here, mut there) = UnixStream::pair().unwrap();
        let sources = IoHandle::current().source_count();
        let fd = AsyncFd::new(here).unwrap();
        let error = fd.try_read_with(|mut stream| stream.read(&mut [0; 8])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(IoHandle::current().source_count(), sources + 1);
        let mut here = fd.into_inner();
        assert_eq!(IoHandle::current().source_count(), sources);
        there.write_all(b"end").unwrap();
        let mut buf = [0; 3];
        here.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"end");
    });
}

/// Says another descriptor than it was registered with.
struct Fickle {
    both: [Rc<PipeReader>; 2],
    at: Cell<usize>,
}

impl AsFd for Fickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both[self.at.get()].as_fd()
    }
}

#[test]
fn one_that_changes_its_descriptor_takes_no_event_from_another() {
    block_on(async {
        let (other, _open) = io::pipe().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let reader = Rc::new(reader);
        let both = [Rc::new(other), reader.clone()];
        let fickle = AsyncFd::new(Fickle { both, at: Cell::new(0) }).unwrap();
        let reader = AsyncFd::new(reader).unwrap();
        let task = spawn_boxed(async move {
            let mut buf = [0; 8];
            reader.read_with(|pipe| (&**pipe).read(&mut buf)).await
        });
        yield_now().await;
        fickle.get_ref().at.set(1);
        drop(fickle);
        (&writer).write_all(b"ask").unwrap();
        assert_eq!(task.await.unwrap(), 3);
    });
}

#[test]
fn it_may_outlive_its_runtime() {
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let (reader, writer) = rt.block_on(async { pipe() });
    drop(rt);
    let error = writer.try_write_with(|mut pipe| pipe.write(b"late")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert_eq!(reader.try_read_with(|_| Ok(())).unwrap_err().kind(), ErrorKind::Other);
    let mut pipe = writer.into_inner();
    pipe.write_all(b"late").unwrap();
    drop(pipe);
    let mut text = String::new();
    reader.into_inner().read_to_string(&mut text).unwrap();
    assert_eq!(text, "late");
}
