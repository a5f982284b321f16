//! How replicas find their place where nothing but file and position tells it, and how logins that a new writer refuses are told.

use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Manner, Moment, Program, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::replicas::{R1, R2, REPLICAS};

/// Transactions without GTIDs, which `MySQL` up to 8.0 has by default.
fn without_gtid(name: &str) -> Builder {
    quick(name)
        .server(Flavour::MySql97)
        .replicas(2)
        .server_line("gtid_mode = OFF")
        .server_line("enforce_gtid_consistency = OFF")
        .server_line("replica_net_timeout = 4")
        .append(ConfigFile::Monitor, QUICK_CHECKS)
}

/// A column of the replica's status, by the name that this server has for it.
fn status(lab: &Cluster, host: &str, column: &str) -> String {
    let table = lab.sql(host, "SHOW REPLICA STATUS").unwrap();
    table.get(column).unwrap_or_else(|| panic!("no {column} on {host}")).to_owned()
}

fn applied(lab: &Cluster, host: &str) -> String {
    format!("{} {}", status(lab, host, "Relay_Source_Log_File"), status(lab, host, "Exec_Source_Log_Pos"))
}

fn expect_refused(lab: &Cluster, replica: &str, words: &str) {
    lab.expect_host(replica, "REPLICATION_FAIL", &[], SOON).unwrap();
    let warning = format!("# Warning: host {replica}: it can't follow the active master 'MySQL-M2': {words}");
    lab.wait_shown(&warning, SOON);
}

/// One replica lacks what only the lost writer could have given it, the other has what the new writer never got.
#[test]
fn mysql_9_7_replicas_at_other_points_than_the_new_writer_are_refused_with_both_places() {
    let lab = Cluster::with_replicas(without_gtid("pl_apart"));
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.sql(R1, "STOP REPLICA IO_THREAD").unwrap();
    let behind = wait_for("the replica at rest", SOON, || {
        let before = applied(&lab, R1);
        std::thread::sleep(Duration::from_millis(500));
        let now = applied(&lab, R1);
        if now == before { Ok(now) } else { Err(now) }
    })
    .unwrap();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let at_most = applied(&lab, M2);
    lab.wait_replicated(M1, R2, SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    let ahead = applied(&lab, R2);
    assert_ne!(ahead, at_most, "the cut came to nothing");

    expect_refused(
        &lab,
        R1,
        &format!("it has applied {behind} of 192.168.8.32:3306, which can't be reached"),
    );
    expect_refused(
        &lab,
        R2,
        &format!("it has applied {ahead} of 192.168.8.32:3306, which is beyond {at_most}"),
    );
    for replica in REPLICAS {
        assert_eq!(lab.replication(replica).unwrap().unwrap().master, lab.host(M1).unwrap().ip);
    }
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    drop(probe.stop().unwrap());
}

/// It is the same server, however a replica calls it; and what a replica calls itself counts for nothing.
#[test]
fn mysql_9_7_a_replica_that_knows_its_source_by_name_follows() {
    let lab = Cluster::with_replicas(without_gtid("pl_named").server_line("report_host = nonsense.example"));
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.sql(R1, "STOP REPLICA").unwrap();
    let (file, position) =
        (status(&lab, R1, "Relay_Source_Log_File"), status(&lab, R1, "Exec_Source_Log_Pos"));
    lab.sql(
        R1,
        &format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{M1}', SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {position}"
        ),
    )
    .unwrap();
    lab.sql(R1, "START REPLICA").unwrap();
    lab.wait_show("no warning of the replica", SOON, |show| {
        show.state(R1) == "ONLINE" && !show.text.contains("host MySQL-R1:")
    })
    .unwrap();
    assert_eq!(status(&lab, R1, "Source_Host"), M1);
    lab.wait_replicated(M1, R1, SOON).unwrap();
    lab.tell(&["move_role", "writer", M2]);
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    for replica in REPLICAS {
        lab.wait_follows(replica, M2, SOON);
    }
    probe.stop().unwrap();
    lab.expect_identical(M2, &[M1, R1, R2]);
}

/// What the operator configured of a channel outlives each change of its source, and a writer that demands TLS has its replicas.
#[test]
fn mysql_9_7_replicas_keep_tls_and_every_other_option() {
    let builder = quick("pl_tls")
        .server(Flavour::MySql97)
        .replicas(2)
        .gtid()
        .server_line("replica_net_timeout = 4")
        .append(ConfigFile::Monitor, QUICK_CHECKS);
    let lab = Cluster::with_replicas(builder);
    let options = [
        "Source_SSL_Allowed",
        "Source_SSL_Verify_Server_Cert",
        "SQL_Delay",
        "Connect_Retry",
        "Source_Retry_Count",
        "Get_Source_public_key",
        "Auto_Position",
    ];
    for host in [M1, M2, R1, R2] {
        lab.sql(host, "STOP REPLICA").unwrap();
        lab.sql(
            host,
            "CHANGE REPLICATION SOURCE TO SOURCE_SSL = 1, SOURCE_CONNECT_RETRY = 2, SOURCE_RETRY_COUNT = 77, GET_SOURCE_PUBLIC_KEY = 1",
        )
        .unwrap();
        lab.sql(host, "START REPLICA").unwrap();
    }
    for host in [M1, M2, R1, R2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let read = |host: &str| options.map(|option| status(&lab, host, option));
    let before = REPLICAS.map(read);
    assert_eq!((before[0][0].as_str(), before[0][6].as_str()), ("Yes", "1"));
    lab.sql(M1, "ALTER USER 'repl'@'192.168.8.%' REQUIRE SSL").unwrap();
    for host in [M2, R1, R2] {
        lab.wait_replicated(M1, host, SOON).unwrap();
    }
    let probe = lab.start_probe().unwrap();
    for (to, id) in [(M2, ID2), (M1, ID1)] {
        lab.tell(&["move_role", "writer", to]);
        probe.wait_write_by(id, Moment::now(), SOON).unwrap();
        for replica in REPLICAS {
            lab.wait_follows(replica, to, SOON);
        }
        assert_eq!(REPLICAS.map(read), before);
    }

    // Without TLS the next writer does not let it in, and no reader is left with a replica that gets nothing.
    lab.sql(R1, "STOP REPLICA").unwrap();
    lab.sql(R1, "CHANGE REPLICATION SOURCE TO SOURCE_SSL = 0").unwrap();
    lab.sql(R1, "START REPLICA").unwrap();
    lab.expect_host(R1, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.wait_shown("# Warning: host MySQL-R1: it replicates from the active master 'MySQL-M1'", SOON);
    lab.wait_shown("which does not let it in: Access denied", SOON);
    lab.sql(R1, "STOP REPLICA").unwrap();
    lab.sql(R1, "CHANGE REPLICATION SOURCE TO SOURCE_SSL = 1").unwrap();
    lab.sql(R1, "START REPLICA").unwrap();
    lab.wait_show("the replica ONLINE", SOON, |show| show.state(R1) == "ONLINE").unwrap();
    probe.stop().unwrap();
    lab.expect_identical(M1, &[M2, R1, R2]);
}

/// Nothing of it waits for the monitor to reach everybody, and a replica of a replica ends up behind the writer as well.
#[test]
fn a_chain_of_replicas_is_made_a_star_while_its_middle_is_out_of_reach() {
    for gtid in [true, false] {
        let builder = quick("pl_chain").replicas(2).append(ConfigFile::Monitor, QUICK_CHECKS);
        let lab = Cluster::with_replicas(if gtid { builder.gtid() } else { builder });
        lab.wait_replicated(M1, R2, SOON).unwrap();
        lab.cut(MON, R1, Manner::Drop).unwrap();
        lab.wait_shown("# Warning: agent on host MySQL-R1 is not reachable", SOON);
        lab.sql(R2, "STOP SLAVE").unwrap();
        lab.replicate(R1, R2, gtid).unwrap();
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        lab.wait_follows(R2, M1, SOON);
        lab.tell(&["move_role", "writer", M2]);
        probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
        lab.wait_follows(R2, M2, SOON);
        lab.heal(MON, R1).unwrap();
        lab.wait_follows(R1, M2, SOON);
        probe.stop().unwrap();
        lab.expect_identical(M2, &[M1, R1, R2]);
    }
}
