//! Replicas behind the pair follow the writer, wherever it goes, and hold nobody up.

use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Judge, M1, M2, Moment, Probe, Program, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

pub(crate) const R1: &str = "MySQL-R1";
pub(crate) const R2: &str = "MySQL-R2";
pub(crate) const REPLICAS: [&str; 2] = [R1, R2];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Move,
    Unplug,
    Stop,
}

pub(crate) fn builder(name: &str, gtid: bool) -> Builder {
    let builder = quick(name)
        .replicas(2)
        .server_line("slave_net_timeout = 4")
        .append(ConfigFile::Monitor, QUICK_CHECKS);
    if gtid { builder.gtid() } else { builder }
}

impl Cluster {
    /// Two replicas beside the pair; all four are ONLINE, and the first master is the writer.
    pub(crate) fn with_replicas(builder: Builder) -> Self {
        let lab = Self::make(builder);
        lab.expect_writer(M1, &["writer"]);
        lab.wait_show("all four ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE"))
            .unwrap();
        lab.expect_covered();
        lab
    }

    pub(crate) fn wait_follows(&self, replica: &str, master: &str, limit: Duration) {
        let ip = self.host(master).unwrap().ip.clone();
        wait_for(&format!("{replica} behind {master}"), limit, || match self.replication(replica) {
            Ok(Some(status)) if status.master == ip && status.is_running() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .unwrap();
    }

    /// Kills the writer's server when the other master has everything: otherwise a replica may have received more, and is rightly
    /// left where it is. Clients begin again at once.
    pub(crate) fn kill_writer_at_rest(&self, probe: &Probe) -> (Probe, Moment) {
        probe.stop().unwrap();
        self.wait_replicated(M1, M2, SOON).unwrap();
        let killed = self.kill(M1, Program::Server).unwrap();
        (self.start_probe().unwrap(), killed)
    }

    /// Whether a replica of a lost writer follows the new one. It can't where it had received more than the new one, which is
    /// then told.
    fn follows_or_is_ahead(&self, replica: &str, master: &str, limit: Duration) -> bool {
        let ip = self.host(master).unwrap().ip.clone();
        let ahead = format!(
            "# Warning: host {replica}: it can't follow the active master '{master}': it has transactions that '{master}' never received"
        );
        wait_for(&format!("{replica} behind {master}, or ahead of it"), limit, || {
            match self.replication(replica) {
                Ok(Some(status)) if status.master == ip && status.is_running() => Ok(true),
                other if self.tell(&["show"]).contains(&ahead) => {
                    eprintln!("{replica} is ahead: {other:?}");
                    Ok(false)
                }
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap()
    }

    pub(crate) fn checksum(&self, host: &str) -> String {
        self.sql(host, "CHECKSUM TABLE lab.probe").unwrap().get("Checksum").unwrap().to_owned()
    }

    pub(crate) fn using_gtid(&self, host: &str) -> String {
        self.sql(host, "SHOW SLAVE STATUS").unwrap().get("Using_Gtid").unwrap().to_owned()
    }

    /// Everything of the writer's log is everywhere, and nobody complains.
    pub(crate) fn expect_identical(&self, writer: &str, hosts: &[&str]) {
        for host in hosts {
            self.wait_replicated(writer, host, SOON).unwrap();
            // The server's own wait for a position ends early right after a change of the source, and a client that was stopped may have a
            // last write under way.
            wait_for(&format!("{host} the same as {writer}"), SOON, || {
                match (self.checksum(writer), self.checksum(host)) {
                    (wanted, same) if same == wanted => Ok(()),
                    (wanted, other) => Err(format!("{other} against {wanted}")),
                }
            })
            .unwrap();
            let status = self.wait_replicating(host, SOON).unwrap();
            assert_eq!(status.last_error, "", "{host}");
        }
    }
}

/// What happens to the writer, and what is the same after it whatever happened.
fn all_follow(name: &str, gtid: bool, fault: Fault) {
    let lab = Cluster::with_replicas(builder(name, gtid));
    let before: Vec<String> = REPLICAS.iter().map(|host| lab.using_gtid(host)).collect();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let began = match fault {
        Fault::Crash => lab.kill(M1, Program::Server).unwrap(),
        Fault::Stop => lab.stop(M1, Program::Server).unwrap(),
        Fault::Unplug => lab.unplug(M1).unwrap(),
        Fault::Move => {
            let began = Moment::now();
            lab.tell(&["move_role", "writer", M2]);
            began
        }
    };
    let first = probe.wait_write_by(ID2, began, SOON).unwrap();
    let is_lost = matches!(fault, Fault::Crash | Fault::Unplug);
    let followers: Vec<&str> = REPLICAS
        .into_iter()
        .filter(|replica| {
            let follows = lab.follows_or_is_ahead(replica, M2, SOON);
            assert!(follows || is_lost, "{replica} is ahead of a writer that was given everything");
            follows
        })
        .collect();
    let took = Moment::now() - first.end;
    eprintln!("{name}: new writer after {:?}, {followers:?} follow {took:?} later", first.end - began);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Long enough for a channel that went by GTID to be put back.
    std::thread::sleep(Duration::from_secs(4));
    let record = probe.stop().unwrap();
    lab.expect_identical(M2, &followers);
    for (replica, before) in REPLICAS.iter().zip(before).filter(|(replica, _)| followers.contains(replica)) {
        assert_eq!(lab.using_gtid(replica), before, "{replica}");
    }

    match fault {
        Fault::Crash | Fault::Stop => drop(lab.start(M1, Program::Server).unwrap()),
        Fault::Unplug => drop(lab.replug(M1).unwrap()),
        Fault::Move => {}
    }
    let judge = Judge::new(&lab, record);
    let judged: Vec<&str> = [M2].into_iter().chain(followers.iter().copied()).collect();
    let verdict = judge.verdict(&judged).unwrap();
    eprint!("{verdict}");
    assert!(verdict.hosts.values().all(|host| host.duplicates.is_empty()), "{verdict}");
    if matches!(fault, Fault::Move | Fault::Stop) {
        assert!(verdict.is_clean(), "{verdict}");
    }
    if verdict.is_clean() && verdict.unknown == 0 {
        // What only a lost writer had, be it a write that nobody was told of, stays there until somebody has looked at it.
        lab.expect_host(M1, "ONLINE", &[], SOON).unwrap();
        lab.expect_identical(M2, &[M1]);
    }
    for replica in REPLICAS {
        let state = if followers.contains(&replica) { "ONLINE" } else { "REPLICATION_FAIL" };
        lab.wait_show(&format!("{replica} {state}"), SOON, |show| show.state(replica) == state).unwrap();
    }
    for replica in followers {
        lab.wait_follows(replica, M2, SOON);
    }
}

#[test]
fn replicas_by_gtid_follow_after_a_crash() {
    all_follow("rep_crash_gtid", true, Fault::Crash);
}

#[test]
fn replicas_by_file_follow_after_a_crash() {
    all_follow("rep_crash_file", false, Fault::Crash);
}

#[test]
fn replicas_by_gtid_follow_a_planned_move() {
    all_follow("rep_move_gtid", true, Fault::Move);
}

#[test]
fn replicas_by_file_follow_a_planned_move() {
    all_follow("rep_move_file", false, Fault::Move);
}

#[test]
fn replicas_by_gtid_follow_when_the_writer_vanishes() {
    all_follow("rep_unplug_gtid", true, Fault::Unplug);
}

#[test]
fn replicas_by_file_follow_when_the_writer_vanishes() {
    all_follow("rep_unplug_file", false, Fault::Unplug);
}

#[test]
fn replicas_by_gtid_follow_when_the_writer_is_stopped() {
    all_follow("rep_stop_gtid", true, Fault::Stop);
}

#[test]
fn replicas_by_file_follow_when_the_writer_is_stopped() {
    all_follow("rep_stop_file", false, Fault::Stop);
}

#[test]
fn a_replica_far_behind_delays_nobody_and_keeps_its_options() {
    for gtid in [true, false] {
        let lab = Cluster::with_replicas(builder("rep_behind", gtid));
        let before = lab.using_gtid(R1);
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        // Its transactions tell where it stands once it has applied any.
        lab.wait_replicated(M1, R1, SOON).unwrap();
        lab.sql(R1, "STOP SLAVE").unwrap();
        lab.sql(R1, "CHANGE MASTER TO MASTER_DELAY = 3600").unwrap();
        lab.sql(R1, "START SLAVE").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let (probe, killed) = lab.kill_writer_at_rest(&probe);
        let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
        lab.wait_follows(R2, M2, SOON);
        let took = Moment::now() - first.end;
        eprintln!(
            "beside a replica an hour behind: writer after {:?}, follower after {took:?}",
            first.end - killed
        );
        assert!(first.end - killed < Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
        lab.wait_follows(R1, M2, SOON);
        let status = lab.sql(R1, "SHOW SLAVE STATUS").unwrap();
        assert_eq!(status.get("SQL_Delay"), Some("3600"));
        assert_eq!(status.get("Connect_Retry"), Some("1"));

        // It gets everything once it need not wait any more.
        lab.sql(R1, "STOP SLAVE").unwrap();
        lab.sql(R1, "CHANGE MASTER TO MASTER_DELAY = 0").unwrap();
        lab.sql(R1, "START SLAVE").unwrap();
        // By file, it stands still for a moment once it knows its place.
        wait_for("the replica's channel as it was", SOON, || {
            let now = lab.using_gtid(R1);
            if now == before { Ok(()) } else { Err(format!("Using_Gtid: {now}")) }
        })
        .unwrap();
        lab.wait_follows(R1, M2, SOON);
        probe.stop().unwrap();
        lab.expect_identical(M2, &REPLICAS);
    }
}

#[test]
fn a_replica_whose_applier_somebody_stopped_follows_with_it_stopped() {
    let lab = Cluster::with_replicas(builder("rep_stopped", true));
    lab.sql(R1, "STOP SLAVE SQL_THREAD").unwrap();
    // The agent looks every second.
    std::thread::sleep(Duration::from_millis(1500));
    lab.tell(&["move_role", "writer", M2]);
    let ip = lab.host(M2).unwrap().ip.clone();
    wait_for("the replica behind the new writer", SOON, || match lab.replication(R1) {
        Ok(Some(status)) if status.master == ip && status.io_running == "Yes" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    assert_eq!(lab.replication(R1).unwrap().unwrap().sql_running, "No");
    lab.wait_follows(R2, M2, SOON);
    lab.sql(R1, "START SLAVE SQL_THREAD").unwrap();
    lab.wait_follows(R1, M2, SOON);
}

#[test]
fn a_replica_pointed_elsewhere_by_hand_is_pointed_back() {
    for gtid in [true, false] {
        let lab = Cluster::with_replicas(builder("rep_by_hand", gtid));
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        lab.sql(R1, "STOP SLAVE").unwrap();
        // A replica by file is stopped where the other master has everything that it has.
        std::thread::sleep(Duration::from_millis(200));
        let ip = &lab.host(M2).unwrap().ip;
        lab.sql(R1, &format!("CHANGE MASTER TO MASTER_HOST = '{ip}', MASTER_USE_GTID = slave_pos")).unwrap();
        lab.sql(R1, "START SLAVE").unwrap();
        lab.wait_log(R1, Program::Agent, "Replicating from the active master 'MySQL-M1'", SOON).unwrap();
        lab.wait_follows(R1, M1, SOON);
        probe.stop().unwrap();
        lab.expect_identical(M1, &REPLICAS);
    }
}

#[test]
fn a_replica_with_transactions_of_its_own_history_fails_and_says_why() {
    let lab = Cluster::with_replicas(builder("rep_ahead", true));
    lab.sql(M1, "CREATE TABLE lab.stray (n INT PRIMARY KEY)").unwrap();
    for host in [M2, R1, R2] {
        lab.wait_replicated(M1, host, SOON).unwrap();
    }
    // Something that the other master wrote and the writer does not get.
    lab.sql(M1, "STOP SLAVE").unwrap();
    lab.sql(M2, "INSERT INTO lab.stray VALUES (1)").unwrap();
    let ip = lab.host(M2).unwrap().ip.clone();
    lab.sql(R1, "STOP SLAVE").unwrap();
    lab.sql(R1, &format!("CHANGE MASTER TO MASTER_HOST = '{ip}'")).unwrap();
    lab.sql(R1, "START SLAVE").unwrap();
    lab.wait_shown("# Warning: host MySQL-R1: it can't follow the active master 'MySQL-M1'", SOON);
    lab.wait_shown("transactions that 'MySQL-M1' never received", SOON);
    assert_eq!(lab.replication(R1).unwrap().unwrap().master, ip, "it was left where it was");
    lab.expect_host(R1, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.wait_show("the other replica ONLINE", SOON, |show| show.state(R2) == "ONLINE").unwrap();

    // The operator mends it.
    lab.sql(M1, "START SLAVE").unwrap();
    lab.wait_replicated(M2, M1, SOON).unwrap();
    lab.sql(R1, "STOP SLAVE").unwrap();
    lab.replicate(M1, R1, true).unwrap();
    lab.wait_follows(R1, M1, SOON);
    lab.wait_show("no warning of the replica", SOON, |show| {
        show.state(R1) == "ONLINE" && !show.text.contains("host MySQL-R1:")
    })
    .unwrap();
}

#[test]
fn a_replica_whose_agent_was_away_follows_when_it_is_back() {
    for gtid in [true, false] {
        let lab = Cluster::with_replicas(builder("rep_agent", gtid));
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        lab.stop(R1, Program::Agent).unwrap();
        lab.tell(&["move_role", "writer", M2]);
        lab.wait_follows(R2, M2, SOON);
        lab.stop(mmm_lab::MON, Program::Monitor).unwrap();
        lab.start(R1, Program::Agent).unwrap();
        lab.start(mmm_lab::MON, Program::Monitor).unwrap();
        lab.wait_follows(R1, M2, SOON);
        probe.stop().unwrap();
        lab.expect_identical(M2, &REPLICAS);
    }
}

#[test]
fn an_offline_replica_stops_and_comes_back_behind_the_writer_of_then() {
    for gtid in [true, false] {
        let lab = Cluster::with_replicas(builder("rep_offline", gtid));
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        lab.tell(&["set_offline", R1]);
        wait_for("replication stopped", SOON, || {
            let status = lab.replication(R1).unwrap().unwrap();
            let stopped = status.io_running == "No" && status.sql_running == "No";
            if stopped { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .unwrap();
        lab.tell(&["move_role", "writer", M2]);
        lab.wait_follows(R2, M2, SOON);
        // It does not follow while it is offline.
        std::thread::sleep(Duration::from_secs(2));
        let status = lab.replication(R1).unwrap().unwrap();
        assert_eq!((status.master, status.io_running.as_str()), (lab.host(M1).unwrap().ip.clone(), "No"));
        lab.tell(&["set_online", R1]);
        lab.wait_follows(R1, M2, SOON);
        probe.stop().unwrap();
        lab.expect_identical(M2, &REPLICAS);
        lab.wait_show("the replica ONLINE", SOON, |show| show.state(R1) == "ONLINE").unwrap();
    }
}
