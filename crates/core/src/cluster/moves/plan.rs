//! What a planned move would do, and what it would wait for, in the words of an operator.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Move, Purpose};
use crate::cluster::{Action, Cluster};
use crate::survey::{Busy, Survey};

/// One step of a move.
struct Line {
    what: String,
    /// After which time the move ends here.
    limit_s: Option<u64>,
    waits_for: Vec<Value>,
    text: Vec<String>,
}

impl Line {
    fn new(what: String, limit_s: Option<u64>) -> Self {
        Self { what, limit_s, waits_for: Vec::new(), text: Vec::new() }
    }

    fn wait_for(&mut self, host: &str, busy: &Busy, effect: &str) {
        self.text.push(format!("{}: {effect}", busy.describe()));
        self.waits_for.push(json!({"host": host, "connection": busy, "effect": effect}));
    }

    fn note(&mut self, host: &str, text: String) {
        self.waits_for.push(json!({"host": host, "note": text}));
        self.text.push(text);
    }
}

impl Move {
    /// What was in the way on both servers, for the answer about a move that came to nothing.
    pub(super) fn seen(&self) -> String {
        let mut text = String::new();
        for (host, survey) in &self.surveys {
            for busy in &survey.busy {
                let _ = write!(text, "\n  {host}: {}", busy.describe());
            }
            if survey.more > 0 {
                let _ = write!(text, "\n  {host}: and {} more connections", survey.more);
            }
            for more in survey.prepared.describe().iter().chain(&survey.unseen) {
                let _ = write!(text, "\n  {host}: {more}");
            }
        }
        text
    }
}

impl Cluster {
    pub(super) fn answer_plan(&self, planned: &Move, actions: &mut Vec<Action>) {
        let Purpose::Plan { client, json } = planned.purpose else { return };
        let refusal = self.may_move(self.last_step, planned).err();
        let lines = self.steps_of(planned);
        let text = if json {
            let steps: Vec<Value> = lines
                .iter()
                .map(|line| json!({"step": line.what, "limit_s": line.limit_s, "waits_for": line.waits_for}))
                .collect();
            json!({
                "role": planned.role.to_string(),
                "from": planned.from,
                "to": planned.to,
                "possible": refusal.is_none(),
                "refusal": refusal,
                "steps": steps,
            })
            .to_string()
        } else {
            describe(planned, refusal.as_deref(), &lines)
        };
        actions.push(Action::Answer { client, text });
    }

    fn steps_of(&self, planned: &Move) -> Vec<Line> {
        let (from, to) = (&planned.from, &planned.to);
        let settings = &self.settings;
        if !settings.is_writer(&planned.role) {
            return vec![Line::new(format!("the address leaves '{from}' and is put on '{to}'"), None)];
        }
        let mut look = Line::new(
            format!("look at the servers of '{from}' and '{to}'"),
            Some(super::SURVEY_LIMIT.as_secs()),
        );
        for host in [from, to] {
            match planned.surveys.get(host) {
                None => look.note(host.as_str(), format!("'{host}' has not said what goes on in its server")),
                Some(survey) => {
                    for unseen in &survey.unseen {
                        look.note(host.as_str(), format!("{host}: {unseen}"));
                    }
                }
            }
        }
        let end = planned.surveys.get(from).and_then(|survey| survey.end.as_ref());
        let end = end.and_then(|end| end.position.as_ref());
        let upto = end.map_or(String::new(), |end| format!(", at least up to {} {}", end.file, end.position));
        let mut approach = Line::new(
            format!(
                "'{to}' receives what '{from}' has written{upto}, and applies nearly all of it; nothing has stopped until here"
            ),
            Some(settings.approach_limit.as_secs()),
        );
        if let Some(survey) = planned.surveys.get(to) {
            note_lag(&mut approach, to.as_str(), survey);
            for busy in &survey.busy {
                if let Some(effect) = busy.holdup.on_new_writer() {
                    approach.wait_for(to.as_str(), busy, effect);
                }
            }
        }
        let mut close = Line::new(
            format!("'{from}' becomes read-only; else it keeps the role"),
            Some(settings.close_limit.as_secs()),
        );
        let mut clients = Line::new(
            format!(
                "the clients of '{from}' are ended, its address goes off, its final position is read, it gives its epoch back"
            ),
            None,
        );
        if let Some(survey) = planned.surveys.get(from) {
            for busy in &survey.busy {
                let line = if busy.holdup.delays_closing() { &mut close } else { &mut clients };
                line.wait_for(from.as_str(), busy, busy.holdup.on_old_writer());
            }
            if let Some(prepared) = survey.prepared.describe() {
                clients.note(
                    from.as_str(),
                    format!(
                        "{prepared}. Nothing ends them: they are prepared on '{to}' as well, and their rows stay locked on both until XA COMMIT or XA ROLLBACK is said to the new writer"
                    ),
                );
            }
            if survey.more > 0 {
                clients.note(from.as_str(), format!("{} more connections with something open", survey.more));
            }
        }
        let last = Line::new(
            format!(
                "'{to}' applies the rest up to that position; else the role goes back to '{from}', where nothing is missing"
            ),
            Some(settings.handover_limit.as_secs()),
        );
        let open = Line::new(format!("'{to}' takes writes and gets the address"), None);
        vec![look, approach, close, clients, last, open]
    }
}

fn note_lag(line: &mut Line, host: &str, survey: &Survey) {
    let Some(lag) = &survey.replica else {
        return line.note(host, format!("'{host}' does not replicate"));
    };
    if !lag.receives {
        line.note(host, format!("'{host}' does not receive: its IO thread does not run"));
    }
    if !lag.applies {
        line.note(host, format!("'{host}' does not apply: its SQL thread does not run"));
    }
    if let Some(delay) = lag.delay_s.filter(|delay| *delay > 0) {
        line.note(host, format!("'{host}' is {delay} s behind"));
    }
}

fn describe(planned: &Move, refusal: Option<&str>, lines: &[Line]) -> String {
    let mut text = format!(
        "Plan: role '{}' from '{}' to '{}'. Nothing has been done.\n",
        planned.role, planned.from, planned.to
    );
    for (number, line) in (1..).zip(lines) {
        let limit = line.limit_s.map_or(String::new(), |limit| format!(" ({limit} s at most)"));
        let _ = writeln!(text, "  {number}. {}{limit}", line.what);
        for wait in &line.text {
            let _ = writeln!(text, "       {wait}");
        }
    }
    match refusal {
        None => text.push_str("Nothing that was seen forbids this move."),
        Some(why) => {
            let _ = write!(text, "It would be refused, {why}");
        }
    }
    text
}
