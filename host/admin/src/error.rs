//! How the admin API says no.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, and what to do.
    pub message: String,
}

/// Kinds of refusal. Each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request is not well formed.
    BadRequest,
    /// Nothing of that name is there.
    NotFound,
    /// The caller's role does not cover this.
    Forbidden,
    /// The artifact, workload or transaction breaks a rule.
    Refused,
    /// The guest failed: a trap, a broken limit.
    GuestFailed,
    /// Too large.
    TooLarge,
    /// The node cannot take more now.
    Busy,
    /// The node is stopping, or its ledger stopped.
    Unavailable,
    /// The node's artifacts have their quota, and nothing may go.
    QuotaExceeded,
    /// The node failed.
    Internal,
}

impl ErrorCode {
    /// The HTTP status (RFC 9110) that carries it.
    #[must_use]
    pub const fn status(self) -> http::StatusCode {
        match self {
            Self::BadRequest => http::StatusCode::BAD_REQUEST,
            Self::NotFound => http::StatusCode::NOT_FOUND,
            Self::Forbidden => http::StatusCode::FORBIDDEN,
            Self::Refused | Self::GuestFailed => http::StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::QuotaExceeded => http::StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ApiError {
    /// Joins a code and a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
