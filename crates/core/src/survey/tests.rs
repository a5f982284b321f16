use super::{Connection, Holdup, LISTED_MAX, Lock, LockKind, Prepared, Reach, Survey, holdup_of, shown};
use crate::message::OrderId;

fn connection(command: &str, time_s: u64, state: &str, statement: Option<&str>) -> Connection {
    Connection {
        id: 7,
        user: "app".to_owned(),
        client: "10.0.0.9:4444".to_owned(),
        command: command.to_owned(),
        time_s,
        state: state.to_owned(),
        statement: statement.map(str::to_owned),
        ..Connection::default()
    }
}

fn with_lock(kind: LockKind, connection: Connection) -> Connection {
    Connection { locks: vec![Lock { kind, table: "shop.orders".to_owned() }], ..connection }
}

#[test]
fn each_kind_of_connection_is_told_by_what_it_means_for_a_move() {
    let open = Connection { transaction_s: Some(60), ..connection("Sleep", 60, "", None) };
    let table = || Holdup::TableLock("shop.orders".to_owned());
    let cases = [
        (
            connection("Query", 5, "Waiting for semi-sync ACK from slave", Some("COMMIT")),
            Some(Holdup::HungCommit),
        ),
        (
            connection("Query", 5, "waiting for handler commit", Some("INSERT INTO a VALUES (1)")),
            Some(Holdup::HungCommit),
        ),
        (connection("Query", 0, "Waiting for semi-sync ACK from slave", Some("COMMIT")), None),
        (connection("Query", 9, "Waiting for backup lock", Some("COMMIT")), Some(Holdup::Waits)),
        (
            connection("Query", 0, "Waiting for table metadata lock", Some("UPDATE a SET b = 1")),
            Some(Holdup::Waits),
        ),
        (with_lock(LockKind::Table, connection("Sleep", 60, "", None)), Some(table())),
        (with_lock(LockKind::Global, connection("Sleep", 60, "", None)), Some(Holdup::GlobalReadLock)),
        (with_lock(LockKind::Backup, connection("Sleep", 60, "", None)), Some(Holdup::Backup)),
        (connection("Query", 30, "updating", Some("update a set b = 2")), Some(Holdup::Write)),
        (connection("Query", 30, "altering table", Some("ALTER TABLE a ADD c INT")), Some(Holdup::Write)),
        (connection("Query", 30, "User sleep", Some(" (select sleep(60))")), Some(Holdup::Read)),
        (connection("Query", 0, "updating", Some("update a set b = 2")), None),
        (open, Some(Holdup::OpenTransaction)),
        (
            Connection {
                has_changes: true,
                transaction_s: Some(60),
                ..connection("Query", 9, "", Some("SELECT 1"))
            },
            Some(Holdup::OpenTransaction),
        ),
        (connection("Sleep", 600, "", None), None),
    ];
    for (connection, holdup) in cases {
        assert_eq!(holdup_of(&connection), holdup, "{connection:?}");
    }
}

#[test]
fn a_statement_is_shown_without_any_value_of_it() {
    let cases = [
        (
            "UPDATE t1 SET a = 'it''s \\' secret', b=12.5 WHERE id IN (1,2)",
            "UPDATE t1 SET a = ?, b=? WHERE id IN (?,?)",
        ),
        ("ALTER USER 'joe'@'%' IDENTIFIED BY 'pass", "ALTER USER ?@? IDENTIFIED BY ?"),
        ("SELECT *\n\t FROM `a b2`  -- x", "SELECT * FROM `a b2` -- x"),
        ("SELECT /* token 99 */ 0xdeadbeef, x2", "SELECT ?, x2"),
        ("SELECT \"a\\\"b\"", "SELECT ?"),
    ];
    for (statement, expected) in cases {
        assert_eq!(shown(statement), expected);
    }
}

#[test]
fn a_survey_lists_what_holds_up_most_first_and_counts_what_it_leaves_out() {
    let mut connections: Vec<Connection> =
        (0..30).map(|id| Connection { id, transaction_s: Some(id + 1), ..Connection::default() }).collect();
    connections.push(connection("Query", 4, "Waiting for semi-sync ACK from slave", Some("COMMIT")));
    let survey = Survey::of(OrderId::default(), &connections);
    assert_eq!((survey.busy.len(), survey.more), (LISTED_MAX, 11));
    assert_eq!(survey.busy[0].holdup, Holdup::HungCommit);
    assert_eq!(survey.busy[1].age_s, 30);
    let why = survey.forbids_leaving().unwrap();
    assert!(
        why.contains("connection 7 of 'app' from 10.0.0.9:4444, for 4 s") && why.contains("`COMMIT`"),
        "{why}"
    );
    assert_eq!(Survey::of(OrderId::default(), &connections[..30]).forbids_leaving(), None);
}

#[test]
fn prepared_branches_are_told_by_what_is_known_of_them() {
    assert_eq!(Prepared::default().describe(), None);
    let unnamed = Prepared::of(Vec::new(), 2, Some(70));
    assert_eq!(
        unnamed.describe().as_deref(),
        Some("2 prepared branches of distributed transactions (XA), the oldest for 70 s")
    );
    let named = Prepared::of(vec!["'b1','q',3".to_owned()], 0, None);
    assert_eq!(
        named.describe().as_deref(),
        Some("1 prepared branch of a distributed transaction (XA): 'b1','q',3")
    );
    let many = Prepared::of(vec!["x".repeat(500); 50], 50, None);
    assert_eq!((many.count, many.names.len(), many.names[0].len()), (50, LISTED_MAX, 120));
}

#[test]
fn a_position_is_reached_when_every_domain_is() {
    let reach = Reach { gtid: "0-12-40,0-13-7,1-12-3".to_owned(), ..Reach::default() };
    let cases = [
        (vec!["0-12-40,1-12-3", "0-13-7"], Some(true)),
        (vec!["0-12-41,1-12-3"], Some(true)),
        (vec!["0-12-39,0-13-7,1-12-3"], Some(false)),
        (vec!["0-12-40,0-13-7"], Some(false)),
        (vec![""], Some(false)),
        (vec!["rubbish"], None),
    ];
    for (positions, expected) in cases {
        assert_eq!(reach.is_within(&positions), expected, "{positions:?}");
    }
}
