//! Every command of the operator through the real `mmm_control`, word for word, with its exit status.

use std::time::Duration;

use mmm_lab::{M1, M2, MON, Program};
use serde_json::Value;

use crate::cluster::{Cluster, SOON};
use crate::watchers::{ask, on_host};

const HELP: &str = "\
Valid commands are:
    help                              - show this message
    ping                              - ping monitor
    show                              - show status
    checks [<host>|all [<check>|all]] - show checks status
    set_online <host>                 - set host <host> online
    set_offline <host>                - set host <host> offline
    mode                              - print current mode.
    set_active                        - switch into active mode.
    set_manual                        - switch into manual mode.
    set_passive                       - switch into passive mode.
    move_role [--force] <role> <host> - move exclusive role <role> to host <host>
                                        (Only use --force if you know what you are doing!)
    set_ip <ip> <host>                - set role with ip <ip> to host <host>
";

fn json(lab: &Cluster, words: &[&str]) -> Value {
    serde_json::from_str(&lab.tell(words)).unwrap()
}

#[test]
fn every_command_answers_word_for_word_and_errors_exit_with_1() {
    let lab = Cluster::quick("control");
    questions(&lab);
    states(&lab);
    roles(&lab);
    let told = lab.control(&["nonsense", "here"]).unwrap();
    assert_eq!(told.stdout.trim_end(), format!("Invalid command 'nonsense here'\n\n{}", HELP.trim_end()));
    assert_eq!(lab.control(&[]).unwrap().code, 255);
    lab.stop(MON, Program::Monitor).unwrap();
    let alone = lab.control(&["ping"]).unwrap();
    assert_eq!(alone.code, 1);
    assert!(alone.text().contains("ERROR: Can't connect to monitor daemon!"), "{alone}");
}

fn questions(lab: &Cluster) {
    assert_eq!(lab.tell(&["ping"]), "OK: Pinged successfully!");
    assert!(lab.tell(&["help"]).starts_with(HELP));
    assert_eq!(lab.tell(&["mode"]), "ACTIVE");
    assert!(lab.tell(&["show"]).starts_with("  MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader("));
    let one = lab.tell(&["checks", M1, "ping"]);
    assert!(one.starts_with("MySQL-M1  ping  [last change: 20") && one.ends_with("]  OK"), "{one}");
    assert_eq!(lab.tell(&["checks", M1]).lines().count(), 4);
    assert_eq!(lab.tell(&["checks", "all", "mysql"]).lines().count(), 2);
    assert_eq!(lab.refusal(&["checks", "nobody"]), "ERROR: Unknown host name 'nobody'!");
    assert_eq!(lab.refusal(&["checks", M1, "luck"]), "ERROR: Unknown check 'luck'!");

    let show = json(lab, &["--json", "show"]);
    assert_eq!(show["mode"], "ACTIVE");
    assert_eq!(show["hosts"][0]["name"], M1);
    assert_eq!(show["hosts"][0]["state"], "ONLINE");
    assert_eq!(show["hosts"][0]["roles"].as_array().unwrap().len(), 2);
    let checks = json(lab, &["--json", "checks"]);
    assert_eq!(checks.as_array().unwrap().len(), 8);
    assert_eq!(json(lab, &["--json", "mode"])["mode"], "ACTIVE");

    let watched = lab.control(&["watch", "--count", "2"]).unwrap();
    assert!(watched.success(), "{watched}");
    assert_eq!(watched.stdout.matches("MySQL-M2(192.168.8.33) master/ONLINE").count(), 2, "{watched}");

    // Several commands on one connection are answered one after the other, without anything between the answers.
    let several = on_host(lab, MON, || ask("ping\nmode\n\n0")).join().unwrap().unwrap();
    let rest = several.strip_prefix("OK: Pinged successfully!ACTIVE").unwrap_or_else(|| panic!("{several}"));
    assert!(rest.contains("Invalid command ''") && rest.contains("Invalid command '0'"), "{rest}");
}

fn states(lab: &Cluster) {
    assert_eq!(lab.tell(&["set_online", M1]), "OK: This host is already ONLINE. Skipping command.");
    assert_eq!(lab.refusal(&["set_online", "nobody"]), "ERROR: Unknown host name 'nobody'!");
    lab.tell(&["set_offline", M2]);
    assert_eq!(lab.tell(&["set_offline", M2]), "OK: This host is already ADMIN_OFFLINE. Skipping command.");
    assert_eq!(
        lab.refusal(&["move_role", "writer", M2]),
        "ERROR: Can't move role to host with state ADMIN_OFFLINE."
    );
    assert!(lab.refusal(&["set_offline", M1]).contains("no other host can take it"));
    lab.stop(M2, Program::Server).unwrap();
    lab.wait_show("nothing", SOON, |_| {
        let answer = lab.control(&["set_online", M2]).unwrap().stdout;
        answer.trim_end()
            == "ERROR: Checks ping and/or mysql are not ok for host 'MySQL-M2'. It can't be switched to ONLINE."
    })
    .unwrap();
    lab.start(M2, Program::Server).unwrap();
    lab.wait_show("the host set online", SOON, |_| lab.control(&["set_online", M2]).unwrap().success())
        .unwrap();
    lab.expect_host(M2, "ONLINE", &["reader"], SOON).unwrap();
    lab.stop(M2, Program::Server).unwrap();
    lab.expect_host(M2, "HARD_OFFLINE", &[], SOON).unwrap();
    let at_the_moment = "ERROR: Host 'MySQL-M2' is 'HARD_OFFLINE' at the moment. It can't be switched to";
    assert_eq!(lab.refusal(&["set_online", M2]), format!("{at_the_moment} ONLINE."));
    assert_eq!(lab.refusal(&["set_offline", M2]), format!("{at_the_moment} ADMIN_OFFLINE."));
    lab.start(M2, Program::Server).unwrap();
    lab.expect_pair(M1);
}

fn roles(lab: &Cluster) {
    assert_eq!(
        lab.tell(&["move_role", "writer", M1]),
        "OK: Role is on 'MySQL-M1' already. Skipping command."
    );
    assert_eq!(lab.refusal(&["move_role", "poet", M1]), "ERROR: Unknown role name 'poet'!");
    assert_eq!(lab.refusal(&["move_role", "writer", "nobody"]), "ERROR: Unknown host name 'nobody'!");
    assert_eq!(
        lab.refusal(&["move_role", "--force", "writer", M2]),
        "ERROR: Can't force move of role to host with state ONLINE."
    );
    assert_eq!(
        lab.refusal(&["move_role", "--force", "reader", M2]),
        "ERROR: move_role --forced may be used for the active master role only!"
    );
    assert_eq!(
        lab.tell(&["move_role", "reader", M2]),
        "OK: Balanced role reader has been removed from host 'MySQL-M2'. Now you can wait some time and check new roles info!"
    );
    lab.expect_pair(M1);
    lab.wait_replicating(M2, SOON).unwrap();
    assert_eq!(
        lab.tell(&["move_role", "writer", M2]),
        "OK: Role 'writer' has been moved from 'MySQL-M1' to 'MySQL-M2'. Now you can wait some time and check new roles info!"
    );
    lab.expect_pair(M2);
    lab.stop(M1, Program::Agent).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M1 is not reachable", Duration::from_secs(5));
    assert_eq!(
        lab.refusal(&["move_role", "writer", M1]),
        "ERROR: Can't reach agent daemon on 'MySQL-M1'! Can't move roles there!"
    );
    assert_eq!(
        lab.refusal(&["set_offline", M1]),
        "ERROR: Can't reach agent daemon on 'MySQL-M1'! Can't switch its state!"
    );
    lab.start(M1, Program::Agent).unwrap();
    lab.expect_pair(M2);
}
