use std::time::Duration;

use mmm_config::{FailoverPolicy, LeaseSettings, Program, SemiSync, WriterIsolated};

use crate::settings::TOOLS;
use crate::support::Folder;

const PROGRAMS: [Program; 4] = [Program::Agent, Program::Monitor, Program::Control, Program::Tools];

fn usual_lease() -> LeaseSettings {
    LeaseSettings {
        writer_lease: Duration::from_secs(5),
        isolated: WriterIsolated::Fence,
        fence_hung_server: true,
        failover_grace: Duration::ZERO,
        promote_apply_timeout: Duration::ZERO,
        failover_policy: FailoverPolicy::Availability,
        semi_sync: SemiSync::Watch,
        salvage_timeout: Duration::from_secs(10),
    }
}

fn with_ours(text: &str) -> Folder {
    let folder = Folder::tutorial();
    folder.write("mmm_tools.conf", TOOLS);
    folder.write("mmm3.conf", text);
    folder
}

#[test]
fn the_lease_has_defaults_for_every_program() {
    let folder = Folder::tutorial();
    folder.write("mmm_tools.conf", TOOLS);
    for program in PROGRAMS {
        assert_eq!(folder.loaded(program).settings.lease, usual_lease(), "{program}");
    }
}

/// The columns are as wide as the longest variable.
fn one_space(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn the_lease_is_the_monitors_and_stops_no_other_program() {
    let folder = with_ours(
        "writer_lease 7.5\nwriter_isolated keep\nfence_hung_server no\nfailover_grace 2.5 # supervised\npromote_apply_timeout 30\nfailover_policy consistency\nsemi_sync manage\nsalvage_timeout 4\n",
    );
    let longer = Duration::from_millis(7500);
    let monitor = LeaseSettings {
        writer_lease: longer,
        isolated: WriterIsolated::Keep,
        fence_hung_server: false,
        failover_grace: Duration::from_millis(2500),
        promote_apply_timeout: Duration::from_secs(30),
        failover_policy: FailoverPolicy::Consistency,
        semi_sync: SemiSync::Manage,
        salvage_timeout: Duration::from_secs(4),
    };
    assert_eq!(folder.loaded(Program::Monitor).settings.lease, monitor);
    // The doctor of an agent has to know whether the switches are the monitor's.
    let agent = LeaseSettings { writer_lease: longer, semi_sync: SemiSync::Manage, ..usual_lease() };
    assert_eq!(folder.loaded(Program::Agent).settings.lease, agent);
    for program in [Program::Control, Program::Tools] {
        assert_eq!(folder.loaded(program).settings.lease, usual_lease(), "{program}");
    }
    for line in [
        "writer_lease 7.5 # DIR/mmm3.conf:1",
        "writer_isolated keep # DIR/mmm3.conf:2",
        "fence_hung_server no # DIR/mmm3.conf:3",
        "failover_grace 2.5 # DIR/mmm3.conf:4",
        "promote_apply_timeout 30 # DIR/mmm3.conf:5",
        "failover_policy consistency # DIR/mmm3.conf:6",
    ] {
        let described = one_space(&folder.described(Program::Monitor));
        assert!(described.contains(line), "{described}");
    }
    let described = one_space(&folder.described(Program::Agent));
    assert!(described.contains("writer_lease 7.5 # DIR/mmm3.conf:1"), "{described}");
    for program in [Program::Control, Program::Tools] {
        assert!(!folder.described(program).contains("writer_lease"), "{program}");
    }
}

#[test]
fn a_lease_is_off_or_within_the_limits_of_the_kernel_and_of_patience() {
    for (text, ms) in [("0", 0), ("3", 3000), ("3.001", 3001), ("60", 60_000)] {
        let lease = with_ours(&format!("writer_lease {text}\n")).loaded(Program::Monitor).settings.lease;
        assert_eq!(lease.writer_lease, Duration::from_millis(ms), "{text}");
    }
    for text in ["2.999", "0.5", "60.001", "61", "-5"] {
        let folder = with_ours(&format!("# ours\nwriter_lease {text}\n"));
        for program in PROGRAMS {
            let failure = folder.failure(program);
            for piece in [
                &format!("bad value `{text}` of variable `writer_lease`"),
                "DIR/mmm3.conf:2:14",
                "expected seconds, from 3 to 60, or 0 for no leases",
                "hint: 3 s at least, because the kernel counts whole seconds",
                "1 error in its configuration",
            ] {
                assert!(failure.contains(piece), "no `{piece}` in:\n{failure}");
            }
        }
    }
    let failure = with_ours("writer_lease 5s\n").failure(Program::Monitor);
    assert!(failure.contains("write the number without a unit"), "{failure}");
}

#[test]
fn the_other_variables_of_the_lease_have_their_limits_too() {
    for (line, pieces) in [
        (
            "writer_isolated kep",
            ["DIR/mmm3.conf:1:17", "expected one of fence, keep", "did you mean `keep`?"],
        ),
        ("fence_hung_server maybe", ["DIR/mmm3.conf:1:19", "expected one of 1, yes", "`fence_hung_server`"]),
        ("failover_grace 3601", ["DIR/mmm3.conf:1:16", "expected seconds, from 0 to 3600", "`3601`"]),
        ("failover_grce 1", ["DIR/mmm3.conf:1:1", "did you mean `failover_grace`?", "unknown variable"]),
    ] {
        let failure = with_ours(&format!("{line}\n")).failure(Program::Monitor);
        for piece in pieces {
            assert!(failure.contains(piece), "no `{piece}` in:\n{failure}");
        }
        assert!(failure.contains("1 error in"), "{failure}");
    }
    let longest = with_ours("failover_grace 3600\n").loaded(Program::Monitor).settings.lease;
    assert_eq!(longest.failover_grace, Duration::from_secs(3600));
}

#[test]
fn the_variables_of_the_lease_are_not_taken_from_files_that_2x_reads() {
    for line in [
        "writer_lease 5",
        "writer_isolated fence",
        "fence_hung_server 1",
        "failover_grace 0",
        "salvage_timeout 0",
    ] {
        let folder = Folder::tutorial();
        folder.edit("mmm_common.conf", "active_master_role", &format!("{line}\nactive_master_role"));
        let name = line.split(' ').next().unwrap();
        for program in [Program::Monitor, Program::Agent] {
            let failure = folder.failure(program);
            assert!(failure.contains(&format!("variable `{name}` belongs into mmm3.conf")), "{failure}");
            assert!(failure.contains("DIR/mmm_common.conf:1:1"), "{failure}");
        }
    }
}
