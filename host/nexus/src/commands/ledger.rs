//! `nexus ledger`: how it stands, its blocks, its transactions, its entries.

use admin::{
    Acceptance, BlockContents, BlocksQuery, EntryStatus, FinalTransaction, LedgerStatus, NextRules,
    RulesStatus, WatchQuery, WatchedBlock,
};
use types::Digest;

use crate::cli::{Global, LedgerCommand, Output};
use crate::commands::proof;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::table::{Fields, Table};
use crate::{terminal, text};

pub(crate) async fn run(global: &Global, command: LedgerCommand) -> Outcome {
    // It asks no node, and needs no data directory.
    if let LedgerCommand::Verify { file, fabric, key } = command {
        return proof::verify(global, &file, &fabric, key.as_deref());
    }
    let session = &Session::new(global)?;
    match command {
        LedgerCommand::Status => status(session).await,
        LedgerCommand::Blocks { from, limit } => blocks(session, from, limit).await,
        LedgerCommand::Block { block } => contents(session, &block).await,
        LedgerCommand::Tx { id } => transaction(session, &id).await,
        LedgerCommand::Get { key } if key.ends_with('/') => keys(session, &key).await,
        LedgerCommand::Get { key } => entry(session, &key).await,
        LedgerCommand::Proof { key, out } => proof::fetch(session, &key, out).await,
        LedgerCommand::Watch { prefix, from } => watch(session, prefix, from).await,
        LedgerCommand::Verify { .. } => Ok(()),
    }
}

async fn status(session: &Session) -> Outcome {
    let status = session.client().ledger().await;
    let status = status.map_err(|error| session.failure(error))?;
    session.show(&status, || render_status(&status))
}

fn render_status(status: &LedgerStatus) -> String {
    let mut fields = Fields::default();
    fields.add("Fabric", status.fabric);
    fields.add("Node", format!("{} ({})", status.node, status.role));
    fields.add("Height", status.height);
    fields.add("Ledger time", text::moment(status.time_ms));
    fields.add("State root", &status.state_root);
    fields.add("Epoch", status.epoch);
    let next = status
        .next_validators
        .map(|next| format!(", {next} from the next epoch on"));
    let next = next.unwrap_or_default();
    fields.add("Validators", format!("{}{next}", status.validators));
    fields.add("Rules", render_rules(&status.rules));
    let (waiting, bytes) = (status.waiting_transactions, status.waiting_bytes);
    fields.add(
        "Waiting",
        format!("{waiting} transactions, {}", text::size(bytes)),
    );
    fields.add("Peers", status.peers);
    let heard = match status.heard_height.zip(status.heard_peers) {
        Some((height, peers)) => format!("height {height} of {peers} peers"),
        None => "nothing".to_owned(),
    };
    fields.add("Heard", heard);
    let pace = match (status.lagging, status.catching_up) {
        (Some(from), _) => format!("far behind: peers keep blocks from height {from} on"),
        (None, true) => "catching up".to_owned(),
        (None, false) => "up to date".to_owned(),
    };
    fields.add("Pace", pace);
    fields.render(0)
}

/// Which rules are in force, what follows, and what the node knows, in one line.
pub(super) fn render_rules(rules: &RulesStatus) -> String {
    let mut text = format!("{} since height {}", rules.version, rules.since);
    if let Some(next) = rules.next {
        let (version, height) = (next.version, next.height);
        text.push_str(&format!(", {version} from height {height} on"));
        if version > rules.known_newest {
            text.push_str(": this node will stop there, install a newer nexus");
        }
    }
    for vote in &rules.votes {
        let voter = vote.validator.short();
        text.push_str(&match vote.wish {
            Some(NextRules { version, height }) => {
                format!("; {voter} votes for {version} from height {height} on")
            }
            None => format!("; {voter} votes against the change"),
        });
    }
    let (oldest, newest) = (rules.known_oldest, rules.known_newest);
    let known = match oldest == newest {
        true => newest.to_string(),
        false => format!("{oldest} to {newest}"),
    };
    text.push_str(&format!(" (this node knows {known})"));
    text
}

async fn blocks(session: &Session, from: Option<u64>, limit: u64) -> Outcome {
    let limit = Some(limit);
    let list = session.client().blocks(&BlocksQuery { from, limit }).await;
    let list = list.map_err(|error| session.failure(error))?;
    session.show(&list, || {
        let headings = ["HEIGHT", "TIME", "TXS", "FINAL BY", "LEADER", "DIGEST"];
        let mut table = Table::new(&headings);
        for block in &list.blocks {
            table.row(vec![
                block.height.to_string(),
                text::moment(block.time_ms),
                block.transactions.to_string(),
                final_by(block.certificate).to_owned(),
                block.leader.short(),
                block.digest.to_string(),
            ]);
        }
        table.render()
    })
}

const fn final_by(certificate: bool) -> &'static str {
    if certificate {
        "its own"
    } else {
        "a later block"
    }
}

async fn contents(session: &Session, block: &str) -> Outcome {
    let contents = session.client().block_contents(block).await;
    let contents = contents.map_err(|error| session.failure(error))?;
    session.show(&contents, || render_contents(&contents))
}

fn render_contents(contents: &BlockContents) -> String {
    let block = &contents.block;
    let mut fields = Fields::default();
    fields.add("Height", block.height);
    fields.add("Time", text::moment(block.time_ms));
    fields.add("Digest", block.digest);
    fields.add("Parent", block.parent);
    fields.add("State root", &block.state_root);
    fields.add("Leader", block.leader);
    fields.add("Final by", final_by(block.certificate));
    fields.add("Transactions", block.transactions);
    let mut parts = vec![fields.render(0)];
    for transaction in &contents.transactions {
        parts.push(String::new());
        parts.push(render_transaction(transaction, 2));
    }
    parts.join("\n")
}

async fn transaction(session: &Session, id: &Digest) -> Outcome {
    let transaction = session.client().transaction(id).await;
    let transaction = transaction.map_err(|error| session.failure(error))?;
    session.show(&transaction, || render_transaction(&transaction, 0))
}

fn render_transaction(transaction: &FinalTransaction, indent: usize) -> String {
    let mut fields = Fields::default();
    fields.add("Transaction", transaction.id);
    if indent == 0 {
        let (index, height) = (transaction.index, transaction.height);
        let place = text::ordinal(index.saturating_add(1));
        fields.add("Block", format!("{height}, {place} in it"));
    }
    fields.add("Signer", transaction.signer);
    fields.add("Nonce", transaction.nonce);
    fields.add("Asks", &transaction.asks);
    let outcome = match &transaction.outcome {
        Some(Acceptance::Applied) => "applied".to_owned(),
        Some(Acceptance::Refused { message, .. }) => format!("refused: {message}"),
        None => "not remembered by this node".to_owned(),
    };
    fields.add("Outcome", outcome);
    fields.render(indent)
}

async fn entry(session: &Session, key: &str) -> Outcome {
    let key = proof::parsed(key)?.to_string();
    let entry = session.client().entry(&key).await;
    let entry = entry.map_err(|error| session.failure(error))?;
    let record = proof::pretty(entry.record.as_ref())?;
    session.show(&entry, || render_entry(&entry, &record))
}

fn render_entry(entry: &EntryStatus, record: &str) -> String {
    let mut fields = Fields::default();
    fields.add("Key", &entry.key);
    fields.add("Height", entry.height);
    fields.add("Value", &entry.value);
    fields.add("Record", record);
    fields.render(0)
}

async fn keys(session: &Session, prefix: &str) -> Outcome {
    let list = session.client().keys(prefix).await;
    let list = list.map_err(|error| session.failure(error))?;
    session.show(&list, || {
        let mut lines: Vec<String> = list
            .keys
            .iter()
            .map(|key| terminal::printable(key))
            .collect();
        if lines.is_empty() {
            lines.push(format!(
                "no key begins with {prefix} at height {}",
                list.height
            ));
        }
        if list.more > 0 {
            lines.push(format!("and {} more", list.more));
        }
        lines.join("\n")
    })
}

async fn watch(session: &Session, prefix: Option<String>, from: Option<u64>) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    let query = WatchQuery { from, prefix };
    let read = async {
        let reader = session.client().watch(&query).await;
        let mut reader = reader.map_err(|error| session.failure(error))?;
        loop {
            let block = reader.next().await;
            let Some(block) = block.map_err(|error| session.failure(error))? else {
                let message = "the node stopped";
                return Err(Failure::new(Exit::Unreachable, message));
            };
            show_watched(session.output(), &block)?;
        }
    };
    tokio::select! {
        outcome = read => outcome,
        () = interrupt.received() => Ok(()),
    }
}

fn show_watched(output: Output, block: &WatchedBlock) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot print a block: {error}"))
    };
    match output {
        Output::Json => {
            let text = serde_json::to_string(block).map_err(|error| failed(&error))?;
            return terminal::print(&text);
        }
        Output::Yaml => {
            let text = serde_saphyr::to_string(block).map_err(|error| failed(&error))?;
            return terminal::print(&format!("---\n{}", text.trim_end()));
        }
        Output::Table => {}
    }
    if block.missed > 0 {
        terminal::print(&format!(
            "{} blocks were not looked at: too slow",
            block.missed
        ))?;
    }
    let head = format!("{}  {}", block.height, text::moment(block.time_ms));
    if block.changes.is_empty() {
        let count = usize::try_from(block.transactions).unwrap_or(usize::MAX);
        let transactions = text::count(count, "transaction");
        return terminal::print(&format!("{head}  {transactions}  {}", block.digest));
    }
    for change in &block.changes {
        let said = match (&change.value, &change.record) {
            (None, _) => "removed".to_owned(),
            (Some(_), Some(record)) => record.to_string(),
            (Some(value), None) => value.clone(),
        };
        let line = format!("{head}  {}  {said}", change.key);
        terminal::print(&terminal::printable(&line))?;
    }
    Ok(())
}
