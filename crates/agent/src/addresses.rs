//! The address lane: carries out its steps and says what is on the interface. One task does both, so that what it sees
//! is never older than what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::lease::kernel_lifetime;
use mmm_core::{AgentEvent, HeldAddress, Lifetime, Role, Step, StepOutcome};
use mmm_net::{AddressChanges, Addresses, Error, HeldAddress as HeldHere, Refuser};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::clock;
use crate::leaving_address::{drop_everywhere, turn_clients_away};
use crate::setup::Setup;

/// The new holder has announced an address long before; neighbours that missed it have asked again by then.
const REFUSE_FOR: Duration = Duration::from_secs(3);
/// Looked at without any change being announced, in case an announcement was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) struct AddressLane {
    kernel: Addresses,
    changes: AddressChanges,
    interface: String,
    /// What an address is looked for as: an address that is here keeps its role until it has left.
    roles: BTreeMap<IpAddr, Role>,
    setup: watch::Receiver<Arc<Setup>>,
    events: mpsc::Sender<AgentEvent>,
    /// Addresses that have just left and for which clients still call here.
    refusing: BTreeMap<IpAddr, JoinHandle<()>>,
}

impl AddressLane {
    pub(crate) fn new(
        (kernel, changes): (Addresses, AddressChanges),
        mut setup: watch::Receiver<Arc<Setup>>,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        let now = Arc::clone(&setup.borrow_and_update());
        let (interface, roles) = (now.interface.clone(), now.roles.clone());
        Self { kernel, changes, interface, roles, setup, events, refusing: BTreeMap::new() }
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
                Ok(()) = self.setup.changed() => {
                    self.follow().await;
                    self.look().await;
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
                let added = self.kernel.add(&self.interface, role.ip(), lifetime).await;
                if added.is_ok() {
                    // The monitor may have roles that this host's configuration lacks.
                    self.roles.insert(role.ip(), role.clone());
                }
                added
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

    /// Goes by what is configured now. Addresses that are here go over to another interface without being away.
    async fn follow(&mut self) {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        for (ip, role) in &setup.roles {
            // One that is here goes by its old name until it has left.
            self.roles.entry(*ip).or_insert_with(|| role.clone());
        }
        if setup.interface == self.interface {
            return;
        }
        match self.change_interface(&setup.interface).await {
            Ok(()) => setup.interface.clone_into(&mut self.interface),
            Err(error) => tracing::error!(
                "The addresses stay on {}, they can't go over to {} (cluster_interface): {error}",
                self.interface,
                setup.interface
            ),
        }
    }

    async fn change_interface(&self, new: &str) -> Result<(), Error> {
        let held = self.kernel.list().await?;
        let here = |held: &&HeldHere| held.ours && held.interface == self.interface;
        for held in held.iter().filter(here).filter(|held| self.roles.contains_key(&held.ip)) {
            self.kernel.add(new, held.ip, held.valid_for).await?;
            self.kernel.remove(&self.interface, held.ip).await?;
            if let Err(error) = mmm_net::announce(new, held.ip) {
                tracing::warn!("Can't announce {} on {new}: {error}", held.ip);
            }
        }
        Ok(())
    }

    /// What has left is looked for as what the configuration says of it, if anything.
    fn forget_names(&mut self, held: &[HeldHere]) {
        let setup = Arc::clone(&self.setup.borrow());
        let found: BTreeSet<IpAddr> = held.iter().map(|held| held.ip).collect();
        self.roles.retain(|ip, _| found.contains(ip));
        for (ip, role) in &setup.roles {
            self.roles.entry(*ip).or_insert_with(|| role.clone());
        }
    }

    async fn look(&mut self) {
        let held = match self.kernel.list().await {
            Ok(held) => held,
            Err(error) => {
                tracing::error!("Can't see which addresses this host has: {error}");
                return;
            }
        };
        self.forget_names(&held);
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
