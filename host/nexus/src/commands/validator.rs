//! `nexus validator`: who votes on the ledger, and who is to.

use admin::{TransactionReport, ValidatorList};

use crate::cli::ValidatorCommand;
use crate::exit::Outcome;
use crate::session::Session;
use crate::table::Table;

pub(crate) async fn run(session: &Session, command: ValidatorCommand) -> Outcome {
    let client = session.client();
    let (report, done) = match command {
        ValidatorCommand::List => return list(session).await,
        ValidatorCommand::Add { id } => (
            client.add_validator(&id).await,
            format!("this node voted that {} gets a vote", id.short()),
        ),
        ValidatorCommand::Remove { id } => (
            client.remove_validator(&id).await,
            format!("this node voted that {} loses its vote", id.short()),
        ),
        ValidatorCommand::Resign => (
            client.resign().await,
            "this node gives its vote back with the next epoch".to_owned(),
        ),
    };
    let report: TransactionReport = report.map_err(|error| session.failure(error))?;
    session.show(&report, || format!("{done}, height {}", report.height))
}

async fn list(session: &Session) -> Outcome {
    let list = session.client().validators().await;
    let list = list.map_err(|error| session.failure(error))?;
    session.show(&list, || render(&list))
}

fn render(list: &ValidatorList) -> String {
    let ValidatorList {
        epoch,
        epoch_ends_at,
        quorum,
        validators,
        proposed,
        convicted,
    } = list;
    let mut table = Table::new(&["VALIDATOR", "NOW", "NEXT EPOCH"]);
    let says = |votes| if votes { "votes" } else { "-" }.to_owned();
    for validator in validators {
        table.row(vec![
            validator.node.to_string(),
            says(validator.now),
            says(validator.next),
        ]);
    }
    let mut text = table.render();
    text.push_str(&format!("\nepoch {epoch} ends at height {epoch_ends_at}"));
    for change in proposed {
        text.push_str(&format!(
            "\nto {} {}: {} of {quorum} votes",
            change.change,
            change.node,
            change.votes.len()
        ));
    }
    for conviction in convicted {
        text.push_str(&format!(
            "\n{} contradicted itself in epoch {}, view {} (proven at height {})",
            conviction.node, conviction.epoch, conviction.view, conviction.at
        ));
    }
    text
}
