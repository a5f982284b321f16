//! Which variables were set while the server ran, for the doctor.

use std::collections::BTreeMap;
use std::time::Duration;

use mmm_core::doctor::{SetByHand, watched};

use crate::dialect::Flavour;
use crate::error::ServerError;
use crate::record::Record;
use crate::session::Session;

/// No such schema (1049) or table (1146): `MySQL` 5.7. No right to read it (1142).
const UNTOLD: [u16; 3] = [1049, 1142, 1146];

/// Empty where the server does not tell.
pub async fn set_by_hand(
    session: &mut Session,
    limit: Duration,
) -> Result<BTreeMap<String, SetByHand>, ServerError> {
    let statement = statement(session.identity().flavour);
    match session.rows("asking which settings were made by hand", &statement, limit).await {
        Ok(rows) => Ok(rows.iter().filter_map(setting).collect()),
        Err(error) if error.code().is_some_and(|code| UNTOLD.contains(&code)) => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn statement(flavour: Flavour) -> String {
    let names: Vec<String> = watched().map(|name| format!("'{name}'")).collect();
    let names = names.join(", ");
    match flavour {
        Flavour::MariaDb => format!(
            "SELECT VARIABLE_NAME AS name, DEFAULT_VALUE AS initial, NULL AS kept FROM information_schema.SYSTEM_VARIABLES \
             WHERE VARIABLE_NAME IN ({names}) AND GLOBAL_VALUE_ORIGIN = 'SQL'"
        ),
        // Also SET PERSIST leaves DYNAMIC behind until the next start.
        Flavour::MySql => format!(
            "SELECT i.VARIABLE_NAME AS name, NULL AS initial, p.VARIABLE_VALUE AS kept \
             FROM performance_schema.variables_info i LEFT JOIN performance_schema.persisted_variables p \
             ON p.VARIABLE_NAME = i.VARIABLE_NAME \
             WHERE i.VARIABLE_NAME IN ({names}) AND i.VARIABLE_SOURCE = 'DYNAMIC'"
        ),
    }
}

fn setting(row: &Record) -> Option<(String, SetByHand)> {
    let text = |name| row.text(&[name]).map(str::to_owned);
    Some((
        text("name")?.to_ascii_lowercase(),
        SetByHand { default: text("initial"), persisted: text("kept") },
    ))
}
