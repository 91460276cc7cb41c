//! Volumes: names of files, and blocks of their directory, which whoever has a volume's key may write.

use assets::volume::{Bucket, Entry, FilePath, LENGTH_MAX};

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "assets_volume_directory",
        covers: &["Bucket::decode"],
        run: bucket,
        seeds: buckets,
    },
    Target {
        name: "assets_volume_path",
        covers: &["FilePath::from_str"],
        run: path,
        seeds: paths,
    },
];

/// What is read is written as it came, zeros at the end aside.
fn bucket(bytes: &[u8]) {
    if let Ok(Some(read)) = Bucket::decode(bytes) {
        let encoded = read.encode();
        let (same, zeros) = bytes.split_at(encoded.len());
        assert_eq!(same, encoded);
        assert!(zeros.iter().all(|byte| *byte == 0));
        let names = read.entries.iter().map(|entry| &entry.path);
        assert!(names.is_sorted());
    }
}

fn buckets() -> Vec<Vec<u8>> {
    let entry = |name: &str, file, moves_to: Option<&str>| Entry {
        path: name.parse().expect("a name"),
        file,
        length: 70_000,
        stale_until: LENGTH_MAX,
        moves_to: moves_to.map(|name| name.parse().expect("a name")),
    };
    let bucket = |entries| Bucket {
        serial: 300,
        entries,
    };
    let two = vec![entry("a", 17, Some("b/c")), entry("d", 290, None)];
    let mut padded = bucket(two.clone()).encode();
    padded.resize(128, 0);
    vec![bucket(Vec::new()).encode(), bucket(two).encode(), padded]
}

/// A name has only parts that lead nowhere else.
fn path(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes);
    if let Some(read) = text.ok().and_then(|text| text.parse::<FilePath>().ok()) {
        assert_eq!(read.as_str().as_bytes(), bytes);
        let parts = read.as_str().split('/');
        assert!(parts.clone().all(|part| !part.is_empty()));
        assert!(parts.clone().all(|part| part != "." && part != ".."));
    }
}

fn paths() -> Vec<Vec<u8>> {
    let texts = ["a", "folder/file.txt", "../up", "a//b", "ü/."];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
