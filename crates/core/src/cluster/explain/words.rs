//! One foreseen loss in words and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Foreseen;
use super::rehearsal::{Rehearsed, Way};

pub(super) fn tell(text: &mut String, foreseen: &Foreseen) {
    let way = foreseen.way.as_str();
    let rehearsed = match &foreseen.rehearsed {
        Ok(rehearsed) => rehearsed,
        Err(why) => {
            let _ = writeln!(text, "  {way:<18} not known: {why}");
            return;
        }
    };
    match &rehearsed.to {
        Some((to, after)) => {
            let when = if after.as_millis() < 50 {
                "at once".to_owned()
            } else {
                format!("after {:.1} s", after.as_secs_f32())
            };
            let _ = writeln!(
                text,
                "  {way:<18} {to} takes over {when}, once it has applied what it received{}",
                reason(rehearsed)
            );
        }
        None => {
            let _ = writeln!(text, "  {way:<18} nobody takes over: {}", rehearsed.why);
        }
    }
    if foreseen.way == Way::HostVanishes && rehearsed.to.is_some() {
        let _ = writeln!(
            text,
            "{:21}not if only the monitor loses it: while the hosts that could take over vouch for it, it stays the writer",
            ""
        );
    }
    if rehearsed.kills {
        let _ = writeln!(
            text,
            "{:21}kill_host is called; when it ends with 0, another host may follow at once",
            ""
        );
    }
    if let Some(lost) = &foreseen.lost_at_most {
        let _ = writeln!(text, "{:21}lost at most: {lost}", "");
    }
}

fn reason(rehearsed: &Rehearsed) -> String {
    let Some(record) = &rehearsed.record else { return String::new() };
    let rule = record.trigger.rule.as_ref().map_or_else(String::new, |rule| format!("{rule}: "));
    if record.proof.is_empty() { String::new() } else { format!(" ({rule}{})", record.proof) }
}

pub(super) fn json_of(foreseen: &Foreseen) -> Value {
    let way = foreseen.way.word();
    match &foreseen.rehearsed {
        Ok(rehearsed) => json!({
            "way": way,
            "to": rehearsed.to.as_ref().map(|(to, _)| to),
            "after_ms": rehearsed.to.as_ref().and_then(|(_, after)| u64::try_from(after.as_millis()).ok()),
            "why": if rehearsed.to.is_some() { reason(rehearsed) } else { rehearsed.why.clone() },
            "kill_host_is_called": rehearsed.kills,
            "lost_at_most": foreseen.lost_at_most,
        }),
        Err(why) => json!({"way": way, "not_known": why}),
    }
}
