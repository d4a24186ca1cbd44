//! `roster queue …`: work queues, from the shell.
//!
//! ```text
//!  catalogue   create, update, delete, list, stats
//!  messages    peek, purge
//!  dead        dead list, peek, requeue, drop
//!  publish     arguments or standard input, over one stream
//!  consume     standard output, or a command per message, over one stream
//! ```

mod arguments;
mod catalogue;
mod consume;
mod contact;
mod dead;
mod messages;
mod options;
mod publish;

pub(crate) use arguments::{Queue, run};
