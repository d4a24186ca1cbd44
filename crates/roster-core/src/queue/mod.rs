//! Queues: durable at-least-once work queues.

mod backlog;
mod command;
mod effect;
mod fresh;
mod ids;
mod invariants;
mod machine;
mod message;
mod outcome;
mod producers;
mod query;

mod records;
mod restoration;
mod settings;
mod snapshot;
mod state;
mod turn;

pub use backlog::{Discarded, Queue, Totals};
pub use command::{Attempt, Command, Contents, DeadLetters, Failure, Origin};
pub use effect::{Effects, Gone, Ready};
pub use ids::{ConsumerId, MessageId, ProducerId, QueueName, Window};
pub use machine::Queues;
pub use message::{Delay, Message, Reason};
pub use outcome::{Outcome, Refusal};
pub use query::{Counts, Place, Stored};
pub use restoration::{Restoration, RestoreError};
pub use settings::{SettingDifferences, SettingOutOfRange, Settings};
pub use snapshot::Snapshot;
pub use state::StateItem;
