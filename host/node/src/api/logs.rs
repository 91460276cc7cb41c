//! Logs as lines of JSON, old ones first, new ones as they come.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use admin::{ApiError, LogLine, LogQuery, LogStream};
use types::Name;

use crate::api::elsewhere;
use crate::api::refusal::{Path, Query, Refused};
use crate::shared::Shared;

/// A workload's log, one [`LogLine`] a line.
#[utoipa::path(
    get,
    path = "/v1/workloads/{name}/logs",
    params(("name" = String, Path), LogQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = LogLine),
        (status = 400, body = ApiError), (status = 404, body = ApiError)
    )
)]
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refused> {
    let known = shared
        .state()
        .view
        .deployment(&name)
        .map_err(Refused::internal)?
        .is_some();
    if !known {
        return Err(Refused::not_found(format!(
            "no workload is called `{name}`"
        )));
    }
    // Opened here if nothing was logged yet; closed by the follower when the workload goes.
    let book = shared
        .logs
        .find(&name)
        .unwrap_or_else(|| shared.logs.book(&name));
    let there = match query.here {
        true => Vec::new(),
        false => elsewhere::logs(&shared, &name, &query).await?,
    };
    let component = query.component;
    let wanted = move |line: &LogLine| {
        component
            .as_ref()
            .is_none_or(|name| *name == line.component)
    };
    let tail = query.tail.map_or(usize::MAX, |tail| tail as usize);
    let (old, live) = book.read(tail, &wanted);
    drop(book);
    let body = if query.follow {
        let old = stream::iter(old);
        let new = follow(live).filter(move |line| std::future::ready(wanted(line)));
        let stopping = shared.stopping.clone().cancelled_owned();
        let here = old.chain(new).boxed();
        let all = stream::select_all(std::iter::once(here).chain(there));
        Body::from_stream(all.take_until(Box::pin(stopping)).map(encode))
    } else {
        let mut lines: Vec<LogLine> = stream::select_all(there).collect().await;
        lines.extend(old);
        lines.sort_by_key(|line| line.time_ms);
        let first = lines.len().saturating_sub(tail);
        Body::from_stream(stream::iter(lines.into_iter().skip(first)).map(encode))
    };
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn encode(line: LogLine) -> Result<Bytes, Infallible> {
    // A line is plain data: it always serialises.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
}

/// Ends when the workload goes. A reader that is too slow is told how many lines it missed.
fn follow(live: broadcast::Receiver<LogLine>) -> impl Stream<Item = LogLine> {
    stream::unfold((live, None::<LogLine>), |(mut live, last)| async move {
        let line = loop {
            match (live.recv().await, &last) {
                (Ok(line), _) => break line,
                (Err(RecvError::Closed), _) => return None,
                (Err(RecvError::Lagged(_)), None) => {}
                (Err(RecvError::Lagged(missed)), Some(last)) => {
                    let text = format!("{missed} lines were not sent: the reader is too slow");
                    break LogLine {
                        stream: LogStream::Node,
                        text,
                        ..last.clone()
                    };
                }
            }
        };
        Some((line.clone(), (live, Some(line))))
    })
}
