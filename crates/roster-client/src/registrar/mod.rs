//! Being known: one session, one stream, any number of registrations.
//!
//! ```text
//! Handle ─┐  what is desired   ┌────────────────────┐   steps, messages   ┌────────┐
//! Handle ─┼──────────────────► │ Session            │ ──────────────────► │ driver │ ◄─► node
//! Handle ─┘ ◄───── states ──── │  Machine ─► Book   │ ◄────────────────── │        │
//!                              └────────────────────┘  responses, losses  └────────┘
//! ```
//! The machine holds the conversation (hello, welcome, ping, farewell, silence), the book what is
//! desired and how far the node has followed.

mod book;
mod entry;
mod handle;
mod machine;
mod seats;
mod start;
mod state;
#[cfg(test)]
mod tests;

pub use handle::{Draining, Handle};
pub use start::{Registrar, RegistrarBuilder};
pub use state::{Connection, DrainProgress, State};
