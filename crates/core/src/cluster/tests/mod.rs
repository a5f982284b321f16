//! The monitor's mind, driven event by event with explicit time.

mod blind;
mod choice;
mod commands;
mod consistency;
mod errants;
mod explain;
mod fixture;
mod followers;
mod host;
mod lease;
mod ledger;
mod lending;
mod moving;
mod properties;
mod protocol1;
mod rebuilds;
mod reload;
mod salvaging;
mod semi_sync;
mod semi_sync_manage;
mod show_long;
mod startup;
mod state_file;
mod states;
mod undo;
mod writes;
