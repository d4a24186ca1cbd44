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
/// Queues of one node.
pub const QUEUES_MAX: usize = 100_000;
/// The highest `waiting-max` of a queue, in messages.
pub const WAITING_MESSAGES_MAX: u64 = 1_000_000_000;
/// The `waiting-max` of a queue whose settings name none, in messages.
pub const WAITING_MESSAGES_DEFAULT: u64 = 1_000_000;
/// The highest `waiting-bytes-max` of a queue.
pub const WAITING_BYTES_MAX: u64 = 1 << 44;
/// The `waiting-bytes-max` of a queue whose settings name none.
pub const WAITING_BYTES_DEFAULT: u64 = 1 << 30;
/// The highest `in-flight-max` of a queue, in messages.
pub const IN_FLIGHT_MESSAGES_MAX: u32 = 100_000;
/// The `in-flight-max` of a queue whose settings name none, in messages.
pub const IN_FLIGHT_MESSAGES_DEFAULT: u32 = 1024;
/// The highest `ack-timeout` of a queue, and the longest extension of a deadline, in milliseconds.
pub const ACK_TIMEOUT_MILLIS_MAX: u32 = 43_200_000;
/// The `ack-timeout` of a queue whose settings name none, in milliseconds.
pub const ACK_TIMEOUT_MILLIS_DEFAULT: u32 = 30_000;
/// The highest `attempts-max` of a queue.
pub const ATTEMPTS_MAX: u32 = 10_000;
/// The `attempts-max` of a queue whose settings name none.
pub const ATTEMPTS_DEFAULT: u32 = 16;
/// The back-off after the first failure where the settings name none, in milliseconds.
pub const BACK_OFF_FIRST_MILLIS_DEFAULT: u32 = 100;
/// The longest back-off where the settings name none, in milliseconds.
pub const BACK_OFF_LAST_MILLIS_DEFAULT: u32 = 30_000;
/// The longest wait before a failed message is delivered again, in milliseconds.
pub const DELAY_MILLIS_MAX: u32 = 604_800_000;
/// The highest `message-max` of a queue, in bytes of payload, content type and headers.
pub const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// The `message-max` of a queue whose settings name none, in bytes.
pub const MESSAGE_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Messages that one command names or brings.
pub const MESSAGES_PER_COMMAND_MAX: usize = 65_536;
/// Why a message failed, in bytes; a longer text is cut.
pub const REASON_BYTES_MAX: usize = 512;
/// Producers that one queue remembers.
pub const PRODUCERS_PER_QUEUE_MAX: usize = 10_000;
/// How long a queue remembers a producer that is silent, in milliseconds.
pub const PRODUCER_MEMORY_MILLIS: u64 = 86_400_000;
/// The largest window of a consumer, in messages.
pub const WINDOW_MESSAGES_MAX: u32 = 65_536;
/// The window of a consumer that asks for none in particular, in messages.
pub const WINDOW_MESSAGES_DEFAULT: u32 = 256;
