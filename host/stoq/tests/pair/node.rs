//! One node as the protocol sees it: greetings, seats, frames out of pieces, pauses. What the
//! endpoint does with sockets is left out.

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_stoq::bounds::CONTROL_BYTES_MAX;
use hypermesh_stoq::proto::{
    Backoff, ControlFrame, CredentialsFrame, Dialler, Hello, PREFIX_BYTES, Seating, Seats,
    body_bytes, decode, encode, greet,
};
use types::NodeId;

use crate::wire::Effect;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) seats: Seats,
    /// What this node shows to each new session, and what it was shown last.
    pub(crate) shown: Option<CredentialsFrame>,
    pub(crate) news: Option<CredentialsFrame>,
    incarnation: u64,
    attempts: u64,
    connections: BTreeMap<u64, Connection>,
    over: BTreeSet<u64>,
    backoff: Backoff,
}

/// One end of one connection.
struct Connection {
    ours: Hello,
    dialler: Dialler,
    is_greeted: bool,
    /// Packets that came before their turn.
    early: BTreeMap<u64, Vec<u8>>,
    next: u64,
    bytes: Vec<u8>,
}

impl Node {
    pub(crate) fn new(number: u8, incarnation: u64) -> Self {
        let id = NodeId::from_bytes([number; 32]);
        Self {
            id,
            seats: Seats::new(id),
            shown: Some(CredentialsFrame {
                // Many packets' worth.
                chain: vec![vec![number; 1_500], vec![number; 800]],
                scheme: 0x0807,
                signature: vec![number; 64],
            }),
            news: None,
            incarnation,
            attempts: 0,
            connections: BTreeMap::new(),
            over: BTreeSet::new(),
            backoff: Backoff::default(),
        }
    }

    pub(crate) fn knows(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Whether it has heard the hello of a connection.
    pub(crate) fn serves(&self, connection: u64) -> bool {
        let end = self.connections.get(&connection);
        end.is_some_and(|end| end.is_greeted)
    }

    pub(crate) fn connections(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }

    pub(crate) fn dial(&mut self, connection: u64) -> Vec<Effect> {
        let ours = Hello::new(self.incarnation, self.attempts);
        self.attempts += 1;
        let hello = ControlFrame::Hello(ours.clone());
        self.connections
            .insert(connection, Connection::new(ours, Dialler::Us(self.id)));
        vec![send(connection, &hello)]
    }

    /// A packet has come; frames that are whole take effect in order.
    pub(crate) fn packet(
        &mut self,
        connection: u64,
        peer: NodeId,
        number: u64,
        bytes: Vec<u8>,
    ) -> Vec<Effect> {
        if self.over.contains(&connection) {
            return Vec::new();
        }
        if !self.knows(connection) {
            let ours = Hello::new(self.incarnation, 0);
            let inbound = Connection::new(ours, Dialler::Peer(peer));
            self.connections.insert(connection, inbound);
        }
        let Some(end) = self.connections.get_mut(&connection) else {
            return Vec::new();
        };
        end.early.insert(number, bytes);
        while let Some(bytes) = end.early.remove(&end.next) {
            end.next += 1;
            end.bytes.extend(bytes);
        }
        let mut effects = Vec::new();
        while let Some(frame) = self
            .connections
            .get_mut(&connection)
            .and_then(Connection::frame)
        {
            effects.extend(self.frame(connection, peer, frame));
        }
        effects
    }

    fn frame(&mut self, connection: u64, peer: NodeId, frame: ControlFrame) -> Vec<Effect> {
        let Some(end) = self.connections.get_mut(&connection) else {
            return Vec::new();
        };
        if end.is_greeted {
            if let ControlFrame::Credentials(credentials) = frame {
                self.news = Some(credentials);
            }
            return Vec::new();
        }
        let (_, claim) = greet(&end.ours, frame, end.dialler, false).expect("both speak the same");
        end.is_greeted = true;
        let ours = end.ours.clone();
        let was_dialled = matches!(end.dialler, Dialler::Peer(_));
        let mut effects = Vec::new();
        match self.seats.seat(peer, connection, claim) {
            Seating::Lost => {
                self.forget(connection);
                return vec![Effect::Close { connection }];
            }
            Seating::Displaced(old) => {
                self.forget(old);
                effects.push(Effect::Close { connection: old });
            }
            Seating::First => {}
        }
        self.backoff.succeeded();
        if was_dialled {
            effects.push(send(connection, &ControlFrame::Hello(ours)));
        }
        if let Some(shown) = self.shown.clone() {
            effects.push(send(connection, &ControlFrame::Credentials(shown)));
        }
        effects
    }

    fn forget(&mut self, connection: u64) {
        self.connections.remove(&connection);
        self.over.insert(connection);
    }

    /// A connection is over. Whoever has no session then dials again.
    pub(crate) fn closed(&mut self, connection: u64, peer: NodeId) -> Vec<Effect> {
        self.forget(connection);
        self.seats.leave(&peer, connection);
        if self.seats.of(&peer).is_some() {
            return Vec::new();
        }
        vec![Effect::DialAfter(
            self.backoff.failed(u16::from(self.id.as_bytes()[0]) << 12),
        )]
    }
}

impl Connection {
    fn new(ours: Hello, dialler: Dialler) -> Self {
        Self {
            ours,
            dialler,
            is_greeted: false,
            early: BTreeMap::new(),
            next: 0,
            bytes: Vec::new(),
        }
    }

    /// The next frame, if all of it is there.
    fn frame(&mut self) -> Option<ControlFrame> {
        let prefix = self.bytes.first_chunk::<PREFIX_BYTES>()?;
        let body = body_bytes(*prefix, CONTROL_BYTES_MAX).unwrap();
        let whole = PREFIX_BYTES + body;
        let frame = decode(self.bytes.get(PREFIX_BYTES..whole)?).unwrap();
        self.bytes.drain(..whole);
        Some(frame)
    }
}

fn send(connection: u64, frame: &ControlFrame) -> Effect {
    let bytes = encode(frame, CONTROL_BYTES_MAX).unwrap();
    Effect::Send { connection, bytes }
}
