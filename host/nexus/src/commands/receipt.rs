//! `nexus receipt`: receipts of executions as files, shown, checked, challenged.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use admin::{
    ChallengeReport, ChallengeRequest, DrawRequest, JudgedReceipt, ReceiptVerdict, SecondRun,
};
use data_encoding::HEXLOWER;
use node::{EXECUTION_PROOF_BYTES_MAX, ExecutionProof};
use serde::Serialize;
use types::{Digest, FabricId, Name, NodeId, Replication};

use crate::cli::{Global, ReceiptCommand};
use crate::exit::{Exit, Failure, Outcome};
use crate::folders;
use crate::session::{Session, format};
use crate::table::{Fields, Table};
use crate::{terminal, text};

/// What a file of receipts says.
#[derive(Serialize)]
struct Told {
    fabric: FabricId,
    order: Digest,
    workload: Name,
    generation: u64,
    component: Name,
    artifact: Digest,
    deterministic_seed: u64,
    export: String,
    arguments: Vec<String>,
    replication: Replication,
    /// The height of the block that drew the nodes.
    anchor: u64,
    result: String,
    drawn: Vec<NodeId>,
    receipts: Vec<ToldReceipt>,
}

/// What one receipt says.
#[derive(Serialize)]
struct ToldReceipt {
    node: NodeId,
    output: Digest,
    fuel_used: u64,
    memory_peak_bytes: u64,
    engine: Digest,
}

/// What holds of a file of receipts.
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    told: Told,
    agreed: Vec<NodeId>,
    outvoted: Vec<NodeId>,
    silent: Vec<NodeId>,
    /// Whether a node said that these were drawn.
    draw_checked: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    draw_unchecked: Option<String>,
}

pub(crate) async fn run(global: &Global, command: ReceiptCommand) -> Outcome {
    match command {
        ReceiptCommand::Show { file } => show(global, &file),
        ReceiptCommand::Verify { file, fabric } => verify(global, &file, fabric).await,
        ReceiptCommand::Challenge { file } => challenge(&Session::new(global)?, &file).await,
    }
}

/// Writes what a node answered, if it proves what it should.
pub(crate) fn write(file: &Path, hex: &str) -> Outcome {
    let unproven = |error: &dyn std::fmt::Display| {
        let message = format!("the node's answer proves nothing: {error}");
        Failure::new(Exit::Refused, message)
    };
    let bytes = HEXLOWER.decode(hex.as_bytes());
    let bytes = bytes.map_err(|error| unproven(&error))?;
    let proof = ExecutionProof::decode(&bytes).map_err(|error| unproven(&error))?;
    proof.verify().map_err(|error| unproven(&error))?;
    std::fs::write(file, bytes).map_err(|error| folders::failed("write", file, &error))
}

/// No more of the file than a proof can have, and one byte to notice that there is more.
fn read(path: &Path) -> Outcome<(Vec<u8>, ExecutionProof)> {
    let failed = |error| folders::failed("read", path, &error);
    let limit = (EXECUTION_PROOF_BYTES_MAX as u64).saturating_add(1);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    let proof = ExecutionProof::decode(&bytes);
    let proof = proof.map_err(|error| refused(error).context(path.display()))?;
    Ok((bytes, proof))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Refused, error)
}

fn told(proof: &ExecutionProof) -> Told {
    let order = &proof.order;
    let receipts = proof.certificate.receipts.iter();
    let receipts = receipts.map(|signed| ToldReceipt {
        node: signed.receipt.node,
        output: signed.receipt.output,
        fuel_used: signed.receipt.fuel,
        memory_peak_bytes: signed.receipt.memory_peak_bytes,
        engine: signed.receipt.profile.engine,
    });
    Told {
        fabric: order.fabric,
        order: order.digest(),
        workload: order.workload.clone(),
        generation: order.generation,
        component: order.component.clone(),
        artifact: order.artifact,
        deterministic_seed: order.deterministic_seed,
        export: order.export.to_string(),
        arguments: order.arguments.clone(),
        replication: order.replication,
        anchor: order.anchor,
        result: proof.result.clone(),
        drawn: proof.drawn.iter().copied().collect(),
        receipts: receipts.collect(),
    }
}

fn show(global: &Global, file: &Path) -> Outcome {
    let told = told(&read(file)?.1);
    let table = || {
        format!(
            "{}\n\n{}",
            fields(&told).render(0),
            receipts(&told).render()
        )
    };
    terminal::print(&format(global.output, &told, table)?)
}

fn fields(told: &Told) -> Fields {
    let mut fields = Fields::default();
    fields.add("Order", told.order);
    fields.add("Fabric", told.fabric);
    let (workload, component) = (&told.workload, &told.component);
    let of = format!("{workload}/{component}, generation {}", told.generation);
    fields.add("Workload", of);
    fields.add("Component", told.artifact);
    fields.add("Seed", told.deterministic_seed);
    fields.add("Export", &told.export);
    fields.list("Arguments", &told.arguments);
    fields.add("Result", &told.result);
    let (replication, anchor) = (told.replication, told.anchor);
    fields.add(
        "Replicated",
        format!("{replication}, drawn by block {anchor}"),
    );
    fields
}

fn receipts(told: &Told) -> Table {
    let mut table = Table::new(&["NODE", "OUTPUT", "FUEL", "MEMORY", "ENGINE"]);
    for receipt in &told.receipts {
        table.row(vec![
            receipt.node.to_string(),
            receipt.output.short(),
            receipt.fuel_used.to_string(),
            text::size(receipt.memory_peak_bytes),
            receipt.engine.short(),
        ]);
    }
    table
}

async fn verify(global: &Global, file: &Path, fabric: Option<FabricId>) -> Outcome {
    let (_, proof) = read(file)?;
    let found = proof.order.fabric;
    if let Some(fabric) = fabric.filter(|fabric| *fabric != found) {
        let message = format!("{}: of fabric {found}, not of {fabric}", file.display());
        return Err(refused(message));
    }
    let agreement = proof.verify();
    let agreement = agreement.map_err(|error| refused(error).context(file.display()))?;
    let draw = draw(global, &proof).await;
    let draw = draw.map_err(|failure| failure.context(file.display()))?;
    let verified = Verified {
        told: told(&proof),
        agreed: agreement.agreeing.into_iter().collect(),
        outvoted: agreement.outvoted.into_iter().collect(),
        silent: agreement.silent.into_iter().collect(),
        draw_checked: draw.is_none(),
        draw_unchecked: draw,
    };
    terminal::print(&format(global.output, &verified, || render(&verified))?)
}

/// Has a node of the fabric say whom the block draws; returns why none could.
async fn draw(global: &Global, proof: &ExecutionProof) -> Outcome<Option<String>> {
    let session = match Session::new(global) {
        Ok(session) => session,
        Err(failure) => return Ok(Some(failure.message().to_owned())),
    };
    let request = DrawRequest {
        order: HEXLOWER.encode(&proof.order.encode()),
    };
    match session.client().draw(&request).await {
        Err(error) => Ok(Some(error.to_string())),
        Ok(answer) if proof.drawn.iter().eq(&answer.drawn) => Ok(None),
        Ok(answer) => {
            let drawn: Vec<_> = answer.drawn.iter().map(ToString::to_string).collect();
            let (anchor, drawn) = (answer.anchor, drawn.join(", "));
            Err(refused(format!("block {anchor} draws others: {drawn}")))
        }
    }
}

fn render(verified: &Verified) -> String {
    let told = &verified.told;
    let mut fields = fields(told);
    let drawn = told.drawn.len();
    fields.add("Agree", format!("{} of {drawn}", verified.agreed.len()));
    fields.list("Agreed", &verified.agreed);
    fields.list("Outvoted", &verified.outvoted);
    fields.list("Silent", &verified.silent);
    let draw = match &verified.draw_unchecked {
        None => "checked with the node".to_owned(),
        Some(reason) => format!("not checked: {reason}"),
    };
    fields.add("Draw", draw);
    format!("{}\n\n{}", fields.render(0), receipts(told).render())
}

async fn challenge(session: &Session, file: &Path) -> Outcome {
    let (bytes, _) = read(file)?;
    let request = ChallengeRequest {
        receipt: HEXLOWER.encode(&bytes),
    };
    let what = "waiting for others to run it again";
    let challenge = terminal::progress(what, session.client().challenge(&request));
    let report = challenge.await.map_err(|error| session.failure(error))?;
    session.show(&report, || render_challenge(&report))?;
    let with = |verdict| move |judged: &&JudgedReceipt| judged.verdict == verdict;
    let mut receipts = report.receipts.iter();
    if let Some(judged) = receipts.find(with(ReceiptVerdict::Refuted)) {
        let message = format!("the receipt of node {} is refuted", judged.node);
        return Err(refused(message));
    }
    let mut receipts = report.receipts.iter();
    match receipts.find(with(ReceiptVerdict::Undecided)) {
        None => Ok(()),
        Some(_) => {
            let message = "too few nodes ran it again to say: try again later";
            Err(Failure::new(Exit::Failed, message))
        }
    }
}

fn render_challenge(report: &ChallengeReport) -> String {
    let mut lines = Vec::new();
    for JudgedReceipt {
        node,
        verdict,
        differences,
    } in &report.receipts
    {
        let verdict = match verdict {
            ReceiptVerdict::Confirmed => "confirmed",
            ReceiptVerdict::Refuted => "refuted",
            ReceiptVerdict::Undecided => "undecided",
        };
        lines.push(format!("receipt of node {node}: {verdict}"));
        for difference in differences {
            let (field, by) = (&difference.field, difference.by);
            let (claimed, found) = (&difference.claimed, &difference.found);
            lines.push(format!("  {field} {claimed}, node {by} got {found}"));
        }
    }
    let mut table = Table::new(&["RUN AGAIN BY", "OUTPUT", "FUEL", "REASON"]);
    for SecondRun {
        node,
        output,
        fuel_used,
        reason,
    } in &report.again
    {
        table.row(vec![
            node.to_string(),
            output.map(|output| output.short()).unwrap_or_default(),
            fuel_used.map(|fuel| fuel.to_string()).unwrap_or_default(),
            reason.clone().unwrap_or_default(),
        ]);
    }
    format!("{}\n\n{}", lines.join("\n"), table.render())
}
