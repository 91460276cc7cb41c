//! `nexus proof`: the four proofs that came with an operation on an asset, and a check of them here. What
//! the check cannot know is what the state was then: roles, quotas and bonds.

use admin::{AssetStatus, FinalTransaction};
use ledger::{Operation, Provable, Proven};
use proofs::{
    Challenge, Commitment, Content, ProofKind, Proofs, SignedAnswer, SpaceFacts, StakeProof,
    TimeProof, WorkEvidence, WorkProof, beacon_of,
};
use serde::Serialize;
use types::{AssetId, AssetType, Digest, FabricId};

use crate::cli::ProofCommand;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::Table;

/// One of the four.
#[derive(Serialize)]
struct Row {
    kind: ProofKind,
    /// What it claims, in words.
    claims: String,
    /// Why it does not hold; none if it does.
    problem: Option<String>,
}

/// The proofs of one transaction.
#[derive(Serialize)]
struct Shown {
    transaction: Digest,
    height: u64,
    asks: String,
    proofs: Vec<Row>,
}

/// What the proofs are checked against.
struct Known {
    fabric: FabricId,
    transaction: FinalTransaction,
    operation: Digest,
    /// The digest of the block that the proof of time names, if this node knows it.
    anchor: Option<Digest>,
    /// Assets as they are now: what their hosts keep.
    assets: Vec<AssetStatus>,
}

pub(crate) async fn run(session: &Session, command: ProofCommand) -> Outcome {
    match command {
        ProofCommand::Show { transaction } => {
            let shown = look(session, &transaction).await?;
            session.show(&shown, || render(&shown))
        }
        ProofCommand::Verify { transaction } => {
            let shown = look(session, &transaction).await?;
            session.show(&shown, || render(&shown))?;
            let bad = shown.proofs.iter().filter(|row| row.problem.is_some());
            match bad.count() {
                0 => Ok(()),
                count => {
                    let message = format!("{count} of the four proofs do not hold");
                    Err(Failure::new(Exit::Refused, message))
                }
            }
        }
    }
}

async fn look(session: &Session, id: &Digest) -> Outcome<Shown> {
    let client = session.client();
    let failure = |error| session.failure(error);
    let transaction = client.transaction(id).await.map_err(failure)?;
    let operation: Operation =
        serde_json::from_value(transaction.operation.clone()).map_err(|error| {
            let message = format!("the node's answer is not understood: {error}");
            Failure::new(Exit::Failed, message)
        })?;
    let fabric = client.node().await.map_err(failure)?.fabric;
    let (operation, proofs) = match operation {
        Operation::Asset(proven) => parts(&fabric, proven),
        Operation::Lease(proven) => parts(&fabric, proven),
        _ => {
            let message = format!(
                "this transaction is no operation on an asset: {}",
                transaction.asks
            );
            return Err(Failure::new(Exit::NotFound, message));
        }
    };
    let anchor = match proofs.time {
        Some(time) => {
            let height = time.anchor_height.to_string();
            let block = client.block_contents(&height).await;
            block.ok().map(|contents| contents.block.digest)
        }
        None => None,
    };
    let mut assets = Vec::new();
    if let Some(space) = &proofs.space {
        for asset_type in AssetType::ALL {
            let asset = AssetId::from_parts(*asset_type, space.answer.asset);
            assets.extend(client.asset(&asset).await.ok());
        }
    }
    let known = Known {
        fabric,
        transaction,
        operation,
        anchor,
        assets,
    };
    Ok(known.judge(&proofs))
}

fn parts<O: Provable>(fabric: &FabricId, proven: Proven<O>) -> (Digest, Box<Proofs>) {
    (proven.operation.operation_digest(fabric), proven.proofs)
}

impl Known {
    fn judge(self, proofs: &Proofs) -> Shown {
        let row = |kind, claims: Option<String>, judged: Result<(), String>| Row {
            kind,
            problem: judged.err(),
            claims: claims.unwrap_or_else(|| "is missing".to_owned()),
        };
        let missing = || Err("is missing".to_owned());
        let rows = vec![
            row(
                ProofKind::Space,
                proofs.space.as_ref().map(space_claims),
                proofs
                    .space
                    .as_ref()
                    .map_or_else(missing, |space| self.space(proofs, space)),
            ),
            row(
                ProofKind::Stake,
                proofs.stake.as_ref().map(stake_claims),
                proofs
                    .stake
                    .as_ref()
                    .map_or_else(missing, |stake| self.stake(proofs, stake)),
            ),
            row(
                ProofKind::Work,
                proofs.work.as_ref().map(work_claims),
                proofs
                    .work
                    .as_ref()
                    .map_or_else(missing, |work| self.work(work)),
            ),
            row(
                ProofKind::Time,
                proofs.time.as_ref().map(time_claims),
                proofs
                    .time
                    .as_ref()
                    .map_or_else(missing, |time| self.time(time)),
            ),
        ];
        Shown {
            transaction: self.transaction.id,
            height: self.transaction.height,
            asks: self.transaction.asks,
            proofs: rows,
        }
    }

    /// The answer shows the plot, or something that the host still keeps.
    fn space(&self, proofs: &Proofs, space: &SignedAnswer) -> Result<(), String> {
        let answer = &space.answer;
        let anchor = self
            .anchor
            .ok_or("the block that asked is not known here")?;
        if proofs.time.map(|time| time.anchor_height) != Some(answer.height) {
            return Err("it answers another block than the proof of time names".to_owned());
        }
        let kept = self.assets.iter().flat_map(|asset| &asset.space.kept);
        let kept = kept.map(|kept| Commitment {
            node: answer.node,
            asset: answer.asset,
            content: Content::Kept,
            root: kept.root,
            bytes: kept.bytes,
        });
        let presence = Commitment::presence(answer.node, answer.asset);
        let mut judged = Ok(());
        for commitment in std::iter::once(presence).chain(kept) {
            let beacon = beacon_of(&anchor);
            let facts = SpaceFacts {
                fabric: self.fabric,
                challenge: Challenge::draw(&beacon, answer.height, &commitment),
                deadline_height: self.transaction.height,
                seen_at_height: self.transaction.height,
            };
            judged = space.verify(&facts).map_err(|error| error.to_string());
            if judged.is_ok() {
                break;
            }
        }
        judged
    }

    fn stake(&self, proofs: &Proofs, stake: &StakeProof) -> Result<(), String> {
        let principal = stake.claim.principal;
        if principal != self.transaction.signer {
            return Err(format!(
                "{} signed the transaction",
                self.transaction.signer
            ));
        }
        let signed = proofs.signing_bytes(&self.fabric);
        let verified = principal.verify(&signed, &stake.signature);
        verified.map_err(|error| error.to_string())
    }

    fn work(&self, work: &WorkProof) -> Result<(), String> {
        match work.operation == self.operation {
            true => Ok(()),
            false => Err(format!("the operation is {}", self.operation)),
        }
    }

    fn time(&self, time: &TimeProof) -> Result<(), String> {
        let transaction = &self.transaction;
        if self.anchor != Some(time.anchor_digest) {
            return Err(format!(
                "block {} is another, or not known here",
                time.anchor_height
            ));
        }
        if time.anchor_height >= transaction.height || time.expires_at < transaction.height {
            return Err(format!("it is in block {}", transaction.height));
        }
        match time.nonce == transaction.nonce {
            true => Ok(()),
            false => Err(format!("the transaction has nonce {}", transaction.nonce)),
        }
    }
}

fn space_claims(space: &SignedAnswer) -> String {
    let (node, chunks) = (space.answer.node.short(), space.answer.chunks.len());
    let chunks = match chunks {
        1 => "a chunk".to_owned(),
        count => format!("{count} chunks"),
    };
    format!(
        "node {node} showed {chunks} that block {} drew",
        space.answer.height
    )
}

fn stake_claims(stake: &StakeProof) -> String {
    let claim = &stake.claim;
    let role = format!("{:?}", claim.role).to_lowercase();
    format!(
        "{} acts as {role}, takes {} of its quota and {} of its bond",
        claim.principal.short(),
        claim.quota,
        claim.bond
    )
}

fn work_claims(work: &WorkProof) -> String {
    let shown = match &work.evidence {
        WorkEvidence::Operation => "itself".to_owned(),
        WorkEvidence::Calibration(run) => {
            format!("a calibration of {} units", run.checkpoints.len())
        }
        WorkEvidence::Receipts(certificate) => {
            format!("{} receipts", certificate.receipts.len())
        }
    };
    format!("operation {}, shown by {shown}", work.operation.short())
}

fn time_claims(time: &TimeProof) -> String {
    format!(
        "after block {}, until height {}, as nonce {}",
        time.anchor_height, time.expires_at, time.nonce
    )
}

fn render(shown: &Shown) -> String {
    let mut table = Table::new(&["PROOF", "HOLDS", "CLAIMS"]);
    for row in &shown.proofs {
        let holds = match &row.problem {
            None => "yes".to_owned(),
            Some(problem) => format!("no: {problem}"),
        };
        table.row(vec![row.kind.to_string(), holds, row.claims.clone()]);
    }
    format!(
        "{}, height {}\n{}",
        shown.asks,
        shown.height,
        table.render()
    )
}
