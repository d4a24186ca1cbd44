//! Who is asked for what, and how much of it. The ids are those of the targets: W1 to W8.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::programs::Programs;
use super::samples::Measured;
use super::servers::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    Roster,
    Etcd,
    Redis,
    JetstreamSynced,
    JetstreamDefault,
}

impl System {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Roster => "Roster",
            Self::Etcd => "etcd",
            Self::Redis => "Redis, appendfsync always",
            Self::JetstreamSynced => "JetStream, sync always",
            Self::JetstreamDefault => "JetStream, default (not durable)",
        }
    }
}

/// How much is done.
#[derive(Debug)]
pub(super) struct Sizes {
    instances: u32,
    watchers: Vec<u32>,
    changes: u32,
    trials: u32,
    restarted: Vec<u32>,
    connections: u32,
    watches: Vec<u32>,
    held: Vec<u32>,
    requests: u32,
    messages: u32,
    /// A peer that syncs each message alone takes long.
    messages_synced: u32,
    growth_divided_by: u32,
}

impl Sizes {
    pub(super) fn full() -> Self {
        Self {
            instances: 100_000,
            watchers: vec![1_000, 5_000, 20_000],
            changes: 100,
            trials: 20,
            restarted: vec![300_000, 1_000_000],
            connections: 1_000,
            watches: vec![5_000, 100_000],
            held: vec![100_000, 1_000_000],
            requests: 200_000,
            messages: 500_000,
            messages_synced: 30_000,
            growth_divided_by: 1,
        }
    }

    pub(super) fn quick() -> Self {
        Self {
            instances: 5_000,
            watchers: vec![200, 500],
            changes: 20,
            trials: 2,
            restarted: vec![5_000],
            connections: 100,
            watches: vec![1_000],
            held: vec![5_000],
            requests: 5_000,
            messages: 20_000,
            messages_synced: 2_000,
            growth_divided_by: 100,
        }
    }
}

/// Etcd needs minutes to put and to read a million keys: what takes long is only asked of Roster.
const INSTANCES_OF_PEERS_MAX: u32 = 300_000;
const WATCHES_OF_PEERS_MAX: u32 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Register,
    Fanout(u32),
    Crash,
    Restart(u32),
    Memory,
    Get,
    Publish,
    Consume,
    Growth,
}

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) systems: Vec<System>,
    kind: Kind,
}

impl Workload {
    /// All, or those whose ids were given.
    ///
    /// # Errors
    /// When there is no workload of an id.
    pub(super) fn chosen(sizes: &Sizes, only: &[String]) -> anyhow::Result<Vec<Self>> {
        let all = Self::all(sizes);
        for id in only {
            ensure!(all.iter().any(|workload| workload.id == id), "there is no workload {id}; W1 to W8");
        }
        Ok(all.into_iter().filter(|workload| only.is_empty() || only.iter().any(|id| id == workload.id)).collect())
    }

    fn all(sizes: &Sizes) -> Vec<Self> {
        let registries = || vec![System::Roster, System::Etcd];
        let queues = || vec![System::Roster, System::Redis, System::JetstreamSynced, System::JetstreamDefault];
        let new = |id, title: String, systems, kind| Self { id, title, systems, kind };
        let mut all = vec![new(
            "W1",
            format!("register {} instances, 64 connections, 16 in flight each", sizes.instances),
            registries(),
            Kind::Register,
        )];
        for &watchers in &sizes.watchers {
            let title = format!("push to {watchers} watches on 64 connections, {} changes, 5 a second", sizes.changes);
            all.push(new("W2", title, registries(), Kind::Fanout(watchers)));
        }
        all.push(new("W3", format!("a provider dies, {} times", sizes.trials), registries(), Kind::Crash));
        for &instances in &sizes.restarted {
            let title = format!("SIGKILL with {instances} instances, then start");
            let systems = if instances > INSTANCES_OF_PEERS_MAX { vec![System::Roster] } else { registries() };
            all.push(new("W4", title, systems, Kind::Restart(instances)));
        }
        all.push(new("W5", "resident memory".to_owned(), registries(), Kind::Memory));
        let title =
            format!("read the 20 instances of a service, {} times, 64 connections, 8 in flight", sizes.requests);
        all.push(new("W6", title, registries(), Kind::Get));
        let title = format!("publish {} messages of 100 bytes, 1,024 in flight", sizes.messages);
        all.push(new("W7", title, queues(), Kind::Publish));
        let title = format!("publish and consume {} messages of 100 bytes, 1,024 in flight", sizes.messages);
        all.push(new("W7", title, queues(), Kind::Consume));
        all.push(new("W8", "growth".to_owned(), vec![System::Roster], Kind::Growth));
        all
    }

    pub(super) fn is_about_queues(&self) -> bool {
        matches!(self.kind, Kind::Publish | Kind::Consume)
    }

    /// One run of one system on a new folder.
    ///
    /// # Errors
    /// When the system or its load fails.
    pub(super) fn measure(
        &self,
        system: System,
        programs: &Programs,
        data: &Path,
        sizes: &Sizes,
    ) -> anyhow::Result<Measured> {
        let arguments = match system {
            System::Roster => return self.measure_roster(programs, data, sizes),
            System::Etcd => self.of_etcd(sizes)?,
            System::Redis | System::JetstreamSynced | System::JetstreamDefault => self.of_queue(system, sizes)?,
        };
        let mut server = Server::start(system, programs, data)?;
        let place = format!("--address={}", server.address);
        let pid = format!("--pid={}", server.pid());
        if let Kind::Restart(instances) = self.kind {
            let fill = ["etcd-register".to_owned(), place.clone(), pid, format!("--instances={instances}")];
            load(&programs.loads, &fill)?;
            server.kill_and_start()?;
            let answer = [&arguments[..], &[place, format!("--since={}", server.started)]].concat();
            return Measured::read(&load(&programs.loads, &answer)?);
        }
        let mut arguments = arguments;
        arguments.push(place);
        if self.kind != Kind::Crash {
            arguments.push(pid);
        }
        Measured::read(&load(&programs.loads, &arguments)?)
    }

    fn of_etcd(&self, sizes: &Sizes) -> anyhow::Result<Vec<String>> {
        let upto = |steps: &[u32], max| joined(steps.iter().copied().filter(|step| *step <= max));
        Ok(match self.kind {
            Kind::Register => vec!["etcd-register".to_owned(), format!("--instances={}", sizes.instances)],
            Kind::Fanout(watchers) => {
                let changes = format!("--changes={}", sizes.changes);
                vec!["etcd-fanout".to_owned(), format!("--watchers={watchers}"), changes]
            }
            Kind::Crash => vec!["etcd-crash".to_owned(), format!("--trials={}", sizes.trials), "--lease=1".to_owned()],
            Kind::Restart(instances) => vec!["etcd-answer".to_owned(), format!("--instances={instances}")],
            Kind::Memory => vec![
                "etcd-memory".to_owned(),
                format!("--connections={}", sizes.connections),
                format!("--watches={}", upto(&sizes.watches, WATCHES_OF_PEERS_MAX)),
                format!("--instances={}", upto(&sizes.held, INSTANCES_OF_PEERS_MAX)),
            ],
            Kind::Get => vec!["etcd-get".to_owned(), format!("--requests={}", sizes.requests)],
            Kind::Publish | Kind::Consume | Kind::Growth => bail!("etcd is no queue"),
        })
    }

    fn of_queue(&self, system: System, sizes: &Sizes) -> anyhow::Result<Vec<String>> {
        let program = if system == System::Redis { "redis" } else { "jetstream" };
        let messages = if system == System::JetstreamSynced { sizes.messages_synced } else { sizes.messages };
        let mut arguments = vec![program.to_owned(), format!("--messages={messages}")];
        match self.kind {
            Kind::Publish => {}
            Kind::Consume => arguments.push("--consume".to_owned()),
            Kind::Register
            | Kind::Fanout(_)
            | Kind::Crash
            | Kind::Restart(_)
            | Kind::Memory
            | Kind::Get
            | Kind::Growth => bail!("{} is no registry", system.name()),
        }
        Ok(arguments)
    }

    /// `roster bench` starts its own nodes; its names become those that the peers' loads use.
    fn measure_roster(&self, programs: &Programs, data: &Path, sizes: &Sizes) -> anyhow::Result<Measured> {
        let (arguments, names): (Vec<String>, &[(&str, &str)]) = match self.kind {
            Kind::Register => (
                vec!["register".to_owned(), format!("--instances={}", sizes.instances)],
                &[("registrations_per_second", "per_second"), ("node_cpu_us_per_registration", "cpu_us_each")],
            ),
            Kind::Fanout(watchers) => {
                let changes = format!("--changes={}", sizes.changes);
                (
                    vec!["fanout".to_owned(), format!("--watchers={watchers}"), changes],
                    &[("node_cpu_us_per_delivery", "cpu_us_each")],
                )
            }
            Kind::Crash => (
                vec!["crash".to_owned(), format!("--trials={}", sizes.trials)],
                &[("killed_to_suspect", "killed_to_known"), ("killed_to_removed", "killed_to_removed")],
            ),
            Kind::Restart(instances) => (
                vec!["restart".to_owned(), format!("--instances={instances}"), "--rounds=1".to_owned()],
                &[
                    ("start_to_full_answer", "start_to_full_answer"),
                    ("start_to_all_read", "start_to_all_read"),
                    ("start_to_all_sessions_back", "start_to_all_sessions_back"),
                ],
            ),
            Kind::Memory => (
                vec![
                    "memory".to_owned(),
                    format!("--connections={}", sizes.connections),
                    format!("--watches={}", joined(sizes.watches.iter().copied())),
                    format!("--instances={}", joined(sizes.held.iter().copied())),
                ],
                &[],
            ),
            Kind::Get => (
                vec!["get".to_owned(), format!("--requests={}", sizes.requests)],
                &[("reads_per_second", "per_second"), ("node_cpu_us_per_read", "cpu_us_each")],
            ),
            Kind::Publish | Kind::Consume => {
                let mut arguments = vec!["queue".to_owned(), format!("--messages={}", sizes.messages)];
                if self.kind == Kind::Consume {
                    arguments.push("--consume".to_owned());
                }
                (arguments, &[("messages_per_second", "per_second"), ("node_cpu_us_per_message", "cpu_us_each")])
            }
            Kind::Growth => (vec!["growth".to_owned(), format!("--divide-by={}", sizes.growth_divided_by)], &[]),
        };
        let mut all = vec!["bench".to_owned()];
        all.extend(arguments);
        all.extend(["--output=json".to_owned(), "--within=60min".to_owned()]);
        all.push(format!("--own-data-dir={}", data.display()));
        let said = load(&programs.roster, &all)?;
        Ok(Measured::read(&said)?.renamed(names, self.keeps_only_renamed()))
    }

    /// Of these, what Roster says beside is about the load, or has no counterpart.
    fn keeps_only_renamed(&self) -> bool {
        match self.kind {
            Kind::Memory | Kind::Growth => false,
            Kind::Register
            | Kind::Fanout(_)
            | Kind::Crash
            | Kind::Restart(_)
            | Kind::Get
            | Kind::Publish
            | Kind::Consume => true,
        }
    }
}

fn joined(steps: impl Iterator<Item = u32>) -> String {
    steps.map(|step| step.to_string()).collect::<Vec<_>>().join(",")
}

fn load(program: &Path, arguments: &[String]) -> anyhow::Result<Value> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stderr(Stdio::inherit()).output().context("start a load")?;
    ensure!(output.status.success(), "`{} {}` failed", program.display(), arguments.join(" "));
    serde_json::from_slice(&output.stdout).with_context(|| format!("`{}` says no JSON", arguments.join(" ")))
}
