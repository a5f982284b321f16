//! The command line. Options end at the first word of the command; from there on everything is the monitor's to read.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// What is shown when there is no command.
pub(crate) const USAGE: &str = "\
Usage: mmm_control [@CLUSTER] [--config FILE] [--json] COMMAND...
See 'mmm_control help' for the commands of the monitor and 'mmm_control --help' for the options.";

/// Sends a command to the monitor and prints its answer.
#[derive(Debug, Parser)]
#[command(
    name = "mmm_control",
    version,
    override_usage = "mmm_control [@CLUSTER] [OPTIONS] COMMAND...",
    after_help = "\
`mmm_control help` shows the commands of the monitor; `mmm_control watch [--count N]` redraws `show` each second.
`mmm_control confirm_dead HOST` asks before it takes your word; with --yes it does not.

Exit codes: 0 the monitor answered; 1 it answered with ERROR, or did not answer in full, or a question was not answered with yes; 2 a wrong option; 255 no command."
)]
pub(crate) struct Arguments {
    /// Use this configuration file instead of `mmm_mon.conf` or `mmm_mon_CLUSTER.conf`
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Ask for the answer as JSON (show, checks, mode, history, explain and plan only)
    #[arg(long)]
    pub(crate) json: bool,

    /// Wait this long for the whole answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(crate) timeout: u64,

    /// The cluster's name, given as `@CLUSTER` before the command
    #[arg(skip)]
    pub(crate) cluster: Option<String>,

    /// The command and its words, sent as they are
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

impl Arguments {
    /// Reads the command line; ends the program for `--help`, `--version` and wrong options.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::try_read(arguments.into_iter().collect()).unwrap_or_else(|error| error.exit())
    }

    /// `@CLUSTER` is a word to the parser, which takes all that follows a word as words. So it is taken out and
    /// the rest read anew.
    fn try_read(mut arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut read = Self::try_parse_from(&arguments)?;
        if let Some(cluster) = read.words.first().and_then(|word| word.strip_prefix('@')) {
            let cluster = cluster.to_owned();
            arguments.remove(arguments.len() - read.words.len());
            read = Self::try_parse_from(&arguments)?;
            read.cluster = Some(cluster);
        }
        // No command of the monitor has a word `--json`, and people write options last.
        let before = read.words.len();
        read.words.retain(|word| word != "--json");
        read.json |= read.words.len() < before;
        read.options_first();
        Ok(read)
    }

    /// The monitor knows these options in one place only.
    fn options_first(&mut self) {
        for option in ["--long", "--yes"] {
            let before = self.words.len();
            if before > 1 {
                self.words.retain(|word| word != option);
            }
            if self.words.len() < before && !self.words.is_empty() {
                self.words.insert(1, option.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Arguments {
        let arguments = std::iter::once("mmm_control").chain(line.split_whitespace());
        Arguments::try_read(arguments.map(OsString::from).collect()).unwrap()
    }

    #[test]
    fn the_cluster_may_stand_before_or_after_the_options() {
        for line in ["@c1 --config f --json show", "--config f @c1 --json show", "--config f --json @c1 show"]
        {
            let read = read(line);
            assert_eq!(read.cluster.as_deref(), Some("c1"), "{line}");
            assert_eq!(read.config, Some(PathBuf::from("f")), "{line}");
            assert!(read.json, "{line}");
            assert_eq!(read.words, ["show"], "{line}");
        }
    }

    #[test]
    fn an_at_sign_later_in_the_command_is_the_monitors() {
        let read = read("checks @c1");
        assert_eq!((read.cluster, read.words), (None, vec!["checks".to_owned(), "@c1".to_owned()]));
    }

    #[test]
    fn words_that_look_like_options_are_sent() {
        assert_eq!(read("move_role --force writer db2").words, ["move_role", "--force", "writer", "db2"]);
        assert_eq!(read("show --config x").words, ["show", "--config", "x"]);
        assert_eq!(read("help").words, ["help"]);
        assert_eq!(read("show --version").words, ["show", "--version"]);
    }

    #[test]
    fn json_may_be_asked_for_after_the_command() {
        let read = read("checks all --json");
        assert!(read.json);
        assert_eq!(read.words, ["checks", "all"]);
    }

    #[test]
    fn long_and_yes_may_stand_anywhere_after_the_command() {
        for line in ["confirm_dead db1 --yes", "confirm_dead --yes db1"] {
            assert_eq!(read(line).words, ["confirm_dead", "--yes", "db1"], "{line}");
        }
        assert_eq!(read("show --long").words, ["show", "--long"]);
        let read = read("show --long --json");
        assert!(read.json);
        assert_eq!(read.words, ["show", "--long"]);
    }

    #[test]
    fn a_cluster_alone_is_no_command() {
        assert!(read("@c1").words.is_empty());
        assert!(read("").words.is_empty());
    }
}
