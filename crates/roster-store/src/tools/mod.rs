//! What an operator can do with a log beside running it: verify, inspect, repair.

mod inspect;
mod plan;
mod repair;
mod scan;
mod verify;

pub use inspect::{inspect, inspect_snapshot};
pub use repair::{Lost, RepairAction, RepairError, RepairMode, RepairReport, repair};
pub use verify::{FileReport, FileRole, VerifyReport, verify};
