//! The configuration of MMM: the language of the `mmm_*.conf` files, its rules, and typed settings for each program.
//!
//! [`load`] finds and reads the files of a program and returns its [`Settings`], or a [`Failure`] that prints every error with
//! file, line, what was expected and what to do. Nothing is read from the environment here and nothing is logged; both
//! are for the programs.
#![forbid(unsafe_code)]

mod build;
mod diagnostic;
mod difference;
mod document;
mod effective;
mod fault;
mod file;
mod line;
mod load;
mod names;
mod nearest;
mod problem;
mod program;
mod reader;
mod registry;
mod report;
mod request;
mod resolved;
mod rules;
mod section;
mod settings;
mod shared;
mod source;
mod value;
mod views;

pub use diagnostic::{Diagnostic, Failure, Place, Severity};
pub use difference::{Difference, differences};
pub use effective::describe;
pub use load::{Loaded, load};
pub use problem::Problem;
pub use program::{Program, Programs, main_config_name};
pub use registry::{Kind, VARIABLES, Variable, When};
pub use request::Request;
pub use section::SectionKind;
pub use settings::{
    CheckSettings, Checks, CopyMethod, Diverged, FailoverPolicy, HostMode, HostSettings, LeaseSettings,
    LvmSettings, Mode, MonitorSettings, RoleMode, RoleSettings, SemiSync, Settings, SocketSettings,
    SshSettings, WriterIsolated,
};
pub use shared::shared;
pub use views::{Account, AgentView, ControlView, MonitorView, WatchedHost, WrongProgram};
