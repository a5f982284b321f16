//! The tutorial's cluster with TLS on every connection, by certificates made with the very lines of the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use mmm_lab::{CLIENT, ConfigFile, Lab, M1, M2, MON, Output, Program, wait_for};

use crate::cluster::{Cluster, ID1, SOON, quick};

const README: &str = include_str!("../../../README.md");
const README_ZH: &str = include_str!("../../../README.zh-CN.md");
const HOSTS: [&str; 3] = [MON, M1, M2];
const AGENT: &str = "192.168.8.32:9989";

/// The block of commands or configuration that begins with these words.
fn block<'a>(readme: &'a str, begin: &str) -> &'a str {
    let from = readme.find(&format!("```\n{begin}")).unwrap() + "```\n".len();
    let text = &readme[from..];
    &text[..text.find("```\n").unwrap()]
}

/// An authority and the certificates of all hosts.
fn make_certificates(lab: &Lab, name: &str) -> PathBuf {
    let dir = lab.dir().join(name);
    fs::create_dir(&dir).unwrap();
    // Each with a name of its own, as the README wants it.
    let lines = block(README, "openssl req -x509").replace("/CN=mmm-ca", &format!("/CN=mmm-ca-{name}"));
    let made = Command::new("sh").args(["-ec", &lines]).current_dir(&dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

fn install(lab: &Lab, host: &str, file: &str, from: &Path) {
    let path = format!("/etc/mysql-mmm/{file}");
    lab.write_file(host, &path, &fs::read(from).unwrap()).unwrap();
    assert!(lab.exec(host, &["chmod", "600", &path]).unwrap().success());
}

fn install_own(lab: &Lab, host: &str, name: &str, dir: &Path) {
    install(lab, host, "host.pem", &dir.join(format!("{name}.pem")));
    install(lab, host, "host.key", &dir.join(format!("{name}.key")));
}

/// Says a line to the first master's agent through `openssl` as a client, with the certificate of `own` or without any.
fn openssl(lab: &Lab, own: Option<(&Path, &str)>, authority: &Path, line: &str) -> Output {
    let own = own.map(|(dir, name)| format!("-cert {0}/{name}.pem -key {0}/{name}.key", dir.display()));
    let words = format!(
        "openssl s_client -connect {AGENT} -CAfile {} -verify_return_error {}",
        authority.display(),
        own.unwrap_or_default()
    );
    // Its input stays open until the answer had time to come.
    lab.exec(CLIENT, &["sh", "-c", &format!("(printf '{line}\\n'; sleep 1) | {words}")]).unwrap()
}

fn monitor_sessions(lab: &Lab, host: &str) -> usize {
    let log = lab.log(host, Program::Agent).unwrap();
    log.lines().filter(|line| line.contains("Session with the monitor") && line.contains("begins")).count()
}

#[test]
fn a_cluster_inside_tls_works_as_ever_and_lets_only_its_own_in() {
    for begin in ["openssl req -x509", "<socket>"] {
        assert_eq!(block(README, begin), block(README_ZH, begin));
    }
    let socket = block(README, "<socket>");
    let lab = Cluster::make(quick("tls").append(ConfigFile::Common, socket).without_daemons());
    let first = make_certificates(&lab, "first");
    for host in HOSTS {
        install(&lab, host, "ca.pem", &first.join("ca.pem"));
        install_own(&lab, host, host, &first);
    }
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    lab.expect_covered();
    assert_eq!(lab.tell(&["ping"]), "OK: Pinged successfully!");

    strangers_are_refused(&lab, &first);
    certificates_are_replaced(&lab, &first);

    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, mmm_lab::Moment::now(), SOON).unwrap();
    let answer = lab.tell(&["move_role", "writer", M2]);
    assert!(answer.starts_with("OK: "), "{answer}");
    lab.expect_pair(M2);
    lab.stop(M2, Program::Server).unwrap();
    lab.expect_writer(M1, &["writer", "reader", "reader"]);
    lab.start(M2, Program::Server).unwrap();
    lab.expect_pair(M1);
    lab.judge_clean(&probe);
    for (host, program) in [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)] {
        let log = lab.log(host, program).unwrap();
        // Neither a warning of before, nor a promise that could not be asked for while the monitor was cut off.
        assert!(!log.contains("not authenticated") && !log.contains("was asked in vain"), "{log}");
    }
}

fn strangers_are_refused(lab: &Cluster, own: &Path) {
    let foreign = make_certificates(lab, "foreign");
    let authority = own.join("ca.pem");
    // As 2.2.1 speaks: a line, and an answer that ends in the uptime.
    let known = openssl(lab, Some((own, MON)), &authority, "PING|1|MySQL-M1");
    assert!(known.stdout.contains("|UP:"), "{known}");
    let cases = [
        (None, "it showed no certificate", "certificate required"),
        (
            Some((foreign.as_path(), MON)),
            "its certificate is not signed by an authority in ca_file",
            "unknown ca",
        ),
    ];
    for (shown, reason, told) in cases {
        let refused = openssl(lab, shown, &authority, "PING|1|MySQL-M1");
        assert!(!refused.stdout.contains("|UP:") && refused.text().contains(told), "{refused}");
        let line = lab.wait_log(M1, Program::Agent, reason, SOON).unwrap();
        assert!(line.contains("caller at 192.168.8.40:") && line.contains("was refused"), "{line}");
    }
    let plain = format!(
        "(printf 'PING|1|MySQL-M1\\n'; sleep 1) | timeout 5 bash -c 'exec 3<>/dev/tcp/{}; cat >&3; cat <&3'",
        AGENT.replace(':', "/")
    );
    let answer = lab.exec(CLIENT, &["sh", "-c", &plain]).unwrap();
    assert!(answer.stdout.starts_with("ERROR: This port speaks TLS only"), "{answer}");
    let line = lab.wait_log(M1, Program::Agent, "speaks plain text and was refused", SOON).unwrap();
    assert!(line.contains("caller at 192.168.8.40:"), "{line}");

    // A monitor's own host without the certificates: what mmm_control says, and what the monitor logs.
    let socket = block(README, "<socket>");
    let common = lab.read_config(MON, ConfigFile::Common).unwrap();
    lab.write_config(MON, ConfigFile::Common, &common.replace(socket, "")).unwrap();
    assert!(lab.refusal(&["show"]).starts_with("ERROR: This port speaks TLS only"));
    lab.write_config(MON, ConfigFile::Common, &common).unwrap();
    let line = lab.wait_log(MON, Program::Monitor, "speaks plain text and was refused", SOON).unwrap();
    assert!(line.contains("client at 127.0.0.1:"), "{line}");
    checks_name_bad_files(lab, own);
}

/// What `--check` says; the running daemons look at the files only when somebody connects, and keep what they have.
fn checks_name_bad_files(lab: &Cluster, own: &Path) {
    let check = |words: &[&str]| -> i32 { check_on_second(lab, words).code };
    assert_eq!(check(&["cert_file /etc/mysql-mmm/host.pem"]), 0);
    // As openssl makes them without extensions, the trap of older instructions.
    let line = format!(
        "cd {} && openssl x509 -req -in {M2}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -out bare.pem",
        own.display()
    );
    let made = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    install(lab, M2, "host.pem", &own.join("bare.pem"));
    install(lab, M2, "ca.key", &own.join("ca.key"));
    let bad =
        check_on_second(lab, &["error: <socket>: cert_file /etc/mysql-mmm/host.pem", "X.509 version 1"]);
    assert_eq!(bad.code, 1);
    run_printed_line(lab, &bad);
    assert_eq!(check(&[]), 0);
    // The authority's own certificate and key on a host.
    install(lab, M2, "host.pem", &own.join("ca.pem"));
    install(lab, M2, "host.key", &own.join("ca.key"));
    let bad = check_on_second(lab, &["CA:TRUE", "and name that file as cert_file"]);
    assert_eq!(bad.code, 1);
    run_printed_line(lab, &bad);
    assert!(
        lab.exec(M2, &["mv", "/etc/mysql-mmm/host.host.pem", "/etc/mysql-mmm/host.pem"]).unwrap().success()
    );
    assert_eq!(check(&[]), 0);

    assert!(lab.remove_file(M2, "/etc/mysql-mmm/ca.key").unwrap());
    install_own(lab, M2, M2, own);
    assert!(lab.exec(M2, &["chmod", "644", "/etc/mysql-mmm/host.key"]).unwrap().success());
    assert_eq!(check(&["key_file /etc/mysql-mmm/host.key is open to everybody", "chmod 600"]), 1);
    assert!(lab.exec(M2, &["chmod", "600", "/etc/mysql-mmm/host.key"]).unwrap().success());
    assert_eq!(check(&[]), 0);
}

fn check_on_second(lab: &Lab, words: &[&str]) -> Output {
    let program = lab.program("mmm_agentd").unwrap().to_string_lossy().into_owned();
    let output = lab.exec(M2, &[program, "--check".to_owned()]).unwrap();
    assert!(words.iter().all(|word| output.text().contains(word)), "no {words:?} in: {output}");
    output
}

/// Does what an error of `--check` tells the operator to do.
fn run_printed_line(lab: &Lab, output: &Output) {
    let text = output.text();
    let line = &text[text.find("openssl req -new").unwrap()..];
    let line = line.lines().next().unwrap();
    let line = line.split(", and name").next().unwrap();
    let done = lab.exec(M2, &["bash", "-c", line]).unwrap();
    assert!(done.success(), "{line}: {done}");
}

/// A new authority in the three steps of the README, with every session opened anew after each.
fn certificates_are_replaced(lab: &Cluster, first: &Path) {
    let second = make_certificates(lab, "second");
    let both = second.join("both.pem");
    let texts = [first, second.as_path()].map(|dir| fs::read_to_string(dir.join("ca.pem")).unwrap());
    fs::write(&both, texts.concat()).unwrap();
    let pids = daemons(lab);
    let steps: [&dyn Fn(&str); 3] = [
        &|host| install(lab, host, "ca.pem", &both),
        &|host| install_own(lab, host, host, &second),
        &|host| install(lab, host, "ca.pem", &second.join("ca.pem")),
    ];
    for step in steps {
        HOSTS.into_iter().for_each(step);
        thread::sleep(Duration::from_millis(1200));
        reopen_sessions(lab);
        assert_eq!(lab.tell(&["ping"]), "OK: Pinged successfully!");
        lab.expect_pair(M1);
    }
    let new = openssl(lab, Some((&second, M2)), &second.join("ca.pem"), "PING|1|MySQL-M1");
    assert!(new.stdout.contains("|UP:"), "{new}");
    let old = openssl(lab, Some((first, M2)), &second.join("ca.pem"), "PING|1|MySQL-M1");
    assert!(!old.stdout.contains("|UP:"), "{old}");
    for (host, program) in [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)] {
        lab.wait_log(host, program, "The certificates of <socket> have changed", SOON).unwrap();
    }

    // Half a file: what worked goes on working.
    let half = second.join("half.pem");
    fs::write(&half, &fs::read(second.join(format!("{M1}.pem"))).unwrap()[..300]).unwrap();
    install(lab, M1, "host.pem", &half);
    thread::sleep(Duration::from_millis(1200));
    reopen_sessions(lab);
    let line = lab.wait_log(M1, Program::Agent, "The changed certificates can't be used", SOON).unwrap();
    assert!(line.contains("ERROR") && line.contains("/etc/mysql-mmm/host.pem"), "{line}");
    install_own(lab, M1, M1, &second);
    assert_eq!(daemons(lab), pids, "nothing was restarted");
    lab.expect_pair(M1);
    lab.expect_covered();
}

/// The worker of an agent is the process that has the port.
fn daemons(lab: &Lab) -> Vec<Vec<i32>> {
    [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)]
        .into_iter()
        .map(|(host, program)| {
            let process = lab.process(host, program).unwrap().unwrap();
            [process].into_iter().chain(process.descendants()).map(|process| process.pid).collect()
        })
        .collect()
}

/// Cuts the monitor off until its sessions are over. The writer goes on by the promise of the other master, asked for over TLS.
fn reopen_sessions(lab: &Cluster) {
    let before = [M1, M2].map(|host| monitor_sessions(lab, host));
    lab.unplug(MON).unwrap();
    thread::sleep(Duration::from_secs(4));
    lab.replug(MON).unwrap();
    wait_for("new sessions with both agents", SOON, || {
        let now = [M1, M2].map(|host| monitor_sessions(lab, host));
        if now[0] > before[0] && now[1] > before[1] {
            Ok(())
        } else {
            Err(format!("{before:?}, now {now:?}"))
        }
    })
    .unwrap();
}
