//! `cargo xtask bench --flames`: where the processor time of a node goes under each load, as flame graphs.
//!
//! A node is started on a new folder, `roster bench` loads it, and `perf` looks at it for a few seconds; the load is
//! ended then. A graph is as wide as the samples that it is made of; what is on a processor only for the load, in its
//! own process, is not in it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::tools;
use crate::steps;

/// Samples a second, apart from what happens a hundred or a thousand times a second.
const FREQUENCY: &str = "997";
/// The load is left alone for so long first, and then looked at.
const SETTLING: Duration = Duration::from_millis(1_500);
const LOOKING: &str = "4";
const PATIENCE: Duration = Duration::from_secs(30);
/// What is narrower than so many hundredths of the picture is left out.
const NARROWEST: &str = "0.2";
/// The folder of the pictures.
const PICTURES: &str = "docs/flames";

/// What a node is loaded with, for longer than it is looked at.
struct Load {
    picture: &'static str,
    title: &'static str,
    arguments: &'static [&'static str],
}

const LOADS: [Load; 6] = [
    Load { picture: "w1-register", title: "W1: registrations", arguments: &["register", "--instances", "4000000"] },
    Load { picture: "w2-fanout", title: "W2: pushes to 1,000 watches", arguments: &["fanout"] },
    Load { picture: "w6-get", title: "W6: reads", arguments: &["get", "--requests", "4000000"] },
    Load {
        picture: "w7-publish",
        title: "W7: messages published",
        arguments: &["queue", "--messages", "20000000", "--in-flight", "1024"],
    },
    Load {
        picture: "w7-consume",
        title: "W7: messages published and consumed",
        arguments: &["queue", "--consume", "--messages", "20000000", "--in-flight", "1024"],
    },
    Load { picture: "overload", title: "Far too much of everything", arguments: &["overload"] },
];

/// A program that is ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// # Errors
/// When `perf` cannot be had or may not look, or a load ends before it was looked at.
pub(super) fn run(root: &Path) -> anyhow::Result<()> {
    tools::perf()?;
    let inferno = tools::inferno(root)?;
    steps::cargo(root, &["build", "--release", "--locked", "--package", "roster-cli"])?;
    let roster = tools::target(root).join("release/roster");
    let pictures = root.join(PICTURES);
    fs::create_dir_all(&pictures).with_context(|| format!("make {}", pictures.display()))?;
    for (number, load) in LOADS.iter().enumerate() {
        eprintln!("[{} of {}] {}", number + 1, LOADS.len(), load.title);
        let picture = pictures.join(load.picture).with_extension("svg");
        draw(&roster, &inferno, load, &picture).with_context(|| load.title.to_owned())?;
        println!("written: {}", picture.display());
    }
    Ok(())
}

fn draw(roster: &Path, inferno: &Path, load: &Load, picture: &Path) -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("flames-").context("make a folder")?;
    let address = TcpListener::bind("127.0.0.1:0").context("look for a free port")?.local_addr()?.to_string();
    let node = Command::new(roster)
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let node = Running(node.context("start a node")?);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(&address).is_err() {
        ensure!(Instant::now() < deadline, "the node does not listen at {address}");
        thread::sleep(Duration::from_millis(10));
    }

    let mut command = Command::new(roster);
    command.arg("bench").args(load.arguments).args(["--server", &format!("http://{address}")]);
    let mut loading = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start the load")?);
    thread::sleep(SETTLING);
    let samples = folder.path().join("samples");
    let looked = Command::new("perf")
        .args(["record", "--quiet", "--freq", FREQUENCY, "--call-graph", "dwarf", "--pid", &node.0.id().to_string()])
        .arg("--output")
        .arg(&samples)
        .args(["--", "sleep", LOOKING])
        .status()
        .context("start perf")?;
    ensure!(looked.success(), "perf may not look; see kernel.perf_event_paranoid");
    ensure!(loading.0.try_wait()?.is_none(), "the load ended too soon: it must last longer than it is looked at");
    drop((loading, node));

    let mut script = Command::new("perf");
    let script = piped(script.args(["script", "--no-inline", "--input"]).arg(&samples), Stdio::null())?;
    let folded = piped(&mut Command::new(inferno.join("inferno-collapse-perf")), taken(script)?)?;
    let title = format!("{} (processor time of the node, by thread)", load.title);
    let file = fs::File::create(picture).with_context(|| format!("write {}", picture.display()))?;
    let mut drawing = Command::new(inferno.join("inferno-flamegraph"));
    drawing.args(["--title", &title, "--minwidth", NARROWEST, "--hash"]);
    let drawn = drawing.stdin(taken(folded)?).stdout(file).status().context("draw the samples")?;
    ensure!(drawn.success(), "the samples could not be drawn");
    Ok(())
}

/// One of several programs of which each reads what the one before it writes.
fn piped(command: &mut Command, input: Stdio) -> anyhow::Result<Child> {
    let program = command.get_program().to_owned();
    let started = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    started.with_context(|| format!("start {}", program.display()))
}

fn taken(child: Child) -> anyhow::Result<Stdio> {
    Ok(child.stdout.context("the output was asked for")?.into())
}
