//! Who is asked for what, and how much of it. The ids are those of the targets, W1 to W8; F is what the
//! machine does at best, C and O are about Roster alone.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::programs::Programs;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum System {
    Roster,
    Etcd,
    Redis,
    JetstreamSynced,
    JetstreamDefault,
    /// The machine without any of them.
    Machine,
}

impl System {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Roster => "Roster",
            Self::Etcd => "etcd",
            Self::Redis => "Redis, appendfsync always",
            Self::JetstreamSynced => "JetStream, sync always",
            Self::JetstreamDefault => "JetStream, default (not durable)",
            Self::Machine => "the machine",
        }
    }
}

/// How much is done.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) instances: u32,
    pub(super) watchers: Vec<u32>,
    pub(super) changes: u32,
    pub(super) trials: u32,
    /// Processes that hang, with the settings of a node as they are, and with the shortest.
    pub(super) hung: [u32; 2],
    pub(super) restarted: Vec<u32>,
    pub(super) connections: u32,
    pub(super) watches: Vec<u32>,
    pub(super) held: Vec<u32>,
    pub(super) requests: u32,
    pub(super) messages: u32,
    /// A peer that syncs each message alone takes long.
    pub(super) messages_synced: u32,
    pub(super) half_load_seconds: u32,
    pub(super) divided_by: u32,
}

impl Sizes {
    pub(super) fn full() -> Self {
        Self {
            instances: 100_000,
            watchers: vec![1_000, 5_000, 20_000],
            changes: 100,
            trials: 20,
            hung: [1, 5],
            restarted: vec![300_000, 1_000_000],
            connections: 1_000,
            watches: vec![5_000, 100_000],
            held: vec![100_000, 1_000_000],
            requests: 200_000,
            messages: 500_000,
            messages_synced: 30_000,
            half_load_seconds: 8,
            divided_by: 1,
        }
    }

    pub(super) fn quick() -> Self {
        Self {
            instances: 5_000,
            watchers: vec![200, 500],
            changes: 20,
            trials: 2,
            hung: [1, 1],
            restarted: vec![5_000],
            connections: 100,
            watches: vec![1_000],
            held: vec![5_000],
            requests: 5_000,
            messages: 20_000,
            messages_synced: 2_000,
            half_load_seconds: 1,
            divided_by: 100,
        }
    }
}

/// Etcd needs minutes to put and to read a million keys: what takes long is only asked of Roster.
pub(super) const INSTANCES_OF_PEERS_MAX: u32 = 300_000;
pub(super) const WATCHES_OF_PEERS_MAX: u32 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Floor,
    Register,
    Fanout(u32),
    Crash,
    Hang(Patience),
    Restart(u32),
    Memory,
    Get,
    Publish,
    Consume,
    /// Publish and consume, at half of what was just consumed.
    HalfLoad,
    Growth,
    /// Says by itself what it measures.
    Own(Own),
}

/// How long a node waits for who says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Default,
    Shortest,
}

/// A benchmark about Roster alone, left out when a build does not have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Own {
    id: &'static str,
    title: &'static str,
    pub(super) subcommand: &'static str,
    /// To see whether it works.
    pub(super) quick: &'static [&'static str],
    usual_seconds: f64,
}

const OWN: [Own; 2] = [
    Own {
        id: "C",
        title: "what the SDK costs the processes that use it",
        subcommand: "client",
        quick: &["--idle=2s", "--messages=20000"],
        usual_seconds: 110.0,
    },
    Own {
        id: "O",
        title: "a node with far more work than it can do",
        subcommand: "overload",
        quick: &["--for=3s"],
        usual_seconds: 50.0,
    },
];

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) systems: Vec<System>,
    pub(super) kind: Kind,
}

impl Workload {
    /// All, or those whose ids were given.
    ///
    /// # Errors
    /// When there is no workload of an id.
    pub(super) fn chosen(sizes: &Sizes, only: &[String]) -> anyhow::Result<Vec<Self>> {
        let all = Self::all(sizes);
        for id in only {
            ensure!(all.iter().any(|workload| workload.id == id), "there is no workload {id}; F, W1 to W8, C and O");
        }
        Ok(all.into_iter().filter(|workload| only.is_empty() || only.iter().any(|id| id == workload.id)).collect())
    }

    fn all(sizes: &Sizes) -> Vec<Self> {
        let alone = || vec![System::Roster];
        let registries = || vec![System::Roster, System::Etcd];
        let queues = || vec![System::Roster, System::Redis, System::JetstreamSynced, System::JetstreamDefault];
        let new = |id, title: String, systems, kind| Self { id, title, systems, kind };
        let mut all = vec![new("F", "the machine at its best".to_owned(), vec![System::Machine], Kind::Floor)];
        let title = format!("register {} instances, 64 connections, 16 in flight each", sizes.instances);
        all.push(new("W1", title, registries(), Kind::Register));
        for &watchers in &sizes.watchers {
            let title = format!("push to {watchers} watches on 64 connections, {} changes, 5 a second", sizes.changes);
            all.push(new("W2", title, registries(), Kind::Fanout(watchers)));
        }
        all.push(new("W3", format!("a provider dies, {} times", sizes.trials), registries(), Kind::Crash));
        let title = "a provider says nothing more, as when its machine loses power".to_owned();
        all.push(new("W3", title, alone(), Kind::Hang(Patience::Default)));
        let title = "the same with the shortest ping interval and timeout".to_owned();
        all.push(new("W3", title, alone(), Kind::Hang(Patience::Shortest)));
        for &instances in &sizes.restarted {
            let title = format!("SIGKILL with {instances} instances, then start");
            let systems = if instances > INSTANCES_OF_PEERS_MAX { alone() } else { registries() };
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
        let title = "half load: publish and consume at half the rate of the line above".to_owned();
        all.push(new("W7", title, alone(), Kind::HalfLoad));
        all.push(new("W8", "growth".to_owned(), alone(), Kind::Growth));
        all.extend(OWN.map(|own| new(own.id, own.title.to_owned(), alone(), Kind::Own(own))));
        all
    }

    /// What tells it from all others.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.id, self.title)
    }

    /// Without the conditions.
    pub(super) fn short(&self) -> &str {
        self.title.split(',').next().unwrap_or_default()
    }

    pub(super) fn is_there(&self, programs: &Programs) -> bool {
        match self.kind {
            Kind::Own(own) => programs.has(own.subcommand),
            Kind::Floor
            | Kind::Register
            | Kind::Fanout(_)
            | Kind::Crash
            | Kind::Hang(_)
            | Kind::Restart(_)
            | Kind::Memory
            | Kind::Get
            | Kind::Publish
            | Kind::Consume
            | Kind::HalfLoad
            | Kind::Growth => true,
        }
    }

    /// How long one round of it takes on two cores, at full size.
    pub(super) fn usual_seconds(&self, system: System) -> f64 {
        let is_roster = system == System::Roster;
        match self.kind {
            Kind::Floor => 20.0,
            Kind::Register => {
                if is_roster {
                    2.0
                } else {
                    10.0
                }
            }
            Kind::Fanout(_) => 22.0,
            Kind::Crash => {
                if is_roster {
                    5.0
                } else {
                    45.0
                }
            }
            Kind::Hang(_) => 15.0,
            Kind::Restart(instances) => {
                if is_roster {
                    f64::from(instances) / 100_000.0
                } else {
                    40.0
                }
            }
            Kind::Memory => {
                if is_roster {
                    10.0
                } else {
                    35.0
                }
            }
            Kind::Get => 15.0,
            Kind::Publish => 4.0,
            Kind::Consume => 8.0,
            Kind::HalfLoad => 9.0,
            Kind::Growth => 110.0,
            Kind::Own(own) => own.usual_seconds,
        }
    }
}
