//! Looks once, after the start, whether the masters of a pair would hand out the same automatic numbers.

use std::time::Duration;

use mmm_mysql::Session;
use tokio::time::sleep;

use crate::setup::HostSetup;
use crate::shell::Wiring;

const LIMIT: Duration = Duration::from_secs(5);
/// A server that is not there at the start is asked again now and then.
const AGAIN: Duration = Duration::from_secs(60);

pub(crate) async fn check_auto_increment(wiring: Wiring) {
    let setup = wiring.setup();
    let pairs: Vec<(HostSetup, HostSetup)> = setup
        .mind
        .hosts
        .iter()
        .filter_map(|(name, host)| Some((name, host.peer.as_ref()?)))
        // Each pair once.
        .filter(|(name, peer)| name < peer)
        .filter_map(|(name, peer)| {
            let find =
                |wanted: &mmm_core::HostName| setup.hosts.iter().find(|host| host.name == *wanted).cloned();
            Some((find(name)?, find(peer)?))
        })
        .collect();
    for (one, other) in pairs {
        loop {
            let (Some(first), Some(second)) = (ask(&one).await, ask(&other).await) else {
                sleep(AGAIN).await;
                continue;
            };
            if let Some(problem) = collision(first, second) {
                tracing::warn!(
                    "Masters '{}' and '{}' may create the same automatic numbers: {problem}",
                    one.name,
                    other.name
                );
            }
            break;
        }
    }
}

async fn ask(host: &HostSetup) -> Option<(u64, u64)> {
    let mut session = Session::connect(&host.server, &host.account, LIMIT).await.ok()?;
    let answer = session.auto_increment(LIMIT).await.ok();
    session.close().await;
    answer
}

/// What is wrong with increment and offset of two masters.
fn collision(first: (u64, u64), second: (u64, u64)) -> Option<String> {
    let ((increment, offset), (other_increment, other_offset)) = (first, second);
    if increment < 2 || other_increment < 2 {
        return Some(format!(
            "auto_increment_increment is {increment} and {other_increment}, expected 2 at least on both"
        ));
    }
    if increment != other_increment {
        return Some(format!(
            "auto_increment_increment is {increment} and {other_increment}, expected the same on both"
        ));
    }
    if offset == other_offset {
        return Some(format!("auto_increment_offset is {offset} on both, expected different ones"));
    }
    (offset > increment || other_offset > increment).then(|| {
        format!("auto_increment_offset is {offset} and {other_offset}, expected none above {increment}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_that_can_never_meet_are_fine() {
        assert_eq!(collision((2, 1), (2, 2)), None);
        assert!(collision((1, 1), (1, 1)).is_some());
        assert!(collision((2, 1), (3, 2)).is_some());
        assert!(collision((2, 1), (2, 1)).is_some());
        assert!(collision((2, 1), (2, 3)).is_some());
    }
}
