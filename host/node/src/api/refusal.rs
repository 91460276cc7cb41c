//! How handlers say no: an [`ApiError`] with its status.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};

use admin::{ApiError, ErrorCode};

/// A refusal as an answer.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) ApiError);

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl std::fmt::Display) -> Self {
        Self(ApiError::new(code, message))
    }

    pub(crate) fn not_found(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    fn bad_request(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0.code.status(), Json(self.0)).into_response()
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// Part of a path, refused in our own words.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refused))]
pub(crate) struct Path<T>(pub(crate) T);

/// A query string, refused in our own words.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refused))]
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body, refused in our own words.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Refused))]
pub(crate) struct Body<T>(pub(crate) T);
