//! Space, the answers: chunks with their ways to the committed root, signed by the node that keeps
//! them, and what makes an answer fail. Reading goes through [`ReadAt`].
//!
//! No answer at all is judged by height alone: see [`SpaceFacts::is_overdue`].

use std::io;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId, Signature, VerifyError};

use crate::encoding::{DecodeProofError, read, to_sign, written};
use crate::plot::Plot;
use crate::space::{CHALLENGE_CHUNKS, COMMITTED_BYTES_MAX, Challenge, Commitment, Content};
use crate::tree::{CHUNK_BYTES, ReadAt, chunk_with_way, root_of};

const DOMAIN: &[u8] = b"hypermesh/proofs/answer/1\0";

/// Hashes on the way of a chunk in the largest commitment.
const WAY_HASHES_MAX: usize = (COMMITTED_BYTES_MAX / CHUNK_BYTES).ilog2() as usize;
/// Largest answer: every chunk and way in full, their lengths, and 256 bytes for what is around them.
pub const ANSWER_BYTES_MAX: usize =
    (CHALLENGE_CHUNKS as usize + 1) * (blake3::CHUNK_LEN + 32 * WAY_HASHES_MAX + 4) + 256;

/// One chunk and what leads from it to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenChunk {
    /// 1 KiB, or what the last chunk has.
    pub content: Vec<u8>,
    /// The hashes beside its way, the root's child first.
    pub way: Vec<[u8; 32]>,
}

/// What a node shows of its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The only fabric that it is good for.
    pub fabric: FabricId,
    /// Who answers.
    pub node: NodeId,
    /// For which asset.
    pub asset: Digest,
    /// The height of the beacon that asked.
    pub height: u64,
    /// The chunks that were asked for, in ascending order.
    pub chunks: Vec<ProvenChunk>,
}

impl Answer {
    /// Reads what `challenge` asks for. What is read is not checked: damage shows when the answer is
    /// verified, and a node that wants to know first verifies it itself.
    ///
    /// # Errors
    /// What `data` or `outboard` report, for instance that they end too early.
    pub fn read(
        fabric: FabricId,
        challenge: &Challenge,
        data: &impl ReadAt,
        outboard: &impl ReadAt,
    ) -> io::Result<Self> {
        let commitment = challenge.commitment();
        let chunks = challenge.chunks().iter().map(|chunk| {
            let (content, way) = chunk_with_way(data, outboard, commitment.bytes, *chunk)?;
            Ok(ProvenChunk { content, way })
        });
        Ok(Self {
            fabric,
            node: commitment.node,
            asset: commitment.asset,
            height: challenge.height(),
            chunks: chunks.collect::<io::Result<_>>()?,
        })
    }

    /// Computes what `challenge` asks for of a [`Commitment::presence`], which needs no disk.
    ///
    /// # Panics
    /// If the challenge is of another commitment: that would be an answer that nobody takes.
    #[must_use]
    pub fn present(fabric: FabricId, challenge: &Challenge) -> Self {
        let Commitment {
            node, asset, bytes, ..
        } = *challenge.commitment();
        assert_eq!(bytes, CHUNK_BYTES, "a presence is one chunk");
        let content = Plot::new(&node, &asset).first_chunk().to_vec();
        let way = Vec::new();
        Self {
            fabric,
            node,
            asset,
            height: challenge.height(),
            chunks: vec![ProvenChunk { content, way }],
        }
    }

    /// The bytes that the node signs.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        to_sign(DOMAIN, self)
    }
}

/// An answer and its node's signature over [`Answer::signing_bytes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAnswer {
    /// What is shown.
    pub answer: Answer,
    /// By [`Answer::node`].
    pub signature: Signature,
}

/// What an answer is judged by.
#[derive(Debug, Clone)]
pub struct SpaceFacts {
    /// This fabric.
    pub fabric: FabricId,
    /// What was asked, drawn from this fabric's own beacon and the commitment on the ledger.
    pub challenge: Challenge,
    /// Last height at which an answer counts.
    pub deadline_height: u64,
    /// The height at which this answer is in a block.
    pub seen_at_height: u64,
}

impl SpaceFacts {
    /// Whether an answer that is not there by now has failed.
    #[must_use]
    pub const fn is_overdue(&self) -> bool {
        self.seen_at_height > self.deadline_height
    }
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifySpaceError {
    /// Nothing to show, or more than one commitment may hold.
    #[error("a commitment has 1 to {COMMITTED_BYTES_MAX} bytes, this one has {bytes}")]
    Commitment {
        /// Its length.
        bytes: u64,
    },
    /// Meant for another fabric.
    #[error("the answer is for fabric {found}, this one is {expected}")]
    OtherFabric {
        /// This fabric.
        expected: FabricId,
        /// The answer's.
        found: FabricId,
    },
    /// Another node answers.
    #[error("{found} answers, {expected} was asked")]
    OtherNode {
        /// Who was asked.
        expected: NodeId,
        /// Who answers.
        found: NodeId,
    },
    /// About another asset.
    #[error("the answer is for asset {found}, {expected} was asked for")]
    OtherAsset {
        /// Which was asked for.
        expected: Digest,
        /// Which was answered for.
        found: Digest,
    },
    /// To the beacon of another height.
    #[error("the answer is to the beacon of height {found}, that of {expected} asked")]
    OtherHeight {
        /// Who asked.
        expected: u64,
        /// What was answered.
        found: u64,
    },
    /// Before it was asked.
    #[error("the answer is in block {seen}, its question in block {asked}")]
    Early {
        /// The height of the beacon.
        asked: u64,
        /// The height of the answer.
        seen: u64,
    },
    /// After the deadline.
    #[error("the answer came at height {seen}, the deadline was {deadline}")]
    Late {
        /// The last height that counts.
        deadline: u64,
        /// The height of the answer.
        seen: u64,
    },
    /// Not signed by its node.
    #[error("the answer is not authentic: {0}")]
    Signature(#[from] VerifyError),
    /// Too few chunks, or too many.
    #[error("the answer has {found} chunks, {expected} were asked for")]
    Count {
        /// How many were asked for.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// A chunk does not belong where it claims to be.
    #[error("chunk {chunk} does not lead to the committed root: it is damaged, or another")]
    Damaged {
        /// Which one.
        chunk: u64,
    },
    /// A chunk of filler that is not this node's plot.
    #[error("chunk {chunk} is not of the plot of this node and asset")]
    NotFiller {
        /// Which one.
        chunk: u64,
    },
}

impl SignedAnswer {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeProofError`]; nothing is said yet about what the answer proves.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("an answer to a challenge", ANSWER_BYTES_MAX, bytes)
    }

    /// Checks that the node that was asked shows the chunks that were asked for, in time.
    ///
    /// # Errors
    /// [`VerifySpaceError`]; the cheap reasons are found first.
    pub fn verify(&self, facts: &SpaceFacts) -> Result<(), VerifySpaceError> {
        let Self { answer, signature } = self;
        answer.check_frame(facts)?;
        answer.node.verify(&answer.signing_bytes(), signature)?;
        answer.check_chunks(&facts.challenge)
    }
}

impl Answer {
    fn check_frame(&self, facts: &SpaceFacts) -> Result<(), VerifySpaceError> {
        let (challenge, commitment) = (&facts.challenge, facts.challenge.commitment());
        if !commitment.is_sound() {
            let bytes = commitment.bytes;
            return Err(VerifySpaceError::Commitment { bytes });
        }
        if self.fabric != facts.fabric {
            let (expected, found) = (facts.fabric, self.fabric);
            return Err(VerifySpaceError::OtherFabric { expected, found });
        }
        if self.node != commitment.node {
            let (expected, found) = (commitment.node, self.node);
            return Err(VerifySpaceError::OtherNode { expected, found });
        }
        if self.asset != commitment.asset {
            let (expected, found) = (commitment.asset, self.asset);
            return Err(VerifySpaceError::OtherAsset { expected, found });
        }
        if self.height != challenge.height() {
            let (expected, found) = (challenge.height(), self.height);
            return Err(VerifySpaceError::OtherHeight { expected, found });
        }
        let (asked, seen) = (challenge.height(), facts.seen_at_height);
        if seen <= asked {
            return Err(VerifySpaceError::Early { asked, seen });
        }
        if facts.is_overdue() {
            let deadline = facts.deadline_height;
            return Err(VerifySpaceError::Late { deadline, seen });
        }
        let (expected, found) = (challenge.chunks().len(), self.chunks.len());
        if expected != found {
            return Err(VerifySpaceError::Count { expected, found });
        }
        Ok(())
    }

    fn check_chunks(&self, challenge: &Challenge) -> Result<(), VerifySpaceError> {
        let commitment = challenge.commitment();
        let plot = match commitment.content {
            Content::Filler => Some(Plot::new(&commitment.node, &commitment.asset)),
            Content::Kept => None,
        };
        for (chunk, shown) in challenge.chunks().iter().zip(&self.chunks) {
            let ProvenChunk { content, way } = shown;
            if root_of(commitment.bytes, *chunk, content, way) != Some(commitment.root) {
                return Err(VerifySpaceError::Damaged { chunk: *chunk });
            }
            let is_own = plot.as_ref().is_none_or(|plot| {
                let mut expected = vec![0; content.len()];
                let read = plot.read_exact_at(chunk * CHUNK_BYTES, &mut expected);
                read.is_ok() && expected == *content
            });
            if !is_own {
                return Err(VerifySpaceError::NotFiller { chunk: *chunk });
            }
        }
        Ok(())
    }
}
