//! `nexus completion`: scripts that let a shell complete commands and flags.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::terminal;

pub(crate) fn run(args: &CompletionArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nexus", &mut script);
    let script = String::from_utf8(script).map_err(|e| Failure::new(Exit::Failed, e))?;
    terminal::print(script.trim_end())
}
