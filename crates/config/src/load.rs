//! From a request to settings: finding, reading, resolving, checking, building.

use std::path::PathBuf;

use crate::build;
use crate::diagnostic::{Diagnostic, Failure};
use crate::reader::Reader;
use crate::report::Report;
use crate::request::Request;
use crate::resolved::Resolved;
use crate::rules;
use crate::settings::Settings;

/// A configuration with nothing wrong in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<Diagnostic>,
    /// All files that were read, the main file first.
    pub files: Vec<PathBuf>,
}

/// Loads the configuration of a program, or tells everything that is wrong with it.
pub fn load(request: &Request) -> Result<Loaded, Failure> {
    let mut report = Report::default();
    let settings = settings(request, &mut report);
    let files = report.sources.paths();
    match settings {
        Some(settings) => Ok(Loaded { settings, warnings: report.finish(), files }),
        None => Err(Failure::new(request.program, report.finish())),
    }
}

fn settings(request: &Request, report: &mut Report) -> Option<Settings> {
    let main = request.main_file(report)?;
    let document = Reader::new(report, request.folders()).read_all(&main);
    let resolved = Resolved::new(request.program, &document, report);
    // What an unreadable file may hold can be neither missing nor wrong.
    if !document.incomplete {
        resolved.demand(&document, report);
        rules::check(&resolved, report);
    }
    if report.has_errors() {
        return None;
    }
    Some(build::settings(&resolved, report))
}
