//! `nexus trust audit`: the whole history checked here, with no trust in the node that tells it.
//! What was seen is remembered, so that another history told later is noticed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use admin::{BlockProof, ClientError, ErrorCode};
use data_encoding::HEXLOWER;
use ledger::{AnyRecord, Genesis, StateKey};
use node::{Audit, AuditError, AuditPoint, Handover};
use serde::{Deserialize, Serialize};
use types::{Digest, FabricId, NodeId};

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
    /// The lowest block that an audit checked: 1, or where the history of the first node began.
    #[serde(default = "first_block")]
    first: u64,
    /// Who certifies the block after `height`; empty where an older release wrote this.
    #[serde(default)]
    validators: BTreeSet<NodeId>,
    /// Blocks that this run checked.
    blocks_checked: u64,
    /// Certificates that this run checked.
    #[serde(flatten)]
    certificates: Certificates,
}

const fn first_block() -> u64 {
    1
}

/// Certificates whose inclusion in the state was checked.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Certificates {
    /// All of them.
    certificates_checked: u64,
    /// Those logged below the lowest block that was checked: nothing but the state tells of them.
    #[serde(default)]
    certificates_older: u64,
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
    let (mut audit, first) = match &known {
        Some(known) => (go_on(session, genesis, known, &memory).await?, known.first),
        None => begin(session, genesis, told).await?,
    };
    let from = audit.next_height();
    let certificates = check(session, &mut audit, told, first).await?;
    let at = audit.point().map_err(broken)?;
    let audited = Audited {
        fabric: found,
        height: at.height,
        block: Digest::from_bytes(at.digest),
        first,
        validators: audit.validators(),
        blocks_checked: audit.next_height() - from,
        certificates,
    };
    remember(&memory, &audited)?;
    session.show(&audited, || render(&audited, from))
}

/// What was found, for people; `from` is the first block of this run.
fn render(audited: &Audited, from: u64) -> String {
    let since = match from {
        1 => "since the genesis".to_owned(),
        from if from == audited.first => {
            format!("from height {from}, the oldest that this node has,")
        }
        from => format!("since height {}", from - 1),
    };
    let Certificates {
        certificates_checked,
        certificates_older,
    } = audited.certificates;
    let mut text = format!(
        "fabric {} holds: {} blocks {since} up to height {} are final and linked, {} certificates \
         are in the log",
        audited.fabric.short(),
        audited.blocks_checked,
        audited.height,
        certificates_checked - certificates_older
    );
    if audited.first > 1 {
        text.push_str(&format!(
            " from height {} on, {certificates_older} older ones are in the state that the \
             validators signed; no block before was checked",
            audited.first
        ));
    }
    text
}

/// A walk from the first block, or from the oldest that the node has, with that one's height.
async fn begin(session: &Session, genesis: Genesis, told: u64) -> Outcome<(Audit, u64)> {
    let first = oldest(session, told).await?;
    if first == 1 {
        return Ok((Audit::from_genesis(genesis).map_err(broken)?, first));
    }
    let proof = session.client().block(first).await;
    let proof = proof.map_err(|error| session.failure(error))?;
    let handovers = handovers(session).await?;
    let audit = Audit::from_oldest(genesis, &unhex(&proof.block)?, &handovers);
    Ok((audit.map_err(broken)?, first))
}

/// A walk on from the block that was audited last, which must still be the same.
async fn go_on(
    session: &Session,
    genesis: Genesis,
    known: &Audited,
    memory: &Path,
) -> Outcome<Audit> {
    let point = AuditPoint {
        height: known.height,
        digest: *known.block.as_bytes(),
    };
    let Some(state_root) = seen_again(session, &genesis, point).await? else {
        return Err(unconnected(point.height, memory));
    };
    let handovers = handovers(session).await?;
    let audit = Audit::from_point(genesis, point, state_root, &handovers).map_err(broken)?;
    if !known.validators.is_empty() {
        audit.expect_validators(&known.validators).map_err(broken)?;
    }
    Ok(audit)
}

/// The lowest block that the node has. It has all from there up to `told`; where it lacks some for
/// a moment, because it fetches them, the audit begins above.
async fn oldest(session: &Session, told: u64) -> Outcome<u64> {
    if told == 0 || has(session, 1).await? {
        return Ok(1);
    }
    let (mut without, mut with) = (1, told);
    while without + 1 < with {
        let middle = without + (with - without) / 2;
        match has(session, middle).await? {
            true => with = middle,
            false => without = middle,
        }
    }
    Ok(with)
}

async fn has(session: &Session, height: u64) -> Outcome<bool> {
    match session.client().block(height).await {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => Ok(false),
        Err(error) => Err(session.failure(error)),
    }
}

/// Walks to the end, then checks that every certificate that the node lists is in the state there;
/// the lowest block that was ever checked is `first`.
async fn check(
    session: &Session,
    audit: &mut Audit,
    told: u64,
    first: u64,
) -> Outcome<Certificates> {
    let failed = |error| session.failure(error);
    walk(session, audit, told).await?;
    let fabric = session.client().fabric().await.map_err(failed)?;
    let certificates = fabric
        .members
        .iter()
        .flat_map(|member| &member.certificates);
    let mut checked = Certificates::default();
    for certificate in certificates {
        let fingerprint = certificate.fingerprint;
        let proof = session.client().certificate_proof(&fingerprint).await;
        let proof = proof.map_err(failed)?;
        // The ledger may have grown since.
        walk(session, audit, proof.height).await?;
        let key = StateKey::certificate(&fingerprint);
        let value = audit.entry(proof.height, &key, &unhex(&proof.proof)?);
        let Some(value) = value.map_err(broken)? else {
            let message = format!("certificate {fingerprint} is listed and not in the log");
            return Err(forged(message));
        };
        let record = AnyRecord::decode(&key, &value);
        let record = record.map_err(|error| Failure::new(Exit::Failed, error))?;
        checked.certificates_checked += 1;
        if let Some(AnyRecord::Certificate(record)) = record
            && record.issued_at < first
        {
            checked.certificates_older += 1;
        }
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

/// The state root of the block that was audited last, which must be the same; none if the node has
/// only later blocks.
async fn seen_again(
    session: &Session,
    genesis: &Genesis,
    point: AuditPoint,
) -> Outcome<Option<[u8; 32]>> {
    let proof = match session.client().block(point.height).await {
        Ok(proof) => proof,
        Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(session.failure(error)),
    };
    let header = node::read_block(genesis, &unhex(&proof.block)?);
    let same = header
        .ok()
        .filter(|header| (header.height, header.block_digest) == (point.height, point.digest));
    if let Some(header) = same {
        return Ok(Some(header.state_root));
    }
    Err(forged(format!(
        "the history is forked: the block at height {} is not the one that was audited before",
        point.height
    )))
}

/// A liar could say that its history begins late to hide that it is another one.
fn unconnected(height: u64, memory: &Path) -> Failure {
    let message = format!(
        "height {height} was audited before and this node has only later blocks: whether they follow \
         from it cannot be checked"
    );
    Failure::new(Exit::Failed, message).hint(format!(
        "Audit a member that still has that block (--node); this one goes on from what is found there. \
         If nobody has it any more, remove {}: the next audit begins with the oldest block that is left, \
         and cannot tell whether an earlier one was another.",
        memory.display()
    ))
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
