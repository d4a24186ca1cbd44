//! Frames of any content, and any bytes where frames should be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use roster_core::directory::Command;
use roster_core::{Address, Handover, Kind, Label, Metadata, Registration, ServiceName, SessionId, Tags};
use roster_store::disk::Survival;
use roster_store::tools::{RepairMode, repair, verify};
use roster_store::{
    Codec, Directory, Disk, Durability, FaultyDisk, LocalLog, LogSettings, OpenError, OrderedLog, Records, RecoveryNote,
};

use crate::support::{Memory, at, command, open, records};

/// Without room, so that a segment ends where its last frame does.
fn settings() -> LogSettings {
    LogSettings { ahead_max: 0, ..LogSettings::new("/var/roster") }
}

/// A registration with several sectors of zeros in it.
fn zeros() -> Command {
    let zeros = "\0".repeat(4000);
    let registration = Registration {
        service: ServiceName::parse("a").unwrap(),
        address: Address::parse("localhost", 1).unwrap(),
        kind: Kind::Member,
        node_index: 0,
        version: 0,
        weight: 0,
        zone: Label::default(),
        tags: Tags::default(),
        metadata: Metadata::parse([("zeros", zeros.as_str())]).unwrap(),
    };
    let (session, registration) = (SessionId::new(1), Arc::new(registration));
    Command::Register { session, registration, handover: Handover::default(), cutover: None }
}

fn segment(disk: &FaultyDisk) -> (PathBuf, Vec<u8>) {
    let mut files = disk.files().into_iter();
    files.find(|(path, _)| path.extension().is_some_and(|extension| extension == "segment")).unwrap()
}

fn start(disk: &FaultyDisk) -> Result<(LocalLog, Memory), OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    open(&shared, &settings())
}

/// A log of one small batch and one that is full of zeros; and where the second begins.
fn log_with_zeros() -> (FaultyDisk, usize) {
    let disk = FaultyDisk::new(5);
    let (mut log, _) = start(&disk).unwrap();
    log.append(at(1), &[records([1])]).unwrap();
    let begin = segment(&disk).1.len();
    let mut records = Records::new();
    records.push(&zeros());
    log.append(at(2), &[records]).unwrap();
    (disk, begin)
}

#[test]
fn a_batch_full_of_zeros_is_stored_without_an_empty_sector_and_comes_back() {
    let (disk, _) = log_with_zeros();
    let bytes = segment(&disk).1;
    assert!(bytes.len() > 4000);
    assert!(bytes[512..].chunks_exact(512).all(|sector| sector.iter().any(|&byte| byte != 0)), "L2");
    let (_, memory) = start(&disk).unwrap();
    assert_eq!(memory.commands[1].2, zeros());
}

#[test]
fn in_a_batch_full_of_zeros_a_flipped_bit_is_damage_and_a_lost_sector_is_a_torn_write() {
    let (disk, begin) = log_with_zeros();
    let (path, bytes) = segment(&disk);
    for index in (begin..bytes.len()).step_by(7) {
        let disk = disk.reboot(Survival::Kept);
        let mut flipped = bytes.clone();
        flipped[index] ^= 4;
        disk.put(&path, &flipped);
        assert!(matches!(start(&disk), Err(OpenError::Damaged { .. })), "L1: byte {index}");
    }
    for sector in begin / 512..=bytes.len() / 512 {
        let disk = disk.reboot(Survival::Kept);
        let mut lost = bytes.clone();
        lost[(sector * 512).max(begin)..((sector + 1) * 512).min(bytes.len())].fill(0);
        disk.put(&path, &lost);
        let (log, memory) = start(&disk).unwrap();
        assert_eq!(memory.whole(), 1, "sector {sector}");
        assert!(matches!(log.report().notes[..], [RecoveryNote::TornTail { .. }]));
    }
}

#[test]
fn a_lost_sector_with_a_whole_batch_after_it_is_damage() {
    let (disk, begin) = log_with_zeros();
    let (mut log, memory) = start(&disk).unwrap();
    assert_eq!(memory.commands.len(), 2);
    log.append(at(3), &[records([3])]).unwrap();
    drop(log);
    let (path, mut bytes) = segment(&disk);
    let sector = begin.next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    disk.put(&path, &bytes);
    let Err(OpenError::Damaged { damage, .. }) = start(&disk) else { panic!("refused") };
    assert_eq!((damage.file, damage.offset), (path, begin as u64));
}

#[test]
fn without_a_sync_for_each_batch_only_the_last_segment_can_lose_anything() {
    let mut settings = settings();
    settings.durability = Durability::Os;
    settings.segment_max = 300;
    let disk = FaultyDisk::new(5);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &settings).unwrap();
    let mut before_the_last_segment = 0;
    for number in 1..=20 {
        let segments = log.status().segments;
        log.append(at(number), &[records([number])]).unwrap();
        if log.status().segments > segments {
            before_the_last_segment = number - 1;
        }
    }
    let (_, memory) = start(&disk.reboot(Survival::Lost)).unwrap();
    assert_eq!(memory.whole(), before_the_last_segment);
    assert!(before_the_last_segment > 0);
}

#[test]
fn without_a_sync_for_each_batch_a_power_a_power_cut_leaves_a_prefix_or_a_refusal_and_never_wrong_data() {
    let mut settings = settings();
    settings.durability = Durability::Os;
    let disk = FaultyDisk::new(5);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &settings).unwrap();
    for number in 1..=60 {
        log.append(at(number), &[records([number])]).unwrap();
    }
    for seed in 0..200 {
        let disk = disk.reboot(Survival::Torn(seed));
        match start(&disk) {
            Ok((_, memory)) => assert!(memory.whole() <= 60),
            Err(OpenError::Damaged { .. }) => {
                repair::<Directory>(&disk, &settings.directories(), RepairMode::Apply, at(99)).unwrap();
                assert!(start(&disk).unwrap().1.whole() <= 60);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn some_log() -> (FaultyDisk, PathBuf, Vec<u8>) {
    let disk = FaultyDisk::new(5);
    let (mut log, _) = start(&disk).unwrap();
    for number in 1..=3 {
        log.append(at(number), &[records([number])]).unwrap();
    }
    drop(log);
    let (path, bytes) = segment(&disk);
    (disk, path, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_bytes_in_place_of_frames_are_cut_off_or_refused_and_repaired_but_never_believed(
        keep in 64_usize..300,
        junk in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..1500),
    ) {
        let (disk, path, mut bytes) = some_log();
        bytes.truncate(keep);
        bytes.extend_from_slice(&junk);
        disk.put(&path, &bytes);
        verify::<Directory>(&disk, &settings().directories()).unwrap();
        let opened = start(&disk);
        if opened.is_err() {
            repair::<Directory>(&disk, &settings().directories(), RepairMode::Apply, at(99)).unwrap();
        }
        drop(opened);
        let last = start(&disk).unwrap().1.whole();
        prop_assert!(last <= 3);
    }

    #[test]
    fn any_bytes_in_place_of_a_manifest_are_refused(junk in prop::collection::vec(any::<u8>(), 0..300)) {
        let (disk, _, _) = some_log();
        disk.put(Path::new("/var/roster/MANIFEST"), &junk);
        prop_assert!(start(&disk).is_err());
    }

    #[test]
    fn any_bytes_in_place_of_a_record_are_a_record_or_an_error(junk in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Directory::decode_command(&junk);
        let _ = Directory::decode_item(&junk);
    }

    #[test]
    fn a_damaged_record_is_an_error_or_another_record_that_reads_back(at in 0_usize..30, bit in 0_u8..8) {
        let mut bytes = BytesMut::new();
        Directory::encode_command(&command(7), &mut bytes);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;
        if let Ok(decoded) = Directory::decode_command(&bytes) {
            let mut again = BytesMut::new();
            Directory::encode_command(&decoded, &mut again);
            prop_assert_eq!(Directory::decode_command(&again), Ok(decoded));
        }
    }
}
