//! The files of a server that was killed, read as they lie there.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mmm_core::is_gtid_subset;
use mmm_mysql::Flavour;
use mmm_mysql::binlog::{
    EndOfLog, LogError, LogSummary, LogTransaction, each_transaction, log_files, read_opening,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::rig::{Server, flavour, in_own_network};

fn files(data: &Path) -> Vec<PathBuf> {
    log_files(&data.join("bin.index"), data).unwrap()
}

fn read(file: &Path) -> (Vec<LogTransaction>, LogSummary) {
    let mut found = Vec::new();
    let summary = each_transaction(File::open(file).unwrap(), |transaction| {
        found.push(transaction);
        ControlFlow::Continue(())
    });
    (found, summary.unwrap())
}

async fn say(client: &mut Conn, statements: &[&str]) {
    for statement in statements {
        client.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// How many transactions each group of statements is in the log.
async fn all_kinds(client: &mut Conn) -> usize {
    let mut count = 0;
    let groups: &[(usize, &[&str])] = &[
        (1, &["INSERT INTO app.a VALUES (1)"]),
        (1, &["BEGIN", "INSERT INTO app.a VALUES (2)", "INSERT INTO app.a VALUES (3)", "COMMIT"]),
        (1, &["CREATE TABLE app.c (n INT PRIMARY KEY, t LONGTEXT) ENGINE=InnoDB"]),
        (0, &["BEGIN", "INSERT INTO app.a VALUES (4)", "ROLLBACK"]),
        (
            1,
            &[
                "BEGIN",
                "INSERT INTO app.a VALUES (5)",
                "SAVEPOINT s",
                "INSERT INTO app.a VALUES (6)",
                "ROLLBACK TO SAVEPOINT s",
                "INSERT INTO app.a VALUES (7)",
                "COMMIT",
            ],
        ),
        (2, &["CREATE TABLE app.m (n INT) ENGINE=MyISAM", "INSERT INTO app.m VALUES (1)"]),
        (1, &["INSERT INTO app.c VALUES (1, REPEAT('x', 3000000))"]),
        (1, &["FLUSH TABLES app.a"]),
        // One word to prepare it, one to commit it.
        (
            2,
            &[
                "XA START 'one'",
                "INSERT INTO app.a VALUES (10)",
                "XA END 'one'",
                "XA PREPARE 'one'",
                "XA COMMIT 'one'",
            ],
        ),
        (
            2,
            &[
                "XA START 'two'",
                "INSERT INTO app.a VALUES (11)",
                "XA END 'two'",
                "XA PREPARE 'two'",
                "XA ROLLBACK 'two'",
            ],
        ),
        // As one transaction, or as two where the server says so.
        (1, &["CREATE TABLE app.d AS SELECT * FROM app.a"]),
        (
            2,
            &[
                "SET @v = 20",
                "SET SESSION binlog_format = 'STATEMENT'",
                "INSERT INTO app.a VALUES (@v)",
                "INSERT INTO app.m VALUES (@v)",
                "SET SESSION binlog_format = 'ROW'",
            ],
        ),
        (1, &["UPDATE app.a SET n = n + 100 WHERE n < 4"]),
    ];
    for (transactions, statements) in groups {
        say(client, statements).await;
        count += transactions;
    }
    count
}

#[test]
fn every_transaction_of_a_killed_server_is_found_whole() {
    in_own_network(async {
        for options in
            [&[][..], &["--binlog-checksum=NONE"], &["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]]
        {
            let maria = flavour() == Flavour::MariaDb;
            let by_gtid = maria || options.len() < 2;
            if maria && options.len() == 2 {
                continue;
            }
            let mut server = Server::start_with(12, options).await;
            let mut client = server.client("boss").await;
            let mut count = all_kinds(&mut client).await;
            say(&mut client, &["FLUSH BINARY LOGS"]).await;
            let compress = if maria {
                "SET GLOBAL log_bin_compress = 1"
            } else {
                "SET SESSION binlog_transaction_compression = 1"
            };
            say(&mut client, &[compress, "INSERT INTO app.c VALUES (2, REPEAT('y', 500000))"]).await;
            count += 1;
            if !maria && by_gtid {
                say(
                    &mut client,
                    &[
                        "SET gtid_next = 'AUTOMATIC:blue'",
                        "INSERT INTO app.a VALUES (40)",
                        "INSERT INTO app.a VALUES (41)",
                        "SET gtid_next = 'AUTOMATIC'",
                        "FLUSH BINARY LOGS",
                        "INSERT INTO app.a VALUES (42)",
                    ],
                )
                .await;
                count += 3;
            }
            let state: String = client
                .query_first(if maria { "SELECT @@gtid_binlog_state" } else { "SELECT @@gtid_executed" })
                .await
                .unwrap()
                .unwrap();
            server.crash();

            let files = files(&server.data());
            assert!(files.len() >= 2);
            let mut gtids: Vec<String> = Vec::new();
            let mut found = 0;
            for (index, file) in files.iter().enumerate() {
                let (transactions, summary) = read(file);
                found += transactions.len();
                let last = index + 1 == files.len();
                assert_eq!(summary.end == EndOfLog::Open, last, "{:?}", summary.end);
                assert_eq!(summary.opening, read_opening(File::open(file).unwrap()).unwrap());
                assert_eq!(summary.opening.format.is_mariadb(), maria);
                assert_eq!(summary.opening.format.checksums, options != ["--binlog-checksum=NONE"]);
                // They touch each other, but for what the server notes for itself.
                assert_eq!(transactions.first().unwrap().from, summary.opening.to);
                for pair in transactions.windows(2) {
                    assert!(pair[0].to <= pair[1].from && pair[1].from - pair[0].to < 64, "{pair:?}");
                }
                assert!(transactions.iter().all(|one| one.server_id == 12));
                if by_gtid {
                    let previous = summary.opening.previous.clone().unwrap();
                    let before = gtids.last().cloned().unwrap_or_default();
                    if maria {
                        assert_eq!(previous, before);
                    } else {
                        assert!(is_gtid_subset(&gtids.join(","), &previous).unwrap(), "{gtids:?} {previous}");
                        assert!(is_gtid_subset(&previous, &gtids.join(",")).unwrap(), "{gtids:?} {previous}");
                    }
                }
                gtids
                    .extend(transactions.iter().filter_map(|one| one.gtid.as_ref()).map(ToString::to_string));
                // Whatever the place at which the file ends, what is whole is what was whole before.
                let bytes = fs::read(file).unwrap();
                let some = transactions.iter().rev().take(4);
                for cut in some.flat_map(|one| [one.to - 1, one.from + 1, u64::midpoint(one.from, one.to)]) {
                    let mut again = Vec::new();
                    let end = each_transaction(&bytes[..usize::try_from(cut).unwrap()], |one| {
                        again.push(one);
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                    assert_eq!(
                        again,
                        transactions.iter().filter(|one| one.to <= cut).cloned().collect::<Vec<_>>()
                    );
                    assert!(matches!(end.end, EndOfLog::Cut | EndOfLog::Open), "{:?}", end.end);
                }
            }
            assert_eq!(found, count, "{gtids:?}");
            if !by_gtid {
                assert_eq!(gtids, Vec::<String>::new());
            } else if maria {
                assert_eq!(gtids.last().unwrap(), &state);
                assert_eq!(gtids.len(), count);
            } else {
                assert_eq!(is_gtid_subset(&gtids.join(","), &state), Some(true));
                assert_eq!(is_gtid_subset(&state, &gtids.join(",")), Some(true));
            }
        }
    });
}

#[test]
fn an_encrypted_log_is_told_as_such() {
    in_own_network(async {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let (options, prepare): (Vec<String>, &str) = match flavour() {
            Flavour::MariaDb => {
                fs::write(&keys, format!("1;{}\n", "0123456789abcdef".repeat(4))).unwrap();
                (
                    vec![
                        "--plugin-load-add=file_key_management".into(),
                        format!("--file-key-management-filename={}", keys.display()),
                        "--encrypt-binlog=1".into(),
                    ],
                    "FLUSH BINARY LOGS",
                )
            }
            // Its keys are a component that needs files beside the program: the magic alone is looked at in the unit tests.
            Flavour::MySql => return,
        };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let mut server = Server::start_with(12, &options).await;
        say(&mut server.client("boss").await, &[prepare, "INSERT INTO app.a VALUES (1)"]).await;
        server.crash();
        for file in files(&server.data()) {
            assert!(matches!(read_opening(File::open(&file).unwrap()), Err(LogError::Encrypted)));
            let all = each_transaction(File::open(&file).unwrap(), |_| ControlFlow::Continue(()));
            assert!(matches!(all, Err(LogError::Encrypted)));
        }
    });
}
