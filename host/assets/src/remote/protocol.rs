//! What is asked over a stream once it was opened, and the answers: one protocol for each type of assets.

use std::error::Error;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::Digest;

use crate::region_op::{RegionDone, RegionError, RegionOp};
use crate::volume::{MemberDone, MemberError, MemberOp};

/// What goes over the streams of one type of assets.
pub trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// What is asked.
    type Operation: Serialize + DeserializeOwned + Send + Sync;
    /// What was done.
    type Done: Serialize + DeserializeOwned + Send + 'static;
    /// Why it was not.
    type Error: Error + Serialize + DeserializeOwned + Send + 'static;
}

/// Regions of memory.
#[derive(Debug)]
pub enum RegionProtocol {}

impl Protocol for RegionProtocol {
    type Operation = RegionOp;
    type Done = RegionDone;
    type Error = RegionError;
}

/// Members of volumes.
#[derive(Debug)]
pub enum MemberProtocol {}

impl Protocol for MemberProtocol {
    type Operation = MemberRequest;
    type Done = MemberDone;
    type Error = MemberError;
}

/// What is asked of a member over a stream. The order of variants is wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRequest {
    /// Something of its pieces.
    Ask(MemberOp),
    /// Refuses a capability, and what is made of it, from now on.
    Revoke {
        /// Its id.
        capability: Digest,
    },
}

/// The answer to an operation.
pub type AnswerOf<P> = Result<<P as Protocol>::Done, <P as Protocol>::Error>;
