//! `mmm_control explain`: what holds a role, what would happen if its holder failed now, what forbids a change, and the one
//! command that would unblock it. Nothing is changed by it.

mod rehearsal;
mod words;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::ledger::{Outcome, StepKind};
use super::{Cluster, Trust};
use crate::gtid::{GtidSet, Origin};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::state::{HostState, Mode};
use rehearsal::{Rehearsal, Rehearsed, Way};

/// What keeps something from happening, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Obstruction {
    what: String,
    remedy: String,
}

impl Obstruction {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    fn json(&self) -> Value {
        json!({"what": self.what, "remedy": self.remedy})
    }
}

/// A host that could have the role.
struct Able {
    host: HostName,
    state: HostState,
    no: Option<Obstruction>,
}

/// One way of losing the holder.
struct Foreseen {
    way: Way,
    rehearsed: Result<Rehearsed, String>,
    lost_at_most: Option<String>,
}

impl Cluster {
    pub(super) fn explain(&self, now: Moment, role: Option<&str>) -> String {
        match self.explained_role(role) {
            Ok(name) if name == self.settings.active_master_role => self.explain_writer(now),
            Ok(name) => self.explain_other(now, &name),
            Err(error) => error,
        }
    }

    pub(super) fn explain_json(&self, now: Moment, role: Option<&str>) -> String {
        let name = match self.explained_role(role) {
            Ok(name) => name,
            Err(error) => return error,
        };
        let able: Vec<Value> = self
            .able(now, &name)
            .iter()
            .map(|able| json!({"host": able.host, "state": able.state, "no": able.no.as_ref().map(Obstruction::json)}))
            .collect();
        let held: Vec<Value> = self
            .slots
            .iter()
            .filter(|(role, _)| *role.name() == name)
            .map(|(role, slot)| json!({"address": role.ip(), "host": slot.holder, "granted": slot.grant.is_some()}))
            .collect();
        let mut value = json!({
            "role": name,
            "held": held,
            "candidates": able,
            "forbids": self.forbidding(now).iter().map(Obstruction::json).collect::<Vec<_>>(),
        });
        if name == self.settings.active_master_role
            && let Some(fields) = value.as_object_mut()
        {
            fields.insert("why".to_owned(), json!(self.why(now)));
            fields.insert(
                "problem".to_owned(),
                json!(self.active_master().and_then(|holder| self.problem_of(holder))),
            );
            fields.insert("lease".to_owned(), self.lease_json(now));
            fields.insert(
                "if_lost".to_owned(),
                json!(self.foresee(now).iter().map(words::json_of).collect::<Vec<_>>()),
            );
        }
        value.to_string()
    }

    fn explained_role(&self, role: Option<&str>) -> Result<RoleName, String> {
        let Some(name) = role else { return Ok(self.settings.active_master_role.clone()) };
        match self.settings.roles.get_key_value(name) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(format!("ERROR: Unknown role name '{name}'!")),
        }
    }

    fn explain_writer(&self, now: Moment) -> String {
        let mut text = String::new();
        let Some(role) = self.writer_role() else { return "ERROR: The role has no address.".to_owned() };
        let _ = writeln!(text, "Role {role}: {}{}.", self.why(now), self.since(now));
        text.push_str(&self.lease_words(now));
        if let Some(holder) = self.active_master() {
            if let Some(problem) = self.problem_of(holder) {
                let _ = writeln!(text, "{holder} says: {problem}");
            }
            let _ = writeln!(text, "\nIf {holder} failed now:");
            for foreseen in self.foresee(now) {
                words::tell(&mut text, &foreseen);
            }
        }
        self.tell_able(now, &self.settings.active_master_role.clone(), &mut text);
        self.tell_forbidding(now, &mut text);
        text
    }

    /// What stands in a host's way by its agent's word.
    fn problem_of(&self, host: &HostName) -> Option<&String> {
        self.hosts.get(host).filter(|host| host.agent.connected)?.agent.status.problem.as_ref()
    }

    fn explain_other(&self, now: Moment, name: &RoleName) -> String {
        let mut text = String::new();
        for (role, slot) in self.slots.iter().filter(|(role, _)| role.name() == name) {
            let _ = match &slot.holder {
                Some(holder) if slot.grant.is_some() => writeln!(text, "Role {role}: {holder} has it."),
                Some(holder) => {
                    let leaving: Vec<&str> = slot.leaving.keys().map(HostName::as_str).collect();
                    let waits = if leaving.is_empty() {
                        "its agent".to_owned()
                    } else {
                        format!("{} to let go", leaving.join(", "))
                    };
                    writeln!(text, "Role {role}: {holder} is to get it, waiting for {waits}.")
                }
                None => writeln!(text, "Role {role}: nobody has it."),
            };
        }
        let able = self.able(now, name);
        let others = able.iter().filter(|able| able.no.is_none()).count();
        let _ = match others {
            0 => writeln!(text, "\nNo host can have it now."),
            1 => writeln!(text, "\nIf the host that can have it failed, nobody could."),
            count => writeln!(
                text,
                "\nIf one of the {count} hosts that can have it failed, its addresses would go to the others: at once when its agent lets go of them, else {:.1} s after its agent was last heard.",
                self.lapse().as_secs_f32()
            ),
        };
        self.tell_able(now, name, &mut text);
        self.tell_forbidding(now, &mut text);
        text
    }

    fn tell_able(&self, now: Moment, name: &RoleName, text: &mut String) {
        text.push_str("\nWho could have it:\n");
        for able in self.able(now, name) {
            let _ = match &able.no {
                None => writeln!(text, "  {:<11} {:<17} yes", able.host, able.state),
                Some(no) => {
                    writeln!(
                        text,
                        "  {:<11} {:<17} no: {}\n{:32}-> {}",
                        able.host, able.state, no.what, "", no.remedy
                    )
                }
            };
        }
    }

    fn tell_forbidding(&self, now: Moment, text: &mut String) {
        let forbids = self.forbidding(now);
        if forbids.is_empty() {
            text.push_str("\nNothing forbids a change.\n");
            return;
        }
        text.push_str("\nWhat forbids a change:\n");
        for no in forbids {
            let _ = writeln!(text, "  {}\n    -> {}", no.what, no.remedy);
        }
    }

    /// Since when the holder has it, as far as that was recorded.
    fn since(&self, now: Moment) -> String {
        let Some((record, ago)) = self.newest_record_ago(now) else { return String::new() };
        let serves = record.to.as_ref() == self.active_master()
            && matches!(record.outcome, Some(Outcome::Done | Outcome::Undone));
        if !serves {
            return String::new();
        }
        format!(", since {} s ago (record {})", ago.as_secs(), record.number)
    }

    fn lease_words(&self, now: Moment) -> String {
        let Some(record) = self.running_record() else { return "No lease runs.\n".to_owned() };
        let Some(ends) = self.keeper.book.ends() else {
            return "Its lease does not run out: it knows of nobody who could take over.\n".to_owned();
        };
        let joined: Vec<&str> = record
            .list
            .iter()
            .filter(|(_, listed)| **listed == crate::lease::Listed::Joined)
            .map(|(name, _)| name.as_str())
            .collect();
        let list = if joined.is_empty() { "nobody yet".to_owned() } else { joined.join(", ") };
        format!(
            "Its lease runs for {:.1} s unless it is renewed; it knows that these could take over: {list}.\n",
            ends.since(now).as_secs_f32()
        )
    }

    fn foresee(&self, now: Moment) -> Vec<Foreseen> {
        let (Some(role), Some(holder)) = (self.writer_role().cloned(), self.active_master().cloned()) else {
            return Vec::new();
        };
        Way::ALL.into_iter().map(|way| self.foresee_one(now, &role, &holder, way)).collect()
    }

    fn foresee_one(&self, now: Moment, role: &Role, holder: &HostName, way: Way) -> Foreseen {
        if let Some(old) = self.hosts.keys().find(|name| self.speaks_protocol1(name)) {
            let why = format!("the agent on {old} is one of 2.2.1, whose answers can't be foreseen");
            return Foreseen { way, rehearsed: Err(why), lost_at_most: None };
        }
        if !self.has_started() {
            let why = "the monitor has not finished its initial checks".to_owned();
            return Foreseen { way, rehearsed: Err(why), lost_at_most: None };
        }
        let rehearsed = Rehearsal::new(self, now, role, holder, way).run();
        let lost_at_most = rehearsed.to.as_ref().map(|(to, _)| self.at_stake(holder, to, way));
        Foreseen { way, rehearsed: Ok(rehearsed), lost_at_most }
    }

    /// What the successor would lack, as far as both have told.
    fn at_stake(&self, holder: &HostName, to: &HostName, way: Way) -> String {
        if way == Way::AgentLost {
            return "nothing for good: what it had not received stays on the old writer".to_owned();
        }
        let waits = self.semi_sync_source_of(holder).is_some_and(|source| source.fallen_back.is_none());
        if waits && self.acknowledging(holder).contains(&to) {
            return format!("nothing that was acknowledged: commits wait for {to}");
        }
        let lacking = self.lacking(holder, to);
        let known = match lacking {
            None => "what it had not sent yet; how much is not known".to_owned(),
            Some(0) => "what it writes until then and had not sent; by what was told last nothing is missing"
                .to_owned(),
            Some(count) => {
                format!("what it had not sent yet; by what was told last {to} lacked {count} transactions")
            }
        };
        match way {
            Way::ServerDies => format!("{known}. It stays in the log on {holder}"),
            Way::HostVanishes | Way::AgentLost => known,
        }
    }

    fn lacking(&self, holder: &HostName, to: &HostName) -> Option<u64> {
        let written = self.hosts.get(holder)?.agent.status.gtid.as_ref()?;
        let status = &self.hosts.get(to)?.agent.status;
        let has: GtidSet = match &status.received {
            Some(received) => received.set()?,
            None => status.gtid.as_ref()?.set()?,
        };
        let own = written.set()?.filter(|origin| match origin {
            Origin::Server { server, .. } => *server == written.server_id,
            Origin::Uuid { .. } => true,
        });
        Some(own.minus(&has).count())
    }

    fn able(&self, now: Moment, name: &RoleName) -> Vec<Able> {
        let hosts = self.settings.roles.get(name).map(|role| role.hosts.clone()).unwrap_or_default();
        hosts
            .into_iter()
            .filter_map(|host| {
                let state = self.hosts.get(&host)?.state;
                let no = self.why_not(now, name, &host);
                Some(Able { host, state, no })
            })
            .collect()
    }

    fn why_not(&self, now: Moment, role: &RoleName, name: &HostName) -> Option<Obstruction> {
        let host = self.hosts.get(name)?;
        if let Some(what) = self.host_obstruction(name, host.state) {
            return Some(what);
        }
        if !host.agent.connected {
            return Some(Obstruction::new(
                "its agent can't be reached",
                format!("on {name}: start mmm_agentd"),
            ));
        }
        if !self.eligible(now, role, name) {
            return Some(Obstruction::new(
                "its server is not well, by its agent's word or the checks",
                format!("mmm_control checks {name}"),
            ));
        }
        let writer = *role == self.settings.active_master_role;
        if writer && self.active_master() != Some(name) {
            let why = self.why_not_able(now, name)?;
            return Some(Obstruction::new(why, "it is named with the next renewal of the lease"));
        }
        None
    }

    fn host_obstruction(&self, name: &HostName, state: HostState) -> Option<Obstruction> {
        let remedy = match state {
            HostState::Online => return None,
            HostState::AdminOffline | HostState::AwaitingRecovery => format!("mmm_control set_online {name}"),
            HostState::HardOffline => {
                format!("start its server or host; mmm_control checks {name} says what is missing")
            }
            HostState::ReplicationFail if self.is_diverged(name) => format!("mmm_control rejoin {name}"),
            HostState::ReplicationFail | HostState::ReplicationDelay => {
                format!(
                    "mend its replication, mmm_control checks {name}; in an emergency mmm_control move_role --force {} {name}",
                    self.settings.active_master_role
                )
            }
            HostState::Unknown => format!("mmm_control checks {name}"),
        };
        Some(Obstruction::new(format!("it is {state}"), remedy))
    }

    /// What keeps the whole cluster from changing anything.
    fn forbidding(&self, now: Moment) -> Vec<Obstruction> {
        let mut all = Vec::new();
        match self.mode {
            Mode::Active => {}
            Mode::Manual => all.push(Obstruction::new(
                "manual mode: no role leaves a failed host by itself",
                "mmm_control set_active",
            )),
            Mode::Wait => all.push(Obstruction::new(
                "wait mode: no role leaves a failed host before both masters are there",
                "mmm_control set_active",
            )),
            Mode::Passive => all.push(Obstruction::new(
                format!(
                    "passive mode: nothing changes ({})",
                    self.passive_cause.lines().next().unwrap_or_default()
                ),
                "mmm_control set_active",
            )),
        }
        if !self.network {
            all.push(Obstruction::new(
                "the monitor reaches none of ping_ips and trusts nothing it sees",
                "mend the monitor's network",
            ));
        }
        for name in self.refused.keys() {
            all.push(Obstruction::new(
                format!("the agent on {name} has another monitor: this one decides nothing"),
                "stop one of the two monitors",
            ));
        }
        if let Some(trouble) = &self.keeper.trouble {
            all.push(Obstruction::new(
                format!("nobody is promoted: the monitor's epoch file can't be written ({trouble})"),
                "make room on the monitor's disk",
            ));
        }
        if let Trust::Lost(why) = &self.keeper.trust {
            let unheard: Vec<&str> = self.unheard().into_iter().map(HostName::as_str).collect();
            let first = unheard.first().copied().unwrap_or("HOST");
            all.push(Obstruction::new(
                format!("nobody is promoted ({why}): {} did not report yet", unheard.join(", ")),
                format!(
                    "start the agent there; if the host is off for good: mmm_control confirm_dead {first}"
                ),
            ));
        }
        if let Some(holder) = self.active_master() {
            if let Some(hanging) = self.hanging_commits(holder) {
                all.push(Obstruction::new(hanging, "mend the replication of the hosts that acknowledge"));
            }
            if let Some(promiser) = self.promisers(now).first() {
                all.push(Obstruction::new(
                    format!("{promiser} has promised {holder} not to take its role: it lives, out of the monitor's reach"),
                    format!("mend the way from the monitor to {holder}"),
                ));
            }
        }
        if let Some(record) = self.open_record() {
            let doing = record.steps.iter().rev().find(|step| step.step == StepKind::Waits);
            let waits = doing.map_or_else(String::new, |step| format!(" (waits {})", step.note));
            all.push(Obstruction::new(
                format!("{} {} is under way{waits}", record.kind.as_str(), record.number),
                format!("mmm_control history {}", record.number),
            ));
        }
        all
    }
}
