//! The manifest: how people write a workload. Parsed once, here, with positions for every error.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use crate::capability::{Capability, HostPattern};
use crate::constraints::Constraints;
use crate::digest::Digest;
use crate::guest_path::GuestPath;
use crate::limits::Limits;
use crate::name::Name;
use crate::replication::Replication;
use crate::route::Route;
use crate::topic::Topic;
use crate::units::ByteSize;
use crate::workload::{ComponentKind, ComponentSpec, FileMount, RestartPolicy, WorkloadSpec};
use crate::workload_check::WorkloadError;

/// A manifest as written: paths where the admitted form has digests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The workload's name.
    pub name: Name,
    /// `[[component]]` tables.
    #[serde(rename = "component")]
    pub components: Vec<ManifestComponent>,
}

/// One `[[component]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestComponent {
    /// Unique within the workload.
    pub name: Name,
    /// The component binary (or its text form), relative to the manifest.
    pub source: PathBuf,
    /// Placed copies.
    #[serde(default = "one")]
    pub replicas: u16,
    /// Arguments of a command.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Settings for `wasi:config/store`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Names of secrets that the guest reads beside its settings.
    #[serde(default)]
    pub secrets: Vec<Name>,
    /// `[[component.file]]` tables.
    #[serde(default, rename = "file")]
    pub files: Vec<ManifestFile>,
    /// `[component.limits]`.
    #[serde(default)]
    pub limits: Limits,
    /// `[component.capabilities]`.
    #[serde(default)]
    pub capabilities: ManifestCapabilities,
    /// `[[component.route]]` tables.
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
    /// Topics whose messages go to it.
    #[serde(default)]
    pub subscriptions: Vec<Topic>,
    /// What happens when a replica ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Requests that one instance may answer.
    #[serde(default = "fresh")]
    pub requests_per_instance: NonZeroU32,
    /// Runs it under the deterministic profile, with this seed.
    #[serde(default)]
    pub deterministic_seed: Option<u64>,
    /// How many nodes run an invocation: `one`, `M/K` or `all`.
    #[serde(default)]
    pub replicate: Replication,
    /// `[component.placement]`: where its replicas may go.
    #[serde(default)]
    pub placement: Constraints,
}

/// One file that the guest gets, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// The file, relative to the manifest.
    pub source: PathBuf,
    /// Where the guest finds it.
    pub path: GuestPath,
}

/// `[component.capabilities]`: one field per right that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestCapabilities {
    /// Hosts that outgoing HTTP may reach.
    #[serde(default)]
    pub http_outgoing: Vec<HostPattern>,
    /// Quota of the workload's key-value buckets.
    #[serde(default)]
    pub keyvalue: Option<ByteSize>,
    /// Quota of the workload's blob containers.
    #[serde(default)]
    pub blobstore: Option<ByteSize>,
    /// Hosts that TCP connections may reach.
    #[serde(default)]
    pub tcp: Vec<HostPattern>,
    /// Hosts that UDP datagrams may reach.
    #[serde(default)]
    pub udp: Vec<HostPattern>,
    /// Topics that may be published to.
    #[serde(default)]
    pub publish: Vec<Topic>,
    /// The ledger: what is final, and records of the workload.
    #[serde(default)]
    pub consensus: Option<ManifestConsensus>,
    /// What each replica may lease of memory at once.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// What each replica may lease of storage at once.
    #[serde(default)]
    pub storage: Option<ByteSize>,
    /// Thousandths of a core that each replica may lease at once.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// Bytes per second of transport that each replica may lease at once.
    #[serde(default)]
    pub network: Option<ByteSize>,
}

/// `consensus = { records = N }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestConsensus {
    /// Most records of the workload; 0 lets the component only read and verify.
    pub records: u32,
}

impl ManifestCapabilities {
    /// The admitted form.
    #[must_use]
    pub fn resolve(&self) -> Vec<Capability> {
        let hosts = |allow: &Vec<HostPattern>| (!allow.is_empty()).then(|| allow.clone());
        let topics = (!self.publish.is_empty()).then(|| self.publish.clone());
        [
            hosts(&self.http_outgoing).map(|allow| Capability::HttpOutgoing { allow }),
            self.keyvalue.map(|quota| Capability::Keyvalue { quota }),
            self.blobstore.map(|quota| Capability::Blobstore { quota }),
            hosts(&self.tcp).map(|allow| Capability::Tcp { allow }),
            hosts(&self.udp).map(|allow| Capability::Udp { allow }),
            topics.map(|topics| Capability::Publish { topics }),
            self.consensus
                .map(|ManifestConsensus { records }| Capability::Consensus { records }),
            self.memory.map(|quota| Capability::Memory { quota }),
            self.storage.map(|quota| Capability::Storage { quota }),
            self.cpu.map(|millicores| Capability::Cpu { millicores }),
            self.network.map(|rate| Capability::Network { rate }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn fresh() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn one() -> u16 {
    1
}

/// A manifest that was refused, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// The file, as the user named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Byte range within the file.
    pub span: std::ops::Range<usize>,
    /// What is wrong, with the allowed values.
    pub message: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Largest manifest: keeps a mistaken path from being read whole.
    pub const BYTES_MAX: u64 = 256 * 1024;

    /// Parses `text`, which came from `file`.
    ///
    /// # Errors
    /// [`ManifestError`] with line, column and, for unknown or wrong fields, the allowed ones.
    pub fn parse(file: &str, text: &str) -> Result<Self, ManifestError> {
        toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let before = text.get(..span.start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            ManifestError {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                span,
                message: error.message().trim_end().replace('\n', ", "),
            }
        })
    }
}

impl ManifestComponent {
    /// A component with nothing but a name and a binary: what `nexus deploy FILE.wasm` stands for.
    #[must_use]
    pub fn bare(name: Name, source: PathBuf) -> Self {
        Self {
            name,
            source,
            replicas: one(),
            args: Vec::new(),
            env: BTreeMap::new(),
            config: BTreeMap::new(),
            secrets: Vec::new(),
            files: Vec::new(),
            limits: Limits::default(),
            capabilities: ManifestCapabilities::default(),
            routes: Vec::new(),
            subscriptions: Vec::new(),
            restart: RestartPolicy::default(),
            requests_per_instance: fresh(),
            deterministic_seed: None,
            replicate: Replication::One,
            placement: Constraints::default(),
        }
    }

    /// The admitted form, once the binary and the files are known by digest.
    #[must_use]
    pub fn resolve(
        &self,
        artifact: Digest,
        kind: ComponentKind,
        files: Vec<Digest>,
    ) -> ComponentSpec {
        ComponentSpec {
            name: self.name.clone(),
            artifact,
            kind,
            replicas: self.replicas,
            args: self.args.clone(),
            env: self.env.clone(),
            config: self.config.clone(),
            secrets: self.secrets.clone(),
            files: self
                .files
                .iter()
                .zip(files)
                .map(|(file, artifact)| FileMount {
                    path: file.path.clone(),
                    artifact,
                })
                .collect(),
            limits: self.limits.clone(),
            capabilities: self.capabilities.resolve(),
            routes: self.routes.clone(),
            subscriptions: self.subscriptions.clone(),
            restart: self.restart,
            requests_per_instance: self.requests_per_instance,
            deterministic_seed: self.deterministic_seed,
            replicate: self.replicate,
            placement: self.placement.clone(),
        }
    }
}

impl WorkloadSpec {
    /// Joins resolved components and checks them together.
    ///
    /// # Errors
    /// [`WorkloadError`] names the first rule that is broken.
    pub fn new(name: Name, components: Vec<ComponentSpec>) -> Result<Self, WorkloadError> {
        let spec = Self { name, components };
        spec.check()?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
name = "shop"

[[component]]
name = "web"
source = "web.wasm"
replicas = 2
args = ["--verbose"]
env = { LEVEL = "info" }
config = { greeting = "hello" }
restart = "always"

[component.limits]
memory = "32MiB"
wall_time = "10s"
cpu_percent = 50

[component.capabilities]
cpu = 500
network = "1MiB"
http_outgoing = ["api.example.com:443"]

[component.placement]
labels = { zone = "eu" }
nodes = ["0101010101010101010101010101010101010101010101010101010101010101"]
spread = "rack"
apart = true

[[component.route]]
host = "shop.example"
path = "/api"

[[component.file]]
source = "app.conf"
path = "/etc/app.conf"
"#;

    fn refuse(text: &str) -> String {
        Manifest::parse("app.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_full_manifest_resolves() {
        let manifest = Manifest::parse("app.toml", FULL).unwrap();
        let digest = Digest::of(b"x");
        let component = manifest.components[0].resolve(digest, ComponentKind::Http, vec![digest]);
        let spec = WorkloadSpec::new(manifest.name, vec![component]).unwrap();
        assert_eq!(spec.components[0].limits.memory.to_string(), "32MiB");
        assert_eq!(spec.components[0].routes[0].to_string(), "shop.example/api");
        let placement = spec.components[0].placement.to_string();
        assert_eq!(
            placement,
            "nodes 010101010101, zone=eu, apart, spread over rack"
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place_and_the_allowed_ones() {
        let error = refuse("name = \"a\"\nreplicas = 1\n");
        assert!(
            error.starts_with("app.toml:2:1: unknown field `replicas`"),
            "{error}"
        );
        assert!(
            error.contains("`name`") && error.contains("`component`"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place_and_the_allowed_ones() {
        let component = "name = \"a\"\n[[component]]\nname = \"c\"\nsource = \"c.wasm\"\n";
        let error = refuse(&format!("{component}restart = \"sometimes\"\n"));
        assert!(
            error.starts_with("app.toml:5:11: unknown variant `sometimes`"),
            "{error}"
        );
        assert!(error.contains("`on-failure`"), "{error}");
        let error = refuse(&format!("{component}[component.limits]\nmemory = 64\n"));
        assert!(error.starts_with("app.toml:6:10: invalid type"), "{error}");
        assert!(error.contains("64MiB"), "{error}");
        let error = refuse(&format!(
            "{component}[component.limits]\nmemory = \"lots\"\n"
        ));
        assert!(error.contains("KiB"), "{error}");
        let error = refuse(&format!("{component}[[component.route]]\npath = \"api\"\n"));
        assert!(
            error.starts_with("app.toml:5:1: route path `api`"),
            "{error}"
        );
    }

    #[test]
    fn broken_toml_is_refused_with_its_place() {
        assert!(
            refuse("name = \n").starts_with("app.toml:1:8: "),
            "{}",
            refuse("name = \n")
        );
    }
}
