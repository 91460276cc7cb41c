//! The gossip service on STOQ: one message is one stream; a sign of life is one acknowledgement.

use std::time::Duration;

use discovery::{MESSAGE_BYTES_MAX, Sending};
use stoq::{Endpoint, InboundStream, OpenOptions, Service};
use tokio::sync::mpsc;
use types::NodeId;

use crate::peers::authority::is_member;
use crate::peers::gossip::VERSION;

/// Time for one message: records are small.
const MESSAGE_TIME: Duration = Duration::from_secs(10);

/// How long a peer that is said to be down may be silent after it was asked for a sign of life, and
/// how many round trips at least.
const SILENCE: Duration = Duration::from_millis(1_500);
const SILENCE_ROUND_TRIPS: u32 = 6;

/// Ends a session whose peer is said to be down, so that it is dialled anew, if the peer gives no
/// sign of life: what others say about a peer is no reason, as they may lie or be cut off.
pub(super) async fn close_if_silent(endpoint: Endpoint, peer: NodeId) {
    let Some(session) = endpoint.session(&peer) else {
        return;
    };
    let before = session.info();
    // It says nothing, but the peer's end has to acknowledge it.
    if session.send_datagram(Service::Gossip, &[]).is_err() {
        return;
    }
    let patience = SILENCE.max(before.rtt.saturating_mul(SILENCE_ROUND_TRIPS));
    tokio::time::sleep(patience).await;
    if session.info().bytes_received == before.bytes_received {
        session.close("no sign of life");
    }
}

/// Sends one message about records; one that does not arrive is made up for by later digests.
pub(super) async fn send(endpoint: Endpoint, sending: Sending) {
    let Some(session) = endpoint.session(&sending.to) else {
        return;
    };
    let options = OpenOptions {
        version: VERSION,
        deadline: Some(MESSAGE_TIME),
        ..OpenOptions::default()
    };
    let sent = async {
        let opened = session.open(Service::Gossip, options).await;
        let (mut send, mut recv) = opened.map_err(|error| error.to_string())?;
        let written = send.write_all(&sending.message).await;
        written.map_err(|error| error.to_string())?;
        send.finish().await.map_err(|error| error.to_string())?;
        // The peer's end of the stream: it was read, or refused.
        recv.read_to_end(0).await.map_err(|error| error.to_string())
    };
    if let Err(error) = sent.await {
        tracing::debug!(peer = %sending.to.short(), "a message about records is lost: {error}");
    }
}

/// Reads each stream to its end: one message.
pub(super) async fn read_streams(
    mut streams: mpsc::Receiver<InboundStream>,
    inbox: mpsc::Sender<(NodeId, Vec<u8>)>,
) {
    while let Some(mut stream) = streams.recv().await {
        let inbox = inbox.clone();
        tokio::spawn(async move {
            let peer = stream.session.peer();
            let read = tokio::time::timeout(MESSAGE_TIME, async {
                let message = stream.recv.read_to_end(MESSAGE_BYTES_MAX).await?;
                // An answer of no bytes: the peer may forget the message.
                let _ = stream.send.finish().await;
                Ok::<_, stoq::ReadError>(message)
            });
            match read.await {
                // A full inbox costs a message that the next digests make up for.
                Ok(Ok(message)) if is_member(&peer) => drop(inbox.try_send((peer.id, message))),
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(peer = %peer.id.short(), "{error}"),
            }
        });
    }
}
