//! The behaviour of the log: what it promises, and what crashes, full disks and flipped bits make of it.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails the test")]

mod ahead;
mod crash;
mod damage;
mod frames;
mod limits;
mod museum;
mod queue_museum;
mod real_disk;
mod replica;
mod replica_crash;
mod support;
