//! A node that is itself a registered instance: `roster serve --join`.
//!
//! It registers when it serves. When it stops, callers are told to go elsewhere first, and it says
//! goodbye only when they have taken that in.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use roster_client::{Announcement, Client, Connection, Handle, Registrar, State};
use roster_core::{Address, ServiceName, limits};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{node, words};
use crate::exit::{self, Ending, Exit};

/// Being a member of a service.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Join {
    /// Register this node in that registry; several addresses, separated by commas, are tried in turn
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "service", help_heading = "As a member")]
    join: Vec<String>,
    /// The service whose member it is
    #[arg(long, value_name = "NAME", value_parser = words::service, requires = "join", help_heading = "As a member")]
    service: Option<ServiceName>,
    /// Where callers reach it [default: where it listens, seen from the registry]
    #[arg(long, value_name = "HOST:PORT", value_parser = words::address, requires = "join", help_heading = "As a member")]
    advertise: Option<Address>,
    /// A number for this member, if it has one
    #[arg(long, value_name = "N", default_value_t = 0, requires = "join", help_heading = "As a member")]
    node_index: u32,
    /// Its share of the work relative to others
    #[arg(long, value_name = "N", default_value_t = limits::WEIGHT_DEFAULT, requires = "join", help_heading = "As a member")]
    weight: u32,
    /// Where it runs, for callers that prefer the near
    #[arg(long, value_name = "ZONE", default_value = "", requires = "join", help_heading = "As a member")]
    zone: String,
    /// A free mark; several allowed
    #[arg(long = "tag", value_name = "TAG", requires = "join", help_heading = "As a member")]
    tags: Vec<String>,
    /// A free pair; several allowed
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = words::pair, requires = "join", help_heading = "As a member")]
    metadata: Vec<(String, String)>,
    /// How long publishers have to go elsewhere, and consumers to finish, when it stops
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = words::span, help_heading = "As a member")]
    leave_within: Duration,
}

impl Join {
    /// Checks what can be checked before the node starts; the registry, if it is to join one.
    pub(crate) fn registry(&self) -> anyhow::Result<Option<Client>> {
        let Some(service) = &self.service else { return Ok(None) };
        self.announcement(service, "localhost", 1)?;
        node::client(&self.join).map(Some)
    }

    fn announcement(&self, service: &ServiceName, host: &str, port: u16) -> anyhow::Result<Announcement> {
        let wrong = |wrong: roster_core::InvalidWord| Ending::error(Exit::Usage, wrong.to_string());
        let announcement = Announcement::new(service.as_str(), host, port).map_err(wrong)?;
        let announcement = announcement.node_index(self.node_index).weight(self.weight).zone(&self.zone);
        let announcement = self.tags.iter().fold(announcement, |announcement, tag| announcement.tag(tag));
        let pairs = self.metadata.iter();
        let announcement = pairs.fold(announcement, |announcement, (key, value)| announcement.metadata(key, value));
        announcement.check().map_err(wrong)?;
        Ok(announcement)
    }

    /// Where callers reach a node that listens there.
    fn advertised(&self, listen: SocketAddr) -> anyhow::Result<(String, u16)> {
        if let Some(address) = &self.advertise {
            return Ok((address.host().to_owned(), address.port()));
        }
        let ip = if listen.ip().is_unspecified() { seen_from(&self.join)? } else { listen.ip() };
        Ok((ip.to_string(), listen.port()))
    }
}

/// The address of this machine on the way to a registry. Nothing is sent.
fn seen_from(registries: &[String]) -> anyhow::Result<IpAddr> {
    let towards = |local: &str, url: &str| {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect(authority).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    let found = registries.iter().find_map(|url| towards("0.0.0.0", url).or_else(|| towards("::", url)));
    found.context("cannot tell under which address the registry sees this machine; say it with --advertise HOST:PORT")
}

/// What a node does besides serving when it is a member.
pub(crate) struct Membership {
    service: ServiceName,
    leave_within: Duration,
    registrar: Registrar,
    handle: Handle,
    connection: watch::Receiver<Connection>,
    away: bool,
}

impl Membership {
    /// Registers a node that listens there.
    pub(crate) fn begin(join: &Join, registry: &Client, listen: SocketAddr) -> anyhow::Result<Option<Self>> {
        let Some(service) = join.service.clone() else { return Ok(None) };
        let (host, port) = join.advertised(listen)?;
        let announcement = join.announcement(&service, &host, port)?;
        info!(%service, address = %format_args!("{host}:{port}"), "joining");
        let registrar = registry.registrar().start();
        let handle = registrar.register(announcement);
        let connection = registrar.connection();
        Ok(Some(Self { service, leave_within: join.leave_within, registrar, handle, connection, away: false }))
    }

    /// Waits for news of the membership, and logs it.
    pub(crate) async fn tell(&mut self) {
        let service = &self.service;
        tokio::select! {
            state = self.handle.changed() => match state {
                State::Active { instance, .. } => info!(%service, %instance, "joined"),
                State::Waiting | State::Pending { .. } => info!(%service, "waits to be registered"),
                State::Refused(refusal) => warn!(%service, why = refusal.message, "the registry refuses this member"),
                State::Offline { reason, .. } => {
                    warn!(%service, why = words::offline_word(reason), "asked to leave; callers go elsewhere");
                }
                State::Ended => {
                    warn!(%service, "the registration has ended");
                    std::future::pending::<()>().await;
                }
            },
            changed = self.connection.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                let away = match &*self.connection.borrow_and_update() {
                    Connection::Away { why, .. } if !self.away => {
                        warn!(%service, %why, "no contact with the registry, trying again; the node serves on");
                        true
                    }
                    Connection::Connected { endpoint, .. } if self.away => {
                        info!(%service, %endpoint, "back in contact with the registry");
                        false
                    }
                    Connection::Away { .. } | Connection::Connecting => self.away,
                    Connection::Connected { .. } | Connection::Ended { .. } => false,
                };
                self.away = away;
            }
        }
    }

    /// Sends callers elsewhere, lets `finish` have what is left of the time, and says goodbye.
    pub(crate) async fn leave(self, finish: impl AsyncFnOnce(Instant)) {
        let Self { service, leave_within, registrar, handle, .. } = self;
        let deadline = Instant::now() + leave_within;
        if let State::Active { .. } | State::Offline { .. } = handle.state() {
            match handle.drain(leave_within).await {
                Ok(mut draining) => {
                    let last = draining.finished().await;
                    info!(%service, seen = last.seen, watchers = last.watchers, "callers go elsewhere");
                }
                Err(error) => warn!(%service, why = exit::chain(&error.into()), "leaves without a drain"),
            }
        }
        finish(deadline).await;
        if let Err(error) = registrar.close().await {
            warn!(%service, why = exit::chain(&error.into()), "left without a goodbye");
        }
    }
}
