//! Members of volumes over streams: asked as one of this node is. Knows no session.

use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{AskError, Remote};
use super::protocol::{MemberProtocol, MemberRequest};
use super::server::{ServeRegionError, serve_operations};
use super::wire::{Opened, decode_member_request};
use crate::volume::{Member, MemberAccess, MemberAsked, MemberDone, MemberError, MemberOp};

/// A member that another node keeps.
pub type RemoteMember = Remote<MemberProtocol>;

impl RemoteMember {
    /// Asks, or revokes; dropped, it may be done all the same.
    ///
    /// # Errors
    /// [`MemberError`]; once the stream is lost, it stays so.
    pub async fn request(&self, request: MemberRequest) -> Result<MemberDone, MemberError> {
        let asked = self.ask(&request).await;
        asked.map_err(|error| match error {
            AskError::NotDone(error) => error,
            AskError::Frame(error) => MemberError::Invalid(error.to_string()),
            AskError::Lost(text) => MemberError::Lost(text),
        })
    }
}

impl Member for RemoteMember {
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_> {
        Box::pin(self.request(MemberRequest::Ask(operation)))
    }
}

/// Answers a stream whose capability was good for `access`, until its peer ends it; how many operations.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn serve_member(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    access: &MemberAccess,
) -> Result<u64, ServeRegionError> {
    let bytes = access.member().bytes();
    let opened = Opened { bytes };
    serve_operations(
        reader,
        writer,
        opened,
        decode_member_request,
        |request| match request {
            MemberRequest::Ask(operation) => access.ask(operation),
            MemberRequest::Revoke { capability } => access.revoke(capability),
        },
    )
    .await
}
