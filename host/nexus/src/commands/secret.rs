//! `nexus secret`: set, list, remove. A value comes from a file or standard input, never from the
//! command line, where others could read it.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use types::Name;

use crate::cli::SecretCommand;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::terminal;

/// Most bytes that are read of a value; the node has the bound that counts.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

pub(crate) async fn run(session: &Session, command: SecretCommand) -> Outcome {
    match command {
        SecretCommand::Set { name, from_file } => {
            let value = read(&name, from_file.as_deref())?;
            let list = session.client().set_secret(&name, value).await;
            let list = list.map_err(|error| session.failure(error))?;
            session.show(&list, || {
                format!("set secret `{name}`: components get it when they start")
            })
        }
        SecretCommand::List => {
            let list = session.client().secrets().await;
            let list = list.map_err(|error| session.failure(error))?;
            session.show(&list, || match list.secrets.as_slice() {
                [] => "no secrets".to_owned(),
                names => names
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n"),
            })
        }
        SecretCommand::Rm { name } => {
            let list = session.client().remove_secret(&name).await;
            let list = list.map_err(|error| session.failure(error))?;
            session.show(&list, || format!("removed secret `{name}`"))
        }
    }
}

fn read(name: &Name, file: Option<&Path>) -> Outcome<Vec<u8>> {
    let failed = |what: &str, error: io::Error| {
        Failure::new(Exit::Failed, format!("cannot read {what}: {error}"))
    };
    let mut value = Vec::new();
    let read = |input: &mut dyn io::Read, value: &mut Vec<u8>| {
        input.take(VALUE_BYTES_MAX + 1).read_to_end(value)
    };
    if let Some(path) = file {
        let what = path.display().to_string();
        let mut file = std::fs::File::open(path).map_err(|error| failed(&what, error))?;
        read(&mut file, &mut value).map_err(|error| failed(&what, error))?;
    } else if io::stdin().is_terminal() {
        terminal::note(&format!(
            "type the value of `{name}` and press Enter; it is shown as typed"
        ));
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|error| failed("standard input", error))?;
        value = line.trim_end_matches(['\r', '\n']).as_bytes().to_vec();
    } else {
        let mut input = io::stdin().lock();
        read(&mut input, &mut value).map_err(|error| failed("standard input", error))?;
    }
    if value.len() as u64 > VALUE_BYTES_MAX {
        let message = format!("the value has more than {VALUE_BYTES_MAX} bytes");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(value)
}
