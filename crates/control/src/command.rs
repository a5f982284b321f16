//! What the words ask for: a line to the monitor, or `watch`, which is ours.

use mmm_wire::CONTROL_LINE_BYTES_MAX;

use crate::confirm::Word;

/// Commands that the monitor answers in JSON when asked to.
const JSON_COMMANDS: [&str; 6] = ["show", "checks", "mode", "history", "explain", "plan"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send this line. `quit` is the one line that nothing is answered to.
    Ask { line: String, expects_answer: bool },
    /// Send the line; when the monitor explains what may come of it, ask the operator and send the other one.
    Confirm { line: String, word: Word, host: String },
    /// Redraw `show`, for ever or this many times.
    Watch { count: Option<u64> },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("a word of the command contains a line break, and a command is one line")]
    LineBreak,
    #[error("the command is longer than {CONTROL_LINE_BYTES_MAX} bytes, the monitor takes no longer line")]
    TooLong,
    #[error("--json is for show, checks, mode, history, explain and plan only, not for '{0}'")]
    NoJson(String),
    #[error("watch takes nothing but --count N with N at least 1")]
    Watch,
}

impl Command {
    pub(crate) fn from_words(words: &[String], json: bool) -> Result<Self, CommandError> {
        let name = words.first().map_or("", String::as_str);
        if json && !JSON_COMMANDS.contains(&name) {
            return Err(CommandError::NoJson(name.to_owned()));
        }
        if name == "watch" {
            return watch(&words[1..]);
        }
        let mut line = words.join(" ");
        if json {
            line.insert_str(0, "--json ");
        }
        if line.contains('\n') {
            return Err(CommandError::LineBreak);
        }
        if line.len() > CONTROL_LINE_BYTES_MAX {
            return Err(CommandError::TooLong);
        }
        if let [name, host] = words
            && host != "--yes"
            && let Some(word) = Word::of(name)
        {
            return Ok(Self::Confirm { line, word, host: host.clone() });
        }
        let expects_answer = line != "quit";
        Ok(Self::Ask { line, expects_answer })
    }
}

fn watch(words: &[String]) -> Result<Command, CommandError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let count = match words[..] {
        [] => return Ok(Command::Watch { count: None }),
        ["--count", count] => count,
        [word] => word.strip_prefix("--count=").ok_or(CommandError::Watch)?,
        _ => return Err(CommandError::Watch),
    };
    match count.parse() {
        Ok(count) if count > 0 => Ok(Command::Watch { count: Some(count) }),
        _ => Err(CommandError::Watch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], json: bool) -> Result<Command, CommandError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Command::from_words(&words, json)
    }

    fn asks(line: &str, expects_answer: bool) -> Command {
        Command::Ask { line: line.to_owned(), expects_answer }
    }

    #[test]
    fn words_are_joined_by_blanks_and_sent_as_they_are() {
        assert_eq!(
            command(&["move_role", "--force", "writer", "db2"], false),
            Ok(asks("move_role --force writer db2", true))
        );
        assert_eq!(command(&["show", "extra"], false), Ok(asks("show extra", true)));
        assert_eq!(command(&["quit"], false), Ok(asks("quit", false)));
    }

    #[test]
    fn json_goes_first_and_only_with_the_commands_that_know_it() {
        assert_eq!(command(&["checks", "all"], true), Ok(asks("--json checks all", true)));
        assert_eq!(command(&["set_online", "db1"], true), Err(CommandError::NoJson("set_online".to_owned())));
        assert_eq!(command(&["watch"], true), Err(CommandError::NoJson("watch".to_owned())));
    }

    #[test]
    fn a_host_is_confirmed_dead_after_a_question_or_at_once_with_yes() {
        let question = Command::Confirm {
            line: "confirm_dead db1".to_owned(),
            word: Word::Dead,
            host: "db1".to_owned(),
        };
        assert_eq!(command(&["confirm_dead", "db1"], false), Ok(question));
        let at_once = Ok(asks("confirm_dead --yes db1", true));
        assert_eq!(command(&["confirm_dead", "--yes", "db1"], false), at_once);
        assert_eq!(command(&["confirm_dead"], false), Ok(asks("confirm_dead", true)));
        let question = Command::Confirm {
            line: "confirm_loss db1".to_owned(),
            word: Word::Loss,
            host: "db1".to_owned(),
        };
        assert_eq!(command(&["confirm_loss", "db1"], false), Ok(question));
        assert_eq!(Word::Loss.sure("db1"), "confirm_loss --yes db1");
        assert_eq!(command(&["confirm_dead", "--yes"], false), Ok(asks("confirm_dead --yes", true)));
    }

    #[test]
    fn a_word_cannot_smuggle_in_a_second_command() {
        assert_eq!(command(&["show\nset_offline db1"], false), Err(CommandError::LineBreak));
        assert_eq!(command(&["checks", &"x".repeat(5000)], false), Err(CommandError::TooLong));
    }

    #[test]
    fn watch_takes_a_count_and_nothing_else() {
        assert_eq!(command(&["watch"], false), Ok(Command::Watch { count: None }));
        assert_eq!(command(&["watch", "--count", "3"], false), Ok(Command::Watch { count: Some(3) }));
        assert_eq!(command(&["watch", "--count=3"], false), Ok(Command::Watch { count: Some(3) }));
        for words in [&["watch", "db1"][..], &["watch", "--count", "0"], &["watch", "--count", "3", "x"]] {
            assert_eq!(command(words, false), Err(CommandError::Watch), "{words:?}");
        }
    }
}
