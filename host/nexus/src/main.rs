//! `nexus`: the command line. A thin client of the admin API; `nexus up` runs a node.

mod cli;
mod clock;
mod commands;
mod contexts;
mod deployment;
mod excerpt;
mod exit;
mod folders;
mod guest_toolchain;
mod interrupt;
mod patience;
mod place;
mod preparation;
mod project;
mod proving;
mod session;
mod source;
mod status;
mod table;
mod target;
mod template;
mod terminal;
mod text;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure, Outcome};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            terminal::report(&failure);
            failure.exit().into()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    // Only a node has work for every core; a client is one conversation.
    let runtime = match cli.command {
        Command::Up(_) | Command::Join(_) => Builder::new_multi_thread().enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    };
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(commands::run(cli));
    // Nothing that is left, such as a read that blocks, may keep the process.
    runtime.shutdown_background();
    outcome
}
