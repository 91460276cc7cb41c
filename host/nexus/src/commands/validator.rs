//! `nexus validator`: who votes on the ledger, and who is to.

use admin::{TransactionReport, ValidatorList};

use crate::cli::ValidatorCommand;
use crate::exit::{Exit, Failure, Outcome};
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
        ValidatorCommand::Upgrade {
            version,
            at,
            unknown,
        } => {
            if !unknown {
                knows(session, version).await?;
            }
            (
                client.vote_rules(version, at).await,
                format!("this node voted for rules {version} from height {at} on"),
            )
        }
        ValidatorCommand::CancelUpgrade => (
            client.cancel_rules().await,
            "this node voted against a change of the rules".to_owned(),
        ),
        ValidatorCommand::Resign => (
            client.resign().await,
            "this node gives its vote back with the next epoch".to_owned(),
        ),
    };
    let report: TransactionReport = report.map_err(|error| session.failure(error))?;
    session.show(&report, || format!("{done}, height {}", report.height))
}

/// Refuses to vote for rules that would stop the asked node.
async fn knows(session: &Session, version: u32) -> Outcome {
    let status = session.client().ledger().await;
    let newest = status
        .map_err(|error| session.failure(error))?
        .rules
        .known_newest;
    if version <= newest {
        return Ok(());
    }
    let message = format!(
        "this node knows rules up to {newest} and would stop when rules {version} are in force: \
         install a newer nexus first, or vote with --unknown"
    );
    Err(Failure::new(Exit::Refused, message))
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
        absent,
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
    for absence in absent {
        let node = absence.node;
        let state = match absence.since {
            Some(height) => format!("is absent since height {height}"),
            None => "is not reached by some".to_owned(),
        };
        let (witnesses, needed) = (absence.witnesses, absence.needed);
        text.push_str(&format!(
            "\n{node} {state}: {witnesses} validators say so, {needed} are needed"
        ));
    }
    text
}
