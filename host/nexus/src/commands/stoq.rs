//! `nexus stoq`: sessions with other nodes.

use admin::{SessionStatus, StoqStatus};
use types::{ByteSize, NodeId};

use crate::cli::{Rate, StoqCommand};
use crate::clock::unix_ms;
use crate::exit::Outcome;
use crate::session::Session;
use crate::table::{Fields, Table};
use crate::text;

pub(crate) async fn run(session: &Session, command: StoqCommand) -> Outcome {
    match command {
        StoqCommand::Sessions => sessions(session).await,
        StoqCommand::Cap {
            peer,
            rate: Rate(rate),
        } => {
            let bytes_per_s = rate.map(ByteSize::as_u64);
            let stoq = session.client().cap(&peer, bytes_per_s).await;
            let stoq = stoq.map_err(|error| session.failure(error))?;
            session.show(&stoq, || match rate {
                Some(rate) => format!("at most {rate} per second go to {}", peer.short()),
                None => format!("no cap on what goes to {}", peer.short()),
            })
        }
    }
}

async fn sessions(session: &Session) -> Outcome {
    let failed = |error| session.failure(error);
    let stoq = session.client().stoq().await.map_err(failed)?;
    let node = session.client().node().await.map_err(failed)?.node;
    session.show(&stoq, || render(node, &stoq))
}

fn render(node: NodeId, stoq: &StoqStatus) -> String {
    let mut fields = Fields::default();
    let listening = stoq.listening.as_deref();
    fields.add("Listening", listening.unwrap_or("no: --stoq IP:PORT"));
    let reached = stoq
        .addresses
        .iter()
        .map(|address| format!("{node}@{address}"));
    fields.list("Reached at", reached);
    // Where it listens, a router may hide it all the same.
    let through = through_members(node, stoq);
    if !through.is_empty() {
        fields.list("Or through", through);
    }
    if let Some(certificate) = stoq.certificate {
        fields.add("Certificate", certificate);
    }
    if stoq.sessions.is_empty() {
        fields.add("Sessions", "none");
        return fields.render(0);
    }
    format!("{}\n\n{}", fields.render(0), table(&stoq.sessions))
}

/// Where a peer is: `ADDRESS`, or `via NODE` if another node relays.
fn remote(session: &SessionStatus) -> String {
    match &session.via {
        Some(relay) => format!("via {}", relay.short()),
        None => session.remote.clone(),
    }
}

/// What its path carried; nothing was measured of one that stayed idle.
fn measured(session: &SessionStatus) -> String {
    match &session.measured {
        Some(known) => format!("{}/s", text::size(known.bytes_per_s)),
        None => "not yet".to_owned(),
    }
}

/// How operators reach a node that others do not: through the members that it dialled.
fn through_members(node: NodeId, stoq: &StoqStatus) -> Vec<String> {
    let is_way = |session: &&SessionStatus| {
        session.via.is_none() && session.standing == "member" && session.direction == "dialled"
    };
    let ways = stoq.sessions.iter().filter(is_way);
    ways.map(|way| format!("{node}@{}@{}", way.peer, way.remote))
        .collect()
}

fn table(sessions: &[SessionStatus]) -> String {
    let headings = [
        "PEER", "STANDING", "REMOTE", "OPENED", "FOR", "RTT", "LOSS", "SENT", "RECEIVED", "TIER",
        "MEASURED", "CAP",
    ];
    let mut table = Table::new(&headings);
    let now_ms = unix_ms();
    for session in sessions {
        table.row(vec![
            session.peer.short(),
            session.standing.clone(),
            remote(session),
            session.direction.clone(),
            text::duration(now_ms.saturating_sub(session.since_ms)),
            format!("{}.{:03}ms", session.rtt_us / 1_000, session.rtt_us % 1_000),
            format!("{}ppm", session.loss_ppm),
            text::size(session.sent_bytes),
            text::size(session.received_bytes),
            session.tier.clone(),
            measured(session),
            session
                .cap_bytes_per_s
                .map(|rate| format!("{}/s", text::size(rate)))
                .unwrap_or_default(),
        ]);
    }
    table.render()
}
