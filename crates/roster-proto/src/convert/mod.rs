//! Wire to words and back. Each direction of each type once.
//!
//! What comes in is parsed: a [`v1::Refusal`] says which field is wrong and what to do. What goes out
//! cannot fail.

mod event;
mod facts;
mod instance;
mod instance_bytes;
mod queue;
mod refusal;
mod registration;
mod results;

pub use event::{encode_event, encode_events, encode_group, encode_notice, parse_event, parse_group};
pub use facts::{encode_cutover, encode_registration, parse_cutover, parse_grace, parse_handover, parse_register};
pub use instance::{encode_instance, parse_instance};
pub use instance_bytes::{put_events, put_instance};
pub use queue::{
    encode_delivery, encode_message, encode_queue_settings, parse_message, parse_queue_name, parse_queue_settings,
    parse_queue_type,
};
pub use refusal::{Advice, invalid, status_of, unavailable};
pub use results::{RefusalWords, refuse_all};

#[cfg(doc)]
use crate::v1;
