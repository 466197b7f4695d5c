//! The options of a [`UdpSocket`].
#![forbid(unsafe_code)]

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use socket2::SockRef;

use super::UdpSocket;

/// Options.
impl UdpSocket {
    /// Takes the error that the system keeps for this socket, if there is one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.source().take_error()
    }

    /// How many hops a datagram may take (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UdpSocket};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    ///     socket.set_ttl(32)?;
    ///     assert_eq!(socket.ttl()?, 32);
    ///     socket.set_broadcast(true)?;
    ///     assert!(socket.broadcast()?);
    ///     socket.set_multicast_ttl_v4(2)?;
    ///     assert_eq!(socket.multicast_ttl_v4()?, 2);
    ///     socket.set_multicast_loop_v4(false)?;
    ///     assert!(!socket.multicast_loop_v4()?);
    ///     socket.set_send_buffer_size(64 << 10)?;
    ///     socket.set_recv_buffer_size(64 << 10)?;
    ///     assert!(socket.send_buffer_size()? >= 64 << 10);
    ///     assert!(socket.recv_buffer_size()? >= 64 << 10);
    ///     assert!(socket.take_error()?.is_none());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.source().ttl()
    }

    /// Sets how many hops a datagram may take (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_ttl(ttl)
    }

    /// Whether it may send to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.io.source().broadcast()
    }

    /// Sets whether it may send to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.io.source().set_broadcast(broadcast)
    }

    /// Receives what is sent to the group `multiaddr`, on the interface that has the address `interface`;
    /// `0.0.0.0` lets the system choose one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UdpSocket};
    /// use std::net::Ipv4Addr;
    ///
    /// let group = Ipv4Addr::new(239, 0, 0, 1);
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap())?;
    ///     // A machine without a network has no interface to join on.
    ///     if socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED).is_ok() {
    ///         socket.leave_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?;
    ///     }
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.source().join_multicast_v4(&multiaddr, &interface)
    }

    /// Leaves a group that [`join_multicast_v4`](Self::join_multicast_v4) joined.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.source().leave_multicast_v4(&multiaddr, &interface)
    }

    /// Receives what is sent to the group `multiaddr`, on the interface of this number; 0 lets the system
    /// choose one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, net::UdpSocket};
    ///
    /// let group = "ff02::1234".parse().unwrap();
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let Ok(socket) = UdpSocket::bind("[::]:0".parse().unwrap()) else {
    ///         return Ok(()); // A machine without IPv6.
    ///     };
    ///     if socket.join_multicast_v6(&group, 0).is_ok() {
    ///         socket.leave_multicast_v6(&group, 0)?;
    ///     }
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.source().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group that [`join_multicast_v6`](Self::join_multicast_v6) joined.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.source().leave_multicast_v6(multiaddr, interface)
    }

    /// Whether what it sends to an IPv4 group comes back to this machine (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.io.source().multicast_loop_v4()
    }

    /// Sets whether what it sends to an IPv4 group comes back to this machine (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.io.source().set_multicast_loop_v4(on)
    }

    /// How many hops a datagram to an IPv4 group may take (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.io.source().multicast_ttl_v4()
    }

    /// Sets how many hops a datagram to an IPv4 group may take (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_multicast_ttl_v4(ttl)
    }

    /// The size of the system's send buffer in bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self).send_buffer_size()
    }

    /// Asks for a send buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_send_buffer_size(&self, size: usize) -> io::Result<()> {
        SockRef::from(self).set_send_buffer_size(size)
    }

    /// The size of the system's receive buffer in bytes. Datagrams beyond it are lost.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self).recv_buffer_size()
    }

    /// Asks for a receive buffer of `size` bytes. Linux takes twice the number and bounds it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, size: usize) -> io::Result<()> {
        SockRef::from(self).set_recv_buffer_size(size)
    }
}
