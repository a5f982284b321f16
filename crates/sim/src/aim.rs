//! Faults aimed at one rule of the lease: the very course of events for which the rule is there. With the rule in force
//! nothing may come of it; with the rule dropped two writers do.

use mmm_core::lease::LeaseRule;
use mmm_core::{DataRule, HostName};

use crate::fault::Fault;
use crate::happening::Node;
use crate::random::Random;

/// Stands for the host that writes when the fault strikes.
pub(crate) const WRITING: &str = "*writing";
/// Stands for the first other host that could be the writer.
pub(crate) const OTHER: &str = "*other";

fn writing() -> HostName {
    HostName::from(WRITING)
}

fn other() -> HostName {
    HostName::from(OTHER)
}

fn cut(from: Node, to: Node, time: u64) -> Fault {
    Fault::Cut { from, to, time }
}

/// The length of the lease and the faults with their times.
pub(crate) fn plan(random: &mut Random, rule: LeaseRule, begin: u64) -> (u64, Vec<(u64, Fault)>) {
    let at = begin + random.between(0, 3_000);
    let monitor = || Node::Monitor(0);
    let (writer, second) = (|| Node::Host(writing()), || Node::Host(other()));
    // Cut off from the monitor and from each other, for long.
    let alone = |at: u64| vec![(at, Fault::Isolate { node: writer(), time: 14_000 })];
    match rule {
        LeaseRule::WaitersCountLonger => {
            // The holder's clock is slow, the monitor's fast, the kernel late, and nobody on the host does anything.
            (
                5,
                vec![
                    (at - 4_000, Fault::WorstClocks),
                    (at, Fault::FreezeAgent { host: writing(), time: 9_000 }),
                ],
            )
        }
        LeaseRule::ReadingsGoForwardAtMonitor => overtaken_renewal(random, at),
        LeaseRule::ReadingsGoForwardAtAgent => overtaking(random, at, &monitor(), &writer()),
        LeaseRule::GrantsCountAndPlansDoNot => {
            // The chosen host refuses because of its promise, and gives back what it was chosen with.
            let time = random.between(2_500, 3_100);
            let faults = vec![
                (at, cut(monitor(), writer(), 9_000)),
                (at, cut(writer(), monitor(), 9_000)),
                (at + random.between(500, 1_300), cut(second(), monitor(), time)),
                (at + random.between(4_500, 7_000), Fault::Isolate { node: writer(), time: 9_000 }),
            ];
            (3, faults)
        }
        LeaseRule::PromisesHoldAgainstTime => {
            let time = random.between(2_500, 3_100);
            let faults = vec![
                (at, cut(monitor(), writer(), 9_000)),
                (at, cut(writer(), monitor(), 9_000)),
                (at + random.between(500, 1_300), cut(second(), monitor(), time)),
            ];
            (3, faults)
        }
        LeaseRule::OnlyListedHosts => {
            // Nobody could take over when the writer is cut off; somebody can afterwards.
            let mut faults = vec![(at, Fault::KillServer { host: other(), down: 5_000 })];
            faults.extend(alone(at + 4_000));
            (3, faults)
        }
        LeaseRule::JoiningIsConfirmed => {
            // The grant that names the other host never arrives.
            let down = random.between(1_500, 3_000);
            let faults = vec![
                (at, Fault::KillServer { host: other(), down }),
                (at + down - 200, cut(monitor(), writer(), 12_000)),
                (at + down + random.between(300, 1_600), Fault::Isolate { node: writer(), time: 14_000 }),
            ];
            (4, faults)
        }
        LeaseRule::ReleaseCoversPromotionsOnTheirWay => {
            // A promotion is under way when its host gives it back.
            let time = random.between(2_000, 6_500);
            let faults = vec![
                (at, Fault::Isolate { node: writer(), time }),
                (at + random.between(0, 6_000), Fault::KillMonitor { down: random.between(5, 1_500) }),
                (at + time + random.between(0, 900), Fault::Isolate { node: second(), time: 9_000 }),
            ];
            (4, faults)
        }
        LeaseRule::NothingIsInferredFromSilence => {
            let down = random.between(200, 1_200);
            let faults = vec![
                (at, Fault::KillServer { host: writing(), down }),
                (at + random.between(0, 25), cut(monitor(), Node::Host(writing()), 9_000)),
            ];
            (5, faults)
        }
        LeaseRule::PermanentAddressesAreTakenOff => {
            // The first grant that names somebody comes late, and then nobody on the host does anything any more.
            let down = random.between(1_500, 3_000);
            let faults = vec![
                (at, Fault::KillServer { host: other(), down }),
                (
                    at + down - 300,
                    Fault::Slow {
                        from: monitor(),
                        to: writer(),
                        extra: random.between(1_050, 1_700),
                        time: 9_000,
                    },
                ),
                (
                    at + down + random.between(1_500, 7_000),
                    Fault::FreezeAgent { host: writing(), time: 12_000 },
                ),
            ];
            (3, faults)
        }
        LeaseRule::GrantsAreTakenInWhenKept => {
            // The file that has the list is still being written when the worker dies, and then the host is alone.
            let down = random.between(1_500, 3_000);
            let end = at + down + random.between(900, 3_500);
            let mut faults = vec![
                (at, Fault::KillServer { host: other(), down }),
                (at + down - 300, Fault::SlowRunDirectory { host: writing(), time: 4_500 }),
                (end, Fault::KillWorker { host: writing() }),
            ];
            faults.extend(alone(end));
            (4, faults)
        }
    }
}

/// The course of events for which a rule about data is there; the other rules are met often enough by chance.
pub(crate) fn data_plan(random: &mut Random, rule: DataRule, begin: u64) -> Option<Vec<(u64, Fault)>> {
    let at = begin + random.between(0, 6_000);
    let fault = match rule {
        // It falls back, acknowledges what nobody else has, and is gone.
        DataRule::AcknowledgedIsProven => {
            return Some(vec![
                (at, cut(Node::Host(writing()), Node::Host(other()), 9_000)),
                (at, cut(Node::Host(other()), Node::Host(writing()), 9_000)),
                (at + random.between(4_000, 7_000), Fault::PowerOff { host: writing(), down: 15_000 }),
            ]);
        }
        // Its agent has the log.
        DataRule::TailsAreSalvaged => Fault::KillServer { host: writing(), down: 9_000 },
        // Nobody has the log, and of the others each got what it could.
        DataRule::ReceivedDecides | DataRule::ReplicasLend => {
            Fault::PowerOff { host: writing(), down: 15_000 }
        }
        // Before it is back the role goes on in order, to whichever of the others does not have it.
        DataRule::TheLostStayHeld => {
            let order = |host: &str| Fault::Command { line: format!("move_role writer {host}") };
            return Some(vec![
                (at, Fault::PowerOff { host: writing(), down: 13_000 }),
                (at + 7_500, order("db2")),
                (at + 10_000, order("db3")),
            ]);
        }
        DataRule::TheBlindWait | DataRule::SurplusIsRecorded => return None,
    };
    Some(vec![(at, fault)])
}

/// A renewal is overtaken by that of the next session, and arrives when the other host has just come back: it would be named with a
/// reading older than a grant that did not name it. The writer is cut off before it hears of it.
fn overtaken_renewal(random: &mut Random, at: u64) -> (u64, Vec<(u64, Fault)>) {
    let (extra, reset) = (random.between(1_000, 1_900), at + 900 + random.between(0, 400));
    // A session is there again 250 ms after it was reset, and renews at once; the next time some 850 ms later.
    let renewed = reset + 250;
    let (killed, back) = (reset - random.between(100, 500), renewed + random.between(0, 60));
    let faults = vec![
        (at, Fault::Slow { from: Node::Host(writing()), to: Node::Monitor(0), extra, time: 900 }),
        (killed, Fault::KillServer { host: other(), down: back - killed }),
        (reset, Fault::BreakSession { host: writing() }),
        (renewed + random.between(780, 1_100), Fault::Isolate { node: Node::Host(writing()), time: 14_000 }),
    ];
    (3, faults)
}

/// The other host leaves the list and comes back while old messages overtake newer ones on this way.
fn overtaking(random: &mut Random, at: u64, from: &Node, to: &Node) -> (u64, Vec<(u64, Fault)>) {
    let mut faults = Vec::new();
    for turn in 0..4 {
        let at = at + turn * 2_600;
        let down = random.between(300, 1_200);
        faults.push((at + random.between(0, 600), Fault::KillServer { host: other(), down }));
        let (extra, time) = (random.between(800, 2_400), random.between(300, 1_500));
        faults.push((at, Fault::Slow { from: from.clone(), to: to.clone(), extra, time }));
        faults.push((at + random.between(200, 2_000), Fault::BreakSession { host: writing() }));
    }
    let alone = Fault::Isolate { node: Node::Host(writing()), time: 14_000 };
    faults.push((at + 8_000 + random.between(0, 3_500), alone));
    (4, faults)
}
