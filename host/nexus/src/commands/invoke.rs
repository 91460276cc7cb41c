//! `nexus invoke`: one call of a typed export, arguments and result in WAVE.

use admin::{ClientError, ErrorCode, InvokeRequest};

use crate::cli::InvokeArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::terminal;

pub(crate) async fn run(session: &Session, args: InvokeArgs) -> Outcome {
    let request = InvokeRequest {
        component: args.component,
        export: args.export,
        arguments: args.args,
    };
    let mut interrupt = Interrupt::new()?;
    let what = format!("waiting for {}", request.export);
    let call = terminal::progress(&what, session.client().invoke(&args.name, &request));
    let answer = tokio::select! {
        answer = call => answer.map_err(|error| failure(session, error))?,
        () = interrupt.received() => {
            let message = "interrupted: the node is told to cancel the call";
            return Err(Failure::new(Exit::Interrupted, message));
        }
    };
    session.show(&answer, || terminal::printable(&answer.result))
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
