//! Proofs of the shared secret: HMAC-SHA-256 over everything the two sides told each other.
//!
//! Both nonces are in it, so that a recorded proof is worth nothing in another session; a label for the role (agent that
//! answers, monitor or agent that calls), so that a proof can neither be sent back to who made it nor be used for
//! something else; versions and features, so that nobody between the two can talk them down. What follows the handshake is not covered: only TLS protects a session from someone who can
//! change its bytes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::messages::{Auth, Hello};
use crate::{Greeting, HexBytes, Proof, Purpose, Secret};

/// The agent's proof, which goes into `hello`.
pub(crate) fn agent_proof(secret: &Secret, greeting: &Greeting, hello: &Hello) -> Proof {
    HexBytes(agent_mac(secret, greeting, hello).finalize().into_bytes().into())
}

/// Whether `hello` carries the agent's proof; takes as long for a wrong one as for the right one.
pub(crate) fn agent_proof_is_right(secret: &Secret, greeting: &Greeting, hello: &Hello) -> bool {
    let mac = agent_mac(secret, greeting, hello);
    hello.proof.is_some_and(|proof| mac.verify_slice(&proof.0).is_ok())
}

/// The proof of the monitor or agent that calls, which goes into `auth`.
pub(crate) fn caller_proof(secret: &Secret, greeting: &Greeting, hello: &Hello, auth: &Auth) -> Proof {
    HexBytes(caller_mac(secret, greeting, hello, auth).finalize().into_bytes().into())
}

/// Whether `auth` carries the caller's proof; takes as long for a wrong one as for the right one.
pub(crate) fn caller_proof_is_right(
    secret: &Secret,
    greeting: &Greeting,
    hello: &Hello,
    auth: &Auth,
) -> bool {
    let mac = caller_mac(secret, greeting, hello, auth);
    auth.proof.is_some_and(|proof| mac.verify_slice(&proof.0).is_ok())
}

fn agent_mac(secret: &Secret, greeting: &Greeting, hello: &Hello) -> Hmac<Sha256> {
    transcript(secret, "mmm3 agent", greeting, hello)
}

fn caller_mac(secret: &Secret, greeting: &Greeting, hello: &Hello, auth: &Auth) -> Hmac<Sha256> {
    // What the caller is decides the label too, so that a proof made for one purpose is worth nothing for another.
    let (label, claimed_host) = match &auth.purpose {
        Purpose::Monitor => ("mmm3 monitor", None),
        Purpose::Peer { host } => ("mmm3 peer", Some(host)),
    };
    let mut mac = transcript(secret, label, greeting, hello);
    field(&mut mac, &auth.instance.to_be_bytes());
    field(&mut mac, &[u8::from(auth.cluster.is_some())]);
    field(&mut mac, auth.cluster.as_deref().unwrap_or_default().as_bytes());
    field(&mut mac, auth.program.as_bytes());
    if let Some(host) = claimed_host {
        field(&mut mac, host.as_bytes());
    }
    mac
}

fn transcript(secret: &Secret, label: &str, greeting: &Greeting, hello: &Hello) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(secret.key()).expect("HMAC takes a key of any length");
    field(&mut mac, label.as_bytes());
    field(&mut mac, greeting.to_string().as_bytes());
    field(&mut mac, hello.host.as_bytes());
    field(&mut mac, &hello.version.to_be_bytes());
    field(&mut mac, hello.features.to_string().as_bytes());
    field(&mut mac, hello.program.as_bytes());
    field(&mut mac, &hello.nonce.0);
    mac
}

/// Each field is preceded by its length, so that no two different transcripts are the same bytes.
fn field(mac: &mut Hmac<Sha256>, bytes: &[u8]) {
    mac.update(&(bytes.len() as u64).to_be_bytes());
    mac.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Nonce};

    fn parts() -> (Secret, Greeting, Hello, Auth) {
        let secret = Secret::from_bytes(b"0123456789abcdef".to_vec()).unwrap();
        let nonce = Nonce::random().unwrap();
        let features = Features::of(["lease"]);
        let greeting = Greeting { host: "db1".to_owned(), version: 2, features: features.clone(), nonce };
        let hello = Hello {
            host: "db1".to_owned(),
            version: 2,
            features,
            program: "3.0.0".to_owned(),
            nonce: Nonce::random().unwrap(),
            proof: None,
        };
        let auth = Auth {
            instance: 7,
            cluster: None,
            program: "3.0.0".to_owned(),
            proof: None,
            purpose: Purpose::Monitor,
        };
        (secret, greeting, hello, auth)
    }

    fn peer(host: &str) -> Purpose {
        Purpose::Peer { host: host.to_owned() }
    }

    #[test]
    fn a_proof_is_right_for_its_own_side_only() {
        let (secret, greeting, mut hello, mut auth) = parts();
        assert!(!agent_proof_is_right(&secret, &greeting, &hello));
        hello.proof = Some(agent_proof(&secret, &greeting, &hello));
        assert!(agent_proof_is_right(&secret, &greeting, &hello));
        auth.proof = hello.proof;
        assert!(!caller_proof_is_right(&secret, &greeting, &hello, &auth));
        auth.proof = Some(caller_proof(&secret, &greeting, &hello, &auth));
        assert!(caller_proof_is_right(&secret, &greeting, &hello, &auth));
    }

    #[test]
    fn changing_anything_that_was_said_makes_the_monitors_proof_wrong() {
        let (secret, greeting, hello, mut auth) = parts();
        auth.proof = Some(caller_proof(&secret, &greeting, &hello, &auth));
        let greetings = [
            Greeting { host: "db2".to_owned(), ..greeting.clone() },
            Greeting { version: 3, ..greeting.clone() },
            Greeting { features: Features::default(), ..greeting.clone() },
            Greeting { nonce: Nonce::random().unwrap(), ..greeting.clone() },
        ];
        for changed in greetings {
            assert!(!caller_proof_is_right(&secret, &changed, &hello, &auth), "{changed:?}");
        }
        let hellos = [
            Hello { host: "db2".to_owned(), ..hello.clone() },
            Hello { version: 3, ..hello.clone() },
            Hello { features: Features::default(), ..hello.clone() },
            Hello { program: String::new(), ..hello.clone() },
            Hello { nonce: Nonce::random().unwrap(), ..hello.clone() },
        ];
        for changed in hellos {
            assert!(!caller_proof_is_right(&secret, &greeting, &changed, &auth), "{changed:?}");
        }
        let auths = [
            Auth { instance: 8, ..auth.clone() },
            Auth { cluster: Some(String::new()), ..auth.clone() },
            Auth { program: String::new(), ..auth.clone() },
            Auth { purpose: peer("db2"), ..auth.clone() },
        ];
        for changed in auths {
            assert!(!caller_proof_is_right(&secret, &greeting, &hello, &changed), "{changed:?}");
        }
    }

    #[test]
    fn the_proof_of_an_agent_that_calls_is_right_for_its_host_and_for_no_monitor() {
        let (secret, greeting, hello, mut auth) = parts();
        auth.purpose = peer("db2");
        auth.proof = Some(caller_proof(&secret, &greeting, &hello, &auth));
        assert!(caller_proof_is_right(&secret, &greeting, &hello, &auth));
        for purpose in [peer("db3"), peer("db"), peer(""), Purpose::Monitor] {
            let changed = Auth { purpose, ..auth.clone() };
            assert!(!caller_proof_is_right(&secret, &greeting, &hello, &changed), "{changed:?}");
        }
        // The end of one field cannot be passed off as the beginning of the next.
        let moved = Auth { program: "3.0.0d".to_owned(), purpose: peer("b2"), ..auth.clone() };
        assert!(!caller_proof_is_right(&secret, &greeting, &hello, &moved));
    }

    /// Computed apart from this program. A proof that changes locks out every program that was not replaced with this one.
    #[test]
    fn proofs_are_those_that_programs_already_in_use_expect() {
        let (secret, mut greeting, mut hello, mut auth) = parts();
        greeting.nonce = HexBytes([1; 16]);
        hello.nonce = HexBytes([2; 16]);
        let proof = |auth: &Auth| caller_proof(&secret, &greeting, &hello, auth).to_string();
        assert_eq!(proof(&auth), "65e2d829594638ff693b8f40a23ff13bf1da260332db696f037137a817828c89");
        auth.purpose = peer("db2");
        assert_eq!(proof(&auth), "d7ce1194704f5a850910bc8fa41f86778c3d6270c1a1b2f5b019daa031bebc2b");
    }
}
