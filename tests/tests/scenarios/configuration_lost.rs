//! The monitor is started with a configuration that is not there.

use std::time::Duration;

use mmm_lab::{ConfigFile, MON, Program};

use crate::cluster::{Cluster, ID1, SOON};

const STATES: [&str; 2] = ["/var/lib/mysql-mmm/mmm_mond.status", "/var/lib/mysql-mmm/mmm_mond.epoch"];

fn states(lab: &Cluster) -> [Vec<u8>; 2] {
    STATES.map(|path| lab.read_file(MON, path).unwrap())
}

#[test]
fn a_monitor_without_its_configuration_does_not_start_and_costs_nothing() {
    let lab = Cluster::quick("conf_gone");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    lab.stop(MON, Program::Monitor).unwrap();
    let text = lab.read_config(MON, ConfigFile::Common).unwrap();
    let written = states(&lab);
    assert!(lab.remove_file(MON, "/etc/mysql-mmm/mmm_common.conf").unwrap());
    let program = lab.program("mmm_mond").unwrap();
    let output = lab.exec_within(MON, &[program], Duration::from_secs(5)).unwrap();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.text().contains("mmm_common.conf"), "the file is named: {output}");
    assert!(states(&lab) == written, "what the monitor knows was written to");

    lab.write_config(MON, ConfigFile::Common, &text).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    lab.judge_undisturbed(&probe, ID1);
}
