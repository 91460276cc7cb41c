//! Compiled code across restarts: seals what the compiler made, and maps only what it sealed itself.
//! Knows no disk.
//!
//! Deserialising is unsafe: whoever chooses the bytes chooses the machine code of this process. So
//! an entry carries a BLAKE3 MAC under a secret of the node, over the component's digest, the
//! fingerprint of the engine and the code. The code is read into memory first, judged there, and
//! mapped from there: a file that is mapped itself is read lazily, and whoever can write to it
//! could change it after it was judged. That costs one copy of the code.
//!
//! The MAC finds bit rot, cut files, entries of another node, component or engine, and what others
//! with write access to the folder put there. It is no help against those who can read the secret
//! or the process's memory, who are the node's own user and root.

use std::hash::{Hash as _, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use types::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::Profile;

/// Says in which use of the secret a key is good. A new layout of the entries changes the number.
const CONTEXT: &str = "HyperMesh 2026-11 compiled components, layout 1";

/// Bytes of the MAC at the end of an entry.
const MAC_BYTES: usize = blake3::OUT_LEN;

/// Where sealed code is kept. What it returns is judged before it is used, so an implementation may
/// lose and damage entries; it says in a log of its own if it fails.
pub trait CodeStore: Send + Sync {
    /// The content of an entry; none if it is not there.
    fn load(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps the parts, one after the other, as one entry, in the place of what was there.
    fn store(&self, name: &str, parts: &[&[u8]]);
    /// Forgets an entry.
    fn remove(&self, name: &str);
}

/// Compiled code that outlives the process.
pub struct CodeCache {
    store: Arc<dyn CodeStore>,
    key: [u8; blake3::KEY_LEN],
}

/// What became of looks into the cache, and what compiling cost, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompileStats {
    /// Components whose code was in the cache.
    pub cache_hits: u64,
    /// Components whose code was not there.
    pub cache_misses: u64,
    /// Components whose code was there and was refused.
    pub cache_rejected: u64,
    /// Bytes of code taken from the cache.
    pub cache_bytes_loaded: u64,
    /// Components that were compiled.
    pub compiled: u64,
    /// Time that compiling took, validation included.
    pub compile_time: Duration,
}

/// The same, while it grows.
#[derive(Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    bytes_loaded: AtomicU64,
    compiled: AtomicU64,
    compile_us: AtomicU64,
}

/// Which code is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeId {
    artifact: Digest,
    fingerprint: [u8; 32],
}

impl CodeCache {
    /// A cache in `store`. `secret` is the node's alone and is used for nothing else.
    #[must_use]
    pub fn new(store: Arc<dyn CodeStore>, secret: &[u8; 32]) -> Self {
        let key = blake3::derive_key(CONTEXT, secret);
        Self { store, key }
    }

    /// The component, from the cache.
    pub(crate) fn load(
        &self,
        id: &CodeId,
        engine: &Engine,
        counters: &Counters,
    ) -> Option<Component> {
        let name = id.name();
        let Some(mut entry) = self.store.load(&name) else {
            Counters::add(&counters.misses, 1);
            return None;
        };
        let opened = match self.unsealed(id, &mut entry) {
            Ok(()) => deserialize(engine, &entry),
            Err(reason) => Err(reason.to_owned()),
        };
        match opened {
            Ok(component) => {
                Counters::add(&counters.hits, 1);
                Counters::add(&counters.bytes_loaded, entry.len() as u64);
                Some(component)
            }
            Err(reason) => {
                Counters::add(&counters.rejected, 1);
                let artifact = id.artifact;
                tracing::warn!(%artifact, "compiled code is not used and made anew: {reason}");
                self.store.remove(&name);
                None
            }
        }
    }

    /// Seals and keeps a component.
    pub(crate) fn keep(&self, id: &CodeId, component: &Component) {
        match component.serialize() {
            Ok(code) => {
                let mac = self.mac(id, &code);
                self.store.store(&id.name(), &[&code, mac.as_bytes()]);
            }
            Err(error) => {
                let artifact = id.artifact;
                tracing::warn!(%artifact, "compiled code cannot be kept: {error:#}");
            }
        }
    }

    /// Takes the seal off `entry`, so that the code is left, if it is what this node sealed.
    fn unsealed(&self, id: &CodeId, entry: &mut Vec<u8>) -> Result<(), &'static str> {
        let (code, mac) = entry
            .split_last_chunk::<MAC_BYTES>()
            .ok_or("it is too short")?;
        // `blake3::Hash` compares in constant time.
        if self.mac(id, code) != blake3::Hash::from_bytes(*mac) {
            return Err("its seal does not fit: it was damaged, or another node's");
        }
        entry.truncate(entry.len() - MAC_BYTES);
        Ok(())
    }

    /// Digest and fingerprint have fixed lengths, so no two inputs read the same.
    fn mac(&self, id: &CodeId, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(id.artifact.as_bytes());
        hasher.update(&id.fingerprint);
        hasher.update(code);
        hasher.finalize()
    }
}

impl CodeId {
    /// Compatible with `engine` only: the fingerprint covers the compiler, its settings, what the
    /// processor can, the profile and this release.
    pub(crate) fn new(artifact: Digest, engine: &Engine, profile: Profile) -> Self {
        let mut fingerprint = Fingerprint(blake3::Hasher::new());
        engine
            .precompile_compatibility_hash()
            .hash(&mut fingerprint);
        fingerprint.write(format!("{profile:?} {}", env!("CARGO_PKG_VERSION")).as_bytes());
        Self {
            artifact,
            fingerprint: *fingerprint.0.finalize().as_bytes(),
        }
    }

    fn name(&self) -> String {
        let fingerprint = Digest::from_bytes(self.fingerprint);
        format!("{}-{}", self.artifact.hex(), fingerprint.hex())
    }
}

impl Counters {
    pub(crate) fn compiled(&self, time: Duration) {
        Self::add(&self.compiled, 1);
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self::add(&self.compile_us, us);
    }

    pub(crate) fn read(&self) -> CompileStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CompileStats {
            cache_hits: value(&self.hits),
            cache_misses: value(&self.misses),
            cache_rejected: value(&self.rejected),
            cache_bytes_loaded: value(&self.bytes_loaded),
            compiled: value(&self.compiled),
            compile_time: Duration::from_micros(value(&self.compile_us)),
        }
    }

    fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }
}

/// Hashes what can only be hashed, with more bits than [`Hasher::finish`] has.
struct Fingerprint(blake3::Hasher);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Only for code whose seal was just found to be this node's.
#[expect(
    unsafe_code,
    reason = "compiled code can only be had again by deserialising it, which trusts the bytes"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    // SAFETY: `code` must be what `Component::serialize` made, unchanged. The caller has verified,
    // in this same memory, a MAC that only `CodeCache::keep` makes, over the output of that very
    // function. The slice is borrowed, so nobody changes it in between, and wasmtime copies it.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
}
