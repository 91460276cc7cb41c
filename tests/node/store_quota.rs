//! The quota of a node's artifacts: who goes, who stays, what is refused, and a kill in the middle.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use types::Digest;

use crate::components::service;
use crate::harness::{Fabric, PATIENCE, eventually};

const QUOTA: [&str; 4] = ["--http", "127.0.0.1:0", "--storage-quota", "400KiB"];
/// Two fit into the quota beside their components, three do not.
const FILE_BYTES: usize = 150 << 10;

/// Writes a workload that has `files` of [`FILE_BYTES`]; their digests.
pub(crate) fn workload(fabric: &Fabric, name: &str, files: usize) -> Vec<Digest> {
    fabric.write(&format!("{name}.wat"), &service(name));
    let mut manifest =
        format!("name = \"{name}\"\n[[component]]\nname = \"{name}\"\nsource = \"{name}.wat\"\n");
    let mut digests = Vec::new();
    for number in 0..files {
        let content = format!("{name} {number} ").repeat(FILE_BYTES);
        let content = &content[..FILE_BYTES];
        let file = format!("{name}-{number}.txt");
        fabric.write(&file, content);
        manifest +=
            &format!("[[component.file]]\nsource = \"{file}\"\npath = \"/files/{number}.txt\"\n");
        digests.push(Digest::of(content.as_bytes()));
    }
    fabric.write(&format!("{name}.toml"), &manifest);
    digests
}

fn is_here(fabric: &Fabric, digest: &Digest) -> bool {
    let folder = fabric.data().join("artifacts");
    folder.join(digest.hex()).exists()
}

fn runs(fabric: &Fabric, name: &str) {
    eventually("it runs", || {
        (fabric.state(name).as_deref() == Some("running")).then_some(())
    });
}

/// Quota, use and pinned part, in bytes.
fn room(fabric: &Fabric) -> [u64; 3] {
    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    ["quota_bytes", "used_bytes", "pinned_bytes"]
        .map(|field| status["artifacts"][field].as_u64().unwrap())
}

#[test]
fn a_removed_deployment_makes_room_and_a_running_one_never_does() {
    let fabric = Fabric::start_in(tempfile::tempdir().unwrap(), &QUOTA);
    let [a, b, c] = ["a", "b", "c"].map(|name| workload(&fabric, name, 1)[0]);
    let twice = workload(&fabric, "twice", 2);
    fabric.nexus(&["deploy", "a.toml"]).ok();
    let two = room(&fabric);
    assert!(two[0] == 400 << 10 && two[1] >= FILE_BYTES as u64 && two[2] == two[1]);
    // Its first file fits, its second does not.
    let told = fabric.nexus(&["deploy", "twice.toml"]).failed(5);
    assert!(
        told.contains("the quota of 409600 bytes has no room for 153600 more")
            && told.contains("--storage-quota"),
        "{told}"
    );
    assert_eq!(fabric.state("twice"), None, "nothing was admitted");
    assert!(
        twice
            .iter()
            .filter(|digest| is_here(&fabric, digest))
            .count()
            < 2
    );
    assert_eq!(room(&fabric)[2], two[2]);
    runs(&fabric, "a");
    let folder = fabric.stop();

    // What was sent for a deployment that never came is nobody's after a restart.
    let fabric = Fabric::start_in(folder, &QUOTA);
    fabric.nexus(&["deploy", "b.toml"]).ok();
    assert!(is_here(&fabric, &a) && is_here(&fabric, &b));
    let told = fabric.nexus(&["deploy", "c.toml"]).failed(5);
    assert!(told.contains("no room for 153600 more"), "{told}");
    for name in ["a", "b"] {
        runs(&fabric, name);
    }
    fabric.nexus(&["rm", "a"]).ok();
    assert!(is_here(&fabric, &a), "it stays until the room is needed");
    fabric.nexus(&["deploy", "c.toml"]).ok();
    let here = [a, b, c].map(|digest| is_here(&fabric, &digest));
    assert_eq!(here, [false, true, true]);
    runs(&fabric, "b");
    let [quota, used, pinned] = room(&fabric);
    assert!(pinned <= used && used <= quota && pinned >= 2 * FILE_BYTES as u64);
    let shown = fabric.nexus(&["node", "status"]).ok();
    assert!(shown.contains("of 400KiB used"), "{shown}");
    fabric.stop();
}

const FILLERS: u64 = 4_000;
const FILLER_BYTES: u64 = 1_024;
const ROOM_FOR_FILLERS: [&str; 4] = ["--http", "127.0.0.1:0", "--storage-quota", "5MiB"];
/// What makes most fillers go, but not all.
const ANNOUNCED_BYTES: u64 = 4_500_000;

/// Fills the store with artifacts that nobody names; the path of the one that goes first.
fn fill(artifacts: &Path, round: u64) -> std::path::PathBuf {
    let mut first = None;
    for number in 0..FILLERS {
        let mut content = format!("filler {number} of round {round}").into_bytes();
        content.resize(usize::try_from(FILLER_BYTES).unwrap(), b'.');
        let path = artifacts.join(Digest::of(&content).hex());
        fs::write(&path, &content).unwrap();
        let age = Duration::from_secs(800 - number / 8);
        let file = File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        first.get_or_insert(path);
    }
    first.unwrap()
}

/// Begins an upload: its announcement alone makes room.
fn announce(fabric: &Fabric) -> UnixStream {
    let mut socket = UnixStream::connect(fabric.data().join("admin.sock")).unwrap();
    let digest = Digest::of(b"never sent");
    write!(
        socket,
        "PUT /v1/artifacts/{digest}?use=file HTTP/1.1\r\nhost: node\r\n\
        content-type: application/octet-stream\r\ncontent-length: {ANNOUNCED_BYTES}\r\n\r\nbegin"
    )
    .unwrap();
    socket
}

#[test]
fn a_kill_while_artifacts_go_leaves_a_good_store() {
    let fabric = Fabric::start();
    let kept = workload(&fabric, "kept", 1)[0];
    fabric.nexus(&["deploy", "kept.toml"]).ok();
    let artifacts = fabric.data().join("artifacts");
    let mut folder = fabric.stop();
    for round in 0..2 {
        let first = fill(&artifacts, round);
        let mut fabric = Fabric::start_in(folder, &ROOM_FOR_FILLERS);
        let upload = announce(&fabric);
        let begun = Instant::now();
        while first.exists() {
            assert!(begun.elapsed() < PATIENCE, "nothing goes");
        }
        fabric.process.signal(Signal::KILL);
        fabric.process.ends();
        drop(upload);
        let left = fs::read_dir(&artifacts).unwrap().count();
        println!("{left} files were left by the kill");
        let fabric = Fabric::start_in(fabric.folder, &ROOM_FOR_FILLERS);
        let mut bytes = 0;
        for entry in fs::read_dir(&artifacts).unwrap() {
            let path = entry.unwrap().path();
            let content = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(name, Digest::of(&content).hex(), "whole, or not at all");
            bytes += content.len() as u64;
        }
        let [quota, used, pinned] = room(&fabric);
        assert!(used == bytes && used <= quota && pinned >= FILE_BYTES as u64);
        assert!(is_here(&fabric, &kept));
        runs(&fabric, "kept");
        folder = fabric.stop();
        for entry in fs::read_dir(&artifacts).unwrap() {
            let entry = entry.unwrap();
            if entry.metadata().unwrap().len() == FILLER_BYTES {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
