//! `roster bench client`: what the SDK costs a process that uses it.
//!
//! Each part runs in a process of its own, so that its processor time and memory are those of the SDK and of the
//! least that a user of it needs. Who makes the changes and fills the queues is the process that was started by
//! hand; both speak in lines of JSON.

mod answer;
mod consumers;
mod load;
mod producers;
mod registrations;
mod usage;
mod watches;
mod worker;
mod worker_process;

pub(super) use load::{ClientLoad, run};
pub(super) use worker::{ClientWorker, run as work};
