//! Instructions of the log: a thousand commands into records, as a frame into the file, and back at a start.
//!
//! Run by `cargo xtask bench`, which compares the counts with those that are committed. What is built
//! before and dropped after is not counted, and neither is what the kernel does.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::sync::Arc;

use gungraun::prelude::*;
use roster_core::directory::{Command, StateItem};
use roster_core::{
    Address, Handover, Kind, Label, Metadata, Position, Registration, ServiceName, SessionId, Tags, Timestamp,
};
use roster_store::{Durability, LocalLog, LogSettings, OrderedLog, RealDisk, Records, Recover};
use tempfile::TempDir;

const COMMANDS: u32 = 1_000;
const AT: Timestamp = Timestamp::new(1);

/// Only counts.
#[derive(Default)]
struct Counted(usize);

impl Recover for Counted {
    fn snapshot_item(&mut self, _: StateItem) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_end(&mut self, _: Position) -> Result<(), String> {
        Ok(())
    }

    fn command(&mut self, _: Position, _: Timestamp, _: Command) -> Result<(), String> {
        self.0 += 1;
        Ok(())
    }
}

fn commands() -> Vec<Command> {
    let register = |number: u32| Command::Register {
        session: SessionId::new(1),
        registration: Arc::new(Registration {
            service: ServiceName::parse(&format!("bench/service-{}", number % 100)).unwrap(),
            address: Address::parse(&std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string(), 8080).unwrap(),
            kind: Kind::Member,
            node_index: 0,
            version: 1,
            weight: 100,
            zone: Label::parse("zone", "eu-1").unwrap(),
            tags: Tags::parse(["blue", "http"]).unwrap(),
            metadata: Metadata::parse([("build", "1234"), ("protocol", "grpc")]).unwrap(),
        }),
        handover: Handover::default(),
        cutover: None,
    };
    (0..COMMANDS).map(register).collect()
}

fn records() -> Records {
    encoding(commands()).1
}

fn open(folder: &TempDir) -> (LocalLog, Counted) {
    // The sync is the kernel's work alone.
    let settings = LogSettings { durability: Durability::Os, ..LogSettings::new(folder.path()) };
    let mut counted = Counted::default();
    let log = LocalLog::open(Arc::new(RealDisk), settings, AT, &mut counted).unwrap();
    (log, counted)
}

fn an_open_log() -> (TempDir, LocalLog, Records) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(&folder);
    (folder, log, records())
}

fn a_closed_log() -> TempDir {
    let (folder, log, _) = appending(an_open_log());
    drop(log);
    folder
}

fn encoding(commands: Vec<Command>) -> (Vec<Command>, Records) {
    let mut records = Records::new();
    commands.iter().for_each(|command| records.push(command));
    (commands, records)
}

#[library_benchmark]
#[bench::thousand(commands())]
fn encode_records(state: Vec<Command>) -> (Vec<Command>, Records) {
    encoding(state)
}

fn appending((folder, mut log, records): (TempDir, LocalLog, Records)) -> (TempDir, LocalLog, Records) {
    log.append(AT, std::slice::from_ref(&records)).unwrap();
    (folder, log, records)
}

#[library_benchmark]
#[bench::thousand(an_open_log())]
fn append(state: (TempDir, LocalLog, Records)) -> (TempDir, LocalLog, Records) {
    appending(state)
}

#[library_benchmark]
#[bench::thousand(a_closed_log())]
fn replay(folder: TempDir) -> (TempDir, LocalLog) {
    let (log, counted) = open(&folder);
    assert_eq!(counted.0, COMMANDS as usize);
    (folder, log)
}

library_benchmark_group!(name = the_log, benchmarks = [encode_records, append, replay]);

main!(
    // The copying routines of the C library are chosen by processor; the plainest are there on all.
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM");
    library_benchmark_groups = the_log
);
