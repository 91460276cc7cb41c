//! Takes connections that come in, up to the hello, and serves every session until it ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connecting, Connection, Incoming, ZeroRttAccepted};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};

use crate::authority::Occasion;
use crate::bounds::{
    HANDSHAKE_TIME, HANDSHAKES_MAX, HANDSHAKES_OF_KNOWN, HANDSHAKES_UNPROVEN_MAX, INBOUND_TURN,
    STARTS_OF_STRANGERS,
};
use crate::circuit::is_place;
use crate::close::CloseReason;
use crate::control;
use crate::credentials;
use crate::endpoint::Shared;
use crate::event::SessionEvent;
use crate::inbound::{take_datagram, take_stream};
use crate::link::{Established, Link, lock};
use crate::proto::{self, ControlFrame, CredentialsFrame, Dialler, Hello};
use crate::socket::plain;

/// Takes connections until the endpoint closes.
pub(crate) async fn listen(shared: Arc<Shared>) {
    while let Some(incoming) = shared.quinn.accept().await {
        let is_known = shared.gate.knows(incoming.remote_address());
        let is_full = !is_known && shared.handshakes.available_permits() <= HANDSHAKES_OF_KNOWN;
        let place = shared.handshakes.clone().try_acquire_owned();
        let (false, Ok(place)) = (is_full, place) else {
            incoming.refuse();
            continue;
        };
        let under_way = HANDSHAKES_MAX - shared.handshakes.available_permits();
        if under_way > HANDSHAKES_UNPROVEN_MAX && !incoming.remote_address_validated() {
            // It comes back with proof of its address; refusing is the alternative.
            let _ = incoming.retry();
            continue;
        }
        let pause = if is_known {
            Duration::ZERO
        } else {
            lock(&shared.starts).queue(STARTS_OF_STRANGERS, shared.begun.elapsed())
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            take(shared, incoming, place).await;
        });
    }
}

async fn take(shared: Arc<Shared>, incoming: Incoming, place: OwnedSemaphorePermit) {
    let remote = plain(incoming.remote_address());
    let accepted = if is_place(remote) {
        incoming.accept_with(shared.relayed_server.clone())
    } else {
        incoming.accept()
    };
    let Ok(connecting) = accepted else {
        return;
    };
    let greeted = greet(&shared, connecting).await;
    drop(place);
    if let Err(reason) = greeted {
        shared.tell(SessionEvent::Refused { remote, reason });
    }
}

/// Makes a session of an inbound connection, or closes it.
async fn greet(shared: &Arc<Shared>, mut connecting: Connecting) -> Result<(), CloseReason> {
    let deadline = Instant::now() + HANDSHAKE_TIME;
    let slow = |_| CloseReason::Lost {
        text: "the handshake took too long".to_owned(),
    };
    timeout_at(deadline, connecting.handshake_data())
        .await
        .map_err(slow)?
        .map_err(|error| CloseReason::from_error(&error))?;
    // On this end it succeeds always.
    let Ok((connection, confirmed)) = connecting.into_0rtt() else {
        return Err(CloseReason::protocol("no handshake"));
    };
    let mut confirmed = Confirmed {
        connection: connection.clone(),
        future: Some(confirmed),
    };
    let greeted = timeout_at(deadline, hear_hello(shared, &connection, &mut confirmed)).await;
    let greeted = greeted.map_err(slow).flatten();
    if let Err(reason) = &greeted {
        // A reason that is sent before the handshake has ended is lost (RFC 9000, 10.2.3); but
        // nobody is waited for longer than for anyone else.
        let _ = timeout_at(deadline, confirmed.wait()).await;
        let (code, text) = reason.to_wire();
        connection.close(code, text.as_bytes());
    }
    greeted
}

/// The end of the handshake: the peer is there now, and not only in what was replayed.
struct Confirmed {
    connection: Connection,
    future: Option<ZeroRttAccepted>,
}

impl Confirmed {
    const fn is_over(&self) -> bool {
        self.future.is_none()
    }

    async fn wait(&mut self) -> Result<(), CloseReason> {
        if let Some(future) = &mut self.future {
            future.await;
            self.future = None;
        }
        match self.connection.close_reason() {
            None => Ok(()),
            Some(error) => Err(CloseReason::from_error(&error)),
        }
    }
}

async fn hear_hello(
    shared: &Arc<Shared>,
    connection: &Connection,
    confirmed: &mut Confirmed,
) -> Result<(), CloseReason> {
    // A resumed handshake brings the peer's certificates along from the one before; in a full one
    // they come at its end.
    if connection.peer_identity().is_none() {
        confirmed.wait().await?;
    }
    let standing = shared.judge(connection, Occasion::Accepted)?;
    let (send, mut recv) = connection
        .accept_bi()
        .await
        .map_err(|error| CloseReason::from_error(&error))?;
    let frame = control::read(&mut recv).await;
    let theirs = frame.map_err(|error| error.reason())?;
    let ours = Hello::new(shared.incarnation, 0);
    let relayed = is_place(connection.remote_address());
    let (_, claim) = proto::greet(&ours, theirs, Dialler::Peer(standing.peer.id), relayed)
        .map_err(CloseReason::ungreeted)?;
    let link = shared.link(Established {
        connection: connection.clone(),
        claim,
        standing,
        control: send,
    });
    if confirmed.is_over() {
        // What is refused a seat is not served either.
        shared.seat(&link)?;
        tokio::spawn(serve(shared.clone(), link.clone(), recv));
    } else {
        // Idempotent requests are served before it is certain that the peer is there.
        tokio::spawn(serve(shared.clone(), link.clone(), recv));
        confirmed.wait().await?;
        shared.seat(&link)?;
        // It may have ended before it had a seat to leave.
        if let Some(reason) = link.end_reason() {
            shared.leave(&link, reason);
        }
    }
    link.tell(&ControlFrame::Hello(ours)).await
}

/// Serves a session until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, link: Arc<Link>, control: quinn::RecvStream) {
    let reason = {
        let mut news = std::pin::pin!(follow(&shared, &link, control));
        let mut news_over = false;
        let mut taken: u32 = 0;
        loop {
            taken = taken.wrapping_add(1);
            if taken.is_multiple_of(INBOUND_TURN) {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                streams = link.connection.accept_bi() => match streams {
                    Ok(streams) => take_stream(&shared, &link, streams),
                    Err(_) => break link.ended().await,
                },
                datagram = link.connection.read_datagram() => match datagram {
                    Ok(datagram) => take_datagram(&shared, &link, datagram),
                    Err(_) => break link.ended().await,
                },
                reason = &mut news, if !news_over => {
                    news_over = true;
                    link.end(reason);
                }
            }
        }
    };
    shared.leave(&link, reason);
}

/// Reads what the peer says about the session; returns why it must end.
async fn follow(shared: &Shared, link: &Link, mut control: quinn::RecvStream) -> CloseReason {
    loop {
        let frame = match control::read(&mut control).await {
            Ok(frame) => frame,
            Err(error) => return error.reason(),
        };
        let done = match frame {
            ControlFrame::Credentials(frame) => renew(shared, link, frame),
            ControlFrame::Hello(_) | ControlFrame::Refusal { .. } => {
                Err(CloseReason::protocol("a session has one hello"))
            }
        };
        if let Err(reason) = done {
            return reason;
        }
    }
}

/// The peer shows a new certificate.
fn renew(shared: &Shared, link: &Link, frame: CredentialsFrame) -> Result<(), CloseReason> {
    if !lock(&link.renewals).spend(link.since.elapsed()) {
        return Err(CloseReason::protocol("too many new certificates"));
    }
    let exporter = link.exporter()?;
    let from_dialler = link.claim.dialler != shared.node;
    let chain = credentials::verify(frame, &shared.provider, &exporter, from_dialler)
        .map_err(CloseReason::protocol)?;
    link.stands(shared.standing(chain.into(), Occasion::Renewed)?)
}
