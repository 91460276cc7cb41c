//! What storage takes from peers: slices of artifacts, and manifests of shards.

use std::cell::OnceCell;
use std::sync::OnceLock;

use storage::{
    Artifacts, GROUP_BYTES, Partial, SHARDS, ShardManifest, SizeProof, group_count, slices_of,
};
use tempfile::TempDir;
use types::Digest;

use crate::Target;
use crate::targets::chosen;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "storage_size_proof",
        covers: &["SizeProof::verify"],
        run: size_proof,
        seeds: size_proofs,
    },
    Target {
        name: "storage_slice",
        covers: &["Partial::write_slice"],
        run: slice,
        seeds: slices,
    },
    Target {
        name: "storage_shard_manifest",
        covers: &["ShardManifest::decode"],
        run: shard_manifest,
        seeds: shard_manifests,
    },
];

/// Two full groups and a bit: a tree with two levels.
const BYTES: u64 = 2 * GROUP_BYTES + 100;

/// An artifact as its holder sends it.
struct Whole {
    digest: Digest,
    content: Vec<u8>,
    /// The slice of the last group, and that of all.
    last: Vec<u8>,
    all: Vec<u8>,
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for one artifact");
        let store = Artifacts::open(folder.path()).expect("a new store opens");
        let size = usize::try_from(BYTES).expect("it is small");
        let content: Vec<u8> = (0..=250).cycle().take(size).collect();
        let digest = store.store(&content).expect("an artifact fits");
        let mut reader = store.reader(&digest).expect("it is there");
        let groups = group_count(BYTES);
        let mut slice = |groups| {
            let mut encoded = Vec::new();
            reader.slice(&groups, &mut encoded).expect("it is whole");
            encoded
        };
        let (last, all) = (slice(groups - 1..groups), slice(0..groups));
        Whole {
            digest,
            content,
            last,
            all,
        }
    })
}

/// Eight bytes of size, then the slice.
fn size_proof(bytes: &[u8]) {
    let Some((size, encoded)) = bytes.split_first_chunk() else {
        return;
    };
    let (whole, size) = (whole(), u64::from_le_bytes(*size));
    if let Ok(proof) = SizeProof::verify(whole.digest, size, encoded) {
        assert_eq!(proof.bytes(), BYTES, "a size that is a lie was proven");
    }
}

fn size_proofs() -> Vec<Vec<u8>> {
    let with = |size: u64| [&size.to_le_bytes(), whole().last.as_slice()].concat();
    vec![with(BYTES), with(0), with(u64::MAX), with(1 << 40)]
}

/// What fills a partial artifact: it must stay a part of the real one, whatever comes.
fn slice(bytes: &[u8]) {
    thread_local! {
        static FILLING: OnceCell<(TempDir, Partial)> = const { OnceCell::new() };
    }
    let (groups, encoded) = chosen(bytes);
    let (first, count) = (u64::from(groups >> 4), u64::from(groups & 15));
    FILLING.with(|filling| {
        let (_, partial) = filling.get_or_init(|| {
            let whole = whole();
            let folder = tempfile::tempdir().expect("a folder for one artifact");
            let store = Artifacts::open(folder.path()).expect("a new store opens");
            let proof = SizeProof::verify(whole.digest, BYTES, &whole.last);
            let partial = store.fill(&proof.expect("it is the last group"));
            (folder, partial.expect("there is room"))
        });
        let written = partial.write_slice(&(first..first + count), encoded);
        if written.is_ok() {
            let all = first == 0 && count == group_count(BYTES);
            assert!(
                !all || encoded == whole().all,
                "another slice was taken for all of it"
            );
        }
    });
}

fn slices() -> Vec<Vec<u8>> {
    let groups = group_count(BYTES);
    assert_eq!(slices_of(0..groups).count(), 1, "one slice holds it all");
    let with = |first: u64, count: u64, encoded: &[u8]| {
        let chosen = u8::try_from(first << 4 | count).unwrap_or(0);
        [&[chosen], encoded].concat()
    };
    let whole = whole();
    vec![
        with(0, groups, &whole.all),
        with(groups - 1, 1, &whole.last),
        with(0, 1, whole.content.get(..16_384).unwrap_or_default()),
    ]
}

fn shard_manifest(bytes: &[u8]) {
    if let Ok(manifest) = ShardManifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "{manifest:?}");
        // A size that a liar chose must not overflow.
        let _ = manifest.shard_bytes();
    }
}

fn shard_manifests() -> Vec<Vec<u8>> {
    let manifest = |bytes| ShardManifest {
        whole: Digest::from_bytes([1; 32]),
        bytes,
        shards: [Digest::from_bytes([2; 32]); SHARDS],
    };
    [0, 1_000_000, u64::MAX]
        .map(|bytes| manifest(bytes).encode())
        .to_vec()
}
