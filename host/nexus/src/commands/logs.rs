//! `nexus logs`: what a workload wrote, and with `-f` what it writes.

use admin::{LogLine, LogQuery};
use types::Name;

use crate::cli::{LogsArgs, Output};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::status::log_line;
use crate::terminal;

pub(crate) async fn run(session: &Session, args: LogsArgs) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    if let Some(component) = &args.component {
        check_component(session, &args.name, component).await?;
    }
    let query = LogQuery {
        component: args.component,
        tail: args.tail,
        follow: args.follow,
        here: false,
    };
    let read = async {
        let reader = session.client().logs(&args.name, &query).await;
        let mut reader = reader.map_err(|error| session.failure(error))?;
        while let Some(line) = reader
            .next()
            .await
            .map_err(|error| session.failure(error))?
        {
            terminal::print(&format(session.output(), &line)?)?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = read => outcome,
        // Ctrl-C is how following ends; a plain read that it cuts short is incomplete.
        () = interrupt.received() => if args.follow {
            Ok(())
        } else {
            Err(Failure::new(Exit::Interrupted, "interrupted"))
        },
    }
}

/// A component that is not there has no lines: a mistyped name must not look like silence.
async fn check_component(session: &Session, name: &Name, component: &Name) -> Outcome {
    let status = session
        .client()
        .workload(name)
        .await
        .map_err(|error| session.failure(error))?;
    let names: Vec<&str> = status
        .components
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    if names.contains(&component.as_str()) {
        return Ok(());
    }
    let message = format!(
        "`{name}` has no component `{component}`; it has {}",
        names.join(", ")
    );
    Err(Failure::new(Exit::NotFound, message))
}

/// One line of output: for people, one JSON object, or one YAML document.
fn format(output: Output, line: &LogLine) -> Outcome<String> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot print a log line: {error}"))
    };
    match output {
        Output::Json => serde_json::to_string(line).map_err(|error| failed(&error)),
        Output::Yaml => serde_saphyr::to_string(line)
            .map(|text| format!("---\n{}", text.trim_end()))
            .map_err(|error| failed(&error)),
        // A terminal must not be steered by a guest; a file gets what the guest wrote.
        Output::Table if terminal::output_is_terminal() => Ok(terminal::printable(&log_line(line))),
        Output::Table => Ok(log_line(line)),
    }
}
