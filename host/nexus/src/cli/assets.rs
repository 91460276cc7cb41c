//! What this machine has: commands about assets. Knows no ledger yet.

use clap::Subcommand;

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
}
