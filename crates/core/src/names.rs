//! Names of hosts and roles, and a role with one of its addresses. No look-ups in the configuration happen here.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self(name)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A host as the configuration names it (`<host db1>`), never a DNS name.
    HostName
);
name!(
    /// A role as the configuration names it (`<role writer>`).
    RoleName
);

/// One address of a role, written `writer(192.168.8.30)` everywhere: on the wire, in files, in answers.
///
/// Sorted by that text and not by the number in the address, since 2.2.1 sorts so and its operators' scripts compare lines.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role {
    name: RoleName,
    ip: IpAddr,
    label: String,
}

/// A text that is not `NAME(IP)`.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a role with its address: expected NAME(IP), as in writer(192.168.8.30)")]
pub struct RoleError(String);

impl Role {
    pub fn new(name: impl Into<RoleName>, ip: IpAddr) -> Self {
        let name = name.into();
        let label = format!("{name}({ip})");
        Self { name, ip, label }
    }

    pub fn name(&self) -> &RoleName {
        &self.name
    }

    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Reads `NAME(IP)`.
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        let wrong = || RoleError(text.to_owned());
        let (name, rest) = text.split_once('(').ok_or_else(wrong)?;
        let ip = rest.strip_suffix(')').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self::new(name, ip.parse().map_err(|_| wrong())?))
    }

    /// Roles joined as 2.2.1 joins them: sorted, with `separator` between them.
    pub fn join<'a>(roles: impl IntoIterator<Item = &'a Role>, separator: &str) -> String {
        let mut labels: Vec<&str> = roles.into_iter().map(|role| role.label.as_str()).collect();
        labels.sort_unstable();
        labels.join(separator)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.label)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Ord for Role {
    fn cmp(&self, other: &Self) -> Ordering {
        self.label.cmp(&other.label)
    }
}

impl PartialOrd for Role {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for Role {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        Self::parse(&text)
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_sort_as_text_like_in_2_2_1() {
        let low = Role::parse("reader(192.168.8.100)").unwrap();
        let high = Role::parse("reader(192.168.8.34)").unwrap();
        assert!(low < high);
        assert_eq!(Role::join([&high, &low], ","), "reader(192.168.8.100),reader(192.168.8.34)");
    }

    #[test]
    fn a_role_reads_back_what_it_prints_with_either_address_family() {
        for text in ["writer(192.168.8.30)", "reader(fd00::5)"] {
            assert_eq!(Role::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "writer", "(1.2.3.4)", "writer(1.2.3)", "writer(1.2.3.4"] {
            assert!(Role::parse(text).is_err(), "{text}");
        }
    }
}
