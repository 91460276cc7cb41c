//! Which command does what. One file per family.

mod asset;
mod audit;
mod build;
mod challenge;
mod change;
mod completion;
mod context;
mod demo;
mod deploy;
mod describe;
mod dev;
mod fabric;
mod four_proofs;
mod invoke;
mod lease;
mod ledger;
mod logs;
mod new;
mod node;
mod nodes;
mod proof;
mod ps;
mod publish;
mod receipt;
mod role;
mod secret;
mod sharing;
mod stoq;
mod trust;
mod up;
mod validator;
mod version;

use crate::cli::{Cli, Command, NodeCommand};
use crate::exit::Outcome;
use crate::session::Session;

/// Runs the command to its end.
pub(crate) async fn run(cli: Cli) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Up(args) => up::run(global, &args).await,
        Command::Join(args) => up::join(global, &args).await,
        Command::Context(command) => context::run(global, command),
        Command::Asset(command) => asset::run(global, command).await,
        Command::Proof(command) => four_proofs::run(&Session::new(global)?, command).await,
        Command::Lease(command) => lease::run(&Session::new(global)?, command).await,
        Command::Completion(args) => completion::run(&args),
        Command::Version => version::run(global),
        Command::New(args) => new::run(global, &args),
        Command::Build(args) => build::run(global, &args).await,
        Command::Dev(args) => dev::run(&Session::new(global)?, &args).await,
        Command::Deploy(args) => deploy::run(&Session::new(global)?, args).await,
        Command::Ps => ps::run(&Session::new(global)?).await,
        Command::Describe(args) => describe::run(&Session::new(global)?, &args.name).await,
        Command::Logs(args) => logs::run(&Session::new(global)?, args).await,
        Command::Invoke(args) => invoke::run(&Session::new(global)?, args).await,
        Command::Receipt(command) => receipt::run(global, command).await,
        Command::Publish(args) => publish::run(&Session::new(global)?, args).await,
        Command::Scale(args) => change::scale(&Session::new(global)?, args).await,
        Command::Stop(args) => change::stop(&Session::new(global)?, args.name).await,
        Command::Start(args) => change::start(&Session::new(global)?, args.name).await,
        Command::Pause(args) => change::pause(&Session::new(global)?, args.name).await,
        Command::Resume(args) => change::resume(&Session::new(global)?, args.name).await,
        Command::Restart(args) => change::restart(&Session::new(global)?, args.name).await,
        Command::Rm(args) => change::remove(&Session::new(global)?, args.name).await,
        Command::Secret(command) => secret::run(&Session::new(global)?, command).await,
        Command::Validator(command) => validator::run(&Session::new(global)?, command).await,
        Command::Fabric(command) => fabric::run(&Session::new(global)?, command).await,
        Command::Role(command) => role::run(&Session::new(global)?, command).await,
        Command::Stoq(command) => stoq::run(&Session::new(global)?, command).await,
        Command::Trust(command) => trust::run(&Session::new(global)?, command).await,
        Command::Ledger(command) => ledger::run(global, command).await,
        Command::Node(NodeCommand::Prepare) => up::prepare(global),
        Command::Node(command) => node::run(&Session::new(global)?, command).await,
    }
}
