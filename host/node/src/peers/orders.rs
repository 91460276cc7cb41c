//! The invoke service: orders of other members carried out, other members asked to carry one out. One
//! stream is one order. Decides nothing about what may run.

use std::sync::Arc;
use std::time::Duration;

use stoq::proto::{self, FrameError, PREFIX_BYTES};
use stoq::{InboundStream, OpenError, OpenOptions, ReadError, RecvStream, Service, WriteError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::executions::{
    ANSWER_BYTES_MAX, ASK_BYTES_MAX, Answer, Ask, ORDER_TIME_MAX, OrderRefusal, answer,
};
use crate::peers::Peers;
use crate::peers::authority::is_member;
use crate::peers::mesh;
use crate::shared::Shared;

/// Version of the invoke service that carries orders.
pub(crate) const VERSION: u16 = 1;

/// How long a question may take to arrive: it has a place meanwhile.
const ASK_TIME: Duration = Duration::from_secs(10);

/// A member that gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskMemberError {
    /// It cannot be reached at the moment.
    #[error("there is no session with it")]
    NoSession,
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The question did not arrive.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The answer did not arrive.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The answer is none, or the question is too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its time is over.
    #[error("it did not answer in time")]
    Late,
}

impl Peers {
    /// Has a member carry something out. Dropping the future has it stop.
    ///
    /// # Errors
    /// [`AskMemberError`].
    pub(crate) async fn ask(
        &self,
        member: &NodeId,
        ask: &Ask,
        within: Duration,
    ) -> Result<Answer, AskMemberError> {
        let session = self.endpoint.session(member);
        let session = session.ok_or(AskMemberError::NoSession)?;
        let question = ask.to_frame()?;
        let options = OpenOptions {
            version: VERSION,
            deadline: Some(within),
            ..OpenOptions::default()
        };
        let asked = async {
            let (mut send, mut recv) = session.open(Service::Invoke, options).await?;
            send.write_all(&question).await?;
            send.finish().await?;
            let body = read_frame(&mut recv, ANSWER_BYTES_MAX).await?;
            Ok(Answer::from_body(&body)?)
        };
        let asked = tokio::time::timeout(within, asked).await;
        asked.unwrap_or(Err(AskMemberError::Late))
    }
}

async fn read_frame(recv: &mut RecvStream, bytes_max: usize) -> Result<Vec<u8>, AskMemberError> {
    let mut prefix = [0; PREFIX_BYTES];
    recv.read_exact(&mut prefix).await?;
    let mut body = vec![0; proto::body_bytes(prefix, bytes_max)?];
    recv.read_exact(&mut body).await?;
    Ok(body)
}

/// Carries out what members ask for, until `stop`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut streams: mpsc::Receiver<InboundStream>,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { return };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        if stream.header.version == mesh::VERSION {
            tokio::spawn(mesh::serve_one(shared, stream, stop));
            continue;
        }
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve_one(&shared, stream) => {}
            }
        });
    }
}

async fn serve_one(shared: &Arc<Shared>, stream: InboundStream) {
    let peer = stream.session.peer();
    if !is_member(&peer) {
        return;
    }
    let InboundStream {
        header,
        mut send,
        mut recv,
        ..
    } = stream;
    let within = header.deadline.unwrap_or(ORDER_TIME_MAX);
    let carried_out = carry_out(shared, peer.id, &mut recv);
    let carried_out = tokio::time::timeout(within.min(ORDER_TIME_MAX), carried_out);
    let answer = tokio::select! {
        answer = carried_out => answer.unwrap_or(Answer::Refused(OrderRefusal::Late)),
        // Whoever asked reads no further, or is gone: the run stops.
        _ = send.stopped() => return,
    };
    let sent = async {
        send.write_all(&answer.to_frame()?).await?;
        Ok::<_, AskMemberError>(send.finish().await?)
    };
    if let Err(error) = sent.await {
        tracing::debug!(peer = %peer.id.short(), "an order was not answered: {error}");
    }
}

async fn carry_out(shared: &Arc<Shared>, asker: NodeId, recv: &mut RecvStream) -> Answer {
    // Before the question is read: what waits for a place takes no memory.
    let place = match shared.executions.place(asker) {
        Ok(place) => place,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let read = async {
        let body = read_frame(recv, ASK_BYTES_MAX).await?;
        Ok::<_, AskMemberError>(Ask::from_body(&body)?)
    };
    match tokio::time::timeout(ASK_TIME, read).await {
        Ok(Ok(ask)) => answer(shared, ask, place).await,
        Ok(Err(error)) => {
            let reason = error.to_string().into();
            Answer::Refused(OrderRefusal::Malformed(reason))
        }
        Err(_) => Answer::Refused(OrderRefusal::Late),
    }
}
