//! `nexus asset challenge`: asks a host for chunks of what it keeps, and waits for what becomes of it.

use std::time::Duration;

use admin::SpaceStatus;
use ledger::{ANSWER_BLOCKS, ANSWER_MS, Operation, SpaceOperation};
use serde::Serialize;
use types::AssetId;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;

/// Pause between two looks at the asset.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Looks before a challenge is settled: half a second more than an answer counts by time.
const LOOKS: u64 = ANSWER_MS / 200 + 3;

/// What became of a challenge.
#[derive(Serialize)]
struct Challenged {
    asset: AssetId,
    challenged_at: u64,
    #[serde(flatten)]
    space: SpaceStatus,
}

pub(crate) async fn run(session: &Session, asset: &AssetId) -> Outcome {
    let asset = *asset;
    let asked = Operation::Space(SpaceOperation::Challenge { asset });
    let asked_at = session.submit(asked).await?.height;
    for _ in 0..LOOKS {
        let space = look(session, &asset).await?;
        if space.open_at != Some(asked_at) {
            return told(session, asset, asked_at, space);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    // In an idle fabric nothing but these makes blocks; each that comes too early is refused.
    for _ in 0..=ANSWER_BLOCKS {
        let settled = session.submit(Operation::Space(SpaceOperation::Settle { asset }));
        let settled = settled.await;
        let space = look(session, &asset).await?;
        if space.open_at != Some(asked_at) {
            return told(session, asset, asked_at, space);
        }
        if let Err(refused) = settled
            && refused.exit() != Exit::Refused
        {
            return Err(refused);
        }
    }
    let message = format!(
        "the challenge of {} at height {asked_at} is neither answered nor settled yet",
        asset.short()
    );
    Err(Failure::new(Exit::Failed, message).hint("Look again: nexus asset show ASSET"))
}

async fn look(session: &Session, asset: &AssetId) -> Outcome<SpaceStatus> {
    let status = session.client().asset(asset).await;
    Ok(status.map_err(|error| session.failure(error))?.space)
}

fn told(session: &Session, asset: AssetId, asked_at: u64, space: SpaceStatus) -> Outcome {
    let failed = space.failed_at;
    let challenged = Challenged {
        asset,
        challenged_at: asked_at,
        space,
    };
    session.show(&challenged, || match (failed, challenged.space.proven_at) {
        (None, Some(at)) => format!("{} answered at height {at}", asset.short()),
        _ => format!("{} was challenged at height {asked_at}", asset.short()),
    })?;
    match failed {
        None => Ok(()),
        Some(at) => {
            let message = format!(
                "{} did not show what it is to keep: marked at height {at}, it grants no lease",
                asset.short()
            );
            Err(Failure::new(Exit::Failed, message))
        }
    }
}
