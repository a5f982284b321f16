//! Sessions against a real server: who it is, what its failures mean, how its end is noticed.

use std::time::{Duration, Instant};

use mmm_core::HostName;
use mmm_core::doctor::{Login, Whose};

use crate::rig::{LIMIT, Server, agent, flavour, in_own_network, monitor};
use mmm_mysql::{
    Account, CheckVerdict, Endpoint, ErrorKind, Flavour, Session, log_in, mysql_check, probe_accepts,
    set_by_hand, takes_connections,
};
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_session_knows_its_server_and_an_error_packet_does_not_end_it() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&monitor()).await;
        let identity = session.identity().clone();
        assert_eq!((identity.flavour, identity.server_id), (flavour(), 12));
        assert!(identity.binlog && identity.gtid && !identity.hostname.is_empty());
        let pid = std::fs::read_to_string(identity.pid_file.as_ref().unwrap()).unwrap();
        assert_eq!(pid.trim(), server.pid().to_string());
        assert!(session.identify(LIMIT).await.unwrap().is_same_server(&identity));

        // The monitor's account may not do this.
        let denied = session.set_read_only(true, SHORT, LIMIT).await.unwrap_err();
        assert_eq!(denied.code(), Some(1227), "{denied}");
        assert!(denied.proves_life());
        session.check_alive(LIMIT).await.unwrap();
        session.close().await;
    });
}

/// After a restart the server has no password in its cache any more, so that a login that worked for months may fail then.
#[test]
fn every_kind_of_login_works_where_nothing_is_cached() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut boss = server.client("boss").await;
        let identity = server.session(&monitor()).await.identity().clone();
        let mut plugins = Vec::new();
        match identity.flavour {
            Flavour::MySql => plugins.push("caching_sha2_password"),
            Flavour::MariaDb => {
                plugins.extend(["mysql_native_password", "ed25519"]);
                if identity.version.major >= 11 {
                    plugins.push("parsec");
                }
            }
        }
        for plugin in plugins {
            if ["ed25519", "parsec"].contains(&plugin) {
                boss.query_drop(format!("INSTALL SONAME 'auth_{plugin}'")).await.unwrap();
            }
            let how = match identity.flavour {
                Flavour::MySql => format!("WITH {plugin} BY 'pw-{plugin}'"),
                Flavour::MariaDb => format!("VIA {plugin} USING PASSWORD('pw-{plugin}')"),
            };
            boss.query_drop(format!("CREATE USER 'u'@'127.0.0.%' IDENTIFIED {how}")).await.unwrap();
            boss.query_drop("FLUSH PRIVILEGES").await.unwrap();
            for _ in 0..2 {
                let session = server.session(&Account::new("u", format!("pw-{plugin}"))).await;
                session.close().await;
            }
            let wrong =
                Session::connect(&server.endpoint, &Account::new("u", "wrong"), LIMIT).await.unwrap_err();
            assert_eq!(wrong.code(), Some(1045), "{plugin}: {wrong}");
            boss.query_drop("DROP USER 'u'@'127.0.0.%'").await.unwrap();
        }
    });
}

/// The statement that mends it has the names of this very server.
#[test]
fn an_account_that_is_not_let_in_is_told_what_this_server_calls_its_privileges() {
    in_own_network(async {
        let server = Server::start(12).await;
        let host = HostName::from("db1");
        let wrong = Account::new("mmm_agent", "wrong");
        let (facts, session) = log_in(Whose::Agent, &host, &server.endpoint, &wrong, None, LIMIT).await;
        assert!(session.is_none() && matches!(facts.login, Login::Denied(_)), "{facts:?}");
        let (known, session) = log_in(Whose::Agent, &host, &server.endpoint, &agent(), None, LIMIT).await;
        assert!(session.is_some(), "{known:?}");
        // What the agent can do without in most nights is printed, too, and not missed.
        let more = match flavour() {
            Flavour::MySql => ", SYSTEM_USER",
            Flavour::MariaDb => "",
        };
        assert_eq!(facts.needed, format!("{}{more}", known.needed));
    });
}

#[test]
fn what_was_set_by_hand_is_told_from_what_the_server_started_with() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut boss = server.client("boss").await;
        let timeout = match flavour() {
            Flavour::MySql => "replica_net_timeout",
            Flavour::MariaDb => "slave_net_timeout",
        };
        let mut session = server.session(&agent()).await;
        assert_eq!(set_by_hand(&mut session, LIMIT).await.unwrap(), [].into());
        for statement in ["sync_binlog = 1".to_owned(), format!("{timeout} = 9")] {
            boss.query_drop(format!("SET GLOBAL {statement}")).await.unwrap();
        }
        let set = set_by_hand(&mut session, LIMIT).await.unwrap();
        assert!(set.contains_key("sync_binlog") && set.contains_key(timeout) && set.len() <= 3, "{set:?}");
        match flavour() {
            Flavour::MariaDb => {
                let initial = ["sync_binlog", timeout].map(|name| set[name].default.clone().unwrap());
                assert_eq!(initial, ["0", "60"]);
            }
            Flavour::MySql => {
                assert_eq!((&set[timeout].default, &set[timeout].persisted), (&None, &None));
                boss.query_drop(format!("SET PERSIST {timeout} = 8")).await.unwrap();
                let set = set_by_hand(&mut session, LIMIT).await.unwrap();
                assert_eq!(set[timeout].persisted.as_deref(), Some("8"));
            }
        }
    });
}

/// A server names the path of its socket; the same path may belong to another server on the host that asks.
#[test]
fn a_session_goes_over_the_network_even_where_the_socket_is_at_hand() {
    in_own_network(async {
        let server = Server::start(12).await;
        let _session = server.session(&monitor()).await;
        let threads = server.session(&agent()).await.client_threads(&[], LIMIT).await.unwrap();
        assert_eq!(threads.len(), 1);
        assert!(threads[0].host.starts_with("127.0.0.1:"), "{threads:?}");
    });
}

#[test]
fn a_session_can_live_in_a_task_of_its_own() {
    in_own_network(async {
        let server = Server::start(12).await;
        let endpoint = server.endpoint;
        let life = tokio::spawn(async move {
            let mut session = Session::connect(&endpoint, &agent(), LIMIT).await?;
            session.check_alive(LIMIT).await?;
            session.set_read_only(true, SHORT, LIMIT).await?;
            session.client_threads(&["app"], LIMIT).await?;
            session.replica_status(LIMIT).await
        });
        assert_eq!(life.await.unwrap().unwrap(), None);
    });
}

#[test]
fn each_kind_of_failed_connection_is_told_apart() {
    in_own_network(async {
        let server = Server::start_with(12, &["--max-connections=10"]).await;
        let connect = async |endpoint: Endpoint, account: Account| {
            Session::connect(&endpoint, &account, SHORT).await.unwrap_err()
        };

        let nobody = Endpoint { port: 3999, ..server.endpoint };
        let refused = connect(nobody, monitor()).await;
        assert_eq!(refused.kind, ErrorKind::Refused);
        assert_eq!(
            mysql_check::<()>(&Err(refused)).message(),
            "ERROR: Connect error (host = 127.0.0.1:3999, user = mmm_monitor)! \
             Can't connect to server on '127.0.0.1' (111)"
        );

        let no_route = Endpoint::new("10.9.9.9".parse().unwrap(), 3306);
        assert!(matches!(connect(no_route, monitor()).await.kind, ErrorKind::Unreachable { os_error: 101 }));

        let wrong = connect(server.endpoint, Account::new("mmm_monitor", "wrong")).await;
        assert_eq!(wrong.code(), Some(1045));
        let CheckVerdict::Unknown(text) = mysql_check::<()>(&Err(wrong)) else { panic!("not unknown") };
        assert_eq!(
            text,
            "UNKNOWN: Connect error (host = 127.0.0.1:3312, user = mmm_monitor)! \
             Access denied for user 'mmm_monitor'@'127.0.0.1' (using password: YES)"
        );

        let mut held = Vec::new();
        let full = loop {
            match Session::connect(&server.endpoint, &monitor(), LIMIT).await {
                Ok(session) => held.push(session),
                Err(error) => break error,
            }
            assert!(held.len() <= 10, "the server takes more than it was told to");
        };
        assert_eq!(full.code(), Some(1040), "{full}");
        let text = "UNKNOWN: Too many connections! Too many connections";
        assert_eq!(mysql_check::<()>(&Err(full)), CheckVerdict::Unknown(text.into()));
        // The agent's privilege opens the one extra slot, as soon as the refused connection has left it.
        let enter = async || Session::connect(&server.endpoint, &agent(), LIMIT).await;
        crate::rig::eventually(enter, Result::is_ok).await.unwrap();
    });
}

#[test]
fn a_frozen_server_costs_the_limit_and_ends_the_session() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        server.freeze().await;

        let began = Instant::now();
        let silent = session.check_alive(SHORT).await.unwrap_err();
        assert!(matches!(silent.kind, ErrorKind::TimedOut { .. }), "{silent}");
        assert!(!silent.proves_life());
        assert!((SHORT..SHORT * 6).contains(&began.elapsed()), "{:?}", began.elapsed());

        let began = Instant::now();
        let given_up = session.check_alive(LIMIT).await.unwrap_err();
        assert!(matches!(given_up.kind, ErrorKind::Closed { .. }), "{given_up}");
        assert!(began.elapsed() < SHORT);

        let silent = probe_accepts(&server.endpoint, &monitor(), SHORT).await.unwrap_err();
        assert!(matches!(silent.kind, ErrorKind::TimedOut { .. }), "{silent}");
        assert!(takes_connections(&server.endpoint, SHORT).await, "its system takes them");
        let nobody = Endpoint::new(server.endpoint.ip, server.endpoint.port + 1);
        assert!(!takes_connections(&nobody, SHORT).await);

        server.signal(Signal::CONT);
        probe_accepts(&server.endpoint, &monitor(), LIMIT).await.unwrap();
        server.session(&agent()).await.check_alive(LIMIT).await.unwrap();
    });
}

#[test]
fn a_server_frozen_while_it_should_become_read_only_is_an_unknown_state() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        server.freeze().await;
        let began = Instant::now();
        let error = session.set_read_only(true, SHORT, SHORT).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(!session.is_usable());
    });
}

#[test]
fn the_end_of_the_server_is_noticed_at_once() {
    in_own_network(async {
        for signal in [Signal::KILL, Signal::TERM] {
            let server = Server::start(12).await;
            let mut session = server.session(&agent()).await;
            let watch = session.watch().expect("this system lets us watch our own sockets");
            let watching = tokio::spawn(async move {
                watch.closed().await;
                Instant::now()
            });
            for _ in 0..200 {
                session.check_alive(LIMIT).await.unwrap();
            }
            assert!(!watching.is_finished(), "answers to queries are no end");
            let began = Instant::now();
            server.signal(signal);
            let noticed = tokio::time::timeout(LIMIT, watching).await.unwrap().unwrap().duration_since(began);
            println!("{signal:?}: noticed after {noticed:?}");
            // MySQL lets connections end by themselves for two seconds before it ends them.
            assert!(noticed < Duration::from_secs(4), "{noticed:?}");
            let gone = session.check_alive(LIMIT).await.unwrap_err();
            assert!(matches!(gone.kind, ErrorKind::Closed { .. }), "{gone}");
            // A server on its way down serves nobody new, and what it may still say does not count as life.
            let mut said = Vec::new();
            let probe = async || {
                let error = probe_accepts(&server.endpoint, &monitor(), LIMIT).await.unwrap_err();
                said.push(error.to_string());
                assert!(!error.proves_life(), "{error}");
                error
            };
            crate::rig::eventually(probe, |error| error.kind == ErrorKind::Refused).await;
            said.dedup();
            println!("{signal:?}: new connections heard {said:?}");
        }
    });
}

/// `MySQL` says good-bye first, which must not be taken for an answer to the next question.
#[test]
fn a_session_that_the_server_ended_for_its_silence_is_closed() {
    in_own_network(async {
        let server = Server::start_with(12, &["--wait-timeout=1"]).await;
        for account in [monitor(), agent()] {
            let mut session = server.session(&account).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let ended = session.check_alive(LIMIT).await.unwrap_err();
            assert!(matches!(ended.kind, ErrorKind::Closed { .. }), "{ended}");
            assert!(!session.is_usable());
            server.session(&account).await.check_alive(LIMIT).await.unwrap();
        }
    });
}

#[test]
fn a_session_given_up_leaves_no_connection_in_the_server() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut looking = server.session(&agent()).await;
        let abandoned = server.session(&monitor()).await;
        let watch = abandoned.watch().unwrap();
        drop(abandoned);
        // A watch that outlives its session must not keep the connection open.
        tokio::time::timeout(LIMIT, watch.closed()).await.unwrap();
        let threads = async || looking.client_threads(&[], LIMIT).await.unwrap();
        crate::rig::eventually(threads, |threads| threads.iter().all(|t| t.user != "mmm_monitor")).await;
    });
}

#[test]
fn garbage_in_place_of_a_server_is_an_error_and_no_panic() {
    in_own_network(async {
        let account = monitor();
        let greetings: [&[u8]; 5] = [
            b"",
            b"\x00",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x05\x00\x00\x00\x0a\xff\xff\xff\xff",
            &[0xff; 4096],
        ];
        for greeting in greetings {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint::new("127.0.0.1".parse().unwrap(), listener.local_addr().unwrap().port());
            let serve = async {
                let (mut peer, _) = listener.accept().await.unwrap();
                peer.write_all(greeting).await.unwrap();
            };
            let (error, ()) = tokio::join!(Session::connect(&endpoint, &account, SHORT), serve);
            let error = error.unwrap_err();
            let kinds = matches!(error.kind, ErrorKind::Unexpected { .. } | ErrorKind::Closed { .. });
            assert!(kinds, "{greeting:?}: {error:?}");
        }
    });
}

/// The price of the fallback for systems where the end of a connection can't be watched.
#[test]
fn a_sign_of_life_is_cheap() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        let mut times = Vec::new();
        for _ in 0..500 {
            let began = Instant::now();
            session.check_alive(LIMIT).await.unwrap();
            times.push(began.elapsed());
        }
        times.sort();
        println!("sign of life: median {:?}, 99 % below {:?}", times[250], times[495]);
        assert!(times[250] < Duration::from_millis(5), "{:?}", times[250]);
    });
}
