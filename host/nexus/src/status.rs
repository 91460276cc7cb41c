//! What people want to know of a workload's status: sums, reasons, addresses.

use admin::{LogLine, LogStream, ReplicaState, ReplicaStatus, WorkloadStatus};
use types::{Route, WorkloadSpec};

use crate::text;

/// Why a workload is not as it should be, as far as anything says so.
pub(crate) fn why(status: &WorkloadStatus) -> Option<String> {
    if let Some(reason) = &status.reason {
        return Some(reason.clone());
    }
    status.components.iter().find_map(|component| {
        component.replicas.iter().find_map(|replica| {
            let reason = replica.reason.as_ref()?;
            Some(format!(
                "replica {}/{}: {reason}",
                component.name, replica.index
            ))
        })
    })
}

/// When a replica is started again: `restarts in 3.2s of 4s, 4th restart`.
pub(crate) fn countdown(replica: &ReplicaStatus) -> Option<String> {
    let left = text::tenths(replica.restart_in_ms?);
    let backoff = replica
        .backoff_ms
        .map_or_else(String::new, |ms| format!(" of {}", text::duration(ms)));
    let which = text::ordinal(replica.restarts.saturating_add(1));
    Some(format!("restarts in {left}{backoff}, {which} restart"))
}

/// The countdown of the replica that is started again first.
pub(crate) fn next_restart(status: &WorkloadStatus) -> Option<String> {
    let all = status
        .components
        .iter()
        .flat_map(|component| &component.replicas);
    let waiting = all.filter(|replica| replica.restart_in_ms.is_some());
    countdown(waiting.min_by_key(|replica| replica.restart_in_ms)?)
}

/// What a workload that starts waits for, as far as that is known: the longest of its replicas'
/// waits.
pub(crate) fn activity(status: &WorkloadStatus) -> Option<String> {
    let all = status.components.iter().flat_map(|component| {
        let replicas = component.replicas.iter();
        let activities = replicas.filter_map(|replica| replica.activity.as_ref());
        activities.map(|activity| (&component.name, activity))
    });
    let longest = all.max_by_key(|(_, activity)| activity.for_ms);
    longest.map(|(component, activity)| {
        let seconds = activity.for_ms / 1_000;
        format!("{} `{component}`, {seconds} s so far", activity.what)
    })
}

/// Replicas that are as they should be, of those that are wanted: `1/2`.
pub(crate) fn replicas(status: &WorkloadStatus) -> String {
    let all = status
        .components
        .iter()
        .flat_map(|component| &component.replicas);
    let good = all.filter(|replica| {
        matches!(
            replica.state,
            ReplicaState::Running | ReplicaState::Completed
        )
    });
    let wanted: u32 = status
        .components
        .iter()
        .map(|c| u32::from(c.replicas_wanted))
        .sum();
    format!("{}/{wanted}", good.count())
}

/// Starts after the first, of all replicas.
pub(crate) fn restarts(status: &WorkloadStatus) -> u64 {
    let all = status
        .components
        .iter()
        .flat_map(|component| &component.replicas);
    all.map(|replica| replica.restarts).sum()
}

/// The kinds of its components, each once.
pub(crate) fn kinds(status: &WorkloadStatus) -> String {
    let mut kinds: Vec<&str> = status.components.iter().map(|c| c.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(",")
}

/// Its first route, and how many more there are.
pub(crate) fn routes(status: &WorkloadStatus) -> String {
    let all: Vec<&String> = status.components.iter().flat_map(|c| &c.routes).collect();
    match all.as_slice() {
        [] => String::new(),
        [only] => (*only).clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

/// Where a workload answers, on a node that serves HTTP at `http`.
pub(crate) fn urls(spec: &WorkloadSpec, http: &str) -> Vec<String> {
    let routes = spec
        .components
        .iter()
        .flat_map(|component| &component.routes);
    routes.map(|route| url(route, http)).collect()
}

fn url(route: &Route, http: &str) -> String {
    let http = http
        .strip_prefix("http://")
        .unwrap_or(http)
        .trim_end_matches('/');
    let (host, port) = http.rsplit_once(':').unwrap_or((http, "80"));
    // The address to listen on may mean every address; a browser needs one.
    let host = match (route.host(), host) {
        ("*", "0.0.0.0") => "127.0.0.1",
        ("*", "[::]") => "[::1]",
        ("*", host) => host,
        (named, _) => named,
    };
    format!("http://{host}:{port}{}", route.path())
}

/// A line of a guest's output with where it came from.
pub(crate) fn log_line(line: &LogLine) -> String {
    let moment = text::moment(line.time_ms);
    let stream = match line.stream {
        LogStream::Stdout => "out",
        LogStream::Stderr => "err",
        LogStream::Node => "node",
    };
    format!(
        "{moment} {}/{} {stream:<4} {}",
        line.component, line.replica, line.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_can_be_opened() {
        let url = |host: &str, path: &str, http: &str| url(&Route::new(host, path).unwrap(), http);
        assert_eq!(url("*", "/", "127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("*", "/api", "0.0.0.0:80"), "http://127.0.0.1:80/api");
        assert_eq!(url("*", "/", "[::]:80"), "http://[::1]:80/");
        assert_eq!(
            url("shop.example", "/", "http://127.0.0.1:80/"),
            "http://shop.example:80/"
        );
    }
}
