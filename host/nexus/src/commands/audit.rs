//! `nexus trust audit`: the whole history checked here, with no trust in the node that tells it.
//! What was seen is remembered, so that another history told later is noticed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use admin::BlockProof;
use data_encoding::HEXLOWER;
use ledger::{Genesis, StateKey};
use node::{Audit, AuditError, AuditPoint, Handover};
use serde::{Deserialize, Serialize};
use types::{Digest, FabricId};

use crate::exit::{Exit, Failure, Outcome};
use crate::folders;
use crate::session::Session;

/// What an audit found, and what the next one begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Audited {
    fabric: FabricId,
    /// Last height that was checked.
    height: u64,
    /// The block there.
    block: Digest,
    /// Blocks that this run checked.
    blocks_checked: u64,
    /// Logged certificates whose inclusion this run checked.
    certificates_checked: u64,
}

pub(crate) async fn run(session: &Session, fabric: Option<FabricId>) -> Outcome {
    let failed = |error| session.failure(error);
    let client = session.client();
    let bytes = client.genesis().await.map_err(failed)?;
    let genesis = Genesis::decode(&bytes).map_err(|error| Failure::new(Exit::Failed, error))?;
    let found = genesis.fabric_id();
    if let Some(expected) = fabric.filter(|expected| *expected != found) {
        let message = format!("the node tells the history of fabric {found}, not of {expected}");
        return Err(Failure::new(Exit::Refused, message));
    }
    let memory = memory(&found)?;
    let known = remembered(&memory)?;
    let told = client.node().await.map_err(failed)?.height;
    if let Some(known) = known.as_ref().filter(|known| told < known.height) {
        return Err(forged(format!(
            "the history was cut short: height {} was audited before, the node tells {told}",
            known.height
        )));
    }
    let mut audit = match &known {
        Some(known) => {
            let point = AuditPoint {
                height: known.height,
                digest: *known.block.as_bytes(),
            };
            let state_root = seen_again(session, &genesis, point).await?;
            let handovers = handovers(session).await?;
            Audit::from_point(genesis, point, state_root, &handovers).map_err(broken)?
        }
        None => Audit::from_genesis(genesis).map_err(broken)?,
    };
    let from = audit.next_height();
    let certificates = check(session, &mut audit, told).await?;
    let at = audit.point().map_err(broken)?;
    let audited = Audited {
        fabric: found,
        height: at.height,
        block: Digest::from_bytes(at.digest),
        blocks_checked: audit.next_height() - from,
        certificates_checked: certificates,
    };
    remember(&memory, &audited)?;
    session.show(&audited, || {
        let since = match from {
            1 => "since the genesis".to_owned(),
            from => format!("since height {}", from - 1),
        };
        format!(
            "fabric {} holds: {} blocks {since} up to height {} are final and linked, {} \
             certificates are in the log",
            found.short(),
            audited.blocks_checked,
            audited.height,
            audited.certificates_checked
        )
    })
}

/// Walks to the end, then checks that every certificate that the node lists is in the state there.
async fn check(session: &Session, audit: &mut Audit, told: u64) -> Outcome<u64> {
    let failed = |error| session.failure(error);
    walk(session, audit, told).await?;
    let fabric = session.client().fabric().await.map_err(failed)?;
    let certificates = fabric
        .members
        .iter()
        .flat_map(|member| &member.certificates);
    let mut checked = 0;
    for certificate in certificates {
        let fingerprint = certificate.fingerprint;
        let proof = session.client().certificate_proof(&fingerprint).await;
        let proof = proof.map_err(failed)?;
        // The ledger may have grown since.
        walk(session, audit, proof.height).await?;
        let key = StateKey::certificate(&fingerprint);
        let value = audit.entry(proof.height, &key, &unhex(&proof.proof)?);
        if value.map_err(broken)?.is_none() {
            let message = format!("certificate {fingerprint} is listed and not in the log");
            return Err(forged(message));
        }
        checked += 1;
    }
    // The last block may be so new that its certificate is on its way: the next one brings it.
    let mut wanted = audit.next_height();
    while audit.point().is_err() {
        walk(session, audit, wanted).await?;
        wanted += 1;
    }
    Ok(checked)
}

async fn walk(session: &Session, audit: &mut Audit, height: u64) -> Outcome {
    while audit.next_height() <= height {
        let proof = session.client().block(audit.next_height()).await;
        let proof = proof.map_err(|error| session.failure(error))?;
        let certificate = proof.certificate.as_deref().map(unhex).transpose()?;
        let taken = audit.take(&unhex(&proof.block)?, certificate.as_deref());
        taken.map_err(broken)?;
    }
    Ok(())
}

/// The block that was audited last must still be there; the state root that it carries.
async fn seen_again(session: &Session, genesis: &Genesis, point: AuditPoint) -> Outcome<[u8; 32]> {
    let proof = session.client().block(point.height).await;
    let proof = proof.map_err(|error| session.failure(error))?;
    let header = node::read_block(genesis, &unhex(&proof.block)?);
    let same = header
        .ok()
        .filter(|header| (header.height, header.block_digest) == (point.height, point.digest));
    if let Some(header) = same {
        return Ok(header.state_root);
    }
    Err(forged(format!(
        "the history is forked: the block at height {} is not the one that was audited before",
        point.height
    )))
}

/// The ends of epochs in which validators changed, as the node tells them: the audit checks each.
async fn handovers(session: &Session) -> Outcome<Vec<Handover>> {
    let list = session.client().handovers().await;
    let list = list.map_err(|error| session.failure(error))?;
    let handover = |proof: BlockProof| {
        Ok(Handover {
            block: unhex(&proof.block)?,
            certificate: unhex(proof.certificate.as_deref().unwrap_or_default())?,
        })
    };
    list.handovers.into_iter().map(handover).collect()
}

fn broken(error: AuditError) -> Failure {
    forged(error.to_string())
}

fn forged(message: String) -> Failure {
    Failure::new(Exit::Refused, message)
        .hint("Do not trust this node: ask another member, and tell the fabric's admins.")
}

fn unhex(text: &str) -> Outcome<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the node's answer is not hex: {error}"),
        )
    })
}

/// Where audits of a fabric are remembered.
fn memory(fabric: &FabricId) -> Outcome<PathBuf> {
    Ok(folders::state()?.join(format!("audit-{}.json", fabric.hex())))
}

fn remembered(path: &Path) -> Outcome<Option<Audited>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(folders::failed("read", path, &error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let message = format!("{} is not understood: {error}", path.display());
            Failure::new(Exit::Failed, message)
        }),
    }
}

fn remember(path: &Path, audited: &Audited) -> Outcome {
    let text = serde_json::to_vec_pretty(audited);
    let text = text.map_err(|error| Failure::new(Exit::Failed, error))?;
    folders::replace(path, &text)
}
