//! No program goes without a rule of the lease: rules are left out by the simulator and by tests, to show what each is for.
//!
//! The sources themselves are looked at, so that the promise holds for what can be configured or told to a program, too.

use std::fs;
use std::path::{Path, PathBuf};

use mmm_core::lease::LeaseRule;

/// These may leave out rules: the core offers it, the simulator shows what comes of it.
const MAY_LEAVE_OUT: [&str; 2] = ["core", "sim"];

/// What must be among the crates that are looked at; otherwise the test looks in the wrong place.
const PROGRAMS: [&str; 4] = ["agent", "control", "daemon", "monitor"];

#[test]
fn no_program_uses_other_lease_rules_than_all() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/ is above each crate");
    let mut looked_at = Vec::new();
    let mut faults = Vec::new();
    for folder in entries(crates) {
        let name = folder.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if MAY_LEAVE_OUT.contains(&name.as_str()) || !folder.join("src").is_dir() {
            continue;
        }
        for file in sources(&folder.join("src")) {
            for (line, why) in faults_of(&text_of(&file)) {
                let file = file.strip_prefix(crates).unwrap_or(&file);
                faults.push(format!("crates/{}:{line}: {why}", file.display()));
            }
        }
        looked_at.push(name);
    }
    for program in PROGRAMS {
        assert!(looked_at.iter().any(|name| name == program), "crates/{program}/src was not looked at");
    }
    assert!(faults.is_empty(), "write `LeaseRules::ALL`:\n{}", faults.join("\n"));
}

#[test]
fn all_rules_may_be_named_in_the_ways_programs_need() {
    for source in [
        "",
        "let rules = LeaseRules::ALL;",
        "let rules = LeaseRules::default();",
        "let rules = mmm_core::lease::LeaseRules\n    ::ALL;",
        "use mmm_core::lease::LeaseRules;\nfn f() { g(LeaseRules::ALL) }",
        "use mmm_core::lease::{Epoch, LeaseRules};",
        "#[cfg(test)]\nmod tests {\n    use mmm_core::lease::{\n        LeaseRules,\n        Epoch,\n    };\n}",
        "//! Like [`LeaseRules`].\n    /// As LeaseRules::without has it.\n// LeaseRules { }",
        "struct MyLeaseRules; struct LeaseRulesOfOthers;",
        "if seen.only_listed_hosts == listed {}",
    ] {
        assert_eq!(faults_of(source), [], "{source}");
    }
}

#[test]
fn every_other_way_to_come_by_rules_is_found_with_its_line() {
    for source in [
        "let rules = LeaseRules { only_listed_hosts: false, ..LeaseRules::ALL };",
        "let rules = LeaseRules::without(rule);",
        "let rules = LeaseRules :: without(rule);",
        "let rules = LeaseRules::ALL_BUT_ONE;",
        "let rules = LeaseRules::default_for(host);",
        "let rules = <LeaseRules as Default>::default();",
        "let rules: LeaseRules = serde_json::from_str(&text)?;",
        "let rules = serde_json::from_str::<LeaseRules>(&text)?;",
        "type Rules = LeaseRules;",
        "use mmm_core::lease::LeaseRules as Rules;",
        "use mmm_core::lease::{LeaseRules as Rules, Epoch};",
        "pub use mmm_core::lease::LeaseRule;",
        "use mmm_core::DataRule;",
        "let cluster = cluster.without_data_rule(rule);",
        "let make = LeaseRules::without as fn(_) -> _; // dropping",
        "settings.rules.only_listed_hosts = false;",
        "settings.rules\n.waiters_count_longer=host.is_slow();",
        "let joining = &mut settings.rules.joining_is_confirmed;",
    ] {
        let faults = faults_of(&format!("\n\n{source}\n"));
        assert!(!faults.is_empty(), "{source}");
        assert!(faults.iter().all(|(line, _)| *line == 3 || *line == 4), "{source}: {faults:?}");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    paths
}

/// All files below a folder that are compiled.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "the core does no I/O, but its tests may look at sources")]
fn text_of(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What a source does with rules besides taking all of them, with the line of each.
fn faults_of(source: &str) -> Vec<(usize, String)> {
    // Lines stay where they are; what is said about the rules in a comment changes none.
    let code: Vec<&str> =
        source.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect();
    let code = code.join("\n");
    let mut faults = Vec::new();
    let mut fault = |at: usize, why: String| faults.push((code[..at].matches('\n').count() + 1, why));
    for at in words(&code, "LeaseRules") {
        let after = code[at + "LeaseRules".len()..].trim_start();
        if !(takes_all(after) || is_imported(&code[..at], after)) {
            fault(at, "rules of the lease that may be other than all".to_owned());
        }
    }
    for at in words(&code, "LeaseRule") {
        fault(at, "a single rule of the lease is named".to_owned());
    }
    for word in ["DataRule", "without_data_rule"] {
        for at in words(&code, word) {
            fault(at, "a rule about data may be left out".to_owned());
        }
    }
    for field in LeaseRule::ALL.map(|rule| rule.as_str().replace('-', "_")) {
        for at in words(&code, &field) {
            let before = code[..at].trim_end();
            let after = code[at + field.len()..].trim_start();
            let assigned = after.starts_with('=') && !after.starts_with("==");
            if before.ends_with('.') && (assigned || is_borrowed_to_change(before)) {
                fault(at, format!("the rule {field} is changed"));
            }
        }
    }
    faults.sort();
    faults
}

fn is_part_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where a word stands that is not part of a longer one.
fn words(code: &str, word: &str) -> Vec<usize> {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !code[..*at].ends_with(is_part_of_a_name))
        .filter(|at| !code[at + word.len()..].starts_with(is_part_of_a_name))
        .collect()
}

/// `::ALL` or `::default()`.
fn takes_all(after: &str) -> bool {
    let Some(path) = after.strip_prefix("::").map(str::trim_start) else { return false };
    let all = path.strip_prefix("ALL").is_some_and(|rest| !rest.starts_with(is_part_of_a_name));
    all || path.starts_with("default()")
}

/// In the midst of a `use` and under its own name.
fn is_imported(before: &str, after: &str) -> bool {
    let statement = before.rsplit(';').next().unwrap_or_default();
    let path = statement.rsplit("use ").next().unwrap_or_default();
    let in_use = path.len() < statement.len()
        && path.chars().all(|character| {
            is_part_of_a_name(character) || character.is_whitespace() || ":{,".contains(character)
        });
    in_use && after.starts_with([',', ';', '}'])
}

/// `&mut` before the path that ends here.
fn is_borrowed_to_change(before: &str) -> bool {
    let path = before
        .trim_end_matches(|character: char| is_part_of_a_name(character) || ".()[]".contains(character));
    path.trim_end().ends_with("&mut")
}
