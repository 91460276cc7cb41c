//! What a Byzantine validator sends instead of what its ledger said. Its ledger itself is honest;
//! to its peers it is not.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use consensus::simulated::{Dice, Forger};
use consensus::{Channel, Outgoing};
use types::NodeId;

use crate::scenario::Vice;

/// Messages remembered for sending again.
const REMEMBERED_MAX: usize = 256;
/// Longest delay of one that sends late, milliseconds.
const LATE_MS_MAX: u64 = 6_000;
/// Longest message of garbage, bytes.
const GARBAGE_BYTES_MAX: usize = 2_000;

/// A message that leaves.
pub(crate) struct Leaving {
    pub(crate) peer: NodeId,
    pub(crate) channel: Channel,
    pub(crate) bytes: Bytes,
    pub(crate) pause: Duration,
}

/// One Byzantine validator.
pub(crate) struct Rogue {
    vice: Vice,
    forger: Forger,
    dice: Dice,
    peers: Vec<NodeId>,
    remembered: VecDeque<(Channel, Bytes)>,
}

impl Rogue {
    pub(crate) fn new(vice: Vice, forger: Forger, seed: u64, peers: Vec<NodeId>) -> Self {
        Self {
            vice,
            forger,
            dice: Dice::new(seed),
            peers,
            remembered: VecDeque::new(),
        }
    }

    /// What leaves in place of `message`.
    pub(crate) fn alter(&mut self, message: Outgoing) -> Vec<Leaving> {
        match self.vice {
            Vice::Equivocate => self.equivocate(message),
            Vice::Withhold => self.withhold(message),
            Vice::Replay => self.replay(message),
            Vice::Delay => self.delay(message),
            Vice::LieInSync => self.lie(message),
            Vice::Garbage => self.garbage(message),
            // Each of the two is honest by itself.
            Vice::Twins => vec![sent(message)],
        }
    }

    /// Peers with an odd place hear another vote, some hear both, some that it gave up as well.
    fn equivocate(&mut self, message: Outgoing) -> Vec<Leaving> {
        if message.channel != Channel::Votes {
            return vec![sent(message)];
        }
        let odd = self.place(&message.peer) % 2 == 1;
        let salt = self.dice.below(2);
        let other = self.forger.contradict(&message.bytes, salt);
        let gave_up = self.forger.give_up(&message.bytes);
        let (peer, channel) = (message.peer, message.channel);
        let forged = |bytes: Vec<u8>| Leaving {
            peer,
            channel,
            bytes: bytes.into(),
            pause: Duration::ZERO,
        };
        let mut leaving = Vec::new();
        let both = self.dice.comes_true(100);
        match other {
            Some(other) if odd || both => leaving.push(forged(other)),
            _ => leaving.push(sent(message.clone())),
        }
        if both {
            leaving.push(sent(message));
        }
        if self.dice.comes_true(100) {
            leaving.extend(gave_up.map(forged));
        }
        leaving
    }

    /// A third of the peers hear nothing on some channels, the others most of it.
    fn withhold(&mut self, message: Outgoing) -> Vec<Leaving> {
        let place = self.place(&message.peer);
        let silent = (place + usize::from(message.channel.number())).is_multiple_of(3);
        if silent || self.dice.comes_true(200) {
            return Vec::new();
        }
        vec![sent(message)]
    }

    fn replay(&mut self, message: Outgoing) -> Vec<Leaving> {
        self.remember(&message);
        let mut leaving = vec![sent(message)];
        for _ in 0..self.dice.index(3) {
            let old = self.remembered.get(self.dice.index(self.remembered.len()));
            let peer = self.peers.get(self.dice.index(self.peers.len()));
            if let (Some((channel, bytes)), Some(peer)) = (old, peer) {
                leaving.push(Leaving {
                    peer: *peer,
                    channel: *channel,
                    bytes: bytes.clone(),
                    pause: Duration::from_millis(self.dice.below(LATE_MS_MAX)),
                });
            }
        }
        leaving
    }

    fn delay(&mut self, message: Outgoing) -> Vec<Leaving> {
        let pause = Duration::from_millis(self.dice.below(LATE_MS_MAX));
        vec![Leaving {
            pause,
            ..sent(message)
        }]
    }

    /// Changes a byte of every other answer, or answers with what it said before.
    fn lie(&mut self, message: Outgoing) -> Vec<Leaving> {
        let about_blocks = [
            Channel::Backfill,
            Channel::Tip,
            Channel::Resolver,
            Channel::State,
        ];
        if !about_blocks.contains(&message.channel) || self.dice.comes_true(500) {
            return vec![sent(message)];
        }
        self.remember(&message);
        let mut bytes = message.bytes.to_vec();
        let old = self.remembered.get(self.dice.index(self.remembered.len()));
        match old {
            Some((channel, old)) if *channel == message.channel && self.dice.comes_true(500) => {
                bytes = old.to_vec();
            }
            _ => {
                let place = self.dice.index(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << self.dice.below(8);
                }
            }
        }
        vec![Leaving {
            bytes: bytes.into(),
            ..sent(message)
        }]
    }

    fn garbage(&mut self, message: Outgoing) -> Vec<Leaving> {
        let mut leaving = vec![sent(message.clone())];
        if self.dice.comes_true(300) {
            let length = self.dice.index(GARBAGE_BYTES_MAX);
            let bytes: Vec<u8> = (0..length)
                .map(|_| u8::try_from(self.dice.below(256)).unwrap_or(0))
                .collect();
            let channel = Channel::ALL.get(self.dice.index(Channel::ALL.len()));
            leaving.push(Leaving {
                channel: channel.copied().unwrap_or(Channel::Votes),
                bytes: bytes.into(),
                ..sent(message)
            });
        }
        leaving
    }

    fn remember(&mut self, message: &Outgoing) {
        self.remembered
            .push_back((message.channel, message.bytes.clone()));
        if self.remembered.len() > REMEMBERED_MAX {
            self.remembered.pop_front();
        }
    }

    fn place(&self, peer: &NodeId) -> usize {
        let place = self.peers.iter().position(|known| known == peer);
        place.unwrap_or(0)
    }
}

fn sent(message: Outgoing) -> Leaving {
    Leaving {
        peer: message.peer,
        channel: message.channel,
        bytes: message.bytes,
        pause: Duration::ZERO,
    }
}
