//! Statements as they may be shown: their shape, and none of the values in them.

/// The statement on one line, with `?` in place of every text and number.
pub fn shown(statement: &str) -> String {
    let mut out = String::new();
    let mut rest = statement.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                skip_text(&mut rest, c);
                out.push('?');
                before = '?';
                continue;
            }
            '`' => {
                out.push(c);
                for inner in rest.by_ref() {
                    out.push(inner);
                    if inner == '`' {
                        break;
                    }
                }
            }
            // Whatever somebody put into a comment is no part of the statement.
            '/' if rest.peek() == Some(&'*') => {
                skip_comment(&mut rest);
            }
            c if c.is_ascii_digit() && !is_name(before) => {
                while rest.peek().is_some_and(|next| is_name(*next) || *next == '.') {
                    rest.next();
                }
                out.push('?');
                before = '?';
                continue;
            }
            c if c.is_whitespace() || c.is_control() => {
                if !out.ends_with(' ') && !out.is_empty() {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
        before = c;
    }
    out.truncate(out.trim_end().len());
    out
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '@'
}

/// To the end of a text, or of what was left of one that the server cut.
fn skip_text(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) {
    while let Some(c) = rest.next() {
        if c == '\\' {
            rest.next();
        } else if c == quote {
            if rest.peek() != Some(&quote) {
                return;
            }
            rest.next();
        }
    }
}

fn skip_comment(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut last = ' ';
    rest.next();
    for c in rest.by_ref() {
        if last == '*' && c == '/' {
            return;
        }
        last = c;
    }
}
