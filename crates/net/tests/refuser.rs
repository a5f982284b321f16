//! What a client meets at an address that has just left a host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mmm_net::{Addresses, Error, Refuser};
use rustix::thread::CapabilitySet;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use support::{Peer, drop_capability, enter_own_namespace, ip, run, wait_until};
use tokio::net::TcpListener;

const VIPS: [&str; 2] = ["10.99.0.30", "fd99::30"];
const PORT: u16 = 3306;
const LONG: Duration = Duration::from_secs(20);
/// Shorter than the second after which a client's kernel repeats its SYN.
const SHORT: Duration = Duration::from_millis(400);

/// Two hosts: this one can hold `vip`, and the peer, the client, takes it for the holder for ever.
struct Scene {
    client: Arc<Peer>,
    addresses: Addresses,
    vip: IpAddr,
}

impl Scene {
    /// This host holds the address and listens there.
    async fn serving(client: &Arc<Peer>, vip: &str) -> (Self, TcpListener) {
        let vip: IpAddr = vip.parse().unwrap();
        let (addresses, _changes) = Addresses::open().unwrap();
        addresses.add("left", vip, None).await.unwrap();
        let link = ip("-brief link show dev left");
        let hardware = link.split_whitespace().nth(2).unwrap().to_owned();
        client.run(move || ip(&format!("neigh replace {vip} lladdr {hardware} dev right nud permanent")));
        let scene = Self { client: Arc::clone(client), addresses, vip };
        scene.meet().await;
        (scene, TcpListener::bind((vip, PORT)).await.unwrap())
    }

    /// The first packets between two hosts that have just been joined may get lost while they find each other.
    async fn meet(&self) {
        let meeting = TcpListener::bind((self.vip, 0)).await.unwrap();
        let address = meeting.local_addr().unwrap();
        let connect = move || TcpStream::connect_timeout(&address, SHORT).is_ok();
        wait_until("the hosts have met", || self.client.run(connect));
    }

    fn refuser(&self) -> Refuser {
        Refuser::prepare("left", self.vip).unwrap()
    }

    async fn remove(&self) {
        self.addresses.remove("left", self.vip).await.unwrap();
    }

    /// Lets the client work while this host goes on.
    async fn client<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let client = Arc::clone(&self.client);
        tokio::task::spawn_blocking(move || client.run(job)).await.unwrap()
    }

    /// How the client's attempt to connect ended, and after how long.
    async fn connect(&self) -> (Result<TcpStream, ErrorKind>, Duration) {
        let address = SocketAddr::new(self.vip, PORT);
        self.client(move || {
            let began = Instant::now();
            let outcome = TcpStream::connect_timeout(&address, SHORT);
            (outcome.map_err(|error| error.kind()), began.elapsed())
        })
        .await
    }

    async fn connect_in_vain(&self) -> ErrorKind {
        self.connect().await.0.expect_err("nobody serves there")
    }
}

/// Runs a test once for each IP version, between two hosts of its own.
fn for_each_vip(test: impl AsyncFn(Scene, TcpListener)) {
    for vip in VIPS {
        let client = Arc::new(Peer::connected());
        run(async {
            let (scene, listener) = Scene::serving(&client, vip).await;
            test(scene, listener).await;
        });
    }
}

#[test]
fn connecting_to_an_address_that_has_just_left_is_refused_at_once() {
    for_each_vip(async |scene, _listener| {
        let refuser = scene.refuser();
        scene.remove().await;
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        let mut took = Vec::new();
        for _ in 0..20 {
            let (outcome, after) = scene.connect().await;
            assert_eq!(outcome.expect_err("nobody serves there"), ErrorKind::ConnectionRefused);
            took.push(after);
        }
        took.sort();
        // The median, since a busy machine may keep a single one waiting.
        assert!(took[10] < Duration::from_millis(50), "{took:?}");
        refusing.abort();
    });
}

#[test]
fn without_a_refuser_connecting_to_an_address_that_has_left_gets_no_answer() {
    for_each_vip(async |scene, _listener| {
        scene.remove().await;
        assert_eq!(scene.connect_in_vain().await, ErrorKind::TimedOut);
    });
}

#[test]
fn a_connection_to_an_address_that_has_left_is_reset_when_it_is_used() {
    for_each_vip(async |scene, listener| {
        let mut stream = scene.connect().await.0.unwrap();
        let (_accepted, _) = listener.accept().await.unwrap();
        let refuser = scene.refuser();
        scene.remove().await;
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        let (error, took) = scene
            .client(move || {
                stream.set_read_timeout(Some(LONG)).unwrap();
                let asked = Instant::now();
                stream.write_all(b"SELECT 1").unwrap();
                (stream.read(&mut [0]).unwrap_err().kind(), asked.elapsed())
            })
            .await;
        assert_eq!(error, ErrorKind::ConnectionReset);
        assert!(took < SHORT, "{took:?}");
        refusing.abort();
    });
}

#[test]
fn a_refuser_that_only_got_ready_answers_nothing_and_lets_a_held_address_serve() {
    for_each_vip(async |scene, listener| {
        let refuser = scene.refuser();
        let mut stream = scene.connect().await.0.expect("the address is served");
        let (accepted, _) = listener.accept().await.unwrap();
        accepted.writable().await.unwrap();
        accepted.try_write(b"!").unwrap();
        scene.client(move || stream.read_exact(&mut [0]).unwrap()).await;
        scene.remove().await;
        assert_eq!(scene.connect_in_vain().await, ErrorKind::TimedOut);
        drop(refuser);
    });
}

#[test]
fn other_addresses_of_the_host_go_on_serving() {
    for_each_vip(async |scene, _listener| {
        let refuser = scene.refuser();
        scene.remove().await;
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        assert_eq!(scene.connect_in_vain().await, ErrorKind::ConnectionRefused);
        let own = if scene.vip.is_ipv4() { "10.99.0.1" } else { "fd99::1" };
        let listener = TcpListener::bind((own, PORT)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = scene.client(move || TcpStream::connect_timeout(&address, SHORT)).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        accepted.writable().await.unwrap();
        accepted.try_write(b"!").unwrap();
        scene.client(move || stream.read_exact(&mut [0]).unwrap()).await;
        refusing.abort();
    });
}

#[test]
fn dropping_it_ends_the_refusal() {
    for_each_vip(async |scene, _listener| {
        let refuser = scene.refuser();
        scene.remove().await;
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        assert_eq!(scene.connect_in_vain().await, ErrorKind::ConnectionRefused);
        refusing.abort();
        assert!(refusing.await.unwrap_err().is_cancelled());
        assert_eq!(scene.connect_in_vain().await, ErrorKind::TimedOut);
    });
}

#[test]
fn it_ends_by_itself_when_its_time_is_over() {
    for_each_vip(async |scene, _listener| {
        let refuser = scene.refuser();
        scene.remove().await;
        let began = Instant::now();
        refuser.refuse_for(SHORT).await;
        assert!(began.elapsed() >= SHORT);
        assert_eq!(scene.connect_in_vain().await, ErrorKind::TimedOut);
    });
}

#[test]
fn it_outlives_its_interface_going_down_and_up() {
    for_each_vip(async |scene, _listener| {
        let refuser = scene.refuser();
        scene.remove().await;
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        assert_eq!(scene.connect_in_vain().await, ErrorKind::ConnectionRefused);
        ip("link set left down");
        tokio::task::yield_now().await;
        ip("link set left up");
        let deadline = Instant::now() + LONG;
        while scene.connect_in_vain().await != ErrorKind::ConnectionRefused {
            assert!(Instant::now() < deadline && !refusing.is_finished());
        }
        refusing.abort();
    });
}

/// A TCP segment from the client to the IPv4 address, without data; the kernel adds the checksum of the IP header.
fn packet(from_port: u8, protocol: u8, flags: u8, fragment: u8) -> [u8; 40] {
    let mut packet = [0; 40];
    packet[0] = 0x45;
    packet[6] = fragment;
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..20].copy_from_slice(&[10, 99, 0, 2, 10, 99, 0, 30]);
    packet[21] = from_port;
    packet[22..24].copy_from_slice(&PORT.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = flags;
    packet
}

#[test]
fn answered_are_requests_since_it_got_ready_then_whole_segments_of_every_kind_but_resets() {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    const MORE_FRAGMENTS: u8 = 0x20;
    let client = Arc::new(Peer::connected());
    run(async {
        let (scene, _listener) = Scene::serving(&client, VIPS[0]).await;
        let refuser = scene.refuser();
        scene.remove().await;
        let raw = client.run(|| raw_tcp(Domain::IPV4));
        raw.set_header_included_v4(true).unwrap();
        let address = SockAddr::from(SocketAddr::new(scene.vip, 0));
        let send = |packet: [u8; 40]| raw.send_to(&packet, &address).unwrap();
        send(packet(1, TCP, ACK, 0));
        send(packet(2, TCP, SYN | ACK, 0));
        send(packet(3, TCP, SYN, 0));
        let refusing = tokio::spawn(refuser.refuse_for(LONG));
        send(packet(4, UDP, SYN, 0));
        send(packet(5, TCP, RST, 0));
        send(packet(6, TCP, SYN, MORE_FRAGMENTS));
        send(packet(7, TCP, ACK, 0));
        send(packet(8, TCP, SYN, 0));
        // They are dealt with in order, so with the answer to the last all others have come.
        let answered = scene
            .client(move || {
                let mut answered = Vec::new();
                while answered.last().is_none_or(|(port, _)| *port != 8) {
                    answered.push(next_answer(&raw, 20));
                }
                answered
            })
            .await;
        assert_eq!(answered, [(3, RST | ACK), (7, RST), (8, RST | ACK)]);
        refusing.abort();
    });
}

/// Receives all TCP segments that the client receives.
fn raw_tcp(domain: Domain) -> Socket {
    let raw = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).unwrap();
    raw.set_read_timeout(Some(LONG)).unwrap();
    raw
}

/// The low byte of the client's port, and the flags, of the next segment from the service.
fn next_answer(mut raw: &Socket, ip_header: usize) -> (u8, u8) {
    loop {
        let mut packet = [0; 128];
        let length = raw.read(&mut packet).unwrap();
        let segment = &packet[ip_header..length];
        if segment[..2] == PORT.to_be_bytes() {
            return (segment[3], segment[13]);
        }
    }
}

#[test]
fn a_connection_accepted_while_it_got_ready_survives_the_late_refusal_of_its_request() {
    for_each_vip(async |scene, listener| {
        let refuser = scene.refuser();
        let mut stream = scene.connect().await.0.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let domain = Domain::for_address(SocketAddr::new(scene.vip, 0));
        let header = if scene.vip.is_ipv4() { 20 } else { 0 };
        let first_answer = {
            let raw = scene.client(move || raw_tcp(domain)).await;
            scene.client(move || next_answer(&raw, header).1)
        };
        // The address is still here, which is why the connection can show that it lives. Nothing moves on it while
        // segments are refused.
        let flags = tokio::select! {
            flags = first_answer => flags,
            () = refuser.refuse_for(LONG) => panic!("the request was not refused"),
        };
        assert_eq!(flags, 0x14, "RST and ACK");
        accepted.writable().await.unwrap();
        accepted.try_write(b"!").unwrap();
        scene.client(move || stream.read_exact(&mut [0]).unwrap()).await;
    });
}

#[test]
fn getting_ready_on_what_is_no_link_to_neighbours_says_so() {
    enter_own_namespace();
    ip("link add eth0 type veth peer name other");
    run(async {
        let vip = VIPS[0].parse().unwrap();
        let error = Refuser::prepare("lo", vip).unwrap_err();
        assert!(matches!(error, Error::NoNeighbours { .. }), "{error}");
        let error = Refuser::prepare("eth7", vip).unwrap_err();
        assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
        drop_capability(CapabilitySet::NET_RAW);
        let error = Refuser::prepare("eth0", vip).unwrap_err();
        assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
    });
}
