//! `nexus invoke`: one call of a typed export, arguments and result in WAVE, by one node or several.

use admin::{ClientError, ErrorCode, InvokeRequest, NodeVerdict, ReplicationReport};

use crate::cli::{InvokeArgs, Output};
use crate::commands::receipt;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::terminal;

pub(crate) async fn run(session: &Session, args: InvokeArgs) -> Outcome {
    let request = InvokeRequest {
        component: args.component,
        export: args.export,
        arguments: args.args,
        replicate: args.replicate,
        receipt: args.receipt.is_some(),
        here: false,
    };
    let mut interrupt = Interrupt::new()?;
    let what = format!("waiting for {}", request.export);
    let call = terminal::progress(&what, session.client().invoke(&args.name, &request));
    let mut answer = tokio::select! {
        answer = call => answer.map_err(|error| failure(session, error))?,
        () = interrupt.received() => {
            let message = "interrupted: the node is told to cancel the call";
            return Err(Failure::new(Exit::Interrupted, message));
        }
    };
    if let Some(file) = &args.receipt {
        // In the file, and too long for the terminal.
        let hex = answer.receipt.take();
        let none = || Failure::new(Exit::Failed, "the node gave no receipt");
        receipt::write(file, &hex.ok_or_else(none)?)?;
    }
    if let (Output::Table, Some(report)) = (session.output(), &answer.replication) {
        terminal::note(&terminal::printable(&summary(report)));
    }
    session.show(&answer, || terminal::printable(&answer.result))
}

/// Who agreed, who did not, who was silent, one line for each kind.
fn summary(report: &ReplicationReport) -> String {
    let of = |verdict| {
        let nodes = report.nodes.iter();
        let nodes = nodes.filter(move |outcome| outcome.verdict == verdict);
        nodes.map(|outcome| match &outcome.reason {
            Some(reason) => format!("{} ({reason})", outcome.node),
            None => outcome.node.to_string(),
        })
    };
    let agreed: Vec<_> = of(NodeVerdict::Agreed).collect();
    let (count, drawn) = (agreed.len(), report.nodes.len());
    let mut text = format!("{count} of {drawn} nodes agree: {}", agreed.join(", "));
    for (verdict, word) in [
        (NodeVerdict::Outvoted, "outvoted"),
        (NodeVerdict::Silent, "silent"),
    ] {
        for node in of(verdict) {
            text.push_str(&format!("\n{word}: {node}"));
        }
    }
    text
}

/// A call that the node does not understand was not typed right.
fn failure(session: &Session, error: ClientError) -> Failure {
    let wrong = matches!(&error, ClientError::Refused(refusal)
        if refusal.code == ErrorCode::BadRequest);
    if wrong {
        Failure::new(Exit::Usage, error)
    } else {
        session.failure(error)
    }
}
