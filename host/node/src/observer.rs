//! Takes what the runtime reports of one replica to its log, its counters and the metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use admin::LogStream;
use monitor::{CallEnd, CallMetrics, CallSample, WorkloadLabels};
use orchestrator::ReplicaKey;
use runtime::{Breach, CallError, CallKind, CallOutcome, CallRecord, Denial, Observer, WasmFrame};

use crate::logbook::{LineSplitter, Logbook};
use crate::replicas::ReplicaStats;
use crate::shared::Shared;

/// Frames of a wasm backtrace that go into the log: enough to see who called whom.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// The observer of one replica.
pub(crate) struct ReplicaObserver {
    shared: Arc<Shared>,
    key: ReplicaKey,
    labels: WorkloadLabels,
    calls: CallMetrics,
    book: Arc<Logbook>,
    stats: Arc<ReplicaStats>,
    stdout: Output,
    stderr: Output,
}

/// One output of all instances.
#[derive(Default)]
struct Output {
    splitter: Mutex<LineSplitter>,
    /// Something was written since the last flush: most calls write nothing. Changed under the lock.
    written: AtomicBool,
}

impl ReplicaObserver {
    pub(crate) fn new(shared: Arc<Shared>, key: ReplicaKey) -> Self {
        let labels = labels(&key);
        let calls = shared.metrics.calls_of(&labels);
        let book = shared.logs.book(&key.workload);
        let stats = shared.replicas.stats(&key);
        let (stdout, stderr) = (Output::default(), Output::default());
        Self {
            shared,
            key,
            labels,
            calls,
            book,
            stats,
            stdout,
            stderr,
        }
    }

    /// Adds a line of the node's own.
    pub(crate) fn note(&self, text: String) {
        self.book
            .write(&self.key.component, self.key.index, LogStream::Node, text);
    }

    fn problem(&self, text: String) {
        self.stats.set_problem(text.clone());
        self.note(text);
    }

    fn write(&self, stream: LogStream, text: String) {
        self.book
            .write(&self.key.component, self.key.index, stream, text);
    }

    /// Lets unfinished lines out when a call ends.
    fn flush(&self) {
        for (output, stream) in [
            (&self.stdout, LogStream::Stdout),
            (&self.stderr, LogStream::Stderr),
        ] {
            if output.written.load(Ordering::Relaxed) {
                let mut splitter = output.lock();
                output.written.store(false, Ordering::Relaxed);
                splitter.finish(|line| self.write(stream, line));
            }
        }
    }

    fn frames(&self, backtrace: &[WasmFrame]) {
        for frame in backtrace.iter().take(BACKTRACE_FRAMES_MAX) {
            self.note(format!("    at {frame}"));
        }
    }

    fn failed(&self, error: &CallError) {
        match error {
            // Already said, with its kind, when it was reached.
            CallError::Breach(_) | CallError::Stopped => {}
            CallError::Trap { backtrace, .. } => {
                self.shared.metrics.trap(&self.labels);
                self.stats.set_problem(error.to_string());
                self.note(error.to_string());
                self.frames(backtrace);
            }
            error => self.problem(error.to_string()),
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, LineSplitter> {
        self.splitter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for ReplicaObserver {
    fn log(&self, stream: runtime::LogStream, bytes: &[u8]) {
        let (output, stream) = match stream {
            runtime::LogStream::Stdout => (&self.stdout, LogStream::Stdout),
            runtime::LogStream::Stderr => (&self.stderr, LogStream::Stderr),
        };
        let mut splitter = output.lock();
        output.written.store(true, Ordering::Relaxed);
        splitter.push(bytes, |line| self.write(stream, line));
    }

    fn breach(&self, breach: Breach) {
        self.shared
            .metrics
            .breach(&self.labels, limit_name(&breach));
        self.problem(breach.to_string());
    }

    fn call(&self, record: CallRecord) {
        self.flush();
        let end = call_end(&record.outcome);
        if let CallOutcome::Failed(error) = &record.outcome {
            self.failed(error);
        }
        self.frames(&record.stopped_at);
        if record.kind == CallKind::Trial {
            return;
        }
        let stats = &self.stats;
        ReplicaStats::add(&stats.calls, 1);
        if matches!(end, CallEnd::Failed | CallEnd::Limit) {
            ReplicaStats::add(&stats.failures, 1);
        }
        let cpu_us = u64::try_from(record.cpu.as_micros()).unwrap_or(u64::MAX);
        ReplicaStats::add(&stats.cpu_us, cpu_us);
        stats
            .memory_peak_bytes
            .fetch_max(record.memory_peak_bytes, Ordering::Relaxed);
        let CallRecord {
            wall,
            cpu,
            memory_peak_bytes,
            ..
        } = record;
        self.calls.count(&CallSample {
            end,
            wall,
            cpu,
            memory_peak_bytes,
        });
    }

    fn denied(&self, what: Denial) {
        let capability = match &what {
            Denial::HttpHost { .. } => "http-outgoing",
            Denial::Publish { .. } => "publish",
            Denial::Link { .. } => "tcp",
            Denial::Socket(wish) => wish.capability(),
        };
        self.shared.metrics.denial(&self.labels, capability);
        self.problem(what.to_string());
    }
}

/// The metric labels of a replica's component.
pub(crate) fn labels(key: &ReplicaKey) -> WorkloadLabels {
    WorkloadLabels {
        workload: key.workload.to_string(),
        component: key.component.to_string(),
    }
}

/// How a call's end is counted.
pub(crate) const fn call_end(outcome: &CallOutcome) -> CallEnd {
    match outcome {
        CallOutcome::Completed | CallOutcome::Exited(0) => CallEnd::Ok,
        CallOutcome::Cancelled | CallOutcome::Failed(CallError::Stopped) => CallEnd::Cancelled,
        CallOutcome::Failed(CallError::Breach(_)) => CallEnd::Limit,
        CallOutcome::Exited(_) | CallOutcome::Failed(_) => CallEnd::Failed,
    }
}

fn limit_name(breach: &Breach) -> &'static str {
    match breach {
        Breach::Memory { .. } => "memory",
        Breach::Tables { .. } => "table_elements",
        Breach::WallTime { .. } => "wall_time",
        Breach::Fuel { .. } => "fuel",
        Breach::LogRate { .. } => "log_rate",
        Breach::OutboundConnections { .. } => "outbound_connections",
        Breach::Quota { .. } => "quota",
        Breach::StackOverflow { .. } => "stack",
    }
}
