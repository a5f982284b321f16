//! Nothing but a place for the scenarios in `tests/`, each of which runs a cluster of its own on the lab.
#![forbid(unsafe_code)]
