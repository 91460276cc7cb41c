//! `nexus context`: nodes elsewhere, by name.

use std::path::PathBuf;

use serde::Serialize;
use trust::SecretKey;
use types::{FabricId, Name, PublicKey};

use crate::cli::{ContextCommand, Global};
use crate::contexts::{Context, Contexts, NodeAddress};
use crate::exit::{Exit, Failure, Outcome};
use crate::folders;
use crate::session;
use crate::table::Table;
use crate::terminal;

/// What `nexus context add` prints for programs.
#[derive(Serialize)]
struct Added {
    name: Name,
    operator: PublicKey,
    key: PathBuf,
}

pub(crate) fn run(global: &Global, command: ContextCommand) -> Outcome {
    match command {
        ContextCommand::Add {
            name,
            address,
            fabric,
            key,
        } => add(global, name, address, fabric, key),
        ContextCommand::List => list(global),
        ContextCommand::Use { name } => {
            let mut contexts = Contexts::load()?;
            contexts.named(&name)?;
            contexts.current = Some(name.clone());
            contexts.store()?;
            terminal::print(&format!(
                "commands speak to `{name}` unless they are told otherwise"
            ))
        }
        ContextCommand::Rm { name } => {
            let mut contexts = Contexts::load()?;
            contexts.named(&name)?;
            contexts.context.remove(&name);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.store()?;
            terminal::print(&format!("removed context `{name}`; its key file stays"))
        }
    }
}

fn add(
    global: &Global,
    name: Name,
    NodeAddress {
        node,
        relay,
        addresses,
    }: NodeAddress,
    fabric: FabricId,
    key: Option<PathBuf>,
) -> Outcome {
    let mut contexts = Contexts::load()?;
    if contexts.context.contains_key(&name) {
        let message = format!("context `{name}` exists: remove it first or choose another name");
        return Err(Failure::new(Exit::Refused, message));
    }
    let key = match key {
        Some(key) => std::path::absolute(&key).unwrap_or(key),
        None => folders::config()?.join(format!("{name}.key")),
    };
    let secret = match key.exists() {
        true => SecretKey::load(&key)?,
        false => {
            let secret = SecretKey::generate()?;
            let folder = key.parent().unwrap_or(&key);
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| folders::failed("create", folder, &error))?;
            secret.store(&key)?;
            secret
        }
    };
    let operator = secret.public();
    contexts.current.get_or_insert_with(|| name.clone());
    let context = Context {
        fabric,
        node,
        relay,
        addresses,
        key: key.clone(),
    };
    contexts.context.insert(name.clone(), context);
    contexts.store()?;
    let added = Added {
        name,
        operator,
        key,
    };
    let text = session::format(global.output, &added, || {
        format!(
            "added context `{}` with operator key {}\nIf that key has no role yet, an admin runs: \
             nexus role grant deployer {operator}",
            added.name,
            added.key.display()
        )
    })?;
    terminal::print(&text)
}

fn list(global: &Global) -> Outcome {
    let contexts = Contexts::load()?;
    let text = session::format(global.output, &contexts, || {
        if contexts.context.is_empty() {
            return "no contexts".to_owned();
        }
        let mut table = Table::new(&["CURRENT", "NAME", "NODE", "THROUGH", "ADDRESSES", "FABRIC"]);
        for (name, context) in &contexts.context {
            let current = contexts.current.as_ref() == Some(name);
            let addresses: Vec<_> = context.addresses.iter().map(ToString::to_string).collect();
            table.row(vec![
                if current { "*" } else { "" }.to_owned(),
                name.to_string(),
                context.node.short(),
                context.relay.map(|relay| relay.short()).unwrap_or_default(),
                addresses.join(","),
                context.fabric.short(),
            ]);
        }
        table.render()
    })?;
    terminal::print(&text)
}
