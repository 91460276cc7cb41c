//! Proofs that this node makes: answers for its assets, and the four proofs of operations that it signs
//! itself. What they must show is the ledger's to say.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use admin::ClientError;
use data_encoding::HEXLOWER;
use ledger::{AnchorRecord, CALIBRATION_UNITS, DecodeRecordError, ProofParts, Provable, Proven};
use proofs::{
    Answer, Calibration, CalibrationSeed, Challenge, Content, ReadAt, SignedAnswer, StakeClaim,
    StakeRole, beacon_of,
};
use storage::{RawArtifact, ReadArtifactError};
use tokio::time::timeout;
use types::{AssetId, AssetType, Digest, NodeId};

use crate::beacon::block_digest;
use crate::shared::Shared;
use crate::signer::{SignError, Signed, Slot};

/// How long another node has to answer: it reads 33 chunks.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A proof that this node did not make.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    /// Nobody here knows the digest of that block.
    #[error("block {height} is not known here, so no proof can be anchored in it")]
    NoAnchor {
        /// Its height.
        height: u64,
    },
    /// The ledger has what this release cannot read.
    #[error(transparent)]
    State(#[from] DecodeRecordError),
    /// What was committed to is not here.
    #[error("this node cannot show what it is to keep: {0}")]
    Artifact(#[from] ReadArtifactError),
    /// What was committed to is here in part, or the disk fails.
    #[error("this node cannot show all of {root}: {source}")]
    Read {
        /// What.
        root: Digest,
        /// Why.
        source: io::Error,
    },
    /// Its host cannot be asked.
    #[error(
        "node {} hosts {} and {why}: an operation needs its answer", host.short(), asset.short()
    )]
    Away {
        /// Who was to answer.
        host: NodeId,
        /// For which asset.
        asset: AssetId,
        /// What is in the way.
        why: String,
    },
    /// Its host has nothing to show.
    #[error("node {} does not show it: {why}", host.short())]
    NotShown {
        /// Who was asked.
        host: NodeId,
        /// What it says.
        why: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The ledger did not take the operation that was proven.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl ProveError {
    /// Whether it is about what is on the disk, and not about the node as a whole.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self, Self::Artifact(_) | Self::Read { .. })
    }
}

/// The newest final block: what an operation is anchored in. The state knows only those before it.
pub(crate) async fn newest_anchor(shared: &Shared) -> Result<AnchorRecord, ProveError> {
    let height = shared.state().view.height();
    match anchor_at(shared, height).await {
        Err(ProveError::NoAnchor { .. }) => {
            let before = shared.state().view.newest_anchor()?;
            before.ok_or(ProveError::NoAnchor { height })
        }
        found => found,
    }
}

/// The final block at `height`.
pub(crate) async fn anchor_at(shared: &Shared, height: u64) -> Result<AnchorRecord, ProveError> {
    if let Some(known) = shared.state().view.anchor(height)? {
        return Ok(known);
    }
    // A ledger that is closed knows none either.
    match block_digest(shared, height).await {
        Ok(digest) => Ok(AnchorRecord { height, digest }),
        Err(_) => Err(ProveError::NoAnchor { height }),
    }
}

/// What this node shows of an asset of its own to the beacon of `anchor`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    asset: AssetId,
    anchor: AnchorRecord,
) -> Result<SignedAnswer, ProveError> {
    let beacon = beacon_of(&anchor.digest);
    let space = shared.state().view.space_of(&asset)?;
    let commitment = space.commitment(&beacon, shared.node, &asset);
    let challenge = Challenge::draw(&beacon, anchor.height, &commitment);
    let fabric = shared.fabric;
    let answer = match commitment.content {
        Content::Filler => Answer::present(fabric, &challenge),
        Content::Kept => {
            let artifacts = shared.artifacts.clone();
            let read = move || {
                let (root, bytes) = (commitment.root, commitment.bytes);
                let raw = Arc::new(artifacts.raw(&root, bytes)?);
                let (content, pairs) = (OnDisk(Arc::clone(&raw)), Pairs(raw));
                Answer::read(fabric, &challenge, &content, &pairs)
                    .map_err(|source| ProveError::Read { root, source })
            };
            blocking(read).await??
        }
    };
    let signature = shared.signer.key().sign(&answer.signing_bytes());
    Ok(SignedAnswer { answer, signature })
}

/// What the host of an asset shows of it, to the block that it names.
pub(crate) async fn shown_by(
    shared: &Arc<Shared>,
    host: NodeId,
    asset: AssetId,
) -> Result<(AnchorRecord, SignedAnswer), ProveError> {
    if host != shared.node {
        return ask(shared, host, asset).await;
    }
    let anchor = newest_anchor(shared).await?;
    Ok((anchor, answer(shared, asset, anchor).await?))
}

/// Asks another node for what it shows. It answers itself, so the question goes no further.
async fn ask(
    shared: &Shared,
    host: NodeId,
    asset: AssetId,
) -> Result<(AnchorRecord, SignedAnswer), ProveError> {
    let away = |why: String| ProveError::Away { host, asset, why };
    let peers = shared.peers.get();
    let client = peers.and_then(|peers| peers.admin_of(&host));
    let client = client.ok_or_else(|| away("has no session with this one".to_owned()))?;
    let answered = match timeout(ANSWER_TIME, client.asset_answer(&asset)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(ClientError::Refused(error))) => {
            return Err(ProveError::NotShown {
                host,
                why: error.message,
            });
        }
        Ok(Err(error)) => return Err(away(format!("cannot be asked ({error})"))),
        Err(_) => return Err(away("does not answer".to_owned())),
    };
    let bytes = HEXLOWER.decode(answered.answer.as_bytes());
    let bytes = bytes.map_err(|error| away(format!("answers no hex ({error})")))?;
    let answer = SignedAnswer::decode(&bytes);
    let answer = answer.map_err(|error| away(format!("answers wrongly ({error})")))?;
    let anchor = AnchorRecord {
        height: answered.anchor_height,
        digest: answered.anchor_digest,
    };
    Ok((anchor, answer))
}

/// An asset as an operation of this node's own is about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Which one: of one that is registered, named by the transaction.
    pub(crate) asset: AssetId,
    /// Who has it.
    pub(crate) host: NodeId,
    /// What each lease of it ties.
    pub(crate) bond: u64,
    /// Whether the processor has to show what it can do.
    pub(crate) calibrated: bool,
}

impl Subject {
    /// Something that this node has.
    pub(crate) const fn own(shared: &Shared, asset: AssetId) -> Self {
        Self {
            asset,
            host: shared.node,
            bond: 0,
            calibrated: false,
        }
    }

    /// Something that this node measured.
    pub(crate) fn measured(shared: &Shared, asset: AssetId) -> Self {
        Self {
            calibrated: asset.asset_type() == AssetType::Cpu,
            ..Self::own(shared, asset)
        }
    }
}

/// Signs an operation on an asset with its proofs, and waits until it is final.
pub(crate) async fn sign<O: Provable + Clone>(
    shared: &Arc<Shared>,
    operation: &O,
    subject: impl Fn(Slot) -> Subject,
) -> Result<Signed, ProveError> {
    let make = |slot| {
        let sealed = seal(shared, slot, subject(slot), operation.clone());
        async { Ok::<_, ProveError>(O::admitted(sealed.await?)) }
    };
    shared.signer.submit_made(shared, make).await
}

/// An operation with its proofs, for a transaction of the node's own.
async fn seal<O: Provable>(
    shared: &Arc<Shared>,
    slot: Slot,
    subject: Subject,
    operation: O,
) -> Result<Proven<O>, ProveError> {
    let (anchor, answer) = shown_by(shared, subject.host, subject.asset).await?;
    let calibration = match subject.calibrated {
        true => Some(calibrate(shared, &subject.asset, anchor).await?),
        false => None,
    };
    let (quota, bond) = operation.takes(&shared.node, subject.bond);
    let parts = ProofParts {
        fabric: shared.fabric,
        anchor,
        answer,
        claim: StakeClaim {
            principal: shared.node,
            role: StakeRole::Node,
            quota,
            bond,
        },
        calibration,
        nonce: slot.nonce,
        expires_at: slot.expires_at,
    };
    Ok(Proven::seal(operation, parts, |bytes| {
        shared.signer.key().sign(bytes)
    }))
}

/// Shows what this node's processor can do, from a seed that nobody knew before the anchor.
async fn calibrate(
    shared: &Shared,
    asset: &AssetId,
    anchor: AnchorRecord,
) -> Result<Calibration, ProveError> {
    let beacon = beacon_of(&anchor.digest);
    let seed = CalibrationSeed::draw(&beacon, anchor.height, &shared.node, asset.digest());
    blocking(move || Calibration::run(&seed, CALIBRATION_UNITS)).await
}

/// Runs what waits for a disk or computes for long where that harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProveError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ProveError::Stopping)
}

struct OnDisk(Arc<RawArtifact>);

impl ReadAt for OnDisk {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_content(offset, into)
    }
}

struct Pairs(Arc<RawArtifact>);

impl ReadAt for Pairs {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_pairs(offset, into)
    }
}
