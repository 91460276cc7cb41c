//! Commands about the node itself: how it starts, joins and runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use types::Name;

use crate::cli::{HttpsArgs, StorageArgs};
use crate::target::address;
use types::HostPattern;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Show the node, its fabric and its ledger
    #[command(after_help = "Examples:\n  nexus node status\n  nexus node status -o json")]
    Status,
    /// Make this machine's keys and show its ids, before it founds or joins a fabric with others
    #[command(after_help = "\
Example:
  nexus --data /srv/fabric node prepare

Whoever runs `nexus fabric found` wants the ids of every machine that is to vote.")]
    Prepare,
    /// List the nodes as places for replicas
    #[command(after_help = "Examples:\n  nexus node list\n  nexus node list -o json")]
    List,
    /// Let a node keep what it has and take no more replicas
    #[command(after_help = "Example:\n  nexus node cordon 5f3c…")]
    Cordon(NodeIdArgs),
    /// Move the replicas of a node to others, and let it take no more
    #[command(after_help = "\
Example:
  nexus node drain 5f3c…

What fits nowhere else stays, and moves as soon as there is a place: `nexus node list` shows how much
is left, `nexus describe WORKLOAD` why.")]
    Drain(NodeIdArgs),
    /// Let a node take replicas again
    #[command(after_help = "Example:\n  nexus node open 5f3c…")]
    Open(NodeIdArgs),
    /// Give a node labels, which manifests can ask for
    #[command(after_help = "\
Examples:
  nexus node label 5f3c… zone=eu-west disk=fast
  nexus node label 5f3c… disk-

A label that is given again is replaced; `NAME-` takes one away.")]
    Label(NodeLabelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NodeIdArgs {
    /// The node: 64 hex digits, or as many of the first as make it the only one
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct NodeLabelArgs {
    /// The node: 64 hex digits, or as many of the first as make it the only one
    pub(crate) id: String,
    /// `NAME=VALUE` or `NAME-`
    #[arg(required = true)]
    pub(crate) labels: Vec<LabelChange>,
}

/// One label given or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelChange {
    pub(crate) label: Name,
    /// None takes it away.
    pub(crate) value: Option<Name>,
}

impl FromStr for LabelChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
        if let Some((label, value)) = text.split_once('=') {
            let (label, value) = (name(label)?, Some(name(value)?));
            return Ok(Self { label, value });
        }
        let label = text.strip_suffix('-');
        let label = label.ok_or_else(|| format!("`{text}`: expected NAME=VALUE or NAME-"))?;
        Ok(Self {
            label: name(label)?,
            value: None,
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus up --http 127.0.0.1:8080
  nexus up --demo
  nexus up --data /srv/fabric --http 0.0.0.0:80

Logs go to standard error: lines for people on a terminal, JSON otherwise. RUST_LOG chooses what is
logged, for instance RUST_LOG=debug. Ctrl-C lets running calls end, for at most 5 s; a second
Ctrl-C ends at once. The data stays: the next start goes on from it.")]
pub(crate) struct UpArgs {
    /// Deploy the demo component and wait until it answers. Unless --data says where, its data is
    /// in hypermesh-demo beside the default directory
    #[arg(long)]
    pub(crate) demo: bool,
    /// Found a fabric with other machines at the first start, as `nexus fabric found` wrote it down
    #[arg(
        long,
        value_name = "FILE",
        value_hint = clap::ValueHint::FilePath,
        conflicts_with = "demo"
    )]
    pub(crate) founding: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus join hm1…
  nexus --data /srv/fabric join hm1… --stoq 0.0.0.0:7400
  nexus join blake3:…@203.0.113.7:7400

A member prints a ticket with `nexus fabric invite`. Joining takes a fresh data directory; the next
start is `nexus up`. A node that does not listen for peers dials out, which is enough behind NAT.")]
pub(crate) struct JoinArgs {
    /// The ticket; or FABRIC@IP:PORT, on a local network FABRIC, to be let in by validators' votes
    #[arg(value_name = "TICKET")]
    pub(crate) entrance: String,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// How a node runs.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Serve HTTP for workloads at this address; port 0 takes any free port [with --demo:
    /// 127.0.0.1:8080 or a free port]
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub(crate) http: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) https: HttpsArgs,
    /// Listen for other nodes and remote operators at this UDP address, for instance [::]:7400
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub(crate) stoq: Option<SocketAddr>,
    /// Tell others to reach this node here, where that is not the address it listens at; may be
    /// repeated
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub(crate) advertise: Vec<SocketAddr>,
    /// Find members by multicast DNS and be found [default: if --stoq is not on loopback]
    #[arg(long, overrides_with = "no_mdns")]
    pub(crate) mdns: bool,
    /// Neither find members by multicast DNS nor be found
    #[arg(long, overrides_with = "mdns")]
    pub(crate) no_mdns: bool,
    /// Instances that may live at once, 1 to 10000; calls beyond wait for a place [default: one per
    /// 2 MiB of the memory that the machine or the control group has, at most 4000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) instances: Option<u32>,
    /// Connect to this host for guests of other nodes that lease this node's network, for instance
    /// db.example:5432 or *.example.org; may be repeated [default: to none]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) dial_for_leases: Vec<HostPattern>,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}
