//! The network check: whether any of `ping_ips` answers. A monitor that reaches nobody must not believe its other checks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::Event;
use mmm_net::Pinger;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::setup::Setup;
use crate::shell::Wiring;

pub(crate) struct NetworkCheck {
    wiring: Wiring,
}

impl NetworkCheck {
    pub(crate) fn new(wiring: &Wiring) -> Self {
        Self { wiring: wiring.clone() }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let setup = Arc::clone(&self.wiring.setup.borrow_and_update());
            let changed = async |wiring: &mut Wiring| {
                while wiring.setup.changed().await.is_ok() {
                    if !asks_the_same(&setup, &wiring.setup()) {
                        return;
                    }
                }
            };
            let mut wiring = self.wiring.clone();
            tokio::select! {
                () = self.watch(&setup) => return,
                () = changed(&mut wiring) => {}
            }
        }
    }

    /// Asks everybody until nobody wants to know any more.
    async fn watch(&self, setup: &Setup) {
        let limit = setup.checks.ping.timeout;
        let (answers, mut inbox) = mpsc::channel(setup.ping_ips.len().max(1));
        let mut asking = JoinSet::new();
        for ip in &setup.ping_ips {
            asking.spawn(ping_for_ever(*ip, setup.ping_interval, limit, answers.clone()));
        }
        // One answer within the time that two rounds may take is enough; each address is asked on its own.
        let patience = setup.ping_interval + limit + Duration::from_millis(200);
        let mut last_answer = Instant::now();
        loop {
            let reachable = tokio::select! {
                answered = inbox.recv() => {
                    let Some(answered) = answered else { return };
                    if answered {
                        last_answer = Instant::now();
                    }
                    answered || last_answer.elapsed() < patience
                }
                () = sleep_until(last_answer + patience) => {
                    // Asked again after another round, not in a busy loop.
                    last_answer = Instant::now();
                    false
                }
            };
            if self.wiring.events.send(Event::NetworkChecked { reachable }).await.is_err() {
                return;
            }
        }
    }
}

fn asks_the_same(one: &Setup, other: &Setup) -> bool {
    let asked = |setup: &Setup| (setup.ping_ips.clone(), setup.ping_interval, setup.checks.ping.timeout);
    asked(one) == asked(other)
}

async fn ping_for_ever(ip: IpAddr, every: Duration, limit: Duration, answers: mpsc::Sender<bool>) {
    let mut pinger = Pinger::new(ip);
    let mut told = false;
    loop {
        let began = Instant::now();
        let answered = match pinger.ping(limit).await {
            Ok(answered) => answered,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("Can't ping {ip} of ping_ips: {error}");
                }
                false
            }
        };
        if answers.send(answered).await.is_err() {
            return;
        }
        sleep_until(began + every).await;
    }
}
