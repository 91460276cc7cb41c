//! Commands about the ledger itself.

use std::path::PathBuf;

use clap::Subcommand;
use types::{Digest, FabricId};

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Show how this node's ledger stands: height, state root, epoch, who votes, what waits
    #[command(after_help = "Examples:\n  nexus ledger status\n  nexus ledger status -o json")]
    Status,
    /// List final blocks
    #[command(after_help = "\
Examples:
  nexus ledger blocks
  nexus ledger blocks --from 1 --limit 100 -o json

Without --from, the last ones. FINAL BY says whether the node has a certificate of finality for the
block itself, or a later block's covers it.")]
    Blocks {
        /// The first height
        #[arg(long, value_name = "HEIGHT")]
        from: Option<u64>,
        /// How many at most, up to 256
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u64,
    },
    /// Show a final block and what its transactions ask for
    #[command(after_help = "\
Examples:
  nexus ledger block 7
  nexus ledger block blake3:… -o json

What became of a transaction is no part of a block: a node knows it of the last blocks that it
executed since it was started.")]
    Block {
        /// Its height or its digest
        #[arg(value_name = "HEIGHT|DIGEST", value_parser = block)]
        block: String,
    },
    /// Show a final transaction: where it is, what it asks for, what became of it
    #[command(after_help = "\
Example:
  nexus ledger tx blake3:…

The newest 4096 blocks are looked through, or the newest 256 MiB; `nexus ledger block` shows older ones.")]
    Tx {
        /// The digest of its signed bytes, as `-o json` of every change shows it
        #[arg(value_name = "ID")]
        id: Digest,
    },
    /// Show an entry of the state, or list keys
    #[command(after_help = "\
Examples:
  nexus ledger get deployment/web
  nexus ledger get deployment/        # a key that ends with / lists those below
  nexus ledger get fabric -o json

This is what the node says. `nexus ledger proof` gets what proves it.")]
    Get {
        /// The key
        key: String,
    },
    /// Get the proof of an entry, or of its absence, as a file that stands by itself
    #[command(after_help = "\
Examples:
  nexus ledger proof deployment/web
  nexus ledger proof deployment/gone --out gone.proof
  nexus ledger verify gone.proof --fabric blake3:…

The proof is checked before it is written.")]
    Proof {
        /// The key
        key: String,
        /// Where to write it [default: the key with - for /, and .proof]
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Check a proof here, without any node: all it takes is the fabric's id
    #[command(after_help = "\
Examples:
  nexus ledger verify web.proof --fabric blake3:…
  nexus ledger verify web.proof --fabric blake3:… --key deployment/web -o json

Checks that the genesis in the file has the fabric's id, that its validators, and those who took over
from them, signed the block, and that the block's state root leads to the entry. The answer is about the
height that it names: the entry may have changed since.")]
    Verify {
        /// The proof
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The fabric that it must be of
        #[arg(long, value_name = "DIGEST")]
        fabric: FabricId,
        /// The key that it must be about
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Follow final blocks, or changes of entries, until Ctrl-C
    #[command(after_help = "\
Examples:
  nexus ledger watch
  nexus ledger watch deployment/ --from 12
  nexus ledger watch member/ -o json

One line for each block, or with a prefix for each change of an entry whose key begins so. -o json
prints one object for each block.")]
    Watch {
        /// Only changes of entries whose keys begin so
        #[arg(value_name = "KEY-PREFIX")]
        prefix: Option<String>,
        /// Begin at this height [default: the next block]
        #[arg(long, value_name = "HEIGHT")]
        from: Option<u64>,
    },
}

/// A height or a digest, as it was typed.
fn block(text: &str) -> Result<String, String> {
    if text.parse::<u64>().is_ok() || text.parse::<Digest>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("neither a height nor a digest, such as blake3:…".to_owned())
    }
}
