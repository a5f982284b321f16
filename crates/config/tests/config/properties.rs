use std::fmt::Write as _;

use mmm_config::{Program, WriterIsolated};
use proptest::prelude::*;

use crate::support::{Folder, data};

const PROGRAMS: [Program; 4] = [Program::Agent, Program::Monitor, Program::Control, Program::Tools];

/// Loads for every program; whatever comes out must be printable.
fn load_all(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("mmm_common.conf", &data("mmm_common.conf"));
    for name in ["mmm_mon.conf", "mmm_agent.conf", "mmm_tools.conf", "mmm3.conf"] {
        folder.write_bytes(name, bytes);
    }
    for program in PROGRAMS {
        match folder.load(program) {
            Ok(_) => assert!(!folder.described(program).is_empty()),
            Err(failure) => {
                assert!(failure.errors().count() > 0);
                assert!(failure.to_string().contains("error"));
            }
        }
    }
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<host a>".to_owned()),
        Just("<host default>".to_owned()),
        Just("<monitor>".to_owned()),
        Just("</host>".to_owned()),
        Just("</monitor>".to_owned()),
        Just("<role writer>\nhosts a, b,\nips 1.2.3.4, ::1 # x".to_owned()),
        Just("</role".to_owned()),
        Just("<socket/>".to_owned()),
        Just("include mmm_common.conf".to_owned()),
        Just("include mmm_mon.conf".to_owned()),
        "(ip|mode|peer|port|prefer|this|debug|agent_password|x) [ -~服]{0,12}",
        "[ -~\t\r\u{feff}\u{3000}服]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        load_all(&bytes);
    }

    #[test]
    fn no_pieces_of_configuration_make_it_panic(pieces in proptest::collection::vec(fragment(), 0..24)) {
        load_all(pieces.join("\n").as_bytes());
    }

    #[test]
    fn no_damage_to_the_tutorial_makes_it_panic(
        cut in 0_usize..2000,
        at in 0_usize..2000,
        noise in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut bytes = (data("mmm_common.conf") + &data("mon/mmm_mon.conf")).into_bytes();
        let at = at.min(bytes.len());
        bytes.splice(at..at, noise);
        bytes.truncate(bytes.len().saturating_sub(cut));
        load_all(&bytes);
    }

    #[test]
    fn what_check_prints_is_read_again(
        user in r##"[a-z"# 服%]{1,12}"##,
        interface in "[a-z0-9.#]{1,12}[a-z]",
        periods in proptest::collection::vec(50_u32..90_000, 4),
        lease in prop_oneof![Just(0_u32), 3_000_u32..=60_000],
        keep: bool,
        fence_hung: bool,
        port in 1_u16..,
    ) {
        let quoted = format!("\"{}\"", user.replace('"', "\"\""));
        let mut text = format!("include mmm_common.conf\nthis MySQL-M2\n<host default>\nagent_user {quoted}\n");
        let _ = write!(text, "cluster_interface \"{interface}\"\nagent_port {port}\n</host>\n");
        for (check, period) in ["ping", "mysql", "rep_backlog", "rep_threads"].iter().zip(&periods) {
            let _ = write!(text, "<check {check}>\ncheck_period {}.{:03}\n</check>\n", period / 1000, period % 1000);
        }
        let folder = Folder::tutorial();
        folder.write("mmm_agent.conf", &text);
        let before = format!("{:?}", folder.loaded(Program::Agent).settings.hosts);
        folder.configure_as_described(Program::Agent);
        let after = folder.loaded(Program::Agent).settings;
        prop_assert_eq!(after.agent_view().unwrap().agent.user, user.as_str());
        prop_assert_eq!(before, format!("{:?}", after.hosts));

        folder.write("mmm_mon.conf", &(data("mon/mmm_mon.conf") + &text.replace("include mmm_common.conf", "")));
        let isolated = if keep { "keep" } else { "fence" };
        let grace = f64::from(periods[1]) / 1000.0;
        folder.write("mmm3.conf", &format!(
            "writer_lease {}.{:03}\nwriter_isolated {isolated}\nfence_hung_server {fence_hung}\nfailover_grace {grace:.3}\n",
            lease / 1000, lease % 1000,
        ));
        let before = folder.loaded(Program::Monitor).settings;
        folder.configure_as_described(Program::Monitor);
        let after = folder.loaded(Program::Monitor).settings;
        prop_assert_eq!(&before.checks, &after.checks);
        prop_assert_eq!(u128::from(periods[0]), after.checks.ping.period.as_millis());
        prop_assert_eq!(&before.lease, &after.lease);
        prop_assert_eq!(u128::from(lease), after.lease.writer_lease.as_millis());
        prop_assert_eq!((keep, fence_hung), (after.lease.isolated == WriterIsolated::Keep, after.lease.fence_hung_server));
        prop_assert_eq!(&before.roles, &after.roles);
        prop_assert_eq!(format!("{:?}", before.monitor), format!("{:?}", after.monitor));
    }
}
