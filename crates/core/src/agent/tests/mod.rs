//! The agent's mind against a host that does what it is asked, one step at a time.

mod addresses;
mod fencing;
mod fixture;
mod following;
mod lease;
mod orders;
mod promises;
mod protocol1;
mod rebuilding;
mod reload;
mod salvaging;
mod semi_sync;
mod torn;
mod writes;
