//! Containers: against a `BTreeMap`, and what readers and writers see of each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hypermesh_storage::{BlobError, Blobs, OBJECT_NAME_BYTES_MAX, Stores};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stores;

const QUOTA: u64 = 200;
const WHOLE: (u64, u64) = (0, u64::MAX);

/// Container to objects.
type Model = BTreeMap<u8, BTreeMap<u8, Vec<u8>>>;

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Clear(u8, bool),
    Write(u8, u8, Vec<u8>),
    Delete(u8, Vec<u8>),
    Copy((u8, u8), (u8, u8)),
    Move((u8, u8), (u8, u8)),
    Abandon(Vec<u8>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let few = || 0..3_u8;
    let content = || vec(any::<u8>(), 0..80);
    let id = || (few(), few());
    prop_oneof![
        3 => few().prop_map(Step::Create),
        1 => (few(), any::<bool>()).prop_map(|(c, whole)| Step::Clear(c, whole)),
        8 => (few(), few(), content()).prop_map(|(c, o, bytes)| Step::Write(c, o, bytes)),
        2 => (few(), vec(few(), 0..3)).prop_map(|(c, names)| Step::Delete(c, names)),
        2 => (id(), id()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (id(), id()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => content().prop_map(Step::Abandon),
        1 => Just(Step::Reopen),
    ]
}

fn used(model: &Model) -> u64 {
    let objects = model
        .values()
        .flat_map(BTreeMap::values)
        .map(|content| content.len() as u64 + 1);
    model.len() as u64 + objects.sum::<u64>()
}

pub(crate) fn write(
    blobs: &Blobs,
    to: (&str, &str),
    content: &[u8],
    quota: u64,
) -> Result<(), BlobError> {
    let mut writer = blobs.write("w", quota)?;
    for piece in content.chunks(7) {
        writer.write(piece)?;
    }
    writer.finish(to.0, to.1)
}

fn read(blobs: &Blobs, from: (&str, &str), range: (u64, u64)) -> Result<Vec<u8>, BlobError> {
    let mut reader = blobs.read("w", from, range)?;
    let mut content = Vec::new();
    loop {
        let piece = reader.read(11)?;
        if piece.is_empty() {
            assert_eq!(reader.left(), 0);
            return Ok(content);
        }
        content.extend(piece);
    }
}

/// What the model becomes; none if containers or objects for it are absent.
fn after(model: &Model, step: &Step) -> Option<Model> {
    let mut after = model.clone();
    match step {
        Step::Create(c) => {
            if after.insert(*c, BTreeMap::new()).is_some() {
                return None;
            }
        }
        Step::Clear(c, whole) => {
            after.get_mut(c)?.clear();
            if *whole {
                after.remove(c);
            }
        }
        Step::Write(c, o, content) => {
            after.get_mut(c)?.insert(*o, content.clone());
        }
        Step::Delete(c, names) => {
            for name in names {
                after
                    .entry(*c)
                    .and_modify(|objects| drop(objects.remove(name)));
            }
        }
        Step::Copy(from, to) => {
            let content = after.get(&from.0)?.get(&from.1)?.clone();
            after.get_mut(&to.0)?.insert(to.1, content);
        }
        Step::Move(from, to) => {
            after.get(&to.0)?;
            let content = after.get_mut(&from.0)?.remove(&from.1)?;
            after.get_mut(&to.0)?.insert(to.1, content);
        }
        Step::Abandon(_) | Step::Reopen => {}
    }
    Some(after)
}

fn take(blobs: &Blobs, step: &Step) -> Result<(), BlobError> {
    let text = |(c, o): (u8, u8)| (c.to_string(), o.to_string());
    match step {
        Step::Create(c) => blobs.create_container("w", &c.to_string(), QUOTA),
        Step::Clear(c, whole) => blobs.clear("w", &c.to_string(), *whole),
        Step::Write(c, o, content) => {
            write(blobs, (&c.to_string(), &o.to_string()), content, QUOTA)
        }
        Step::Delete(c, names) => {
            let names = names.iter().map(ToString::to_string).collect();
            blobs.delete("w", &c.to_string(), names)
        }
        Step::Copy(from, to) => {
            let (from, to) = (text(*from), text(*to));
            blobs.copy("w", (&from.0, &from.1), (&to.0, &to.1), QUOTA)
        }
        Step::Move(from, to) => {
            let (from, to) = (text(*from), text(*to));
            blobs.rename("w", (&from.0, &from.1), (&to.0, &to.1), QUOTA)
        }
        Step::Abandon(content) => blobs.write("w", QUOTA)?.write(content),
        Step::Reopen => Ok(()),
    }
}

fn compare(blobs: &Blobs, folder: &Path, model: &Model) {
    assert_eq!(blobs.used_bytes("w").unwrap(), used(model));
    for c in 0..3 {
        let container = c.to_string();
        assert_eq!(
            blobs.container("w", &container).unwrap().is_some(),
            model.contains_key(&c)
        );
        let objects = model.get(&c).cloned().unwrap_or_default();
        let names: Vec<String> = objects.keys().map(ToString::to_string).collect();
        assert_eq!(blobs.objects("w", &container, None).unwrap().keys, names);
        for (name, content) in names.iter().zip(objects.values()) {
            let at = (container.as_str(), name.as_str());
            assert_eq!(
                blobs.object("w", at.0, at.1).unwrap().unwrap().bytes,
                content.len() as u64
            );
            assert_eq!(&read(blobs, at, WHOLE).unwrap(), content);
        }
    }
    let objects: usize = model.values().map(BTreeMap::len).sum();
    assert_eq!(fs::read_dir(folder.join("blobs")).unwrap().count(), objects);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn containers_are_what_maps_are_with_a_quota(steps in vec(step(), 1..40)) {
        let (folder, mut stores) = stores();
        let mut model = Model::new();
        for step in steps {
            let result = take(stores.blobs(), &step);
            match after(&model, &step) {
                None => prop_assert!(matches!(
                    result,
                    Err(BlobError::NoContainer(_) | BlobError::NoObject { .. } | BlobError::Exists(_))
                ), "{step:?} {result:?}"),
                Some(next) if used(&next) > QUOTA && used(&next) > used(&model) => prop_assert!(
                    matches!(result, Err(BlobError::Quota { limit: QUOTA, .. })), "{step:?} {result:?}"
                ),
                Some(next) => {
                    prop_assert!(result.is_ok(), "{step:?} {result:?}");
                    model = next;
                }
            }
            if matches!(step, Step::Reopen) {
                drop(stores);
                stores = Stores::open(folder.path()).unwrap();
            }
        }
        compare(stores.blobs(), folder.path(), &model);
        drop(stores);
        let stores = Stores::open(folder.path()).unwrap();
        compare(stores.blobs(), folder.path(), &model);
        stores.remove("w").unwrap();
        compare(stores.blobs(), folder.path(), &Model::new());
    }
}

#[test]
fn ranges_are_inclusive_and_end_where_the_object_does() {
    let (_folder, stores) = stores();
    let blobs = stores.blobs();
    blobs.create_container("w", "c", QUOTA).unwrap();
    write(blobs, ("c", "o"), b"0123456789", QUOTA).unwrap();
    for (range, expected) in [
        ((0, 0), "0"),
        ((2, 4), "234"),
        ((8, 100), "89"),
        ((10, u64::MAX), ""),
        ((u64::MAX, u64::MAX), ""),
        ((5, 4), ""),
        ((7, 2), ""),
    ] {
        let found = read(blobs, ("c", "o"), range).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), expected, "{range:?}");
    }
}

#[test]
fn a_reader_keeps_what_it_opened() {
    let (folder, stores) = stores();
    let blobs = stores.blobs();
    blobs.create_container("w", "c", QUOTA).unwrap();
    write(blobs, ("c", "o"), b"old", QUOTA).unwrap();
    let mut reader = blobs.read("w", ("c", "o"), WHOLE).unwrap();
    write(blobs, ("c", "o"), b"new", QUOTA).unwrap();
    blobs.clear("w", "c", true).unwrap();
    assert_eq!(reader.read(100).unwrap(), b"old");
    assert_eq!(
        fs::read_dir(folder.path().join("blobs")).unwrap().count(),
        0
    );
}

#[test]
fn workloads_see_only_their_own() {
    let (_folder, stores) = stores();
    let blobs = stores.blobs();
    blobs.create_container("w", "c", QUOTA).unwrap();
    write(blobs, ("c", "o"), b"mine", QUOTA).unwrap();
    assert!(blobs.container("v", "c").unwrap().is_none());
    assert!(blobs.read("v", ("c", "o"), WHOLE).is_err());
    assert!(blobs.copy("v", ("c", "o"), ("c", "p"), QUOTA).is_err());
    blobs.delete("v", "c", vec!["o".to_owned()]).unwrap();
    stores.remove("v").unwrap();
    assert_eq!(read(blobs, ("c", "o"), WHOLE).unwrap(), b"mine");
}

#[test]
fn unfinished_contents_count_before_they_fill_the_disk() {
    let (folder, stores) = stores();
    let blobs = stores.blobs();
    blobs.create_container("w", "c", QUOTA).unwrap();
    let mut first = blobs.write("w", QUOTA).unwrap();
    first.write(&[0; 150]).unwrap();
    let mut second = blobs.write("w", QUOTA).unwrap();
    let refused = second.write(&[0; 51]);
    assert!(
        matches!(refused, Err(BlobError::Quota { asked: 201, .. })),
        "{refused:?}"
    );
    drop(first);
    second.write(&[0; 51]).unwrap();
    second.finish("c", "o").unwrap();
    assert_eq!(
        fs::read_dir(folder.path().join("blobs")).unwrap().count(),
        1
    );
}

#[test]
fn names_have_bounds() {
    let (folder, stores) = stores();
    let blobs = stores.blobs();
    assert!(matches!(
        blobs.create_container("w", "", QUOTA),
        Err(BlobError::Name { .. })
    ));
    blobs.create_container("w", "c", QUOTA).unwrap();
    for name in ["", "a\u{7f}", &"x".repeat(OBJECT_NAME_BYTES_MAX + 1)] {
        let refused = write(blobs, ("c", name), b"", u64::MAX);
        assert!(
            matches!(refused, Err(BlobError::Name { .. })),
            "{refused:?}"
        );
    }
    // Names are keys, never paths.
    write(blobs, ("c", "../../escaped"), b"", QUOTA).unwrap();
    let refused = write(blobs, ("absent", "o"), b"", QUOTA);
    assert!(matches!(refused, Err(BlobError::NoContainer(_))));
    assert_eq!(
        fs::read_dir(folder.path().join("blobs")).unwrap().count(),
        1
    );
}
