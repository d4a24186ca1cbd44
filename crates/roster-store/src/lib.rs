//! The disk of Roster: an ordered log of commands with snapshots, over a [`Disk`] trait.
//!
//! Synchronous, and blind to the network. What is durable, what a crash may leave, and every byte on the
//! disk is told in `docs/log-format.md`; the promises have ids (L1 …) that stand where they are kept.

mod aside;
mod codec;
pub mod disk;
mod error;
mod feed;
mod file_header;
mod file_name;
mod frame;
mod frame_reader;
pub mod limits;
mod local;
mod manifest;
mod ordered;
mod records;
mod replica;
mod settings;
mod snapshot;
mod stored;
pub mod tools;

pub use codec::{Codec, InvalidRecord};
pub use disk::{Disk, DiskFile, DiskLock, FaultyDisk, RealDisk};
pub use error::{AppendError, Damage, IoFailure, OpenError, ReadError, SnapshotError, SweepError};
pub use feed::{CHUNK_BYTES_MAX, FeedError, FeedReader, FileSet, HeldFile, LogFeed, Piece};
pub use local::{LocalLog, OpenReport, RecoveryNote};
pub use ordered::{Batch, Batches, Counters, LogStatus, OrderedLog, Pace, Recover, SnapshotInfo, Sweep};
pub use records::Records;
pub use replica::{Replica, ReplicaError, RestoreError, Restored, restore};
pub use settings::{Directories, Durability, LogSettings};
pub use snapshot::{FinishedSnapshot, SnapshotWriter};
pub use stored::{Directory, Queues};
