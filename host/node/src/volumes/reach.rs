//! A member wherever it is: found here, or asked over a stream that is opened again once it was said
//! to be lost. Knows not what is asked.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use assets::volume::{Member, MemberAccess, MemberAsked, MemberDone, MemberError, MemberOp};
use assets::{MemberRequest, OpenRemoteError, Refusal, RemoteMember};
use tokio::sync::Mutex;
use tokio::time::Instant;
use trust::LeaseCapability;

use crate::memory::{Opened, admitted};
use crate::peers::OpenRegionError;
use crate::shared::Shared;

/// What passes between two tries to reach a member: whoever asks meanwhile is told at once.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A member of a volume, by the capability for its lease.
pub(super) struct Reach {
    shared: Arc<Shared>,
    capability: LeaseCapability,
    /// Locked in turn, so that what is asked first is sent first.
    way: Mutex<Way>,
}

enum Way {
    /// Not tried yet, or lost and told so.
    Closed,
    Here(MemberAccess),
    There(Arc<RemoteMember>),
    /// Not to be had; tried again then.
    Failed(MemberError, Instant),
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reach").field(&self.capability).finish()
    }
}

impl Reach {
    pub(super) fn new(shared: Arc<Shared>, capability: LeaseCapability) -> Self {
        Self {
            shared,
            capability,
            way: Mutex::new(Way::Closed),
        }
    }

    /// Does what is asked; after `Lost`, what was written and not flushed may be lost, too.
    pub(super) async fn request(&self, request: MemberRequest) -> Result<MemberDone, MemberError> {
        let mut way = self.way.lock().await;
        let again = match &*way {
            Way::Closed => true,
            Way::Failed(_, until) => *until <= Instant::now(),
            Way::Here(_) | Way::There(_) => false,
        };
        if again {
            *way = self.find().await;
        }
        let member = match &*way {
            Way::Here(access) => {
                let access = access.clone();
                let asked = match request {
                    MemberRequest::Ask(operation) => access.ask(operation),
                    MemberRequest::Revoke { capability } => access.revoke(capability),
                };
                drop(way);
                return asked.await;
            }
            Way::There(member) => Arc::clone(member),
            Way::Failed(error, _) => return Err(error.clone()),
            Way::Closed => return Err(MemberError::Lost("it is not reached".to_owned())),
        };
        let mut asked = Box::pin(member.request(request));
        // Begun before anybody else can.
        let begun = futures::poll!(asked.as_mut());
        drop(way);
        let answer = match begun {
            Poll::Ready(answer) => answer,
            Poll::Pending => asked.await,
        };
        if matches!(answer, Err(MemberError::Lost(_))) {
            self.forget(&member).await;
        }
        answer
    }

    async fn forget(&self, member: &Arc<RemoteMember>) {
        let mut way = self.way.lock().await;
        // Somebody else may have found another one by now.
        if matches!(&*way, Way::There(found) if Arc::ptr_eq(found, member)) {
            *way = Way::Closed;
        }
    }

    async fn find(&self) -> Way {
        match self.found().await {
            Ok(way) => way,
            Err(error) => Way::Failed(error, Instant::now() + AGAIN_AFTER),
        }
    }

    async fn found(&self) -> Result<Way, MemberError> {
        let host = self.capability.subject().host;
        if host == self.shared.node {
            let opened = admitted(&self.shared, &self.capability, self.shared.node).await;
            return match opened.map_err(|error| refused(error.refusal()))? {
                Opened::Member(access) => Ok(Way::Here(access)),
                Opened::Region(_) | Opened::Cpu(_) | Opened::Link(_) => {
                    let text = "the capability is for something else than storage";
                    Err(MemberError::Denied(text.to_owned()))
                }
            };
        }
        let lost = |error: OpenRegionError| match error {
            OpenRegionError::Remote(OpenRemoteError::Refused(refusal)) => refused(refusal),
            error => MemberError::Lost(error.to_string()),
        };
        let peers = self.shared.peers.get();
        let peers = peers.ok_or_else(|| lost(OpenRegionError::NoSession(host)))?;
        let member = peers.open_member(host, &self.capability).await;
        Ok(Way::There(Arc::new(member.map_err(lost)?)))
    }
}

fn refused(refusal: Refusal) -> MemberError {
    match refusal {
        Refusal::Denied(text) => MemberError::Denied(text),
        Refusal::NoLease => MemberError::Ended,
        Refusal::Unable(text) => MemberError::Lost(text),
    }
}

impl Member for Reach {
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_> {
        Box::pin(self.request(MemberRequest::Ask(operation)))
    }
}
