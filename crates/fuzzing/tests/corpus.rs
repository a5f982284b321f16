//! The corpus, and what becomes of each of its files when it is cut off or damaged anywhere, as a quick stand-in for the
//! fuzzer.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use mmm_core::{PeerAnswer, PeerRequest, ToAgent, ToMonitor};
use mmm_fuzzing::TARGETS;
use mmm_wire::FrameReader;
use serde::de::DeserializeOwned;

/// Damaging a file at more places than this takes longer than anybody waits.
const PLACES_MAX: usize = 12;

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn files(name: &str) -> Vec<Vec<u8>> {
    let folder = corpus().join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn over_damaged_files(wanted: &str) {
    let (name, target) = TARGETS.iter().find(|(name, _)| *name == wanted).unwrap();
    let files = files(name);
    assert!(files.len() >= 3, "the corpus of {name} has {} files", files.len());
    for file in files {
        target(&file);
        let step = file.len().div_ceil(PLACES_MAX).max(1);
        for place in (0..file.len()).step_by(step) {
            target(&file[..place]);
            for damage in [0x00, b'\n', b'|', 0xff, file[place] ^ 0x01] {
                let mut damaged = file.clone();
                damaged[place] = damage;
                target(&damaged);
            }
        }
    }
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let mut folders: Vec<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names);
}

async fn messages<T: DeserializeOwned>(file: &str) -> usize {
    let bytes = fs::read(corpus().join("frames").join(file)).unwrap();
    let mut reader = FrameReader::new(bytes.as_slice(), file);
    let mut count = 0;
    while reader.next::<T>().await.unwrap().is_some() {
        count += 1;
    }
    count
}

/// A field that is added to a message makes a file of the corpus worthless without anybody noticing.
#[tokio::test]
async fn the_frames_of_the_corpus_are_messages_of_today() {
    assert_eq!(messages::<ToAgent>("to_agent").await, 6);
    assert_eq!(messages::<ToAgent>("order_without_roles").await, 4);
    assert_eq!(messages::<ToMonitor>("to_monitor").await, 3);
    assert_eq!(messages::<PeerRequest>("peers").await, 2);
    assert_eq!(messages::<PeerAnswer>("peer_answers").await, 3);
}

#[test]
fn damaged_configurations_are_read_or_refused() {
    over_damaged_files("configuration");
}

#[test]
fn damaged_control_lines_are_answered() {
    over_damaged_files("control");
}

#[test]
fn damaged_frames_are_read_or_refused() {
    over_damaged_files("frames");
}

#[test]
fn damaged_handshakes_let_nobody_in() {
    over_damaged_files("handshake");
}

#[test]
fn damaged_lines_of_protocol_1_are_read_or_refused() {
    over_damaged_files("protocol1");
}
