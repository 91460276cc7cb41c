//! A validator whose disk is full, or whose files were changed: it stops and says so, the others go
//! on, and nothing damaged is ever served or voted on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::data_directory::{SmallDisk, fill};
use crate::four::{Four, agree, folders, grant};
use crate::harness::eventually;

/// The disk of the one node that has a small one: enough for a node, soon filled.
const DISK_BYTES: u32 = 64 << 20;

/// Hands a fact to a node, which must become final.
#[track_caller]
fn say(four: &Four, node: usize, acknowledged: &mut Vec<String>) {
    let key = format!("{:02x}", acknowledged.len() + 1).repeat(32);
    assert!(grant(&mut four.nodes[node].command(&[]), &key));
    acknowledged.push(key);
}

#[test]
fn a_validator_with_a_full_disk_stops_and_comes_back_when_there_is_room() {
    let folders = folders(|_, folder| fs::create_dir(folder.join("data")).unwrap());
    let small = folders[3].path().join("data");
    let Some(_disk) = SmallDisk::mount(&small, DISK_BYTES) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let mut four = Four::start_in(folders);
    let mut acknowledged = Vec::new();
    say(&four, 0, &mut acknowledged);
    let filler = small.join("filler");
    fill(&filler);
    for round in 0..50 {
        if four.nodes[3].process.has_ended() {
            break;
        }
        // The others do not mind.
        say(&four, round % 3, &mut acknowledged);
    }
    let code = four.nodes[3].process.ends();
    let log = four.nodes[3].log();
    assert_ne!(code, 0, "{log}");
    let named = four.nodes[3].data().join("consensus");
    let named = format!("cannot write to {}: No space left", named.display());
    assert!(log.contains(&named), "{log}");
    say(&four, 1, &mut acknowledged);
    fs::remove_file(&filler).unwrap();
    four.restart(3);
    four.agree(&acknowledged);
    // And it votes again.
    four.kill(0);
    say(&four, 3, &mut acknowledged);
    let rest: Vec<_> = four.nodes[1..].iter().collect();
    agree(&rest, &acknowledged);
}

/// The parts of the engine's data, each with its files.
fn parts(engine: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(engine).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let files = fs::read_dir(&path).unwrap();
            let files = files.map(|file| file.unwrap().path()).collect();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            parts.push((name, files));
        }
    }
    parts.sort();
    parts
}

/// Changes bytes in the middle of a file; false for an empty one.
fn damage(file: &Path) -> bool {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    for byte in bytes.iter_mut().skip(middle).take(8) {
        *byte ^= 0xff;
    }
    fs::write(file, &bytes).unwrap();
    !bytes.is_empty()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_damaged_store_is_named_or_healed_and_never_served() {
    let mut four = Four::start();
    let mut acknowledged = Vec::new();
    for number in 0..6 {
        say(&four, number % 4, &mut acknowledged);
    }
    four.agree(&acknowledged);
    four.kill(3);
    let data = four.nodes[3].data();
    let whole = data.with_file_name("whole");
    copy(&data, &whole);
    let parts = parts(&data.join("consensus/engine"));
    assert!(parts.len() >= 4, "{parts:?}");
    for (part, files) in parts {
        copy(&whole, &data);
        if files.iter().filter(|file| damage(file)).count() == 0 {
            continue;
        }
        four.spawn(3);
        let said = eventually("the node is up, or ended", || {
            let node = &mut four.nodes[3];
            if node.process.has_ended() {
                return Some(Some(node.log()));
            }
            (node.nexus(&["node", "status"]).code == 0).then_some(None)
        });
        if let Some(log) = said {
            println!("{part}: {log}");
            assert!(log.contains("error"), "{part}: {log}");
            assert!(log.contains("consensus"), "{part} is not named: {log}");
        } else {
            // What it serves is what the others have.
            println!("{part}: healed");
            four.agree(&acknowledged);
            four.kill(3);
        }
    }
    copy(&whole, &data);
    four.restart(3);
    four.agree(&acknowledged);
}
