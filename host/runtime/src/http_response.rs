//! The body of a guest's response: ends with an error if the guest failed, stops the guest if
//! nobody reads on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use crate::errors::{CallError, clipped};
use crate::http_call::{Answered, CancelOnDrop};
use crate::meter::Meter;

/// A response body as the guest writes it. Dropped before its end, it stops the guest.
pub struct ResponseBody {
    body: WasiBody,
    meter: Arc<Meter>,
    /// What `content-length` still promises: servers do not read on after that.
    remaining: Option<u64>,
    /// Until the end.
    cancel: Option<CancelOnDrop>,
    /// Told at the end.
    ended: Option<oneshot::Sender<()>>,
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

/// A response body that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseBodyError {
    /// The call failed after its response had begun.
    #[error("the response broke off: {0}")]
    Call(CallError),
    /// The guest broke it off, or wrote another length than it had announced.
    #[error("the response broke off: {reason}")]
    Aborted {
        /// What the body reports.
        reason: String,
    },
}

impl ResponseBody {
    pub(crate) fn wrap(
        answered: Answered,
        meter: Arc<Meter>,
        cancel: CancelOnDrop,
    ) -> Response<Self> {
        let Answered { response, ended } = answered;
        let length = response.headers().get(header::CONTENT_LENGTH);
        let remaining = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| {
            let mut body = Self {
                body,
                meter,
                remaining,
                cancel: Some(cancel),
                ended,
            };
            if body.remaining == Some(0) || body.body.is_end_stream() {
                body.complete();
            }
            body
        })
    }

    fn complete(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel.let_go();
        }
        if let Some(ended) = self.ended.take() {
            // A guest that failed in the meantime does not wait for it.
            let _ = ended.send(());
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.remaining = self
            .remaining
            .map(|remaining| remaining.saturating_sub(length));
        if self.remaining == Some(0) {
            self.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = frame {
            self.count(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        self.complete();
        // A guest that is stopped drops its end of the stream as one that is done does: only the
        // call knows which it was.
        if let Some(error) = self.meter.failure() {
            return Poll::Ready(Some(Err(ResponseBodyError::Call(error.clone()))));
        }
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| ResponseBodyError::Aborted {
                reason: clipped(&error.to_string()),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
