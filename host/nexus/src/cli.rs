//! The command line: commands, flags, their help. Only commands that work are here.

mod assets;
mod https;
mod ledger;
mod membership;
mod receipts;
mod running;
mod storage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use types::{Millis, Name, Replication, Topic};

use crate::contexts::NodeArg;
use crate::exit::EXIT_CODES;
use crate::target::{ComponentTarget, RouteArg};

pub(crate) use assets::{
    AssetCommand, ContainerArgs, LeaseCommand, PolicyArgs, ProofCommand, SharedAssetCommand,
};
pub(crate) use https::HttpsArgs;
pub(crate) use ledger::LedgerCommand;
pub(crate) use membership::{
    ContextCommand, FabricCommand, GrantedRole, Rate, RoleCommand, StoqCommand, TrustCommand,
    ValidatorCommand,
};
pub(crate) use receipts::ReceiptCommand;
pub(crate) use running::{JoinArgs, LabelChange, NodeArgs, NodeCommand, UpArgs};
pub(crate) use storage::StorageArgs;

/// Run sandboxed WebAssembly components on a fabric of machines
#[derive(Debug, Parser)]
#[command(
    name = "nexus",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// How results are printed: for people, or as the admin API answers
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Output::Table,
        help_heading = "Options of every command"
    )]
    pub(crate) output: Output,
    /// The node's data directory [default: hypermesh in $XDG_DATA_HOME or ~/.local/share]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        value_hint = clap::ValueHint::DirPath,
        env = "NEXUS_DATA",
        hide_env_values = true,
        help_heading = "Options of every command"
    )]
    data: Option<OsString>,
    /// A node elsewhere: the name of a context, or ID@IP:PORT with the operator's key and the fabric
    /// of the data directory
    #[arg(
        long,
        global = true,
        value_name = "CONTEXT|ID@ADDR",
        env = "NEXUS_NODE",
        hide_env_values = true,
        help_heading = "Options of every command"
    )]
    pub(crate) node: Option<NodeArg>,
}

impl Global {
    /// The directory that the user named; an empty variable names none.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data
            .as_deref()
            .filter(|data| !data.is_empty())
            .map(Path::new)
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a node and stay until Ctrl-C
    Up(UpArgs),
    /// Join a fabric with a ticket, and stay until Ctrl-C
    Join(JoinArgs),
    /// Make a folder with a guest project that builds
    New(NewArgs),
    /// Build a project's component
    #[command(after_help = "\
Examples:
  nexus build
  nexus build hello -o json

Builds with optimisation for small size, to target/NAME.wasm in the project. It takes the wasm32-wasip2
target of the `rustc` on PATH, else the compiler that `cargo xtask guests` left in the user's cache.")]
    Build(ProjectArgs),
    /// Build and deploy a project, and again after each change, until Ctrl-C
    #[command(after_help = "\
Examples:
  nexus dev
  nexus --data /srv/fabric dev hello

Shows what the compiler says and what the workload writes. While a version does not build or does not
run, the one before it keeps serving. The workload stays when the command ends.")]
    Dev(ProjectArgs),
    /// Deploy a component or a manifest, and wait until it runs
    Deploy(DeployArgs),
    /// List workloads
    #[command(after_help = "\
Examples:
  nexus ps
  nexus ps -o json

REPLICAS counts those that are as they should be, of those that are wanted; RESTARTS counts starts
after the first.")]
    Ps,
    /// Show all that is known of a workload
    #[command(after_help = "\
Examples:
  nexus describe web
  nexus describe web -o yaml")]
    Describe(NameArgs),
    /// Print what a workload wrote
    Logs(LogsArgs),
    /// Call a typed export
    Invoke(InvokeArgs),
    /// Show, check and challenge receipts of calls
    #[command(subcommand, arg_required_else_help = true)]
    Receipt(ReceiptCommand),
    /// Send a message to the components that subscribe to its topic
    Publish(PublishArgs),
    /// Change how many replicas run
    Scale(ScaleArgs),
    /// Stop a workload; it keeps its name and routes
    #[command(after_help = "Example:\n  nexus stop web")]
    Stop(NameArgs),
    /// Start a stopped workload
    #[command(after_help = "Example:\n  nexus start web")]
    Start(NameArgs),
    /// Halt a workload; it keeps its memory and connections
    #[command(after_help = "\
Examples:
  nexus pause web
  nexus resume web

A paused workload uses no cpu. Requests wait for limits.queue_time, then they are answered with 503.
Time limits stand still. If its node restarts, what its instances held is lost: they come up paused
and begin anew when they are resumed.")]
    Pause(NameArgs),
    /// Let a paused workload go on
    #[command(after_help = "Example:\n  nexus resume web")]
    Resume(NameArgs),
    /// Replace every replica by a fresh one
    #[command(after_help = "\
Example:
  nexus restart web

A component that takes requests goes on answering until its successor runs; a command is stopped
first. A paused workload runs afterwards.")]
    Restart(NameArgs),
    /// Remove a workload
    #[command(after_help = "Example:\n  nexus rm web")]
    Rm(NameArgs),
    /// Keep values that components get and nobody is shown
    #[command(subcommand, arg_required_else_help = true)]
    Secret(SecretCommand),
    /// See who belongs to the fabric, let others in, put them out
    #[command(subcommand, arg_required_else_help = true)]
    Fabric(FabricCommand),
    /// Say which nodes vote on the ledger
    #[command(subcommand, arg_required_else_help = true)]
    Validator(ValidatorCommand),
    /// Say who may deploy and who may only look
    #[command(subcommand, arg_required_else_help = true)]
    Role(RoleCommand),
    /// Name nodes elsewhere, to speak to them from here
    #[command(subcommand, arg_required_else_help = true)]
    Context(ContextCommand),
    /// See the sessions of this node with others
    #[command(subcommand, arg_required_else_help = true)]
    Stoq(StoqCommand),
    /// See, renew and revoke certificates of nodes
    #[command(subcommand, arg_required_else_help = true)]
    Trust(TrustCommand),
    /// Read the ledger: blocks, transactions, entries, and what proves them
    #[command(subcommand, arg_required_else_help = true)]
    Ledger(LedgerCommand),
    /// See what machines have to give, and share it
    #[command(subcommand, arg_required_else_help = true)]
    Asset(AssetCommand),
    /// Lease parts of assets, for a while
    #[command(subcommand, arg_required_else_help = true)]
    Lease(LeaseCommand),
    /// See the four proofs that came with an operation on an asset
    #[command(subcommand, arg_required_else_help = true)]
    Proof(ProofCommand),
    /// Ask the node itself
    #[command(subcommand, arg_required_else_help = true)]
    Node(NodeCommand),
    /// Print a completion script
    Completion(CompletionArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Set a secret to what is on standard input or in a file
    #[command(after_help = "\
Examples:
  nexus secret set api-token < token.txt
  nexus secret set api-token --from-file token.txt

Components that list the secret in their manifest read it through wasi:config, when they start. A line
end is part of the value unless it is typed.")]
    Set {
        /// The secret
        name: Name,
        /// Read the value from this file
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        from_file: Option<PathBuf>,
    },
    /// List the names of all secrets
    #[command(after_help = "Example:\n  nexus secret list")]
    List,
    /// Remove a secret; components that run keep what they got
    #[command(after_help = "Example:\n  nexus secret rm api-token")]
    Rm {
        /// The secret
        name: Name,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus new hello
  nexus new --template cli report
  nexus new --template worker mailbox

The project has a copy of the guest SDK in its folder sdk, so it builds wherever it is moved to.")]
pub(crate) struct NewArgs {
    /// The language of the guest
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// What the guest is: http answers requests, worker handles messages, cli runs and ends, lib has
    /// typed exports
    #[arg(long, value_enum, default_value_t = Template::Http)]
    pub(crate) template: Template,
    /// Use the guest SDK in this folder, such as guest-sdk/rust of a checkout, in place of a copy
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) sdk: Option<PathBuf>,
    /// The project, its folder and its workload
    pub(crate) name: Name,
}

/// In what a guest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    // The rest is not offered: known, so that the refusal can say what to do.
    #[value(hide = true)]
    Python,
    #[value(hide = true, alias = "js", alias = "typescript")]
    Javascript,
    #[value(hide = true)]
    Go,
    #[value(hide = true, alias = "cpp")]
    C,
}

/// What `nexus new` begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    Http,
    Worker,
    Cli,
    Lib,
}

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus deploy app.toml
  nexus deploy hello.wasm --name hello --route /hello
  nexus deploy app.toml --dry-run -o json

A workload of that name is replaced. If what was deployed does not run within the timeout, or
Ctrl-C ends the wait, it is taken back: a first deployment is removed, a replaced workload comes
back as it was.")]
pub(crate) struct DeployArgs {
    /// A component (.wasm, or .wat as text) or a manifest (.toml)
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The workload's name [default: the manifest's, or the file's]
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// Where a component without manifest answers HTTP: /PATH, HOST or HOST/PATH [default: every
    /// host and path that no other workload has]
    #[arg(long, value_name = "[HOST]/PATH")]
    pub(crate) route: Option<RouteArg>,
    /// How long it may take until the workload runs
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub(crate) timeout: Millis,
    /// Check everything, admit nothing; prints what would be admitted
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The workload
    pub(crate) name: Name,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus logs web --tail 20
  nexus logs web -f --component api
  nexus logs web -o json

Each line shows its time, component, replica and stream. -o json prints one object per line.")]
pub(crate) struct LogsArgs {
    /// The workload
    pub(crate) name: Name,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the newest N lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Only of this component
    #[arg(long, value_name = "C")]
    pub(crate) component: Option<Name>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus invoke demo greet '\"Ann\"'
  nexus invoke shapes area '{width: 2.5, height: 4}'
  nexus invoke calc add 2 -3
  nexus invoke greeter 'hypermesh:greeter/greetings#greet-all' '[\"Ann\", \"Bob\"]'
  nexus invoke monte-carlo run 10000 --replicate 2/3 --receipt pi.receipt

Arguments and results are in WAVE, the WebAssembly value encoding: numbers and true/false as they
are, \"text\", [lists], (tuples), {record: fields}, some(x)/none, ok(x)/err(x), enum-cases. Quote them
for the shell. An err(…) that the export returns is a result like any other.

A deterministic component can be run by several nodes: with --replicate 2/3 the newest block draws
three, of which two must agree. Who agreed, who did not and who was silent goes to standard error.")]
pub(crate) struct InvokeArgs {
    /// The workload
    pub(crate) name: Name,
    /// The component, where the workload has several
    #[arg(long, value_name = "C")]
    pub(crate) component: Option<Name>,
    /// How many nodes run it: one, M/K of them or all [default: what the manifest says, else one]
    #[arg(long, value_name = "one|M/K|all")]
    pub(crate) replicate: Option<Replication>,
    /// Write the receipts, with what was asked and the result, to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) receipt: Option<PathBuf>,
    /// The export: bare where that is unique, else NS:PACKAGE/INTERFACE#FUNCTION
    pub(crate) export: String,
    /// Its arguments, in WAVE
    #[arg(allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus publish orders.created --text '{\"id\": 7}'
  nexus publish reports/raw < report.csv

Returns when the message is queued; what its handlers make of it is in their logs. A handler that
fails is tried again, a few times. Messages are kept in memory only.")]
pub(crate) struct PublishArgs {
    /// What the message is addressed to
    pub(crate) topic: Topic,
    /// The message [default: standard input, to its end]
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus scale web 3
  nexus scale shop/api 0")]
pub(crate) struct ScaleArgs {
    /// The workload, and the component where it has several
    #[arg(value_name = "NAME[/COMPONENT]")]
    pub(crate) target: ComponentTarget,
    /// How many replicas
    #[arg(value_name = "N")]
    pub(crate) replicas: u16,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(nexus completion bash)
  nexus completion zsh > \"${fpath[1]}/_nexus\"
  nexus completion fish > ~/.config/fish/completions/nexus.fish")]
pub(crate) struct CompletionArgs {
    /// For which shell
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
