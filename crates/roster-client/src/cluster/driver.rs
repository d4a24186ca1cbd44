//! The driver: does what the table orders and tells it what comes of it. All rules are in the table.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use roster_core::directory::Instance;
use roster_proto::convert::Advice;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::connect::Connect;
use super::member::MemberId;
use super::shared::Shared;
use super::state::{Line, Reach};
use super::table::Order;
use crate::moment::Moment;
use crate::watch::{Watch, WatchEvent};

/// How long a connector may take to end a client.
const DISCONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Checks under way; further ones are left out, and asked for again by the next failure.
const CHECKS_MAX: usize = 64;

/// What a task has come to.
enum Report<T> {
    Connected { member: MemberId, instance: Instance, client: Arc<T> },
    Failed { member: MemberId, why: String },
    Closed { member: MemberId, why: String },
    Checked,
    Disconnected,
}

struct Driver<C: Connect> {
    shared: Arc<Shared<C>>,
    tasks: JoinSet<Report<C::Client>>,
    /// The attempt to connect, or the wait for the end of the client, of each member.
    running: HashMap<MemberId, AbortHandle>,
    /// The same by task, for the one that panics.
    owners: HashMap<Id, MemberId>,
    checks: usize,
}

/// Runs until the table has finished and each client is disconnected.
pub(super) async fn drive<C: Connect>(shared: Arc<Shared<C>>, watch: Watch) {
    let mut watch = Some(watch);
    let (tasks, running, owners) = (JoinSet::new(), HashMap::new(), HashMap::new());
    let mut driver = Driver { shared, tasks, running, owners, checks: 0 };
    loop {
        let (orders, timeout, finished) = driver.shared.act(|state| {
            state.take_in(Moment::take);
            let orders: Vec<_> = std::iter::from_fn(|| state.table.poll_order()).collect();
            (orders, state.table.poll_timeout(), state.table.is_finished())
        });
        for order in orders {
            driver.obey(order);
        }
        if finished {
            watch = None;
            if driver.tasks.is_empty() {
                driver.shared.lock().ended = true;
                driver.shared.stir();
                return;
            }
        }
        let events = watch.as_mut();
        tokio::select! {
            () = driver.shared.woken(), if !finished => {}
            () = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            } => driver.shared.act(|state| state.table.handle_timeout(Moment::take().now)),
            event = async {
                match events {
                    Some(events) => events.next().await,
                    None => pending().await,
                }
            } => {
                if event.is_none() {
                    watch = None;
                }
                driver.hear(event);
            }
            Some(report) = driver.tasks.join_next_with_id() => driver.take_report(report),
        }
    }
}

impl<C: Connect> Driver<C> {
    fn obey(&mut self, order: Order) {
        let shared = self.shared.clone();
        match order {
            Order::Connect { member, instance } => {
                self.spawn(member, async move {
                    let deadline = shared.connect_deadline;
                    match tokio::time::timeout(deadline, shared.connector.connect(&instance)).await {
                        Ok(Ok(client)) => Report::Connected { member, instance, client: Arc::new(client) },
                        Ok(Err(error)) => Report::Failed { member, why: with_causes(&*error) },
                        Err(_) => Report::Failed { member, why: format!("it did not answer within {deadline:?}") },
                    }
                });
            }
            Order::Disconnect { member } => {
                if let Some(task) = self.running.remove(&member) {
                    task.abort();
                }
                if let Some(Line { client, instance, .. }) = shared.act(|state| state.lines.remove(&member)) {
                    self.disconnect(member, instance, client);
                }
            }
            Order::Check { .. } if self.checks >= CHECKS_MAX => {}
            Order::Check { session } => {
                self.checks += 1;
                self.tasks.spawn(async move {
                    match shared.registry.check(&shared.service, session).await {
                        Ok(outcome) => tracing::debug!(service = %shared.service, %session, ?outcome, "checked"),
                        Err(error) => tracing::debug!(service = %shared.service, %session, %error, "not checked"),
                    }
                    Report::Checked
                });
            }
        }
    }

    fn disconnect(&mut self, member: MemberId, instance: Instance, client: Arc<C::Client>) {
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let ending = shared.connector.disconnect(&instance, client);
            if tokio::time::timeout(DISCONNECT_DEADLINE, ending).await.is_err() {
                tracing::warn!(service = %shared.service, %member, "a client did not end in time");
            }
            Report::Disconnected
        });
    }

    fn spawn(&mut self, member: MemberId, task: impl Future<Output = Report<C::Client>> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.owners.insert(task.id(), member);
        self.running.insert(member, task);
    }

    fn take_report(&mut self, report: Result<(Id, Report<C::Client>), JoinError>) {
        // A task that was given up may have been done by then: its member has gone on without it.
        let (current, report) = match report {
            Ok((task, report)) => (self.forget(task), Some(report)),
            Err(error) if error.is_panic() => (self.forget(error.id()), None),
            Err(error) => {
                self.forget(error.id());
                return;
            }
        };
        match report {
            Some(Report::Connected { member, instance, client }) => {
                let wanted = current.is_some()
                    && self.shared.act(|state| {
                        let wanted = state.table.connected(Moment::take().now, member);
                        if wanted {
                            state.seat(member, instance.clone(), client.clone());
                        }
                        wanted
                    });
                if wanted {
                    let shared = self.shared.clone();
                    self.spawn(member, async move {
                        let why = shared.connector.closed(&client).await;
                        Report::Closed { member, why }
                    });
                } else {
                    self.disconnect(member, instance, client);
                }
            }
            Some(Report::Failed { member, why }) if current.is_some() => {
                self.shared.act(|state| state.table.failed(Moment::take(), member, why));
            }
            Some(Report::Closed { member, why }) if current.is_some() => {
                self.shared.act(|state| state.table.broken(Moment::take(), member, why));
            }
            Some(Report::Failed { .. } | Report::Closed { .. } | Report::Disconnected) => {}
            Some(Report::Checked) => self.checks -= 1,
            None => {
                tracing::error!(service = %self.shared.service, "a connector has panicked");
                let Some(member) = current else { return };
                let why = "the connector has panicked".to_owned();
                self.shared.act(|state| match state.lines.contains_key(&member) {
                    true => state.table.broken(Moment::take(), member, why),
                    false => state.table.failed(Moment::take(), member, why),
                });
            }
        }
    }

    /// Whose task it was, unless another one runs for that member.
    fn forget(&mut self, task: Id) -> Option<MemberId> {
        let member = self.owners.remove(&task)?;
        if self.running.get(&member).is_some_and(|running| running.id() == task) {
            self.running.remove(&member);
            return Some(member);
        }
        None
    }

    fn hear(&self, event: Option<WatchEvent>) {
        let reach = match event {
            Some(WatchEvent::Change(_) | WatchEvent::Resynchronise) => return,
            Some(WatchEvent::Connected { .. }) => Reach::Connected,
            Some(WatchEvent::Disconnected { why }) => Reach::Away(why),
            Some(WatchEvent::Refused(refusal)) => match refusal.advice() {
                Advice::FixRequest | Advice::GiveUp => Reach::Refused(refusal.message),
                Advice::RetryNow | Advice::RetryLater => Reach::Away(refusal.message),
            },
            None => return,
        };
        self.shared.act(|state| state.reach = reach);
        self.shared.stir();
    }
}

/// An error and what it came from, in one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
