//! What becomes of connections to an address that is about to leave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use mmm_net::{Addresses, Error, Refuser, end_connections};
use rustix::thread::CapabilitySet;
use socket2::{Domain, Socket, Type};
use support::{Peer, drop_capability, ip, run, wait_until};

const PORT: u16 = 3306;
/// Far longer than a reset takes, far shorter than a client would wait for a server that is gone.
const SOON: Duration = Duration::from_secs(2);
/// Far longer than a reset takes, too.
const SHORT: Duration = Duration::from_millis(300);

/// Two hosts: this one has the address, the peer is the client.
struct Scene {
    client: Peer,
    vip: IpAddr,
    listener: TcpListener,
}

impl Scene {
    /// This host listens at `bound`, and so at `vip`.
    fn new(vip: &str, bound: IpAddr) -> Self {
        let client = Peer::connected();
        let vip: IpAddr = vip.parse().unwrap();
        ip(&format!("addr add {vip} dev left{}", if vip.is_ipv6() { " nodad" } else { "" }));
        let listener = listen(bound);
        let meeting = SocketAddr::new(vip, PORT);
        wait_until("the hosts have met", || {
            client.run(move || TcpStream::connect_timeout(&meeting, SOON).is_ok())
        });
        drop(listener.accept().unwrap());
        wait_until("the first connection is gone", || run(end_connections(vip)).unwrap() == 0);
        Self { client, vip, listener }
    }

    fn connect_to(&self, ip: IpAddr) -> TcpStream {
        let address = SocketAddr::new(ip, PORT);
        self.client.run(move || {
            let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
        })
    }

    fn connect(&self) -> TcpStream {
        self.connect_to(self.vip)
    }

    fn end_all(&self) -> usize {
        run(end_connections(self.vip)).unwrap()
    }
}

/// A listener that takes IPv4 clients too if it is bound to `::`.
fn listen(ip: IpAddr) -> TcpListener {
    let address = SocketAddr::new(ip, PORT);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    if ip.is_ipv6() {
        socket.set_only_v6(ip != Ipv6Addr::UNSPECIFIED).unwrap();
    }
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

/// Runs a test for IPv4, IPv6, and both through a listener for both.
fn for_each_scene(test: impl Fn(Scene)) {
    for (vip, bound) in [
        ("10.99.0.30", "10.99.0.30"),
        ("fd99::30", "fd99::30"),
        ("10.99.0.30", "0.0.0.0"),
        ("10.99.0.30", "::"),
        ("fd99::30", "::"),
    ] {
        println!("address {vip}, listener at {bound}");
        test(Scene::new(vip, bound.parse().unwrap()));
    }
}

fn outcome(mut client: TcpStream) -> ErrorKind {
    client.read(&mut [0]).unwrap_err().kind()
}

#[test]
fn a_client_that_sends_nothing_is_reset_even_if_the_address_leaves_at_once() {
    for_each_scene(|scene| {
        let client = scene.connect();
        let (mut accepted, _) = scene.listener.accept().unwrap();
        assert_eq!(scene.end_all(), 1);
        ip(&format!("addr flush dev left to {}", scene.vip));
        assert_eq!(outcome(client), ErrorKind::ConnectionReset);
        assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn left_alone_such_a_client_learns_nothing_of_the_leaving_address() {
    for_each_scene(|scene| {
        let client = scene.connect();
        let (_accepted, _) = scene.listener.accept().unwrap();
        ip(&format!("addr flush dev left to {}", scene.vip));
        client.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(outcome(client), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_client_that_no_program_has_accepted_yet_is_reset_too() {
    for_each_scene(|scene| {
        let client = scene.connect();
        assert_eq!(scene.end_all(), 1);
        assert_eq!(outcome(client), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_connection_that_waits_for_the_last_step_of_its_making_is_ended_too() {
    for_each_scene(|scene| {
        // The answer to the client's request goes astray.
        let peer_ip = if scene.vip.is_ipv4() { "10.99.0.2" } else { "fd99::2" };
        ip(&format!("neigh replace {peer_ip} lladdr 02:00:00:00:00:99 dev left nud permanent"));
        let address = SocketAddr::new(scene.vip, PORT);
        let socket = scene.client.run(move || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(&address.into()).unwrap_err();
            socket
        });
        wait_until("the half-made connection is ended", || scene.end_all() == 1);
        drop(socket);
    });
}

#[test]
fn a_client_with_an_answer_on_the_way_is_reset() {
    for_each_scene(|scene| {
        let mut client = scene.connect();
        let (mut accepted, _) = scene.listener.accept().unwrap();
        client.write_all(b"unread request").unwrap();
        accepted.write_all(b"greeting").unwrap();
        assert_eq!(scene.end_all(), 1);
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn the_listener_stays_and_accepts_again() {
    for_each_scene(|scene| {
        let _first = scene.connect();
        let (_accepted, _) = scene.listener.accept().unwrap();
        assert_eq!(scene.end_all(), 1);
        let mut second = scene.connect();
        let (mut accepted, _) = scene.listener.accept().unwrap();
        accepted.write_all(b"!").unwrap();
        second.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn connections_to_other_addresses_of_this_host_stay() {
    for (vip, own) in [("10.99.0.30", "10.99.0.1"), ("fd99::30", "fd99::1"), ("10.99.0.30", "fd99::1")] {
        let scene = Scene::new(vip, Ipv6Addr::UNSPECIFIED.into());
        let mut other = scene.connect_to(own.parse().unwrap());
        let (mut accepted, _) = scene.listener.accept().unwrap();
        let ended = scene.connect();
        assert_eq!(scene.end_all(), 1);
        assert_eq!(outcome(ended), ErrorKind::ConnectionReset);
        accepted.write_all(b"!").unwrap();
        other.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn an_address_that_has_stopped_receiving_still_resets_its_clients_and_none_comes_back() {
    for_each_scene(|scene| {
        let address = SocketAddr::new(scene.vip, PORT);
        let mut accepted = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let client = scene.connect();
            accepted.push(scene.listener.accept().unwrap());
            // Each comes back the very moment it is reset.
            let meet = move || {
                let end = outcome(client);
                (end, TcpStream::connect_timeout(&address, SOON).map_err(|error| error.kind()).err())
            };
            clients.push(scene.client.run(move || std::thread::spawn(meet)));
        }
        run(async {
            let (addresses, _changes) = Addresses::open().unwrap();
            let refuser = Refuser::prepare("left", scene.vip).unwrap();
            addresses.stop_receiving("left", scene.vip).await.unwrap();
            let refusing = tokio::spawn(refuser.refuse_for(10 * SOON));
            assert_eq!(end_connections(scene.vip).await.unwrap(), 20);
            addresses.remove("left", scene.vip).await.unwrap();
            for client in clients {
                let met = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
                assert_eq!(met, (ErrorKind::ConnectionReset, Some(ErrorKind::ConnectionRefused)));
            }
            refusing.abort();
        });
        scene.listener.set_nonblocking(true).unwrap();
        assert_eq!(scene.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn an_address_that_has_stopped_receiving_receives_again_once_it_was_removed_and_added() {
    for_each_scene(|scene| {
        let address = SocketAddr::new(scene.vip, PORT);
        let connects = |limit| scene.client.run(move || TcpStream::connect_timeout(&address, limit).is_ok());
        run(async {
            let (addresses, _changes) = Addresses::open().unwrap();
            for _ in 0..2 {
                addresses.stop_receiving("left", scene.vip).await.unwrap();
                assert!(!connects(SHORT));
            }
            addresses.remove("left", scene.vip).await.unwrap();
            addresses
                .stop_receiving("left", scene.vip)
                .await
                .expect("it is fine when it is not there at all");
            addresses.add("left", scene.vip, None).await.unwrap();
            wait_until("it receives again", || connects(SOON));
            let error = addresses.stop_receiving("eth7", scene.vip).await.unwrap_err();
            assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
        });
    });
}

#[test]
fn hundreds_of_connections_are_ended_in_one_call() {
    for_each_scene(|scene| {
        let mut pairs = Vec::new();
        for _ in 0..300 {
            pairs.push((scene.connect(), scene.listener.accept().unwrap()));
        }
        assert_eq!(scene.end_all(), 300);
        for (client, _accepted) in pairs {
            assert_eq!(outcome(client), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn where_there_is_nothing_to_end_nothing_is_ended() {
    for_each_scene(|scene| {
        assert_eq!(scene.end_all(), 0);
        for unknown in ["10.99.0.77", "fd99::77"] {
            assert_eq!(run(end_connections(unknown.parse().unwrap())).unwrap(), 0);
        }
    });
}

#[test]
fn without_the_capability_it_says_which_one_it_needs_and_ends_nothing() {
    let scene = Scene::new("10.99.0.30", Ipv6Addr::UNSPECIFIED.into());
    let mut client = scene.connect();
    let (mut accepted, _) = scene.listener.accept().unwrap();
    drop_capability(CapabilitySet::NET_ADMIN);
    let error = run(end_connections(scene.vip)).unwrap_err();
    assert!(matches!(error, Error::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    accepted.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
}
