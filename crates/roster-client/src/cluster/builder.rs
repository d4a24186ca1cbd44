//! What a cluster is made of.

use std::time::Duration;

use roster_core::{InvalidWord, ServiceName};

use super::connect::Connect;
use super::handle::Cluster;
use super::picker::{Picker, Sticky};
use super::shared::Shared;
use super::state::{Scope, State};
use super::table::Table;
use crate::client::Client;
use crate::reconnect::BackOff;

/// Calls in a row to the same member.
const STICKY_DEFAULT: u32 = 1024;
/// How long one attempt to connect may take.
const CONNECT_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

impl Client {
    /// A client for each instance of a service, to be completed and built.
    ///
    /// # Errors
    /// [`InvalidWord`] when this is not the name of a service.
    pub fn cluster<C: Connect>(&self, service: &str, connector: C) -> Result<ClusterBuilder<C>, InvalidWord> {
        Ok(self.cluster_of(ServiceName::parse(service)?, connector))
    }

    pub(crate) fn cluster_of<C: Connect>(&self, service: ServiceName, connector: C) -> ClusterBuilder<C> {
        ClusterBuilder::new(self.clone(), service, connector)
    }
}

/// What a cluster is made of.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ClusterBuilder<C> {
    registry: Client,
    service: ServiceName,
    connector: C,
    picker: Box<dyn Picker>,
    back_off: BackOff,
    connect_deadline: Duration,
    scope: Scope,
}

impl<C: Connect> ClusterBuilder<C> {
    fn new(registry: Client, service: ServiceName, connector: C) -> Self {
        let picker = Box::new(Sticky::new(STICKY_DEFAULT).starting_at(fastrand::f64()));
        let (back_off, connect_deadline, scope) = (registry.back_off(), CONNECT_DEADLINE_DEFAULT, Scope::All);
        Self { registry, service, connector, picker, back_off, connect_deadline, scope }
    }

    /// That many calls in a row to the same member before the next, at least one; 1024 by default.
    /// Which one is the first is left to chance, so that not all processes begin with the same.
    pub fn sticky(self, times: u32) -> Self {
        self.picker(Sticky::new(times).starting_at(fastrand::f64()))
    }

    /// Another way to choose.
    pub fn picker(self, picker: impl Picker) -> Self {
        self.boxed_picker(Box::new(picker))
    }

    pub(crate) fn boxed_picker(mut self, picker: Box<dyn Picker>) -> Self {
        self.picker = picker;
        self
    }

    /// How long to pause between failed attempts to connect to a member; that of the client by default.
    pub fn back_off(mut self, back_off: BackOff) -> Self {
        self.back_off = back_off;
        self
    }

    /// How long one attempt to connect to a member may take; 5 s by default.
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// The cluster. It watches and connects from the first call on.
    pub fn build(self) -> Cluster<C> {
        let state = State::new(self.service.clone(), self.scope, Table::new(self.back_off), self.picker);
        Cluster::new(Shared::new(self.registry, self.service, self.connector, self.connect_deadline, state))
    }
}
