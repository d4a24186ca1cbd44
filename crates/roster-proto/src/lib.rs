//! The wire of Roster: messages and stubs of `roster.v1`, and their conversions to and from the words of the core.
//!
//! Conversions live here and nowhere else. What comes in is parsed into words or refused; the
//! generated code is made by `cargo xtask codegen` and committed.

pub mod codec;
pub mod convert;
pub mod encoded;

/// The messages of `roster.v1` and the stubs that clients call.
#[allow(clippy::all, missing_debug_implementations, unreachable_pub, reason = "generated")]
pub mod v1 {
    include!("generated/messages.rs");
}

/// The traits that a node implements.
#[allow(clippy::all, missing_debug_implementations, unreachable_pub, reason = "generated")]
pub mod server {
    include!("generated/server.rs");
}

/// The compiled .proto files, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
