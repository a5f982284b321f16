use proptest::prelude::*;

use super::*;

fn variable(line: &str) -> (String, RawValue) {
    match take_apart(line) {
        Ok(Some(Line::Variable { name, value })) => (line[name].to_owned(), value),
        other => panic!("{line}: {other:?}"),
    }
}

fn value_of(line: &str) -> String {
    variable(line).1.text
}

fn fault(line: &str) -> LineFault {
    take_apart(line).expect_err(line).fault
}

#[test]
fn blank_lines_and_comments_say_nothing() {
    for line in ["", "   ", "\t", "# x", "   # <host", "#", "\u{3000}# 注释"] {
        assert_eq!(take_apart(line), Ok(None), "{line}");
    }
}

#[test]
fn a_comment_begins_at_a_hash_behind_a_blank() {
    assert_eq!(value_of("ip 192.168.8.32 #MySQL-M1 服务器 IP"), "192.168.8.32");
    assert_eq!(value_of("replication_user repl # 前面创建的复制账号"), "repl");
    assert_eq!(value_of("ips 10.0.0.1\t# x"), "10.0.0.1");
    assert_eq!(value_of("password a#b"), "a#b");
    assert_eq!(value_of("password a#b #c #d"), "a#b");
    let line = "mode exclusive # 排它模式";
    let (name, value) = variable(line);
    assert_eq!(name, "mode");
    assert_eq!(&line[value.comment.unwrap()], "# 排它模式");
    assert_eq!(&line[value.range], "exclusive");
}

#[test]
fn white_space_around_goes() {
    assert_eq!(value_of("  ip\t 10.0.0.1  \r"), "10.0.0.1");
    assert_eq!(value_of("ip\u{a0}10.0.0.1\u{3000}"), "10.0.0.1");
    assert_eq!(value_of("c scp  -r a"), "scp  -r a");
}

#[test]
fn quotes_keep_a_value() {
    assert_eq!(value_of(r#"p " a # b ""#), " a # b ");
    assert_eq!(value_of(r#"p """#), "");
    assert_eq!(value_of(r#"p "say ""hi""" # x"#), r#"say "hi""#);
    assert_eq!(value_of(r#"p a"b"#), r#"a"b"#);
    assert!(variable(r#"p "a""#).1.quoted);
    assert_eq!(fault("p \"a"), LineFault::QuoteNotClosed);
    assert_eq!(fault(r#"p "a" b"#), LineFault::TextBehindQuote);
    assert_eq!(fault("p \"a\"#b"), LineFault::TextBehindQuote);
}

#[test]
fn tags_have_four_forms() {
    let open = |line: &str| match take_apart(line) {
        Ok(Some(Line::Open { kind, name, empty, .. })) => {
            (line[kind].to_owned(), name.map(|name| line[name].to_owned()), empty)
        }
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(open("<monitor>"), ("monitor".into(), None, false));
    assert_eq!(open(" < host  db1 > # x"), ("host".into(), Some("db1".into()), false));
    assert_eq!(open("<monitor/>"), ("monitor".into(), None, true));
    assert_eq!(open("<host db-1.example />"), ("host".into(), Some("db-1.example".into()), true));
    for line in ["</host>", "</ host >", "< /host>#x"] {
        let Ok(Some(Line::Close { kind, .. })) = take_apart(line) else { panic!("{line}") };
        assert_eq!(&line[kind], "host");
    }
}

#[test]
fn broken_lines_say_what_is_broken() {
    assert_eq!(fault("<host db1"), LineFault::TagNotClosed);
    assert_eq!(fault("<>"), LineFault::TagWords);
    assert_eq!(fault("<host a b>"), LineFault::TagWords);
    assert_eq!(fault("</host a>"), LineFault::TagWords);
    assert_eq!(fault("<//>"), LineFault::TagWords);
    assert_eq!(fault("<host 服务器>"), LineFault::TagWords);
    assert_eq!(fault("<host a> b"), LineFault::TextBehindTag);
    assert_eq!(fault("debug"), LineFault::NoValue);
    assert_eq!(fault("debug # 1"), LineFault::NoValue);
    assert_eq!(fault("debug=1"), LineFault::NameCharacters);
    assert_eq!(fault("调试 1"), LineFault::NameCharacters);
    assert_eq!(fault("debug \u{7}1"), LineFault::ControlCharacter);
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in any::<String>()) {
        let _ = take_apart(&line);
    }

    #[test]
    fn no_tag_makes_it_panic(line in r#"[ \t]{0,2}<[</> a\u{3000}服#"-]{0,12}>?[ #a]{0,3}"#) {
        if let Ok(Some(Line::Open { tag, kind, name, .. })) = take_apart(&line) {
            prop_assert!(is_name(&line[kind]));
            prop_assert!(name.is_none_or(|name| is_name(&line[name])));
            prop_assert!(line[tag].starts_with('<'));
        }
    }

    #[test]
    fn what_is_written_is_read_again(value in r##"[a-z"# \t服\u{a0}\u{3000}.,/%-]{0,24}"##) {
        let line = format!("  name {}", written(&value));
        let (name, read) = variable(&line);
        prop_assert_eq!(name, "name");
        prop_assert_eq!(read.text, value);
        let line = format!("{line} # \"comment\"");
        prop_assert!(variable(&line).1.comment.is_some());
    }
}
