//! Calls about the fabric: members, roles, sessions.

use bytes::Bytes;
use http::Method;
use types::{Digest, NodeId};

use crate::answer::TransactionReport;
use crate::client::{Client, ClientError, read_whole};
use crate::fabric::{
    BlockProof, CertificateStatus, FabricStatus, RoleList, StateProof, StoqStatus,
};
use crate::validators::{HandoverList, ValidatorList};

impl Client {
    /// Members, their certificates, and tickets.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn fabric(&self) -> Result<FabricStatus, ClientError> {
        self.get("/v1/fabric").await
    }

    /// The canonical bytes of the fabric's genesis, whose digest is the fabric's id.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn genesis(&self) -> Result<Bytes, ClientError> {
        let answer = self
            .send(Method::GET, "/v1/genesis", "", Bytes::new())
            .await?;
        read_whole(answer).await
    }

    /// Everyone who may sign.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn roles(&self) -> Result<RoleList, ClientError> {
        self.get("/v1/roles").await
    }

    /// Addresses and sessions of the node.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn stoq(&self) -> Result<StoqStatus, ClientError> {
        self.get("/v1/stoq").await
    }

    /// Caps what the node sends to a peer, or lifts the cap.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node speaks to no others.
    pub async fn cap(
        &self,
        peer: &NodeId,
        bytes_per_s: Option<u64>,
    ) -> Result<StoqStatus, ClientError> {
        let mut path = format!("/v1/stoq/caps/{peer}");
        if let Some(rate) = bytes_per_s {
            path.push_str(&format!("?bytes_per_s={rate}"));
        }
        self.call(Method::PUT, &path, "", Bytes::new()).await
    }

    /// A final block with what proves it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the node does not have it.
    pub async fn block(&self, height: u64) -> Result<BlockProof, ClientError> {
        self.get(&format!("/v1/ledger/blocks/{height}")).await
    }

    /// Whether a certificate is logged, with the proof.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn certificate_proof(&self, fingerprint: &Digest) -> Result<StateProof, ClientError> {
        self.get(&format!("/v1/ledger/certificates/{fingerprint}"))
            .await
    }

    /// Gives the node a new certificate now; answers when it is logged and in use.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the ledger refused it.
    pub async fn rotate(&self) -> Result<CertificateStatus, ClientError> {
        self.call(Method::POST, "/v1/trust/rotate", "", Bytes::new())
            .await
    }

    /// Lets the node, a validator, vote that `node` may join.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has no vote.
    pub async fn approve(&self, node: &NodeId) -> Result<TransactionReport, ClientError> {
        let path = format!("/v1/fabric/approve/{node}");
        self.call(Method::POST, &path, "", Bytes::new()).await
    }

    /// Who votes, and who will.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn validators(&self) -> Result<ValidatorList, ClientError> {
        self.get("/v1/validators").await
    }

    /// The ends of epochs in which validators changed, oldest first.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn handovers(&self) -> Result<HandoverList, ClientError> {
        self.get("/v1/ledger/handovers").await
    }

    /// Lets the node, a validator, vote that `node` gets a vote.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has no vote, or the other cannot get one.
    pub async fn add_validator(&self, node: &NodeId) -> Result<TransactionReport, ClientError> {
        let path = format!("/v1/validators/add/{node}");
        self.call(Method::POST, &path, "", Bytes::new()).await
    }

    /// Lets the node, a validator, vote that `node` loses its vote.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if either has no vote, or there would be nobody left.
    pub async fn remove_validator(&self, node: &NodeId) -> Result<TransactionReport, ClientError> {
        let path = format!("/v1/validators/remove/{node}");
        self.call(Method::POST, &path, "", Bytes::new()).await
    }

    /// Lets the node give its vote back.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has none, or is the last.
    pub async fn resign(&self) -> Result<TransactionReport, ClientError> {
        self.call(Method::POST, "/v1/validators/resign", "", Bytes::new())
            .await
    }

    /// Lets the node, a validator, vote for new rules from a height on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has no vote, or the rules cannot follow those in force.
    pub async fn vote_rules(
        &self,
        version: u32,
        height: u64,
    ) -> Result<TransactionReport, ClientError> {
        let path = format!("/v1/rules/vote/{version}/{height}");
        self.call(Method::POST, &path, "", Bytes::new()).await
    }

    /// Lets the node, a validator, vote against the decided change of the rules.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it has no vote, or there is nothing to vote against.
    pub async fn cancel_rules(&self) -> Result<TransactionReport, ClientError> {
        self.call(Method::POST, "/v1/rules/cancel", "", Bytes::new())
            .await
    }

    /// Lets the node leave the fabric.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it cannot go.
    pub async fn leave(&self) -> Result<TransactionReport, ClientError> {
        self.call(Method::POST, "/v1/fabric/leave", "", Bytes::new())
            .await
    }
}
