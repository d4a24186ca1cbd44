//! One run of one system: its server, the load on it, and what that says.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::programs::Programs;
use super::samples::{Measured, Samples};
use super::servers::Server;
use super::workloads::{INSTANCES_OF_PEERS_MAX, Kind, Patience, Sizes, System, WATCHES_OF_PEERS_MAX, Workload};

/// A load that takes so many times what it usually takes is given up, but not before `SECONDS_MIN`.
const PATIENCE: f64 = 6.0;
const SECONDS_MIN: f64 = 120.0;
/// Of the drivers of queues, Roster's as well as the peers'.
const QUEUE_CONNECTIONS: &str = "--connections=4";

/// What a run has to do with.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) programs: &'a Programs,
    pub(super) data: &'a Path,
    pub(super) sizes: &'a Sizes,
}

/// Names that Roster uses, and those of the peers' loads for the same.
type Names = &'static [(&'static str, &'static str)];

impl Ground<'_> {
    /// On a new folder. `so_far` is what other workloads have measured.
    ///
    /// # Errors
    /// When the system or its load fails.
    pub(super) fn measure(&self, workload: &Workload, system: System, so_far: &Samples) -> anyhow::Result<Measured> {
        let within = Duration::from_secs_f64((workload.usual_seconds(system) * PATIENCE).max(SECONDS_MIN));
        let arguments = match system {
            System::Roster => return self.of_roster(workload, so_far, within),
            System::Machine => {
                let divided = format!("--divide-by={}", self.sizes.divided_by);
                let folder = format!("--data-dir={}", self.data.display());
                return Measured::read(&self.load(
                    &self.programs.loads,
                    &["floor".to_owned(), divided, folder],
                    within,
                )?);
            }
            System::Etcd => self.of_etcd(workload.kind)?,
            System::Redis | System::JetstreamSynced | System::JetstreamDefault => {
                self.of_queue(workload.kind, system)?
            }
        };
        let mut server = Server::start(system, self.programs, self.data)?;
        let place = format!("--address={}", server.address);
        let pid = format!("--pid={}", server.pid());
        if let Kind::Restart(instances) = workload.kind {
            let fill = ["etcd-register".to_owned(), place.clone(), pid, format!("--instances={instances}")];
            self.load(&self.programs.loads, &fill, within)?;
            server.kill_and_start()?;
            let answer = [&arguments[..], &[place, format!("--since={}", server.started)]].concat();
            return Measured::read(&self.load(&self.programs.loads, &answer, within)?);
        }
        let mut arguments = arguments;
        arguments.push(place);
        if workload.kind != Kind::Crash {
            arguments.push(pid);
        }
        Measured::read(&self.load(&self.programs.loads, &arguments, within)?)
    }

    fn of_etcd(&self, kind: Kind) -> anyhow::Result<Vec<String>> {
        let sizes = self.sizes;
        let upto = |steps: &[u32], max| joined(steps.iter().copied().filter(|step| *step <= max));
        Ok(match kind {
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
            Kind::Floor
            | Kind::Hang(_)
            | Kind::Publish
            | Kind::Consume
            | Kind::HalfLoad
            | Kind::Growth
            | Kind::Own(_) => bail!("nobody asks etcd for that"),
        })
    }

    fn of_queue(&self, kind: Kind, system: System) -> anyhow::Result<Vec<String>> {
        let (program, messages) = match system {
            System::Redis => ("redis", self.sizes.messages),
            System::JetstreamSynced => ("jetstream", self.sizes.messages_synced),
            System::JetstreamDefault => ("jetstream", self.sizes.messages),
            System::Roster | System::Etcd | System::Machine => bail!("{} is no peer with queues", system.name()),
        };
        let mut arguments = vec![program.to_owned(), format!("--messages={messages}"), QUEUE_CONNECTIONS.to_owned()];
        match kind {
            Kind::Publish => {}
            Kind::Consume => arguments.push("--consume".to_owned()),
            Kind::Floor
            | Kind::Register
            | Kind::Fanout(_)
            | Kind::Crash
            | Kind::Hang(_)
            | Kind::Restart(_)
            | Kind::Memory
            | Kind::Get
            | Kind::HalfLoad
            | Kind::Growth
            | Kind::Own(_) => bail!("{} is no registry", system.name()),
        }
        Ok(arguments)
    }

    /// `roster bench` starts its own nodes; its names become those that the peers' loads use.
    fn of_roster(&self, workload: &Workload, so_far: &Samples, within: Duration) -> anyhow::Result<Measured> {
        let sizes = self.sizes;
        let (arguments, names): (Vec<String>, Names) = match workload.kind {
            Kind::Floor => bail!("the machine has no node"),
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
            Kind::Hang(patience) => {
                let [unset, shortest] = sizes.hung;
                let words: &[&str] = match patience {
                    Patience::Default => &[],
                    Patience::Shortest => &["--set=sessions.ping-interval=500ms", "--set=sessions.ping-timeout=500ms"],
                };
                let trials = if patience == Patience::Default { unset } else { shortest };
                let mut arguments = vec!["crash".to_owned(), "--hang".to_owned(), format!("--trials={trials}")];
                arguments.extend(words.iter().map(|word| (*word).to_owned()));
                (arguments, &[])
            }
            Kind::Restart(instances) => (
                vec!["restart".to_owned(), format!("--instances={instances}"), "--rounds=1".to_owned()],
                &[("instances_lost", "instances_lost")],
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
            Kind::Publish => (queue(sizes.messages), QUEUE),
            Kind::Consume => ([&queue(sizes.messages)[..], &["--consume".to_owned()]].concat(), QUEUE),
            Kind::HalfLoad => {
                let rate = half_of_what_was_consumed(sizes, so_far)?;
                let messages = rate.saturating_mul(sizes.half_load_seconds);
                let paced = ["--consume".to_owned(), format!("--rate={rate}")];
                ([&queue(messages)[..], &paced].concat(), QUEUE)
            }
            Kind::Growth => (vec!["growth".to_owned(), format!("--divide-by={}", sizes.divided_by)], &[]),
            Kind::Own(own) => {
                let quick = if sizes.divided_by > 1 { own.quick } else { &[] };
                let words = std::iter::once(&own.subcommand).chain(quick);
                (words.map(|word| (*word).to_owned()).collect(), &[])
            }
        };
        let mut all = vec!["bench".to_owned()];
        all.extend(arguments);
        all.extend(["--output=json".to_owned(), format!("--within={}s", within.as_secs())]);
        all.push(format!("--own-data-dir={}", self.data.display()));
        let said = self.load(&self.programs.roster, &all, within)?;
        Ok(Measured::read(&said)?.renamed(names, keeps_only_renamed(workload.kind)))
    }

    fn load(&self, program: &Path, arguments: &[String], within: Duration) -> anyhow::Result<Value> {
        let mut command = self.programs.start(program);
        let said = output(command.args(arguments), within);
        let said = said.with_context(|| format!("`{} {}`", program.display(), arguments.join(" ")))?;
        serde_json::from_slice(&said).with_context(|| format!("`{}` says no JSON", arguments.join(" ")))
    }
}

const QUEUE: Names = &[
    ("messages_per_second", "per_second"),
    ("node_cpu_us_per_message", "cpu_us_each"),
    ("due_per_second", "due_per_second"),
];

fn queue(messages: u32) -> Vec<String> {
    vec!["queue".to_owned(), format!("--messages={messages}"), QUEUE_CONNECTIONS.to_owned()]
}

fn half_of_what_was_consumed(sizes: &Sizes, so_far: &Samples) -> anyhow::Result<u32> {
    let all = Workload::chosen(sizes, &[])?;
    let full = all.iter().find(|workload| workload.kind == Kind::Consume).context("nobody consumes")?;
    let full = so_far.spread(full, System::Roster, "per_second").context("half of what? nothing was consumed")?;
    Ok((full.median / 2.0).max(1.0) as u32)
}

/// Of these, what Roster says beside is about the load, or has no counterpart.
fn keeps_only_renamed(kind: Kind) -> bool {
    match kind {
        Kind::Floor | Kind::Memory | Kind::Growth | Kind::Own(_) => false,
        Kind::Register
        | Kind::Fanout(_)
        | Kind::Crash
        | Kind::Hang(_)
        | Kind::Restart(_)
        | Kind::Get
        | Kind::Publish
        | Kind::Consume
        | Kind::HalfLoad => true,
    }
}

fn joined(steps: impl Iterator<Item = u32>) -> String {
    steps.map(|step| step.to_string()).collect::<Vec<_>>().join(",")
}

/// What a command says, when it ends well and in time.
fn output(command: &mut Command, within: Duration) -> anyhow::Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start it")?;
    let mut stdout = child.stdout.take().context("the output was asked for")?;
    let reading = thread::spawn(move || {
        let mut said = Vec::new();
        stdout.read_to_end(&mut said).map(|_| said)
    });
    let deadline = Instant::now() + within;
    let status = loop {
        if let Some(status) = child.try_wait().context("wait for its end")? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().context("end it")?;
            child.wait().context("wait for its end")?;
            bail!("not done within {within:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    let said = reading.join().ok().context("the reader of its output failed")?.context("read its output")?;
    ensure!(status.success(), "it ended with {status}");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_does_not_end_is_given_up() {
        let mut hanging = Command::new("sh");
        let error = output(hanging.args(["-c", "exec sleep 60"]), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("not done"), "{error:#}");
        let mut failing = Command::new("sh");
        assert!(output(failing.args(["-c", "echo {}; exit 3"]), Duration::from_secs(30)).is_err());
        let mut saying = Command::new("sh");
        assert_eq!(output(saying.args(["-c", "echo {}"]), Duration::from_secs(30)).unwrap(), b"{}\n");
    }
}
