//! Logs on their way from producers to collectors: the ring of a producer, the book of a collector, what
//! goes between them, and the two ways to bring it there.

mod book;
mod pull;
mod push;
mod ring;
mod wire;
mod worker;

pub(crate) use book::Book;
pub(crate) use pull::Pull;
pub(crate) use push::Push;
pub(crate) use ring::{Ring, Writer, ring};
pub(crate) use wire::{Collecting, Producing};
