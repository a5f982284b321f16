use super::*;

fn place(file: &str, position: u64) -> LogPosition {
    LogPosition { file: file.to_owned(), position }
}

fn of(file: &str, to: u64, gtid: Option<(u64, u64, u64)>) -> Candidate<'_> {
    let gtid = gtid.map(|(domain, server, number)| (Origin::Server { domain, server }, number));
    Candidate { file, to, gtid }
}

#[test]
fn without_gtids_what_ends_behind_the_place_that_was_received_is_lacking() {
    let lack = Lack::new(&Lacking { received: Some(place("bin.000009", 900)), ..Lacking::default() });
    assert!(!lack.goes_by_gtid());
    for (file, to, lacking) in [
        ("bin.000009", 900, false),
        ("bin.000009", 901, true),
        ("bin.000010", 300, true),
        ("bin.000008", 5000, false),
        ("bin.x", 5000, false),
    ] {
        assert_eq!(lack.lacks(&of(file, to, None)), lacking, "{file} {to}");
    }
    assert!(
        !Lack::new(&Lacking::default()).lacks(&of("bin.000009", 1, None)),
        "who knows nothing gets nothing twice"
    );
}

#[test]
fn mariadb_lacks_what_no_number_of_its_domain_has_passed() {
    let lacking = Lacking { server_id: 13, gtids: "0-13-50,0-12-40".into(), ..Lacking::default() };
    let lack = Lack::new(&lacking);
    assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 12, 40)))));
    assert!(lack.lacks(&of("bin.000001", 1, Some((0, 12, 41)))), "its own writes are no proof");
    assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 14, 39)))), "passed by 0-12-40");
    assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 13, 50)))));
    assert!(lack.lacks(&of("bin.000001", 1, Some((1, 12, 1)))));
    assert!(lack.has_all("0-12-40,0-13-50") && lack.has_all("") && !lack.has_all("0-12-41"));
    assert!(!lack.has_all("nonsense"));
}

#[test]
fn mysql_lacks_what_is_in_no_interval() {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let lack = Lack::new(&Lacking { gtids: format!("{uuid}:1-5:7"), ..Lacking::default() });
    let gtid = |number| Candidate {
        file: "bin.000001",
        to: 1,
        gtid: Some((Origin::Uuid { uuid: uuid.to_owned(), tag: String::new() }, number)),
    };
    assert!(lack.lacks(&gtid(6)) && lack.lacks(&gtid(8)) && !lack.lacks(&gtid(7)));
    assert!(lack.has_all(&format!("{uuid}:1-5")) && !lack.has_all(&format!("{uuid}:1-6")));
}

#[test]
fn what_kept_it_from_being_fetched_or_applied_is_told_with_the_limit() {
    let from = HostName::from("db1");
    let why = Vain::Unreachable { tried: Duration::from_millis(1250), last: "no answer".into() };
    assert_eq!(
        SalvageState::InVain { why, lacking: None }.describe(&from),
        "The last transactions of 'db1' may be lost here: its agent was tried for 1.2 s in vain: no answer. They are still in its log; going on with what was received"
    );
    let why = Vain::TookTooLong { limit: Duration::from_secs(5) };
    assert_eq!(
        SalvageState::InVain { why, lacking: Some(7) }.describe(&from),
        "7 transactions of 'db1' may be lost here: they were not all applied when promote_apply_timeout (5 s) was over. They are still in its log; going on with what was received"
    );
}

#[test]
fn an_end_is_told_in_words_that_say_what_is_lost() {
    let from = HostName::from("db1");
    let vain = SalvageState::InVain { why: Vain::Encrypted, lacking: None };
    assert_eq!(
        vain.describe(&from),
        "The last transactions of 'db1' may be lost here: its log is encrypted, and only its server can read it. They are still in its log; going on with what was received"
    );
    let done = SalvageState::Done {
        transactions: 2,
        first: Some("0-12-4".into()),
        last: Some("0-12-5".into()),
        damage: None,
    };
    assert_eq!(done.describe(&from), "salvaged 2 transactions (0-12-4 to 0-12-5) from the log of 'db1'");
}
