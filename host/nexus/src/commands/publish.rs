//! `nexus publish`: one message to whoever subscribes.

use std::io::Read as _;

use admin::{ClientError, ErrorCode, PublishQuery};

use crate::cli::PublishArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;

/// Most bytes that are read of standard input: the node refuses less than that, and says how much.
const INPUT_BYTES_MAX: u64 = 1 << 20;

pub(crate) async fn run(session: &Session, args: PublishArgs) -> Outcome {
    let data = match args.text {
        Some(text) => text.into_bytes(),
        None => input()?,
    };
    let query = PublishQuery { topic: args.topic };
    let answer = session.client().publish(&query, data.into()).await;
    let answer = answer.map_err(|error| failure(session, error))?;
    session.show(&answer, || match answer.subscribers {
        0 => format!(
            "nothing here subscribes to {}: it goes nowhere",
            query.topic
        ),
        1 => "queued for 1 component".to_owned(),
        count => format!("queued for {count} components"),
    })
}

fn input() -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let mut input = std::io::stdin().lock().take(INPUT_BYTES_MAX);
    match input.read_to_end(&mut data) {
        Ok(_) => Ok(data),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            format!("standard input: {error}"),
        )),
    }
}

fn failure(session: &Session, error: ClientError) -> Failure {
    let wrong = matches!(&error, ClientError::Refused(refusal)
        if refusal.code == ErrorCode::BadRequest);
    if wrong {
        Failure::new(Exit::Usage, error)
    } else {
        session.failure(error)
    }
}
