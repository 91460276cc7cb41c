//! Orders to run a deterministic component here, and the asking of others to: places, prepared
//! replicas, who is drawn, what agrees. Knows no stream and no HTTP.
//!
//! Nothing runs here that is not in a final block: an order, or a call under a lease, only repeats a call of a component that
//! a live deployment of this node's own view of the ledger names, with the limits that it gives. That
//! the deployment makes the component deterministic is what admits its repetition by the members
//! whom the beacon draws, wherever its replicas are placed: such a component reaches nothing that
//! needs a grant, so a run leaves nothing behind but its receipt.

mod admission;
mod again;
mod asking;
mod dial;
mod leased;
mod message;
mod places;
mod prepared;
mod refusal;
mod run;

use std::sync::Arc;
use std::time::Duration;

use proofs::Receipt;
use types::NodeId;

use crate::shared::Shared;
pub(crate) use admission::{Anchor, anchored};
pub(crate) use again::{Again, AgainError, Judged, Repeated, Verdict, again};
pub(crate) use asking::{Silence, ask_node};
pub(crate) use dial::{Call, DialError, Dialled, Heard, dial};
pub(crate) use message::{ANSWER_BYTES_MAX, ASK_BYTES_MAX, Answer, Ask, LeasedCall, RanLeased};
pub(crate) use message::{read_answer_again, read_ask_again, some_messages};
pub(crate) use places::Place;
pub(crate) use refusal::OrderRefusal;

use places::Places;
use prepared::Prepared;

/// What a node states of a run: its receipt, before it is signed, and the result.
pub(crate) type Stated = fn(&mut Receipt, &mut String);

/// An honest node changes nothing.
pub(crate) const fn truly(_: &mut Receipt, _: &mut String) {}

/// How long whoever asks gives others beyond the limits of the component: the binary may have to
/// be fetched and compiled first.
pub(crate) const PREPARE_TIME: Duration = Duration::from_secs(30);
/// Longest that an order is worked at, whatever its asker and its component allow.
pub(crate) const ORDER_TIME_MAX: Duration = Duration::from_secs(600);

/// What is needed to run orders.
pub(crate) struct Executions {
    places: Places,
    prepared: Prepared,
    stated: Stated,
}

impl Executions {
    pub(crate) fn new(stated: Stated) -> Self {
        Self {
            places: Places::default(),
            prepared: Prepared::default(),
            stated,
        }
    }

    /// A place for one order of `asker`; free again when it is dropped.
    ///
    /// # Errors
    /// [`OrderRefusal::Busy`].
    pub(crate) fn place(&self, asker: NodeId) -> Result<Place, OrderRefusal> {
        self.places.take(asker)
    }
}

/// Carries out what another member, or this node itself, asks for. Dropping the future stops it.
pub(crate) async fn answer(shared: &Arc<Shared>, ask: Ask, place: Place) -> Answer {
    let ran = |ran| Answer::Ran(Box::new(ran));
    let answered = match &ask {
        Ask::Run(order) => run::run(shared, order).await.map(ran),
        Ask::RunAgain(rerun) => run::run_again(shared, rerun).await.map(ran),
        Ask::RunLeased(call) => {
            let ran = leased::run(shared, call, place.asker()).await;
            ran.map(|ran| Answer::RanLeased(Box::new(ran)))
        }
        Ask::UsageOf(capability) => {
            let usage = leased::usage(shared, capability, place.asker()).await;
            usage.map(Answer::Usage)
        }
    };
    answered.unwrap_or_else(Answer::Refused)
}
