//! `nexus ps`: one line per workload.

use crate::cli::Output;
use crate::exit::Outcome;
use crate::session::Session;
use crate::status::{activity, kinds, next_restart, replicas, restarts, routes, why};
use crate::table::Table;
use crate::terminal;

pub(crate) async fn run(session: &Session) -> Outcome {
    let list = session
        .client()
        .workloads()
        .await
        .map_err(|error| session.failure(error))?;
    if list.workloads.is_empty() && session.output() == Output::Table {
        terminal::note("no workloads: `nexus deploy FILE` brings one");
        return Ok(());
    }
    session.show(&list, || {
        let headings = [
            "NAME", "STATE", "REPLICAS", "KIND", "ROUTE", "RESTARTS", "REASON",
        ];
        let mut table = Table::new(&headings);
        for status in &list.workloads {
            let reason: Vec<String> = activity(status)
                .or_else(|| why(status))
                .into_iter()
                .chain(next_restart(status))
                .collect();
            table.row(vec![
                status.name.to_string(),
                status.state.to_string(),
                replicas(status),
                kinds(status),
                routes(status),
                restarts(status).to_string(),
                reason.join("; "),
            ]);
        }
        table.render()
    })
}
