//! A node on a disk without room: a small file system in a mount namespace of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use roster_client::{RefusalCode, Selector};
use roster_proto::v1;
use roster_proto::v1::result::Outcome;

use crate::node::{self, Node};
use crate::soon;
use crate::wire::{self, Session, Watch};

/// Holds the namespace, and with it the file system, as long as it lives.
struct SmallDisk {
    holder: Child,
    mount: PathBuf,
}

impl SmallDisk {
    /// `None` when this user may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", "mount -t tmpfs -o size=4m none \"$1\" && echo mounted && read end", "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let disk = Self { holder, mount: folder.to_owned() };
        (line == "mounted\n" && disk.outside().exists()).then_some(disk)
    }

    /// The file system as it is reached from outside of the namespace.
    fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount.strip_prefix("/").unwrap())
    }

    fn start(&self, listen: std::net::SocketAddr) -> Node {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.holder.id().to_string()]).arg(node::program());
        Node::start_by(command, listen, &self.mount.join("data"), &["log.history=0s"])
    }

    /// Leaves no room for a further page.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.outside().join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.outside().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

async fn ports(node: &Node) -> Vec<u16> {
    let mut ports: Vec<u16> =
        node.client.list(&Selector::All).await.unwrap().iter().map(|i| i.registration.address.port()).collect();
    ports.sort_unstable();
    ports
}

/// Registers until the node says no. The ports that it has acknowledged since, and the refusal.
async fn register_until_refused(session: &mut Session, from: u16) -> (Vec<u16>, v1::Refusal) {
    let mut acknowledged = Vec::new();
    for port in from..from + 1_000 {
        match session.register(wire::member("orders", port.into())).await {
            Outcome::Active(_) => acknowledged.push(port),
            Outcome::Refusal(refusal) => return (acknowledged, refusal),
            other => panic!("{other:?}"),
        }
    }
    panic!("the disk has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_room_says_so_serves_readers_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("passed over: this user may not mount a file system");
        return;
    };
    let listen = ([127, 0, 0, 1], node::free_port()).into();
    let mut node = disk.start(listen);
    let mut session = Session::open(listen, 60_000).await;
    let mut watch = Watch::open(listen, "").await;
    session.up(wire::member("orders", 1)).await;
    disk.fill();
    let (more, refusal) = register_until_refused(&mut session, 2).await;
    let mut acknowledged: Vec<u16> = [1].into_iter().chain(more).collect();
    assert_eq!(refusal.code(), RefusalCode::ReadOnly, "{refusal:?}");
    println!("on a full disk: {}", refusal.message);
    assert!(refusal.message.contains("read-only"), "{}", refusal.message);

    // Readers are served: what is acknowledged is there, and a watch goes on with it.
    assert_eq!(ports(&node).await, acknowledged);
    assert!(!node.status().await.read_only.is_empty());
    let mut seen = 0;
    while seen < acknowledged.len() {
        let events = soon("the events", watch.events()).await;
        seen += events.iter().filter(|(_, event)| matches!(event, v1::event::Event::Up(_))).count();
    }

    disk.free();
    crate::until("the node takes changes again", || async { node.status().await.read_only.is_empty() }).await;
    session.up(wire::member("orders", 50_000)).await;
    acknowledged.push(50_000);

    // Full again, killed in this state, and started with room.
    disk.fill();
    let (more, _) = register_until_refused(&mut session, 50_001).await;
    acknowledged.extend(more);
    node.kill();
    disk.free();
    node = disk.start(listen);
    assert_eq!(ports(&node).await, acknowledged, "nothing that was acknowledged is lost, nothing refused is there");
}
