//! The monitor's mind, driven event by event with explicit time.

mod commands;
mod fixture;
mod moving;
mod properties;
mod startup;
mod states;
