//! Where a server is and as whom we talk to it.
//!
//! Names are not resolved here: a name service that hangs would hang every check.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use secrecy::SecretString;

/// The address of a server. Displays as `192.168.8.32:3306` and `[fd00::32]:3306`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub port: u16,
}

impl Endpoint {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        SocketAddr::new(endpoint.ip, endpoint.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// A user of the server. The password never shows in debug output.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub password: SecretString,
}

impl Account {
    pub fn new(user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_endpoint_is_written_with_brackets() {
        let endpoint = Endpoint::new("fd00::32".parse().unwrap(), 3306);
        assert_eq!(endpoint.to_string(), "[fd00::32]:3306");
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let account = Account::new("mmm_agent", "hidden-word");
        assert!(!format!("{account:?}").contains("hidden-word"));
    }
}
