//! The words of the domain. Parsing is the only way in; a value that exists is valid.

mod address;
mod facts;
mod ids;
mod names;
mod policy;
mod texts;

pub use address::Address;
pub use facts::{Kind, Metadata, Registration, Tags};
pub use ids::{InstanceId, Position, SecretHash, SessionId, Timestamp, Token};
pub use names::{InvalidWord, Label, Selector, ServiceName};
pub use policy::{Cutover, Grace, Handover};
