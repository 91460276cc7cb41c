//! What peers open: each stream finds its service or is refused with a reason.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::bounds::HEADER_TIME;
use crate::control::{ReadFrameError, read_header};
use crate::endpoint::Shared;
use crate::link::{Link, lock};
use crate::proto::{HeaderError, RefusalCode, Service, StreamHeader, StreamRefusal, StreamReply};
use crate::read::{RecvStream, StreamCode};
use crate::session::Session;
use crate::write::SendStream;

/// A stream that a peer opened.
#[derive(Debug)]
pub struct InboundStream {
    /// With whom.
    pub session: Session,
    /// What for.
    pub header: StreamHeader,
    /// The answer; the acceptance travels with its first data.
    pub send: SendStream,
    /// The request.
    pub recv: RecvStream,
}

/// A datagram that a peer sent.
#[derive(Debug)]
pub struct InboundDatagram {
    /// From whom.
    pub session: Session,
    /// What it carries.
    pub payload: Bytes,
}

/// One inbound stream's place among those of its peer; free again when its answer has ended.
#[derive(Debug)]
pub(crate) struct Place {
    link: Arc<Link>,
    service: Service,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.link.admission).release(self.service);
    }
}

/// Brings a stream to its service. Most headers are there at once: only others take a task.
pub(crate) fn take_stream(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    streams: (quinn::SendStream, quinn::RecvStream),
) {
    let mut taken = Box::pin(bring(shared.clone(), link.clone(), streams));
    let mut context = Context::from_waker(Waker::noop());
    if taken.as_mut().poll(&mut context).is_pending() {
        tokio::spawn(taken);
    }
}

async fn bring(
    shared: Arc<Shared>,
    link: Arc<Link>,
    (send, mut recv): (quinn::SendStream, quinn::RecvStream),
) {
    let body = tokio::time::timeout(HEADER_TIME, read_header(&mut recv)).await;
    let header = match body {
        Ok(Ok(body)) => StreamHeader::from_body(&body).map_err(|error| match error {
            HeaderError::UnknownService { .. } => refusal(RefusalCode::UnknownService, &error),
            HeaderError::Frame(_) => refusal(RefusalCode::BadHeader, &error),
        }),
        Ok(Err(ReadFrameError::Frame(error))) => Err(refusal(RefusalCode::BadHeader, &error)),
        Ok(Err(ReadFrameError::Stream(quinn::ReadExactError::ReadError(_)))) => return,
        Ok(Err(ReadFrameError::Stream(error))) => Err(refusal(RefusalCode::BadHeader, &error)),
        Err(_) => Err(refusal(
            RefusalCode::BadHeader,
            &"the header did not come in time",
        )),
    };
    let admitted = header.and_then(|header| {
        if recv.is_0rtt() && !header.idempotent {
            let text = "this could be a replay: mark it idempotent or ask within a session";
            return Err(refusal(RefusalCode::Replayable, &text));
        }
        let place = admit(&shared, &link, &header)?;
        Ok((header, place))
    });
    match admitted {
        Ok((header, place)) => deliver(&shared, link, header, place, (send, recv)).await,
        Err(refusal) => refuse(&refusal, send, recv).await,
    }
}

/// A place for a stream, if its header is in order.
fn admit(shared: &Shared, link: &Arc<Link>, header: &StreamHeader) -> Result<Place, StreamRefusal> {
    let service = header.service;
    let served = shared.services.get(service.index());
    let Some((versions, _)) = served.and_then(|served| served.streams.as_ref()) else {
        let text = format!("{service} is not served here");
        return Err(refusal(RefusalCode::UnknownService, &text));
    };
    if !link.standing().peer.services.contains(service) {
        let text = format!("this peer may not open {service}");
        return Err(refusal(RefusalCode::NotPermitted, &text));
    }
    if !versions.contains(&header.version) {
        let text = format!(
            "{service} speaks versions {} to {} here, not {}",
            versions.start(),
            versions.end(),
            header.version
        );
        return Err(refusal(RefusalCode::UnknownVersion, &text));
    }
    if !link.admit(service) {
        let text = format!("this peer has too many streams of {service} open");
        return Err(refusal(RefusalCode::Busy, &text));
    }
    Ok(Place {
        link: link.clone(),
        service,
    })
}

async fn deliver(
    shared: &Shared,
    link: Arc<Link>,
    header: StreamHeader,
    place: Place,
    (send, recv): (quinn::SendStream, quinn::RecvStream),
) {
    let service = header.service;
    let served = shared.services.get(service.index());
    let queue = served.and_then(|served| served.streams.as_ref());
    let permit = match queue.map(|(_, queue)| queue.try_reserve()) {
        Some(Ok(permit)) => permit,
        Some(Err(TrySendError::Full(()))) => {
            let text = format!("{service} has too many streams waiting");
            return refuse(&refusal(RefusalCode::Busy, &text), send, recv).await;
        }
        Some(Err(TrySendError::Closed(()))) | None => {
            let text = format!("{service} is not served here any more");
            return refuse(&refusal(RefusalCode::UnknownService, &text), send, recv).await;
        }
    };
    // It fails only for streams that have ended.
    let _ = send.set_priority(service.priority());
    let deadline = header.deadline.map(|left| Instant::now() + left);
    let accepted = StreamReply::Accepted.to_frame().unwrap_or_default();
    let lane = link.lane.clone();
    permit.send(InboundStream {
        session: Session(link),
        header,
        send: SendStream::new(send, &accepted, deadline, lane, Some(place)),
        recv: RecvStream::of_request(recv, deadline),
    });
}

fn refusal(code: RefusalCode, text: &dyn ToString) -> StreamRefusal {
    StreamRefusal {
        code,
        text: text.to_string(),
    }
}

/// Says no. If the session ends meanwhile, nobody is left to be told.
async fn refuse(refusal: &StreamRefusal, mut send: quinn::SendStream, mut recv: quinn::RecvStream) {
    let _ = recv.stop(quinn::VarInt::from_u32(StreamCode::Refused.number()));
    let Ok(frame) = StreamReply::Refused(refusal.clone()).to_frame() else {
        return;
    };
    if send.write_all(&frame).await.is_ok() {
        let _ = send.finish();
    }
}

/// Brings a datagram to its service, or counts it as lost.
pub(crate) fn take_datagram(shared: &Shared, link: &Arc<Link>, mut datagram: Bytes) {
    // A datagram does not say whether it may come twice.
    if !link.is_confirmed() || !deliver_datagram(shared, link, &mut datagram) {
        link.datagrams_lost.fetch_add(1, Ordering::Relaxed);
    }
}

fn deliver_datagram(shared: &Shared, link: &Arc<Link>, datagram: &mut Bytes) -> bool {
    let Some(number) = datagram.first().copied() else {
        return false;
    };
    let payload = datagram.split_off(1);
    let Some(service) = Service::from_number(number) else {
        return false;
    };
    // Packets of a leg were allowed with its stream.
    if service != Service::Relay && !link.standing().peer.services.contains(service) {
        return false;
    }
    let served = shared.services.get(service.index());
    let Some(queue) = served.and_then(|served| served.datagrams.as_ref()) else {
        return service == Service::Relay && shared.circuits.take_datagram(link.number, &payload);
    };
    let session = Session(link.clone());
    queue.try_send(InboundDatagram { session, payload }).is_ok()
}
