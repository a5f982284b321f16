//! The same four nights with every server that people run: killed, stopped, unplugged, moved on purpose. Each ends with both
//! masters replicating from each other, both replicas behind the writer, and the same data on all four.

use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, Judge, Life, M1, M2, Moment, Probe, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, other, quick};
use crate::replicas::REPLICAS;

/// How the masters follow each other.
#[derive(Clone, Copy)]
enum By {
    Gtid,
    /// File and position, with everything else as the server has it by default.
    Position,
    /// File and position, and transactions have no GTIDs at all, as `MySQL` up to 8.0 is by default.
    PositionAlone,
}

fn description(name: &str, flavour: Flavour, by: By) -> Builder {
    let patience = match flavour {
        Flavour::MySql97 => "replica_net_timeout = 4",
        Flavour::MariaDb1011 | Flavour::MariaDb118 | Flavour::MariaDb105 => "slave_net_timeout = 4",
    };
    let builder = quick(name)
        .server(flavour)
        .replicas(2)
        .server_line(patience)
        .append(ConfigFile::Monitor, QUICK_CHECKS);
    match by {
        By::Gtid => builder.gtid(),
        By::Position => builder,
        By::PositionAlone => {
            builder.server_line("gtid_mode = OFF").server_line("enforce_gtid_consistency = OFF")
        }
    }
}

/// A cluster of these servers with rows in it that both masters have. A server that cannot be had fails the test with the word
/// SKIPPED; `make test` asks beforehand and leaves such tests out.
fn cluster(name: &str, flavour: Flavour, by: By) -> Cluster {
    let lab = Cluster::with_replicas(description(name, flavour, by));
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.judge_clean(&probe);
    lab
}

/// Takes the writer away while nobody writes, since replication is asynchronous: what only a lost writer has rightly keeps
/// replication from it held. Clients begin again at once.
fn lose_the_writer(lab: &Cluster, fault: impl FnOnce() -> Moment) -> (Probe, Moment) {
    for host in [M2].iter().chain(&REPLICAS) {
        lab.wait_replicated(M1, host, SOON).unwrap();
    }
    let at = fault();
    let probe = lab.start_probe().unwrap();
    let first = probe.wait_write_by(ID2, at, SOON).unwrap();
    eprintln!("first write on the other after {:?}", first.end - at);
    expect_serves(lab, M2);
    replicas_follow(lab, M2, first.end);
    (probe, at)
}

/// Only this host has the writer's address, and its server takes writes.
fn expect_serves(lab: &Cluster, host: &str) {
    wait_for(&format!("{host} in service as the writer"), SOON, || {
        match (lab.holders(WRITER).unwrap().as_slice(), lab.is_read_only(host).unwrap()) {
            (&[holder], false) if holder == host => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .unwrap();
}

fn replicas_follow(lab: &Cluster, writer: &str, since: Moment) {
    for replica in REPLICAS {
        lab.wait_follows(replica, writer, SOON);
    }
    let took = Moment::now() - since;
    eprintln!("both replicas follow {writer} after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Whether a server's replication finds its place by GTID, whatever its columns are called.
fn goes_by_gtid(lab: &Cluster, host: &str, flavour: Flavour) -> bool {
    let (statement, column, wanted) = match flavour {
        Flavour::MySql97 => ("SHOW REPLICA STATUS", "Auto_Position", "1"),
        _ => ("SHOW SLAVE STATUS", "Using_Gtid", "Slave_Pos"),
    };
    lab.sql(host, statement).unwrap().get(column) == Some(wanted)
}

/// Nothing is lost or doubled, both follow each other without an error, and have the same rows.
fn ends_whole(lab: &Cluster, probe: &Probe, writer: &str, (flavour, by): (Flavour, By)) {
    expect_serves(lab, writer);
    lab.wait_show("all four ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE"))
        .unwrap();
    lab.expect_read_only(other(writer), SOON);
    lab.judge_clean(probe);
    for replica in REPLICAS {
        lab.wait_follows(replica, writer, SOON);
    }
    lab.expect_identical(writer, &[other(writer), REPLICAS[0], REPLICAS[1]]);
    assert_eq!(lab.wait_replicating(writer, SOON).unwrap().last_error, "", "on {writer}");
    for host in [M1, M2].iter().chain(&REPLICAS) {
        let wanted = matches!(by, By::Gtid);
        // A channel by file may have been put on GTID for the time until it has applied something.
        wait_for(&format!("{host} to go by GTID: {wanted}"), SOON, || {
            let now = goes_by_gtid(lab, host, flavour);
            if now == wanted { Ok(()) } else { Err(format!("{now}")) }
        })
        .unwrap();
    }
}

fn killed(flavour: Flavour, by: By) {
    let lab = cluster("fl_killed", flavour, by);
    let (probe, _) = lose_the_writer(&lab, || lab.kill(M1, Program::Server).unwrap());
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(5));
    ends_whole(&lab, &probe, M2, (flavour, by));
}

fn stopped(flavour: Flavour, by: By) {
    let lab = cluster("fl_stopped", flavour, by);
    // Some servers take seconds to stop; clients are not to wait for that.
    let (probe, _) = lose_the_writer(&lab, || {
        let at = Moment::now();
        let told = lab.exec(M1, &["sh", "-c", "kill $(cat /run/mysqld/mysqld.pid)"]).unwrap();
        assert!(told.success(), "{told}");
        at
    });
    wait_for("the end of the old server", Duration::from_mins(1), || match lab.life(M1, Program::Server) {
        Ok(Life::Ended) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    lab.start(M1, Program::Server).unwrap();
    ends_whole(&lab, &probe, M2, (flavour, by));
}

fn unplugged(flavour: Flavour, by: By) {
    let lab = cluster("fl_unplugged", flavour, by);
    let (probe, _) = lose_the_writer(&lab, || lab.unplug(M1).unwrap());
    wait_for("the lost writer closed by itself", SOON, || {
        match (lab.holders(WRITER).unwrap().as_slice(), lab.is_read_only(M1).unwrap()) {
            ([M2], true) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .unwrap();
    lab.replug(M1).unwrap();
    ends_whole(&lab, &probe, M2, (flavour, by));
}

/// There and back, while a client writes.
fn moved(flavour: Flavour, by: By) {
    let lab = cluster("fl_moved", flavour, by);
    let probe = lab.start_probe().unwrap();
    for (to, id) in [(M2, ID2), (M1, ID1)] {
        let began = Moment::now();
        lab.tell(&["move_role", "writer", to]);
        probe.wait_write_by(id, began, SOON).unwrap();
        let gap = Judge::new(&lab, probe.record().unwrap()).gap_after(began).map(|gap| gap.length());
        eprintln!("moved to {to}: no write for {gap:?}");
        expect_serves(&lab, to);
        replicas_follow(&lab, to, Moment::now());
        lab.wait_replicated(to, other(to), SOON).unwrap();
    }
    ends_whole(&lab, &probe, M1, (flavour, by));
}

macro_rules! nights {
    ($($name:ident: $flavour:ident, $by:ident;)*) => {$(
        mod $name {
            use super::{By, Flavour};

            #[test]
            fn a_killed_server_is_replaced() {
                super::killed(Flavour::$flavour, By::$by);
            }

            #[test]
            fn a_server_that_stops_is_replaced() {
                super::stopped(Flavour::$flavour, By::$by);
            }

            #[test]
            fn an_unplugged_writer_is_replaced() {
                super::unplugged(Flavour::$flavour, By::$by);
            }

            #[test]
            fn the_writer_moves_there_and_back() {
                super::moved(Flavour::$flavour, By::$by);
            }
        }
    )*};
}

nights! {
    mysql_9_7_by_gtid: MySql97, Gtid;
    mysql_9_7_by_position: MySql97, Position;
    mysql_9_7_by_position_alone: MySql97, PositionAlone;
    mariadb_11_8_by_gtid: MariaDb118, Gtid;
    mariadb_11_8_by_position: MariaDb118, Position;
    mariadb_10_11_by_gtid: MariaDb1011, Gtid;
    mariadb_10_5_by_gtid: MariaDb105, Gtid;
    mariadb_10_5_by_position: MariaDb105, Position;
}

/// What runs before each change lands: a crash and a move on the server that differs most from the system's own.
#[test]
fn mysql_9_7_loses_its_writer_and_gets_it_back() {
    let lab = cluster("fl_core", Flavour::MySql97, By::Gtid);
    let (probe, _) = lose_the_writer(&lab, || lab.kill(M1, Program::Server).unwrap());
    lab.start(M1, Program::Server).unwrap();
    ends_whole(&lab, &probe, M2, (Flavour::MySql97, By::Gtid));
    let probe = lab.start_probe().unwrap();
    lab.tell(&["move_role", "writer", M1]);
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    ends_whole(&lab, &probe, M1, (Flavour::MySql97, By::Gtid));
}
