//! The subcommands, each in a file of its own.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod cutover;
pub(crate) mod demo;
pub(crate) mod drain;
pub(crate) mod get;
pub(crate) mod guard;
pub(crate) mod log;
mod logs;
mod membership;
mod node;
pub(crate) mod queue;
pub(crate) mod rebuild;
pub(crate) mod register;
mod remainder;
pub(crate) mod restore;
mod run;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod status;
pub(crate) mod watch;
mod words;

pub(crate) use run::run;
