//! What clients send.

use serde::{Deserialize, Serialize};
use types::{Name, Replication, Topic};
use utoipa::{IntoParams, ToSchema};

/// What an uploaded artifact is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactUse {
    /// A component binary: it is validated, and refused if it is none.
    #[default]
    Component,
    /// A file for a guest: any bytes.
    File,
}

/// Query of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ArtifactQuery {
    /// What the artifact is for.
    #[serde(default)]
    pub r#use: ArtifactUse,
}

/// Query of a workload's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// Answer only once this generation is no longer starting or stopping, or `wait_ms` have passed.
    pub settled: Option<u64>,
    /// How long to wait; at most a minute.
    pub wait_ms: Option<u64>,
    /// Only of what is placed on the node that is asked.
    #[serde(default)]
    pub here: bool,
}

/// Query of the list of workloads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only replicas that are placed on the node that is asked.
    #[serde(default)]
    pub here: bool,
}

/// Query of a workload's logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Only of this component.
    #[param(value_type = Option<String>)]
    pub component: Option<Name>,
    /// At most so many of the newest lines; 0 for none.
    pub tail: Option<u32>,
    /// Stay and send new lines as they come.
    #[serde(default)]
    pub follow: bool,
    /// Only of replicas of the node that is asked.
    #[serde(default)]
    pub here: bool,
}

/// Query of a message; its data is the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublishQuery {
    /// What it is addressed to.
    #[param(value_type = String)]
    pub topic: Topic,
}

/// Query of a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CapQuery {
    /// Most bytes per second; no cap if absent.
    pub bytes_per_s: Option<u64>,
}

/// A call of a typed export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvokeRequest {
    /// The component, where the workload has several.
    #[schema(value_type = Option<String>)]
    pub component: Option<Name>,
    /// The export, bare where that is unique: `greet`, else `ns:pkg/interface@1.0.0#greet`.
    pub export: String,
    /// Arguments in WAVE syntax.
    pub arguments: Vec<String>,
    /// How many nodes run it: `one`, `M/K` or `all`; none for what the component's manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replicate: Option<Replication>,
    /// Whether the proof of the execution is wanted: an order with its result and receipts.
    #[serde(default)]
    pub receipt: bool,
    /// Only by a replica of the node that is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
}
