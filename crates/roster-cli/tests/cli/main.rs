//! The binary as its users meet it: run as a process, judged by what it prints and how it ends.
//!
//! The node is that of the SDK's tests, on a port of its own, so that a test says what the node does
//! next; time is real here, so each wait is for a state, with a deadline.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod joining;
mod questions;
mod queues;
mod registering;
mod running;
mod serving;
mod usage;
mod watching;

use assert_cmd::Command;

/// `roster` with these arguments, and without what the machine of the tester has set.
fn roster(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("roster").unwrap();
    command.env_remove("ROSTER_SERVER").env("NO_COLOR", "1").args(arguments);
    command
}
