//! A node whose ledger is honest and whose messages are not: what it sends passes through a function
//! first. Never looks into a message itself.

use crate::links::{Carrier, Outgoing, links};

/// The end of a carrier that gets what `alter` makes of each message that `carrier` would get. What
/// comes in is untouched. Runs as a task of the runtime that this is called on.
#[must_use]
pub fn intercepted(
    carrier: Carrier,
    mut alter: impl FnMut(Outgoing) -> Vec<Outgoing> + Send + 'static,
) -> Carrier {
    let Carrier {
        outbound: mut honest,
        inbound,
        members,
        blocked,
    } = carrier;
    // Of this pair only the way out is used; it closes with the task.
    let (sending, to_carry) = links();
    tokio::spawn(async move {
        while let Some(message) = honest.next().await {
            for message in alter(message) {
                let Outgoing {
                    peer,
                    channel,
                    bytes,
                    priority,
                } = message;
                // What does not fit is lost, as everywhere below the ledger.
                sending.wires.send(peer, channel, bytes, priority);
            }
        }
    });
    Carrier {
        outbound: to_carry.outbound,
        inbound,
        members,
        blocked,
    }
}
