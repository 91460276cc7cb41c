//! Doors to decoders that peers reach through the network only, for `tests/fuzz`. Not an interface.

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::Hasher as _;
use commonware_cryptography::blake3::Blake3;
use commonware_storage::merkle::Location;
use commonware_storage::qmdb::sync::Request;
use commonware_utils::NZU64;
use ledger::Genesis;
use types::FabricId;

use crate::block::Block;
use crate::entry_proof::EntryProof;
use crate::handovers::Handover;
use crate::proof::engine_first_block;
use crate::sync::messages::{Answer, Message, Page, decode_part};
use crate::tips;
use crate::votes::{decode_note, encode_note};

/// A block, decoded and encoded again; none if the bytes are no block.
#[must_use]
pub fn block(bytes: &[u8]) -> Option<Vec<u8>> {
    let block = Block::decode(Copying(bytes)).ok()?;
    Some(block.encode().to_vec())
}

/// The bytes of the block that a fabric begins with; empty if its genesis is no good.
#[must_use]
pub fn first_block(genesis: &Genesis) -> Vec<u8> {
    let block = engine_first_block(genesis);
    block.map_or_else(|_| Vec::new(), |block| block.encode().to_vec())
}

/// An announcement of a peer, decoded and encoded again; none if the bytes are none of this fabric.
#[must_use]
pub fn announcement(genesis: &Genesis, bytes: &[u8]) -> Option<Vec<u8>> {
    tips::decoded_again(Bytes::copy_from_slice(bytes), &genesis.fabric_id())
}

/// Reads a proof of an entry, as it is and with the digest that its bytes would have.
///
/// # Panics
/// If what was read has other bytes, or proves something of a fabric whose one key never signed.
pub fn entry_proof(fabric: &FabricId, bytes: &[u8]) {
    let sealed = [bytes, &Blake3::hash(&[bytes]).0].concat();
    for bytes in [bytes, &sealed] {
        if let Ok(proof) = EntryProof::decode(bytes) {
            assert_eq!(proof.encode(), bytes, "a proof has two encodings");
            let verdict = proof.verify(fabric);
            assert!(verdict.is_err(), "nobody signed that block");
        }
    }
}

/// What nodes ask and answer about the state, decoded and encoded again with what is in it; none if
/// the bytes are none.
#[must_use]
pub fn state_message(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::decode(Bytes::copy_from_slice(bytes)).ok()?;
    let again = match message {
        Message::Answer(number, Answer::Standing(page)) => {
            let page = Page::decode(page).ok()?;
            Message::Answer(number, Answer::Standing(page.encode()))
        }
        Message::Answer(number, Answer::Part(part)) => {
            let request = Request::Operations {
                size: Location::new(1 << 20),
                start: Location::new(0),
                max_ops: NZU64!(256),
            };
            let part = decode_part(&request, part).ok()?;
            Message::Answer(number, Answer::Part(part.encode()))
        }
        other => other,
    };
    Some(again.encode().to_vec())
}

/// The end of an epoch, decoded and encoded again; none if the bytes are none.
#[must_use]
pub fn handover(bytes: &[u8]) -> Option<Vec<u8>> {
    let handover = Handover::decode(Copying(bytes)).ok()?;
    Some(handover.encode().to_vec())
}

/// What is noted of a flushed vote, decoded and encoded again; none if the bytes are none.
#[must_use]
pub fn vote_note(bytes: &[u8]) -> Option<Vec<u8>> {
    let (view, flushed) = decode_note(bytes)?;
    Some(encode_note(view, flushed).to_vec())
}
