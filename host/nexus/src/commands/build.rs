//! `nexus build`: a project's component, ready to deploy.

use std::time::Instant;

use crate::cli::{Global, ProjectArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::project::{Build, Built, Profile, Project};
use crate::session::format;
use crate::{terminal, text};

pub(crate) async fn run(global: &Global, args: &ProjectArgs) -> Outcome {
    let project = Project::open(&args.folder)?;
    let mut interrupt = Interrupt::new()?;
    let begun = Instant::now();
    let built = build(&project, Profile::Release, &mut interrupt).await?;
    let table = || {
        format!(
            "built {} ({}) in {:.1} s",
            built.component.display(),
            text::size(built.bytes),
            begun.elapsed().as_secs_f64()
        )
    };
    terminal::print(&format(global.output, &built, table)?)
}

/// Builds without blocking the conversation with the node; Ctrl-C ends cargo as well.
pub(crate) async fn build(
    project: &Project,
    profile: Profile,
    interrupt: &mut Interrupt,
) -> Outcome<Built> {
    let running = Build::default();
    let work = {
        let (project, running) = (project.clone(), running.clone());
        tokio::task::spawn_blocking(move || project.build(profile, &running))
    };
    tokio::select! {
        built = work => built.map_err(|error| Failure::new(Exit::Failed, error))?,
        () = interrupt.received() => {
            running.end();
            Err(Failure::new(Exit::Interrupted, "interrupted: nothing was built"))
        }
    }
}
