//! `nexus ledger proof` and `nexus ledger verify`: proofs of entries as files. Verifying asks nobody.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ledger::{AnyRecord, Genesis, StateKey};
use node::{ENTRY_PROOF_BYTES_MAX, EntryProof, ProvenEntry};
use serde::Serialize;
use serde_json::Value;
use types::{Digest, FabricId};

use crate::cli::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::folders;
use crate::session::{Session, format};
use crate::table::Fields;
use crate::{terminal, text};

/// What a proof proves.
#[derive(Serialize)]
struct Proven {
    fabric: FabricId,
    key: String,
    /// Height after which it was so.
    height: u64,
    /// Ledger time there, Unix milliseconds.
    time_ms: u64,
    block: Digest,
    state_root: String,
    /// Changes of validators between the genesis and the block.
    validator_changes: usize,
    /// Whether there was such an entry.
    present: bool,
    /// Its value, hex.
    value: Option<String>,
    /// What the value says; none for a kind of entry that this release does not know.
    record: Option<Value>,
    proof_bytes: usize,
}

/// Where a proof was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    #[serde(flatten)]
    proven: Proven,
}

pub(crate) async fn fetch(session: &Session, key: &str, out: Option<PathBuf>) -> Outcome {
    let key = parsed(key)?;
    let bytes = session.client().entry_proof(&key.to_string()).await;
    let bytes = bytes.map_err(|error| session.failure(error))?;
    let unproven = |failure: Failure| failure.context("the node's answer proves nothing");
    let proof = EntryProof::decode(&bytes).map_err(|error| unproven(refused(error)))?;
    let genesis = Genesis::decode(&proof.genesis);
    let fabric = genesis
        .map_err(|error| unproven(refused(error)))?
        .fabric_id();
    let proven = check(&proof, &fabric, Some(&key), bytes.len()).map_err(unproven)?;
    let file = out.unwrap_or_else(|| default_name(&key));
    std::fs::write(&file, &bytes).map_err(|error| folders::failed("write", &file, &error))?;
    let written = Written { file, proven };
    session.show(&written, || {
        let Written { file, proven } = &written;
        let what = if proven.present {
            "the value"
        } else {
            "the absence"
        };
        format!(
            "{} proves {what} of {} at height {} ({})\nnexus ledger verify {} --fabric {fabric}",
            file.display(),
            proven.key,
            proven.height,
            text::size(proven.proof_bytes as u64),
            file.display(),
        )
    })
}

/// The key as the name of a file here.
fn default_name(key: &StateKey) -> PathBuf {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let letter = |byte: &u8| if plain(byte) { char::from(*byte) } else { '-' };
    // Names of files are shorter than keys may be.
    let name: String = key.as_bytes().iter().take(200).map(letter).collect();
    format!("{name}.proof").into()
}

pub(crate) fn verify(
    global: &Global,
    file: &Path,
    fabric: &FabricId,
    key: Option<&str>,
) -> Outcome {
    let key = key.map(parsed).transpose()?;
    let bytes = read(file)?;
    let proof = EntryProof::decode(&bytes);
    let proof = proof.map_err(|error| refused(error).context(file.display()))?;
    let proven = check(&proof, fabric, key.as_ref(), bytes.len());
    let proven = proven.map_err(|failure| failure.context(file.display()))?;
    let record = pretty(proven.record.as_ref())?;
    terminal::print(&format(global.output, &proven, || {
        render(&proven, &record)
    })?)
}

/// No more of the file than a proof can have, and one byte to notice that there is more.
fn read(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |error| folders::failed("read", path, &error);
    let limit = (ENTRY_PROOF_BYTES_MAX as u64).saturating_add(1);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn check(
    proof: &EntryProof,
    fabric: &FabricId,
    key: Option<&StateKey>,
    proof_bytes: usize,
) -> Outcome<Proven> {
    if let Some(key) = key.filter(|key| **key != proof.key) {
        let message = format!("the proof is about `{}`, not about `{key}`", proof.key);
        return Err(Failure::new(Exit::Refused, message));
    }
    let ProvenEntry {
        header,
        key,
        value,
        handovers,
    } = proof.verify(fabric).map_err(refused)?;
    let record = match &value {
        Some(value) => AnyRecord::decode(&key, value),
        None => Ok(None),
    };
    // A value that a newer release wrote is proven all the same, and shown raw.
    let record = record.ok().flatten().map(serde_json::to_value).transpose();
    let record = record.map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Proven {
        fabric: *fabric,
        key: key.to_string(),
        height: header.height,
        time_ms: header.time_ms,
        block: Digest::from_bytes(header.block_digest),
        state_root: HEXLOWER.encode(&header.state_root),
        validator_changes: handovers,
        present: value.is_some(),
        value: value.map(|value| HEXLOWER.encode(&value)),
        record,
        proof_bytes,
    })
}

fn render(proven: &Proven, record: &str) -> String {
    let mut fields = Fields::default();
    fields.add("Proven", &proven.key);
    fields.add("Fabric", proven.fabric);
    let (height, time) = (proven.height, text::moment(proven.time_ms));
    fields.add("At", format!("height {height}, {time}"));
    fields.add("Block", proven.block);
    fields.add("State root", &proven.state_root);
    let changes = proven.validator_changes;
    let by = match changes {
        0 => "the validators of the genesis".to_owned(),
        _ => format!("validators after {}", text::count(changes, "change")),
    };
    fields.add("Signed by", by);
    match &proven.value {
        Some(value) => {
            fields.add("Value", value);
            fields.add("Record", record);
        }
        None => fields.add("Value", "none: there was no such entry"),
    }
    fields.render(0)
}

/// A record as people read it.
pub(crate) fn pretty(record: Option<&Value>) -> Outcome<String> {
    let Some(record) = record else {
        return Ok("of a kind that is not known here".to_owned());
    };
    let text = serde_json::to_string_pretty(record);
    text.map_err(|error| Failure::new(Exit::Failed, error))
}

/// A key as it was typed.
pub(crate) fn parsed(key: &str) -> Outcome<StateKey> {
    let wrong = |error| Failure::new(Exit::Usage, error);
    key.parse().map_err(wrong)
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Refused, error)
}
