//! Keeps a session with one target: dials again, with growing pauses, until it is dropped.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::bounds::{RELAY_UPGRADE_FIRST, RELAY_UPGRADE_LAST};
use crate::dial::{DialError, Target, dial, improve};
use crate::endpoint::Shared;
use crate::proto::Backoff;
use crate::session::Session;

/// A session that is kept alive for as long as this value lives.
#[derive(Debug)]
pub struct Maintained {
    state: watch::Receiver<Result<Session, Option<DialError>>>,
    _task: AbortOnDropHandle<()>,
}

impl Maintained {
    pub(crate) fn start(shared: Arc<Shared>, target: Target) -> Self {
        let (sender, state) = watch::channel(Err(None));
        let task = tokio::spawn(keep(shared, target, sender));
        Self {
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The session, if there is one now.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let state = self.state.borrow();
        state
            .as_ref()
            .ok()
            .filter(|session| session.is_live())
            .cloned()
    }

    /// Why the last dial failed, if there is no session.
    #[must_use]
    pub fn last_error(&self) -> Option<DialError> {
        self.state.borrow().as_ref().err().cloned().flatten()
    }

    /// Waits for a session; `None` if the endpoint has closed.
    pub async fn up(&mut self) -> Option<Session> {
        let up = |state: &Result<Session, _>| state.as_ref().is_ok_and(Session::is_live);
        let state = self.state.wait_for(up).await.ok()?;
        state.as_ref().ok().cloned()
    }
}

/// Returns when the session has ended; tries meanwhile to do without a relay.
async fn stay(shared: &Arc<Shared>, target: &Target, session: &Session) {
    let may_improve = !target.addresses.is_empty();
    let mut pause = RELAY_UPGRADE_FIRST;
    loop {
        tokio::select! {
            _ = session.ended() => return,
            () = tokio::time::sleep(pause), if may_improve => {}
        }
        pause = (pause * 2).min(RELAY_UPGRADE_LAST);
        if session.is_relayed() {
            // As long as no address answers, the relayed one is as good as before.
            let _ = improve(shared, target.clone()).await;
        }
    }
}

async fn keep(
    shared: Arc<Shared>,
    target: Target,
    state: watch::Sender<Result<Session, Option<DialError>>>,
) {
    let mut backoff = Backoff::default();
    while !shared.stop.is_cancelled() {
        match dial(&shared, target.clone()).await {
            Ok(session) => {
                backoff.succeeded();
                drop(state.send_replace(Ok(session.clone())));
                stay(&shared, &target, &session).await;
                drop(state.send_replace(Err(None)));
            }
            Err(error) => {
                drop(state.send_replace(Err(Some(error))));
            }
        }
        // After an end as well: a peer that closes at once is not dialled in a circle.
        let pause = backoff.failed(shared.jitter());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}
