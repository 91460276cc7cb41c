//! Files: what a tree of names and bytes does, whatever fails in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypermesh_assets::volume::{
    BLOCK_BYTES, FileError, FilePath, Files, LENGTH_MAX, Layout, PAGE_MAX, Repair, SPAN_BYTES_MAX,
};

use crate::World;
use crate::chance::Chance;

fn path(text: &str) -> FilePath {
    text.parse().expect("a name")
}

async fn files(world: &World) -> Files {
    Files::new(Arc::new(world.writer().await))
}

fn reader(world: &World) -> Files {
    Files::new(Arc::new(world.reader()))
}

fn three() -> World {
    World::new(Layout::replicated(3).expect("three may have it"))
}

/// All names and contents.
async fn tree(files: &Files) -> BTreeMap<String, Vec<u8>> {
    let mut tree = BTreeMap::new();
    for stat in files.list(None, None).await.unwrap() {
        let bytes = usize::try_from(stat.bytes).unwrap();
        let content = files.read(&stat.path, 0, bytes.min(SPAN_BYTES_MAX)).await;
        tree.insert(stat.path.to_string(), content.unwrap());
    }
    tree
}

#[tokio::test(start_paused = true)]
async fn files_are_made_written_read_listed_renamed_and_removed() {
    for world in [
        three(),
        World::new(Layout::SINGLE),
        World::new(Layout::SHARDED),
    ] {
        let files = files(&world).await;
        let (a, b) = (path("a"), path("dir/b"));
        assert_eq!(files.stat(&a).await, Err(FileError::NotFound(a.clone())));
        files.create(&a).await.unwrap();
        assert_eq!(files.create(&a).await, Err(FileError::Exists(a.clone())));
        files.write(&a, 3, b"text").await.unwrap();
        assert_eq!(files.read(&a, 0, 100).await.unwrap(), b"\0\0\0text");
        assert_eq!(files.read(&a, 5, 1).await.unwrap(), b"x");
        assert_eq!(files.read(&a, 9, 1).await.unwrap(), b"");
        files.write(&a, 0, b"new").await.unwrap();
        files.rename(&a, &b, false).await.unwrap();
        assert_eq!(files.stat(&b).await.unwrap().bytes, 7);
        assert_eq!(
            files.read(&a, 0, 1).await,
            Err(FileError::NotFound(a.clone()))
        );
        files.sync().await.unwrap();
        // Another one sees the same.
        let other = reader(&world);
        assert_eq!(
            tree(&other).await,
            BTreeMap::from([("dir/b".to_owned(), b"newtext".to_vec())])
        );
        files.remove(&b).await.unwrap();
        assert_eq!(other.stat(&b).await, Err(FileError::NotFound(b.clone())));
        assert_eq!(files.remove(&b).await, Err(FileError::NotFound(b)));
        assert!(other.create(&a).await.is_err(), "it only reads");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_or_written_beyond_the_end_is_zero_when_the_file_grows() {
    let world = three();
    let files = files(&world).await;
    let name = path("f");
    files.create(&name).await.unwrap();
    let long = vec![7; 3 * BLOCK_BYTES];
    files.write(&name, 0, &long).await.unwrap();
    files.set_length(&name, 10).await.unwrap();
    files
        .set_length(&name, 2 * BLOCK_BYTES as u64 + 5)
        .await
        .unwrap();
    let mut expected = vec![0; 2 * BLOCK_BYTES + 5];
    expected[..10].fill(7);
    assert_eq!(
        files.read(&name, 0, SPAN_BYTES_MAX).await.unwrap(),
        expected
    );
    // The third block is still full of sevens beyond the end.
    files
        .write(&name, 3 * BLOCK_BYTES as u64 - 1, b"x")
        .await
        .unwrap();
    expected.resize(3 * BLOCK_BYTES, 0);
    expected[3 * BLOCK_BYTES - 1] = b'x';
    assert_eq!(
        files.read(&name, 0, SPAN_BYTES_MAX).await.unwrap(),
        expected
    );
    files.set_length(&name, 0).await.unwrap();
    files.set_length(&name, 9).await.unwrap();
    assert_eq!(files.read(&name, 0, 100).await.unwrap(), [0; 9]);
    files.set_length(&name, LENGTH_MAX).await.unwrap();
    assert_eq!(files.read(&name, LENGTH_MAX - 1, 100).await.unwrap(), [0]);
    let longer = files.set_length(&name, LENGTH_MAX + 1).await.unwrap_err();
    assert!(matches!(longer, FileError::TooLong { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_no_folder() {
    let world = World::new(Layout::SINGLE);
    let files = files(&world).await;
    files.create(&path("a/b")).await.unwrap();
    for in_the_way in ["a", "a/b/c", "a/b/c/d"] {
        let refused = files.create(&path(in_the_way)).await.unwrap_err();
        assert!(matches!(refused, FileError::Folder(_)), "{in_the_way}");
    }
    files.create(&path("ab")).await.unwrap();
    // Into a folder of its own name: what was in the way is itself.
    files.rename(&path("a/b"), &path("a"), false).await.unwrap();
    files.rename(&path("a"), &path("a/b"), false).await.unwrap();
    let into = files.rename(&path("ab"), &path("a/b/c"), false).await;
    assert!(matches!(into, Err(FileError::Folder(_))), "{into:?}");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_files_fill_buckets_and_are_listed_in_pages() {
    let world = World::new(Layout::SINGLE);
    let files = files(&world).await;
    for number in 0..1_000 {
        files
            .create(&path(&format!("folder/{number:04}")))
            .await
            .unwrap();
    }
    files.create(&path("other")).await.unwrap();
    let (folder, mut after, mut seen) = (path("folder"), None, 0);
    let other = reader(&world);
    loop {
        let page = other.list(Some(&folder), after.as_ref()).await.unwrap();
        for stat in &page {
            assert_eq!(stat.path, path(&format!("folder/{seen:04}")));
            seen += 1;
        }
        if page.len() < PAGE_MAX {
            break;
        }
        after = page.last().map(|stat| stat.path.clone());
    }
    assert_eq!(seen, 1_000);
}

/// Puts two files into different buckets.
async fn apart(files: &Files) -> (FilePath, FilePath) {
    let (from, to) = (path("from"), path("to"));
    files.create(&from).await.unwrap();
    files.write(&from, 0, b"new").await.unwrap();
    for number in 0..40 {
        let filler = format!("{number}/{}", ["x".repeat(200).as_str(); 2].join("/"));
        files.create(&path(&filler)).await.unwrap();
    }
    files.create(&to).await.unwrap();
    files.write(&to, 0, b"old").await.unwrap();
    (from, to)
}

/// The members die after so many more writes, each number of them: it is done or not.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_is_cut_off_anywhere_happened_wholly_or_not_at_all() {
    let (mut before, mut after) = (0, 0);
    for writes in 0..8 {
        for apart_first in [false, true] {
            let world = three();
            let files = files(&world).await;
            let (from, to) = if apart_first {
                apart(&files).await
            } else {
                let names = (path("from"), path("to"));
                for (name, text) in [(&names.0, b"new"), (&names.1, b"old")] {
                    files.create(name).await.unwrap();
                    files.write(name, 0, text).await.unwrap();
                }
                names
            };
            let count = files.list(None, None).await.unwrap().len();
            for disk in &world.disks {
                disk.kill_after(writes);
            }
            let renamed = files.rename(&from, &to, true).await;
            world.revive();
            for files in [reader(&world), self::files(&world).await] {
                let there = files.read(&to, 0, 9).await.unwrap();
                let left = files.read(&from, 0, 9).await;
                let listed = files.list(None, None).await.unwrap().len();
                if there == b"new" {
                    assert_eq!(left, Err(FileError::NotFound(from.clone())), "{writes}");
                    assert_eq!(listed, count - 1);
                    after += 1;
                } else {
                    assert_eq!(
                        (there.as_slice(), left.as_deref()),
                        (&b"old"[..], Ok(&b"new"[..]))
                    );
                    assert_eq!(listed, count);
                    assert!(renamed.is_err(), "it said that it was done");
                    before += 1;
                }
            }
        }
    }
    assert!(before > 3 && after > 3, "{before} before, {after} after");
}

/// A model of files, and what each change makes of it.
type Model = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone)]
enum Change {
    Create(String),
    Append(String, Vec<u8>),
    SetLength(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn drawn(chance: &mut Chance) -> Self {
        let name = |chance: &mut Chance| format!("f{}", chance.below(4));
        match chance.below(6) {
            0 => Self::Create(name(chance)),
            1 | 2 => {
                let byte = u8::try_from(chance.below(255)).unwrap() + 1;
                Self::Append(name(chance), vec![byte; chance.below(90_000) + 1])
            }
            3 => Self::SetLength(name(chance), chance.below(100_000)),
            4 => Self::Rename(name(chance), name(chance)),
            _ => Self::Remove(name(chance)),
        }
    }

    /// The model after it, if it may be done.
    fn on(&self, model: &Model) -> Option<Model> {
        let mut model = model.clone();
        match self {
            Self::Create(name) => {
                let is_new = model.insert(name.clone(), Vec::new()).is_none();
                return is_new.then_some(model);
            }
            Self::Append(name, bytes) => model.get_mut(name)?.extend(bytes),
            Self::SetLength(name, length) => model.get_mut(name)?.resize(*length, 0),
            Self::Rename(from, to) => {
                let content = model.remove(from)?;
                model.insert(to.clone(), content);
            }
            Self::Remove(name) => {
                model.remove(name)?;
            }
        }
        Some(model)
    }

    async fn done(&self, files: &Files) -> Result<(), FileError> {
        match self {
            Self::Create(name) => files.create(&path(name)).await,
            Self::Append(name, bytes) => {
                let end = files.stat(&path(name)).await?.bytes;
                files.write(&path(name), end, bytes).await
            }
            Self::SetLength(name, length) => files.set_length(&path(name), *length as u64).await,
            Self::Rename(from, to) => files.rename(&path(from), &path(to), true).await,
            Self::Remove(name) => files.remove(&path(name)).await,
        }
    }
}

/// Random changes; at some the members die, or all lose power, and another writer goes on.
#[tokio::test(start_paused = true)]
async fn changes_that_are_cut_off_anywhere_are_done_or_not() {
    for seed in 1..=24 {
        let layout = if seed % 8 == 0 {
            Layout::SHARDED
        } else {
            Layout::replicated(3).unwrap()
        };
        let world = World::seeded(layout, seed);
        let mut chance = Chance::new(seed);
        let mut writer = files(&world).await;
        let mut model = Model::new();
        for _ in 0..40 {
            let change = Change::drawn(&mut chance);
            let is_cut = chance.one_in(3);
            if is_cut {
                let writes = chance.below(5);
                for disk in &world.disks {
                    disk.kill_after(writes + chance.below(2));
                }
            }
            let done = change.done(&writer).await;
            let after = change.on(&model);
            if is_cut {
                world.revive();
                writer = files(&world).await;
            }
            let found = tree(&writer).await;
            match (done, after) {
                (Ok(()), Some(after)) => model = after,
                (Err(error), Some(after)) => {
                    assert!(is_cut, "seed {seed}: {change:?}: {error}");
                    if found == after {
                        model = after;
                    }
                }
                (done, None) => assert!(done.is_err(), "seed {seed}: {change:?}"),
            }
            assert!(found == model, "seed {seed}: half done: {change:?}");
        }
        writer.sync().await.unwrap();
        for disk in &world.disks {
            disk.lose_power();
        }
        assert!(
            tree(&files(&world).await).await == model,
            "seed {seed}: lost"
        );
        assert!(
            tree(&reader(&world)).await == model,
            "seed {seed}: lost for readers"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_removed_files_goes_with_a_repair_and_numbers_do_not_come_again() {
    let world = three();
    let files = files(&world).await;
    let name = path("f");
    for text in [b"one", b"two"] {
        files.create(&name).await.unwrap();
        files.write(&name, 0, text).await.unwrap();
        world.kill([0]);
        files.remove(&name).await.unwrap();
        world.revive();
    }
    files.create(&name).await.unwrap();
    files.set_length(&name, 9).await.unwrap();
    assert_eq!(files.read(&name, 0, 9).await.unwrap(), [0; 9]);
    files.write(&name, 0, b"three").await.unwrap();
    files.sync().await.unwrap();
    let before = world.disks[0].bytes().len();
    let mut repair = Repair::new();
    while !repair.is_over() {
        files.repair_step(&mut repair).await.unwrap();
    }
    assert_eq!(repair.repaired().files_removed, 2, "{before} pieces");
    assert_eq!(files.read(&name, 0, 9).await.unwrap(), b"three\0\0\0\0");
}
