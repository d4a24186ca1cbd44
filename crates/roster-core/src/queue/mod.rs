//! Queues: durable at-least-once work queues.
//!
//! Two machines, both pure, both owned by the thread that applies the log of the queues:
//!
//! ```text
//!  producers                                              consumers
//!      │ publish                     acknowledge, fail, extend │ ▲ deliveries
//!      │                               join, leave, time       ▼ │
//!      │                                                  ┌────────────┐
//!      │            acknowledgements, failures, releases  │ Dispatcher │ volatile,
//!      │          ┌───────────────────────────────────────┤ (a queue)  │ one per queue
//!      ▼          ▼                                       └────────────┘
//!  ┌─────────────────┐  commands   ┌────────┐   Effects         ▲  ▲
//!  │ log (durable)   ├────────────►│ Queues ├───────────────────┘  │
//!  └─────────────────┘             │        ├──────────────────────┘
//!                                  └────────┘   &Queue: the messages
//! ```
//!
//! [`Queues`] is what survives: it changes by logged commands only. A delivery is not logged; which
//! message is with whom the [`Dispatcher`] knows, and after a restart of the node nobody has any. The
//! caller's part for each batch of the log: apply each command, hand its [`Effects`] to the dispatcher
//! of its queue with [`Dispatcher::take_in`], then [`Dispatcher::deliver`] for each queue that was
//! touched. What consumers say goes to the dispatcher first, and what comes back of it ([`Attempt`]s and
//! ids) into the next commands: until those are applied the messages are settling, with nobody.
//! A dispatcher must see the effects of each command about its queue, in order, and none of another.

mod backlog;
mod command;
mod dispatcher;
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
pub use dispatcher::{Deliveries, Delivery, Dispatcher, Traffic};
pub use effect::{Effects, Fate, Gone, Ready};
pub use ids::{ConsumerId, MessageId, ProducerId, QueueName, Window};
pub use machine::Queues;
pub use message::{Delay, Message, Reason};
pub use outcome::{Outcome, Refusal};
pub use query::{Counts, Place, Stored};
pub use restoration::{Restoration, RestoreError};
pub use settings::{SettingDifferences, SettingOutOfRange, Settings};
pub use snapshot::Snapshot;
pub use state::StateItem;
