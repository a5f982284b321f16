//! The lab's network: one bridge in a namespace of its own, a cable from it to the eth0 of every host, and the faults
//! that belong to cables. Nothing leads out of the bridge: no route, no uplink, no address of the machine itself.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::must;
use crate::error::{LabError, Result};
use crate::holder::MARK;
use crate::host::{Host, namespace_prefix};

const LIMIT: Duration = Duration::from_secs(10);

/// What happens to a packet that a cut stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// It vanishes (a broken cable, a filter that drops); address resolution is cut as well.
    Drop,
    /// So many of a hundred packets vanish (a bad cable, a network with too much to do).
    Lossy(u8),
    /// The receiver's side answers with a TCP reset (a filter that refuses).
    Reset,
    /// The host has no power: as `Drop`, towards everybody.
    Power,
}

/// One direction in which packets do not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub from: String,
    pub to: String,
    pub manner: Manner,
}

/// Name of the namespace the bridge of a lab lives in.
pub(crate) fn switch(lab: &str) -> String {
    format!("{}switch", namespace_prefix(lab))
}

/// The file through which a named network namespace is entered.
pub(crate) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

fn ip_batch(namespace: Option<&str>, lines: &str) -> Result<()> {
    batch(Command::new("ip"), namespace, lines)
}

fn batch(mut command: Command, namespace: Option<&str>, lines: &str) -> Result<()> {
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]);
    must(command, lines, LIMIT).map(drop)
}

/// Makes the namespaces, the bridge and the cables.
pub(crate) fn create(lab: &str, dir: &Path, hosts: &[Host]) -> Result<()> {
    // Marked, so that `down` ends it when this process is killed meanwhile.
    let marked = |namespace: Option<&str>, lines: &str| {
        let mut command = Command::new("ip");
        command.env(MARK, dir);
        batch(command, namespace, lines)
    };
    let switch = switch(lab);
    let mut names = format!("netns add {switch}\n");
    let mut cables = "link add br0 type bridge\nlink set br0 up\n".to_owned();
    for host in hosts {
        let (port, namespace, mac) = (host.port(), &host.namespace, host.mac());
        let _ = writeln!(names, "netns add {namespace}");
        let _ = writeln!(cables, "link add {port} type veth peer name eth0 address {mac} netns {namespace}");
        let _ = writeln!(cables, "link set {port} master br0");
        let _ = writeln!(cables, "link set {port} up");
    }
    marked(None, &names)?;
    marked(Some(&switch), &cables)?;
    for host in hosts {
        // Duplicate address detection would hold back the link-local address; nothing else needs switching off.
        let lines = format!("link set lo up\nlink set eth0 up\naddr add {}/24 dev eth0\n", host.ip);
        marked(Some(&host.namespace), &lines)?;
    }
    Ok(())
}

/// Removes the given namespaces; those that are gone already are no error.
pub(crate) fn remove(namespaces: &[String]) -> Result<()> {
    let present: Vec<&String> = namespaces.iter().filter(|name| namespace_file(name).exists()).collect();
    for name in present {
        let mut command = Command::new("ip");
        command.args(["netns", "del", name]);
        if let Err(error) = must(command, "", LIMIT)
            && namespace_file(name).exists()
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Namespaces that carry the lab's prefix, whether a state file knows them or not.
pub(crate) fn namespaces_of(lab: &str) -> Vec<String> {
    let prefix = namespace_prefix(lab);
    let Ok(entries) = fs::read_dir("/run/netns") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// Plugs or unplugs a host's cable at the bridge, so that the host itself loses the carrier.
pub(crate) fn set_plugged(lab: &str, host: &Host, plugged: bool) -> Result<()> {
    let line = format!("link set {} {}\n", host.port(), if plugged { "up" } else { "down" });
    ip_batch(Some(&switch(lab)), &line)
}

/// Whether the cable is plugged in at the bridge.
pub(crate) fn is_plugged(lab: &str, host: &Host) -> Result<bool> {
    let mut command = Command::new("ip");
    command.args(["-n", &switch(lab), "-o", "link", "show", "dev", &host.port()]);
    // The flags stand in angle brackets; `UP` there is what was asked for, unlike LOWER_UP.
    let output = must(command, "", LIMIT)?.stdout;
    let flags = output.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    Ok(flags.split(',').any(|flag| flag == "UP"))
}

fn nft(namespace: &str, rules: &str) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_file(namespace).display()));
    command.args(["nft", "-f", "-"]);
    must(command, rules, LIMIT).map(drop)
}

/// Puts exactly these cuts into effect, in the switch and on the hosts, in place of all earlier ones.
pub(crate) fn apply_cuts(lab: &str, hosts: &[Host], cuts: &[Cut]) -> Result<()> {
    let find = |name: &str| hosts.iter().find(|host| host.name == name);
    let mut rules =
        "table bridge mmmlab\ndelete table bridge mmmlab\ntable bridge mmmlab {\n chain cuts {\n  \
                     type filter hook forward priority 0; policy accept;\n"
            .to_owned();
    for cut in cuts {
        let (Some(from), Some(to)) = (find(&cut.from), find(&cut.to)) else { continue };
        let _ = match cut.manner {
            Manner::Drop => writeln!(rules, "  iifname {:?} oifname {:?} drop", from.port(), to.port()),
            Manner::Lossy(percent) => {
                let (from, to) = (from.port(), to.port());
                writeln!(rules, "  iifname {from:?} oifname {to:?} numgen random mod 100 < {percent} drop")
            }
            Manner::Power => {
                writeln!(rules, "  iifname {0:?} drop\n  oifname {0:?} drop", from.port())
            }
            Manner::Reset => Ok(()),
        };
    }
    rules.push_str(" }\n}\n");
    nft(&switch(lab), &rules)?;
    for host in hosts {
        apply_resets(host, hosts, cuts)?;
    }
    Ok(())
}

fn apply_resets(host: &Host, hosts: &[Host], cuts: &[Cut]) -> Result<()> {
    let mut rules = "table inet mmmlab\ndelete table inet mmmlab\n".to_owned();
    let from: Vec<&Host> = cuts
        .iter()
        .filter(|cut| cut.to == host.name && cut.manner == Manner::Reset)
        .filter_map(|cut| hosts.iter().find(|other| other.name == cut.from))
        .collect();
    if !from.is_empty() {
        rules.push_str(
            "table inet mmmlab {\n chain cuts {\n  type filter hook input priority 0; policy accept;\n  \
             tcp flags & rst == rst accept\n",
        );
        for other in from {
            // By link-layer address, so that the cluster's moving addresses are cut with the host that holds them.
            let mac = other.mac();
            let _ = writeln!(rules, "  ether saddr {mac} meta l4proto tcp reject with tcp reset");
            let _ = writeln!(rules, "  ether saddr {mac} drop");
        }
        rules.push_str(" }\n}\n");
    }
    nft(&host.namespace, &rules)
}

/// Addresses on the host's eth0, its own and the cluster's, without the link-local ones.
pub(crate) fn addresses(host: &Host) -> Result<Vec<String>> {
    let mut command = Command::new("ip");
    command.args(["-n", &host.namespace, "-j", "addr", "show", "dev", "eth0"]);
    let text = must(command, "", LIMIT)?.stdout;
    let bad = |reason: String| LabError::Other(format!("ip addr show on {}: {reason}", host.name));
    let links: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let infos = links[0]["addr_info"].as_array().ok_or_else(|| bad("no addr_info".to_owned()))?;
    Ok(infos
        .iter()
        .filter(|info| info["scope"] != "link")
        .filter_map(|info| info["local"].as_str().map(str::to_owned))
        .collect())
}

/// Takes every address but the host's own off eth0, as a network restart does.
pub(crate) fn flush(host: &Host) -> Result<()> {
    let lines =
        format!("addr flush dev eth0 scope global\naddr add {}/24 dev eth0\nlink set eth0 up\n", host.ip);
    ip_batch(Some(&host.namespace), &lines)
}
