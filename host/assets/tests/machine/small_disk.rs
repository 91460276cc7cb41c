//! A disk that is full.

use std::fs;
use std::path::Path;
use std::process::Command;

use hypermesh_assets::{
    Adapter, MeasureError, MeasureStorageError, StorageAdapter, measure_storage, room,
};
use types::Amount;

/// A file system in memory, of its own; it ends with the test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, bytes: u64) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]);
        let mounted = mount.arg(path).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_disk_is_measured_with_a_part_of_its_room_and_a_full_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let Some(_disk) = SmallDisk::mount(path, 1 << 20) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    assert_eq!(room(path).unwrap().total_bytes, 1 << 20);
    assert_eq!(measure_storage(path).unwrap().bytes, 1 << 20);
    assert_eq!(
        room(path).unwrap().free_bytes,
        1 << 20,
        "the test gave back what it took"
    );

    fs::write(path.join("filler"), vec![1; 900 << 10]).unwrap();
    let refused = measure_storage(path).unwrap_err();
    assert!(
        matches!(refused, MeasureStorageError::Full { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains(path.to_str().unwrap()),
        "{refused}"
    );
    let adapter = StorageAdapter::new(path.to_owned(), Amount(1 << 20));
    let refused = adapter.measure().unwrap_err();
    assert!(matches!(refused, MeasureError::Storage(_)), "{refused}");
}
