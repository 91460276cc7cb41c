//! What machines have, who shares it and who leases it: commands about assets and leases.

use admin::ContainerName;
use clap::{Args, Subcommand};
use types::{
    AssetId, AssetPolicy, AssetType, Digest, FactText, LeaseId, Millis, Name, Principal, Privacy,
};

#[derive(Debug, Subcommand)]
pub(crate) enum AssetCommand {
    /// Measure what this machine has; takes a second or two and no node
    #[command(after_help = "\
Examples:
  nexus asset measure
  nexus --data /srv/fabric asset measure -o json

Cpu and memory are the least of what the machine, its control groups and the affinity allow. The
speed of a core is in units of a fixed computation. Storage is that of the data directory's file
system: a file of at most 16 MiB is written there, flushed, read and removed. What is absent says
why. Nothing is registered.")]
    Measure,
    #[command(flatten)]
    Shared(SharedAssetCommand),
}

/// What is done with assets on the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum SharedAssetCommand {
    /// List the assets of all nodes
    #[command(after_help = "Examples:\n  nexus asset list\n  nexus asset list -o json")]
    List,
    /// Show an asset: what was measured, how it is shared, what is leased to whom
    #[command(
        visible_alias = "usage",
        after_help = "Example:\n  nexus asset show memory-0f3a…"
    )]
    Show {
        /// The asset
        asset: AssetId,
    },
    /// Let the node measure what it has, and register it
    #[command(after_help = "\
Examples:
  nexus asset register memory
  nexus asset register cpu --privacy public-network --share 50 --term 2h
  nexus asset register network
  nexus asset register container --workload shop --component cart

The node measures and signs; whoever asks for it becomes the owner. Types: cpu, memory, storage,
network, gpu, container. Network is what sessions with other members carried, as nexus stoq sessions
shows it: a node whose sessions carried next to nothing has none yet. A container is the replicas of
one component that run on the node. What is there once is registered once: retire it to begin anew.")]
    Register {
        /// Which type of asset
        #[arg(value_name = "TYPE")]
        asset_type: AssetType,
        #[command(flatten)]
        container: ContainerArgs,
        /// Who is to decide about it [default: the operator's key]
        #[arg(long, value_name = "KEY")]
        owner: Option<Principal>,
        #[command(flatten)]
        policy: PolicyArgs,
    },
    /// Let the node measure an asset of its own again
    #[command(after_help = "Example:\n  nexus asset remeasure memory-0f3a…")]
    Remeasure {
        /// The asset
        asset: AssetId,
    },
    /// Change the terms on which an asset of your own is shared
    #[command(after_help = "\
Examples:
  nexus asset share memory-0f3a… --privacy public-network --share 50
  nexus asset share memory-0f3a… --privacy private-network --peer KEY

What is not named stays as it is. Leases keep their amounts and terms.")]
    Share {
        /// The asset
        asset: AssetId,
        #[command(flatten)]
        policy: PolicyArgs,
    },
    /// Give an asset of your own to another owner
    #[command(after_help = "Example:\n  nexus asset transfer memory-0f3a… KEY")]
    Transfer {
        /// The asset
        asset: AssetId,
        /// Who decides about it from now on
        #[arg(value_name = "KEY")]
        owner: Principal,
    },
    /// Grant and renew no lease of an asset
    #[command(after_help = "Example:\n  nexus asset drain memory-0f3a…")]
    Drain {
        /// The asset
        asset: AssetId,
    },
    /// Grant leases of a drained asset again
    #[command(after_help = "Example:\n  nexus asset resume memory-0f3a…")]
    Resume {
        /// The asset
        asset: AssetId,
    },
    /// Remove an asset that has no leases
    #[command(after_help = "Example:\n  nexus asset retire memory-0f3a…")]
    Retire {
        /// The asset
        asset: AssetId,
    },
    /// Commit the node to keep an artifact for a storage asset of its own
    #[command(after_help = "\
Example:
  nexus asset keep storage-9d21… blake3:5c1f…

The node fetches the artifact if it lacks it, and answers for its chunks from then on: in every
operation on the asset, and whenever somebody challenges it.")]
    Keep {
        /// The asset
        asset: AssetId,
        /// The artifact
        artifact: Digest,
    },
    /// End a commitment to keep an artifact
    #[command(after_help = "Example:\n  nexus asset forget storage-9d21… blake3:5c1f…")]
    Forget {
        /// The asset
        asset: AssetId,
        /// The artifact
        artifact: Digest,
    },
    /// Ask the host of an asset to show chunks of what it keeps
    #[command(after_help = "\
Example:
  nexus asset challenge storage-9d21…

The ledger draws the chunks when the question is final. A host that does not show them within 10 s
and 8 blocks is marked: the asset grants and renews no lease, and its host forfeits its bond, until
it answers another challenge.")]
    Challenge {
        /// The asset
        asset: AssetId,
    },
}

/// Which component a container is of.
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    /// Of a container: the workload whose replicas are counted
    #[arg(long, value_name = "NAME", requires = "component")]
    workload: Option<Name>,
    /// Of a container: which of its components
    #[arg(long, value_name = "NAME", requires = "workload")]
    component: Option<Name>,
}

impl ContainerArgs {
    /// The component, if one is named.
    pub(crate) fn name(self) -> Option<ContainerName> {
        let (workload, component) = (self.workload?, self.component?);
        Some(ContainerName {
            workload,
            component,
        })
    }
}

/// On what terms an asset is shared.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Who may lease it: private, private-network (--peer), p2p (whom the owner grants a lease),
    /// public-network (members and operators), full-public
    #[arg(long)]
    privacy: Option<Privacy>,
    /// How much of it may be leased, in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    share: Option<u8>,
    /// Most leases of it at once
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u16>,
    /// Longest term of a lease, such as 90s, 30m or 12h
    #[arg(long)]
    term: Option<Millis>,
    /// Who may lease it where it is private-network; may be given more than once
    #[arg(long = "peer", value_name = "KEY")]
    peers: Vec<Principal>,
    /// What its owner says of it; may be given more than once
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = label)]
    labels: Vec<(Name, FactText)>,
    /// What of its holder's bond each lease ties; see `nexus role allow`
    #[arg(long, value_name = "UNITS")]
    bond: Option<u64>,
}

impl PolicyArgs {
    /// `policy` with what the command line says; lists replace lists.
    pub(crate) fn over(self, policy: AssetPolicy) -> AssetPolicy {
        let AssetPolicy {
            privacy,
            share_percent,
            concurrency,
            term_ms_max,
            peers,
            labels,
            bond,
        } = policy;
        AssetPolicy {
            privacy: self.privacy.unwrap_or(privacy),
            share_percent: self.share.unwrap_or(share_percent),
            concurrency: self.concurrency.unwrap_or(concurrency),
            term_ms_max: self.term.map_or(term_ms_max, Millis::as_u64),
            peers: if self.peers.is_empty() {
                peers
            } else {
                self.peers.into_iter().collect()
            },
            labels: if self.labels.is_empty() {
                labels
            } else {
                self.labels.into_iter().collect()
            },
            bond: self.bond.unwrap_or(bond),
        }
    }
}

fn label(text: &str) -> Result<(Name, FactText), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT")?;
    let name = Name::new(name).map_err(|error| error.to_string())?;
    let value = FactText::new(value).map_err(|error| error.to_string())?;
    Ok((name, value))
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProofCommand {
    /// Show what the four proofs of a transaction claim, and whether that holds
    #[command(after_help = "\
Example:
  nexus proof show blake3:…          # the transaction, as `nexus lease grant -o json` names it

Space says where, stake who, work what, time when. Signatures, blocks, chunks and digests are checked
here; which role, quota and bond the signer had then is only the ledger's to know, which admitted it.")]
    Show {
        /// The transaction's id
        #[arg(value_name = "TRANSACTION")]
        transaction: Digest,
    },
    /// As show, and fail if one of the four does not hold
    #[command(after_help = "Example:\n  nexus proof verify blake3:… -o json")]
    Verify {
        /// The transaction's id
        #[arg(value_name = "TRANSACTION")]
        transaction: Digest,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// List the leases of a holder
    #[command(after_help = "Examples:\n  nexus lease list\n  nexus lease list KEY -o json")]
    List {
        /// Whose [default: the operator's key]
        #[arg(value_name = "KEY")]
        holder: Option<Principal>,
    },
    /// Show a lease and what is left of it
    #[command(after_help = "Example:\n  nexus lease show lease-5b1e…")]
    Show {
        /// The lease
        lease: LeaseId,
    },
    /// Lease a part of an asset
    #[command(after_help = "\
Examples:
  nexus lease grant memory-0f3a… 64MiB --term 10m
  nexus lease grant cpu-77c0… 0.5 --term 1h --to KEY

Amounts: cores of cpu and devices of gpu with up to three decimals, sizes of memory and storage,
bytes per second of network (10MB), instances of container. Others than the operator itself get
leases from the asset's owner only.

What is leased here is kept free for its holder. Memory, cpu and network are used by guests, through
leases that they ask for themselves: nothing uses one that was granted by hand.")]
    Grant {
        /// Of which asset
        asset: AssetId,
        /// How much of it
        amount: String,
        /// For how long
        #[arg(long)]
        term: Millis,
        /// For whom [default: the operator's key]
        #[arg(long, value_name = "KEY")]
        to: Option<Principal>,
    },
    /// Let a lease end later: so long from now
    #[command(after_help = "Example:\n  nexus lease renew lease-5b1e… --term 10m")]
    Renew {
        /// The lease
        lease: LeaseId,
        /// How long it holds from now on
        #[arg(long)]
        term: Millis,
    },
    /// Give a lease back
    #[command(after_help = "Example:\n  nexus lease release lease-5b1e…")]
    Release {
        /// The lease
        lease: LeaseId,
    },
}
