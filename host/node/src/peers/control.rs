//! The admin API over sessions: one connection of HTTP/1.1 per stream, in both roles. Who may ask
//! what is decided by the API itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use admin::{Dial, Dialling, Wire};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use stoq::{InboundStream, OpenOptions, Service, Session};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Caller};
use crate::peers::authority::standing;
use crate::shared::Shared;

/// Version of the admin API's carriage.
pub(crate) const VERSION: u16 = 1;

/// How long a peer may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Serves every stream that comes in, until `stop`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut streams: mpsc::Receiver<InboundStream>,
    stop: CancellationToken,
) {
    let api = api::service(&shared);
    drop(shared);
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { return };
        tokio::spawn(answer(api.clone(), stream, stop.clone()));
    }
}

async fn answer(api: Router, stream: InboundStream, stop: CancellationToken) {
    let peer = stream.session.peer();
    let api = api.layer(Extension(Caller::Peer(standing(&peer))));
    let io = TokioIo::new(tokio::io::join(stream.recv, stream.send));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(io, TowerToHyperService::new(api));
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(peer = %peer.id.short(), "a request of a peer broke: {error}");
        },
        () = stop.cancelled() => {}
    }
}

/// The admin API of the peer at the other end of a session.
#[derive(Debug)]
pub(crate) struct SessionDial(pub(crate) Session);

impl Dial for SessionDial {
    fn place(&self) -> String {
        self.0.info().remote.to_string()
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let opened = self.0.open(Service::Control, OpenOptions::default()).await;
            let (send, recv) = opened.map_err(io::Error::other)?;
            Ok(Box::new(tokio::io::join(recv, send)) as Box<dyn Wire>)
        })
    }
}
