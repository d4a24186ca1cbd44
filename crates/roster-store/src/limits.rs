//! Every limit of the log, each a name with its unit last. Checked before writing, and before memory
//! is taken for what was read.

/// One record (one command, or one item of a snapshot), its length prefix not included.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The records of one batch together, their length prefixes included.
pub const FRAME_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records of one batch.
pub const FRAME_RECORDS_MAX: usize = 4 * 1024 * 1024;
/// A manifest; one line for each live file and each file of the history.
pub const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much a snapshot gathers before it writes a frame.
pub(crate) const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;
/// How much is read at a time.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// The least that a disk must take before it counts as having room again.
pub(crate) const ROOM_BYTES: usize = 64 * 1024;
/// Batches longer than this make no room in advance: that would write their bytes twice to save little.
pub(crate) const AHEAD_BATCH_BYTES_MAX: usize = 128 * 1024;
/// The least room that is made in advance is this part of the most.
pub(crate) const AHEAD_PART: u64 = 16;
/// A disk with less free than so many times the room that is wanted is left alone.
pub(crate) const AHEAD_FREE_TIMES: u64 = 64;
