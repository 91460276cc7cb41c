//! One question, one answer, in as few round trips as the peer's ticket allows. What travels
//! before the handshake has ended can be replayed: only idempotent requests do.

use std::sync::Arc;

use quinn::Connection;
use tokio::time::Instant;

use crate::bounds::{EARLY_BYTES_MAX, HANDSHAKE_TIME};
use crate::close::CloseReason;
use crate::control;
use crate::dial::{DialError, Target, dial, expect, finish_hello, greet};
use crate::endpoint::Shared;
use crate::lane::Lane;
use crate::proto::{ControlFrame, Hello, Service};
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

/// Asks over the session with `target`, or with its first packets.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    target: Target,
    question: Question<'_>,
) -> Result<Answer, AskError> {
    let may_be_early = question.options.idempotent && question.request.len() <= EARLY_BYTES_MAX;
    if may_be_early && let Some(answer) = try_early(shared, &target, question).await {
        return answer;
    }
    let session = dial(shared, target).await?;
    over(&session, question).await
}

async fn over(session: &Session, question: Question<'_>) -> Result<Answer, AskError> {
    let (mut send, mut recv) = session.open(question.service, question.options).await?;
    let bytes = exchange(&mut send, &mut recv, question).await?;
    let was_early = false;
    Ok(Answer { bytes, was_early })
}

async fn exchange(
    send: &mut SendStream,
    recv: &mut RecvStream,
    question: Question<'_>,
) -> Result<Vec<u8>, AskError> {
    send.write_all(question.request).await?;
    send.finish().await?;
    Ok(recv.read_to_end(question.answer_bytes_max).await?)
}

/// Asks with the first packets; `None` if there is a session, no ticket, or nobody there.
async fn try_early(
    shared: &Arc<Shared>,
    target: &Target,
    question: Question<'_>,
) -> Option<Result<Answer, AskError>> {
    let node = target.node?;
    let name = server_name(Some(&node));
    if shared.session(&node).is_some() || !shared.kept.has(&name) {
        return None;
    }
    let address = *target.addresses.first()?;
    let connecting = shared
        .quinn
        .connect_with(shared.client.clone(), address, &name)
        .ok()?;
    let (connection, accepted) = connecting.into_0rtt().ok()?;
    let early = async {
        let sent = send_early(shared, &connection, question).await;
        if !accepted.await {
            return None;
        }
        Some(sent)
    };
    let Ok(early) = tokio::time::timeout(HANDSHAKE_TIME, early).await else {
        return None;
    };
    let standing = match expect(shared, &connection, Some(node)) {
        Ok(standing) => standing,
        // The ticket may be older than the peer's certificate: the full handshake decides.
        Err(_) => {
            shared.kept.forget_one(&name);
            return None;
        }
    };
    let Some(early) = early else {
        // Not taken: this connection is as good as any other.
        let session = match greet(shared, &connection, standing).await {
            Ok(link) => Session(link),
            Err(reason) => return Some(Err(DialError::from(reason).into())),
        };
        return Some(over(&session, question).await);
    };
    let mut early = match early {
        Ok(early) => early,
        Err(error) => return Some(Err(error)),
    };
    let hello = finish_hello(shared.clone(), connection, standing, early.control);
    // The answer does not wait until both ends have the session.
    let session = tokio::spawn(hello);
    let answered = early.recv.read_to_end(question.answer_bytes_max).await;
    if let Err(ReadError::SessionEnded(_)) = answered
        && let Ok(Err(reason)) = session.await
    {
        // The peer took the ticket and then refused: the full handshake decides.
        shared.kept.forget_one(&name);
        return (!matches!(reason, CloseReason::Refused { .. }))
            .then(|| Err(DialError::from(reason).into()));
    }
    Some(answered.map_err(AskError::from).map(|bytes| Answer {
        bytes,
        was_early: true,
    }))
}

struct Early {
    control: (Hello, quinn::SendStream, quinn::RecvStream),
    recv: RecvStream,
}

/// The hello and the request, before the peer has said a word.
async fn send_early(
    shared: &Arc<Shared>,
    connection: &Connection,
    question: Question<'_>,
) -> Result<Early, AskError> {
    let lost =
        |error: quinn::ConnectionError| OpenError::SessionEnded(CloseReason::from_error(&error));
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
    Ok(Early { control, recv })
}
