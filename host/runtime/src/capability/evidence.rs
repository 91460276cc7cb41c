//! `hypermesh:consensus/proofs`: what hosts show of assets, and proofs of executions. Knows no proof.
//!
//! *Grant*: that of `ledger`. *Limits*: of one replica [`SPACE_REQUESTS_AT_ONCE_MAX`] hosts are asked
//! at once, and proofs are checked in the same turns as those of records. *Denial*: the cases of
//! `error`, or a text.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use self::bindings::hypermesh::consensus::proofs as wit;
use crate::errors::clipped;
use crate::host::Host;
use crate::shown::{ProvenExecution, RequestSpaceError, ShownSpace};

#[cfg(doc)]
use crate::bounds::SPACE_REQUESTS_AT_ONCE_MAX;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/consensus",
        world: "proofs-user",
        imports: { default: async | trappable },
    });
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

fn refused(error: RequestSpaceError) -> wit::Error {
    match error {
        RequestSpaceError::Absent => wit::Error::Absent,
        RequestSpaceError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
        RequestSpaceError::NotShown(text) => wit::Error::NotShown(clipped(&text)),
        RequestSpaceError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
    }
}

fn shown(shown: ShownSpace) -> wit::Shown {
    let ShownSpace {
        asset,
        host,
        height,
        content,
    } = shown;
    wit::Shown {
        asset,
        host,
        height,
        content: content.map(|content| wit::Content {
            root: content.root,
            bytes: content.bytes,
        }),
    }
}

fn execution(proven: ProvenExecution) -> wit::Execution {
    let ProvenExecution {
        order,
        workload,
        component,
        artifact,
        export,
        arguments,
        result,
        height,
        agreed,
        outvoted,
        silent,
        draw_checked,
    } = proven;
    wit::Execution {
        order,
        workload,
        component,
        artifact,
        export,
        arguments,
        result,
        height,
        agreed,
        outvoted,
        silent,
        draw_checked,
    }
}

impl Host {
    async fn requested(&mut self, asset: &str) -> Result<Vec<u8>, RequestSpaceError> {
        let unavailable = |why: String| RequestSpaceError::Unavailable(why);
        let agreement = &self.guest().agreement;
        let ledger = agreement.get();
        let ledger = ledger.map_err(|error| unavailable(error.to_string()))?;
        let turn = Arc::clone(&agreement.space_requests).acquire_owned().await;
        let turn = turn.map_err(|error| unavailable(error.to_string()))?;
        let request = ledger.request_space(asset);
        // A request that was begun keeps its turn to the end, also if its instance is stopped: what
        // it has a disk read goes on as well.
        let requested = tokio::spawn(async move {
            let _turn = turn;
            request.await
        });
        let lost = |_| unavailable("the node stops".to_owned());
        requested.await.map_err(lost)?
    }
}

impl wit::Host for Host {
    async fn request_space(
        &mut self,
        asset: String,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        Ok(self.requested(&asset).await.map_err(refused))
    }

    async fn verify_space(
        &mut self,
        proof: Vec<u8>,
    ) -> wasmtime::Result<Result<wit::Shown, String>> {
        let checked = self.checked(proof, |ledger, proof| ledger.verify_space(proof));
        Ok(checked.await?.map(shown))
    }

    async fn verify_execution(
        &mut self,
        proof: Vec<u8>,
    ) -> wasmtime::Result<Result<wit::Execution, String>> {
        let checked = self.checked(proof, |ledger, proof| ledger.verify_execution(proof));
        Ok(checked.await?.map(execution))
    }
}
