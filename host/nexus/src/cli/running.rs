//! Commands about the node itself: how it starts, joins and runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

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
