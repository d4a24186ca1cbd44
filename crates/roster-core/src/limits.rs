//! Every limit, each a name with its unit last.
//!
//! What the machine itself refuses by must be the same on every node and at every replay, so these
//! are constants. A node's settings may be stricter; they act at the edge, before a command is logged.

/// A service name in bytes, its `/` included.
pub const SERVICE_NAME_BYTES_MAX: usize = 255;
/// A host name or IP literal in bytes (RFC 1035 §2.3.4 allows 253 as text).
pub const HOST_BYTES_MAX: usize = 253;
/// A zone, a tag, a metadata key or a client's label in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// A metadata value in bytes.
pub const METADATA_VALUE_BYTES_MAX: usize = 4096;
/// Tags of one instance.
pub const TAGS_MAX: usize = 64;
/// Metadata pairs of one instance.
pub const METADATA_PAIRS_MAX: usize = 64;
/// Tags and metadata of one instance together in bytes.
pub const FACTS_BYTES_MAX: usize = 16 * 1024;
/// How long a session may be away, in milliseconds.
pub const GRACE_MILLIS_MAX: u32 = 300_000;
/// The grace of a session that asks for none in particular, in milliseconds.
pub const GRACE_MILLIS_DEFAULT: u32 = 3_000;
/// How long a singleton may wait for the hand-over, in milliseconds.
pub const HANDOVER_MILLIS_MAX: u32 = 3_600_000;
/// The weight of an instance that names none.
pub const WEIGHT_DEFAULT: u32 = 100;
/// The highest weight.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Sessions of one directory.
pub const SESSIONS_MAX: usize = 1_000_000;
/// Instances of one directory.
pub const INSTANCES_MAX: usize = 4_000_000;
/// Instances of one session.
pub const INSTANCES_PER_SESSION_MAX: usize = 200_000;
/// Services of one directory, those that only an operator's policy keeps included.
pub const SERVICES_MAX: usize = 1_000_000;
