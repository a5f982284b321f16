//! Dead peers, as a guarded connection sees them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use mmm_net::guard;
use support::{Peer, ip, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// Connects to the peer, then has the peer drop all packets without a word; returns after how long reading ended.
fn time_to_notice(send_something: bool) -> Duration {
    let peer = Peer::connected();
    let listener = peer.run(|| std::net::TcpListener::bind("10.99.0.2:7000").unwrap());
    // The neighbour entry must stay, or the missing ARP answer would give the peer away.
    let hardware =
        peer.run(|| ip("-brief link show dev right")).split_whitespace().nth(2).unwrap().to_owned();
    ip(&format!("neigh replace 10.99.0.2 lladdr {hardware} dev left nud permanent"));
    run(async {
        let mut stream = TcpStream::connect("10.99.0.2:7000").await.unwrap();
        let _accepted = listener.accept().unwrap();
        guard(&stream, 2 * SECOND).unwrap();
        peer.run(|| {
            ip("addr flush dev right");
        });
        let cut = Instant::now();
        if send_something {
            stream.write_all(b"anybody?").await.unwrap();
        }
        let read = timeout(10 * SECOND, stream.read_u8()).await.expect("it is noticed");
        assert!(read.is_err());
        cut.elapsed()
    })
}

#[test]
fn an_idle_connection_to_a_dead_peer_ends_soon() {
    let took = time_to_notice(false);
    assert!(took < 4 * SECOND, "{took:?}");
}

#[test]
fn a_connection_with_data_on_the_way_to_a_dead_peer_ends_soon() {
    let took = time_to_notice(true);
    assert!(took > SECOND && took < 4 * SECOND, "{took:?}");
}

#[test]
fn no_time_at_all_is_refused_since_the_kernel_would_take_it_for_no_limit() {
    support::enter_own_namespace();
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(guard(&stream, Duration::ZERO).is_err());
        assert!(guard(&stream, Duration::from_millis(1)).is_ok());
    });
}
