//! Commands about the fabric: members, roles, certificates.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use types::{ByteSize, Digest, FabricId, Millis, Name, NodeId, Principal, PublicKey};

use crate::contexts::NodeAddress;
use crate::target::address;

#[derive(Debug, Subcommand)]
pub(crate) enum FabricCommand {
    /// List the nodes that are or were members
    #[command(after_help = "Examples:\n  nexus fabric members\n  nexus fabric members -o json")]
    Members,
    /// Look for nodes of any fabric on the local network, by multicast DNS
    #[command(after_help = "\
Examples:
  nexus fabric discover
  nexus fabric discover -o json

Anybody on the network can claim anything: whoever is joined must prove that it is a member.")]
    Discover,
    /// Write down a new fabric of several validators, for each of them to start with
    #[command(after_help = "\
Example, after `nexus node prepare` on each machine:
  nexus fabric found fabric.json --operator KEY --validator ID@10.0.0.1:7400 \\
    --validator ID@10.0.0.2:7400 --validator ID@10.0.0.3:7400 --validator ID@10.0.0.4:7400

Give each machine the file, which holds no secret, and run there
  nexus up --founding fabric.json --stoq 0.0.0.0:7400

Four validators go on if one fails or lies, seven if two do. The fabric begins when more than two
thirds of them are up. `nexus validator` changes who votes afterwards.")]
    Found {
        /// Where to write it
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// A validator and where it is; several addresses are parted by commas
        #[arg(long, required = true, value_name = "ID@IP:PORT")]
        validator: Vec<NodeAddress>,
        /// Who administers the fabric, as `nexus node prepare` shows it; may be repeated
        #[arg(long, required = true, value_name = "KEY")]
        operator: Vec<Principal>,
    },
    /// Print a ticket with which one other node may join
    #[command(after_help = "\
Examples:
  nexus fabric invite
  nexus fabric invite --ttl 10m --address 203.0.113.7:7400

The ticket works once, until its time is over. It is a secret: whoever has it can use it. The other
machine runs `nexus join TICKET`.")]
    Invite {
        /// How long the ticket is good
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        ttl: Millis,
        /// Where the other machine reaches a member; may be repeated [default: where this node
        /// listens]
        #[arg(long, value_name = "IP:PORT", value_parser = address)]
        address: Vec<SocketAddr>,
    },
    /// List tickets
    #[command(after_help = "Example:\n  nexus fabric invites")]
    Invites,
    /// Close a ticket that nobody used
    #[command(
        after_help = "Example:\n  nexus fabric withdraw KEY   # as `nexus fabric invites` shows it"
    )]
    Withdraw {
        /// The ticket's public key
        #[arg(value_name = "KEY")]
        ticket: PublicKey,
    },
    /// Let this node, a validator, vote that a node may join without a ticket
    #[command(after_help = "Example:\n  nexus fabric approve NODE")]
    Approve {
        /// The node's id
        #[arg(value_name = "NODE")]
        id: NodeId,
    },
    /// Put a node out for good; its identity cannot return
    #[command(after_help = "Example:\n  nexus fabric evict NODE --reason 'machine was stolen'")]
    Evict {
        /// The node's id
        #[arg(value_name = "NODE")]
        id: NodeId,
        /// Why, for everyone to read
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// Let this node leave the fabric; it may join again
    #[command(after_help = "Example:\n  nexus fabric leave")]
    Leave,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ValidatorCommand {
    /// List who votes, who will, and what is being voted on
    #[command(after_help = "Examples:\n  nexus validator list\n  nexus validator list -o json")]
    List,
    /// Let this node, a validator, vote that a member gets a vote
    #[command(after_help = "\
Example, on more than two thirds of the validators:
  nexus validator add NODE

The change takes effect with the next epoch, which begins at once. Four validators go on if one
fails or lies, seven if two do; five and six are no safer than four. Add nodes that are up: a
validator that is away counts against the others.")]
    Add {
        /// The node's id
        #[arg(value_name = "NODE")]
        id: NodeId,
    },
    /// Let this node, a validator, vote that another loses its vote; it stays a member
    #[command(after_help = "\
Example, on more than two thirds of the validators:
  nexus validator remove NODE")]
    Remove {
        /// The node's id
        #[arg(value_name = "NODE")]
        id: NodeId,
    },
    /// Let this node, a validator, vote for new rules of the ledger from a height on
    #[command(after_help = "\
Example, on more than two thirds of the validators, with a height that all have time to prepare for:
  nexus ledger status
  nexus validator upgrade 2 --at 120000

From that height on a node that does not know the rules stops, says so, and keeps its data: install
a nexus that knows them everywhere first. Vote again to change the height.")]
    Upgrade {
        /// The version of the rules: one more than that in force
        #[arg(value_name = "RULES")]
        version: u32,
        /// The first block under them, 32 blocks ahead or more
        #[arg(long, value_name = "HEIGHT")]
        at: u64,
        /// Vote also for rules that the asked node does not know, and that it will stop for
        #[arg(long)]
        unknown: bool,
    },
    /// Let this node, a validator, vote against the decided change of the rules
    #[command(after_help = "\
Example, on more than two thirds of the validators, before the change is in force:
  nexus validator cancel-upgrade

If none is decided, it takes this node's own vote for one back.")]
    CancelUpgrade,
    /// Let this node give its vote back; it needs nobody's consent
    #[command(after_help = "Example:\n  nexus validator resign")]
    Resign,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Name a node elsewhere; makes an operator key for it if there is none
    #[command(after_help = "\
Example:
  nexus context add prod ID@203.0.113.7:7400 --fabric blake3:…

A node that does not listen is reached through a member: ID@MEMBER@ADDR, with the member's address.
`nexus stoq sessions` on that node shows either, `nexus node status` its fabric. The first context
becomes the one that commands use.")]
    Add {
        /// What to call it
        name: Name,
        /// The node and where it is
        #[arg(value_name = "ID@ADDR")]
        address: NodeAddress,
        /// Its fabric
        #[arg(long, value_name = "DIGEST")]
        fabric: FabricId,
        /// The operator's key file [default: NAME.key in the configuration directory, made if it
        /// is not there]
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        key: Option<PathBuf>,
    },
    /// List contexts
    #[command(after_help = "Example:\n  nexus context list")]
    List,
    /// Let commands use a context when they name no node
    #[command(after_help = "Example:\n  nexus context use prod")]
    Use {
        /// Which one
        name: Name,
    },
    /// Forget a context; its key file stays
    #[command(after_help = "Example:\n  nexus context rm prod")]
    Rm {
        /// Which one
        name: Name,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoqCommand {
    /// Show where this node is reached and list its sessions
    #[command(after_help = "Examples:\n  nexus stoq sessions\n  nexus stoq sessions -o json")]
    Sessions,
    /// Cap what this node sends to a peer, now and after restarts
    #[command(after_help = "\
Examples:
  nexus stoq cap NODE 10MiB
  nexus stoq cap NODE none

The rate is per second. What is urgent, such as the ledger's messages, is sent first.")]
    Cap {
        /// The peer's id
        #[arg(value_name = "NODE")]
        peer: NodeId,
        /// Bytes per second, such as 10MiB, or none
        #[arg(value_name = "RATE", value_parser = rate)]
        rate: Rate,
    },
}

/// A cap that was typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate(pub(crate) Option<ByteSize>);

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        text => text
            .parse()
            .map(|size| Rate(Some(size)))
            .map_err(|error| format!("{error}; or `none`")),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// List everyone who may sign transactions
    #[command(after_help = "Examples:\n  nexus role list\n  nexus role list -o json")]
    List,
    /// Give a role to an operator
    #[command(after_help = "\
Example:
  nexus role grant deployer KEY   # the public key of the other's operator.key

A viewer looks, a deployer also changes workloads, an admin also changes members and roles.")]
    Grant {
        /// Which role
        role: GrantedRole,
        /// The operator's public key
        #[arg(value_name = "KEY")]
        principal: Principal,
    },
    /// Take an operator's role away
    #[command(after_help = "Example:\n  nexus role revoke KEY")]
    Revoke {
        /// The operator's public key
        #[arg(value_name = "KEY")]
        principal: Principal,
    },
    /// Say how much of what others share a principal may hold at once, and what bond it has
    #[command(after_help = "\
Examples:
  nexus role allow KEY --quota memory=2GiB --quota cpu=1.5 --bond 100
  nexus role allow KEY                     # neither quotas nor a bond

What is not named has no quota. A lease ties the bond that its asset asks for; a node that fails a
challenge forfeits its own. Units of bond mean what the fabric's admins say that they mean.")]
    Allow {
        /// The public key of an operator or the id of a node
        #[arg(value_name = "KEY")]
        principal: Principal,
        /// Most of one type of asset at once; may be given more than once
        #[arg(long = "quota", value_name = "TYPE=AMOUNT")]
        quotas: Vec<String>,
        /// What answers for it
        #[arg(long, value_name = "UNITS", default_value_t = 0)]
        bond: u64,
    },
}

/// A role that can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantedRole {
    Admin,
    Deployer,
    Viewer,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Show a node's membership and certificates
    #[command(after_help = "Examples:\n  nexus trust show\n  nexus trust show NODE -o json")]
    Show {
        /// The node's id [default: this node]
        #[arg(value_name = "NODE")]
        id: Option<NodeId>,
    },
    /// List the certificates that are logged
    #[command(after_help = "Examples:\n  nexus trust list\n  nexus trust list -o json")]
    List,
    /// Give this node a new certificate now; sessions go on
    #[command(after_help = "Example:\n  nexus trust rotate")]
    Rotate,
    /// Check the whole history and every logged certificate here, without trust in the node
    #[command(after_help = "\
Examples:
  nexus trust audit
  nexus --node far trust audit blake3:…

Blocks must be linked and signed by the validators of the genesis, whose digest is the fabric's id. What
was seen is remembered in $XDG_STATE_HOME: a history that is shorter or another one is refused later.
A node that took over a state is audited from its oldest block on; the answer says from which height.")]
    Audit {
        /// The fabric that the node must tell the history of [default: whichever it tells]
        #[arg(value_name = "DIGEST")]
        fabric: Option<FabricId>,
    },
    /// End a certificate before its time
    #[command(after_help = "\
Example:
  nexus trust revoke blake3:… --reason 'key was copied'

Once this is final, no node hears who shows the certificate, and sessions with it close.")]
    Revoke {
        /// The certificate's fingerprint, as `nexus trust list` shows it
        fingerprint: Digest,
        /// Why, for everyone to read
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
}
