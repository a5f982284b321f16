//! What is different between two configurations, as a daemon logs it.

use mmm_config::{Program, SectionKind, differences};

use crate::support::Folder;

fn lines(folder: &Folder, program: Program, change: impl FnOnce(&Folder)) -> Vec<String> {
    let before = folder.loaded(program).settings;
    change(folder);
    differences(&before, &folder.loaded(program).settings).iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_configuration_read_twice_is_no_difference() {
    for program in [Program::Monitor, Program::Agent] {
        assert_eq!(lines(&Folder::tutorial(), program, |_| {}), Vec::<String>::new());
    }
}

#[test]
fn each_changed_variable_and_each_new_or_removed_section_is_one_line() {
    let folder = Folder::tutorial();
    let found = lines(&folder, Program::Monitor, |folder| {
        folder.edit("mmm_common.conf", "192.168.8.34, 192.168.8.35", "192.168.8.34");
        folder.edit("mmm_mon.conf", "auto_set_online 10", "auto_set_online 30");
        folder.edit(
            "mmm_mon.conf",
            "debug 0",
            "<role logs>\nmode exclusive\nhosts MySQL-M1\nips 192.168.8.40\n</role>\n<check ping>\ntimeout 1\n</check>",
        );
    });
    assert_eq!(
        found,
        [
            "<monitor> auto_set_online is 30, it was 10",
            "<role logs> is new",
            "<role reader> ips is 192.168.8.34, it was 192.168.8.34, 192.168.8.35",
            "<check ping> timeout is 1, it was 2",
        ]
    );
    let back = lines(&folder, Program::Monitor, |folder| {
        folder.edit(
            "mmm_mon.conf",
            "<role logs>\nmode exclusive\nhosts MySQL-M1\nips 192.168.8.40\n</role>\n",
            "",
        );
    });
    assert!(back.contains(&"<role logs> is gone".to_owned()), "{back:?}");
}

#[test]
fn a_variable_that_came_or_went_is_told_with_its_value() {
    let folder = Folder::tutorial();
    let prefer = "mode exclusive\nprefer MySQL-M2";
    let came =
        lines(&folder, Program::Monitor, |folder| folder.edit("mmm_common.conf", "mode exclusive", prefer));
    assert_eq!(came, ["<role writer> prefer is new: MySQL-M2"]);
    let went =
        lines(&folder, Program::Monitor, |folder| folder.edit("mmm_common.conf", prefer, "mode exclusive"));
    assert_eq!(went, ["<role writer> prefer is gone, it was MySQL-M2"]);
}

#[test]
fn a_changed_password_is_told_and_never_shown() {
    let folder = Folder::tutorial();
    let before = folder.loaded(Program::Monitor).settings;
    folder.edit("mmm_mon.conf", "monitor_password mmm_monitor", "monitor_password Gehe1m");
    let after = folder.loaded(Program::Monitor).settings;
    let found = differences(&before, &after);
    assert_eq!(found.len(), 2, "one for each host: {found:?}");
    for difference in found {
        assert_eq!(difference.section(), SectionKind::Host);
        assert_eq!(difference.variable(), Some("monitor_password"));
        let shown = format!("{difference} {difference:?} {after:?}");
        assert!(shown.contains("is another one (not shown)") && !shown.contains("Gehe1m"), "{shown}");
    }
}
