//! What a node is told about its disk. Knows no other flag.

use clap::Args;
use types::ByteSize;

/// How much of the disk a node takes.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Room for artifacts, for instance 20GiB: what no deployment names goes when more is needed,
    /// the least recently used first [default: a quarter of the file system]
    #[arg(long = "storage-quota", value_name = "SIZE")]
    pub(crate) quota: Option<ByteSize>,
    /// Blocks that the ledger may be behind before it takes the state over from its peers, proven,
    /// instead of executing what it missed [default: 4096]
    #[arg(long, value_name = "BLOCKS")]
    pub(crate) sync_beyond: Option<u64>,
}
