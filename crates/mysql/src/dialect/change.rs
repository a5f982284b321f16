//! Statements that point a replica elsewhere. Only what has to change is named: every other option of the channel stays.

use secrecy::ExposeSecret;

use super::{Dialect, Flavour, Version, quoted};
use crate::replica::Coordinates;
use crate::repoint::{GtidUse, Repoint, StartAt};

impl Dialect {
    /// `CHANGE REPLICATION SOURCE TO` came with 8.0.23, a patch later than the other new words.
    fn has_new_change(self) -> bool {
        self.flavour == Flavour::MySql && self.version >= Version { major: 8, minor: 0, patch: 23 }
    }

    fn option(self, name: &str) -> String {
        format!("{}_{name}", if self.has_new_change() { "SOURCE" } else { "MASTER" })
    }

    /// Holds a password: never to be shown.
    pub(crate) fn repoint(self, to: &Repoint) -> String {
        let mut options = vec![
            format!("{} = {}", self.option("HOST"), quoted(&to.host)),
            format!("{} = {}", self.option("PORT"), to.port),
            format!("{} = {}", self.option("USER"), quoted(&to.account.user)),
            format!("{} = {}", self.option("PASSWORD"), quoted(to.account.password.expose_secret())),
        ];
        options.extend(self.place(&to.at));
        self.change(&options)
    }

    pub(crate) fn change_place(self, at: &StartAt) -> String {
        self.change(&self.place(at))
    }

    /// The account stays: replication accounts are the same on all hosts, or the next attempt names its own again.
    pub(crate) fn repoint_back(self, host: &str, port: u16, place: &Coordinates) -> String {
        let mut options = vec![
            format!("{} = {}", self.option("HOST"), quoted(host)),
            format!("{} = {port}", self.option("PORT")),
        ];
        options.extend(self.place(&StartAt::Log(place.clone())));
        self.change(&options)
    }

    /// To another port and back, with the account that the channel keeps; `tls` is the one option that has to change with it.
    pub(crate) fn redirect(self, host: &str, port: u16, tls: bool, at: &StartAt) -> String {
        let mut options = vec![
            format!("{} = {}", self.option("HOST"), quoted(host)),
            format!("{} = {port}", self.option("PORT")),
            format!("{} = {}", self.option("SSL"), u8::from(tls)),
        ];
        options.extend(self.place(at));
        self.change(&options)
    }

    /// Whether the receiver may be pointed elsewhere while what it has fetched goes on being applied.
    pub(crate) fn turns_while_applying(self) -> bool {
        self.is_mysql_since(5, 7, 4)
    }

    /// The same for the receiver alone. What it asks for by GTID is not named: that would need the applier to be stopped.
    pub(crate) fn turn_receiver(self, host: &str, port: u16, tls: bool, at: &StartAt) -> String {
        let mut options = vec![
            format!("{} = {}", self.option("HOST"), quoted(host)),
            format!("{} = {port}", self.option("PORT")),
            format!("{} = {}", self.option("SSL"), u8::from(tls)),
        ];
        if let StartAt::Log(place) = at {
            options.push(format!("{} = {}", self.option("LOG_FILE"), quoted(&place.file)));
            options.push(format!("{} = {}", self.option("LOG_POS"), place.pos));
        }
        self.change(&options)
    }

    fn change(self, options: &[String]) -> String {
        let verb = if self.has_new_change() { "CHANGE REPLICATION SOURCE TO" } else { "CHANGE MASTER TO" };
        format!("{verb} {}", options.join(", "))
    }

    fn place(self, at: &StartAt) -> Vec<String> {
        match (at, self.flavour) {
            (StartAt::Gtid(GtidUse::CurrentPos), Flavour::MariaDb) => {
                vec!["MASTER_USE_GTID = current_pos".to_owned()]
            }
            (StartAt::Gtid(_), Flavour::MariaDb) => vec!["MASTER_USE_GTID = slave_pos".to_owned()],
            (StartAt::Gtid(_), Flavour::MySql) => vec![format!("{} = 1", self.option("AUTO_POSITION"))],
            (StartAt::Log(place), flavour) => {
                let file = format!("{} = {}", self.option("LOG_FILE"), quoted(&place.file));
                let position = format!("{} = {}", self.option("LOG_POS"), place.pos);
                let without = match flavour {
                    Flavour::MariaDb => "MASTER_USE_GTID = no".to_owned(),
                    Flavour::MySql => format!("{} = 0", self.option("AUTO_POSITION")),
                };
                vec![file, position, without]
            }
        }
    }

    /// `MySQL` only.
    pub(crate) fn channel_login(self, tls: bool, asks_for_key: bool) -> String {
        let key = if self.has_new_change() { "GET_SOURCE_PUBLIC_KEY" } else { "GET_MASTER_PUBLIC_KEY" };
        self.change(&[
            format!("{} = {}", self.option("SSL"), u8::from(tls)),
            format!("{key} = {}", u8::from(asks_for_key)),
        ])
    }

    /// `None` where no thread is to run.
    pub(crate) fn start_some(self, receives: bool, applies: bool) -> Option<String> {
        let word = if self.has_new_words() { "REPLICA" } else { "SLAVE" };
        match (receives, applies) {
            (true, true) => Some(format!("START {word}")),
            (true, false) => Some(format!("START {word} IO_THREAD")),
            (false, true) => Some(format!("START {word} SQL_THREAD")),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Account;

    fn dialect(flavour: Flavour, major: u32, minor: u32, patch: u32) -> Dialect {
        Dialect::new(flavour, Version { major, minor, patch })
    }

    fn to(at: StartAt) -> Repoint {
        Repoint { host: "192.168.8.33".into(), port: 3306, account: Account::new("repl", "it's"), at }
    }

    fn place() -> StartAt {
        StartAt::Log(Coordinates { file: "bin.000007".into(), pos: 900 })
    }

    #[test]
    fn mariadb_is_told_where_and_how_and_nothing_else() {
        let maria = dialect(Flavour::MariaDb, 10, 11, 14);
        assert_eq!(
            maria.repoint(&to(place())),
            "CHANGE MASTER TO MASTER_HOST = '192.168.8.33', MASTER_PORT = 3306, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'it''s', MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 900, MASTER_USE_GTID = no"
        );
        assert!(
            maria.repoint(&to(StartAt::Gtid(GtidUse::SlavePos))).ends_with("MASTER_USE_GTID = slave_pos")
        );
        assert!(
            maria.repoint(&to(StartAt::Gtid(GtidUse::CurrentPos))).ends_with("MASTER_USE_GTID = current_pos")
        );
    }

    #[test]
    fn each_mysql_hears_the_words_that_it_knows() {
        let new = dialect(Flavour::MySql, 9, 7, 4);
        assert_eq!(
            new.repoint(&to(StartAt::Gtid(GtidUse::SlavePos))),
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '192.168.8.33', SOURCE_PORT = 3306, SOURCE_USER = 'repl', \
             SOURCE_PASSWORD = 'it''s', SOURCE_AUTO_POSITION = 1"
        );
        for old in [dialect(Flavour::MySql, 5, 7, 44), dialect(Flavour::MySql, 8, 0, 22)] {
            let statement = old.change_place(&place());
            assert_eq!(
                statement,
                "CHANGE MASTER TO MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 900, MASTER_AUTO_POSITION = 0"
            );
        }
    }

    #[test]
    fn a_receiver_is_turned_without_a_word_that_concerns_the_applier() {
        let mysql = dialect(Flavour::MySql, 9, 7, 4);
        assert!(mysql.turns_while_applying());
        assert!(!dialect(Flavour::MariaDb, 11, 8, 1).turns_while_applying());
        assert_eq!(
            mysql.turn_receiver("127.0.0.1", 4000, false, &StartAt::Gtid(GtidUse::SlavePos)),
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 4000, SOURCE_SSL = 0"
        );
        assert!(
            mysql
                .turn_receiver("db1", 3306, true, &place())
                .ends_with("SOURCE_SSL = 1, SOURCE_LOG_FILE = 'bin.000007', SOURCE_LOG_POS = 900")
        );
    }

    #[test]
    fn only_the_threads_that_ran_are_started() {
        let (maria, mysql) = (dialect(Flavour::MariaDb, 10, 11, 14), dialect(Flavour::MySql, 9, 7, 4));
        assert_eq!(maria.start_some(true, true).unwrap(), "START SLAVE");
        assert_eq!(mysql.start_some(true, false).unwrap(), "START REPLICA IO_THREAD");
        assert_eq!(maria.start_some(false, true).unwrap(), "START SLAVE SQL_THREAD");
        assert_eq!(maria.start_some(false, false), None);
    }
}
