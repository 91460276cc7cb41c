//! Data directories that a node must not, or cannot, use; and a disk that fills up.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::components::service;
use crate::harness::{Fabric, eventually, run, up};

#[test]
fn a_directory_of_another_version_is_refused_and_left_alone() {
    let folder = Fabric::start().stop();
    let format = folder.path().join("data/FORMAT");
    fs::write(&format, "7\n").unwrap();
    let ran = run(&mut up(folder.path(), &[]));
    let said = fs::read_to_string(folder.path().join("node.log")).unwrap();
    assert_eq!(ran.code, 1, "{said}");
    assert!(
        said.contains("another version") && said.contains("format 7"),
        "{said}"
    );
    assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said}");
    fs::write(&format, "2\n").unwrap();
    Fabric::start_in(folder, &[]).stop();
}

#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/thesis.txt"), "words").unwrap();
    let ran = run(&mut up(folder.path(), &[]));
    let said = fs::read_to_string(folder.path().join("node.log")).unwrap();
    assert_eq!(ran.code, 1, "{said}");
    assert!(said.contains("not a data directory"), "{said}");
    assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1);
}

/// A small file system of its own; unmounted when dropped.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// None where this user may not mount.
    pub(crate) fn mount(at: &'a Path, bytes: u32) -> Option<Self> {
        let options = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_read_only_file_system_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let data = path.join("data");
    fs::create_dir(&data).unwrap();
    let Some(_disk) = SmallDisk::mount(&data, 16 << 20) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let folder = Fabric::start_in(folder, &[]).stop();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&data)
        .status();
    assert!(remounted.unwrap().success());
    let ran = run(&mut up(folder.path(), &[]));
    let said = fs::read_to_string(folder.path().join("node.log")).unwrap();
    assert_eq!(ran.code, 1, "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said}");
}

#[test]
fn a_full_disk_ends_in_a_sentence_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let data = path.join("data");
    fs::create_dir(&data).unwrap();
    let Some(_disk) = SmallDisk::mount(&data, 16 << 20) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let mut fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    fabric.write("first.wat", &service("first"));
    fabric.nexus(&["deploy", "first.wat", "--route", "/"]).ok();
    let filler = data.join("filler");
    fill(&filler);
    fabric.write("second.wat", &service("second"));
    let ran = fabric.nexus(&["deploy", "second.wat", "--route", "/second"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(
        !ran.err.is_empty() && !ran.err.contains("panicked"),
        "{ran:?}"
    );
    // The ledger may have had to stop; then the node ends by itself and says why.
    if fabric.process.has_ended() {
        let log = fabric.log();
        assert!(log.contains("space") || log.contains("ledger"), "{log}");
    }
    fs::remove_file(&filler).unwrap();
    drop(fabric.process);
    let fabric = Fabric::start_in(fabric.folder, &["--http", "127.0.0.1:0"]);
    eventually("the first deployment runs again", || {
        (fabric.state("first").as_deref() == Some("running")).then_some(())
    });
    assert_eq!(fabric.get("/hello").0, 200);
    drop(fabric.stop());
}

/// Writes until nothing more fits.
pub(crate) fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    let piece = [0; 64 * 1024];
    while file.write_all(&piece).is_ok() {}
    let byte = [0; 1];
    while file.write_all(&byte).is_ok() {}
}
