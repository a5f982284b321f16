//! The configuration from outside: files in, settings or rendered errors out.

#![allow(clippy::unwrap_used)]

mod difference;
mod errors;
mod files;
mod lease;
mod properties;
mod settings;
mod support;
mod tutorial;
