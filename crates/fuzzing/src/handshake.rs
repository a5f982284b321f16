//! The greeting and the handshake, on both sides.

use std::time::Duration;

use mmm_wire::{
    Accepted, Answering, Calling, Features, FirstLine, Purpose, Secret, accept_caller, greet_agent,
};
use tokio::io::{join, sink};

/// It ends sooner, since everything that will ever come is there.
const LIMIT: Duration = Duration::from_secs(5);

/// The bytes are all that the other side says. Nobody gets in by them where there is a secret.
pub fn handshake(data: &[u8]) {
    let first = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let FirstLine::Greeting(greeting) = FirstLine::parse(first) {
        let line = greeting.line();
        let again = FirstLine::parse(line.trim_end_matches('\n').as_bytes());
        assert_eq!(again, FirstLine::Greeting(greeting));
    }
    let secret = Secret::from_bytes(b"a secret of some length".to_vec()).expect("it is long enough");
    let features = Features::default();
    crate::run(async {
        for secret in [None, Some(&secret)] {
            let answering = Answering { host: "db1", caller: "somebody", secret, features: &features };
            let accepted = accept_caller(join(data, sink()), &answering, LIMIT, |_| Ok(())).await;
            // Lines of protocol 1 prove nothing, and what they may do is decided behind this.
            let is_let_in = matches!(accepted, Ok(Accepted::Session(_)));
            assert!(secret.is_none() || !is_let_in, "somebody got in without the secret");
            let calling = Calling {
                host: "db1",
                address: "somewhere",
                secret,
                purpose: Purpose::Monitor,
                instance: 7,
                cluster: None,
                features: &features,
            };
            let greeted = greet_agent(join(data, sink()), &calling, LIMIT).await;
            assert!(secret.is_none() || greeted.is_err(), "an agent without the secret was believed");
        }
    });
}
