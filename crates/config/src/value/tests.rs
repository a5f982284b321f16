use super::*;

fn ok(kind: Kind, text: &str) -> Value {
    read(kind, text).unwrap_or_else(|rejected| panic!("{text}: {rejected:?}"))
}

fn bad(kind: Kind, text: &str) -> Rejected {
    match read(kind, text) {
        Ok(_) => panic!("{text} was taken"),
        Err(rejected) => rejected,
    }
}

const PERIOD: Kind = Kind::Seconds { least_ms: 50, most_ms: 60_000 };

#[test]
fn flags_are_read_in_any_case() {
    for yes in ["1", "yes", "TRUE", "On"] {
        assert!(ok(Kind::Flag, yes) == Value::Flag(true));
    }
    for no in ["0", "NO", "false", "oFF"] {
        assert!(ok(Kind::Flag, no) == Value::Flag(false));
    }
    assert!(bad(Kind::Flag, "2").expected.contains("yes"));
    bad(Kind::Flag, "");
}

#[test]
fn numbers_have_limits_and_nothing_but_digits() {
    let port = Kind::Number { least: 1, most: 65_535 };
    assert!(ok(port, "9989") == Value::Number(9989));
    for text in ["0", "65536", "-1", "+1", "1e3", "", "99999999999999999999999", "12 "] {
        assert!(bad(port, text).expected.contains("1 to 65535"));
    }
}

#[test]
fn seconds_may_have_fractions_but_no_unit() {
    assert!(ok(PERIOD, "5") == Value::Time(Duration::from_secs(5)));
    assert!(ok(PERIOD, "0.25") == Value::Time(Duration::from_millis(250)));
    assert!(bad(PERIOD, "5s").hint.is_some());
    for text in ["", ".", "1.", ".5", "0", "0.01", "61", "1.0000000001", "-1", "nan", "1e1"] {
        assert!(bad(PERIOD, text).expected.contains("0.05 to 60"), "{text}");
    }
}

#[test]
fn addresses_are_of_both_families() {
    assert!(ok(Kind::Ip, "192.168.8.30") == Value::Ip(IpAddr::from([192, 168, 8, 30])));
    assert!(ok(Kind::Ip, "fe80::1") == Value::Ip("fe80::1".parse().unwrap()));
    assert!(ok(Kind::Ip, "::ffff:10.0.0.1") == Value::Ip(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(
        bad(Kind::Ip, "192.168.8.30/24").hint.as_deref(),
        Some("write `192.168.8.30`, without a prefix length")
    );
    assert_eq!(bad(Kind::Ip, "[::1]").hint.as_deref(), Some("write `::1`, without brackets"));
    for text in ["", "localhost", "192.168.8", "192.168.8.300", "010.0.0.1"] {
        bad(Kind::Ip, text);
    }
}

#[test]
fn a_wrong_element_of_a_list_is_the_one_that_is_pointed_at() {
    let rejected = bad(Kind::Ips, "10.0.0.1, 10.0.0.x ,10.0.0.3");
    assert_eq!(rejected.range, 10..18);
    let rejected = bad(Kind::Hosts, "db1,,db2");
    assert_eq!(rejected.range, 4..4);
    assert!(
        bad(Kind::Ips, "10.0.0.1 10.0.0.2").hint.unwrap().contains("commas"),
        "blanks do not separate addresses"
    );
}

#[test]
fn a_list_forgives_blanks_and_a_last_comma() {
    let Value::Names(names) = ok(Kind::Hosts, "db1 , db2,db3 ,") else { panic!("no names") };
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["db1", "db2", "db3"]);
    bad(Kind::Hosts, ",");
    bad(Kind::List, "");
}

#[test]
fn a_word_outside_the_allowed_ones_names_the_nearest() {
    let rejected = bad(Kind::OneOf(&["balanced", "exclusive"]), "exlusive");
    assert_eq!(rejected.expected, "expected one of balanced, exclusive");
    assert_eq!(rejected.hint.as_deref(), Some("did you mean `exclusive`?"));
}

#[test]
fn an_interface_fits_into_the_kernel() {
    ok(Kind::Interface, "eth0");
    ok(Kind::Interface, "bond0.100");
    for text in ["", "eth 0", "../eth0", "averyverylongname"] {
        bad(Kind::Interface, text);
    }
}

#[test]
fn a_path_is_absolute() {
    ok(Kind::Path, "/var/run/mmm.pid");
    bad(Kind::Path, "mmm.pid");
    bad(Kind::Path, "");
}

#[test]
fn seconds_that_may_be_off_are_zero_or_within_their_limits() {
    let kind = Kind::SecondsOrOff { least_ms: 3000, most_ms: 60_000, off: "nothing", why: "because" };
    for (text, ms) in [("0", 0), ("0.0", 0), ("3", 3000), ("3.25", 3250), ("60", 60_000)] {
        assert!(ok(kind, text) == Value::Time(Duration::from_millis(ms)), "{text}");
    }
    for text in ["0.000000001", "2.999", "60.001", "-3", "never", ""] {
        let rejected = bad(kind, text);
        assert_eq!(rejected.expected, "expected seconds, from 3 to 60, or 0 for nothing", "{text}");
        assert_eq!(rejected.hint.as_deref(), Some("because"), "{text}");
        assert_eq!(rejected.range, 0..text.len(), "{text}");
    }
    assert!(bad(kind, "5s").hint.unwrap().contains("without a unit"));
}
