//! One question, one answer, in as few round trips as the peer's ticket allows. What travels
//! before the handshake has ended can be replayed: only idempotent requests do.

use std::sync::Arc;

use quinn::Connection;
use tokio::time::Instant;

use crate::bounds::{EARLY_BYTES_MAX, HANDSHAKE_TIME};
use crate::close::CloseReason;
use crate::control;
use crate::dial::{DialError, Target, Turn, dial, finish_hello};
use crate::endpoint::Shared;
use crate::lane::Lane;
use crate::link::Standing;
use crate::proto::{ControlFrame, Hello, Service};
use crate::reach::{Ways, expect, reach};
use crate::read::{ReadError, RecvStream};
use crate::session::{OpenError, OpenOptions, Session, header};
use crate::tls::server_name;
use crate::write::{SendStream, WriteError};

/// A whole request.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who is asked.
    pub service: Service,
    /// What it brings along.
    pub options: OpenOptions,
    /// What is asked.
    pub request: &'a [u8],
    /// Longest answer that is taken.
    pub answer_bytes_max: usize,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was answered.
    pub bytes: Vec<u8>,
    /// Whether the request travelled with the first packets of the handshake.
    pub was_early: bool,
}

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no session.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is no stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The request did not go out.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The answer did not come in.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Asks over the session with `target`; if there is none, along with what makes one.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    target: Target,
    question: Question<'_>,
) -> Result<Answer, AskError> {
    let turn = match target.node {
        None => None,
        Some(node) => {
            if let Some(session) = shared.session(&node) {
                return over(&session, question).await;
            }
            let turn = Turn::take(shared, node).await;
            if let Some(session) = shared.session(&node) {
                return over(&session, question).await;
            }
            Some(turn)
        }
    };
    let early = try_early(shared, &target, question).await;
    let begun = match early {
        Some(begun) => begun?,
        None => {
            let (connection, standing) = reach(shared, target.clone(), Ways::All).await?;
            let sent = send(shared, &connection, question).await?;
            Begun {
                connection,
                standing,
                sent,
                was_early: false,
            }
        }
    };
    let was_early = begun.was_early;
    let mut recv = begun.sent.recv;
    // The answer does not wait until both ends have the session; the next to ask do.
    let session = tokio::spawn(make_session(
        shared.clone(),
        begun.connection,
        begun.standing,
        begun.sent.control,
        turn,
    ));
    match recv.read_to_end(question.answer_bytes_max).await {
        Ok(bytes) => Ok(Answer { bytes, was_early }),
        Err(ReadError::SessionEnded(reason)) => {
            let reason = session.await.ok().and_then(Result::err).unwrap_or(reason);
            let again = match &reason {
                // Nothing was served. A ticket may be older than a certificate: without one, the
                // full handshake decides.
                CloseReason::Refused { .. } => {
                    shared.kept.forget_one(&server_name(target.node.as_ref()));
                    true
                }
                // It may have been served.
                CloseReason::Replaced => question.options.idempotent,
                _ => false,
            };
            if !again {
                return Err(DialError::from(reason).into());
            }
            let session = dial(shared, target).await?;
            over(&session, question).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a session of the connection that a question began, and ends the turn.
async fn make_session(
    shared: Arc<Shared>,
    connection: Connection,
    standing: Standing,
    control: (Hello, quinn::SendStream, quinn::RecvStream),
    _turn: Option<Turn>,
) -> Result<(), CloseReason> {
    let hello = finish_hello(shared, connection.clone(), standing, control);
    match tokio::time::timeout(HANDSHAKE_TIME, hello).await {
        Ok(heard) => heard.map(|_| ()),
        Err(_) => {
            let reason = CloseReason::protocol("no hello came in time");
            let (code, text) = reason.to_wire();
            connection.close(code, text.as_bytes());
            Err(reason)
        }
    }
}

async fn over(session: &Session, question: Question<'_>) -> Result<Answer, AskError> {
    let (mut send, mut recv) = session.open(question.service, question.options).await?;
    send.write_all(question.request).await?;
    send.finish().await?;
    let bytes = recv.read_to_end(question.answer_bytes_max).await?;
    let was_early = false;
    Ok(Answer { bytes, was_early })
}

/// A request that went out before there was a session.
struct Begun {
    connection: Connection,
    standing: Standing,
    sent: Sent,
    was_early: bool,
}

/// Asks with the first packets of a handshake; `None` if the request may not travel so, there is
/// no ticket, or the peer did not take it.
async fn try_early(
    shared: &Arc<Shared>,
    target: &Target,
    question: Question<'_>,
) -> Option<Result<Begun, AskError>> {
    if !question.options.idempotent || question.request.len() > EARLY_BYTES_MAX {
        return None;
    }
    let name = server_name(Some(&target.node?));
    let address = *target.addresses.first()?;
    if !shared.kept.has(&name) {
        return None;
    }
    let connecting = shared
        .quinn
        .connect_with(shared.client.clone(), address, &name)
        .ok()?;
    let (connection, accepted) = connecting.into_0rtt().ok()?;
    let sent = async {
        let sent = send(shared, &connection, question).await;
        accepted.await.then_some(sent)
    };
    let sent = tokio::time::timeout(HANDSHAKE_TIME, sent).await.ok()?;
    let Ok(standing) = expect(shared, &connection, target.node) else {
        // The ticket may be older than the peer's certificate: the full handshake decides.
        shared.kept.forget_one(&name);
        return None;
    };
    let (sent, was_early) = match sent {
        Some(sent) => (sent, true),
        // Not taken; but this connection is as good as another.
        None => (send(shared, &connection, question).await, false),
    };
    Some(sent.map(|sent| Begun {
        connection,
        standing,
        sent,
        was_early,
    }))
}

/// What went out, and where answers come in.
struct Sent {
    control: (Hello, quinn::SendStream, quinn::RecvStream),
    recv: RecvStream,
}

/// Sends the hello and the request, before the peer has said a word.
async fn send(
    shared: &Arc<Shared>,
    connection: &Connection,
    question: Question<'_>,
) -> Result<Sent, AskError> {
    let lost = |error| OpenError::SessionEnded(CloseReason::from_error(&error));
    let (mut send, control_recv) = connection.open_bi().await.map_err(lost)?;
    let hello = Hello::new(shared.incarnation, shared.next_attempt());
    control::write(&mut send, &ControlFrame::Hello(hello.clone()))
        .await
        .map_err(OpenError::SessionEnded)?;
    let control = (hello, send, control_recv);
    let (send, recv) = connection.open_bi().await.map_err(lost)?;
    let deadline = question.options.deadline.map(|left| Instant::now() + left);
    let first = header(question.service, question.options)
        .to_frame()
        .map_err(OpenError::Header)?;
    let mut send = SendStream::new(send, &first, deadline, Arc::new(Lane::new(None)), None);
    send.write_all(question.request).await?;
    send.finish().await?;
    let recv = RecvStream::of_reply(recv, deadline);
    Ok(Sent { control, recv })
}
