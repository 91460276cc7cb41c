//! Counters of a node and of its workloads, and their text form. Others push; it asks nobody.

mod compile;
mod metrics;

pub use compile::CompileSample;
pub use metrics::{
    CallEnd, CallMetrics, CallSample, MessageEnd, Metrics, NodeSample, WorkloadLabels,
};

/// Content type of [`Metrics::encode`] (OpenMetrics 1.0, which Prometheus reads).
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
