//! The table on the terminal and the JSON file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figure::{Figure, Judged};
use crate::machine::Machine;

const NAME: usize = 76;

pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<NAME$} {:>5} {:>9} {:>9} {:>9}  {:<20} {}\n",
        "figure", "runs", "min", "median", "max", "target", "met"
    );
    for figure in figures {
        let name = format!("{} ({})", figure.name, figure.unit);
        let target = figure.target.map_or(String::new(), |target| {
            let what = match target.judged {
                Judged::Median => "median",
                Judged::Maximum => "max",
                Judged::Sum => "sum",
            };
            format!("{what} <= {}", target.at_most)
        });
        let met = match figure.is_met() {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let digits = match figure.unit {
            "rows" | "writes" => 0,
            "%" => 3,
            _ => 1,
        };
        let _ = writeln!(
            text,
            "{name:<NAME$} {:>5} {:>9.digits$} {:>9.digits$} {:>9.digits$}  {target:<20} {met}",
            figure.values.len(),
            figure.min(),
            figure.median(),
            figure.max(),
        );
    }
    text
}

pub(crate) fn write_json(path: &Path, machine: &Machine, figures: &[Figure]) -> Result<()> {
    let rows: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "name": figure.name,
                "unit": figure.unit,
                "values": figure.values,
                "min": figure.min(),
                "median": figure.median(),
                "max": figure.max(),
                "target": figure.target.map(|target| target.at_most),
                "met": figure.is_met(),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&json!({"machine": machine.json(), "figures": rows}))?;
    fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
}
