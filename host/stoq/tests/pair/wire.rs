//! The simulated network: ordered bytes per connection, as QUIC gives, out of packets that are
//! cut, lost, sent again and overtaken. Time is a number.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::node::Node;

/// Numbers that are the same for the same seed (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end.max(1)
    }
}

/// What a run is like.
pub(crate) struct Conditions {
    /// Dials of each node within the first second.
    pub(crate) dials: [u64; 2],
    pub(crate) loss_percent: u64,
    pub(crate) jitter: Duration,
    pub(crate) packet_bytes: usize,
    /// When the second node is started again.
    pub(crate) restart_at: Option<Duration>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            dials: [1, 1],
            loss_percent: 0,
            jitter: Duration::ZERO,
            packet_bytes: 1_200,
            restart_at: None,
        }
    }
}

/// What one node asks of the network.
pub(crate) enum Effect {
    /// Bytes to the other end of a connection.
    Send { connection: u64, bytes: Vec<u8> },
    /// The end of a connection.
    Close { connection: u64 },
    /// A dial after a pause.
    DialAfter(Duration),
}

enum Event {
    Dial(usize),
    Packet {
        to: usize,
        connection: u64,
        number: u64,
        bytes: Vec<u8>,
    },
    Closed {
        to: usize,
        connection: u64,
    },
    /// Nothing has come on a connection for long.
    Idle {
        at: usize,
        connection: u64,
    },
    Restart,
}

const ONE_WAY: Duration = Duration::from_millis(20);
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(30);
/// Far beyond every pause.
const END: Duration = Duration::from_secs(300);

/// Two nodes and all that is under way between them.
pub(crate) struct Pair {
    nodes: [Node; 2],
    now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    /// Who dialled each connection, by its number.
    diallers: Vec<usize>,
    /// Next packet number by receiver and connection.
    numbers: BTreeMap<(usize, u64), u64>,
    chance: Chance,
    conditions: Conditions,
}

impl Pair {
    pub(crate) fn new(seed: u64, conditions: Conditions) -> Self {
        let mut pair = Self {
            nodes: [Node::new(1, 100), Node::new(2, 200)],
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            scheduled: 0,
            diallers: Vec::new(),
            numbers: BTreeMap::new(),
            chance: Chance::new(seed ^ 0xabcd),
            conditions,
        };
        for at in 0..2 {
            for _ in 0..pair.conditions.dials[at] {
                let when = Duration::from_millis(pair.chance.below(1_000));
                pair.schedule(when, Event::Dial(at));
            }
        }
        if let Some(when) = pair.conditions.restart_at {
            pair.schedule(when, Event::Restart);
        }
        pair
    }

    pub(crate) fn run(&mut self) {
        while let Some(((when, _), event)) = self.queue.pop_first() {
            if when > END {
                break;
            }
            self.now = when;
            self.handle(event);
        }
    }

    /// Both have a session, and it is the same connection.
    pub(crate) fn check(&self, run: &str) {
        let [a, b] = [&self.nodes[0], &self.nodes[1]];
        let (of_a, of_b) = (a.seats.of(&b.id), b.seats.of(&a.id));
        assert!(of_a.is_some(), "{run}: no session");
        assert_eq!(of_a, of_b, "{run}: two sessions");
        assert!(
            a.news == b.shown,
            "{run}: what b showed did not arrive whole"
        );
        assert!(
            b.news == a.shown,
            "{run}: what a showed did not arrive whole"
        );
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Dial(at) => {
                let peer = self.nodes[1 - at].id;
                if self.nodes[at].seats.of(&peer).is_none() {
                    let connection = u64::try_from(self.diallers.len()).unwrap();
                    self.diallers.push(at);
                    let effects = self.nodes[at].dial(connection);
                    self.apply(at, effects);
                    self.schedule(self.now + IDLE, Event::Idle { at, connection });
                }
            }
            Event::Packet {
                to,
                connection,
                number,
                bytes,
            } => {
                let dialler = self.diallers[usize::try_from(connection).unwrap()];
                // One that was dialled before a restart is nobody's.
                if dialler != to || self.nodes[to].knows(connection) {
                    let peer = self.nodes[1 - to].id;
                    let effects = self.nodes[to].packet(connection, peer, number, bytes);
                    self.apply(to, effects);
                }
            }
            Event::Closed { to, connection } => {
                let peer = self.nodes[1 - to].id;
                let effects = self.nodes[to].closed(connection, peer);
                self.apply(to, effects);
            }
            Event::Idle { at, connection } => {
                // The other end went away without a word.
                if !self.nodes[1 - at].serves(connection) {
                    let peer = self.nodes[1 - at].id;
                    let effects = self.nodes[at].closed(connection, peer);
                    self.apply(at, effects);
                }
            }
            Event::Restart => {
                let gone = self.nodes[1].connections();
                for connection in gone {
                    self.schedule(self.now + IDLE, Event::Idle { at: 0, connection });
                }
                self.nodes[1] = Node::new(2, 201);
                self.schedule(self.now + Duration::from_millis(50), Event::Dial(1));
            }
        }
    }

    fn apply(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { connection, bytes } => self.send(from, connection, &bytes),
                Effect::Close { connection } => {
                    let event = Event::Closed {
                        to: 1 - from,
                        connection,
                    };
                    let delay = self.delay();
                    self.schedule(self.now + delay, event);
                }
                Effect::DialAfter(pause) => self.schedule(self.now + pause, Event::Dial(from)),
            }
        }
    }

    /// Cuts bytes into packets; each comes when it comes, numbered so that the other end can put
    /// them in order.
    fn send(&mut self, from: usize, connection: u64, bytes: &[u8]) {
        for piece in bytes.chunks(self.conditions.packet_bytes) {
            let next = self.numbers.entry((from, connection)).or_default();
            let number = *next;
            *next += 1;
            let bytes = piece.to_vec();
            let event = Event::Packet {
                to: 1 - from,
                connection,
                number,
                bytes,
            };
            let delay = self.delay();
            self.schedule(self.now + delay, event);
        }
    }

    /// The time that a packet takes, lost ones and their repetitions included.
    fn delay(&mut self) -> Duration {
        let mut delay = ONE_WAY;
        while self.chance.below(100) < self.conditions.loss_percent {
            delay += SENT_AGAIN_AFTER;
        }
        let jitter_us = u64::try_from(self.conditions.jitter.as_micros()).unwrap();
        delay + Duration::from_micros(self.chance.below(jitter_us))
    }

    fn schedule(&mut self, when: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.insert((when, self.scheduled), event);
    }
}
