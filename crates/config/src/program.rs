//! The programs that read the configuration, and sets of them.
//!
//! What each program asks of a variable stands in the registry, not here.

use std::fmt;

/// A program that reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// `mmm_agentd`
    Agent,
    /// `mmm_mond`
    Monitor,
    /// `mmm_control`
    Control,
    /// `mmm_backup`, `mmm_clone` and `mmm_restore`
    Tools,
}

impl Program {
    /// The name as an operator types it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "mmm_agentd",
            Self::Monitor => "mmm_mond",
            Self::Control => "mmm_control",
            Self::Tools => "mmm_tools",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Agent => 1,
            Self::Monitor => 2,
            Self::Control => 4,
            Self::Tools => 8,
        }
    }

    const fn config_stem(self) -> &'static str {
        match self {
            Self::Agent => "mmm_agent",
            Self::Monitor | Self::Control => "mmm_mon",
            Self::Tools => "mmm_tools",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The file name a program looks for, `mmm_mon.conf` or `mmm_mon_CLUSTER.conf`.
pub fn main_config_name(program: Program, cluster: Option<&str>) -> String {
    let stem = program.config_stem();
    match cluster {
        Some(cluster) => format!("{stem}_{cluster}.conf"),
        None => format!("{stem}.conf"),
    }
}

/// A set of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Programs(u8);

impl Programs {
    /// The empty set.
    pub const NONE: Self = Self(0);

    pub(crate) const fn of(programs: &[Program]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < programs.len() {
            bits |= programs[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether the program is in the set.
    pub const fn contains(self, program: Program) -> bool {
        self.0 & program.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_reads_the_file_of_the_monitor() {
        assert_eq!(main_config_name(Program::Control, None), "mmm_mon.conf");
        assert_eq!(main_config_name(Program::Monitor, Some("blue")), "mmm_mon_blue.conf");
        assert_eq!(main_config_name(Program::Agent, None), "mmm_agent.conf");
        assert_eq!(main_config_name(Program::Agent, Some("c1")), "mmm_agent_c1.conf");
        assert_eq!(main_config_name(Program::Tools, None), "mmm_tools.conf");
    }
}
