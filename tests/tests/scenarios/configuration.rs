//! What the daemons say of their files. Nothing runs here but the programs that look at them.

use mmm_lab::{ConfigFile, Lab, M1, MON, Output};

use crate::cluster::Cluster;

fn check(lab: &Lab, host: &str, name: &str) -> Output {
    let program = lab.program(name).unwrap().to_string_lossy().into_owned();
    lab.exec(host, &[program, "--check".to_owned()]).unwrap()
}

#[test]
fn the_daemons_check_their_files_and_refuse_to_start_with_wrong_ones() {
    let lab = Cluster::make(Lab::for_test("files").without_servers());
    for (host, name, secret) in [(MON, "mmm_mond", "monitor_password"), (M1, "mmm_agentd", "agent_password")]
    {
        let output = check(&lab, host, name);
        assert_eq!(output.code, 0, "{output}");
        let line = output.stdout.lines().find(|line| line.contains(secret)).unwrap_or_default();
        assert!(
            line.contains("********") && !line.contains("mmm_monitor") && !line.contains("mmm_agent "),
            "{line}"
        );
        // The tutorial's files annotate the passwords, which 2.x took as part of them.
        assert!(output.text().contains("2.x took it as part of the value"), "{output}");
    }
    assert!(check(&lab, M1, "mmm_agentd").stdout.contains("cluster_interface eth0"));

    // Two errors, both shown, each with its place.
    let good = lab.read_config(M1, ConfigFile::Common).unwrap();
    let bad =
        good.replace("cluster_interface", "cluster_interfaec").replace("mode exclusive", "mode exclusiv");
    for host in [M1, MON] {
        lab.write_config(host, ConfigFile::Common, &bad).unwrap();
    }
    for (host, name) in [(MON, "mmm_mond"), (M1, "mmm_agentd")] {
        let program = lab.program(name).unwrap().to_string_lossy().into_owned();
        for output in [check(&lab, host, name), lab.exec(host, &[program]).unwrap()] {
            assert_eq!(output.code, 1, "{output}");
            let text = output.text();
            for words in [
                "mmm_common.conf:3",
                "cluster_interfaec",
                "cluster_interface",
                "mmm_common.conf:24",
                "exclusiv",
            ] {
                assert!(text.contains(words), "no `{words}` in: {text}");
            }
        }
    }

    // An address that nobody can have, half a file, a file for everybody's eyes, no file.
    let mut cases: Vec<(&str, String, &str)> = vec![
        ("an address", good.replace("ips 192.168.8.30", "ips 192.168.8.300"), "192.168.8.300"),
        ("half a file", good.split_at(good.find("hosts MySQL-M1").unwrap()).0.to_owned(), "mmm_common.conf"),
        ("a peer", good.replace("peer MySQL-M2", "peer MySQL-M3"), "MySQL-M3"),
    ];
    for (what, text, words) in cases.drain(..) {
        lab.write_config(MON, ConfigFile::Common, &text).unwrap();
        let output = check(&lab, MON, "mmm_mond");
        assert!(output.code == 1 && output.text().contains(words), "{what}: {output}");
    }
    for host in [M1, MON] {
        lab.write_config(host, ConfigFile::Common, &good).unwrap();
    }
    for (mode, word) in [("644", "world-readable"), ("602", "world-writable")] {
        let argv = ["chmod", mode, "/etc/mysql-mmm/mmm_common.conf"];
        for (host, name) in [(MON, "mmm_mond"), (M1, "mmm_agentd")] {
            assert!(lab.exec(host, &argv).unwrap().success());
            let program = lab.program(name).unwrap().to_string_lossy().into_owned();
            for output in [check(&lab, host, name), lab.exec(host, &[program]).unwrap()] {
                let text = output.text();
                assert!(
                    output.code == 1 && text.contains(word) && text.contains("mmm_common.conf"),
                    "{output}"
                );
            }
        }
    }
    assert!(lab.exec(MON, &["rm", "/etc/mysql-mmm/mmm_mon.conf"]).unwrap().success());
    let output = check(&lab, MON, "mmm_mond");
    assert!(output.code == 1 && output.text().contains("mmm_mon.conf"), "{output}");
}
