//! Promises between agents, for a writer that lost its monitor: asking for them and giving them.

use super::{Asked, PROMISE_LIMIT, log};
use crate::agent::event::AgentAction;
use crate::agent::mind::AgentMind;
use crate::cluster::LogLevel;
use crate::lease::{Duty, HolderLease, Promise};
use crate::message::{PeerAnswer, PeerRequest};
use crate::moment::Moment;
use crate::names::HostName;

impl AgentMind {
    pub(in crate::agent) fn ask_promises(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let every = self.terms().length.renew_every();
        // Who lives by promises asks again as often as it would ask the monitor: the kernel's whole seconds are short.
        let by_promise = self.memory.lease.as_ref().is_some_and(HolderLease::is_kept_by_promises);
        let asks = by_promise || matches!(self.duty(now), Some(Duty::AskPromises | Duty::Close));
        if !asks || self.memory.fencing.is_some() || self.lease.round.is_some_and(|at| now.since(at) < every)
        {
            return;
        }
        let Some(lease) = &mut self.memory.lease else { return };
        self.lease.round = Some(now);
        lease.begin_round(now);
        let promise =
            Promise { holder: self.settings.host.clone(), epoch: lease.epoch(), length: lease.length() };
        for host in lease.list() {
            let request = PeerRequest::Promise { promise: promise.clone(), asked: now };
            actions.push(AgentAction::AskPeer { host: host.clone(), request });
        }
    }

    pub(in crate::agent) fn take_in_peer_answer(
        &mut self,
        now: Moment,
        host: &HostName,
        answer: &PeerAnswer,
        actions: &mut Vec<AgentAction>,
    ) {
        match answer {
            PeerAnswer::Promised { asked } => {
                let running = self.memory.fencing.is_none() && self.duty(now) != Some(Duty::Over);
                if running && let Some(lease) = &mut self.memory.lease {
                    lease.take_in_promise(host, *asked);
                }
            }
            PeerAnswer::Refused { reason, .. } => {
                let text = format!("The agent on host '{host}' promises nothing: {reason}");
                actions.push(log(LogLevel::Warn, text));
            }
            PeerAnswer::Contact { asked, sees_monitor } => self.take_in_contact(host, *asked, *sees_monitor),
        }
    }

    /// Another agent asks; the answer to a promise waits until it is on disk.
    pub(in crate::agent) fn take_in_request(
        &mut self,
        now: Moment,
        asker: u64,
        from: &HostName,
        request: PeerRequest,
        actions: &mut Vec<AgentAction>,
    ) {
        match request {
            PeerRequest::Contact { asked } => {
                let sees_monitor = self.lease.session.is_some();
                // Who is answered may keep its addresses by that, whether the monitor is seen from here or not.
                self.lease.contacts.insert(from.clone(), now);
                let answer = PeerAnswer::Contact { asked, sees_monitor };
                actions.push(AgentAction::AnswerPeer { asker, answer });
            }
            PeerRequest::Promise { promise, asked } => {
                let epoch = promise.epoch;
                let refused = if *from == promise.holder {
                    self.lease.promiser.promise(now, promise).err().map(|refusal| refusal.to_string())
                } else {
                    Some(format!("'{from}' asks in the name of '{}'", promise.holder))
                };
                if let Some(reason) = refused {
                    let text = format!("Promised nothing to host '{from}' for epoch {epoch}: {reason}");
                    actions.push(log(LogLevel::Warn, text));
                    let answer = PeerAnswer::Refused { asked, reason };
                    actions.push(AgentAction::AnswerPeer { asker, answer });
                } else {
                    let memory = self.next_memory;
                    self.lease.asked.push(Asked { asker, reading: asked, epoch, since: now, memory });
                }
            }
        }
    }

    /// Answers those whose promise is on disk: the state that was last written has their epoch.
    pub(in crate::agent) fn answer_promises(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        if self.lease.asked.is_empty() {
            return;
        }
        let written = self.lease.durable == *self.lease.promiser.durable();
        let protects = self.lease.durable.promise.as_ref().map(|promise| promise.epoch);
        let kept_up_to = self.memory_kept();
        self.lease.asked.retain(|asked| {
            if written && protects == Some(asked.epoch) && kept_up_to >= asked.memory {
                let answer = PeerAnswer::Promised { asked: asked.reading };
                actions.push(AgentAction::AnswerPeer { asker: asked.asker, answer });
                return false;
            }
            now.since(asked.since) < PROMISE_LIMIT
        });
    }
}
