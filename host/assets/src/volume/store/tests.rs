//! A store on a disk that loses, cuts and refuses: what was flushed is there, what is served is right.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use types::Digest;

use super::*;
use crate::volume::Listed;

const BYTES: u64 = 128 << 10;
const SECTOR: usize = 512;

/// A disk of a test: what is durable, and what was written since.
#[derive(Debug, Clone, Default)]
struct Sim(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    durable: Vec<u8>,
    seen: Vec<u8>,
    written: Vec<(usize, Vec<u8>)>,
    /// Writes and flushes until one fails.
    fails_in: Option<u32>,
}

fn put(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    if bytes.len() < at + more.len() {
        bytes.resize(at + more.len(), 0);
    }
    bytes[at..at + more.len()].copy_from_slice(more);
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fails_in {
            Some(0) => Err(io::Error::other("made to fail")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for Sim {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let at = usize::try_from(at).unwrap();
        for (offset, byte) in into.iter_mut().enumerate() {
            *byte = state.seen.get(at + offset).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let at = usize::try_from(at).unwrap();
        // What fails may have been written in part.
        let stepped = state.step();
        let done = if stepped.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        put(&mut state.seen, at, &bytes[..done]);
        state.written.push((at, bytes[..done].to_vec()));
        stepped
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        for (at, bytes) in std::mem::take(&mut state.written) {
            put(&mut state.durable, at, &bytes);
        }
        Ok(())
    }
}

impl Sim {
    fn new() -> Self {
        let sim = Self::default();
        let first = first_head(lease(), 5).unwrap();
        {
            let mut state = sim.0.lock().unwrap();
            state.durable.clone_from(&first);
            state.seen = first;
        }
        sim
    }

    fn open(&self) -> Result<Store, OpenStoreError> {
        Store::open(Box::new(self.clone()), lease(), BYTES)
    }

    /// Loses power: of each sector that was written and not flushed, chance says whether it is there.
    fn lose_power(&self, chance: &mut impl FnMut() -> bool) {
        let mut state = self.0.lock().unwrap();
        state.fails_in = None;
        for (at, bytes) in std::mem::take(&mut state.written) {
            let mut from = 0;
            while from < bytes.len() {
                let until = (SECTOR - (at + from) % SECTOR + from).min(bytes.len());
                if chance() {
                    let sector = bytes[from..until].to_vec();
                    put(&mut state.durable, at + from, &sector);
                }
                from = until;
            }
        }
        state.seen = state.durable.clone();
    }
}

fn lease() -> LeaseId {
    LeaseId::from_digest(Digest::from_bytes([1; 32]))
}

fn key(block: u64) -> BlockKey {
    BlockKey {
        file: block / 4,
        block: block % 4,
    }
}

fn version(count: u64) -> Version {
    Version { epoch: 1, count }
}

fn write(block: u64, count: u64, keep: Option<u64>, bytes: Vec<u8>) -> MemberOp {
    MemberOp::Write {
        epoch: 1,
        key: key(block),
        version: version(count),
        keep: keep.map(version),
        bytes,
    }
}

/// What a store is to hold.
type Model = BTreeMap<BlockKey, Vec<(Version, Vec<u8>)>>;

fn held(store: &mut Store) -> Model {
    let Ok(MemberDone::Listed(listed)) = store.apply(MemberOp::List { after: None }) else {
        panic!("it lists");
    };
    let mut model = Model::new();
    for block in listed {
        let read = block.versions.iter().map(|version| {
            let (key, version) = (block.key, Some(*version));
            match store.apply(MemberOp::Read { key, version }) {
                Ok(MemberDone::Read(Some(read))) => read,
                other => panic!("{other:?}"),
            }
        });
        model.insert(block.key, read.collect());
    }
    model
}

fn change(model: &mut Model, operation: &MemberOp) {
    match operation {
        MemberOp::Write {
            key,
            version,
            keep,
            bytes,
            ..
        } => {
            let kept = model.entry(*key).or_default();
            if kept.iter().all(|(found, _)| found < version) {
                kept.retain(|(found, _)| Some(*found) == *keep);
                kept.push((*version, bytes.clone()));
                kept.sort_by_key(|(version, _)| *version);
            }
        }
        MemberOp::Remove { file, .. } => model.retain(|key, _| key.file != *file),
        _ => {}
    }
}

fn operations() -> impl Strategy<Value = Vec<MemberOp>> {
    let one = prop_oneof![
        8 => (0_u64..8, any::<bool>(), 1_usize..9_000, any::<u8>())
            .prop_map(|(block, keeps, bytes, fill)| (0_u8, block, keeps, bytes, fill)),
        2 => (0_u64..8).prop_map(|block| (1, block, false, 0, 0)),
        1 => Just((2, 0, false, 0, 0)),
    ];
    proptest::collection::vec(one, 1..60).prop_map(|drawn| {
        let mut last = BTreeMap::new();
        let operations = drawn.into_iter().zip(1_u64..);
        let operations = operations.map(|((kind, block, keeps, bytes, fill), count)| match kind {
            0 => {
                let before = last.insert(block, count);
                write(block, count, before.filter(|_| keeps), vec![fill; bytes])
            }
            1 => MemberOp::Flush,
            _ => MemberOp::Remove { epoch: 1, file: 0 },
        });
        operations.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whenever power is lost, and whatever fails before: what is there is what was asked up to some
    /// operation, not before the last flush that was answered.
    #[test]
    fn what_is_left_is_what_was_asked_up_to_some_moment_after_the_last_flush(
        operations in operations(),
        // Operations of each life, and what fails in it.
        lives in proptest::collection::vec((1_usize..30, proptest::option::of(0_u32..60)), 1..4),
        seed in any::<u64>(),
    ) {
        let sim = Sim::new();
        sim.open().unwrap().apply(MemberOp::Fence { epoch: 1 }).unwrap();
        let mut state = seed | 1;
        let mut chance = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 3 > 0
        };
        let mut asked = operations.into_iter();
        let mut now = Model::new();
        for (count, fails_in) in lives {
            let mut store = sim.open().unwrap();
            prop_assert_eq!(held(&mut store), now.clone());
            let mut possible = vec![now];
            sim.0.lock().unwrap().fails_in = fails_in;
            for operation in asked.by_ref().take(count) {
                let mut next = possible.last().cloned().unwrap_or_default();
                let flushes = operation == MemberOp::Flush;
                change(&mut next, &operation);
                match store.apply(operation) {
                    Ok(_) if flushes => possible = vec![next],
                    Ok(_) => possible.push(next),
                    // It may be there, if only its answer was lost.
                    Err(MemberError::Disk(_)) => {
                        possible.push(next);
                        break;
                    }
                    Err(MemberError::Full { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            drop(store);
            sim.lose_power(&mut chance);
            let mut store = sim.open().unwrap();
            now = held(&mut store);
            prop_assert!(possible.contains(&now), "none of {} states", possible.len());
            let bytes = sim.bytes().unwrap();
            prop_assert!(bytes <= BYTES + OVERHEAD_BYTES, "{} bytes", bytes);
        }
    }

    /// Whatever byte changes on the disk: it is said, or nothing is different.
    #[test]
    fn what_was_changed_on_the_disk_is_named_and_not_served(
        operations in operations(),
        at in any::<prop::sample::Index>(),
        bits in 1_u8..=255,
    ) {
        let sim = Sim::new();
        let mut store = sim.open().unwrap();
        store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
        for operation in operations {
            let _ = store.apply(operation);
        }
        store.apply(MemberOp::Flush).unwrap();
        let before = held(&mut store);
        drop(store);
        {
            let mut state = sim.0.lock().unwrap();
            let written = state.durable.len();
            state.durable[at.index(written)] ^= bits;
        }
        sim.lose_power(&mut || true);
        let Ok(mut store) = sim.open() else {
            return Ok(());
        };
        let mut fewer = 0;
        for (key, kept) in &before {
            for (at, (version, bytes)) in kept.iter().enumerate() {
                let read = store.apply(MemberOp::Read { key: *key, version: Some(*version) });
                match read {
                    Ok(MemberDone::Read(Some(found))) => {
                        prop_assert_eq!(found, (*version, bytes.clone()));
                    }
                    Err(MemberError::Disk(text)) => {
                        prop_assert!(text.contains("damaged"), "{}", text);
                        fewer += 1;
                    }
                    // Of what is only beside, the header may be lost unseen.
                    Ok(MemberDone::Read(None)) if at + 1 < kept.len() => fewer += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        prop_assert!(fewer <= 1, "one byte is of one piece");
    }
}

#[test]
fn what_was_leased_is_a_bound_and_what_is_superseded_comes_back() {
    let sim = Sim::new();
    let mut store = sim.open().unwrap();
    store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
    let piece = vec![1; 30_000];
    // Of one a second version, as a writer has it, and a third until the first is dropped.
    for count in 1..200 {
        let keep = (count > 2 && count % 2 == 0).then(|| count - 2);
        store
            .apply(write(count % 2, count, keep, piece.clone()))
            .unwrap();
    }
    assert!(store.used_bytes() <= BYTES);
    let before = held(&mut store);
    let full = store.apply(write(2, 200, None, vec![1; 45_000]));
    let wanted_bytes = 45_568;
    let bytes = BYTES;
    assert_eq!(
        full,
        Err(MemberError::Full {
            wanted_bytes,
            bytes
        })
    );
    assert_eq!(held(&mut store), before, "what was there is there");
    // There is always room to remove.
    let remove = MemberOp::Remove { epoch: 1, file: 0 };
    for _ in 0..5 {
        assert_eq!(store.apply(remove.clone()), Ok(MemberDone::Done));
    }
    assert_eq!(held(&mut store), Model::new());
    // One more would leave no room to rewrite.
    for count in 201..204 {
        store
            .apply(write(count % 4, count, None, piece.clone()))
            .unwrap();
    }
    assert!(sim.bytes().unwrap() <= BYTES + OVERHEAD_BYTES);
}

#[test]
fn what_is_settled_gives_its_room_back_and_nothing_else() {
    let sim = Sim::new();
    let mut store = sim.open().unwrap();
    store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
    // Each of three blocks once, and one twice while it is written: more would not fit.
    let piece = vec![1; 30_000];
    for round in 0..20 {
        for block in 0..3 {
            let count = round * 3 + block + 1;
            let keep = (round > 0).then(|| count - 3);
            store
                .apply(write(block, count, keep, piece.clone()))
                .unwrap();
            store.apply(MemberOp::Flush).unwrap();
            let settle = |version| MemberOp::Settle {
                epoch: 1,
                pieces: vec![(key(block), version)],
            };
            store.apply(settle(version(1_000))).unwrap();
            let before = usize::from(round > 0);
            assert_eq!(held(&mut store)[&key(block)].len(), 1 + before);
            store.apply(settle(version(count))).unwrap();
            assert_eq!(held(&mut store)[&key(block)].len(), 1);
        }
    }
    let other = MemberOp::Settle {
        epoch: 2,
        pieces: Vec::new(),
    };
    assert_eq!(store.apply(other), Err(MemberError::Fenced { fenced: 1 }));
}

#[test]
fn a_writer_that_was_fenced_writes_nothing_and_fences_survive() {
    let sim = Sim::new();
    let mut store = sim.open().unwrap();
    let fenced = |fenced| Err(MemberError::Fenced { fenced });
    assert_eq!(store.apply(write(0, 1, None, vec![1])), fenced(0));
    store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
    store.apply(write(0, 1, None, vec![1])).unwrap();
    store.apply(MemberOp::Fence { epoch: 9 }).unwrap();
    sim.lose_power(&mut || false);
    let mut store = sim.open().unwrap();
    assert_eq!(store.apply(MemberOp::Epoch), Ok(MemberDone::Epoch(9)));
    assert_eq!(store.apply(MemberOp::Fence { epoch: 9 }), fenced(9));
    assert_eq!(store.apply(write(0, 2, None, vec![2])), fenced(9));
    let remove = MemberOp::Remove { epoch: 1, file: 0 };
    assert_eq!(store.apply(remove), fenced(9));
    assert_eq!(held(&mut store).len(), 1);
}

#[test]
fn questions_are_bounded_and_listed_page_by_page() {
    let sim = Sim::new();
    let mut store = sim.open().unwrap();
    let keys = vec![key(0); KEYS_MAX + 1];
    let asked = store.apply(MemberOp::Versions { keys });
    assert!(matches!(asked, Err(MemberError::Invalid(_))), "{asked:?}");
    store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
    let long = store.apply(write(0, 1, None, vec![0; PIECE_BYTES_MAX + 1]));
    assert!(matches!(long, Err(MemberError::Invalid(_))), "{long:?}");
    store.apply(write(0, 1, None, vec![1])).unwrap();
    store.apply(write(0, 2, Some(1), vec![2])).unwrap();
    // Again, it changes nothing.
    store.apply(write(0, 1, None, vec![1])).unwrap();
    let keys = vec![key(1), key(0)];
    let versions = MemberDone::Versions(vec![vec![], vec![version(1), version(2)]]);
    assert_eq!(store.apply(MemberOp::Versions { keys }), Ok(versions));
    let read = |store: &mut Store, version| {
        store.apply(MemberOp::Read {
            key: key(0),
            version,
        })
    };
    let greatest = MemberDone::Read(Some((version(2), vec![2])));
    assert_eq!(read(&mut store, None), Ok(greatest));
    assert_eq!(
        read(&mut store, Some(version(3))),
        Ok(MemberDone::Read(None))
    );
    store.apply(write(7, 3, None, vec![3])).unwrap();
    let listed = MemberDone::Listed(vec![Listed {
        key: key(7),
        versions: vec![version(3)],
    }]);
    let after = Some(key(0));
    assert_eq!(store.apply(MemberOp::List { after }), Ok(listed));
}

#[test]
fn a_store_is_found_again_in_its_folder_and_is_of_one_lease() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("volumes").join("one");
    assert_eq!(made_ms(&folder), None);
    let mut store = Store::at(&folder, lease(), BYTES, 7).unwrap();
    store.apply(MemberOp::Fence { epoch: 1 }).unwrap();
    store.apply(write(3, 1, None, vec![9; 5_000])).unwrap();
    drop(store);
    assert_eq!(made_ms(&folder), Some(7));
    let mut again = Store::at(&folder, lease(), BYTES, 8).unwrap();
    assert_eq!(held(&mut again).len(), 1);
    let other = LeaseId::from_digest(Digest::from_bytes([2; 32]));
    let refused = Store::at(&folder, other, BYTES, 8);
    assert!(
        matches!(refused, Err(OpenStoreError::Damaged(_))),
        "{refused:?}"
    );
    assert_eq!(made_ms(&folder), Some(7), "it stays what it is");
}
