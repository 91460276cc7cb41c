//! The metric families, one place for names, units and labels.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::compile::{CompileMetrics, CompileSample};

/// Upper bounds of the latency buckets, in seconds: from a warm call to the default wall time.
const LATENCY_BUCKETS_S: [f64; 13] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// Whose numbers these are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WorkloadLabels {
    /// The workload.
    pub workload: String,
    /// Its component.
    pub component: String,
}

/// The series of one component's calls.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    /// In the order of [`CallEnd::ALL`].
    ended: [Counter; CallEnd::ALL.len()],
    latency: Histogram,
    cpu: Counter<f64, AtomicU64>,
    memory_peak: Gauge<i64, AtomicI64>,
}

impl CallMetrics {
    /// Counts one ended call.
    pub fn count(&self, sample: &CallSample) {
        if let Some(ended) = self.ended.get(sample.end as usize) {
            ended.inc();
        }
        self.latency.observe(sample.wall.as_secs_f64());
        self.cpu.inc_by(sample.cpu.as_secs_f64());
        let peak = i64::try_from(sample.memory_peak_bytes).unwrap_or(i64::MAX);
        self.memory_peak.inner().fetch_max(peak, Ordering::Relaxed);
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// It returned.
    Ok,
    /// It trapped, exited badly or gave no answer.
    Failed,
    /// It broke a limit.
    Limit,
    /// The caller went away, or the replica was stopped.
    Cancelled,
    /// It found no place in time and never ran.
    Refused,
}

impl CallEnd {
    /// Every way, in the order of declaration.
    const ALL: [Self; 5] = [
        Self::Ok,
        Self::Failed,
        Self::Limit,
        Self::Cancelled,
        Self::Refused,
    ];
}

impl EncodeLabelValue for CallEnd {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    workload: String,
    component: String,
    end: CallEnd,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    workload: String,
    component: String,
    kind: &'static str,
}

/// What became of a message, or of an attempt to have it handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageEnd {
    /// It was handled.
    Delivered,
    /// An attempt failed.
    Failed,
    /// It was given up.
    Dead,
}

impl MessageEnd {
    /// Every way, in the order of declaration.
    const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::Dead];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}

/// One ended call.
#[derive(Debug, Clone, Copy)]
pub struct CallSample {
    /// How it ended.
    pub end: CallEnd,
    /// From admission to the last byte.
    pub wall: Duration,
    /// Time that the instance computed.
    pub cpu: Duration,
    /// Largest memory of the instance.
    pub memory_peak_bytes: u64,
}

/// A node's own state, read when metrics are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeSample {
    /// Height of the last final block.
    pub height: u64,
    /// Transactions that wait for a block.
    pub waiting_transactions: u64,
    /// Replicas that run here.
    pub replicas_running: u64,
    /// Deployments of the fabric.
    pub deployments: u64,
    /// Compilations, their cache, and the pool.
    pub compile: CompileSample,
}

/// All metric families of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    latency: Family<WorkloadLabels, Histogram, fn() -> Histogram>,
    cpu: Family<WorkloadLabels, Counter<f64, AtomicU64>>,
    memory_peak: Family<WorkloadLabels, Gauge<i64, AtomicI64>>,
    traps: Family<WorkloadLabels, Counter>,
    breaches: Family<KindLabels, Counter>,
    denials: Family<KindLabels, Counter>,
    messages: Family<KindLabels, Counter>,
    height: Gauge,
    waiting_transactions: Gauge,
    replicas_running: Gauge,
    deployments: Gauge,
    compile: CompileMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("nexus"),
            calls: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS_S)),
            cpu: Family::default(),
            memory_peak: Family::default(),
            traps: Family::default(),
            breaches: Family::default(),
            denials: Family::default(),
            messages: Family::default(),
            height: Gauge::default(),
            waiting_transactions: Gauge::default(),
            replicas_running: Gauge::default(),
            deployments: Gauge::default(),
            compile: CompileMetrics::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        self.compile.register(r);
        r.register(
            "calls",
            "Calls that ended, by how they ended",
            self.calls.clone(),
        );
        r.register_with_unit(
            "call_duration",
            "From admission of a call to its last byte",
            Unit::Seconds,
            self.latency.clone(),
        );
        r.register_with_unit(
            "cpu",
            "Time that instances computed",
            Unit::Seconds,
            self.cpu.clone(),
        );
        r.register_with_unit(
            "memory_peak",
            "Largest memory of one instance since the node started",
            Unit::Bytes,
            self.memory_peak.clone(),
        );
        r.register("traps", "Calls that trapped", self.traps.clone());
        r.register(
            "breaches",
            "Limits that were broken, by limit",
            self.breaches.clone(),
        );
        r.register(
            "denials",
            "Host calls that no capability covered",
            self.denials.clone(),
        );
        r.register(
            "messages",
            "Messages handled, attempts that failed, messages given up",
            self.messages.clone(),
        );
        r.register(
            "ledger_height",
            "Height of the last final block",
            self.height.clone(),
        );
        r.register(
            "ledger_waiting_transactions",
            "Transactions that wait for a block",
            self.waiting_transactions.clone(),
        );
        r.register(
            "replicas_running",
            "Replicas that run here",
            self.replicas_running.clone(),
        );
        r.register(
            "deployments",
            "Deployments of the fabric",
            self.deployments.clone(),
        );
    }

    /// The series that every call of a component counts in, looked up once.
    #[must_use]
    pub fn calls_of(&self, labels: &WorkloadLabels) -> CallMetrics {
        let WorkloadLabels {
            workload,
            component,
        } = labels;
        let ended = CallEnd::ALL.map(|end| {
            let (workload, component) = (workload.clone(), component.clone());
            let labels = CallLabels {
                workload,
                component,
                end,
            };
            self.calls.get_or_create(&labels).clone()
        });
        CallMetrics {
            ended,
            latency: self.latency.get_or_create(labels).clone(),
            cpu: self.cpu.get_or_create(labels).clone(),
            memory_peak: self.memory_peak.get_or_create(labels).clone(),
        }
    }

    /// Counts a trap.
    pub fn trap(&self, labels: &WorkloadLabels) {
        self.traps.get_or_create(labels).inc();
    }

    /// Counts a broken limit. `limit` is one of a fixed set of names.
    pub fn breach(&self, labels: &WorkloadLabels, limit: &'static str) {
        self.breaches.get_or_create(&kind(labels, limit)).inc();
    }

    /// Counts a denied host call. `capability` is one of a fixed set of names.
    pub fn denial(&self, labels: &WorkloadLabels, capability: &'static str) {
        self.denials.get_or_create(&kind(labels, capability)).inc();
    }

    /// Counts a message of a subscriber.
    pub fn message(&self, labels: &WorkloadLabels, end: MessageEnd) {
        let labels = kind(labels, end.as_str());
        self.messages.get_or_create(&labels).inc();
    }

    /// Forgets a component that is gone, so that names do not pile up.
    pub fn forget(&self, labels: &WorkloadLabels) {
        let WorkloadLabels {
            workload,
            component,
        } = labels;
        for end in CallEnd::ALL {
            let (workload, component) = (workload.clone(), component.clone());
            self.calls.remove(&CallLabels {
                workload,
                component,
                end,
            });
        }
        self.latency.remove(labels);
        self.cpu.remove(labels);
        self.memory_peak.remove(labels);
        self.traps.remove(labels);
        for end in MessageEnd::ALL {
            self.messages.remove(&kind(labels, end.as_str()));
        }
    }

    /// The text form (OpenMetrics).
    #[must_use]
    pub fn encode(&self, node: &NodeSample) -> String {
        let gauges = [
            (&self.height, node.height),
            (&self.waiting_transactions, node.waiting_transactions),
            (&self.replicas_running, node.replicas_running),
            (&self.deployments, node.deployments),
        ];
        for (gauge, value) in gauges {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.compile.set(&node.compile);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a String cannot fail; an empty scrape is still well formed.
            text = "# EOF\n".to_owned();
        }
        text
    }
}

fn kind(labels: &WorkloadLabels, kind: &'static str) -> KindLabels {
    let WorkloadLabels {
        workload,
        component,
    } = labels.clone();
    KindLabels {
        workload,
        component,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> WorkloadLabels {
        WorkloadLabels {
            workload: "shop".to_owned(),
            component: "web".to_owned(),
        }
    }

    fn value(metrics: &Metrics, name: &str, wanted: &[(&str, &str)]) -> Option<f64> {
        let text = metrics.encode(&NodeSample {
            height: 7,
            ..NodeSample::default()
        });
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
        let found = scrape.samples.into_iter().find(|sample| {
            sample.metric == name
                && wanted
                    .iter()
                    .all(|(key, value)| sample.labels.get(key) == Some(value))
        })?;
        match found.value {
            prometheus_parse::Value::Counter(value)
            | prometheus_parse::Value::Gauge(value)
            | prometheus_parse::Value::Untyped(value) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn what_was_counted_is_what_a_parser_reads() {
        let metrics = Metrics::default();
        let sample = CallSample {
            end: CallEnd::Ok,
            wall: Duration::from_millis(3),
            cpu: Duration::from_millis(2),
            memory_peak_bytes: 65_536,
        };
        let calls = metrics.calls_of(&labels());
        calls.count(&sample);
        calls.count(&CallSample {
            memory_peak_bytes: 1,
            ..sample
        });
        metrics.trap(&labels());
        metrics.breach(&labels(), "memory");
        metrics.denial(&labels(), "http-outgoing");
        metrics.message(&labels(), MessageEnd::Dead);
        let dead = [("component", "web"), ("kind", "dead")];
        assert_eq!(value(&metrics, "nexus_messages_total", &dead), Some(1.0));
        let ok = [("workload", "shop"), ("component", "web"), ("end", "ok")];
        assert_eq!(value(&metrics, "nexus_calls_total", &ok), Some(2.0));
        assert_eq!(
            value(&metrics, "nexus_memory_peak_bytes", &ok[..2]),
            Some(65_536.0)
        );
        assert_eq!(
            value(&metrics, "nexus_cpu_seconds_total", &ok[..2]),
            Some(0.004)
        );
        assert_eq!(value(&metrics, "nexus_traps_total", &ok[..2]), Some(1.0));
        assert_eq!(
            value(&metrics, "nexus_breaches_total", &[("kind", "memory")]),
            Some(1.0)
        );
        assert_eq!(
            value(
                &metrics,
                "nexus_denials_total",
                &[("kind", "http-outgoing")]
            ),
            Some(1.0)
        );
        assert_eq!(value(&metrics, "nexus_ledger_height", &[]), Some(7.0));
    }

    #[test]
    fn a_component_that_is_gone_leaves_no_series() {
        let metrics = Metrics::default();
        metrics.trap(&labels());
        metrics.forget(&labels());
        assert_eq!(value(&metrics, "nexus_traps_total", &[]), None);
    }
}
