//! Commands about receipts of executions.

use std::path::PathBuf;

use clap::Subcommand;
use types::FabricId;

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Show what a file of receipts says, checked or not
    #[command(after_help = "\
Examples:
  nexus receipt show pi.receipt
  nexus receipt show pi.receipt -o json")]
    Show {
        /// What `nexus invoke --receipt` wrote
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Check receipts: who signed, on what they agree, who was drawn
    #[command(after_help = "\
Examples:
  nexus receipt verify pi.receipt
  nexus receipt verify pi.receipt --fabric blake3:… -o json

Checks the signatures, that receipts of enough drawn nodes agree, and that it is on this order and
this result. That takes no node. Whether the nodes were drawn by chance takes the block that drew
them: a node of the fabric is asked for that, if one answers.")]
    Verify {
        /// What `nexus invoke --receipt` wrote
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The fabric that it must be of
        #[arg(long, value_name = "DIGEST")]
        fabric: Option<FabricId>,
    },
    /// Have others run the same again, and compare
    #[command(after_help = "\
Examples:
  nexus receipt challenge pi.receipt
  nexus receipt challenge pi.receipt -o json

Up to three members that have no receipt in the file are drawn by the newest block. They run the
order again, which takes the deployment as it was. A receipt is confirmed or refuted by more than
half of them; the exit code is 5 if one is refuted.")]
    Challenge {
        /// What `nexus invoke --receipt` wrote
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
    },
}
