//! etcd: an instance is a key `/SERVICE/INSTANCE` under the lease of its process, a watch is one of the
//! service's prefix.

mod crash;
mod fanout;
mod memory;
mod read;
mod register;
mod watching;
mod wire;

pub(crate) use crash::{CrashLoad, crash};
pub(crate) use fanout::{FanoutLoad, fanout};
pub(crate) use memory::{MemoryLoad, memory};
pub(crate) use read::{AnswerLoad, GetLoad, answer, get};
pub(crate) use register::{RegisterLoad, register};
