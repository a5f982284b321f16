//! Text that came from outside, made fit for a log line: short, and without control characters that could forge
//! another line. It does not judge the text.

const EXCERPT_CHARS_MAX: usize = 200;

/// The beginning of `text` with control characters escaped; cut text ends in `…`.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    for (taken, character) in text.chars().enumerate() {
        if taken == EXCERPT_CHARS_MAX {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_cannot_forge_a_log_line_and_long_text_is_cut() {
        assert_eq!(excerpt("a\nb\u{1b}[2J'é"), "a\\nb\\u{1b}[2J'é");
        let long = excerpt(&"x".repeat(1000));
        assert_eq!(long.chars().count(), EXCERPT_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
