//! Messages of which a part stays bytes. On the wire a `bytes` field and a message field look the same, so the
//! other side sees plain messages of `roster.v1`.

mod reading;
mod session;
mod watch;

pub use reading::{GetMainResponse, ListInstancesResponse, Reading};
pub use session::{Operation, Operations, Register, Request, SessionOperation, SessionRequest};
pub use watch::{Delivery, WatchResponse};
