//! The address lane: carries out its steps and says what is on the interface. One task does both, so that what it sees
//! is never older than what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mmm_core::lease::kernel_lifetime;
use mmm_core::{AgentEvent, HeldAddress, Lifetime, Role, Step, StepOutcome};
use mmm_net::{AddressChanges, Addresses, Error, Refuser};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::clock;
use crate::leaving_address::{drop_everywhere, turn_clients_away};

/// The new holder has announced an address long before; neighbours that missed it have asked again by then.
const REFUSE_FOR: Duration = Duration::from_secs(3);
/// Looked at without any change being announced, in case an announcement was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) struct AddressLane {
    kernel: Addresses,
    changes: AddressChanges,
    interface: String,
    roles: BTreeMap<IpAddr, Role>,
    events: mpsc::Sender<AgentEvent>,
    /// Addresses that have just left and for which clients still call here.
    refusing: BTreeMap<IpAddr, JoinHandle<()>>,
}

impl AddressLane {
    pub(crate) fn new(
        (kernel, changes): (Addresses, AddressChanges),
        interface: String,
        roles: BTreeMap<IpAddr, Role>,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        Self { kernel, changes, interface, roles, events, refusing: BTreeMap::new() }
    }

    pub(crate) async fn run(mut self, mut steps: mpsc::Receiver<Step>) {
        self.look().await;
        loop {
            tokio::select! {
                step = steps.recv() => {
                    let Some(step) = step else { return };
                    let outcome = self.carry_out(&step).await;
                    self.look().await;
                    if self.events.send(AgentEvent::StepEnded { step, outcome }).await.is_err() {
                        return;
                    }
                }
                () = self.changes.changed() => self.look().await,
                () = sleep(LOOK_AGAIN) => self.look().await,
            }
        }
    }

    async fn carry_out(&mut self, step: &Step) -> StepOutcome {
        let result = match step {
            Step::AddAddress(role, lifetime) => {
                let lifetime = left_of(*lifetime);
                if lifetime.is_some_and(|left| left.is_zero()) {
                    return StepOutcome::Failed("too little is left of its lifetime".to_owned());
                }
                // Ended before the address is back, or it would refuse what the server answers.
                if let Some(refusing) = self.refusing.remove(&role.ip()) {
                    refusing.abort();
                    let _ = refusing.await;
                }
                self.kernel.add(&self.interface, role.ip(), lifetime).await
            }
            Step::KeepAddresses(lifetimes) => {
                let wanted: Vec<_> =
                    lifetimes.iter().map(|(role, lifetime)| (role.ip(), left_of(*lifetime))).collect();
                // What it did is seen by the look that follows.
                self.kernel.hold(&self.interface, &wanted).await.map(|_| ())
            }
            Step::DropAddress(role) => self.drop_and_refuse(role.ip()).await,
            other => {
                return StepOutcome::Failed(format!("'{}' is no step of the addresses", other.describe()));
            }
        };
        match result {
            Ok(()) => StepOutcome::Done,
            Err(error) => StepOutcome::Failed(error.to_string()),
        }
    }

    /// Clients learn at once that the address has left: connections to it are reset, new ones are refused, and they find
    /// the new holder the sooner. The address itself goes off whatever becomes of that.
    async fn drop_and_refuse(&mut self, ip: IpAddr) -> Result<(), Error> {
        if let Err(error) = self.turn_clients_away(ip).await {
            tracing::warn!("Clients that use {ip} here may wait for their own time limits: {error}");
        }
        drop_everywhere(&self.kernel, &self.interface, ip).await
    }

    async fn turn_clients_away(&mut self, ip: IpAddr) -> Result<(), Error> {
        let refuser = Refuser::prepare(&self.interface, ip)?;
        let refusing = &mut self.refusing;
        turn_clients_away(&self.kernel, &self.interface, ip, || {
            if let Some(earlier) = refusing.insert(ip, tokio::spawn(refuser.refuse_for(REFUSE_FOR))) {
                earlier.abort();
            }
        })
        .await
    }

    async fn look(&self) {
        let held = match self.kernel.list().await {
            Ok(held) => held,
            Err(error) => {
                tracing::error!("Can't see which addresses this host has: {error}");
                return;
            }
        };
        let found: BTreeSet<HeldAddress> = held
            .into_iter()
            .filter_map(|held| {
                let role = self.roles.get(&held.ip)?.clone();
                Some(HeldAddress { role, ours: held.ours, permanent: held.valid_for.is_none() })
            })
            .collect();
        // The worker ends when its mind does; nobody is left to tell then.
        let _ = self.events.send(AgentEvent::AddressesSeen(found)).await;
    }
}

/// What the kernel is told of a lifetime now; `None` is for ever.
fn left_of(lifetime: Lifetime) -> Option<Duration> {
    match lifetime {
        Lifetime::Forever => None,
        Lifetime::Until(end) => Some(kernel_lifetime(end.since(clock::now()))),
    }
}
