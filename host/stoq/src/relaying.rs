//! Relaying in its three roles: asking a relay, being one, and being reached through one. A leg
//! lasts as long as its stream; nothing is kept about it after that.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use types::NodeId;

use crate::bounds::{
    RELAY_LOOK_PAUSE, RELAY_OPEN_TIME, RELAYED_PACKET_BYTES_MAX, RELAYS_ASKED_MAX,
};
use crate::circuit::{Circuits, EndHere, Leg};
use crate::close::CloseReason;
use crate::endpoint::Shared;
use crate::inbound::InboundStream;
use crate::link::{Link, lock};
use crate::proto::{
    LEG_MAX, PREFIX_BYTES, RELAY_FRAME_BYTES_MAX, RelayFrame, RelayRefusal, Service, Tag,
    body_bytes, decode, encode,
};
use crate::read::{ReadError, RecvStream};
use crate::session::{OpenOptions, open_on};
use crate::write::SendStream;

/// A relay that did not lead to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRelay {
    /// The relay.
    pub relay: NodeId,
    /// What happened.
    pub reason: String,
}

/// A relayed way to a node; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Way {
    /// Where the node seems to be.
    pub(crate) address: SocketAddr,
    carrying: AbortOnDropHandle<()>,
}

impl Way {
    /// Returns when the way has ended.
    pub(crate) async fn ended(&mut self) {
        // A panic within it would end the way as well.
        let _ = (&mut self.carrying).await;
    }
}

/// Sessions through which `target` may be reached: first those with relays that it is said to
/// have, then those with members.
pub(crate) fn candidates(shared: &Shared, target: &NodeId) -> Vec<Arc<Link>> {
    let known = shared.relays_of(target);
    let mut candidates: Vec<_> = {
        let links = lock(&shared.table).all().into_iter();
        let may_relay = |link: &Arc<Link>| {
            let peer = link.standing().peer;
            let is_asked = known.contains(&peer.id) || peer.services.contains(Service::Relay);
            link.is_live() && !link.is_relayed() && peer.single && peer.id != *target && is_asked
        };
        links.filter(may_relay).collect()
    };
    let rank = |link: &Arc<Link>| {
        let id = link.standing().peer.id;
        let position = known.iter().position(|relay| *relay == id);
        (position.unwrap_or(usize::MAX), link.number)
    };
    candidates.sort_by_key(rank);
    candidates.truncate(RELAYS_ASKED_MAX);
    candidates
}

/// Asks the peer of `relay` for a way to `target`.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    relay: &Arc<Link>,
    target: NodeId,
) -> Result<Way, String> {
    let leg = shared.circuits.next_leg();
    let request = RelayFrame::Reach { leg, target };
    let asked = open_leg(&shared.circuits, relay, leg, &request);
    let in_time = tokio::time::timeout(RELAY_OPEN_TIME, asked).await;
    let opened = in_time.map_err(|_| "it did not answer".to_owned())??;
    let too_many = || "too many relayed connections end here".to_owned();
    let end = shared
        .circuits
        .end_here(opened.leg.clone())
        .ok_or_else(too_many)?;
    let address = end.address;
    let carrying = carry_here(shared.clone(), end, opened);
    Ok(Way {
        address,
        carrying: AbortOnDropHandle::new(tokio::spawn(carrying)),
    })
}

/// A leg with its stream.
struct Opened {
    leg: Arc<Leg>,
    waiting: mpsc::Receiver<Bytes>,
    send: SendStream,
    recv: RecvStream,
}

/// Opens a leg over `link` with its first frame, and hears that it is ready.
async fn open_leg(
    circuits: &Circuits,
    link: &Arc<Link>,
    leg: u32,
    request: &RelayFrame,
) -> Result<Opened, String> {
    let by_opener = true;
    let (leg, waiting) = circuits.leg(link, Tag { leg, by_opener });
    let opened = open_on(link, Service::Relay, OpenOptions::default()).await;
    let (mut send, mut recv) = opened.map_err(|error| error.to_string())?;
    say(&mut send, request).await?;
    match hear(&mut recv).await? {
        RelayFrame::Ready => Ok(Opened {
            leg,
            waiting,
            send,
            recv,
        }),
        RelayFrame::Refused(refusal) => Err(refusal.to_string()),
        RelayFrame::Reach { .. } | RelayFrame::Carry { .. } => Err("it is confused".to_owned()),
    }
}

/// Serves what peers ask of this endpoint as a relay, and what relays bring.
pub(crate) async fn serve(shared: Arc<Shared>, mut streams: mpsc::Receiver<InboundStream>) {
    loop {
        let stream = tokio::select! {
            () = shared.stop.cancelled() => return,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { return };
        tokio::spawn(answer(shared.clone(), stream));
    }
}

async fn answer(shared: Arc<Shared>, mut stream: InboundStream) {
    let heard = tokio::time::timeout(RELAY_OPEN_TIME, hear(&mut stream.recv)).await;
    let refused = match heard {
        Ok(Ok(RelayFrame::Reach { leg, target })) if leg <= LEG_MAX => {
            relay(&shared, stream, leg, target).await
        }
        Ok(Ok(RelayFrame::Carry { leg, .. })) if leg <= LEG_MAX => {
            be_reached(shared, stream, leg).await
        }
        // Dropped, the stream is reset.
        _ => return,
    };
    if let Err((mut send, refusal)) = refused {
        // If the session ends meanwhile, nobody is left to be told.
        if say(&mut send, &RelayFrame::Refused(refusal)).await.is_ok() {
            let _ = send.finish().await;
        }
    }
}

type Refused = (SendStream, RelayRefusal);

/// Carries between the peer of `stream` and `target`, until either stream ends.
async fn relay(
    shared: &Shared,
    stream: InboundStream,
    leg: u32,
    target: NodeId,
) -> Result<(), Refused> {
    let InboundStream {
        session,
        send,
        recv,
        ..
    } = stream;
    let asking = session.0;
    if asking.is_relayed() {
        return Err((send, RelayRefusal::Relayed));
    }
    let to = lock(&shared.table).of_node(&target);
    let reachable = |link: &Arc<Link>| {
        let peer = link.standing().peer;
        link.is_live() && peer.services.contains(Service::Relay) && link.number != asking.number
    };
    let Some(to) = to.filter(reachable) else {
        return Err((send, RelayRefusal::NoSession));
    };
    if to.is_relayed() {
        return Err((send, RelayRefusal::Relayed));
    }
    let source = asking.standing().peer.id;
    let number = shared.circuits.next_leg();
    let request = RelayFrame::Carry {
        leg: number,
        source,
    };
    let opened = open_leg(&shared.circuits, &to, number, &request);
    // The one who asked waits no longer than this for both.
    let opened = tokio::time::timeout(RELAY_OPEN_TIME / 2, opened).await;
    let Ok(Ok(onward)) = opened else {
        return Err((send, RelayRefusal::Declined));
    };
    let by_opener = false;
    let (leg, waiting) = shared.circuits.leg(&asking, Tag { leg, by_opener });
    let Some(pair) = shared.circuits.join([&leg, &onward.leg]) else {
        return Err((send, RelayRefusal::Full));
    };
    let back = Opened {
        leg,
        waiting,
        send,
        recv,
    };
    join(&shared.circuits, back, onward).await;
    drop(pair);
    Ok(())
}

/// Carries between two legs until one ends.
async fn join(circuits: &Circuits, back: Opened, onward: Opened) {
    let Opened {
        leg: back,
        waiting: for_back,
        send: mut to_back,
        recv: from_back,
    } = back;
    if say(&mut to_back, &RelayFrame::Ready).await.is_err() {
        return;
    }
    let Opened {
        leg: onward,
        waiting: for_onward,
        send: to_onward,
        recv: from_onward,
    } = onward;
    tokio::select! {
        () = write(to_back, for_back) => {}
        () = write(to_onward, for_onward) => {}
        () = read(from_back, |packet| circuits.forward(&onward, &packet)) => {}
        () = read(from_onward, |packet| circuits.forward(&back, &packet)) => {}
        () = forbidden(&back.link, &onward.link) => {}
    }
}

/// Returns when one of the two may not relay any more. A peer that loses more than that loses its
/// session, and the legs with it.
async fn forbidden(one: &Link, other: &Link) {
    let may = |link: &Link| link.standing().peer.services.contains(Service::Relay);
    while may(one) && may(other) {
        tokio::time::sleep(RELAY_LOOK_PAUSE).await;
    }
}

/// Lets the peer of a relay connect to this endpoint. Who it is, the handshake shows.
async fn be_reached(shared: Arc<Shared>, stream: InboundStream, leg: u32) -> Result<(), Refused> {
    let InboundStream {
        session,
        mut send,
        recv,
        ..
    } = stream;
    let link = session.0;
    if link.is_relayed() {
        return Err((send, RelayRefusal::Relayed));
    }
    // Nodes relay; whoever else may use them does not.
    if !link.standing().peer.single {
        return Err((send, RelayRefusal::Declined));
    }
    let by_opener = false;
    let (leg, waiting) = shared.circuits.leg(&link, Tag { leg, by_opener });
    let Some(end) = shared.circuits.end_here(leg.clone()) else {
        return Err((send, RelayRefusal::Full));
    };
    if say(&mut send, &RelayFrame::Ready).await.is_err() {
        return Ok(());
    }
    let opened = Opened {
        leg,
        waiting,
        send,
        recv,
    };
    carry_here(shared, end, opened).await;
    Ok(())
}

/// Carries between a leg and this endpoint until the leg ends; then so does the connection.
async fn carry_here(shared: Arc<Shared>, end: EndHere, opened: Opened) {
    let Opened {
        waiting,
        send,
        recv,
        ..
    } = opened;
    let here = end.address;
    tokio::select! {
        () = write(send, waiting) => {}
        () = read(recv, |packet| shared.circuits.deliver(here, packet)) => {}
    }
    let links = lock(&shared.table).all().into_iter();
    for link in links.filter(|link| link.place == Some(here)) {
        link.end(CloseReason::Lost {
            text: "the relay carries no more".to_owned(),
        });
    }
    drop(end);
}

/// Sends what waits for the stream of a leg, until the stream ends.
async fn write(mut send: SendStream, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(packet) = waiting.recv().await {
        if send.write_chunk(packet).await.is_err() {
            return;
        }
    }
}

/// Hands on what comes on the stream of a leg, until the stream ends.
async fn read(mut recv: RecvStream, take: impl Fn(Bytes)) {
    loop {
        let mut length = [0; 2];
        if recv.read_exact(&mut length).await.is_err() {
            return;
        }
        let bytes = usize::from(u16::from_le_bytes(length));
        if bytes > RELAYED_PACKET_BYTES_MAX {
            return;
        }
        let mut packet = vec![0; bytes];
        if recv.read_exact(&mut packet).await.is_err() {
            return;
        }
        take(packet.into());
    }
}

async fn say(send: &mut SendStream, frame: &RelayFrame) -> Result<(), String> {
    let frame = encode(frame, RELAY_FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
    let said = send.write_all(&frame).await;
    said.map_err(|error| error.to_string())
}

async fn hear(recv: &mut RecvStream) -> Result<RelayFrame, String> {
    let failed = |error: ReadError| error.to_string();
    let mut prefix = [0; PREFIX_BYTES];
    recv.read_exact(&mut prefix).await.map_err(failed)?;
    let bytes = body_bytes(prefix, RELAY_FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut body = vec![0; bytes];
    recv.read_exact(&mut body).await.map_err(failed)?;
    decode(&body).map_err(|error| error.to_string())
}
