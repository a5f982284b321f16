//! One row of an answer, read by column name.
//!
//! The two families of servers give the same facts under different names and may add columns at any place, so nothing
//! here depends on the order of columns.

use mysql_async::{Row, Value};

/// Column names and their values as text; `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    fields: Vec<(String, Option<String>)>,
}

impl Record {
    /// The value of the first of `names` that this row has. An absent column and NULL both give `None`.
    pub(crate) fn text(&self, names: &[&str]) -> Option<&str> {
        let known = |name: &&str| self.fields.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        names.iter().find_map(known).and_then(|(_, value)| value.as_deref())
    }

    /// A number; `None` also when the text is not one.
    pub(crate) fn number(&self, names: &[&str]) -> Option<u64> {
        self.text(names)?.parse().ok()
    }

    /// The first column, for statements that ask for one value.
    pub(crate) fn first(&self) -> Option<&str> {
        self.fields.first().and_then(|(_, value)| value.as_deref())
    }

    /// Every column in the order of the answer.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    pub(crate) fn from_row(row: &Row) -> Self {
        let value = |index| row.as_ref(index).and_then(as_text);
        let columns = row.columns_ref().iter().enumerate();
        Self {
            fields: columns.map(|(index, column)| (column.name_str().into_owned(), value(index))).collect(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(fields: &[(&str, Option<&str>)]) -> Self {
        let owned = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        Self { fields: fields.iter().map(owned).collect() }
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        // The text protocol delivers bytes only; what is left would be a change of the library.
        other => Some(other.as_sql(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_found_under_the_name_of_either_family() {
        let mariadb = Record::of(&[("Master_Host", Some("a"))]);
        let mysql = Record::of(&[("Source_Host", Some("a"))]);
        for record in [mariadb, mysql] {
            assert_eq!(record.text(&["Source_Host", "Master_Host"]), Some("a"));
        }
    }

    #[test]
    fn null_and_garbage_are_no_numbers() {
        let record = Record::of(&[("a", None), ("b", Some("12x")), ("c", Some("12"))]);
        assert_eq!(record.number(&["a"]), None);
        assert_eq!(record.number(&["b"]), None);
        assert_eq!(record.number(&["c"]), Some(12));
    }
}
